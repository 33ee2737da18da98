"""What the names of space groups mean: Hermann-Mauguin symbols with their suffix, and numbers.

A *setting* is a space group on certain axes with a certain origin. The tables are gemmi's, with
the full symbols of spglib. What they lack is derived here: symbols with an e for two glides,
cubic ones without a bar over the 3, and tetragonal ones on C and F cells.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import accumulate, pairwise

import gemmi
import numpy as np
import spglib

from symmbfn._shapes import Float
from symmbfn.crystals.group_operations import GroupOperations

_MONOCLINIC = range(3, 16)
_TETRAGONAL = range(75, 143)
_E_GLIDES = (39, 41, 64, 67, 68)  # the plane normal to the centred face glides along two axes
_BARRED = (*range(200, 207), *range(221, 231))  # cubic groups that have a -3
_ON_DIAGONALS = {"P": "C", "I": "F"}  # letter of a tetragonal lattice, and on its diagonals
_DIAGONALS = ("x/2+y/2,-x/2+y/2,z", "x/2-y/2,x/2+y/2,z")
# suffixes without a colon: R -3 m H, and the origin choices F d -3 m S and F d -3 m Z
_LAST_LETTERS = {"h": "h", "r": "r", "s": "1", "z": "2"}
_PLAIN = str.maketrans("₁₂₃₄₅−–", "12345--", "_{}~")


@dataclass(frozen=True, eq=False)
class Setting:
    """One setting of a space group.

    Args:
        number: of the space group, 1 to 230.
        name: "P 1 21/c 1", "F d -3 m:2".
        hall: Hall symbol, of the usual axes where the setting is turned.
        code: its suffix in the tables: "b1", "-cba", "2", "1cab", "h"; "" where it needs none.
        codes: parts of it that may stand for it: "b" for unique axis b, "2" for an origin.
        is_standard: unique axis b and cell choice 1, origin choice 2, hexagonal axes.
        turn: x in the setting from x on the usual axes; "" leaves it.
    """

    number: int
    name: str
    hall: str
    code: str
    codes: frozenset[str]
    is_standard: bool
    turn: str = ""

    @cached_property
    def operations(self) -> GroupOperations:
        """Its operations."""
        group = gemmi.symops_from_hall(self.hall)
        if self.turn:
            group.change_basis_forward(gemmi.Op(self.turn))
        return GroupOperations.of(group)


@dataclass(frozen=True)
class Name:
    """What a name of a space group says.

    Args:
        text: the name.
        settings: those that it may mean, best first.
        fixes_axes: False where it may stand for the space group on any axes: "Pnma", "P21/c".
        fixes_origin: whether it says the origin choice.
    """

    text: str
    settings: tuple[Setting, ...]
    fixes_axes: bool
    fixes_origin: bool

    @property
    def numbers(self) -> frozenset[int]:
        """Space groups that it may mean, mostly one."""
        return frozenset(setting.number for setting in self.settings)

    def agrees(self, operations: GroupOperations, number: int) -> bool:
        """Whether operations are of the named group, and of the named setting if one is named.

        Args:
            operations: of some setting of a group.
            number: of that group.
        """
        if number not in self.numbers:
            return False
        named = [setting.operations for setting in self.settings]
        if self.fixes_origin:
            return any(group.elements == operations.elements for group in named)
        if self.fixes_axes:
            return any(group.absences == operations.absences for group in named)
        return True

    def setting(self, metric: Float[np.ndarray, "3 3"]) -> Setting:
        """The one setting that it means for a cell.

        A short monoclinic symbol means unique axis b where the cell and the symbol allow it.

        Args:
            metric: scalar products of the cell's edges, shape (3, 3).

        Raises:
            ValueError: no setting keeps the cell, or the origin is left open.
        """
        breaking = [setting.operations.first_breaking(metric) for setting in self.settings]
        fits = [s for s, triplet in zip(self.settings, breaking, strict=True) if not triplet]
        if not fits:
            raise ValueError(
                f"space group {self.text} does not fit the cell, whose lengths or angles "
                f"{breaking[0]} changes"
            )
        first = fits[0]
        others = [s for s in fits if s.operations.elements != first.operations.elements]
        if first.number in _MONOCLINIC:
            others = [s for s in others if not _axes(s) > _axes(first)]
        if others:
            names = ", ".join(dict.fromkeys(s.name for s in [first, *others]))
            raise ValueError(
                f"space group {self.text} leaves the setting open, {names}: give the operations, "
                "a Hall symbol or the symbol with its suffix"
            )
        return first


def space_group_of_symbol(symbol: str, code: str = "") -> Name:
    """Read a Hermann-Mauguin symbol: "P21/c", "P 1 21/n 1", "R -3 m:H", "Fm3m", "P 21/c:b2".

    Args:
        symbol: with or without spaces and suffix.
        code: its suffix, if it has none itself.

    Raises:
        ValueError: there is no such symbol, or no such setting of it.
    """
    text, _, suffix = symbol.partition(":")
    words, suffix = _words(text), suffix.strip().lower() or code.strip().lower()
    found = _matches(words)
    if not found and words and words[-1][-1:] in _LAST_LETTERS:
        last = words[-1]
        found = _matches([word for word in (*words[:-1], last[:-1]) if word])
        suffix = suffix or _LAST_LETTERS[last[-1]]
    if not found:
        raise ValueError(f"{symbol!r} is no space group symbol")
    settings = [setting for setting, _ in found]
    is_type = any(setting.is_standard and is_short for setting, is_short in found)
    if suffix:
        numbers = {setting.number for setting in settings if is_type}
        of_type = [setting for number in numbers for setting in _settings_of(number)]
        settings = _with_code(settings, suffix) or _with_code(of_type, suffix)
        if not settings:
            raise ValueError(f"{symbol!r}: there is no setting {suffix!r} of this space group")
    settings.sort(key=_axes)
    return Name(symbol, tuple(settings), bool(suffix) or not is_type, suffix[:1] in ("1", "2"))


def space_group_of_number(number: int, code: str = "") -> Name:
    """The standard setting of a group, or on rhombohedral axes if the cell has them.

    Args:
        number: 1 to 230.
        code: of another setting: "c1", "1", "-cba", "r".

    Raises:
        ValueError: there is no such group or setting.
    """
    if not 1 <= number <= 230:
        raise ValueError(f"space group number must be 1 to 230, got {number}")
    settings = _settings_of(number)
    wanted = code.strip().lower()
    if wanted:
        settings = _with_code(settings, wanted)
        if not settings:
            raise ValueError(f"there is no setting {code!r} of space group {number}")
    else:
        settings = [s for s in settings if s.is_standard or "r" in s.codes]
    return Name(str(number), tuple(settings), bool(wanted), wanted[:1] in ("1", "2"))


def _words(symbol: str) -> list[str]:
    text = symbol.lower().translate(_PLAIN)
    for digit in "12345":
        text = text.replace(f"({digit})", digit).replace(f"<sub>{digit}</sub>", digit)
    return text.split()


def _matches(words: Sequence[str]) -> list[tuple[Setting, bool]]:
    """Settings of a symbol, each with whether it is a short symbol of it."""
    found = _by_symbol().get("".join(words), ())
    return [
        (setting, is_short)
        for alias, setting, is_short in found
        # where there are spaces, "P 21 1" is not P 2 1 1
        if len(words) <= 2 or _digit_gaps(words) == _digit_gaps(alias)
    ]


def _digit_gaps(words: Sequence[str]) -> set[int]:
    """Where, in the symbol without spaces, a space parts two digits."""
    ends = accumulate(map(len, words))
    gaps = zip(ends, pairwise(words), strict=False)
    return {end for end, (left, right) in gaps if left[-1].isdigit() and right[0].isdigit()}


def _axes(setting: Setting) -> int:
    """Rank of a setting among those of the same short symbol: unique axis b, c, a."""
    is_axis = [axis in setting.codes for axis in "bca"]
    return is_axis.index(True) if any(is_axis) else 3 - 3 * setting.is_standard


@cache
def _settings() -> tuple[Setting, ...]:
    """All settings of the tables, the 530 of the International Tables first."""
    return tuple(
        Setting(
            number=entry.number,
            name=entry.xhm(),
            hall=entry.hall,
            code=entry.ext.strip("\0").lower() + entry.qualifier,
            codes=_codes(entry.ext.strip("\0").lower(), entry.qualifier),
            is_standard=entry.is_reference_setting(),
        )
        for entry in gemmi.spacegroup_table()
    )


def _codes(origin: str, axes: str) -> frozenset[str]:
    is_monoclinic = len(axes.lstrip("-")) in (1, 2)
    unique_axis = axes.lstrip("-")[:1] if is_monoclinic else ""
    return frozenset({origin, origin + (axes or "abc"), axes or "abc", unique_axis} - {""})


def _with_code(settings: Iterable[Setting], code: str) -> list[Setting]:
    """The settings of a suffix, of part of a suffix where none has it whole."""
    settings = list(settings)
    exact = [setting for setting in settings if setting.code == code]
    return exact or [setting for setting in settings if code in setting.codes]


@cache
def _settings_of(number: int) -> list[Setting]:
    return [setting for setting in _settings() if setting.number == number]


@cache
def _by_symbol() -> dict[str, list[tuple[tuple[str, ...], Setting, bool]]]:
    """All symbols without spaces: with spaces, the setting, and whether it is a short symbol."""
    table = defaultdict(list)
    for row, setting in enumerate(_settings()):
        is_extra = row >= len(_full_symbols())
        for words, is_short in _aliases(setting, "" if is_extra else _full_symbols()[row]):
            key = "".join(words)
            # of symbols beyond the International Tables, short ones yield to theirs
            if not (is_extra and is_short and key in table):
                table[key].append((words, setting, is_short))
    for setting in _settings()[: len(_full_symbols())]:
        for words, turned in _on_diagonals(setting):
            table["".join(words)].append((words, turned, True))
    return dict(table)


@cache
def _full_symbols() -> tuple[str, ...]:
    """Full symbols of the 530 settings of the International Tables, in gemmi's order."""
    found = (spglib.get_spacegroup_type(hall_number) for hall_number in range(1, 531))
    return tuple(kind.international_full for kind in found if kind is not None)


def _aliases(setting: Setting, full: str) -> Iterable[tuple[tuple[str, ...], bool]]:
    """Symbols of a setting as words, each with whether it is a short one."""
    words = tuple(setting.name.split(":")[0].lower().split())
    is_monoclinic = setting.number in _MONOCLINIC
    aliases = {words: not is_monoclinic}
    # C m m e is C m m a, not C m m b
    is_second = words in (("c", "m", "m", "b"), ("c", "c", "c", "b"))
    if full and not is_second:
        aliases.setdefault(tuple(_words(full)), False)
    if is_monoclinic:
        aliases[tuple(word for word in words if word != "1")] = True
    if setting.number in _E_GLIDES and not is_second:
        normal = "abc".index(words[0]) + 1
        aliases[(*words[:normal], "e", *words[normal + 1 :])] = True
    if setting.number in _BARRED:
        aliases[tuple("3" if word == "-3" else word for word in words)] = True
    return aliases.items()


def _on_diagonals(setting: Setting) -> Iterable[tuple[tuple[str, ...], Setting]]:
    """Symbols of a tetragonal setting on a C or F cell, whose a and b are its diagonals.

    The two ways to lay the diagonals are both given, since they need not be alike.

    Source: Aroyo 2016, Table 1.5.4.
    """
    lattice, *rest = setting.name.split(":")[0].lower().split()
    if setting.number not in _TETRAGONAL or set(rest[1:]) & {"b", "n"}:
        return  # such glides have no plain letter on the diagonals
    axis = rest[0].replace("/n", "/a")
    for first in {axis, axis.replace("/a", "/d") if lattice == "i" else axis}:
        words = (_ON_DIAGONALS[lattice.upper()].lower(), first, *rest[:0:-1])
        for turn in _DIAGONALS:
            name = " ".join(words).capitalize()
            yield words, replace(setting, name=name, is_standard=False, turn=turn)
