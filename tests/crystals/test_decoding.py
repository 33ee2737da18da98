"""Decoding: letters decide, coordinates break ties, a point is taken once, at least cost."""

import itertools

import numpy as np
import pytest
import torch

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.decoding import COORDINATE_SCALE, decode_wyckoff
from symmbfn.crystals.symmetry import N_AXIS_CLASSES, orbit_of, positions_of, symmetry_tables
from tests.crystals.samples import prototypes


def one_hot_axes(batch: AsymmetricUnitBatch) -> torch.Tensor:
    tables = symmetry_tables()
    start = torch.tensor(tables.position_start.astype(int))[batch.space_group_number - 1]
    encoding = torch.tensor(tables.encoding.astype(int))
    classes = encoding[start.unsqueeze(-1) + batch.wyckoff_positions]
    return torch.nn.functional.one_hot(classes, N_AXIS_CLASSES).double().log()


def one_hot_letters(batch: AsymmetricUnitBatch) -> torch.Tensor:
    return torch.nn.functional.one_hot(batch.wyckoff_positions, 27).double().log()


def crystal(group: int, positions: list[int], coords: np.ndarray) -> AsymmetricUnitBatch:
    unit = AsymmetricUnit(
        group, np.array([0, 0, 0, 0, 0, 2.0]), np.full(len(positions), 6), np.array(positions),
        np.asarray(coords, dtype=float),
    )  # fmt: skip
    return AsymmetricUnitBatch.stack([unit])


def is_point(group: int) -> np.ndarray:
    return symmetry_tables().degrees_of_freedom[positions_of(group)] == 0


def squared_distances(group: int, x: np.ndarray) -> np.ndarray:
    """Fractional distance to the first locus of every position, one shift at a time."""
    positions = positions_of(group)
    distances = []
    for w in range(positions.stop - positions.start):
        rotation, translation = (values[0] for values in orbit_of(group, w))
        shifts = np.array(list(itertools.product(range(-2, 3), repeat=3)))
        off = (np.eye(3) - rotation @ np.linalg.pinv(rotation)) @ (x - translation - shifts).T
        distances.append(np.square(off).sum(0).min())
    return np.array(distances)


def test_certain_letters_are_returned_whatever_the_coordinates() -> None:
    batch = AsymmetricUnitBatch.stack(prototypes()[1])
    noise = torch.randn(
        batch.fractional_coords.shape,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(0),
    )
    batch.fractional_coords.add_(0.1 * noise)
    positions, log_prob = decode_wyckoff(batch, wyckoff_log_probs=one_hot_letters(batch))
    assert torch.equal(positions, batch.wyckoff_positions)
    assert log_prob.abs().max() < 1e-9


def test_axes_and_noisy_coordinates_give_the_letters_of_real_crystals() -> None:
    batch = AsymmetricUnitBatch.stack(prototypes()[1])
    noise = torch.randn(
        batch.fractional_coords.shape,
        dtype=torch.float64,
        generator=torch.Generator().manual_seed(1),
    )
    axes = one_hot_axes(batch)
    scores = {}
    for scale in (0.0, 0.02, 0.5):
        coords = (batch.fractional_coords + scale * noise) * batch.is_site.unsqueeze(-1)
        noisy = AsymmetricUnitBatch(
            batch.space_group_number, batch.lattice_k, batch.atomic_numbers,
            torch.zeros_like(batch.wyckoff_positions), coords, batch.is_site,
        )  # fmt: skip
        positions, _ = decode_wyckoff(noisy, axis_log_probs=axes)
        equal = positions == batch.wyckoff_positions
        scores[scale] = equal[batch.is_site].double().mean().item()
    assert scores[0.0] == 1
    assert scores[0.02] > 0.995
    assert scores[0.5] < 0.9, "without good coordinates the collisions cannot be resolved"


def test_every_position_is_found_from_its_axes_and_a_point_of_its_locus() -> None:
    tables, rng = symmetry_tables(), np.random.default_rng(2)
    units = []
    for group in range(1, 231):
        positions = positions_of(group)
        for w in range(positions.stop - positions.start):
            rotation, translation = (values[0] for values in orbit_of(group, w))
            x = rotation @ rng.random(3) + translation
            units.append(AsymmetricUnit(group, np.zeros(6), np.array([6]), np.array([w]), x[None]))
    batch = AsymmetricUnitBatch.stack(units)
    found, _ = decode_wyckoff(batch, axis_log_probs=one_hot_axes(batch))
    assert torch.equal(found, batch.wyckoff_positions)
    # negative control: the axes alone do not tell, 983 positions share theirs with another
    nowhere = AsymmetricUnitBatch.stack(
        [
            AsymmetricUnit(
                unit.space_group_number,
                unit.lattice_k,
                unit.atomic_numbers,
                unit.wyckoff_positions,
                np.full((1, 3), 0.13),
            )  # fmt: skip
            for unit in units
        ]
    )
    found, _ = decode_wyckoff(nowhere, axis_log_probs=one_hot_axes(batch))
    n_wrong = int((found != batch.wyckoff_positions).sum())
    assert 400 < n_wrong < 983
    start = tables.position_start[batch.space_group_number.numpy() - 1]
    same = (
        tables.encoding[start + found[:, 0].numpy()]
        == tables.encoding[start + batch.wyckoff_positions[:, 0].numpy()]
    )
    assert same.all(), "what was decoded has the axes that were asked for"


@pytest.mark.parametrize("group", [2, 47, 225, 194, 123])
def test_the_assignment_is_the_cheapest_that_takes_no_point_twice(group: int) -> None:
    """Against all combinations, written out."""
    rng, n_sites = np.random.default_rng(group), 3
    positions = positions_of(group)
    n_positions, point = positions.stop - positions.start, is_point(group)
    n_clashes = 0
    for _ in range(12):
        scores = np.full((1, n_sites, 27), -np.inf)
        scores[0, :, :n_positions] = np.log(rng.dirichlet(np.full(n_positions, 0.3), n_sites))
        favourite = rng.choice(np.flatnonzero(point))
        scores[0, :, favourite] = 0
        scores -= np.log(np.exp(scores).sum(-1, keepdims=True))
        # points lie at multiples of 1/4: stay away, for the pure cost
        coords = rng.uniform(0.1, 0.15, (n_sites, 3))
        batch = crystal(group, [0] * n_sites, coords)
        found, log_prob = decode_wyckoff(batch, wyckoff_log_probs=torch.tensor(scores))
        costs = np.array(
            [
                -scores[0, i, :n_positions]
                + squared_distances(group, coords[i]) / (2 * COORDINATE_SCALE**2)
                for i in range(n_sites)
            ]
        )
        total = costs[np.arange(n_sites), found[0].numpy()].sum()
        allowed = [
            sum(costs[i, w] for i, w in enumerate(chosen))
            for chosen in itertools.product(range(n_positions), repeat=n_sites)
            if all(chosen.count(w) == 1 for w in chosen if point[w])
        ]
        assert total == pytest.approx(min(allowed), abs=1e-3)
        taken = [w for w in found[0].tolist() if point[w]]
        assert len(taken) == len(set(taken))
        n_clashes += len(set(costs.argmin(-1).tolist())) < n_sites
        expected = scores[0, np.arange(n_sites), found[0].numpy()]
        assert log_prob[0].numpy() == pytest.approx(expected)
    assert n_clashes > 3, "the test must meet clashes"


def test_more_sites_than_points_still_have_a_solution() -> None:
    batch = crystal(2, [8] * 12, np.zeros((12, 3)))
    found, _ = decode_wyckoff(batch, wyckoff_log_probs=one_hot_letters(batch))
    counts = torch.bincount(found[0], minlength=9)
    assert counts.tolist() == [4, 1, 1, 1, 1, 1, 1, 1, 1]
    # away from every point the general position, at no distance, is the next best
    batch = crystal(2, [8] * 12, np.full((12, 3), 0.25))
    found, _ = decode_wyckoff(batch, wyckoff_log_probs=one_hot_letters(batch))
    assert torch.bincount(found[0], minlength=9).tolist() == [11, 0, 0, 0, 0, 0, 0, 0, 1]


def test_order_padding_and_company_change_nothing() -> None:
    units = [unit for unit in prototypes()[1] if len(unit) > 2][:60]
    batch = AsymmetricUnitBatch.stack(units)
    generator = torch.Generator().manual_seed(3)
    scores = torch.randn(*batch.is_site.shape, 27, dtype=torch.float64, generator=generator)
    together, log_prob = decode_wyckoff(batch, wyckoff_log_probs=scores)
    for row, unit in enumerate(units):
        order = torch.randperm(len(unit), generator=generator)
        alone = AsymmetricUnitBatch.stack(
            [
                AsymmetricUnit(
                    unit.space_group_number,
                    unit.lattice_k,
                    unit.atomic_numbers[order],
                    unit.wyckoff_positions[order],
                    unit.fractional_coords[order],
                )  # fmt: skip
            ]
        )
        found, confidence = decode_wyckoff(alone, wyckoff_log_probs=scores[row : row + 1, order])
        assert torch.equal(found[0], together[row, order])
        assert torch.allclose(confidence[0], log_prob[row, order])


def test_exactly_one_kind_of_probability() -> None:
    batch = crystal(2, [0], np.zeros((1, 3)))
    letters, axes = one_hot_letters(batch), one_hot_axes(batch)
    with pytest.raises(ValueError, match="either"):
        decode_wyckoff(batch)
    with pytest.raises(ValueError, match="either"):
        decode_wyckoff(batch, wyckoff_log_probs=letters, axis_log_probs=axes)
