"""The formula that a CIF states, and whether its sites make it up."""

from collections import Counter
from collections.abc import Iterator, Mapping

from symmbfn.crystals.cif.block import CifBlock
from symmbfn.crystals.elements import SYMBOLS

# by symbol in small letters; heavy hydrogen is hydrogen
ELEMENTS = {symbol.lower(): symbol for symbol in SYMBOLS[1:]} | {"d": "H", "t": "H"}
_FORMULAS = ("_chemical_formula_sum", "_chemical_formula_structural")
_ROUNDED = 0.01  # of an amount in a formula


def stated_formula(block: CifBlock) -> dict[str, float]:
    """Amounts of the elements by the file's formula; empty without one that can be read."""
    for formula in (text for tag in _FORMULAS for text in block.known(tag)):
        try:
            return _amounts(formula)
        except ValueError:  # "?", "x" or words, of which nothing can be checked
            continue
    return {}


def check_formula(stated: Mapping[str, float], found: Counter[str]) -> None:
    """Refuse atoms that are not in the proportions of a formula.

    Args:
        stated: amounts by the formula, each right to 0.01; empty, nothing is checked.
        found: numbers of atoms.

    Raises:
        ValueError: they differ.
    """
    if not stated:
        return
    scale = found.total() / sum(stated.values())
    if any(
        abs(found[element] - scale * stated.get(element, 0)) > _ROUNDED * scale
        or (element in found) != (element in stated)
        for element in {*stated, *found}
    ):
        formula, sites = (
            " ".join(f"{element}{amount:g}" for element, amount in amounts.items())
            for amounts in (stated, found)
        )
        raise ValueError(f"sites do not make up the formula {formula}: they are {sites}")


def _amounts(formula: str) -> dict[str, float]:
    """Amounts in "Na4 Cl4" or "Ca(OH)2".

    Raises:
        ValueError: it holds anything else.
    """
    groups: list[dict[str, float]] = [{}]
    for part, amount in _parts(formula):
        if part == "(":
            groups.append({})
        elif part == ")" and len(groups) > 1:
            for element, count in groups.pop().items():
                groups[-1][element] = groups[-1].get(element, 0) + count * amount
        elif part[0].isupper() and part.lower() in ELEMENTS:
            element = ELEMENTS[part.lower()]
            groups[-1][element] = groups[-1].get(element, 0) + amount
        else:
            raise ValueError(f"{part!r} in formula {formula!r}")
    if len(groups) != 1 or not sum(groups[0].values()):
        raise ValueError(f"open formula {formula!r}")
    return groups[0]


def _parts(formula: str) -> Iterator[tuple[str, float]]:
    """Symbols and brackets, each with the number behind it."""
    rest = formula.strip()
    while rest:
        is_long = rest[0].isupper() and rest[1:2].islower()
        part, rest = (rest[:2], rest[2:]) if is_long else (rest[:1], rest[1:])
        after = rest.lstrip("0123456789.")
        digits, rest = rest[: len(rest) - len(after)], after.lstrip()
        yield part, float(digits or 1)
