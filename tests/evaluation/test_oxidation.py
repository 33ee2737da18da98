"""Oxidation states: the table is the one that was pinned, and the test on it agrees with SMACT."""

import hashlib
import json

import numpy as np
import pytest

from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.evaluation.oxidation import (
    ELECTRONEGATIVITY,
    METALS,
    OXIDATION_SET,
    OXIDATION_STATES,
    is_smact_valid,
)
from tests.crystals.samples import prototypes
from tests.evaluation.compositions import HAND_CHECKED

DIGEST = "780908c4cb6659dd630f39a559fa209eb515cf3a1d905d4bae84343d2cf728bf"


def numbers(formula: dict[str, int]) -> np.ndarray:
    return np.repeat([element_number(s) for s in formula], list(formula.values()))


def test_tables_are_the_pinned_ones() -> None:
    """Another table is another metric: figures on either side of a change do not compare."""
    tables = [
        sorted(OXIDATION_STATES.items()),
        sorted(ELECTRONEGATIVITY.items()),
        sorted(METALS),
    ]
    assert hashlib.sha256(json.dumps(tables).encode()).hexdigest() == DIGEST


def test_tables_are_those_of_smact() -> None:
    smact = pytest.importorskip("smact", reason="the extra 'metrics' is not installed")
    for number in range(1, 104):
        theirs = smact.Element(SYMBOLS[number])
        states = tuple(theirs.oxidation_states_smact14 or ())
        assert states == OXIDATION_STATES.get(number, ()), SYMBOLS[number]
        assert theirs.pauling_eneg == ELECTRONEGATIVITY.get(number), SYMBOLS[number]
    assert {element_number(symbol) for symbol in smact.metals} == METALS


@pytest.mark.parametrize(("formula", "expected", "reason"), HAND_CHECKED)
def test_compositions_worked_out_by_hand(
    formula: dict[str, int], expected: bool, reason: str
) -> None:
    assert is_smact_valid(numbers(formula)) == expected, reason


def test_only_the_ratio_counts() -> None:
    for formula, expected, _ in HAND_CHECKED:
        larger = np.random.default_rng(0).permutation(np.tile(numbers(formula), 4))
        assert is_smact_valid(larger) == expected


def test_elements_beyond_the_table_are_no_error() -> None:
    assert is_smact_valid(np.array([118]))
    assert not is_smact_valid(np.array([118, 8]))


def random_formulas(n: int) -> list[dict[str, int]]:
    """Two to five elements of small counts: many near the border of what balances."""
    rng = np.random.default_rng(0)
    common = [z for z in OXIDATION_STATES if z <= 103]
    formulas = []
    for _ in range(n):
        chosen = rng.choice(common, rng.integers(2, 6), replace=False)
        formulas.append({SYMBOLS[z]: int(rng.integers(1, 7)) for z in chosen})
    return formulas


def test_every_verdict_is_that_of_smact() -> None:
    pytest.importorskip("smact", reason="the extra 'metrics' is not installed")
    from pymatgen.core import Composition
    from smact.screening import smact_validity

    real = [structure.composition for structure in prototypes()[0]]
    formulas = [{str(e): int(n) for e, n in c.items()} for c in real] + random_formulas(3000)
    ours = [is_smact_valid(numbers(formula)) for formula in formulas]
    theirs = [
        smact_validity(Composition(formula), oxidation_states_set=OXIDATION_SET)
        for formula in formulas
    ]
    assert ours == theirs
    assert 0.2 < np.mean(ours) < 0.8  # both verdicts are put to the test
