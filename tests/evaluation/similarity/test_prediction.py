"""A prediction matches within the tolerances of structure prediction, and no other one does."""

import time

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.evaluation.similarity import prediction
from symmbfn.evaluation.similarity.prediction import Match, match_pairs

ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
CAESIUM_TYPE = Structure(Lattice.cubic(3.4), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
SYLVITE = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(6.29), ["K", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def moved(shift: float) -> Structure:
    """A cell of 8 x 4 x 4 angstrom with Na and Cl, Cl moved along a by a part of the cell."""
    return Structure(
        Lattice.orthorhombic(8, 4, 4), ["Na", "Cl"], [[0, 0, 0], [0.5 + shift, 0.5, 0.5]]
    )


def endless(pair: prediction.Pair) -> float:
    time.sleep(60)
    return 0.0


def test_each_pair_gets_its_own_answer_in_order() -> None:
    larger = ROCK_SALT.copy().apply_strain(0.1)
    pairs = [
        (CAESIUM_TYPE, ROCK_SALT),
        (ROCK_SALT.get_primitive_structure(), ROCK_SALT),
        (None, ROCK_SALT),
        (larger, ROCK_SALT),
        (SYLVITE, ROCK_SALT),
    ]
    found = match_pairs(pairs, workers=1)
    assert [match.is_match for match in found] == [False, True, False, True, False]
    assert found[1].distance == pytest.approx(0, abs=1e-6)
    assert match_pairs(pairs, workers=2) == found


def test_the_distance_is_that_of_the_atoms_over_the_cube_root_of_their_volume() -> None:
    """Two atoms 0.8 angstrom off by one of them, after the shift that shares it: 0.4 each."""
    (match,) = match_pairs([(moved(0.1), moved(0.0))], workers=1)
    assert match.distance == pytest.approx(0.4 / (8 * 4 * 4 / 2) ** (1 / 3), rel=1e-3)


def test_a_comparison_that_takes_too_long_says_so_and_is_no_match(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(prediction, "TIME_LIMIT", 0.5)
    monkeypatch.setattr(prediction, "_distance", endless)
    (match,) = match_pairs([(ROCK_SALT, ROCK_SALT)], workers=1)
    assert (match.is_match, match.status) == (False, "timeout")


def test_nothing_to_compare_is_no_match() -> None:
    assert match_pairs([], workers=1) == []
    assert match_pairs([(None, ROCK_SALT)], workers=1) == [Match(None)]
    with pytest.raises(ValueError, match="workers"):
        match_pairs([(ROCK_SALT, ROCK_SALT)], workers=0)
