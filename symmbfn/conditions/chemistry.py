"""Which elements, and how many atoms of each, the crystals of a request may have."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from math import gcd
from typing import Any

from symmbfn.crystals.elements import MENDELEEV_NUMBER, SYMBOLS, element_number
from symmbfn.runtime.checks import whole_number

MOST_FORMULA_CHARACTERS = 200


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
    atoms: int | None = None

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
    if isinstance(value, str):
        value = [part for part in re.split(r"[,\s-]+", value.strip()) if part]
    if not isinstance(value, Iterable) or not (parts := list(value)):
        raise ValueError(f"{name} must name elements, such as 'Li,O', got {value!r}")
    numbers = set()
    for part in parts:
        try:
            number = part if isinstance(part, int) else element_number(str(part))
            if not 1 <= number < len(SYMBOLS):
                raise ValueError
        except ValueError:
            raise ValueError(f"{name}: {part!r} is no element") from None
        numbers.add(number)
    return tuple(SYMBOLS[n] for n in sorted(numbers, key=lambda z: (MENDELEEV_NUMBER[z], z)))


def counts_of(composition: Any) -> dict[str, int]:
    """Element symbol -> atoms of the smallest formula, along the Mendeleev scale.

    Args:
        composition: a formula such as "Ca3(PO4)2", or a mapping of symbols to whole numbers.

    Raises:
        ValueError: it is no formula of whole numbers.
    """
    if isinstance(composition, str):
        counts = _parsed(composition)
    elif isinstance(composition, Mapping) or hasattr(composition, "items"):
        counts = {str(k): whole_number(f"composition {k}", v) for k, v in composition.items()}
    else:
        raise ValueError(f"composition must be a formula such as LiFePO4, got {composition!r}")
    order = symbols_of("composition", list(counts))
    divisor = reduce(gcd, counts.values())
    return {symbol: counts[symbol] // divisor for symbol in order}


def formula_of(counts: Mapping[str, int]) -> str:
    """The smallest formula, elements along the Mendeleev scale: "LiFePO4"."""
    divisor = reduce(gcd, counts.values())
    parts = [(symbol, counts[symbol] // divisor) for symbol in symbols_of("formula", list(counts))]
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in parts)


def _parsed(formula: str) -> dict[str, int]:
    """Atoms of a formula of whole numbers."""
    from pymatgen.core import Composition

    wrong = f"composition {formula[:40]!r} is no formula such as LiFePO4 or Ca3(PO4)2"
    if len(formula) > MOST_FORMULA_CHARACTERS:
        raise ValueError(wrong)
    try:
        amounts = Composition(formula).get_el_amt_dict()
    except Exception as error:  # pymatgen has several kinds
        raise ValueError(f"{wrong}: {error}") from None
    if not amounts or not all(x >= 1 and x == int(x) for x in amounts.values()):
        raise ValueError(f"{wrong}: amounts must be whole numbers")
    return {symbol: int(amount) for symbol, amount in amounts.items()}


def _list(symbols: Iterable[str]) -> str:
    return ",".join(symbols)
