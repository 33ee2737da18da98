"""What worker processes do to compare crystals.

In a file of its own so that a process loads the libraries when it starts, not in the time of the
first crystal.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.symmetry_search import ANGLE_TOLERANCE, SYMPREC, search_symmetry

Fingerprint = tuple[Any, ...]
Forms = tuple[Cell, ...]


def reduced_forms(cell: Cell) -> Forms:
    """The reduced cells by which a crystal is compared, the matcher's own first.

    What the matcher's own search for a smaller cell finds depends on the cell it begins with, and
    copies that are shaken hide from it. So a crystal is also compared in the cell in which it
    repeats itself within 0.1 angstrom, where that has another number of atoms: never in that cell
    alone, since a helix of tellurium is as near to a crystal of one atom.

    Args:
        cell: any cell of the crystal.

    Returns:
        One cell or two.

    Source: book, method-matching.
    """
    own, other = _reduced(cell), _reduced(_without_copies(cell))
    return (own,) if len(other) == len(own) else (own, other)


def _reduced(cell: Cell) -> Cell:
    """What the matcher makes of a cell in a comparison."""
    structure = cell.to_pymatgen().get_reduced_structure(reduction_algo="niggli")
    return Cell.from_pymatgen(structure.get_primitive_structure())


def _without_copies(cell: Cell) -> Cell:
    atoms: Any = (cell.lattice_matrix, cell.fractional_coords, cell.atomic_numbers)
    try:
        found = spglib.standardize_cell(
            atoms,
            to_primitive=True,
            no_idealize=True,
            symprec=SYMPREC,
            angle_tolerance=ANGLE_TOLERANCE,
        )
    except Exception:  # newer versions raise where older ones return None
        found = None
    if found is None or len(found[2]) >= len(cell):
        return cell
    lattice, coords, numbers = found
    return Cell(np.asarray(lattice), np.asarray(numbers, dtype=np.int64), np.asarray(coords))


def prepare(cell: Cell) -> tuple[Forms, Fingerprint]:
    """The reduced cells, and what says with which others to compare them first."""
    forms = reduced_forms(cell)
    return forms, _fingerprint(forms[-1])


def _fingerprint(cell: Cell) -> Fingerprint:
    """Space group, and letter and element of each orbit; it only says what to compare first."""
    found = search_symmetry(cell, SYMPREC)
    if found is None:
        return ()
    first = np.unique(found.crystallographic_orbits)
    sites = [(found.wyckoffs[atom], SYMBOLS[cell.atomic_numbers[atom]]) for atom in first]
    return (found.number, *sorted(sites))


def first_match(task: tuple[int, list[int]], forms: Mapping[int, Forms]) -> int | None:
    """The first of some candidates that matches, or None.

    Args:
        task: key of a crystal and of its candidates, in the order in which they are compared.
        forms: reduced cells by key.
    """
    row, others = task
    matcher, mine = StructureMatcher(), _structures(forms[row])
    return next((k for k in others if _match(matcher, _structures(forms[k]), mine)), None)


def all_matches(task: tuple[int, list[int]], forms: Mapping[int, Forms]) -> list[tuple[int, float]]:
    """All candidates that match, closest first, with their distances; as `first_match`."""
    row, others = task
    matcher, mine = StructureMatcher(), _structures(forms[row])
    matches = []
    for other in others:
        if pair := _match(matcher, _structures(forms[other]), mine):
            distance = matcher.get_rms_dist(*pair)
            # it reduces both once more, so at the very limit it may find nothing
            matches.append((other, float("nan") if distance is None else float(distance[0])))
    return sorted(matches, key=lambda match: (np.isnan(match[1]), match[1]))


def _structures(forms: Forms) -> list[Structure]:
    return [cell.to_pymatgen() for cell in forms]


def _match(
    matcher: StructureMatcher, first: list[Structure], second: list[Structure]
) -> tuple[Structure, Structure] | None:
    """The reduced cells of two crystals that match, if any do."""
    pairs = ((a, b) for a in first for b in second if len(a) == len(b))
    return next((p for p in pairs if matcher.fit(*p, skip_structure_reduction=True)), None)
