"""The 230 space groups as stored tables.

Everything is in the default setting of the International Tables: unique axis b and cell choice 1,
hexagonal axes for rhombohedral groups, origin choice 2. The file beside this module is written by
scripts/symmetry_tables/make.py; reading it needs no other library than NumPy.

Source: book, method-crystals.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from symmbfn._shapes import Bool, Float, Int
from symmbfn.runtime.checks import shown

MAX_POSITIONS = 27
N_AXES = 15
N_AXIS_CLASSES = 13
AXIS_CLASSES = ("1", "-1", "2", "m", "3", "4", "-4", "2/m", "-3", "6", "-6", "4/m", "6/m")
CRYSTAL_FAMILIES = ("triclinic", "monoclinic", "orthorhombic", "tetragonal", "hexagonal", "cubic")
CENTRINGS = "PIFABCR"

CRYSTAL_SYSTEMS = {  # first and last space group
    "triclinic": (1, 2),
    "monoclinic": (3, 15),
    "orthorhombic": (16, 74),
    "tetragonal": (75, 142),
    "trigonal": (143, 167),
    "hexagonal": (168, 194),
    "cubic": (195, 230),
}


@dataclass(frozen=True)
class SymmetryTables:
    """Operations, Wyckoff positions and normalisers of all space groups, as flat arrays.

    Row G - 1 belongs to space group number G. Arrays named `*_start` hold offsets: the rows of
    entry i are `start[i]:start[i + 1]`. An operation takes fractional coordinates u to R u + t.

    Attributes:
        operation_*: the operations of the general position, centring translations included.
        letter, multiplicity, degrees_of_freedom: of each Wyckoff position.
        encoding: per position, the index in `AXIS_CLASSES` for each of 15 directions.
        orbit_*: maps from the representative to the members of an orbit; the first of each
            position is the projection onto its first locus.
        normaliser_*: one member of each coset of the Euclidean normaliser, the identity first. Its
            translation along `polar_axes` is free and stored as 0.
        special_*: for triclinic to orthorhombic groups, what else maps the group onto itself but
            keeps the metric of special cells only, such as a = b. Each stands for its products
            with the Euclidean cosets.
        lattice_free: which lattice coefficients are free.
        lattice_fixed: values of the others.
        crystal_family, centring: indices in `CRYSTAL_FAMILIES` and `CENTRINGS`.
        hermann_mauguin, hall_number: short symbol, and spglib's number of the default setting.

    Source: book, method-canonical; book, method-site-symmetry; book, method-lattice-families.
    """

    operation_start: Int[np.ndarray, "231"]
    operation_rotations: Int[np.ndarray, "operations 3 3"]
    operation_translations: Float[np.ndarray, "operations 3"]
    position_start: Int[np.ndarray, "231"]
    letter: np.ndarray
    multiplicity: Int[np.ndarray, "positions"]
    degrees_of_freedom: Int[np.ndarray, "positions"]
    encoding: Int[np.ndarray, "positions 15"]
    orbit_start: Int[np.ndarray, "positions_plus_1"]
    orbit_rotations: Float[np.ndarray, "orbits 3 3"]
    orbit_translations: Float[np.ndarray, "orbits 3"]
    normaliser_start: Int[np.ndarray, "231"]
    normaliser_rotations: Int[np.ndarray, "cosets 3 3"]
    normaliser_translations: Float[np.ndarray, "cosets 3"]
    special_start: Int[np.ndarray, "231"]
    special_rotations: Int[np.ndarray, "specials 3 3"]
    special_translations: Float[np.ndarray, "specials 3"]
    polar_axes: Bool[np.ndarray, "230 3"]
    lattice_free: Bool[np.ndarray, "230 6"]
    lattice_fixed: Float[np.ndarray, "230 6"]
    crystal_family: Int[np.ndarray, "230"]
    centring: Int[np.ndarray, "230"]
    hermann_mauguin: np.ndarray
    hall_number: Int[np.ndarray, "230"]


@cache
def symmetry_tables() -> SymmetryTables:
    """Load the tables, once.

    Returns:
        The tables, shared by all callers and therefore read-only.

    Source: book, method-crystals.
    """
    with (files("symmbfn.crystals") / "symmetry_tables.npz").open("rb") as file:
        stored = dict(np.load(file, allow_pickle=False))
    for name in stored:
        if name.endswith("_translations"):
            stored[name] = stored[name] / 24
        elif name.endswith("_start"):
            stored[name] = stored[name].astype(np.int32)
    stored["orbit_rotations"] = stored["orbit_rotations"] / 2
    stored["multiplicity"] = stored["multiplicity"].astype(np.int16)
    for array in stored.values():
        array.flags.writeable = False
    return SymmetryTables(**stored)


def check_space_group_number(number: int) -> int:
    """Check the number of a space group.

    Args:
        number: any number.

    Returns:
        The number as int.

    Raises:
        ValueError: the number is outside 1 to 230.
    """
    if not 1 <= number <= 230:
        raise ValueError(f"space group number must be 1 to 230, got {number}")
    return int(number)


def positions_of(space_group_number: int) -> slice:
    """Return the table rows of the Wyckoff positions of a group, general position first.

    Args:
        space_group_number: 1 to 230.

    Returns:
        Rows, as a slice.

    Raises:
        ValueError: the number is outside 1 to 230.

    Source: book, method-crystals.
    """
    start = symmetry_tables().position_start
    number = check_space_group_number(space_group_number)
    return slice(int(start[number - 1]), int(start[number]))


def operations_of(
    space_group_number: int,
) -> tuple[Int[np.ndarray, "n 3 3"], Float[np.ndarray, "n 3"]]:
    """Return the operations of a group's general position, centring translations included.

    Args:
        space_group_number: 1 to 230.

    Returns:
        Rotations, shape (n, 3, 3), and translations in [0, 1), shape (n, 3).

    Raises:
        ValueError: the number is outside 1 to 230.

    Source: book, method-crystals.
    """
    tables = symmetry_tables()
    number = check_space_group_number(space_group_number)
    rows = slice(int(tables.operation_start[number - 1]), int(tables.operation_start[number]))
    return tables.operation_rotations[rows], tables.operation_translations[rows]


def orbit_of(
    space_group_number: int, wyckoff_position: int
) -> tuple[Float[np.ndarray, "m 3 3"], Float[np.ndarray, "m 3"]]:
    """Return the maps from a representative to every member of its orbit.

    Args:
        space_group_number: 1 to 230.
        wyckoff_position: index within the group, 0 is the general position.

    Returns:
        Rotations R_m, shape (m, 3, 3), and translations t_m, shape (m, 3): member m is R_m u + t_m.

    Raises:
        ValueError: the group has no such position.

    Source: book, method-eq-orbit.
    """
    tables = symmetry_tables()
    positions = positions_of(space_group_number)
    if not 0 <= wyckoff_position < positions.stop - positions.start:
        raise ValueError(
            f"space group {space_group_number} has no Wyckoff position {wyckoff_position}"
        )
    row = positions.start + int(wyckoff_position)
    rows = slice(int(tables.orbit_start[row]), int(tables.orbit_start[row + 1]))
    return tables.orbit_rotations[rows], tables.orbit_translations[rows]


def space_group_numbers(query: str | int | Iterable[Any]) -> tuple[int, ...]:
    """Read space groups from numbers, Hermann-Mauguin symbols or crystal-system names.

    Args:
        query: `225`, `"225"`, `"Fm-3m"`, `"P 1 21/c 1"`, `"R-3c:H"`, `"cubic"`, a
            comma-separated mixture, or a list, set or array of these. A symbol of any setting
            means its group. "trigonal" is 143-167 and "hexagonal" 168-194.

    Returns:
        Sorted numbers without repeats.

    Raises:
        ValueError: a part names no space group.
    """
    found: Any = query.tolist() if hasattr(query, "tolist") else query  # NumPy, PyTorch, pandas
    if isinstance(found, str):
        parts = [part.strip() for part in found.split(",") if part.strip()]
    else:
        is_several = isinstance(found, Iterable) and not isinstance(found, bytes | bytearray)
        parts = [str(part).strip() for part in (found if is_several else [found])]
    if not parts:
        raise ValueError(f"no space group in {shown(query)}")
    numbers = {number for part in parts for number in _read_one(part)}
    return tuple(sorted(numbers))


def _read_one(text: str) -> Sequence[int]:
    if re.fullmatch(r"[+-]?\d+", text):
        return (check_space_group_number(int(text)),)
    if text.lower() in CRYSTAL_SYSTEMS:
        first, last = CRYSTAL_SYSTEMS[text.lower()]
        return range(first, last + 1)
    number = _numbers_by_symbol().get(_plain(text))
    return (number,) if number else _numbers_of_setting(text)


def _numbers_of_setting(symbol: str) -> Sequence[int]:
    """The group of a symbol of any setting: a request is for the group, not for axes."""
    from symmbfn.crystals.space_group_names import space_group_of_symbol

    try:
        return sorted(space_group_of_symbol(symbol).numbers)
    except ValueError:
        near = get_close_matches(_plain(symbol), _numbers_by_symbol(), n=1)
        hint = f"; {near[0].capitalize()} is near" if near else ""
        raise ValueError(
            f"{shown(symbol)} is no space group: give a number 1-230, a symbol such as Fm-3m, "
            f"P 1 21/c 1 or R-3c:H, or one of {', '.join(CRYSTAL_SYSTEMS)}{hint}"
        ) from None


@cache
def _numbers_by_symbol() -> dict[str, int]:
    """Symbols of the standard settings, which need no other library."""
    return {
        _plain(str(symbol)): row + 1 for row, symbol in enumerate(symmetry_tables().hermann_mauguin)
    }


def _plain(symbol: str) -> str:
    return symbol.replace(" ", "").replace("_", "").lower()
