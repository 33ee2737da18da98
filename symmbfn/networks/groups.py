"""Features of the 230 space groups, one row for each group."""

import math

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.crystals.symmetry import symmetry_tables


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
