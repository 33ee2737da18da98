"""Whether a structure meets conditions, by pymatgen and gemmi: the package is not asked."""

import string
from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any

import gemmi
import numpy as np
from pymatgen.core import Composition, Structure

LETTERS = string.ascii_letters
NEAR = 2e-3  # fractional


def misses(settings: dict[str, Any], structure: Structure, group: int) -> list[str]:
    """The kinds of conditions that a structure does not meet.

    Args:
        settings: of the request; what is kept as (asymmetric unit, numbers of sites from 1 on).
        structure: conventional cell.
        group: that the record states.
    """
    met = {kind: CHECKS[kind](value, structure, group) for kind, value in settings.items()}
    return [kind for kind, is_met in met.items() if not is_met]


@cache
def operations(group: int) -> np.ndarray:
    """Operations of the standard setting, the second origin where there are two, (O, 3, 4)."""
    settings = [one for one in gemmi.spacegroup_table() if one.number == group]
    standard = [one for one in settings if one.ext == "2"]
    standard = standard or [one for one in settings if one.is_reference_setting()]
    found = [np.column_stack([op.rot, op.tran]) for op in standard[0].operations()]
    return np.array(found) / gemmi.Op.DEN


def has_group(group: int, structure: Structure, stated: int) -> bool:
    """Whether the group is stated, and all its operations map the structure onto itself."""
    return stated == group and all(_is_invariant(structure, one) for one in operations(group))


def _is_invariant(structure: Structure, operation: np.ndarray) -> bool:
    moved = structure.frac_coords @ operation[:, :3].T + operation[:, 3]
    apart = moved[:, None] - structure.frac_coords
    near = (np.abs(apart - np.rint(apart)) < NEAR).all(-1)
    numbers = np.array(structure.atomic_numbers)
    return bool((near & (numbers[:, None] == numbers)).any(1).all())


def _elements(structure: Structure) -> set[str]:
    return {element.symbol for element in structure.composition}


def _has_composition(formula: str, structure: Structure, group: int) -> bool:
    wanted = Composition(formula).fractional_composition
    return structure.composition.fractional_composition.almost_equals(wanted, 1e-6, 1e-6)


def _has_atoms(atoms: int, structure: Structure, group: int) -> bool:
    n_centrings = sum((np.eye(3) == one[:, :3]).all() for one in operations(group))
    return len(structure) == atoms * n_centrings


def _has_template(text: str, structure: Structure, group: int) -> bool:
    """Whether the group's orbits of atoms are as many, as large, of the same elements."""
    number, _, sites = text.partition(": ")
    if not has_group(int(number), structure, group):
        return False
    found: Counter[tuple[str, int]] = Counter()
    left = np.arange(len(structure))
    while len(left):
        first = structure[left[0]]
        orbit = operations(group)[:, :, :3] @ first.frac_coords + operations(group)[:, :, 3]
        apart = structure.frac_coords[left][:, None] - orbit
        is_in = (np.abs(apart - np.rint(apart)) < 2 * NEAR).all(-1).any(1)
        found[first.specie.symbol, int(is_in.sum())] += 1
        left = left[~is_in]
    wanted = Counter(
        (site.split()[0], int(site.split()[1].rstrip(LETTERS))) for site in sites.split(", ")
    )
    return found == wanted


def _has_kept(kept: Any, structure: Structure, group: int) -> bool:
    unit, numbers = kept
    rows = [number - 1 for number in numbers]
    found = np.array(structure.atomic_numbers)
    for number, coords in zip(unit.atomic_numbers[rows], unit.fractional_coords[rows], strict=True):
        apart = structure.frac_coords - coords
        near = (np.abs(apart - np.rint(apart)) < NEAR).all(-1)
        if not (near & (found == number)).any():
            return False
    return unit.space_group_number == group


def _has_lattice(cell: Any, structure: Structure, group: int) -> bool:
    return bool(np.allclose(structure.lattice.parameters, cell, rtol=2e-3, atol=1e-3))


CHECKS: dict[str, Callable[[Any, Structure, int], bool]] = {
    "space_group_number": has_group,
    "elements": lambda value, structure, group: _elements(structure) == set(value),
    "only": lambda value, structure, group: _elements(structure) <= set(value),
    "require": lambda value, structure, group: _elements(structure) >= set(value),
    "exclude": lambda value, structure, group: not _elements(structure) & set(value),
    "composition": _has_composition,
    "atoms": _has_atoms,
    "template": _has_template,
    "keep": _has_kept,
    "lattice": _has_lattice,
}
