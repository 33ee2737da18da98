"""Distances between crowds: solved by hand, against SciPy and pymatgen, and their floors."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from symmbfn.datasets.cache import EncodedDataset, _flat
from symmbfn.evaluation.distributions import (
    DISTANCES,
    Observables,
    dataset_observables,
    density_distance,
    distances,
    elements_distance,
    group_distance,
    group_shares,
    jensen_shannon_distance,
    noise_floor,
)
from tests.crystals.samples import prototypes


def crowd(density: list[float], n_elements: list[int], groups: list[int]) -> Observables:
    return Observables(np.array(density, dtype=float), np.array(n_elements), np.array(groups))


def random_crowd(n: int, seed: int, shift: float = 0.0) -> Observables:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 231)
    groups = rng.choice(np.arange(1, 231), n, p=weights / weights.sum())
    return Observables(rng.gamma(6, 1, n) + shift, rng.integers(1, 6, n), groups)


def test_distances_by_hand() -> None:
    a = crowd([1.0, 2.0], [1, 4], [1, 230])
    b = crowd([2.0, 3.0, 2.0, 3.0], [2, 2, 2, 2], [1, 1, 230, 230])
    assert density_distance(a, b) == pytest.approx(1.0)  # every half moves by one
    assert elements_distance(a, b) == pytest.approx((1 + 2) / 2)
    assert group_distance(a, b) == pytest.approx(0.0)  # the same shares
    # shares (1, 0) and (1/2, 1/2): m = (3/4, 1/4), half of ln 4/3 and of (ln 2/3 + ln 2) / 2
    c = crowd([1.0], [1], [1])
    nats = (np.log(4 / 3) + (np.log(2 / 3) + np.log(2)) / 2) / 2
    assert group_distance(c, b) == pytest.approx(np.sqrt(nats))


def test_wasserstein_is_the_mean_gap_of_sorted_samples() -> None:
    a, b = random_crowd(500, 0), random_crowd(500, 1)
    gap = np.abs(np.sort(a.density) - np.sort(b.density)).mean()
    assert density_distance(a, b) == pytest.approx(gap)
    assert density_distance(random_crowd(500, 0, 0.7), a) == pytest.approx(0.7)


def test_jensen_shannon_agrees_with_scipy_and_has_its_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.dirichlet(np.full(230, 0.1), size=2)
        assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q), abs=1e-12)
        assert jensen_shannon_distance(p, q) == jensen_shannon_distance(q, p)
    first, last = np.eye(230)[[0, 229]]
    assert jensen_shannon_distance(first, last) == pytest.approx(np.sqrt(np.log(2)))
    assert jensen_shannon_distance(first, first) == 0


def test_every_space_group_has_its_own_bin() -> None:
    """Histograms by bin edges merge the last two groups, and may lose the first."""
    shares = group_shares(np.arange(1, 231))
    assert shares.shape == (230,) and (shares == 1 / 230).all()
    assert group_distance(crowd([1], [1], [229]), crowd([1], [1], [230])) > 0.8
    assert group_distance(crowd([1], [1], [1]), crowd([1], [1], [2])) > 0.8


def test_observables_of_a_dataset_are_those_of_the_raw_structures() -> None:
    structures, units = prototypes()
    dataset = EncodedDataset(**_flat(units), properties=torch.zeros(len(units), 0))
    found = dataset_observables(dataset)
    density = [structure.density for structure in structures]
    np.testing.assert_allclose(found.density, density, rtol=2e-3)
    n_elements = [len(structure.composition.elements) for structure in structures]
    assert found.n_elements.tolist() == n_elements
    groups = [structure.get_space_group_info(symprec=0.1)[1] for structure in structures]
    assert found.space_group_number.tolist() == groups


def test_a_crowd_is_at_no_distance_from_itself() -> None:
    a = random_crowd(300, 0)
    np.testing.assert_allclose(distances(a, a), 0, atol=1e-7)
    assert list(DISTANCES) == ["d_rho", "d_elem", "d_g"]


def test_floor_falls_with_the_size_of_a_draw_and_other_crowds_lie_above() -> None:
    pool, reference = random_crowd(20_000, 0), random_crowd(5_000, 1)
    few, many = (
        noise_floor(pool, reference, size=size, n_draws=40, seed=0) for size in (100, 1600)
    )
    # the noise of a share or a mean falls with the root of the size: four times here
    assert (many.mean(axis=0) < 0.6 * few.mean(axis=0)).all()
    limit = many.mean(axis=0) + 2 * many.std(axis=0)
    assert (distances(random_crowd(1600, 2), reference) < limit).all()
    assert distances(random_crowd(1600, 2, shift=0.5), reference)[0] > limit[0]


def test_floor_draws_without_replacement_and_by_seed() -> None:
    pool = random_crowd(50, 0)
    whole = noise_floor(pool, pool, size=50, n_draws=3, seed=0)
    np.testing.assert_allclose(whole, 0, atol=1e-7)
    once, again, other = (
        noise_floor(pool, pool, size=20, n_draws=3, seed=seed) for seed in (0, 0, 1)
    )
    assert (once == again).all() and (once != other).any()
    with pytest.raises(ValueError, match="1..50, got 51"):
        noise_floor(pool, pool, size=51, n_draws=1, seed=0)
