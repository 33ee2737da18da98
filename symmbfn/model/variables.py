"""The variables of the asymmetric unit as the flows see them, and the statistics of a data set."""

from dataclasses import dataclass, field

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model.config import ModelConfig
from symmbfn.networks.channels import position_rows
from symmbfn.networks.properties import standard_values, zero_inflated

LEAST_DEVIATION = 0.05  # of a standardised variable, so that one that never varies stays finite
LEAST_SPREAD = 1e-6  # of a property, for the same reason


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
        property_mean, property_std: of the standard values of the model's properties, over the
            crystals where they are known.
    """

    coords_mean: Float[Tensor, "3"]
    coords_std: Float[Tensor, "3"]
    lattice_mean: Float[Tensor, "6"]
    lattice_std: Float[Tensor, "6"]
    element_log_prior: Float[Tensor, "K"]
    position_log_prior: Float[Tensor, "P"]
    given: Int[Tensor, "R 3"]
    given_count: Int[Tensor, "R"]
    property_mean: Float[Tensor, "Q"] = field(default_factory=lambda: torch.zeros(0))
    property_std: Float[Tensor, "Q"] = field(default_factory=lambda: torch.ones(0))


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


def compute_statistics(
    units: AsymmetricUnitBatch,
    config: ModelConfig,
    properties: Float[Tensor, "B Q"] | None = None,
) -> Statistics:
    """Statistics of a training set, in float64.

    Full cells (see `full_cells`) give P(number of atoms, number of elements | space group).

    Args:
        units: all crystals of the set.
        config: of the model.
        properties: values of the model's properties, NaN where not known, shape (B, Q).

    Raises:
        ValueError: if an element is not among the model's classes.
    """
    real = units.is_site
    x = units.fractional_coords[real].double()
    free, _ = lattice_constraints(units.space_group_number)
    k, count = units.lattice_k.double(), free.sum(0).clamp_min(1)
    mean = (k * free).sum(0) / count
    std = (((k - mean) * free).square().sum(0) / count).sqrt().clamp_min(LEAST_DEVIATION)
    x_std = x.std(0, correction=0).clamp_min(LEAST_DEVIATION)
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
    rows = position_row(units.space_group_number[:, None], units.wyckoff_positions)[real]
    position_count = torch.bincount(rows, minlength=len(tables.letter)).double() + 0.5
    group = torch.arange(230).repeat_interleave(torch.tensor(tables.position_start).diff())
    in_group = torch.zeros(230).double().index_add_(0, group, position_count)
    given = torch.stack([units.space_group_number, real.sum(-1), n_elements], dim=-1)
    given, given_count = given.unique(dim=0, return_counts=True)
    standardised = config.is_standardised
    moments = property_moments(properties, config.properties)
    return Statistics(
        coords_mean=(x.mean(0) if standardised else torch.zeros(3)).float(),
        coords_std=(x_std if standardised else torch.ones(3)).float(),
        lattice_mean=mean.float(),
        lattice_std=std.float(),
        element_log_prior=(element_count / element_count.sum()).log().float(),
        position_log_prior=(position_count / in_group[group]).log().float(),
        given=given,
        given_count=given_count,
        property_mean=moments[0],
        property_std=moments[1],
    )


def property_moments(
    values: Float[Tensor, "B Q"] | None, names: tuple[str, ...]
) -> tuple[Float[Tensor, "Q"], Float[Tensor, "Q"]]:
    """Mean and deviation of the standard values of properties, where they are known.

    Raises:
        ValueError: a property of which no or one value is known.
    """
    if not names:
        return torch.zeros(0), torch.ones(0)
    if values is None or values.shape[-1] != len(names):
        raise ValueError(f"values of the properties {names} are needed, got {values}")
    columns = standard_values(values.double(), zero_inflated(names).to(values.device)).unbind(-1)
    known = [column[~column.isnan()] for column in columns]
    if few := [name for name, column in zip(names, known, strict=True) if len(column) < 2]:
        raise ValueError(f"the dataset knows nothing of {', '.join(few)}")
    mean, std = (torch.stack([f(column) for column in known]) for f in (torch.mean, torch.std))
    return mean.float(), std.clamp_min(LEAST_SPREAD).float()


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
        lattice_free, lattice_fixed: components of k that the crystal family leaves free, and the
            values of the others, (B, 6).
        rows, is_position: Wyckoff positions of the group, (B, 27).
        is_slot: (B, S).
        is_axis_class: what the group's positions have along each axis, (B, 15, 13), for a model
            that is restricted to it; else None.
        rotations, translations, is_operation: operations of the group, padded to a bucket's edge,
            (B, O, 3, 3), (B, O, 3) and (B, O); no operations for a model that reads no images.
        positions: embeddings of the group's positions, (B, 27, E), where the weights are fixed
            and they need not be made again for every call; else None.
        properties: (B, Q) in the units of the data, NaN where left open; None leaves all open.
        known: variables that are given, wholly or in places; None for none.
    """

    space_group_number: Int[Tensor, "B"]
    is_site: Bool[Tensor, "B N"]
    n_elements: Int[Tensor, "B"]
    lattice_free: Bool[Tensor, "B 6"]
    lattice_fixed: Float[Tensor, "B 6"]
    rows: Int[Tensor, "B W"]
    is_position: Bool[Tensor, "B W"]
    is_slot: Bool[Tensor, "B S"]
    rotations: Float[Tensor, "B O 3 3"]
    translations: Float[Tensor, "B O 3"]
    is_operation: Bool[Tensor, "B O"]
    positions: Float[Tensor, "B W E"] | None = None
    properties: Float[Tensor, "B Q"] | None = None
    known: "Known | None" = None
    is_axis_class: Bool[Tensor, "B 15 13"] | None = None


def given_of(
    space_group_number: Int[Tensor, "B"],
    is_site: Bool[Tensor, "B N"],
    n_elements: Int[Tensor, "B"],
    n_slots: int,
    operations: tuple[Tensor, Tensor, Tensor],
) -> Given:
    """Gather what is known of crystals with these groups and sizes.

    Args:
        space_group_number, is_site, n_elements: as in `Given`.
        n_slots: most elements a crystal can have.
        operations: rotations, translations and which of them are real, padded.
    """
    rows, is_position = position_rows(space_group_number)
    free, fixed = lattice_constraints(space_group_number)
    slot = torch.arange(n_slots, device=is_site.device)
    return Given(
        space_group_number=space_group_number,
        is_site=is_site,
        n_elements=n_elements,
        lattice_free=free,
        lattice_fixed=fixed.float(),
        rows=rows,
        is_position=is_position,
        is_slot=slot < n_elements[:, None],
        rotations=operations[0],
        translations=operations[1],
        is_operation=operations[2],
    )


@dataclass
class Variables:
    """One value per variable: targets, beliefs, estimates or noise.

    Attributes:
        continuous: "lattice" (B, 6) and "coords" (B, N, 3), standardised; beliefs about circular
            coordinates are vectors (B, N, 3, 2), their noise is that of all messages (B, N, 3, M).
        categorical: with the classes last: "elements" (B, S, K) or (B, N, K), "pointers"
            (B, N, S), and "letters" (B, N, 27), "axes" (B, N, 15, 13) or neither.
    """

    continuous: dict[str, Tensor]
    categorical: dict[str, Tensor]

    def __getitem__(self, name: str) -> Tensor:
        return self.continuous[name] if name in self.continuous else self.categorical[name]


@dataclass
class Known:
    """Parts of crystals that are given: neither drawn nor learnt, but read by the network.

    Attributes:
        values: of the variables that are given somewhere, as in the data: numbers standardised,
            classes as indices.
        where: for each of them which places are given, (B, 6), (B, N) or (B, S).
    """

    values: Variables
    where: dict[str, Bool[Tensor, "B P"]]
