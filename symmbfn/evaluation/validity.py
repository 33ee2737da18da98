"""Whether one crystal can be one: geometry, chemistry, and the space group that was asked for."""

from dataclasses import dataclass

import numpy as np
import torch

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.contacts import CONTACT_RATIO, closest_contacts
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.distances import MINIMUM_DISTANCE, MINIMUM_VOLUME
from symmbfn.crystals.lattice import cell_parameters, k_to_parameters
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.symmetry_search import (
    DEFAULT_SYMPREC,
    SYMPREC,
    find_symmetry,
    search_symmetry,
)
from symmbfn.evaluation.oxidation import is_smact_valid

SHARP_SYMPREC = 1e-3  # angstrom: the symmetry by construction, without tolerance
UNASKED = "unasked"


def is_structurally_valid(crystal: Crystal) -> bool:
    """Whether atoms keep 0.5 angstrom apart in a cell of more than 0.1 cubic angstrom.

    Stricter than the published rule in that the guards of the reconstruction count as well:
    sites of two elements in one place, of which one was removed, and implausible cells.

    Source: book, method-validity; book, method-guards.
    """
    return _is_apart(crystal.status, crystal.minimum_distance, crystal.volume)


def has_good_contacts(crystal: Crystal) -> bool:
    """Whether a valid structure has no pair closer than 0.7 of the sum of covalent radii."""
    return is_structurally_valid(crystal) and crystal.contact_ratio >= CONTACT_RATIO


def _is_apart(status: str, minimum_distance: float, volume: float) -> bool:
    return status == "ok" and minimum_distance > MINIMUM_DISTANCE and volume > MINIMUM_VOLUME


@dataclass(frozen=True)
class Judgement:
    """All that is counted of one crystal, plain values for one line of JSON.

    Args:
        index: number of the request; in a screening the place of the crystal.
        status, reason: of the record; of a cell "ok" or "invalid_geometry".
        formula: empty without structure.
        n_atoms: of the cell that was judged, 0 without structure.
        n_elements: distinct elements, 0 without structure.
        density: g/cm3; NaN without structure.
        volume_per_atom: cubic angstrom; NaN without structure.
        space_group_number: asked for, or None.
        found_group: at symprec 0.1, or None.
        default_group: at symprec 0.01, pymatgen's default, or None.
        symmetry: "kept", "supergroup", "lost" or "none" at symprec 0.1; "unasked" of a cell.
        sharp_symmetry: the same at 1e-3.
        is_structurally_valid, has_good_contacts, is_smact_valid: see the functions.
        letters: Wyckoff letter of each site in the canonical form at symprec 0.1, sorted.
        lattice_parameters: of the conventional cell in that form: a, b, c in angstrom, alpha,
            beta, gamma in degrees; NaN without structure.
        minimum_distance: shortest distance between two atoms, angstrom; NaN where not measured.
        contact_ratio: smallest distance over the sum of the two covalent radii.

    A structure without canonical form, because its atoms overlap, counts as one without symmetry:
    its letters are one "a" for each atom of the cell at hand, its lattice is that cell's.
    """

    index: int
    status: str
    reason: str
    formula: str
    n_atoms: int
    n_elements: int
    density: float
    volume_per_atom: float
    space_group_number: int | None
    found_group: int | None
    default_group: int | None
    symmetry: str
    sharp_symmetry: str
    is_structurally_valid: bool
    has_good_contacts: bool
    is_smact_valid: bool
    letters: str
    lattice_parameters: tuple[float, ...]
    minimum_distance: float
    contact_ratio: float

    @property
    def is_valid(self) -> bool:
        """Valid by structure and by composition."""
        return self.is_structurally_valid and self.is_smact_valid


def judge(crystal: Crystal) -> Judgement:
    """Judge one record; nothing of it raises, a failure is a row like any other."""
    asked = crystal.space_group_number
    found = find_symmetry(crystal, SYMPREC)
    cell = Cell.of(crystal, primitive=True) if len(crystal) else None
    letters, lattice_parameters = _canonical(cell)
    return Judgement(
        index=int(crystal.index),
        status=crystal.status,
        reason=crystal.reason,
        formula=crystal.formula,
        n_atoms=len(crystal),
        n_elements=len(np.unique(crystal.atomic_numbers)),
        density=crystal.density,
        volume_per_atom=crystal.volume / max(len(crystal), 1),
        space_group_number=asked,
        found_group=found.space_group_number,
        default_group=find_symmetry(crystal, DEFAULT_SYMPREC).space_group_number,
        symmetry=found.relation(asked),
        sharp_symmetry=find_symmetry(crystal, SHARP_SYMPREC).relation(asked),
        is_structurally_valid=is_structurally_valid(crystal),
        has_good_contacts=has_good_contacts(crystal),
        is_smact_valid=len(crystal) > 0 and is_smact_valid(crystal.atomic_numbers),
        letters=letters,
        lattice_parameters=lattice_parameters,
        minimum_distance=crystal.minimum_distance,
        contact_ratio=crystal.contact_ratio,
    )


def judge_cell(cell: Cell, *, index: int = 0) -> Judgement:
    """Judge any cell, of which no space group was asked; nothing of it raises.

    Args:
        cell: of a foreign generator or of a real crystal.
        index: number of the row.

    Returns:
        A judgement as of a record. The status is "invalid_geometry" where numbers are not finite,
        the cell has no more than 0.1 cubic angstrom, or atoms are within 0.5 angstrom.

    Source: book, method-validity: the published rule.
    """
    n_atoms = len(cell)
    flaw = _flaw(cell)
    is_cell = not flaw
    minimum, ratio = closest_contacts(cell) if is_cell else (float("nan"), float("nan"))
    if is_cell and minimum <= MINIMUM_DISTANCE:
        flaw = f"atoms {minimum:.3f} angstrom apart, no more than {MINIMUM_DISTANCE}"
    status = "invalid_geometry" if flaw else "ok"
    letters, lattice_parameters = _canonical(cell if is_cell else None)
    is_valid = _is_apart(status, minimum, cell.volume)
    return Judgement(
        index=index,
        status=status,
        reason=flaw,
        formula=cell.formula,
        n_atoms=n_atoms,
        n_elements=len(np.unique(cell.atomic_numbers)),
        density=cell.density if is_cell else float("nan"),
        volume_per_atom=cell.volume / n_atoms if is_cell else float("nan"),
        space_group_number=None,
        found_group=_group_of(cell, SYMPREC) if is_cell else None,
        default_group=_group_of(cell, DEFAULT_SYMPREC) if is_cell else None,
        symmetry=UNASKED,
        sharp_symmetry=UNASKED,
        is_structurally_valid=is_valid,
        has_good_contacts=is_valid and ratio >= CONTACT_RATIO,
        is_smact_valid=n_atoms > 0 and is_smact_valid(cell.atomic_numbers),
        letters=letters,
        lattice_parameters=lattice_parameters,
        minimum_distance=minimum,
        contact_ratio=ratio,
    )


def _flaw(cell: Cell) -> str:
    """Why nothing can be measured in a cell; empty where it can."""
    if not len(cell):
        return "no atoms"
    if not (np.isfinite(cell.lattice_matrix).all() and np.isfinite(cell.fractional_coords).all()):
        return "numbers that are not finite"
    if cell.volume <= MINIMUM_VOLUME:
        return f"a cell of {cell.volume:.3g} cubic angstrom, no more than {MINIMUM_VOLUME}"
    return ""


def _group_of(cell: Cell, symprec: float) -> int | None:
    found = search_symmetry(cell, symprec)
    return None if found is None else int(found.number)


def _canonical(cell: Cell | None) -> tuple[str, tuple[float, ...]]:
    """Letters and conventional lattice in the one setting that stands for all equivalent ones.

    As spglib names them, letters depend on the origin that a cell happens to have.
    """
    from symmbfn.crystals.structure import asymmetric_unit

    if cell is None:
        return "", (float("nan"),) * 6
    try:
        unit = asymmetric_unit(cell.to_pymatgen(), symprec=SYMPREC)
    except Exception:  # whatever a library cannot do with it, it is a crystal to be counted
        return "a" * len(cell), tuple(cell_parameters(cell.lattice_matrix).tolist())
    group = unit.space_group_number
    letters = symmetry_tables().letter[positions_of(group)][unit.wyckoff_positions]
    parameters = k_to_parameters(torch.from_numpy(unit.lattice_k), group)
    return "".join(sorted(letters.tolist())), tuple(parameters.tolist())
