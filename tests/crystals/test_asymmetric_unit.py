"""The chart of coordinates and the padded batch."""

import numpy as np
import pytest
import torch

from symmbfn.crystals.asymmetric_unit import (
    CHART_END,
    AsymmetricUnit,
    AsymmetricUnitBatch,
    to_chart,
)


def random_unit(n_sites: int, seed: int) -> AsymmetricUnit:
    rng = np.random.default_rng(seed)
    return AsymmetricUnit(
        space_group_number=int(rng.integers(1, 231)),
        lattice_k=rng.normal(size=6),
        atomic_numbers=rng.integers(1, 95, n_sites),
        wyckoff_positions=np.zeros(n_sites, dtype=np.int64),
        fractional_coords=to_chart(rng.random((n_sites, 3))),
        identifier=f"crystal-{seed}",
    )


def assert_same(left: AsymmetricUnit, right: AsymmetricUnit) -> None:
    assert left.space_group_number == right.space_group_number
    assert left.identifier == right.identifier
    for name in ("lattice_k", "atomic_numbers", "wyckoff_positions", "fractional_coords"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))


def test_chart_keeps_points_and_holds_every_special_value_away_from_its_ends() -> None:
    x = np.random.default_rng(0).normal(scale=3, size=(1000, 3))
    chart = to_chart(x)
    assert (chart >= CHART_END - 1).all() and (chart < CHART_END).all()
    difference = chart - x
    assert np.abs(difference - np.rint(difference)).max() < 1e-4  # no more than the snap
    special = to_chart(np.arange(-48, 48)[:, None] / 24 + np.zeros(3))
    assert np.minimum(special - (CHART_END - 1), CHART_END - special).min() > 0.01


def test_chart_snaps_special_values_exactly_and_nothing_else() -> None:
    noisy = np.array([[1 / 3 + 9e-5, 0.99995, -0.25 - 5e-5], [1 / 3 + 2e-4, 0.9998, 0.7501 + 1e-4]])
    chart = to_chart(noisy)
    np.testing.assert_array_equal(chart[0], [1 / 3, 0.0, 0.75])
    np.testing.assert_allclose(chart[1], [1 / 3 + 2e-4, -0.0002, 0.7502], atol=1e-12)
    assert (to_chart(chart) == chart).all()


def test_stack_and_unstack_are_inverse() -> None:
    units = [random_unit(n, seed) for seed, n in enumerate((3, 1, 7))]
    batch = AsymmetricUnitBatch.stack(units)
    assert batch.is_site.shape == (3, 7) and batch.n_sites.tolist() == [3, 1, 7]
    assert (batch.atomic_numbers[~batch.is_site] == 0).all()
    assert (batch.fractional_coords[~batch.is_site] == 0).all()
    for before, after in zip(units, batch.unstack([u.identifier for u in units]), strict=True):
        assert_same(before, after)


def test_choosing_crystals_drops_padding_no_longer_needed() -> None:
    units = [random_unit(n, seed) for seed, n in enumerate((3, 1, 7, 2))]
    batch = AsymmetricUnitBatch.stack(units)
    for rows, expected in (
        (torch.tensor([3, 0]), [3, 0]),
        (slice(0, 2), [0, 1]),
        (torch.tensor([True, False, False, True]), [0, 3]),
    ):
        chosen = batch[rows]
        assert chosen.is_site.shape == (2, max(len(units[i]) for i in expected))
        names = [units[i].identifier for i in expected]
        for i, unit in zip(expected, chosen.unstack(names), strict=True):
            assert_same(units[i], unit)


def test_single_precision_and_empty_input() -> None:
    batch = AsymmetricUnitBatch.stack([random_unit(2, 0)], dtype=torch.float32)
    assert batch.lattice_k.dtype == batch.fractional_coords.dtype == torch.float32
    assert batch.to("cpu").device.type == "cpu" and len(batch) == 1
    with pytest.raises(ValueError, match="no asymmetric units"):
        AsymmetricUnitBatch.stack([])
