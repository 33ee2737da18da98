"""Whether one crystal can be one: geometry, chemistry, and the space group that was asked for."""

import math
from dataclasses import dataclass
from functools import cache, reduce
from math import gcd

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.distances import MINIMUM_DISTANCE, MINIMUM_VOLUME
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.found_symmetry import SYMPREC, find_symmetry

CONTACT_RATIO = 0.7  # of a distance and the sum of the two covalent radii
SHARP_SYMPREC = 1e-3  # angstrom: the symmetry by construction, without tolerance
# SMACT's results move by several per cent with its list of oxidation states; this is the one
# behind the published tables, by the name it has in SMACT 4
OXIDATION_STATES = "smact14"
MAX_COMBINATIONS = 10_000_000


def is_structurally_valid(crystal: Crystal) -> bool:
    """Whether atoms keep 0.5 angstrom apart in a cell of more than 0.1 cubic angstrom.

    Stricter than the published rule in that the guards of the reconstruction count as well:
    sites of two elements in one place, of which one was removed, and implausible cells.

    Source: method 8.7; guards 3.3 and 7.4.
    """
    return (
        crystal.status == "ok"
        and crystal.minimum_distance > MINIMUM_DISTANCE
        and crystal.volume > MINIMUM_VOLUME
    )


def has_good_contacts(crystal: Crystal) -> bool:
    """Whether a valid structure has no pair closer than 0.7 of the sum of covalent radii."""
    return is_structurally_valid(crystal) and crystal.contact_ratio >= CONTACT_RATIO


def is_smact_valid(atomic_numbers: Int[np.ndarray, "A"]) -> bool:
    """Whether oxidation states balance with anions more electronegative than cations.

    Single elements and alloys of metals are valid; a composition with more than 1e7
    combinations of oxidation states is not.

    Args:
        atomic_numbers: of all atoms of a cell; at least one.

    Source: Davies et al., Chem 1, 617 (2016); method 8.7. Needs the extra "metrics".
    """
    numbers, counts = np.unique(np.asarray(atomic_numbers), return_counts=True)
    divisor = reduce(gcd, counts.tolist())
    return _is_smact_valid(tuple(numbers.tolist()), tuple((counts // divisor).tolist()))


@cache
def _is_smact_valid(numbers: tuple[int, ...], counts: tuple[int, ...]) -> bool:
    from pymatgen.core import Composition
    from smact import Element, metals
    from smact.screening import smact_validity

    symbols = [SYMBOLS[number] for number in numbers]
    if len(symbols) == 1 or all(symbol in metals for symbol in symbols):
        return True
    states = [Element(symbol).oxidation_states_smact14 or [] for symbol in symbols]
    if not 0 < math.prod(map(len, states)) <= MAX_COMBINATIONS:
        return False
    composition = Composition(dict(zip(symbols, counts, strict=True)))
    return bool(smact_validity(composition, oxidation_states_set=OXIDATION_STATES))


@dataclass(frozen=True)
class Judgement:
    """All that is counted of one request, plain values for one line of JSON.

    Args:
        index: number of the request.
        status, reason: of the record.
        formula: empty without structure.
        density: g/cm3; NaN without structure.
        n_elements: distinct elements, 0 without structure.
        space_group_number: asked for.
        found_group: at symprec 0.1, or None.
        symmetry: "kept", "supergroup", "lost" or "none" at symprec 0.1.
        sharp_symmetry: the same at 1e-3.
        is_structurally_valid, has_good_contacts, is_smact_valid: see the functions.
    """

    index: int
    status: str
    reason: str
    formula: str
    density: float
    n_elements: int
    space_group_number: int
    found_group: int | None
    symmetry: str
    sharp_symmetry: str
    is_structurally_valid: bool
    has_good_contacts: bool
    is_smact_valid: bool


def judge(crystal: Crystal) -> Judgement:
    """Judge one record; nothing of it raises, a failure is a row like any other."""
    asked = crystal.space_group_number
    found = find_symmetry(crystal, SYMPREC)
    numbers = crystal.atomic_numbers
    return Judgement(
        index=int(crystal.index),
        status=crystal.status,
        reason=crystal.reason,
        formula=crystal.formula,
        density=crystal.density,
        n_elements=len(np.unique(numbers)),
        space_group_number=asked,
        found_group=found.space_group_number,
        symmetry=found.relation(asked),
        sharp_symmetry=find_symmetry(crystal, SHARP_SYMPREC).relation(asked),
        is_structurally_valid=is_structurally_valid(crystal),
        has_good_contacts=has_good_contacts(crystal),
        is_smact_valid=len(numbers) > 0 and is_smact_valid(numbers),
    )
