"""Which elements, and how many atoms of each, the crystals of a request may have."""

import operator
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, reduce
from math import gcd
from numbers import Real
from typing import Any

from symmbfn.crystals.elements import MENDELEEV_NUMBER, SYMBOLS, element_number
from symmbfn.runtime.checks import shown, whole_number

MOST_FORMULA_CHARACTERS, MOST_FORMULA_ATOMS = 200, 10_000
ISOTOPES = {"D": "H", "T": "H"}  # as in CIFs


@dataclass(frozen=True, kw_only=True)
class Chemistry:
    """Conditions on the elements of a crystal; all of them hold at once.

    Elements are given as "Li,Fe,P,O", "Li-Fe-P-O", or a list of symbols or atomic numbers, and kept
    as symbols along the Mendeleev scale.

    Attributes:
        elements: exactly these elements.
        only: no others than these.
        require: these, with or without others.
        exclude: none of these.
        composition: a formula such as "LiFePO4", or element -> amount; kept as a formula.
        atoms: of the primitive cell, with a composition alone: a multiple of its formula.

    Raises:
        ValueError: what is no element or formula, or conditions that exclude each other.
    """

    elements: Any = None
    only: Any = None
    require: Any = None
    exclude: Any = None
    composition: Any = None
    atoms: Any = None

    def __post_init__(self) -> None:
        for name in ("elements", "only", "require", "exclude"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, symbols_of(name, value))
        if self.composition is not None:
            counts = counts_of(self.composition)
            object.__setattr__(self, "composition", formula_of(counts))
            self._check_atoms(sum(counts.values()))
        elif self.atoms is not None:
            raise ValueError(f"atoms {self.atoms} need a composition")
        self._check_agreement()

    def _check_atoms(self, in_formula: int) -> None:
        if self.atoms is None:
            return
        object.__setattr__(self, "atoms", whole_number("atoms", self.atoms))
        if self.atoms % in_formula:
            raise ValueError(
                f"atoms {self.atoms} are no multiple of the {in_formula} of {self.composition}"
            )

    def _check_agreement(self) -> None:
        exact = self.exact
        if self.elements and self.composition and set(self.elements) != set(exact or ()):
            raise ValueError(
                f"elements {_list(self.elements)} are not those of the composition "
                f"{self.composition}"
            )
        name = "composition" if self.composition else "elements" if exact else "require"
        wanted = exact or self.require or ()
        if self.only and (others := [s for s in wanted if s not in self.only]):
            raise ValueError(
                f"{name} has {_list(others)}, which are not in only {_list(self.only)}"
            )
        if self.exclude and (both := [s for s in wanted if s in self.exclude]):
            raise ValueError(f"{name} has {_list(both)}, and exclude has, too")
        if exact and self.require and (more := [s for s in self.require if s not in exact]):
            raise ValueError(f"require has {_list(more)}, which are not in {name} {_list(exact)}")
        if self.only and not set(self.only) - set(self.exclude or ()):
            raise ValueError(f"nothing is left of only {_list(self.only)} without exclude")

    def __bool__(self) -> bool:
        return any(value is not None for value in vars(self).values())

    @property
    def exact(self) -> tuple[str, ...] | None:
        """All elements of each crystal, where they are conditions; None where others may come."""
        if self.composition:
            return symbols_of("composition", list(counts_of(self.composition)))
        return self.elements

    @property
    def required(self) -> tuple[str, ...]:
        """Elements that each crystal has."""
        return self.exact or self.require or ()

    def allows(self, symbol: str) -> bool:
        """Whether a crystal may have an element."""
        if self.exact is not None:
            return symbol in self.exact
        is_in = self.only is None or symbol in self.only
        return is_in and symbol not in (self.exclude or ())

    def holds(self, counts: Mapping[str, int]) -> bool:
        """Whether a crystal meets all of it.

        Args:
            counts: element symbol -> atoms in any cell of the crystal.
        """
        if not all(self.allows(symbol) for symbol in counts):
            return False
        if not all(symbol in counts for symbol in self.required):
            return False
        return self.composition is None or formula_of(counts) == self.composition


def symbols_of(name: str, value: Any) -> tuple[str, ...]:
    """Element symbols along the Mendeleev scale, without repeats.

    Args:
        name: of the setting, for errors.
        value: "Li,Fe", "Li-Fe", or symbols or atomic numbers.

    Raises:
        ValueError: none, or something that is no element.
    """
    parts = value
    if isinstance(value, str):
        parts = [part for part in re.split(r"[,\s-]+", value.strip()) if part]
    is_list = isinstance(parts, Iterable) and not isinstance(parts, bytes | Mapping)
    if not is_list or not (parts := list(parts)):
        raise ValueError(f"{name} must name elements, such as 'Li,O', got {shown(value)}")
    numbers = set()
    for part in parts:
        try:
            numbers.add(element_number(symbol_of(part)))
        except ValueError:
            raise ValueError(f"{name}: {shown(part)} is no element") from None
    return tuple(SYMBOLS[n] for n in sorted(numbers, key=lambda z: (MENDELEEV_NUMBER[z], z)))


def symbol_of(value: Any) -> str:
    """The symbol of one element; D and T are hydrogen.

    Args:
        value: a symbol, an element of pymatgen, or an atomic number.

    Raises:
        ValueError: it is no element.
    """
    with suppress(TypeError):
        if isinstance(value, bool) or not 1 <= (number := operator.index(value)) < len(SYMBOLS):
            raise ValueError(f"{shown(value)} is no element")
        return SYMBOLS[number]
    symbol = ISOTOPES.get(str(value), str(value))
    return SYMBOLS[element_number(symbol)]


def counts_of(composition: Any) -> dict[str, int]:
    """Element symbol -> atoms of the smallest formula, along the Mendeleev scale.

    Args:
        composition: a formula such as "Ca3(PO4)2", or element -> whole number, such as a
            composition of pymatgen.

    Raises:
        ValueError: it is no formula of whole numbers.
    """
    amounts: Mapping[Any, Any]
    if isinstance(composition, str):
        amounts = _parsed(composition)
    elif isinstance(composition, Mapping):
        amounts = composition
    else:
        raise ValueError(f"composition must be a formula such as LiFePO4, got {shown(composition)}")
    counts: Counter[str] = Counter()
    for element, amount in amounts.items():
        (symbol,) = symbols_of("composition", [element])
        counts[symbol] += _whole_amount(symbol, amount)
    divisor = reduce(gcd, counts.values(), 0)
    return {symbol: counts[symbol] // divisor for symbol in symbols_of("composition", list(counts))}


def formula_of(counts: Mapping[str, int]) -> str:
    """The smallest formula, elements along the Mendeleev scale: "LiFePO4"."""
    divisor = reduce(gcd, counts.values())
    parts = [(symbol, counts[symbol] // divisor) for symbol in symbols_of("formula", list(counts))]
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in parts)


@cache
def _parsed(formula: str) -> dict[str, float]:
    """Amounts of the elements of a formula."""
    from pymatgen.core import Composition

    wrong = f"composition {shown(formula)} is no formula such as LiFePO4 or Ca3(PO4)2"
    if len(formula) > MOST_FORMULA_CHARACTERS:
        raise ValueError(wrong)
    try:
        amounts = Composition(formula).get_el_amt_dict()
    except Exception:  # pymatgen has several kinds
        raise ValueError(wrong) from None
    if not amounts:
        raise ValueError(wrong)
    return amounts


def _whole_amount(symbol: str, amount: Any) -> int:
    """Atoms of an element, which pymatgen gives as a float."""
    is_number = isinstance(amount, Real) and not isinstance(amount, bool)
    if not is_number or not 1 <= amount <= MOST_FORMULA_ATOMS or amount != int(amount):
        raise ValueError(
            f"composition needs whole numbers from 1 to {MOST_FORMULA_ATOMS:,} of each element, "
            f"got {shown(amount)} of {symbol}"
        )
    return int(amount)


def _list(symbols: Iterable[str]) -> str:
    return ",".join(symbols)
