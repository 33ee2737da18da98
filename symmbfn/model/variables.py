"""The variables of the asymmetric unit as the flows see them, and what they are conditioned on."""

from dataclasses import dataclass

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.layout import DENSE, Layout
from symmbfn.networks.wyckoff_positions import position_rows


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
class Conditions:
    """What a crystal is conditioned on, gathered once per batch.

    Attributes:
        space_group_number: (B,); is_site: (B, N); n_elements: (B,).
        lattice_free, lattice_fixed: components of k that the crystal family leaves free, and the
            values of the others, (B, 6).
        rows, is_position: Wyckoff positions of the group, (B, 27).
        is_slot: (B, S).
        rotations, translations, is_operation: operations of the group, padded to a bucket's edge,
            (B, O, 3, 3), (B, O, 3) and (B, O); no operations for a model that reads no images.
        positions: embeddings of the group's positions, (B, 27, E), where the weights are fixed
            and they need not be made again for every call; else None.
        properties: (B, Q) in the units of the data, NaN for what is no condition; None for none.
        composition: atoms in the conventional cell of the element in each slot, (B, S), NaN where
            that is no condition; None for none. Goes with slots whose elements are fixed.
        is_element: classes of elements that a crystal may have, (B, K); None for all.
        fixed: variables that are fixed, wholly or in places; None for none.
        layout: of the sites and of their pairs.
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
    composition: Float[Tensor, "B S"] | None = None
    is_element: Bool[Tensor, "B K"] | None = None
    fixed: "FixedParts | None" = None
    layout: Layout = DENSE


def conditions_of(
    space_group_number: Int[Tensor, "B"],
    is_site: Bool[Tensor, "B N"],
    n_elements: Int[Tensor, "B"],
    n_slots: int,
    operations: tuple[Tensor, Tensor, Tensor],
) -> Conditions:
    """Gather what the tables say of crystals with these groups and sizes.

    Args:
        space_group_number, is_site, n_elements: as in `Conditions`.
        n_slots: most elements a crystal can have.
        operations: rotations, translations and which of them are real, padded.
    """
    rows, is_position = position_rows(space_group_number)
    free, fixed = lattice_constraints(space_group_number)
    slot = torch.arange(n_slots, device=is_site.device)
    return Conditions(
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
class FixedParts:
    """Parts of crystals that are fixed: neither drawn nor learnt, but read by the network.

    Attributes:
        values: of the variables that are fixed somewhere, as in the data: numbers standardised,
            classes as indices.
        where: for each of them which places are fixed, (B, 6), (B, N) or (B, S).
    """

    values: Variables
    where: dict[str, Bool[Tensor, "B P"]]
