"""Sets of conditions that some crystal meets, and sets that none can."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from symmbfn.conditions.sites import template_of
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.lattice import k_to_parameters

Settings = dict[str, Any]

# kinds of conditions that go together; some of them are left out at random
TOGETHER = (
    ("space_group_number", "elements", "lattice"),
    ("space_group_number", "only", "require", "exclude"),
    ("only", "require", "exclude"),
    ("space_group_number", "composition", "atoms"),
    ("composition", "atoms", "lattice"),
    ("composition", "atoms", "keep"),
    ("elements", "keep", "lattice"),
    ("only", "keep", "exclude"),
    ("template", "lattice"),
    ("template", "composition", "space_group_number"),
    ("keep", "lattice", "space_group_number"),
)
OTHERS = (
    "Li",
    "O",
    "F",
    "Na",
    "Mg",
    "Al",
    "Si",
    "S",
    "Cl",
    "K",
    "Ca",
    "Ti",
    "Fe",
    "Cu",
    "Zn",
    "Ba",
)


def conditions_of(unit: AsymmetricUnit, rng: np.random.Generator) -> Settings:
    """Some conditions that a crystal meets, of several kinds at once.

    Args:
        unit: of the crystal.
        rng: chooses the kinds, and the elements and sites that they name.
    """
    kinds = TOGETHER[rng.integers(len(TOGETHER))]
    wanted = {kind for kind in kinds if rng.random() < 0.75} or {kinds[0]}
    if "atoms" in wanted:
        wanted.add("composition")
    return {kind: _condition(kind, unit, rng) for kind in kinds if kind in wanted}


def _condition(kind: str, unit: AsymmetricUnit, rng: np.random.Generator) -> Any:
    """One condition of a kind that the crystal meets."""
    symbols = [SYMBOLS[z] for z in unit.atomic_numbers.tolist()]
    own = sorted(set(symbols))
    strange = [symbol for symbol in OTHERS if symbol not in own]
    counts = atoms_of(unit)
    match kind:
        case "space_group_number":
            return unit.space_group_number
        case "elements":
            return own
        case "only":
            return own + rng.choice(strange, 3, replace=False).tolist()
        case "require":
            return rng.choice(own, rng.integers(1, len(own) + 1), replace=False).tolist()
        case "exclude":
            return rng.choice(strange, 3, replace=False).tolist()
        case "composition":
            return "".join(f"{symbol}{count}" for symbol, count in counts.items())
        case "atoms":
            return sum(counts.values())
        case "template":
            return str(template_of(unit))
        case "keep":
            n = int(rng.integers(1, len(unit) + 1))
            numbers = rng.choice(len(unit), n, replace=False) + 1
            return unit, sorted(numbers.tolist())
        case _:
            k = torch.as_tensor(unit.lattice_k)
            return k_to_parameters(k, unit.space_group_number).tolist()


def atoms_of(unit: AsymmetricUnit) -> dict[str, int]:
    """Element symbol -> atoms in the primitive cell."""
    n_centrings = round(1 / np.linalg.det(primitive_vectors(unit.space_group_number)))
    return {symbol: count // n_centrings for symbol, count in template_of(unit).atoms().items()}


class Impossible(NamedTuple):
    """Conditions that no crystal of the model meets.

    Attributes:
        why: the kind of contradiction.
        settings: fields of the request.
    """

    why: str
    settings: Settings


NEVER_SEEN = ("Rn", "Fr", "Ra", "At", "Po", "Am", "Cm", "Es")
CELLS = {
    "cubic": [5.0, 5.0, 5.0, 90, 90, 90],
    "tetragonal": [4.0, 4.0, 6.0, 90, 90, 90],
    "orthorhombic": [4.0, 5.0, 6.0, 90, 90, 90],
    "hexagonal": [4.0, 4.0, 6.0, 90, 90, 120],
    "monoclinic": [4.0, 5.0, 6.0, 90, 100, 90],
    "triclinic": [4.0, 5.0, 6.0, 80, 100, 95],
}


def impossible(unit: AsymmetricUnit) -> Iterator[Impossible]:
    """Sets that exclude each other, or that no crystal of the model meets.

    Args:
        unit: a crystal with two elements, none of them Xe or He, whose sites are kept.
    """
    yield from _of_elements()
    yield from _of_sites(unit)
    yield from _of_cells()
    yield from _of_compositions(unit)


def _of_elements() -> Iterator[Impossible]:
    for symbol in NEVER_SEEN:
        why = "an element that no training crystal has"
        yield Impossible(why, {"elements": [symbol, "O"]})
        yield Impossible(why, {"require": symbol})
        yield Impossible(why, {"composition": f"{symbol}O2"})
        yield Impossible(why, {"template": f"225: {symbol} 4a, O 4b"})
    for one, other in (("Li", "Na"), ("O", "S"), ("Fe", "Co"), ("Mg", "Ca"), ("F", "Cl")):
        why = "lists of elements that exclude each other"
        yield Impossible(why, {"elements": [one, other], "only": one})
        yield Impossible(why, {"elements": [one, other], "exclude": other})
        yield Impossible(why, {"require": one, "exclude": [one, other]})
        yield Impossible(why, {"require": one, "only": other})
        yield Impossible(why, {"elements": one, "require": other})
        yield Impossible(why, {"only": one, "exclude": one})
        yield Impossible(why, {"composition": f"{one}{other}2", "elements": one})
        yield Impossible(why, {"composition": f"{one}{other}2", "exclude": other})


def _of_sites(unit: AsymmetricUnit) -> Iterator[Impossible]:
    for group, letter in ((1, "b"), (2, "j"), (14, "f"), (62, "e"), (194, "m"), (225, "m")):
        yield Impossible("a letter that the group lacks", {"template": f"{group}: Na {letter}"})
    for group in (2, 14, 62, 139, 194, 221, 225):
        why = "a point that is taken twice"
        yield Impossible(why, {"template": f"{group}: Na a, Cl a"})
        yield Impossible(why, {"template": f"{group}: 2 x Na b"})
    for group in (1, 62, 194, 221):
        why = "a template of another group"
        yield Impossible(why, {"template": "225: Na 4a", "space_group_number": group})
    for settings in (
        {"elements": "Na"},
        {"only": "Na,K"},
        {"exclude": "Cl"},
        {"require": "K"},
        {"composition": "NaCl2"},
        {"composition": "KCl"},
        {"composition": "NaCl", "atoms": 4},
    ):
        why = "a template against the elements or the composition"
        yield Impossible(why, {"template": "225: Na 4a, Cl 4b", **settings})
    own = SYMBOLS[int(unit.atomic_numbers[0])]
    kept = {"keep": (unit, [1])}
    why = "a site that is kept against another condition"
    yield Impossible(why, {**kept, "exclude": own})
    yield Impossible(why, {**kept, "only": "Xe"})
    yield Impossible(why, {**kept, "elements": "Xe"})
    yield Impossible(why, {**kept, "composition": "HeXe"})
    yield Impossible(why, {**kept, "space_group_number": unit.space_group_number % 230 + 1})
    yield Impossible("a site that there is not", {"keep": (unit, [0])})
    yield Impossible("a site that there is not", {"keep": (unit, [len(unit) + 1])})


def _of_cells() -> Iterator[Impossible]:
    why = "a cell of another crystal family"
    # a group of lower symmetry can have the cells of those before it, all but hexagonal ones
    groups = {
        225: "cubic",
        139: "tetragonal",
        62: "orthorhombic",
        194: "hexagonal",
        14: "monoclinic",
    }
    families = list(CELLS)
    for group, family in groups.items():
        for other in families[families.index(family) + 1 :]:
            yield Impossible(why, {"lattice": CELLS[other], "space_group_number": group})
    for cell in ([1, 1, 1, 90, 90, 90], [500, 5, 5, 90, 90, 90], [5, 5, 5, 170, 10, 90]):
        yield Impossible("a cell that no crystal has", {"lattice": cell})


def _of_compositions(unit: AsymmetricUnit) -> Iterator[Impossible]:
    why = "a composition that the group cannot hold at this size"
    # the smallest positions of these groups hold 8, 6, 4 and 2 atoms of the primitive cell
    for group, least in ((230, 8), (220, 6), (61, 4), (33, 4), (29, 4), (14, 2), (4, 2)):
        for atoms in range(2, 2 * least, 2):
            settings = {"composition": "NaCl", "atoms": atoms, "space_group_number": group}
            yield Impossible(why, settings)
    why = "no multiple of the formula"
    for formula, atoms in (("NaCl", 3), ("Fe2O3", 6), ("LiFePO4", 8), ("Ca3(PO4)2", 20)):
        yield Impossible(why, {"composition": formula, "atoms": atoms})
    why = "a composition that is less than what is kept"
    symbols = sorted({SYMBOLS[z] for z in unit.atomic_numbers.tolist()})
    everything = {"keep": (unit, list(range(1, len(unit) + 1)))}
    extra = [symbol for symbol in ("Li", "K") if symbol not in symbols]
    for symbol in extra:
        formula = "".join(symbols) + symbol
        yield Impossible(why, {**everything, "composition": formula, "atoms": len(symbols) + 1})
