"""Sites that the crystals of a request should have."""

import operator
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from symmbfn.conditions.chemistry import symbol_of, symbols_of
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnit
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.loci import nearest_point
from symmbfn.crystals.symmetry import positions_of, space_group_numbers, symmetry_tables
from symmbfn.crystals.templates import primitive_multiplicities
from symmbfn.runtime.checks import shown

SAME_COORD = 1e-3  # fractional, between a site that is kept and its place
MOST_SITES = 200
_SITE = re.compile(r"(?:(\d+)\s*[x*]\s*)?([A-Z][a-z]?)\s+(\d*)([a-zA-Z])")
_KEPT = re.compile(r"(.+):\s*(\d+(?:\s*,\s*\d+)*)")


@dataclass(frozen=True)
class GivenSites:
    """Sites of a crystal that are conditions.

    Attributes:
        space_group_number: 1 to 230.
        elements: symbol of each site.
        letters: Wyckoff letter of each site.
        coords: three fractional coordinates of each site; None where these are free, and then the
            sites are all that a crystal has: a template.

    Raises:
        ValueError: a letter that the group does not have, or a point that is taken twice.
    """

    space_group_number: int
    elements: Sequence[str]
    letters: Sequence[str]
    coords: Any = None

    def __post_init__(self) -> None:
        (group,) = space_group_numbers(self.space_group_number)
        values = {
            "space_group_number": group,
            "elements": tuple(symbol_of(symbol) for symbol in self.elements),
            "letters": tuple(self.letters),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        n = len(self.elements)
        if not 0 < n <= MOST_SITES or len(self.letters) != n:
            raise ValueError(f"{n} elements and {len(self.letters)} letters make no sites")
        free = symmetry_tables().degrees_of_freedom[positions_of(group)]
        taken = Counter(self.positions)
        for position, count in taken.items():
            if count > 1 and free[position] == 0:
                letter = _letters_of(group)[position]
                raise ValueError(
                    f"position {letter} of space group {group} is a point, taken {count} times"
                )
        if self.coords is not None:
            object.__setattr__(self, "coords", self._on_loci(self.coords))

    def _on_loci(self, value: Any) -> tuple[tuple[float, float, float], ...]:
        """Coordinates in their chart, which must lie on the loci of the letters."""
        try:
            coords = np.asarray(value, dtype=float)
        except ValueError:
            coords = np.full(1, np.nan)
        if coords.shape != (len(self), 3) or not np.isfinite(coords).all():
            raise ValueError(f"{len(self)} sites need three coordinates each, got {shown(value)}")
        coords = coords - np.floor(coords - (CHART_END - 1))
        first = positions_of(self.space_group_number).start
        rows = torch.tensor(self.positions) + first
        misses = nearest_point(torch.from_numpy(coords), rows).numpy() - coords
        if (far := np.abs(misses).max(1) > SAME_COORD).any():
            site = int(far.argmax())
            raise ValueError(
                f"the site of {self.elements[site]} at {' '.join(f'{x:.4g}' for x in coords[site])}"
                f" is not on position {self.letters[site]} of space group {self.space_group_number}"
            )
        return tuple(map(tuple, coords.tolist()))

    def __len__(self) -> int:
        return len(self.elements)

    @property
    def positions(self) -> tuple[int, ...]:
        """Index of each site's position within the group.

        Raises:
            ValueError: a letter that the group does not have.
        """
        known = _letters_of(self.space_group_number)
        if wrong := [letter for letter in self.letters if letter not in known]:
            raise ValueError(
                f"space group {self.space_group_number} has no Wyckoff position {wrong[0]!r}, "
                f"only {known[-1]} to {known[0]}"
            )
        return tuple(known.index(letter) for letter in self.letters)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The elements, each once, along the Mendeleev scale."""
        return symbols_of("sites", list(self.elements))

    @property
    def n_primitive_atoms(self) -> int:
        """Atoms of these sites in the primitive cell."""
        return int(primitive_multiplicities(self.space_group_number)[[*self.positions]].sum())

    def atoms(self) -> dict[str, int]:
        """Element symbol -> atoms of these sites in the conventional cell."""
        multiplicity = symmetry_tables().multiplicity[positions_of(self.space_group_number)]
        counts: Counter[str] = Counter()
        for symbol, position in zip(self.elements, self.positions, strict=True):
            counts[symbol] += int(multiplicity[position])
        return dict(counts)

    def __str__(self) -> str:
        known = symmetry_tables().multiplicity[positions_of(self.space_group_number)]
        sites = (
            f"{symbol} {known[position]}{letter}"
            for symbol, position, letter in zip(
                self.elements, self.positions, self.letters, strict=True
            )
        )
        return f"{self.space_group_number}: {', '.join(sites)}"


def template_of(value: Any) -> GivenSites:
    """The template of a crystal: Wyckoff letter and element of all its sites.

    Args:
        value: "62: Li 4a, Fe 4c, P 4c, O 4c, O 4c, O 8d"; the path of a CIF; a crystal as an
            asymmetric unit, a record or a structure of pymatgen or ASE; or a `GivenSites`.

    Raises:
        ValueError: it is none of these.
    """
    if isinstance(value, Mapping):
        value = _given("template", value)
    if isinstance(value, GivenSites):
        return GivenSites(value.space_group_number, value.elements, value.letters)
    if isinstance(value, str) and ":" in value and not is_file(value):
        return _parsed_template(value)
    unit = unit_of("template", value)
    return _sites(unit, range(len(unit)), has_coords=False)


def kept_sites(value: Any) -> GivenSites:
    """Sites of a crystal that are kept, with their coordinates.

    Args:
        value: "FILE.cif:1,3" for the first and third site of its asymmetric unit; or a pair of a
            crystal, as in `template_of`, and numbers from 1 on; or a `GivenSites`.

    Raises:
        ValueError: it is none of these, or a number that no site has, naming the sites.
    """
    if isinstance(value, Mapping):
        value = _given("keep", value)
    if isinstance(value, GivenSites):
        if value.coords is None:
            raise ValueError("sites to keep need coordinates")
        return value
    if isinstance(value, str):
        match = _KEPT.fullmatch(value.strip())
        if match is None:
            raise ValueError(f"keep must be FILE.cif:1,3, got {shown(value)}")
        value = match.group(1), [int(number) for number in match.group(2).split(",")]
    try:
        source, numbers = value
        numbers = sorted({operator.index(number) for number in numbers})
    except (TypeError, ValueError):
        raise ValueError(
            f"keep must be FILE.cif:1,3 or (crystal, [1, 3]), got {shown(value)}"
        ) from None
    unit = unit_of("keep", source)
    if not numbers or numbers[0] < 1 or numbers[-1] > len(unit):
        there = _sites(unit, range(len(unit)), has_coords=False)
        listed = str(there).partition(": ")[2].split(", ")
        named = ", ".join(f"{number} {site}" for number, site in enumerate(listed, start=1))
        raise ValueError(f"keep {numbers}: the sites are {named}")
    return _sites(unit, [number - 1 for number in numbers], has_coords=True)


def _letters_of(space_group_number: int) -> list[str]:
    return symmetry_tables().letter[positions_of(space_group_number)].tolist()


def _sites(unit: AsymmetricUnit, rows: Sequence[int], *, has_coords: bool) -> GivenSites:
    known = _letters_of(unit.space_group_number)
    coords = tuple(tuple(float(x) for x in unit.fractional_coords[row]) for row in rows)
    return GivenSites(
        unit.space_group_number,
        tuple(SYMBOLS[int(unit.atomic_numbers[row])] for row in rows),
        tuple(known[int(unit.wyckoff_positions[row])] for row in rows),
        coords if has_coords else None,
    )


def unit_of(name: str, value: Any) -> AsymmetricUnit:
    """The canonical asymmetric unit of a crystal in any form."""
    from symmbfn.crystals.structure import asymmetric_unit, parse_cif

    if isinstance(value, AsymmetricUnit):
        return value
    if isinstance(unit := getattr(value, "unit", None), AsymmetricUnit):
        return unit
    if isinstance(value, str | Path):
        if not is_file(value):
            raise ValueError(
                f"{name} {shown(str(value))} is no file, and no text such as '62: Li 4a'"
            )
        value = parse_cif(Path(value))
    try:
        return asymmetric_unit(value)
    except (AttributeError, TypeError):
        raise ValueError(f"{name} must be a CIF or a crystal, got {shown(value)}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def _given(name: str, fields: Mapping[str, Any]) -> GivenSites:
    """Sites from their fields, as JSON has them."""
    try:
        return GivenSites(**fields)
    except TypeError:
        raise ValueError(f"{name} must have the fields of sites, got {shown(fields)}") from None


def is_file(path: str | Path) -> bool:
    """Whether there is such a file; a text that is too long for a path is none."""
    try:
        return Path(path).is_file()
    except OSError:
        return False


def _parsed_template(text: str) -> GivenSites:
    """Read "62: Li 4a, Fe 4c, 2 x O 8d"."""
    group_text, _, rest = text.rpartition(":")
    groups = space_group_numbers(group_text)
    if len(groups) != 1:
        raise ValueError(f"template {shown(text)} needs one space group, not {len(groups)}")
    group, known = groups[0], _letters_of(groups[0])
    multiplicity = symmetry_tables().multiplicity[positions_of(group)]
    elements: list[str] = []
    letters: list[str] = []
    for part in rest.split(","):
        match = _SITE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"template: {shown(part.strip())} is no site such as 'Li 4a'")
        times, symbol, stated, letter = match.groups()
        if letter not in known:
            raise ValueError(
                f"template: space group {group} has no Wyckoff position {letter!r}, "
                f"only {known[-1]} to {known[0]}"
            )
        if stated and int(stated) != multiplicity[known.index(letter)]:
            raise ValueError(
                f"template: position {letter} of space group {group} is "
                f"{multiplicity[known.index(letter)]}{letter}, not {stated}{letter}"
            )
        count = int(times or 1)
        if not 0 < len(elements) + count <= MOST_SITES:
            raise ValueError(f"template {shown(text)} needs 1 to {MOST_SITES} sites")
        elements += [symbol] * count
        letters += [letter] * count
    return GivenSites(group, tuple(elements), tuple(letters))
