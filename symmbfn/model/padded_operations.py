"""Operations of the space groups as tensors, padded so that a batch of crystals shares them."""

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.batches import OPERATION_EDGES, edge_of


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


class PaddedOperations(nn.Module):
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
