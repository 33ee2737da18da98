"""Whether a crystal meets the hard conditions of its request."""

from collections import Counter
from dataclasses import replace

import numpy as np

from symmbfn.conditions.cells import lattice_k_of
from symmbfn.conditions.request import Request
from symmbfn.conditions.sites import SAME_COORD
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.lattice import constrain_k
from symmbfn.crystals.templates import primitive_multiplicities

STATUS = "condition_not_met"
SAME_K = 1e-3  # between lattice coefficients


def checked(request: Request, crystal: Crystal) -> Crystal:
    """The record, with the status "condition_not_met" where it misses a hard condition.

    The check comes before all others: whatever else is wrong with the crystal, this is said. A
    record without structure stays as it is.

    Args:
        request: what was asked for.
        crystal: as it was decoded.
    """
    if crystal.unit is None or not (reason := unmet(request, crystal)):
        return crystal
    return replace(crystal, status=STATUS, reason=reason)


def unmet(request: Request, crystal: Crystal) -> str:
    """The first hard condition that a crystal with structure misses; empty if there is none."""
    unit = crystal.unit
    assert unit is not None
    if crystal.space_group_number not in request.possible_groups:
        return f"space group {crystal.space_group_number}, which was not asked for"
    symbols = [SYMBOLS[z] for z in unit.atomic_numbers.tolist()]
    multiplicity = primitive_multiplicities(unit.space_group_number)[unit.wyckoff_positions]
    counts: Counter[str] = Counter()
    for symbol, n in zip(symbols, multiplicity.tolist(), strict=True):
        counts[symbol] += n
    chemistry = request.chemistry
    if not chemistry.holds(counts):
        return f"{crystal.formula} is not what the elements and the composition ask for"
    if chemistry.atoms and counts.total() != chemistry.atoms:
        return f"{counts.total()} atoms in the primitive cell, not {chemistry.atoms}"
    return _unmet_sites(request, crystal, symbols) or _unmet_lattice(request, crystal)


def _unmet_sites(request: Request, crystal: Crystal, symbols: list[str]) -> str:
    unit = crystal.unit
    assert unit is not None
    if request.template:
        wanted = Counter(zip(request.template.elements, request.template.positions, strict=True))
        found = Counter(zip(symbols, unit.wyckoff_positions.tolist(), strict=True))
        return "" if wanted == found else "the sites are not those of the template"
    if request.keep:
        places = zip(
            request.keep.elements, request.keep.positions, request.keep.coords or (), strict=True
        )
        for symbol, position, coords in places:
            apart = np.asarray(unit.fractional_coords) - np.asarray(coords)
            is_there = (np.abs(apart - np.rint(apart)) < SAME_COORD).all(1)
            is_same = np.array([s == symbol for s in symbols])
            is_same &= np.asarray(unit.wyckoff_positions) == position
            if not (is_there & is_same).any():
                return f"the site of {symbol} at {_short(coords)} is not there"
    return ""


def _unmet_lattice(request: Request, crystal: Crystal) -> str:
    if not request.lattice:
        return ""
    unit = crystal.unit
    assert unit is not None
    wanted = constrain_k(lattice_k_of(request.lattice), unit.space_group_number).numpy()
    misses = np.abs(np.asarray(unit.lattice_k) - wanted).max()
    return "" if misses < SAME_K else "the lattice is not the one that was asked for"


def _short(coords: tuple[float, ...]) -> str:
    return " ".join(f"{x:.4g}" for x in coords)
