"""SymmBFN: one Bayesian flow per variable of the asymmetric unit, and one network for all.

The variables are the lattice (6), the coordinates (N, 3), the Wyckoff letters or the 15 x 13
site-symmetry axes, and the elements: per site as published, or as slots and pointers. What is
given: the space group, the number of sites, and with slots the number of elements. Without
symmetry the sites are all atoms of the conventional cell, and nothing else changes.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.lattice import k_to_metric, lattice_constraints
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import MAX_POSITIONS, symmetry_tables
from symmbfn.datasets.batches import OPERATION_EDGES, edge_of
from symmbfn.flows import categorical, continuous
from symmbfn.flows.schedules import CategoricalSchedule, ContinuousSchedule
from symmbfn.networks.channels import ClassTable, ElementSlots, WyckoffPositions, position_rows
from symmbfn.networks.cspnet import CSPNet
from symmbfn.networks.embeddings import (
    N_IMAGE_FEATURES,
    image_features,
    pair_phases,
    phases,
    time_features,
)
from symmbfn.presets import (
    CONTINUOUS,
    ModelConfig,
    default_config,
    full_cell_config,
    paper_config,
)
from symmbfn.variables import (
    Given,
    Statistics,
    Variables,
    compute_statistics,
    element_classes,
    slots_and_pointers,
)

__all__ = [
    "Given",
    "ModelConfig",
    "Statistics",
    "SymmBFN",
    "Variables",
    "compute_statistics",
    "default_config",
    "element_classes",
    "full_cell_config",
    "paper_config",
    "slots_and_pointers",
]

MAX_EMBEDDED_SITES = 64


@dataclass
class Reading:
    """What the network is told of a batch's beliefs.

    Attributes:
        theta: probabilities of each categorical variable, 0 on padding.
        channels: (theta, bounded state, previous estimate) of each categorical variable.
        mean, state, best: means of the continuous beliefs, their unit-variance form, and the
            best estimates so far.
        x, k: best fractional coordinates (B, N, 3) and lattice coefficients (B, 6).
        phases: sin and cos of the coordinates' harmonics.
        elements: probabilities of each site's element (B, N, K).
        radius: expected covalent radius (B, N), angstrom.
        atoms: expected number of atoms of each site in the cell (B, N), 0 on padding.
        slots, positions: states of the element slots, embeddings of the groups' positions.
    """

    theta: dict[str, Tensor]
    channels: dict[str, tuple[Tensor, Tensor, Tensor]]
    mean: dict[str, Tensor]
    state: dict[str, Tensor]
    best: dict[str, Tensor]
    x: Tensor
    k: Tensor
    phases: tuple[Tensor, Tensor]
    elements: Tensor
    radius: Tensor
    atoms: Tensor
    slots: Tensor | None
    positions: Tensor | None


def _expand(value: Tensor, like: Tensor) -> Tensor:
    """Append axes to a per-crystal value until it broadcasts against `like`."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


class SymmBFN(nn.Module):
    """The joint Bayesian flow network of the asymmetric unit.

    Args:
        config: what the model is.
        statistics: what its training data was like.

    Source: Ruple et al. 2026, "Symmetry-aware Bayesian flow networks"; default preset ours.
    """

    coords_mean: Tensor
    coords_std: Tensor
    lattice_mean: Tensor
    lattice_std: Tensor
    radius: Tensor
    multiplicity: Tensor
    group_features: Tensor
    rotations: Tensor
    translations: Tensor
    n_operations: Tensor

    def __init__(self, config: ModelConfig, statistics: Statistics):
        super().__init__()
        self.config, self.statistics = config, statistics
        c, width = config, config.width
        tables = symmetry_tables()
        for name in ("coords_mean", "coords_std", "lattice_mean", "lattice_std"):
            self.register_buffer(name, getattr(statistics, name), persistent=False)
        self.schedules: dict[str, Any] = {
            "lattice": ContinuousSchedule(c.sigma1_lattice),
            "coords": ContinuousSchedule(
                min(c.sigma1_coords / float(statistics.coords_std.mean()), 0.5)
            ),
            "elements": CategoricalSchedule(c.beta1_elements),
            "pointers": CategoricalSchedule(c.beta1_pointers),
            "letters": CategoricalSchedule(c.beta1_symmetry),
            "axes": CategoricalSchedule(c.beta1_symmetry),
        }
        self.continuous, self.categorical = CONTINUOUS, c.categorical
        # whose accuracies the network is told; the pointers' is a multiple of the elements'
        self.told = ("coords", *(name for name in self.categorical if name != "pointers"))

        log_prior = statistics.element_log_prior
        if c.elements_as == "slots":
            self.slots = ElementSlots(c.n_slots, len(c.elements), width, log_prior)
        else:
            self.elements = ClassTable(len(c.elements), width, log_prior)
        if c.symmetry == "letters":
            self.letters = WyckoffPositions(width, log_prior=statistics.position_log_prior)
        elif c.symmetry == "axes":
            self.axes = ClassTable(15 * 13, width)

        radius = torch.tensor(COVALENT_RADIUS).float()[list(c.elements)]
        self.register_buffer("radius", radius, persistent=False)
        multiplicity = torch.tensor(tables.multiplicity).float()
        self.register_buffer("multiplicity", multiplicity, persistent=False)
        self.register_buffer("group_features", group_features(), persistent=False)
        self.group = nn.Embedding(230, 64)
        self.n_sites = nn.Embedding(MAX_EMBEDDED_SITES + 1, 16)
        rotations, translations, count = padded_operations()
        self.register_buffer("rotations", rotations, persistent=False)
        self.register_buffer("translations", translations, persistent=False)
        self.register_buffer("n_operations", count, persistent=False)

        site = 3 * (3 if c.has_self_conditioning else 2) + 6 * c.n_frequencies + 1
        site += width if c.symmetry == "none" else 2 * width
        graph = 33 + len(self.told) + 64 + 16 + 1 + self.group_features.shape[1] + 12 + 3
        graph += 6 if c.has_self_conditioning else 0
        graph += width if c.elements_as == "slots" else 0
        edge = 6 + 6 * c.n_frequencies + 2 + (N_IMAGE_FEATURES if c.has_images else 0)
        self.network = CSPNet(
            site,
            graph,
            edge,
            width=width,
            depth=c.depth,
            edge_width=c.edge_width,
            edge_layers=c.edge_layers,
            is_modulated=c.is_modulated,
        )
        self.write_coords = nn.Linear(width, 3)
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
        rows, is_position = position_rows(space_group_number)
        free, fixed = lattice_constraints(space_group_number)
        slot = torch.arange(self.config.n_slots, device=is_site.device)
        group = space_group_number - 1
        count = self.n_operations[group]
        padded = int(edge_of(count.max(), OPERATION_EDGES)) if self.config.has_images else 0
        return Given(
            space_group_number=space_group_number,
            is_site=is_site,
            n_elements=n_elements,
            lattice_free=free,
            lattice_fixed=fixed.float(),
            rows=rows,
            is_position=is_position,
            is_slot=slot < n_elements[:, None],
            rotations=self.rotations[group, :padded],
            translations=self.translations[group, :padded],
            is_operation=torch.arange(padded, device=group.device) < count[:, None],
        )

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

    def is_real(self, name: str, given: Given) -> Bool[Tensor, "..."]:
        """Which entries of a variable exist (its shape without classes, broadcastable)."""
        if name == "lattice":
            return given.lattice_free
        if name == "coords":
            return given.is_site[..., None]
        if name == "axes":
            return given.is_site[..., None]
        if name == "elements" and self.config.elements_as == "slots":
            return given.is_slot
        return given.is_site

    def allowed(self, name: str, given: Given) -> Bool[Tensor, "..."] | None:
        """Which classes of a variable are possible for each crystal; None for all."""
        if name == "letters":
            return given.is_position[:, None]
        if name == "pointers":
            return given.is_slot[:, None]
        return None

    def n_classes(self, name: str) -> int:
        """Number of classes of a categorical variable."""
        c = self.config
        sizes = {"elements": len(c.elements), "pointers": c.n_slots, "axes": 13}
        return sizes.get(name, MAX_POSITIONS)

    def shape(self, name: str, given: Given) -> tuple[int, ...]:
        """Shape of a variable's beliefs for a batch."""
        b, n = given.is_site.shape
        if name == "lattice":
            return b, 6
        if name == "coords":
            return b, n, 3
        if name == "axes":
            return b, n, 15, 13
        if name == "elements" and self.config.elements_as == "slots":
            return b, self.config.n_slots, self.n_classes(name)
        return b, n, self.n_classes(name)

    def fractional(self, coords: Float[Tensor, "B N 3"]) -> Float[Tensor, "B N 3"]:
        """Standardised coordinates in fractional units."""
        return self.coords_mean + self.coords_std * coords

    def lattice_k(self, lattice: Float[Tensor, "B 6"], given: Given) -> Float[Tensor, "B 6"]:
        """Standardised lattice as k, fixed components from the tables."""
        k = self.lattice_mean + self.lattice_std * lattice
        return torch.where(given.lattice_free, k, given.lattice_fixed)

    # ---- beliefs --------------------------------------------------------------------------

    def flow(
        self, data: Variables, given: Given, t: Float[Tensor, "B"], noise: Variables
    ) -> Variables:
        """Beliefs at time t about known crystals: one draw from the Bayesian flow."""
        mean, logits = {}, {}
        for name in self.continuous:
            x = data.continuous[name]
            gamma = _expand(self.schedules[name].gamma(t), x)
            mu = continuous.bayesian_flow(x, gamma, noise.continuous[name])
            mean[name] = mu * self.is_real(name, given)
        for name in self.categorical:
            one_hot = nn.functional.one_hot(data.categorical[name], self.n_classes(name)).float()
            beta = _expand(self.schedules[name](t)[0], one_hot)
            z = categorical.bayesian_flow(one_hot, beta, noise.categorical[name])
            logits[name] = z
        return Variables(mean, logits)

    def prior(self, given: Given, t: float, noise: Variables) -> Variables:
        """Beliefs at a small time t before any call, as the average crystal would give them.

        At t = 0 the exact prior: mean 0, all classes alike. Source: method.md 4.4.
        """
        mean, logits = {}, {}
        time = torch.full((len(given.is_site),), t, device=given.is_site.device)
        for name in self.continuous:
            eps = noise.continuous[name]
            gamma = _expand(self.schedules[name].gamma(time), eps)
            mean[name] = gamma.sqrt() * eps * self.is_real(name, given)
        for name in self.categorical:
            eps = noise.categorical[name]
            beta = _expand(self.schedules[name](time)[0], eps)
            z = categorical.bayesian_flow(self.marginal(name, given, eps), beta, eps)
            logits[name] = z
        return Variables(mean, logits)

    def marginal(self, name: str, given: Given, like: Tensor) -> Tensor:
        """Train frequency of each class, in the shape of the beliefs."""
        prior = torch.zeros_like(like)
        if name == "elements":
            prior = prior + self.statistics.element_log_prior.to(like)
        if name == "letters":
            prior = prior + self.statistics.position_log_prior.to(like)[given.rows][:, None]
        return categorical.masked_log_softmax(prior, self.allowed(name, given)).exp()

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
        reading = self._read(beliefs, given, t, previous)
        sites, elements_of_crystal = self._site_features(reading, given)
        graph = self._graph_features(reading, given, t, elements_of_crystal)
        edges = self._pair_features(reading, given)
        h, vector = self.network(sites, graph, edges, real)
        h = h * real[..., None].to(h.dtype)
        pooled = torch.cat([h.sum(1) / real.sum(-1, keepdim=True), vector], dim=-1)
        output = {
            "coords": self.write_coords(h).float(),
            "lattice": self.write_lattice(pooled).float() * given.lattice_free,
        }
        logits = {}
        if reading.slots is not None:
            logits["elements"], logits["pointers"] = self.slots.logits(
                h, vector, reading.slots, reading.theta["pointers"], reading.atoms * real
            )
        else:
            logits["elements"] = self.elements.logits(h)
        if reading.positions is not None:
            logits["letters"] = self.letters.logits(h, reading.positions, given.rows)
        elif "axes" in self.categorical:
            logits["axes"] = self.axes.logits(h).unflatten(-1, (15, 13))
        return self._estimates(output, logits, beliefs, given, t)

    def _read(
        self, beliefs: Variables, given: Given, t: Float[Tensor, "B"], previous: Variables | None
    ) -> "Reading":
        """What beliefs mean: probabilities, the best crystal so far, and its expected contents."""
        c, real = self.config, given.is_site
        theta, channels = {}, {}
        for name in self.categorical:
            z, allowed = beliefs.categorical[name].float(), self.allowed(name, given)
            log_theta = categorical.masked_log_softmax(z, allowed)
            theta[name] = log_theta.exp() * self.is_real(name, given)[..., None]
            state = earlier = torch.zeros_like(z)
            if c.is_preconditioned:
                state = categorical.bounded_state(z, _expand(self.schedules[name](t)[0], z))
                state = state if allowed is None else state * allowed
                if previous is not None:
                    earlier = previous.categorical[name].exp()
            channels[name] = (theta[name], state, earlier)

        mean = beliefs.continuous
        best = mean if previous is None else previous.continuous
        x = self.fractional(best["coords"].clamp(-5, 5))
        if c.is_standardised:
            x = x.clamp(CHART_END - 1.15, CHART_END + 0.15)
        scaled = {}
        for name in self.continuous:
            gamma = _expand(self.schedules[name].gamma(t), mean[name])
            scaled[name] = mean[name] / gamma.sqrt().clamp_min(1e-2)

        slots = positions = None
        if c.elements_as == "slots":
            slots = self.slots.slots(*channels["elements"], given.is_slot)
            elements = (theta["pointers"][..., None] * theta["elements"][:, None]).sum(2)
        else:
            elements = theta["elements"]
        if c.symmetry == "letters":
            positions = given.positions
            if positions is None:
                positions = self.letters.table(given.rows)
            atoms = (theta["letters"] * self.multiplicity[given.rows][:, None]).sum(-1)
        else:
            atoms = real.float()
        return Reading(
            theta=theta,
            channels=channels,
            mean=mean,
            state=scaled,
            best={"coords": best["coords"].clamp(-5, 5), "lattice": best["lattice"]},
            x=x,
            k=self.lattice_k(best["lattice"].clamp(-5, 5), given).float(),
            phases=phases(x, c.n_frequencies),
            elements=elements,
            radius=(elements * self.radius).sum(-1).clamp_min(0.3),
            atoms=atoms,
            slots=slots,
            positions=positions,
        )

    def _site_features(
        self, reading: "Reading", given: Given
    ) -> tuple[Float[Tensor, "B N F"], Float[Tensor, "B H"] | None]:
        """Elements, symmetry and coordinates of the sites; and the elements of the crystal."""
        c, real = self.config, given.is_site
        of_crystal = None
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
        coordinates = [reading.state["coords"], reading.mean["coords"]]
        if c.has_self_conditioning:
            coordinates.append(reading.best["coords"])
        log_atoms = (reading.atoms + ~real).log()[..., None]
        parts = [elements, *symmetry, *coordinates, *reading.phases, log_atoms]
        return torch.cat(parts, dim=-1), of_crystal

    def _graph_features(
        self,
        reading: "Reading",
        given: Given,
        t: Float[Tensor, "B"],
        elements_of_crystal: Float[Tensor, "B H"] | None,
    ) -> Float[Tensor, "B G"]:
        """Time, space group, sizes, lattice, and the elements of the crystal."""
        c, group = self.config, given.space_group_number - 1
        n_sites = given.is_site.sum(-1)
        accuracies = [self.schedules[name](t)[0] for name in self.told]
        log_atoms = reading.atoms.sum(-1).log()
        size = torch.stack([log_atoms, reading.k[:, 5] - log_atoms / 3, n_sites.log()], dim=-1)
        n_elements = given.n_elements[:, None] / 8
        if c.elements_as == "sites":
            n_elements = torch.zeros_like(n_elements)
        parts = [
            time_features(t),
            torch.stack(accuracies, dim=-1).log1p() / 5,
            self.group(group),
            self.group_features[group],
            self.n_sites(n_sites.clamp_max(MAX_EMBEDDED_SITES)),
            n_elements,
            reading.state["lattice"],
            given.lattice_free,
            size,
        ]
        if c.has_self_conditioning:
            parts.append(reading.best["lattice"])
        if elements_of_crystal is not None:
            parts.append(elements_of_crystal)
        return torch.cat([part.float() for part in parts], dim=-1)

    def _pair_features(self, reading: "Reading", given: Given) -> Float[Tensor, "B N N E"]:
        """Differences, phases, likeness of the elements, and the symmetry images of a pair."""
        x, radius, elements = reading.x, reading.radius, reading.elements
        difference = x[:, None] - x[:, :, None]
        alike = (elements[:, :, None] * elements[:, None]).sum(-1)
        sum_of_radii = radius[:, :, None] + radius[:, None]
        parts = [
            difference,
            difference - difference.round(),
            pair_phases(*reading.phases),
            torch.stack([alike, sum_of_radii / 4], dim=-1),
        ]
        if self.config.has_images:
            metric = k_to_metric(reading.k).float()
            operations = given.rotations, given.translations, given.is_operation
            parts.append(image_features(x, metric, *operations, radius))
        return torch.cat(parts, dim=-1)

    def _estimates(
        self,
        output: dict[str, Tensor],
        logits: dict[str, Tensor],
        beliefs: Variables,
        given: Given,
        t: Float[Tensor, "B"],
    ) -> Variables:
        """Network outputs to estimates: target algebra, preconditioning, masks."""
        x_hat, log_p = {}, {}
        for name in self.continuous:
            mu = beliefs.continuous[name]
            gamma = _expand(self.schedules[name].gamma(t), mu)
            value = continuous.estimate(output[name], mu, gamma, self.config.target)
            x_hat[name] = value * self.is_real(name, given)
        for name in self.categorical:
            z = logits[name].float()
            if self.config.is_preconditioned:
                z = z + beliefs.categorical[name]
            log_p[name] = categorical.masked_log_softmax(z, self.allowed(name, given))
        return Variables(x_hat, log_p)

    # ---- losses ---------------------------------------------------------------------------

    def losses(
        self, data: Variables, estimates: Variables, given: Given, t: Float[Tensor, "B"]
    ) -> tuple[dict[str, Float[Tensor, "B"]], dict[str, Float[Tensor, "B"]]]:
        """Nats per crystal by variable, and mean cross-entropy per categorical variable.

        The nats of one time; their mean over t ~ U(0, 1) is the variational bound but for the
        reconstruction at t = 1.
        """
        nats, cross_entropy = {}, {}
        for name in self.continuous:
            x, x_hat = data.continuous[name], estimates.continuous[name]
            rate = _expand(self.schedules[name](t)[1], x)
            loss = continuous.loss_nats(x, x_hat, rate) * self.is_real(name, given)
            nats[name] = loss.flatten(1).sum(-1)
        for name in self.categorical:
            index, log_p = data.categorical[name], estimates.categorical[name]
            real = self.is_real(name, given).expand_as(index)
            rate = _expand(self.schedules[name](t)[1], index)
            nats[name] = (categorical.loss_nats(index, log_p.exp(), rate) * real).flatten(1).sum(-1)
            ce = -log_p.gather(-1, index.unsqueeze(-1)).squeeze(-1)
            ce = ce.masked_fill(~real, 0).flatten(1).sum(-1)
            cross_entropy[name] = ce / real.flatten(1).sum(-1)
        return nats, cross_entropy

    def training_loss(
        self,
        nats: dict[str, Float[Tensor, "B"]],
        cross_entropy: dict[str, Float[Tensor, "B"]],
        given: Given,
    ) -> Float[Tensor, "B"]:
        """Weighted loss per crystal: nats per site, slot or component, and the cross-entropies."""
        total = torch.zeros(len(given.is_site), device=given.is_site.device)
        n_sites = given.is_site.sum(-1)
        for name, value in nats.items():
            size = n_sites
            if name == "lattice":
                size = torch.full_like(n_sites, 6)
            elif name == "axes":
                size = 15 * n_sites
            elif name == "elements" and self.config.elements_as == "slots":
                size = given.n_elements
            total = total + self.config.weights[name] * value / size
        for value in cross_entropy.values():
            total = total + self.config.cross_entropy * value
        return total


def group_features() -> Float[Tensor, "G F"]:
    """Fixed features of the 230 groups: family, centring, point-group size, multiplicity, axes."""
    tables = symmetry_tables()
    family = nn.functional.one_hot(torch.tensor(tables.crystal_family).long(), 6)
    centring = nn.functional.one_hot(torch.tensor(tables.centring).long(), 7)
    order = torch.tensor(np.diff(tables.operation_start)).float()
    # The general position's symmetry is trivial; the union over positions tells the group's axes.
    one_hot = nn.functional.one_hot(torch.tensor(tables.encoding).long(), 13).flatten(1)
    group = torch.repeat_interleave(
        torch.arange(230), torch.tensor(np.diff(tables.position_start)).long()
    )
    axes = torch.zeros(230, one_hot.shape[1]).index_add_(0, group, one_hot.float()).clamp_max(1)
    polar = torch.tensor(tables.polar_axes).float()
    return torch.cat(
        [family.float(), centring.float(), order.log()[:, None] / math.log(192), axes, polar],
        dim=-1,
    )


def padded_operations() -> tuple[
    Float[Tensor, "G O 3 3"], Float[Tensor, "G O 3"], Int[Tensor, "G"]
]:
    """Operations of all groups, padded to 192, and their numbers."""
    tables = symmetry_tables()
    count = torch.tensor(np.diff(tables.operation_start)).long()
    rotations = torch.zeros(230, int(count.max()), 3, 3)
    translations = torch.zeros(230, int(count.max()), 3)
    for g in range(230):
        rows = slice(tables.operation_start[g], tables.operation_start[g + 1])
        rotations[g, : count[g]] = torch.tensor(tables.operation_rotations[rows]).float()
        translations[g, : count[g]] = torch.tensor(tables.operation_translations[rows]).float()
    return rotations, translations, count
