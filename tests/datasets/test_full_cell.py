"""Full cells: the same crystals, every atom written out."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnit
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import operations_of
from symmbfn.datasets import full_cell
from symmbfn.datasets.full_cell import full_cells
from symmbfn.model import compute_statistics
from tests.models import batch, config, dataset, units


def images(unit: AsymmetricUnit) -> Counter:
    """Atoms of a cell as a bag of (element, place), from the operations of the group alone."""
    rotations, translations = operations_of(unit.space_group_number)
    found = set()
    for number, x in zip(unit.atomic_numbers.tolist(), unit.fractional_coords, strict=True):
        found |= {(number, place) for place in places(rotations @ x + translations)}
    return Counter(found)


def places(coords: np.ndarray) -> list[tuple[int, ...]]:
    return [tuple(row) for row in (np.rint(coords * 1e4).astype(int) % 10_000).tolist()]


def bag(unit: AsymmetricUnit) -> Counter:
    return Counter(zip(unit.atomic_numbers.tolist(), places(unit.fractional_coords), strict=True))


def test_every_image_of_every_site_is_there_once() -> None:
    cells = full_cells(dataset())
    assert len(cells) == len(units())
    for row, unit in enumerate(units()):
        assert bag(cells.unit(row)) == images(unit)
    # the negative control: one site less is another bag
    assert bag(cells.unit(0)) != images(units()[1])


def test_atoms_are_those_of_the_reconstruction_in_its_order() -> None:
    cells = full_cells(dataset())
    for row, crystal in enumerate(reconstruct(batch(dtype=torch.float64))):
        unit = cells.unit(row)
        assert np.array_equal(unit.atomic_numbers, crystal.atomic_numbers)
        gap = unit.fractional_coords - crystal.fractional_coords
        assert np.abs(gap - np.rint(gap)).max() < 1e-6


def test_what_is_known_of_the_crystals_stays_and_the_sites_are_atoms() -> None:
    before = dataset()
    before = replace(
        before,
        identifiers=tuple(f"crystal {i}" for i in range(len(before))),
        settings={"representative": "locus"},
    )
    after = full_cells(before)
    assert after.identifiers == before.identifiers
    for name in ("space_group_number", "lattice_k", "properties"):
        assert torch.equal(getattr(after, name), getattr(before, name))
    for name in ("site_start", "atomic_numbers", "wyckoff_positions", "fractional_coords"):
        assert getattr(after, name).dtype == getattr(before, name).dtype
    assert (after.wyckoff_positions == 0).all()
    x = after.fractional_coords
    assert (x >= CHART_END - 1).all() and (x <= CHART_END).all()
    assert after.digest == full_cells(before).digest != before.digest
    part = after.batch(torch.tensor([15, 4]))
    assert part.n_sites.tolist() == after.n_sites[[15, 4]].tolist() == [32, 8]
    one = after.subset(torch.tensor([4]))
    assert one.n_sites.tolist() == [8] and one.identifiers == ("crystal 4",)
    with pytest.raises(ValueError, match="already"):
        full_cells(after)


def test_pieces_of_the_work_join_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = full_cells(dataset())
    monkeypatch.setattr(full_cell, "CHUNK_SITES", 5)
    pieces = full_cells(dataset())
    assert torch.equal(pieces.site_start, whole.site_start)
    assert torch.equal(pieces.atomic_numbers, whole.atomic_numbers)
    assert torch.equal(pieces.fractional_coords, whole.fractional_coords)


def test_a_site_may_lie_on_any_of_its_loci_where_the_dataset_says_so() -> None:
    before = dataset()
    rows = before.site_start[:-1].long()
    # the first site of every crystal moves to another atom of its orbit
    cells = full_cells(before)
    moved = before.fractional_coords.clone()
    last = [int(cells.site_start[i]) + m - 1 for i, m in enumerate(multiplicities())]
    moved[rows] = cells.fractional_coords[last]
    other = replace(before, fractional_coords=moved, settings={"representative": "centre"})
    others = full_cells(other)
    for row, unit in enumerate(units()):
        assert bag(others.unit(row)) == images(unit)


def multiplicities() -> list[int]:
    """Atoms in the orbit of each crystal's first site."""
    return [int((crystal.orbit == 0).sum()) for crystal in reconstruct(batch(dtype=torch.float64))]


def test_statistics_hold_the_numbers_of_atoms_given_the_group() -> None:
    cells = full_cells(dataset(repeats=2))
    settings = config("full_cell")
    found = compute_statistics(cells.batch(torch.arange(len(cells))), settings)
    rows = dict(zip(map(tuple, found.given.tolist()), found.given_count.tolist(), strict=True))
    by_hand = {
        (225, 8, 2): 2,  # rock salt
        (225, 12, 2): 2,  # fluorite
        (216, 8, 2): 2,  # zinc blende
        (221, 5, 3): 2,  # perovskite
        (227, 8, 1): 2,  # diamond structure
        (229, 2, 1): 2,
        (194, 2, 1): 2,
        (186, 4, 2): 2,  # wurtzite
        (136, 6, 2): 2,  # rutile
    }
    assert by_hand.items() <= rows.items()
    assert sum(rows.values()) == len(cells)
    in_cells = Counter(z for unit in units() for z, _ in images(unit).elements())
    weight = np.array([2 * in_cells[z] + 0.5 for z in settings.elements])
    np.testing.assert_allclose(found.element_log_prior.exp(), weight / weight.sum(), rtol=1e-5)
