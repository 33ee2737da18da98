"""The space group found in a finished structure, compared with the one of its request."""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn._shapes import Float
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry import operations_of
from symmbfn.runtime.checks import real_number

if TYPE_CHECKING:
    from spglib import SpglibDataset

# one convention for datasets and for generated crystals
SYMPREC = 0.1  # angstrom
ANGLE_TOLERANCE = 5.0  # degrees, pymatgen's default
DEFAULT_SYMPREC = 0.01  # angstrom, pymatgen's default
LEAST_EDGE = 4.0  # angstrom: in cells of a hundredth of it spglib finds nothing
EIGHTHS = 8  # what has no free coordinate in a cubic group lies on whole eighths of the edge


@dataclass(frozen=True)
class FoundSymmetry:
    """The space group of a finished structure.

    Args:
        space_group_number: 1 to 230, or None where the search failed.
        keeps_operations: whether every operation of the requested group is among those found.

    Source: book, method-symmetry-check.
    """

    space_group_number: int | None
    keeps_operations: bool

    def relation(self, asked: int) -> str:
        """Compare the group that was found with the requested one.

        Args:
            asked: space group number, 1 to 230.

        Returns:
            "kept", "supergroup" (more symmetric than requested), "lost", or "none" for no group at
            all. A group of the same number in a smaller cell counts as kept.
        """
        if self.space_group_number is None:
            return "none"
        if self.space_group_number == asked:
            return "kept"
        return "supergroup" if self.keeps_operations else "lost"


def is_group_kept(status: Any, asked: Any, found: Any) -> Any:
    """Whether a request gave a valid structure with exactly the space group that was asked for.

    Args:
        status: of the record; only "ok" is a valid structure.
        asked, found: space group numbers; of single crystals, or columns of a table.

    Returns:
        True or False, or a column of these, missing where a group is.

    Source: book, method-symmetry-check.
    """
    return (status == "ok") & (found == asked)


def search_symmetry(
    cell: Cell, symprec: float = SYMPREC, hall_number: int = 0
) -> "SpglibDataset | None":
    """Search the symmetry of a cell with spglib; every space group here is found by this.

    Args:
        cell: at least one atom.
        symprec: distance tolerance, angstrom; that of angles is always 5 degrees.
        hall_number: spglib's number of the setting to describe it in; 0 leaves it the choice.

    Returns:
        The dataset of spglib, or None where it finds nothing.

    Raises:
        ValueError: the tolerance is no finite number above 0, with which spglib would crash.

    Source: Togo et al. 2024 (spglib); book, method-symmetry-check.
    """
    import spglib

    symprec = real_number("symprec", symprec, above=0.0)
    atoms: Any = (cell.lattice_matrix, cell.fractional_coords, cell.atomic_numbers)
    try:
        return spglib.get_symmetry_dataset(
            atoms, symprec=symprec, angle_tolerance=ANGLE_TOLERANCE, hall_number=hall_number
        )
    except Exception:  # newer versions raise where older ones return None
        return None


def find_symmetry(crystal: Crystal, symprec: float = SYMPREC) -> FoundSymmetry:
    """Search the symmetry of a structure, whatever its status.

    Args:
        crystal: a record; without structure nothing is found.
        symprec: distance tolerance, angstrom.

    Returns:
        What spglib finds in the conventional cell.

    Source: book, method-symmetry-check.
    """
    if crystal.lattice_matrix is None or not len(crystal):
        return FoundSymmetry(None, False)
    symprec = real_number("symprec", symprec, above=0.0)
    eighths = EIGHTHS * crystal.fractional_coords
    if _is_wide_cube(crystal.lattice_matrix, symprec) and (eighths == np.rint(eighths)).all():
        order = np.lexsort(eighths.T)
        numbers = crystal.atomic_numbers[order].tolist()
        kinds = tuple(map(numbers.index, numbers))
        places = tuple(map(tuple, eighths[order].tolist()))
        return _find_in_cube(places, kinds, crystal.space_group_number, symprec)
    return _find(Cell.of(crystal), crystal.space_group_number, symprec)


def _is_wide_cube(lattice_matrix: Float[np.ndarray, "3 3"], symprec: float) -> bool:
    """Whether a lattice is a cube, in which atoms an eighth of the edge apart are far apart."""
    edge = float(lattice_matrix[0, 0])
    is_cube = np.allclose(lattice_matrix, edge * np.eye(3), rtol=0, atol=1e-9 * abs(edge))
    return is_cube and edge > 3 * EIGHTHS * symprec


@lru_cache(maxsize=4096)
def _find_in_cube(
    places: tuple[tuple[float, ...], ...], kinds: tuple[int, ...], asked: int, symprec: float
) -> FoundSymmetry:
    """Search the symmetry of atoms on whole eighths of a cube's edge.

    The length of the edge changes nothing: an operation brings each atom either exactly onto
    another or at least an eighth of the edge away from all. So structures of one type are searched
    once: spglib takes 17 ms for those of Fm-3m, thirty times as long as for others.

    Args:
        places: coordinates in eighths, sorted.
        kinds: number for each atom, the same for the same element.
        asked, symprec: as in `_find`.
    """
    cube = max(4 * EIGHTHS * symprec, LEAST_EDGE) * np.eye(3)
    cell = Cell(
        cube, atomic_numbers=np.array(kinds) + 1, fractional_coords=np.array(places) / EIGHTHS
    )
    return _find(cell, asked, symprec)


def _find(cell: Cell, asked: int, symprec: float) -> FoundSymmetry:
    """Search the symmetry of a cell, and in it the operations of the group that was asked for."""
    found = search_symmetry(cell, symprec)
    if found is None:
        return FoundSymmetry(None, False)
    rotations, translations = operations_of(asked)
    same = (rotations[:, None] == found.rotations[None]).all(axis=(-1, -2))
    steps = translations[:, None] - found.translations[None]
    steps -= np.rint(steps)
    misses = np.linalg.norm(steps @ cell.lattice_matrix, axis=-1)
    # a translation is found from atoms that may each be off by the tolerance
    is_there = (same & (misses < 2 * symprec + 1e-6)).any(axis=1)
    return FoundSymmetry(int(found.number), bool(is_there.all()))


def check_symmetry(crystal: Crystal, symprec: float = SYMPREC) -> Crystal:
    """Look for the requested group in a crystal of status "ok".

    Args:
        crystal: a record; one of another status is returned as it is.
        symprec: distance tolerance, angstrom.

    Returns:
        The record with the group that was found; its status is "symmetry_mismatch" where that
        is neither the requested group nor a supergroup of it.

    Source: book, method-symmetry-check.
    """
    if crystal.status != "ok":
        return crystal
    found = find_symmetry(crystal, symprec)
    crystal = replace(crystal, found_space_group_number=found.space_group_number)
    if found.relation(crystal.space_group_number) in ("kept", "supergroup"):
        return crystal
    reason = f"space group {found.space_group_number or 'none'} found at {symprec:g} angstrom"
    return replace(crystal, status="symmetry_mismatch", reason=reason)
