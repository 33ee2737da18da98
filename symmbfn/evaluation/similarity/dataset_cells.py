"""Crystals of encoded datasets as cells, to be compared with others."""

from collections.abc import Sequence

import numpy as np
import torch

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.composition import reduced_formula
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.cache import EncodedDataset


def dataset_formulas(dataset: EncodedDataset) -> list[str]:
    """Reduced formula of each crystal, as `Cell.formula`, from its asymmetric unit."""
    crystal = torch.arange(len(dataset)).repeat_interleave(dataset.n_sites)
    group = dataset.space_group_number.long()[crystal]
    row = position_row(group, dataset.wyckoff_positions.long()).numpy()
    numbers = dataset.atomic_numbers.numpy().astype(np.int64)
    multiplicity = symmetry_tables().multiplicity[row]
    ends = dataset.site_start.tolist()
    return [
        reduced_formula(np.repeat(numbers[start:end], multiplicity[start:end]))
        for start, end in zip(ends[:-1], ends[1:], strict=True)
    ]


def dataset_cells(dataset: EncodedDataset, rows: Sequence[int]) -> list[Cell]:
    """Primitive cells of crystals of a dataset.

    Args:
        dataset: encoded crystals.
        rows: positions in it.

    Raises:
        ValueError: a crystal that cannot be rebuilt; encoding would have refused it.
    """
    if not len(rows):
        return []
    batch = dataset.batch(torch.tensor(rows), torch.float64)
    return [Cell.of(crystal, primitive=True) for crystal in reconstruct(batch, indices=rows)]


def crystals_with(
    datasets: Sequence[EncodedDataset], formulas: set[str]
) -> tuple[list[tuple[int, int]], list[Cell]]:
    """Find the crystals with one of the formulas and rebuild only these.

    Returns:
        Number of the dataset and row of each, and its primitive cell.
    """
    places: list[tuple[int, int]] = []
    cells: list[Cell] = []
    for number, dataset in enumerate(datasets):
        rows = [row for row, name in enumerate(dataset_formulas(dataset)) if name in formulas]
        places += [(number, row) for row in rows]
        cells += dataset_cells(dataset, rows)
    return places, cells
