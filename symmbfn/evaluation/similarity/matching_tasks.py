"""What worker processes do to compare crystals.

In a file of its own so that a process loads the libraries when it starts, not in the time of the
first crystal.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry

Fingerprint = tuple[Any, ...]


def reduce_cell(cell: Cell) -> Cell:
    """The cell that the matcher would make of this one, or its smallest part, in a comparison.

    A cell that holds copies of a smaller one, within 0.1 angstrom, is taken to that first: where
    the copies are shaken, the matcher's own search misses some threefold cells, and takes the
    same crystal for another.
    """
    structure = _without_copies(cell).to_pymatgen().get_reduced_structure(reduction_algo="niggli")
    return Cell.from_pymatgen(structure.get_primitive_structure())


def _without_copies(cell: Cell) -> Cell:
    atoms: Any = (cell.lattice_matrix, cell.fractional_coords, cell.atomic_numbers)
    try:
        found = spglib.standardize_cell(atoms, to_primitive=True, no_idealize=True, symprec=SYMPREC)
    except Exception:  # newer versions raise where older ones return None
        found = None
    if found is None or len(found[2]) >= len(cell):
        return cell
    lattice, coords, numbers = found
    return Cell(np.asarray(lattice), np.asarray(numbers, dtype=np.int64), np.asarray(coords))


def prepare(cell: Cell) -> tuple[Cell, Fingerprint]:
    """The reduced cell, and what says with which others to compare it first."""
    reduced = reduce_cell(cell)
    return reduced, _fingerprint(reduced)


def _fingerprint(cell: Cell) -> Fingerprint:
    """Space group, and letter and element of each orbit; it only says what to compare first."""
    found = search_symmetry(cell, SYMPREC)
    if found is None:
        return ()
    first = np.unique(found.crystallographic_orbits)
    sites = [(found.wyckoffs[atom], SYMBOLS[cell.atomic_numbers[atom]]) for atom in first]
    return (found.number, *sorted(sites))


def first_match(task: tuple[int, list[int]], cells: Mapping[int, Cell]) -> int | None:
    """The first of some candidates that matches, or None.

    Args:
        task: key of a crystal and of its candidates, in the order in which they are compared.
        cells: reduced cells by key.
    """
    row, others = task
    matcher, structure = StructureMatcher(), cells[row].to_pymatgen()
    for other in others:
        if matcher.fit(cells[other].to_pymatgen(), structure, skip_structure_reduction=True):
            return other
    return None


def all_matches(task: tuple[int, list[int]], cells: Mapping[int, Cell]) -> list[tuple[int, float]]:
    """All candidates that match, closest first, with their distances; as `first_match`."""
    row, others = task
    matcher, structure = StructureMatcher(), cells[row].to_pymatgen()
    matches = []
    for other in others:
        candidate = cells[other].to_pymatgen()
        if matcher.fit(candidate, structure, skip_structure_reduction=True):
            distance = matcher.get_rms_dist(candidate, structure)
            # it reduces both once more, so at the very limit it may find nothing
            matches.append((other, float("nan") if distance is None else float(distance[0])))
    return sorted(matches, key=lambda match: (np.isnan(match[1]), match[1]))
