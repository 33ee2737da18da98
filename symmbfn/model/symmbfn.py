"""SymmBFN: one Bayesian flow per variable of the asymmetric unit, and one network for all.

The variables are the lattice (6), the coordinates (N, 3), the Wyckoff letters or the 15 x 13
site-symmetry axes, and the elements: per site as published, or as slots and pointers. The model is
conditioned on the space group, the number of sites, and with slots the number of elements.
Without symmetry the sites are all atoms of the cell, and nothing else changes.
"""

from collections.abc import Callable, Mapping

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model import network_input
from symmbfn.model.beliefs.belief import Belief
from symmbfn.model.beliefs.of_config import beliefs_of
from symmbfn.model.config import ModelConfig
from symmbfn.model.padded_operations import PaddedOperations
from symmbfn.model.reading import Reading
from symmbfn.model.statistics import Statistics
from symmbfn.model.variables import (
    Conditions,
    Variables,
    conditions_of,
    element_classes,
    slots_and_pointers,
)
from symmbfn.networks.class_table import zeroed
from symmbfn.networks.displacements import Displacements
from symmbfn.networks.embeddings import phases

FARTHEST = 5.0  # standard deviations; a belief that lies beyond is read as if it lay there
LEAST_RADIUS = 0.3  # angstrom


def near_chart(x: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
    """Fractional coordinates clipped to their chart with 0.15 on both sides.

    Source: book, method-confine.
    """
    return x.clamp(CHART_END - 1.15, CHART_END + 0.15)


class SymmBFN(nn.Module):
    """The joint Bayesian flow network of the asymmetric unit.

    Args:
        config: what the model is.
        statistics: what its training data was like.

    Attributes:
        numbers, classes, variables: beliefs by name of their variable.

    Source: Ruple et al. 2026 (SymmBFN); book, method-model: the default preset.
    """

    coords_mean: Tensor
    coords_std: Tensor
    lattice_mean: Tensor
    lattice_std: Tensor
    radius: Tensor
    degrees_of_freedom: Tensor

    def __init__(self, config: ModelConfig, statistics: Statistics):
        super().__init__()
        self.config, self.statistics = config, statistics
        self._register_tables()
        self.numbers, self.classes = beliefs_of(config, statistics)
        self.continuous, self.categorical = tuple(self.numbers), tuple(self.classes)
        self.variables: dict[str, Belief] = {**self.numbers, **self.classes}
        if isinstance(messages := self.numbers["coords"].schedule, nn.Module):
            self.messages = messages  # moves with the model to its device
        self._build_network()

    def _register_tables(self) -> None:
        """What moves with the model to its device, and is no weight."""
        statistics = self.statistics
        tables = {
            "coords_mean": statistics.coords_mean,
            "coords_std": statistics.coords_std,
            "lattice_mean": statistics.lattice_mean,
            "lattice_std": statistics.lattice_std,
            "radius": torch.tensor(COVALENT_RADIUS).float()[list(self.config.elements)],
            "degrees_of_freedom": torch.tensor(symmetry_tables().degrees_of_freedom).float(),
        }
        for name, value in tables.items():
            self.register_buffer(name, value, persistent=False)
        self.operations = PaddedOperations()

    def _build_network(self) -> None:
        """Channels, features, network and heads; the heads of numbers start from zero."""
        c, statistics = self.config, self.statistics
        width, n_elements = c.network.width, len(c.elements)
        self.elements = c.composition.channel(n_elements, width, statistics.element_log_prior)
        self.symmetry = c.symmetry.channel(width, statistics.position_log_prior)
        self.group = network_input.GroupEmbedding()
        self.n_sites = network_input.SizeEmbedding()
        self.properties: network_input.PropertyEmbedding | None = None
        if c.properties:
            moments = statistics.property_mean, statistics.property_std
            self.properties = network_input.PropertyEmbedding(c.properties, *moments)
        tables = self.elements, self.group, self.n_sites, self.properties
        self.site_features = network_input.site_features(c, (self.elements, self.symmetry))
        self.graph_features = network_input.graph_features(c, self.variables, *tables)
        self.pair_features = network_input.pair_features(c)
        widths = self.site_features.width, self.graph_features.width, self.pair_features.width
        self.network = c.network.network(*widths)
        self.write_coords = nn.Linear(width, 3)
        self.displacements: Displacements | None = None
        if c.images and c.images.has_displacements:
            self.displacements = Displacements(width, self.pair_features.width, c.images.n_images)
        self.write_lattice = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), zeroed(nn.Linear(width, 6))
        )
        zeroed(self.write_coords)

    def conditions(
        self,
        space_group_number: Int[Tensor, "B"],
        is_site: Bool[Tensor, "B N"],
        n_elements: Int[Tensor, "B"],
    ) -> Conditions:
        """Gather what the tables say of the space groups."""
        c = self.config
        operations = self.operations(space_group_number, is_used=c.images is not None)
        return conditions_of(space_group_number, is_site, n_elements, c.most_elements, operations)

    def with_positions(self, conditions: Conditions) -> Conditions:
        """Embed the groups' positions once for many calls with the same weights."""
        return self.symmetry.with_positions(conditions)

    def encode(self, units: AsymmetricUnitBatch) -> tuple[Variables, Conditions]:
        """Standardised numbers and class indices of real crystals, and their conditions.

        Raises:
            ValueError: if an element has no class or a crystal more elements than slots.
        """
        c, real = self.config, units.is_site
        classes, n_classes = element_classes(units.atomic_numbers, c.elements), len(c.elements)
        n_elements = slots_and_pointers(classes, real, n_classes, c.most_elements)[2]
        conditions = self.conditions(units.space_group_number, real, n_elements)
        x = units.fractional_coords.float()
        if not c.coords.is_standardised:
            x = x % 1.0
        kappa = (units.lattice_k.float() - self.lattice_mean) / self.lattice_std
        values = {
            "lattice": kappa * conditions.lattice_free,
            "coords": (x - self.coords_mean) / self.coords_std * real[..., None],
        }
        indices = c.composition.indices(classes, real, n_classes) | c.symmetry.indices(units)
        return Variables(values, indices), conditions

    def fractional(self, coords: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Standardised coordinates in fractional units."""
        return self.coords_mean + self.coords_std * coords

    def lattice_k(
        self, lattice: Float[Tensor, "B 6"], conditions: Conditions
    ) -> Float[Tensor, "B 6"]:
        """Standardised lattice as k, fixed components from the tables."""
        k = self.lattice_mean + self.lattice_std * lattice
        return torch.where(conditions.lattice_free, k, conditions.lattice_fixed)

    def elements_of_sites(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "B N K"]:
        """Probabilities of the elements of each site, through its pointer where there are slots."""
        return self.elements.of_each_site(theta)

    def radius_of(self, elements: Float[Tensor, "B N K"]) -> Float[Tensor, "B N"]:
        """Expected covalent radius, angstrom."""
        return (elements * self.radius).sum(-1).clamp_min(LEAST_RADIUS)

    def each(self, make: Callable[[Belief], Tensor]) -> Variables:
        """One value for every variable."""
        return Variables(
            {name: make(belief) for name, belief in self.numbers.items()},
            {name: make(belief) for name, belief in self.classes.items()},
        )

    def flow(
        self, data: Variables, conditions: Conditions, t: Float[Tensor, "B"], noise: Variables
    ) -> Variables:
        """Beliefs at time t about known crystals: one draw from the Bayesian flow."""
        return self.each(lambda v: v.flow(data[v.name], conditions, t, noise[v.name]))

    def prior(self, conditions: Conditions, t: float, noise: Variables) -> Variables:
        """Beliefs at a small time t before any call, as the average crystal would give them.

        At t = 0 the exact prior: mean 0, all classes alike. Source: book, method-start.
        """
        time = torch.full((len(conditions.is_site),), t, device=conditions.is_site.device)
        return self.each(lambda v: v.prior(conditions, time, noise[v.name]))

    def forward(
        self,
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None = None,
    ) -> Variables:
        """Estimates from beliefs: continuous variables and log-probabilities of the classes.

        Args:
            beliefs: means and logits at time t.
            conditions: what the crystals are conditioned on.
            t: times in (0, 1].
            previous: an earlier estimate of the same crystals; read with self-conditioning only.
        """
        previous = previous if self.config.has_self_conditioning else None
        beliefs = self.each(lambda v: v.with_fixed(beliefs[v.name], conditions))
        reading = self.read(beliefs, conditions, t, previous)
        edges = self.pair_features(reading)
        sites, graph = self.site_features(reading), self.graph_features(reading)
        layout = conditions.layout
        h, vector = self.network(sites, graph, edges, conditions.is_site, layout)
        h = h * conditions.is_site[..., None].to(h.dtype)
        mean = layout.over_sites(h) / conditions.is_site.sum(-1, keepdim=True)
        pooled = torch.cat([mean, vector], dim=-1)
        output = {
            "coords": self.write_coords(h).float(),
            "lattice": self.write_lattice(pooled).float() * conditions.lattice_free,
        }
        if self.displacements is not None and self.config.images is not None:
            vectors = self.config.images.vectors(edges) / self.coords_std
            moves = self.displacements(h, edges, vectors, conditions.is_site, layout)
            output["coords"] = output["coords"] + moves
        output |= self.elements.outputs(h, vector, reading)
        output |= self.symmetry.outputs(h, vector, reading)
        return self.each(lambda v: v.estimate(output[v.name], beliefs[v.name], conditions, t))

    def read(
        self,
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None,
    ) -> Reading:
        """What beliefs mean: probabilities, the best crystal so far, and its expected contents."""
        c, classes = self.config, {}
        for name, belief in self.classes.items():
            earlier = None if previous is None else previous[name]
            classes[name] = belief.read(beliefs[name], conditions, t, earlier)
        best = {name: belief.best(beliefs[name]) for name, belief in self.numbers.items()}
        best = best if previous is None else previous.continuous
        coords = best["coords"].clamp(-FARTHEST, FARTHEST)
        numbers = {n: belief.read(beliefs[n], conditions, t) for n, belief in self.numbers.items()}
        if c.has_self_conditioning:
            numbers["coords"] = (*numbers["coords"], coords)
            numbers["lattice"] = (*numbers["lattice"], best["lattice"])
        x = self.fractional(coords)
        if c.coords.is_standardised:
            x = near_chart(x)
        elements = self.elements_of_sites({name: read[0] for name, read in classes.items()})
        atoms = self.symmetry.atoms(classes, conditions)
        return Reading(
            conditions=conditions,
            t=t,
            classes=classes,
            numbers=numbers,
            states={
                "elements": self.elements.state(classes, conditions, atoms),
                "symmetry": self.symmetry.state(classes, conditions, atoms),
            },
            x=x,
            k=self.lattice_k(best["lattice"].clamp(-FARTHEST, FARTHEST), conditions).float(),
            phases=phases(x, c.network.n_frequencies),
            elements=elements,
            radius=self.radius_of(elements),
            atoms=atoms,
        )

    def losses(
        self, data: Variables, estimates: Variables, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> tuple[dict[str, Float[Tensor, "B"]], dict[str, Float[Tensor, "B"]]]:
        """Nats per crystal by variable, and mean cross-entropy per categorical variable.

        The nats of one time; their mean over t ~ U(0, 1) is the variational bound but for the
        reconstruction at t = 1.
        """
        nats, cross_entropy = {}, {}
        for name, belief in self.variables.items():
            nats[name] = belief.loss(data[name], estimates[name], conditions, t)
        for name, classes in self.classes.items():
            cross_entropy[name] = classes.cross_entropy(data[name], estimates[name], conditions)
        return nats, cross_entropy

    def training_loss(
        self,
        nats: dict[str, Float[Tensor, "B"]],
        cross_entropy: dict[str, Float[Tensor, "B"]],
        conditions: Conditions,
    ) -> Float[Tensor, "B"]:
        """Weighted loss per crystal: nats per site, slot or component, and the cross-entropies."""
        total = torch.zeros(len(conditions.is_site), device=conditions.is_site.device)
        for name, value in nats.items():
            belief = self.variables[name]
            total = total + belief.weight * value / belief.size(conditions)
        for value in cross_entropy.values():
            total = total + self.config.loss.cross_entropy * value
        if self.config.loss.weighs_free_coords:
            total = total * self._template_weight(conditions)
        return total

    def _template_weight(self, conditions: Conditions) -> Float[Tensor, "B"]:
        """sqrt(1 + f) for f free coordinates where all letters are conditions, elsewhere 1."""
        fixed = conditions.fixed
        if fixed is None or "letters" not in fixed.where:
            return torch.ones(len(conditions.is_site), device=conditions.is_site.device)
        has_template = (fixed.where["letters"] | ~conditions.is_site).all(-1)
        rows = conditions.rows.gather(1, fixed.values["letters"])
        n_free = (self.degrees_of_freedom[rows] * conditions.is_site).sum(-1)
        return torch.where(has_template, (1.0 + n_free).sqrt(), 1.0)
