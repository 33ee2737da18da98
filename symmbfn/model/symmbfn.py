"""SymmBFN: one Bayesian flow per variable of the asymmetric unit, and one network for all.

The variables are the lattice (6), the coordinates (N, 3), the Wyckoff letters or the 15 x 13
site-symmetry axes, and the elements: per site as published, or as slots and pointers. What is
given: the space group, the number of sites, and with slots the number of elements. Without
symmetry the sites are all atoms of the cell, and nothing else changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.elements import COVALENT_RADIUS, MENDELEEV_NUMBER
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.batches import OPERATION_EDGES, edge_of
from symmbfn.model.beliefs.of_config import Kind, variables_of
from symmbfn.model.config import (
    ModelConfig,
    circular_config,
    default_config,
    full_cell_config,
    paper_config,
)
from symmbfn.model.network_input import (
    N_KNOWN_OF_CRYSTAL,
    N_KNOWN_OF_SITE,
    Reading,
    asked_properties,
    known_of_crystals,
    known_of_sites,
    pair_features,
)
from symmbfn.model.variables import (
    Given,
    Statistics,
    Variables,
    compute_statistics,
    element_classes,
    given_of,
    slots_and_pointers,
)
from symmbfn.networks.channels import ClassTable, ElementSlots, WyckoffPositions
from symmbfn.networks.cspnet import CSPNet
from symmbfn.networks.displacements import Displacements
from symmbfn.networks.embeddings import N_POOLED, n_image_features, phases, time_features
from symmbfn.networks.groups import axis_classes, group_features, padded_operations
from symmbfn.networks.properties import PropertyTokens
from symmbfn.networks.transformer import Transformer

__all__ = [
    "Given",
    "ModelConfig",
    "Statistics",
    "SymmBFN",
    "Variables",
    "circular_config",
    "compute_statistics",
    "default_config",
    "element_classes",
    "full_cell_config",
    "paper_config",
    "slots_and_pointers",
]

MAX_EMBEDDED_SITES = 64


class SymmBFN(nn.Module):
    """The joint Bayesian flow network of the asymmetric unit.

    Args:
        config: what the model is.
        statistics: what its training data was like.

    Source: Ruple et al. 2026 (SymmBFN); book, method-model: the default preset.
    """

    coords_mean: Tensor
    coords_std: Tensor
    lattice_mean: Tensor
    lattice_std: Tensor
    radius: Tensor
    mendeleev: Tensor
    multiplicity: Tensor
    axis_classes: Tensor
    group_features: Tensor
    rotations: Tensor
    translations: Tensor
    n_operations: Tensor

    def __init__(self, config: ModelConfig, statistics: Statistics):
        super().__init__()
        self.config, self.statistics = config, statistics
        c, width = config, config.width
        rotations, translations, n_operations = padded_operations()
        buffers = {
            "coords_mean": statistics.coords_mean,
            "coords_std": statistics.coords_std,
            "lattice_mean": statistics.lattice_mean,
            "lattice_std": statistics.lattice_std,
            "radius": torch.tensor(COVALENT_RADIUS).float()[list(c.elements)],
            "mendeleev": torch.tensor(MENDELEEV_NUMBER).float()[list(c.elements)] / 50 - 1,
            "multiplicity": torch.tensor(symmetry_tables().multiplicity).float(),
            "group_features": group_features(),
            "rotations": rotations,
            "translations": translations,
            "n_operations": n_operations,
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)
        self.numbers, self.classes = variables_of(config, statistics)
        self.continuous, self.categorical = tuple(self.numbers), tuple(self.classes)
        self.variables: dict[str, Kind] = {**self.numbers, **self.classes}
        self.told = [variable for variable in self.variables.values() if variable.is_told]
        if isinstance(messages := self.numbers["coords"].schedule, nn.Module):
            self.messages = messages  # moves with the model to its device

        log_prior = statistics.element_log_prior
        if c.elements_as == "slots":
            self.slots = ElementSlots(c.n_slots, len(c.elements), width, log_prior)
        else:
            self.elements = ClassTable(len(c.elements), width, log_prior)
        if c.symmetry == "letters":
            self.letters = WyckoffPositions(width, log_prior=statistics.position_log_prior)
        elif c.symmetry == "axes":
            self.axes = ClassTable(15 * 13, width)
            self.register_buffer("axis_classes", axis_classes(), persistent=False)

        self.group = nn.Embedding(230, 64)
        self.n_sites = nn.Embedding(MAX_EMBEDDED_SITES + 1, 16)

        is_circular = c.coords_as == "circular"
        told_of_coords = 1 if is_circular else 3 if c.has_self_conditioning else 2
        site = 3 * told_of_coords + 6 * c.n_frequencies + 1
        site += width if c.symmetry == "none" else 2 * width
        graph = 33 + len(self.told) + 64 + 16 + 1 + self.group_features.shape[1] + 12 + 3
        graph += 6 if c.has_self_conditioning else 0
        graph += width if c.elements_as == "slots" else 0
        edge = (3 if is_circular else 6) + 6 * c.n_frequencies + 2
        self.n_images = c.n_images if c.has_images else 0
        edge += n_image_features(self.n_images) if c.has_images else 0
        edge += N_POOLED if c.image_pooling == "species" else 0
        if c.properties:
            moments = statistics.property_mean, statistics.property_std
            self.properties = PropertyTokens(c.properties, *moments)
            graph += self.properties.width
        if c.has_known_parts:
            site += N_KNOWN_OF_SITE
            graph += N_KNOWN_OF_CRYSTAL
        shape = {"width": width, "depth": c.depth, "edge_width": c.edge_width}
        self.network: CSPNet
        if c.network == "transformer":
            self.network = Transformer(site, graph, edge, **shape)
        else:
            layers, modulated = c.edge_layers, c.is_modulated
            self.network = CSPNet(
                site, graph, edge, edge_layers=layers, is_modulated=modulated, **shape
            )
        self.write_coords = nn.Linear(width, 3)
        if c.has_displacements:
            self.displacements = Displacements(width, edge, c.n_images)
        hidden, write_k = nn.Linear(2 * width, width), nn.Linear(width, 6)
        self.write_lattice = nn.Sequential(hidden, nn.SiLU(), write_k)
        for last in (self.write_coords, write_k):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    # ---- data to variables and back -------------------------------------------------------

    def given(
        self,
        space_group_number: Int[Tensor, "B"],
        is_site: Bool[Tensor, "B N"],
        n_elements: Int[Tensor, "B"],
    ) -> Given:
        """Gather what the tables say of the space groups."""
        group = space_group_number - 1
        count = self.n_operations[group]
        padded = int(edge_of(count.max(), OPERATION_EDGES)) if self.config.has_images else 0
        operations = (
            self.rotations[group, :padded],
            self.translations[group, :padded],
            torch.arange(padded, device=group.device) < count[:, None],
        )
        n_slots = self.config.n_slots
        given = given_of(space_group_number, is_site, n_elements, n_slots, operations)
        if self.config.has_axis_mask:
            return replace(given, is_axis_class=self.axis_classes[group])
        return given

    def with_positions(self, given: Given) -> Given:
        """Embed the groups' positions once for many calls with the same weights."""
        if self.config.symmetry != "letters":
            return given
        return replace(given, positions=self.letters.table(given.rows))

    def encode(self, units: AsymmetricUnitBatch) -> tuple[Variables, Given]:
        """Standardised continuous variables and class indices of real crystals.

        Raises:
            ValueError: if an element has no class or a crystal more elements than slots.
        """
        c, real = self.config, units.is_site
        classes = element_classes(units.atomic_numbers, c.elements)
        limit = c.n_slots if c.elements_as == "slots" else len(c.elements)
        slots, pointers, n_elements = slots_and_pointers(classes, real, len(c.elements), limit)
        given = self.given(units.space_group_number, real, n_elements)
        x = units.fractional_coords.float()
        if not c.is_standardised:
            x = x % 1.0
        kappa = (units.lattice_k.float() - self.lattice_mean) / self.lattice_std
        values = {
            "lattice": kappa * given.lattice_free,
            "coords": (x - self.coords_mean) / self.coords_std * real[..., None],
        }
        indices = {"elements": slots, "pointers": pointers}
        if c.elements_as == "sites":
            indices = {"elements": classes}
        if c.symmetry == "letters":
            indices["letters"] = units.wyckoff_positions
        elif c.symmetry == "axes":
            encoding = torch.tensor(symmetry_tables().encoding).to(classes)
            row = position_row(units.space_group_number[:, None], units.wyckoff_positions)
            indices["axes"] = encoding[row]
        return Variables(values, indices), given

    def fractional(self, coords: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Standardised coordinates in fractional units."""
        return self.coords_mean + self.coords_std * coords

    def lattice_k(self, lattice: Float[Tensor, "B 6"], given: Given) -> Float[Tensor, "B 6"]:
        """Standardised lattice as k, fixed components from the tables."""
        k = self.lattice_mean + self.lattice_std * lattice
        return torch.where(given.lattice_free, k, given.lattice_fixed)

    def elements_of_sites(self, theta: Mapping[str, Tensor]) -> Float[Tensor, "B N K"]:
        """Probabilities of the elements of each site, through its pointer where there are slots."""
        if self.config.elements_as == "slots":
            return (theta["pointers"][..., None] * theta["elements"][:, None]).sum(2)
        return theta["elements"]

    def radius_of(self, elements: Float[Tensor, "B N K"]) -> Float[Tensor, "B N"]:
        """Expected covalent radius, angstrom."""
        return (elements * self.radius).sum(-1).clamp_min(0.3)

    # ---- beliefs --------------------------------------------------------------------------

    def each(self, make: Callable[[Kind], Tensor]) -> Variables:
        """One value for every variable."""
        return Variables(
            {name: make(variable) for name, variable in self.numbers.items()},
            {name: make(variable) for name, variable in self.classes.items()},
        )

    def flow(
        self, data: Variables, given: Given, t: Float[Tensor, "B"], noise: Variables
    ) -> Variables:
        """Beliefs at time t about known crystals: one draw from the Bayesian flow."""
        return self.each(lambda v: v.flow(data[v.name], given, t, noise[v.name]))

    def prior(self, given: Given, t: float, noise: Variables) -> Variables:
        """Beliefs at a small time t before any call, as the average crystal would give them.

        At t = 0 the exact prior: mean 0, all classes alike. Source: book, method-start.
        """
        time = torch.full((len(given.is_site),), t, device=given.is_site.device)
        return self.each(lambda v: v.prior(given, time, noise[v.name]))

    # ---- the network ----------------------------------------------------------------------

    def forward(
        self,
        beliefs: Variables,
        given: Given,
        t: Float[Tensor, "B"],
        previous: Variables | None = None,
    ) -> Variables:
        """Estimates from beliefs: continuous variables and log-probabilities of the classes.

        Args:
            beliefs: means and logits at time t.
            given: what the crystals are conditioned on.
            t: times in (0, 1].
            previous: an earlier estimate of the same crystals; read with self-conditioning only.
        """
        real = given.is_site
        previous = previous if self.config.has_self_conditioning else None
        beliefs = self.each(lambda v: v.informed(beliefs[v.name], given))
        reading = self._read(beliefs, given, t, previous)
        sites, elements_of_crystal = self._site_features(reading, given)
        graph = self._graph_features(reading, given, t, elements_of_crystal)
        is_periodic = self.config.coords_as == "circular"
        edges, vectors = pair_features(
            reading, given, is_periodic=is_periodic, n_images=self.n_images
        )
        h, vector = self.network(sites, graph, edges, real)
        h = h * real[..., None].to(h.dtype)
        pooled = torch.cat([h.sum(1) / real.sum(-1, keepdim=True), vector], dim=-1)
        output = {
            "coords": self.write_coords(h).float(),
            "lattice": self.write_lattice(pooled).float() * given.lattice_free,
        }
        if self.config.has_displacements and vectors is not None:
            moves = self.displacements(h, edges, vectors / self.coords_std, real)
            output["coords"] = output["coords"] + moves
        if reading.slots is not None:
            output["elements"], output["pointers"] = self.slots.logits(
                h, vector, reading.slots, reading.theta["pointers"], reading.atoms * real
            )
        else:
            output["elements"] = self.elements.logits(h)
        if reading.positions is not None:
            output["letters"] = self.letters.logits(h, reading.positions, given.rows)
        elif "axes" in self.categorical:
            output["axes"] = self.axes.logits(h).unflatten(-1, (15, 13))
        return self.each(lambda v: v.estimate(output[v.name], beliefs[v.name], given, t))

    def _read(
        self, beliefs: Variables, given: Given, t: Float[Tensor, "B"], previous: Variables | None
    ) -> Reading:
        """What beliefs mean: probabilities, the best crystal so far, and its expected contents."""
        c, real = self.config, given.is_site
        channels = {}
        for name, variable in self.classes.items():
            earlier = None if previous is None else previous[name]
            channels[name] = variable.read(beliefs[name], given, t, earlier)
        theta = {name: channel[0] for name, channel in channels.items()}

        best = {name: variable.best(beliefs[name]) for name, variable in self.numbers.items()}
        best = best if previous is None else previous.continuous
        x = self.fractional(best["coords"].clamp(-5, 5))
        if c.is_standardised:
            x = x.clamp(CHART_END - 1.15, CHART_END + 0.15)
        coords = [*self.numbers["coords"].read(beliefs["coords"], given, t)]
        lattice = [self.numbers["lattice"].read(beliefs["lattice"], given, t)[0]]
        if c.has_self_conditioning:
            coords.append(best["coords"].clamp(-5, 5))
            lattice.append(best["lattice"])

        slots = positions = None
        if c.elements_as == "slots":
            slots = self.slots.slots(*channels["elements"], given.is_slot)
        elements = self.elements_of_sites(theta)
        if c.symmetry == "letters":
            positions = given.positions
            if positions is None:
                positions = self.letters.table(given.rows)
            atoms = (theta["letters"] * self.multiplicity[given.rows][:, None]).sum(-1)
        else:
            atoms = real.float()
        share = species = None
        if c.image_pooling == "stabiliser":
            row = given.rows.gather(1, theta["letters"].argmax(-1))
            share = self.multiplicity[row] / given.is_operation.sum(-1, keepdim=True)
        elif c.image_pooling == "species":
            species = (elements * self.mendeleev).sum(-1)
        return Reading(
            theta=theta,
            channels=channels,
            coords=torch.cat(coords, dim=-1),
            lattice=tuple(lattice),
            x=x,
            k=self.lattice_k(best["lattice"].clamp(-5, 5), given).float(),
            phases=phases(x, c.n_frequencies),
            elements=elements,
            radius=self.radius_of(elements),
            atoms=atoms,
            share=share,
            species=species,
            slots=slots,
            positions=positions,
        )

    def _site_features(
        self, reading: Reading, given: Given
    ) -> tuple[Float[Tensor, "B N F"], Float[Tensor, "B H"] | None]:
        """Elements, symmetry and coordinates of the sites; and the elements of the crystal."""
        real, of_crystal = given.is_site, None
        if reading.slots is not None:
            elements, of_crystal = self.slots.embed(reading.slots, *reading.channels["pointers"])
        else:
            elements = self.elements.embed(reading.theta["elements"])
        symmetry = []
        if reading.positions is not None:
            letters = reading.channels["letters"]
            symmetry.append(self.letters.embed(reading.positions, *letters, real))
        elif "axes" in self.categorical:
            symmetry.append(self.axes.embed(reading.theta["axes"].flatten(-2)))
        log_atoms = (reading.atoms + ~real).log()[..., None]
        parts = [elements, *symmetry, reading.coords, *reading.phases, log_atoms]
        if self.config.has_known_parts:
            element = "pointers" if "pointers" in self.classes else "elements"
            parts.append(known_of_sites(given, element))
        return torch.cat(parts, dim=-1), of_crystal

    def _graph_features(
        self,
        reading: Reading,
        given: Given,
        t: Float[Tensor, "B"],
        elements_of_crystal: Float[Tensor, "B H"] | None,
    ) -> Float[Tensor, "B G"]:
        """Time, space group, sizes, lattice, and the elements of the crystal."""
        c, group = self.config, given.space_group_number - 1
        n_sites = given.is_site.sum(-1)
        accuracies = [variable.schedule(t)[0] for variable in self.told]
        log_atoms = reading.atoms.sum(-1).log()
        size = torch.stack([log_atoms, reading.k[:, 5] - log_atoms / 3, n_sites.log()], dim=-1)
        n_elements = given.n_elements[:, None] / 8
        if c.elements_as == "sites" and not c.is_told_n_elements:
            n_elements = torch.zeros_like(n_elements)
        parts = [
            time_features(t),
            torch.stack(accuracies, dim=-1).log1p() / 5,
            self.group(group),
            self.group_features[group],
            self.n_sites(n_sites.clamp_max(MAX_EMBEDDED_SITES)),
            n_elements,
            reading.lattice[0],
            given.lattice_free,
            size,
            *reading.lattice[1:],
        ]
        if elements_of_crystal is not None:
            parts.append(elements_of_crystal)
        if self.config.properties:
            parts.append(self.properties(asked_properties(given, len(self.config.properties))))
        if self.config.has_known_parts:
            parts.append(known_of_crystals(given, has_slots=reading.slots is not None))
        return torch.cat([part.float() for part in parts], dim=-1)

    # ---- losses ---------------------------------------------------------------------------

    def losses(
        self, data: Variables, estimates: Variables, given: Given, t: Float[Tensor, "B"]
    ) -> tuple[dict[str, Float[Tensor, "B"]], dict[str, Float[Tensor, "B"]]]:
        """Nats per crystal by variable, and mean cross-entropy per categorical variable.

        The nats of one time; their mean over t ~ U(0, 1) is the variational bound but for the
        reconstruction at t = 1.
        """
        nats, cross_entropy = {}, {}
        for name, variable in self.variables.items():
            nats[name] = variable.loss(data[name], estimates[name], given, t)
        for name, classes in self.classes.items():
            cross_entropy[name] = classes.cross_entropy(data[name], estimates[name], given)
        return nats, cross_entropy

    def training_loss(
        self,
        nats: dict[str, Float[Tensor, "B"]],
        cross_entropy: dict[str, Float[Tensor, "B"]],
        given: Given,
    ) -> Float[Tensor, "B"]:
        """Weighted loss per crystal: nats per site, slot or component, and the cross-entropies."""
        total = torch.zeros(len(given.is_site), device=given.is_site.device)
        for name, value in nats.items():
            size = self.variables[name].size(given)
            total = total + self.config.weights[name] * value / size
        for value in cross_entropy.values():
            total = total + self.config.cross_entropy * value
        return total
