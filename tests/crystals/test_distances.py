"""Distances: reduced cells are the same lattice, nearest images are nearest."""

import itertools

import numpy as np
import pytest
import torch

from symmbfn.crystals.distances import PairDistances, reduce_lattice


def skewed_lattices(n: int, seed: int) -> torch.Tensor:
    """Random cells, sheared by random whole multiples: the same lattices, badly described."""
    rng = np.random.default_rng(seed)
    cells = rng.standard_normal((n, 3, 3)) * rng.uniform(1, 8, (n, 3, 1))
    volume = np.abs(np.linalg.det(cells))
    cells[volume < 5] = np.eye(3) * 3
    upper = np.triu(rng.integers(-3, 4, (n, 3, 3)), 1) + np.eye(3)
    lower = np.tril(rng.integers(-2, 3, (n, 3, 3)), -1) + np.eye(3)
    return torch.tensor(upper @ lower @ cells)


def combinations(reach: int) -> np.ndarray:
    return np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))


def test_a_reduced_cell_is_the_same_lattice_with_its_shortest_vectors() -> None:
    cells = skewed_lattices(300, seed=0)
    reduced = reduce_lattice(cells)
    change = (reduced @ torch.linalg.inv(cells)).numpy()
    assert np.abs(change - np.rint(change)).max() < 1e-7
    assert np.allclose(np.abs(np.linalg.det(np.rint(change))), 1)
    lengths = reduced.norm(dim=-1).numpy()
    assert (np.diff(lengths) > -1e-9).all()
    steps = combinations(4)
    steps = steps[np.any(steps != 0, axis=1)]
    for cell, length in zip(reduced.numpy(), lengths, strict=True):
        vectors = np.linalg.norm(steps @ cell, axis=-1)
        assert vectors.min() == pytest.approx(length[0])
        # Minkowski: no vector that involves c is shorter than c, none with b (not c) than b
        assert vectors[steps[:, 2] != 0].min() > length[2] - 1e-9
        assert vectors[steps[:, 1] != 0].min() > length[1] - 1e-9


def test_distances_are_those_of_the_nearest_image_in_any_cell() -> None:
    rng = np.random.default_rng(1)
    reduced = reduce_lattice(skewed_lattices(200, seed=2))
    reduced[:20] = torch.diag_embed(torch.rand(20, 3, dtype=torch.float64) + 2)
    coords = torch.tensor(rng.uniform(-2, 3, (400, 3)))
    first, second = torch.arange(200), torch.arange(200, 400)
    pairs = PairDistances(coords, first, second, reduced, torch.arange(200))
    bound, lower = pairs.distance.clone(), pairs.lower
    exact = pairs.refine(torch.ones(200, dtype=torch.bool)).numpy()
    steps = combinations(5)
    gap = (coords[200:] - coords[:200]).numpy()
    gap -= np.rint(gap)
    brute = np.linalg.norm((gap[:, None] + steps) @ reduced.numpy(), axis=-1).min(1)
    assert np.allclose(exact, brute)
    assert (lower.numpy() <= brute + 1e-9).all()
    assert (bound.numpy() >= brute - 1e-9).all()
    # negative control: wrapping alone is not the nearest image
    assert (bound.numpy() > brute + 1e-3).mean() > 0.05


def test_only_what_is_asked_for_is_refined() -> None:
    lattice = reduce_lattice(skewed_lattices(50, seed=3))
    coords = torch.rand(100, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    rows = torch.arange(50)
    pairs = PairDistances(coords, rows, rows + 50, lattice, rows)
    before = pairs.distance.clone()
    mask = rows < 10
    after = pairs.refine(mask)
    assert torch.equal(after[~mask], before[~mask])
