"""Loci: orbits obey the group, projections are exact and nearest."""

import itertools

import numpy as np
import pytest
import torch

from symmbfn.crystals.lattice import k_to_parameters, parameters_to_matrix
from symmbfn.crystals.loci import (
    expand_orbits,
    inverse_3x3,
    loci,
    position_row,
    project,
    ranges,
    squared_distance,
    wrap,
)
from symmbfn.crystals.symmetry import operations_of, positions_of, symmetry_tables
from tests.crystals.samples import random_lattice_k

CPU = torch.device("cpu")


def representatives_of_all_positions(seed: int) -> torch.Tensor:
    """A random point on the first locus of each of the 1,731 positions."""
    tables = loci(CPU)
    first = tables.orbit_start[:-1]
    u = torch.rand(len(first), 3, 1, dtype=torch.float64, generator=_generator(seed))
    return (tables.rotations[first] @ u).squeeze(-1) + tables.translations[first]


def lattices_of_all_positions(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    tables = symmetry_tables()
    number = torch.arange(1, 231)
    k = torch.tensor(np.array([random_lattice_k(int(group), rng) for group in number]))
    lattice = parameters_to_matrix(k_to_parameters(k, number))
    return lattice[np.repeat(np.arange(230), np.diff(tables.position_start))]


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_rows_of_positions_are_counted_through_all_groups() -> None:
    number = torch.arange(1, 231)[:, None]
    rows = position_row(number, torch.tensor([[0, 1]]).expand(230, 2))
    expected = [
        [positions_of(group).start, positions_of(group).start + 1] for group in range(1, 231)
    ]
    assert rows.tolist() == expected


def nearest_by_least_squares(
    x: np.ndarray, rotation: np.ndarray, translation: np.ndarray, lattice: np.ndarray, reach: int
) -> float:
    """Distance to a locus, one shift after the other: the textbook way."""
    shifts = np.array(list(itertools.product(range(-reach, reach + 1), repeat=3)))
    targets = lattice.T @ (x - translation - shifts).T
    u = np.linalg.pinv(lattice.T @ rotation, rcond=1e-6) @ targets
    return float(np.linalg.norm(targets - lattice.T @ rotation @ u, axis=0).min())


@pytest.mark.parametrize("seed", [0, 1])
def test_an_orbit_has_as_many_points_as_its_multiplicity_and_is_closed(seed: int) -> None:
    tables = symmetry_tables()
    points = representatives_of_all_positions(seed)
    atoms, site = expand_orbits(points, torch.arange(len(points)))
    assert torch.equal(torch.bincount(site), loci(CPU).multiplicity)
    atoms, offsets = atoms.numpy(), tables.orbit_start
    for group in range(1, 231):
        rotations, translations = operations_of(group)
        positions = positions_of(group)
        for row in range(positions.start, positions.stop):
            orbit = atoms[offsets[row] : offsets[row + 1]]
            # by the group's transitivity, images of the first point are the orbit
            images = rotations @ orbit[0] + translations
            gap = images[:, None] - orbit
            gap = np.abs(gap - np.rint(gap)).max(-1)
            assert gap.min(1).max() < 1e-9, "an operation leads out of the orbit"
            hits = (gap < 1e-9).sum(0)
            assert (hits == len(rotations) // len(orbit)).all(), "points are not distinct"


def test_points_of_every_locus_project_onto_themselves() -> None:
    tables = loci(CPU)
    row = tables.row_of_operation
    operation = torch.arange(len(row))
    start = representatives_of_all_positions(2)
    on_locus = (tables.rotations @ start[row].unsqueeze(-1)).squeeze(-1) + tables.translations
    shift = torch.randint(-2, 3, on_locus.shape, generator=_generator(3))
    lattice = lattices_of_all_positions(4)[row]
    found, miss = project(on_locus + shift, operation, lattice)
    assert miss.abs().max() < 1e-10
    again = (tables.rotations @ found.unsqueeze(-1)).squeeze(-1) + tables.translations
    gap = again - on_locus
    assert (gap - gap.round()).abs().max() < 1e-10
    assert squared_distance(on_locus + shift, operation).max() == 0


def test_projection_is_idempotent_and_lands_on_the_first_locus() -> None:
    tables = loci(CPU)
    n_rows = len(tables.multiplicity)
    first, lattice = tables.orbit_start[:-1], lattices_of_all_positions(5)
    x = torch.rand(n_rows, 3, dtype=torch.float64, generator=_generator(6))
    once, miss = project(x, first, lattice)
    twice, remainder = project(once, first, lattice)
    gap = twice - once
    assert (gap - gap.round()).abs().max() < 1e-10
    assert remainder.abs().max() < 1e-10
    image = (tables.rotations[first] @ once.unsqueeze(-1)).squeeze(-1)
    assert (image + tables.translations[first] - once).abs().max() < 1e-10
    # negative control: what is not on a special locus does miss it
    is_special = tables.degrees_of_freedom < 3
    assert miss[is_special].abs().amax(-1).gt(1e-6).float().mean() > 0.99
    assert miss[~is_special].abs().max() < 1e-12


def test_projection_is_the_nearest_point_in_space() -> None:
    tables, rng = loci(CPU), np.random.default_rng(7)
    operation = torch.tensor(rng.integers(0, len(tables.rotations), 400))
    row = tables.row_of_operation[operation]
    lattice = lattices_of_all_positions(8)[row]
    x = torch.tensor(rng.random((400, 3)))
    _, miss = project(x, operation, lattice)
    ours = (miss.unsqueeze(1) @ lattice).squeeze(1).norm(dim=-1).numpy()
    fractional = squared_distance(x, operation).sqrt().numpy()
    for i in range(400):
        locus = tables.rotations[operation[i]].numpy(), tables.translations[operation[i]].numpy()
        reference = nearest_by_least_squares(x[i].numpy(), *locus, lattice[i].numpy(), reach=2)
        assert ours[i] == pytest.approx(reference, abs=1e-6)
        reference = nearest_by_least_squares(x[i].numpy(), *locus, np.eye(3), reach=2)
        assert fractional[i] == pytest.approx(reference, abs=1e-4)


def test_tables_of_loci_are_consistent() -> None:
    tables = loci(CPU)
    ranks = torch.linalg.matrix_rank(tables.bases)
    assert torch.equal(ranks, tables.degrees_of_freedom[tables.row_of_operation])


def test_small_helpers() -> None:
    owner, entry = ranges(torch.tensor([5, 0, 9]), torch.tensor([2, 0, 3]))
    assert owner.tolist() == [0, 0, 2, 2, 2]
    assert entry.tolist() == [5, 6, 9, 10, 11]
    assert wrap(torch.tensor([[-0.25, 1.5, 1 - 1e-15]])).tolist() == [[0.75, 0.5, 0.0]]
    matrices = torch.randn(50, 3, 3, dtype=torch.float64, generator=_generator(9))
    assert torch.allclose(inverse_3x3(matrices), torch.linalg.inv(matrices))
