"""SymmBFN: one Bayesian flow per variable of the asymmetric unit, and one network for all.

The variables are the lattice (6), the coordinates (N, 3), the Wyckoff letters or the 15 x 13
site-symmetry axes, and the elements: per site as published, or as slots and pointers. What is
given: the space group, the number of sites, and with slots the number of elements.
"""

import math
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnitBatch
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.lattice import k_to_metric, lattice_constraints
from symmbfn.crystals.symmetry import MAX_POSITIONS, symmetry_tables
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

MAX_EMBEDDED_SITES = 64


@dataclass(frozen=True)
class ModelConfig:
    """Everything that defines a model but its weights and the statistics of its data.

    Attributes:
        elements: atomic numbers of the classes; along the Mendeleev scale for slots.
        width, depth: hidden width H and number of layers L.
        n_frequencies: harmonics F of the coordinates' phases.
        edge_width, edge_layers, is_modulated: see `CSPNet`.
        symmetry: "letters" (one variable over the group's positions) or "axes" (15 x 13).
        elements_as: "slots" (crystal-level list and pointers) or "sites" (one class a site).
        n_slots: most elements a crystal can have, with slots.
        target: what the network predicts of continuous variables: "v", "noise" or "data".
        is_preconditioned: logits are the beliefs' plus the network's (method.md 4.12).
        has_images: symmetry images as neighbours.
        has_self_conditioning: the previous estimate is an input.
        is_standardised: coordinates have their train mean and deviation removed and live on the
            chart [-0.06, 0.94); otherwise raw in [0, 1) and wrapped after every call.
        sigma1_coords: final deviation of the coordinates' beliefs, fractional units.
        sigma1_lattice: the same for the standardised lattice.
        beta1_elements, beta1_symmetry, beta1_pointers: final accuracies.
        weights: loss weights by variable.
        cross_entropy: weight of the auxiliary cross-entropy of categorical variables.
        min_t: smallest training time.
    """

    elements: tuple[int, ...]
    width: int = 256
    depth: int = 5
    n_frequencies: int = 24
    edge_width: int = 96
    edge_layers: int = 1
    is_modulated: bool = True
    symmetry: str = "letters"
    elements_as: str = "slots"
    n_slots: int = 8
    target: str = "v"
    is_preconditioned: bool = True
    has_images: bool = True
    has_self_conditioning: bool = True
    is_standardised: bool = True
    sigma1_coords: float = 0.02
    sigma1_lattice: float = 0.04
    beta1_elements: float = 0.36
    beta1_symmetry: float = 1.2
    beta1_pointers: float = 4.0
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "coords": 1.0,
            "lattice": 0.5,
            "elements": 2.0,
            "pointers": 2.0,
            "letters": 3.0,
        }
    )
    cross_entropy: float = 0.1
    min_t: float = 1e-3

    def __post_init__(self):
        for name, allowed in {
            "symmetry": ("letters", "axes"),
            "elements_as": ("slots", "sites"),
            "target": ("v", "noise", "data"),
            "edge_layers": (1, 2),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if not self.elements:
            raise ValueError("elements must name at least one atomic number, got ()")


def default_config(elements: tuple[int, ...], **changes) -> ModelConfig:
    """The recommended model (method.md 11), `changes` by keyword."""
    return replace(ModelConfig(elements=elements), **changes)


def paper_config(**changes) -> ModelConfig:
    """The model of the paper as method.md 11 defines it: K = 94, 15 x 13 axes, noise target.

    Source: Methods; weights and accuracies from the authors' README.
    """
    config = ModelConfig(
        elements=tuple(range(1, 95)),
        width=512,
        depth=6,
        n_frequencies=128,
        edge_width=0,
        edge_layers=2,
        is_modulated=False,
        symmetry="axes",
        elements_as="sites",
        target="noise",
        is_preconditioned=False,
        has_images=False,
        has_self_conditioning=False,
        is_standardised=False,
        sigma1_coords=0.02,
        sigma1_lattice=0.02,
        beta1_elements=0.25,
        beta1_symmetry=2.5,
        weights={"coords": 1.0, "lattice": 0.1, "elements": 3.0, "axes": 10.0},
        cross_entropy=0.0,
        min_t=1e-4,
    )
    return replace(config, **changes)


@dataclass(frozen=True)
class Statistics:
    """What the model knows of its training data besides the weights.

    Attributes:
        coords_mean, coords_std: per axis, fractional units.
        lattice_mean, lattice_std: per component of k, over crystals where it is free.
        element_log_prior: log frequency per class (of slots or of sites).
        position_log_prior: log frequency of each Wyckoff position within its group.
        given: rows (space group, number of sites, number of elements) seen in training.
        given_count: how often each row was seen.
    """

    coords_mean: Float[Tensor, "3"]
    coords_std: Float[Tensor, "3"]
    lattice_mean: Float[Tensor, "6"]
    lattice_std: Float[Tensor, "6"]
    element_log_prior: Float[Tensor, "K"]
    position_log_prior: Float[Tensor, "P"]
    given: Int[Tensor, "R 3"]
    given_count: Int[Tensor, "R"]


def slots_and_pointers(
    classes: Int[Tensor, "B N"], is_site: Bool[Tensor, "B N"], n_classes: int, n_slots: int
) -> tuple[Int[Tensor, "B S"], Int[Tensor, "B N"], Int[Tensor, "B"]]:
    """Distinct classes of each crystal in ascending order, and where each site points.

    Returns:
        Slot classes (0 beyond the last), pointers, number of elements.

    Raises:
        ValueError: if a crystal has more than n_slots elements.
    """
    present = torch.zeros(len(classes), n_classes, dtype=torch.long, device=classes.device)
    present.scatter_reduce_(1, classes, is_site.long(), reduce="amax")
    n_elements = present.sum(-1)
    if len(n_elements) and n_elements.max() > n_slots:
        raise ValueError(
            f"crystal with {n_elements.max().item()} elements, the model has {n_slots} slots"
        )
    pointers = (present.cumsum(-1) - 1).gather(1, classes).clamp_min(0) * is_site
    order = torch.where(present.bool(), torch.arange(n_classes, device=classes.device), n_classes)
    slots = order.sort(-1).values[:, :n_slots]
    if slots.shape[1] < n_slots:
        slots = nn.functional.pad(slots, (0, n_slots - slots.shape[1]), value=n_classes)
    return torch.where(slots < n_classes, slots, 0), pointers, n_elements


def compute_statistics(units: AsymmetricUnitBatch, config: ModelConfig) -> Statistics:
    """Statistics of a training set, in float64.

    Raises:
        ValueError: if an element is not among the model's classes.
    """
    real = units.is_site
    x = units.fractional_coords[real].double()
    free, _ = lattice_constraints(units.space_group_number)
    k, count = units.lattice_k.double(), free.sum(0).clamp_min(1)
    mean = (k * free).sum(0) / count
    std = (((k - mean) * free).square().sum(0) / count).sqrt().clamp_min(0.05)
    classes = element_classes(units.atomic_numbers, config.elements)
    slots, _, n_elements = slots_and_pointers(
        classes, real, len(config.elements), max(config.n_slots, len(config.elements))
    )
    if config.elements_as == "slots":
        is_slot = torch.arange(slots.shape[1]) < n_elements[:, None]
        used = slots[is_slot]
    else:
        used = classes[real]
    element_count = torch.bincount(used, minlength=len(config.elements)).double() + 0.5
    tables = symmetry_tables()
    start = torch.from_numpy(tables.position_start).long()
    rows = (start[units.space_group_number - 1][:, None] + units.wyckoff_positions)[real]
    position_count = torch.bincount(rows, minlength=len(tables.letter)).double() + 0.5
    group = torch.repeat_interleave(torch.arange(230), start.diff())
    in_group = torch.zeros(230).double().index_add_(0, group, position_count)
    given = torch.stack([units.space_group_number, real.sum(-1), n_elements], dim=-1)
    given, given_count = given.unique(dim=0, return_counts=True)
    standardised = config.is_standardised
    return Statistics(
        coords_mean=(x.mean(0) if standardised else torch.zeros(3)).float(),
        coords_std=(x.std(0) if standardised else torch.ones(3)).float(),
        lattice_mean=mean.float(),
        lattice_std=std.float(),
        element_log_prior=(element_count / element_count.sum()).log().float(),
        position_log_prior=(position_count / in_group[group]).log().float(),
        given=given,
        given_count=given_count,
    )


def element_classes(
    atomic_numbers: Int[Tensor, "*X"], elements: tuple[int, ...]
) -> Int[Tensor, "*X"]:
    """Class of each atomic number; padding (0) gets class 0.

    Raises:
        ValueError: if an element is not among the classes.
    """
    lookup = torch.full((119,), -1, dtype=torch.long, device=atomic_numbers.device)
    lookup[torch.tensor(elements, device=lookup.device)] = torch.arange(
        len(elements), device=lookup.device
    )
    lookup[0] = 0
    classes = lookup[atomic_numbers]
    if (classes < 0).any():
        unknown = sorted(set(atomic_numbers[classes < 0].tolist()))
        raise ValueError(f"the model has no class for the atomic numbers {unknown}")
    return classes


@dataclass
class Given:
    """What a crystal is conditioned on, gathered once per batch.

    Attributes:
        space_group_number: (B,); is_site: (B, N); n_elements: (B,).
        lattice_free: (B, 6) components of k that the crystal family leaves free.
        rows, is_position: Wyckoff positions of the group, (B, 27).
        is_slot: (B, S).
    """

    space_group_number: Int[Tensor, "B"]
    is_site: Bool[Tensor, "B N"]
    n_elements: Int[Tensor, "B"]
    lattice_free: Bool[Tensor, "B 6"]
    rows: Int[Tensor, "B W"]
    is_position: Bool[Tensor, "B W"]
    is_slot: Bool[Tensor, "B S"]


@dataclass
class Variables:
    """One value per variable: targets, beliefs, estimates or noise.

    Attributes:
        continuous: "lattice" (B, 6) and "coords" (B, N, 3), standardised.
        categorical: with the classes last: "elements" (B, S, K) or (B, N, K), "pointers"
            (B, N, S), "letters" (B, N, 27) or "axes" (B, N, 15, 13).
    """

    continuous: dict[str, Tensor]
    categorical: dict[str, Tensor]


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

    def __init__(self, config: ModelConfig, statistics: Statistics):
        super().__init__()
        self.config, self.statistics = config, statistics
        c, width = config, config.width
        tables = symmetry_tables()
        for name in ("coords_mean", "coords_std", "lattice_mean", "lattice_std"):
            self.register_buffer(name, getattr(statistics, name), persistent=False)
        self.schedules = {
            "lattice": ContinuousSchedule(c.sigma1_lattice),
            "coords": ContinuousSchedule(
                min(c.sigma1_coords / float(statistics.coords_std.mean()), 0.5)
            ),
            "elements": CategoricalSchedule(c.beta1_elements),
            "pointers": CategoricalSchedule(c.beta1_pointers),
            "letters": CategoricalSchedule(c.beta1_symmetry),
            "axes": CategoricalSchedule(c.beta1_symmetry),
        }
        self.continuous = ("lattice", "coords")
        self.categorical = (
            ("elements", "pointers") if c.elements_as == "slots" else ("elements",)
        ) + (c.symmetry,)

        log_prior = statistics.element_log_prior
        n_inputs = 3 if c.has_self_conditioning else 2
        if not c.is_preconditioned:
            n_inputs = 1
        self.n_inputs = n_inputs
        if c.elements_as == "slots":
            self.slots = ElementSlots(c.n_slots, len(c.elements), width, log_prior)
        else:
            self.elements = ClassTable(len(c.elements), width, log_prior)
        if c.symmetry == "letters":
            self.letters = WyckoffPositions(width, log_prior=statistics.position_log_prior)
        else:
            self.axes = ClassTable(15 * 13, width)

        radius = torch.from_numpy(COVALENT_RADIUS).float()[list(c.elements)]
        self.register_buffer("radius", radius, persistent=False)
        multiplicity = torch.from_numpy(tables.multiplicity).float()
        self.register_buffer("multiplicity", multiplicity, persistent=False)
        self.register_buffer("group_features", group_features(), persistent=False)
        self.group = nn.Embedding(230, 64)
        self.n_sites = nn.Embedding(MAX_EMBEDDED_SITES + 1, 16)
        if c.has_images:
            rotations, translations, count = padded_operations()
            self.register_buffer("rotations", rotations, persistent=False)
            self.register_buffer("translations", translations, persistent=False)
            self.register_buffer("n_operations", count, persistent=False)

        site = 2 * width + 3 * (3 if c.has_self_conditioning else 2) + 6 * c.n_frequencies + 1
        graph = 33 + 3 + 64 + 16 + 1 + self.group_features.shape[1] + 12 + 3
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
        self.write_lattice = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, 6)
        )
        for last in (self.write_coords, self.write_lattice[-1]):
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
        free, _ = lattice_constraints(space_group_number)
        slot = torch.arange(self.config.n_slots, device=is_site.device)
        is_slot = slot < n_elements[:, None]
        return Given(space_group_number, is_site, n_elements, free, rows, is_position, is_slot)

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
        else:
            start = torch.from_numpy(symmetry_tables().position_start).to(classes)
            encoding = torch.from_numpy(symmetry_tables().encoding).to(classes)
            row = start[units.space_group_number - 1][:, None] + units.wyckoff_positions
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
        _, fixed = lattice_constraints(given.space_group_number)
        k = self.lattice_mean + self.lattice_std * lattice
        return torch.where(given.lattice_free, k, fixed.to(k))

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
            previous: an earlier estimate of the same crystals, for self-conditioning.
        """
        c, real = self.config, given.is_site
        b, n = real.shape
        theta, read = {}, {}
        for name in self.categorical:
            z = beliefs.categorical[name].float()
            log_theta = categorical.masked_log_softmax(z, self.allowed(name, given))
            theta[name] = log_theta.exp() * self.is_real(name, given)[..., None]
            if c.is_preconditioned:
                beta = _expand(self.schedules[name](t)[0], z)
                state = categorical.bounded_state(z, beta)
                allowed = self.allowed(name, given)
                state = state if allowed is None else state * allowed
                earlier = (
                    torch.zeros_like(z) if previous is None else previous.categorical[name].exp()
                )
                read[name] = (theta[name], state, earlier)
            else:
                read[name] = (theta[name],)

        mu_x, mu_k = beliefs.continuous["coords"], beliefs.continuous["lattice"]
        gamma_x = self.schedules["coords"].gamma(t)[:, None, None]
        gamma_k = self.schedules["lattice"].gamma(t)[:, None]
        best_x, best_k = mu_x, mu_k
        if previous is not None:
            best_x, best_k = previous.continuous["coords"], previous.continuous["lattice"]
        best_x = best_x.clamp(-5, 5)
        k = self.lattice_k(best_k.clamp(-5, 5), given).float()
        x = self.fractional(best_x)
        if c.is_standardised:
            x = x.clamp(CHART_END - 1.15, CHART_END + 0.15)

        # Sites: elements, symmetry, coordinates.
        slots = None
        if c.elements_as == "slots":
            slots = self.slots.slots(*self._three(read["elements"]), given.is_slot)
            site_elements, crystal_elements = self.slots.embed(
                slots, *self._three(read["pointers"])
            )
            elements = torch.einsum("bns,bsk->bnk", theta["pointers"], theta["elements"])
        else:
            site_elements, crystal_elements = self.elements.embed(theta["elements"]), None
            elements = theta["elements"]
        radius = (elements @ self.radius).clamp_min(0.3)
        if c.symmetry == "letters":
            table = self.letters.table(given.rows)
            site_symmetry = self.letters.embed(table, *self._three(read["letters"]), real)
            atoms = (theta["letters"] * self.multiplicity[given.rows][:, None]).sum(-1)
        else:
            table = None
            site_symmetry = self.axes.embed(theta["axes"].flatten(-2))
            atoms = real.float()
        sin, cos = phases(x, c.n_frequencies)
        state_x = mu_x / gamma_x.sqrt().clamp_min(1e-2)
        coordinates = [state_x, mu_x] + ([best_x] if c.has_self_conditioning else [])
        log_atoms = (atoms + ~real).log()[..., None]
        sites = torch.cat([site_elements, site_symmetry, *coordinates, sin, cos, log_atoms], dim=-1)

        # The crystal.
        accuracies = [self.schedules[name](t)[0] for name in ("coords", "elements", c.symmetry)]
        n_atoms = atoms.sum(-1).log()
        volume = 3 * k[:, 5]
        size = torch.stack([n_atoms, volume / 3 - n_atoms / 3, (real.sum(-1)).log()], dim=-1)
        graph = [
            time_features(t),
            torch.stack(accuracies, dim=-1).log1p() / 5,
            self.group(given.space_group_number - 1),
            self.group_features[given.space_group_number - 1],
            self.n_sites(real.sum(-1).clamp_max(MAX_EMBEDDED_SITES)),
            given.n_elements[:, None] / 8
            if c.elements_as == "slots"
            else torch.zeros_like(gamma_k),
            mu_k / gamma_k.sqrt().clamp_min(1e-2),
            given.lattice_free.to(mu_k),
            size,
        ]
        if c.has_self_conditioning:
            graph.append(best_k)
        if crystal_elements is not None:
            graph.append(crystal_elements)
        graph = torch.cat([part.to(mu_k) for part in graph], dim=-1)

        # Pairs.
        difference = x[:, None] - x[:, :, None]
        same = torch.einsum("bik,bjk->bij", elements, elements)
        sum_of_radii = radius[:, :, None] + radius[:, None]
        edges = [
            difference,
            difference - difference.round(),
            pair_phases(sin, cos),
            torch.stack([same, sum_of_radii / 4], dim=-1),
        ]
        if c.has_images:
            g = given.space_group_number - 1
            count = self.n_operations[g]
            most = int(count.max())
            is_operation = torch.arange(most, device=g.device) < count[:, None]
            rotations, translations = self.rotations[g, :most], self.translations[g, :most]
            metric = k_to_metric(k).float()
            edges.append(image_features(x, metric, rotations, translations, is_operation, radius))
        edges = torch.cat(edges, dim=-1)

        h, vector = self.network(sites, graph, edges, real)
        h = h * real[..., None].to(h.dtype)
        pooled = torch.cat([h.sum(1) / real.sum(-1, keepdim=True), vector], dim=-1)
        output = {
            "coords": self.write_coords(h).float(),
            "lattice": self.write_lattice(pooled).float() * given.lattice_free,
        }
        logits = {}
        if c.elements_as == "slots":
            logits["elements"], logits["pointers"] = self.slots.logits(
                h, vector, slots, theta["pointers"], atoms * real
            )
        else:
            logits["elements"] = self.elements.logits(h)
        if c.symmetry == "letters":
            logits["letters"] = self.letters.logits(h, table, given.rows)
        else:
            logits["axes"] = self.axes.logits(h).unflatten(-1, (15, 13))
        return self._estimates(output, logits, beliefs, given, t)

    def _three(self, read: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """(theta, state, previous), zeros where the model does not use them."""
        return read + (torch.zeros_like(read[0]),) * (3 - len(read))

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
        if not self.config.is_standardised:
            x_hat["coords"] = x_hat["coords"] % 1.0 * given.is_site[..., None]
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
    family = nn.functional.one_hot(torch.from_numpy(tables.crystal_family).long(), 6)
    centring = nn.functional.one_hot(torch.from_numpy(tables.centring).long(), 7)
    order = torch.from_numpy(np.diff(tables.operation_start)).float()
    # The general position's symmetry is trivial; the union over positions tells the group's axes.
    one_hot = nn.functional.one_hot(torch.from_numpy(tables.encoding).long(), 13).flatten(1)
    group = torch.repeat_interleave(
        torch.arange(230), torch.from_numpy(np.diff(tables.position_start)).long()
    )
    axes = torch.zeros(230, one_hot.shape[1]).index_add_(0, group, one_hot.float()).clamp_max(1)
    polar = torch.from_numpy(tables.polar_axes).float()
    return torch.cat(
        [family.float(), centring.float(), order.log()[:, None] / math.log(192), axes, polar],
        dim=-1,
    )


def padded_operations() -> tuple[
    Float[Tensor, "G O 3 3"], Float[Tensor, "G O 3"], Int[Tensor, "G"]
]:
    """Operations of all groups, padded to 192, and their numbers."""
    tables = symmetry_tables()
    count = torch.from_numpy(np.diff(tables.operation_start)).long()
    rotations = torch.zeros(230, int(count.max()), 3, 3)
    translations = torch.zeros(230, int(count.max()), 3)
    for g in range(230):
        rows = slice(tables.operation_start[g], tables.operation_start[g + 1])
        rotations[g, : count[g]] = torch.from_numpy(tables.operation_rotations[rows]).float()
        translations[g, : count[g]] = torch.from_numpy(tables.operation_translations[rows]).float()
    return rotations, translations, count


def config_to_dict(config: ModelConfig) -> dict:
    """Plain types for JSON."""
    return asdict(config)
