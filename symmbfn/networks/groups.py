"""Facts of the 230 space groups as tensors, one row for each group."""

import math

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.batches import OPERATION_EDGES, edge_of


def group_features() -> Float[Tensor, "G F"]:
    """Fixed features of the space groups.

    Returns:
        Features, shape (230, F): crystal family and centring one-hot, log of the number of
        operations over log 192, the classes of `axis_classes`, and which axes are polar.

    Source: book, method-features.
    """
    tables = symmetry_tables()
    family = nn.functional.one_hot(torch.tensor(tables.crystal_family).long(), 6)
    centring = nn.functional.one_hot(torch.tensor(tables.centring).long(), 7)
    order = torch.tensor(np.diff(tables.operation_start)).float()
    # The general position's symmetry is trivial; the union over positions shows the group's axes.
    axes = axis_classes().flatten(1).float()
    polar = torch.tensor(tables.polar_axes).float()
    return torch.cat(
        [family.float(), centring.float(), order.log()[:, None] / math.log(192), axes, polar],
        dim=-1,
    )


def axis_classes() -> Bool[Tensor, "G 15 13"]:
    """Which site symmetries the positions of each group have along each of the 15 axes.

    Returns:
        True where at least one position has the class, shape (230, 15, 13): 1.7 of 13 on average.

    Source: book, method-axis-mask.
    """
    tables = symmetry_tables()
    n_positions = torch.tensor(tables.position_start).long().diff()
    group = torch.arange(len(n_positions)).repeat_interleave(n_positions)
    one_hot = nn.functional.one_hot(torch.tensor(tables.encoding).long(), 13)
    return torch.zeros(len(n_positions), 15, 13).long().index_add_(0, group, one_hot) > 0


def padded_operations() -> tuple[
    Float[Tensor, "G O 3 3"], Float[Tensor, "G O 3"], Int[Tensor, "G"]
]:
    """Operations of all groups.

    Returns:
        Rotations, shape (230, 192, 3, 3), and translations, shape (230, 192, 3), padded with 0;
        and the number of operations of each group, shape (230,).

    Source: book, method-crystals.
    """
    tables = symmetry_tables()
    count = torch.tensor(np.diff(tables.operation_start)).long()
    rotations = torch.zeros(230, int(count.max()), 3, 3)
    translations = torch.zeros(230, int(count.max()), 3)
    for g in range(230):
        rows = slice(tables.operation_start[g], tables.operation_start[g + 1])
        rotations[g, : count[g]] = torch.tensor(tables.operation_rotations[rows]).float()
        translations[g, : count[g]] = torch.tensor(tables.operation_translations[rows]).float()
    return rotations, translations, count


class GroupOperations(nn.Module):
    """The operations of all groups on the model's device, of which a batch takes its own.

    Source: book, method-crystals.
    """

    rotations: Tensor
    translations: Tensor
    count: Tensor

    def __init__(self):
        super().__init__()
        for name, table in zip(
            ("rotations", "translations", "count"), padded_operations(), strict=True
        ):
            self.register_buffer(name, table, persistent=False)

    def forward(
        self, space_group_number: Int[Tensor, "B"], *, is_used: bool = True
    ) -> tuple[Float[Tensor, "B O 3 3"], Float[Tensor, "B O 3"], Bool[Tensor, "B O"]]:
        """Operations of a batch's groups.

        Args:
            space_group_number: 1 to 230, shape (B,).
            is_used: False for a model that reads no images: no operations.

        Returns:
            Rotations (B, O, 3, 3), translations (B, O, 3), fractional, and which of them are real,
            shape (B, O), padded to the edge of a bucket.
        """
        group = space_group_number - 1
        count = self.count[group]
        padded = int(edge_of(count.max(), OPERATION_EDGES)) if is_used else 0
        is_operation = torch.arange(padded, device=group.device) < count[:, None]
        return self.rotations[group, :padded], self.translations[group, :padded], is_operation
