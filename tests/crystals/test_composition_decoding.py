"""Positions and elements chosen together: the best choice that has the atoms asked for."""

import itertools

import numpy as np
import pytest

from symmbfn.crystals.composition_decoding import decode_composition


def by_trying(letters, pointers, multiplicity, is_point, atoms):
    """The best choice among all, and its score; None if none has the atoms."""
    n, kinds = len(letters), list(itertools.product(range(len(multiplicity)), range(len(atoms))))
    best, found = -np.inf, None
    for choice in itertools.product(kinds, repeat=n):
        held = [sum(multiplicity[p] for p, s in choice if s == x) for x in range(len(atoms))]
        points = [p for p, _ in choice if is_point[p]]
        if held != list(atoms) or len(set(points)) < len(points):
            continue
        score = sum(letters[i][p] + pointers[i][s] for i, (p, s) in enumerate(choice))
        if score > best:
            best, found = score, choice
    return best, found


@pytest.mark.parametrize("seed", range(40))
def test_it_is_the_best_of_all_choices(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n, w, s = rng.integers(1, 5), rng.integers(1, 5), rng.integers(1, 4)
    letters, pointers = rng.normal(0, 3, (n, w)), rng.normal(0, 3, (n, s))
    letters[rng.random((n, w)) < 0.1] = -np.inf
    multiplicity, is_point = rng.integers(1, 5, w), rng.random(w) < 0.5
    atoms = rng.integers(1, 6, s)
    if seed % 2:  # one that surely exists, were there no points
        held = np.zeros(s, dtype=int)
        for place in rng.integers(0, s, n):
            held[place] += multiplicity[rng.integers(w)]
        atoms = held
    best, _ = by_trying(letters, pointers, multiplicity, is_point, atoms)
    found = decode_composition(letters, pointers, multiplicity, is_point, atoms)
    if not np.isfinite(best):
        assert found is None
        return
    assert found is not None
    positions, slots = found
    sites = np.arange(n)
    assert letters[sites, positions].sum() + pointers[sites, slots].sum() == pytest.approx(best)
    assert np.bincount(slots, multiplicity[positions], minlength=s).tolist() == atoms.tolist()
    points = positions[is_point[positions]]
    assert len(set(points.tolist())) == len(points)


def test_many_sites_take_little_time_and_memory() -> None:
    rng = np.random.default_rng(0)
    multiplicity = np.array([8, 4, 4, 4, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1])
    is_point = multiplicity == 1
    letters, pointers = rng.normal(0, 2, (20, 16)), rng.normal(0, 2, (20, 5))
    atoms = np.array([8, 12, 16, 4, 20])
    found = decode_composition(letters, pointers, multiplicity, is_point, atoms)
    assert found is not None
    assert np.bincount(found[1], multiplicity[found[0]]).tolist() == atoms.tolist()
