"""Full cells: the same crystals, every atom written out."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import spglib
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnit
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.crystals.reconstruction import cells_as_they_are, reconstruct
from symmbfn.crystals.symmetry import operations_of
from symmbfn.datasets import full_cell
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.full_cell import full_cells, primitive_cells
from symmbfn.model.statistics import compute_statistics
from tests.crystals.samples import one_crystal
from tests.models import batch, config, dataset, fresh_model, units


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


def test_statistics_hold_the_numbers_of_atoms_given_the_group() -> None:
    cells = full_cells(dataset(repeats=2))
    settings = config("full_cell")
    found = compute_statistics(cells.batch(torch.arange(len(cells))), settings)
    rows = dict(
        zip(map(tuple, found.conditions.tolist()), found.condition_count.tolist(), strict=True)
    )
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


# --- primitive cells -----------------------------------------------------------------------------


def test_primitive_cells_hold_the_crystal_once_in_p1() -> None:
    before = dataset()
    cells, conventional = primitive_cells(before), full_cells(before)
    assert (cells.space_group_number == 1).all()
    found = cells_as_they_are(cells.batch(torch.arange(len(cells)), torch.float64))
    matcher = StructureMatcher(primitive_cell=True, ltol=1e-3, stol=1e-3, angle_tol=0.1)
    for row, (crystal, whole) in enumerate(
        zip(found, reconstruct(batch(dtype=torch.float64)), strict=True)
    ):
        assert crystal.status == "ok", crystal.reason
        assert crystal.formula == whole.formula
        n_copies = round(1 / np.linalg.det(primitive_vectors(whole.space_group_number)))
        assert len(crystal) * n_copies == len(whole) == int(conventional.n_sites[row])
        assert crystal.density == pytest.approx(whole.density, rel=1e-6)
        assert matcher.fit(crystal.to_pymatgen(), whole.to_pymatgen())
    # the negative control: another crystal of as many atoms
    assert not matcher.fit(found[0].to_pymatgen(), found[5].to_pymatgen())


def test_their_lattices_are_reduced_and_no_crystal_is_turned_into_its_mirror_image() -> None:
    before = dataset()
    cells = primitive_cells(before)
    for metric in k_to_metric(cells.lattice_k).numpy():
        lengths = np.sqrt(np.diag(metric))
        assert (np.diff(lengths) > -1e-5).all(), "the shortest first"
        for i, j in ((0, 1), (0, 2), (1, 2)):
            assert abs(metric[i, j]) <= metric[i, i] / 2 + 1e-5
    # quartz turns left or right, and its primitive cell with it
    quartz = one_crystal(
        152, [(14, "a", (0.47, 0.0, 1 / 3)), (8, "c", (0.41, 0.27, 0.12))], edge=4.9
    )
    for unit in (quartz, units()[11]):
        alone = replace(before, **encoded_as(unit))
        (crystal,) = cells_as_they_are(
            primitive_cells(alone).batch(torch.tensor([0]), torch.float64)
        )
        cell = (crystal.lattice_matrix, crystal.fractional_coords, crystal.atomic_numbers)
        assert np.linalg.det(crystal.lattice_matrix) > 0
        assert spglib.get_symmetry_dataset(cell, symprec=1e-3).number == unit.space_group_number


def encoded_as(unit: AsymmetricUnit) -> dict:
    """The fields of a dataset of one crystal."""
    return {
        "space_group_number": torch.tensor([unit.space_group_number]).short(),
        "site_start": torch.tensor([0, len(unit)]).int(),
        "lattice_k": torch.tensor(unit.lattice_k)[None],
        "atomic_numbers": torch.tensor(unit.atomic_numbers).short(),
        "wyckoff_positions": torch.tensor(unit.wyckoff_positions).to(torch.int8),
        "fractional_coords": torch.tensor(unit.fractional_coords).float(),
        "properties": torch.zeros(1, 0),
    }


def test_a_primitive_set_has_a_digest_of_its_own_and_keeps_names() -> None:
    before = dataset()
    before = replace(before, identifiers=tuple(f"crystal {i}" for i in range(len(before))))
    after = primitive_cells(before)
    assert after.identifiers == before.identifiers
    assert len({after.digest, before.digest, full_cells(before).digest}) == 3
    assert after.digest == primitive_cells(before).digest
    x = after.fractional_coords
    assert (x >= CHART_END - 1).all() and (x <= CHART_END).all()
    with pytest.raises(ValueError, match="already"):
        primitive_cells(after)
    found = compute_statistics(after.batch(torch.arange(len(after))), config("circular"))
    assert (found.conditions[:, 0] == 1).all()
    _, conditions = fresh_model("circular").encode(after.batch(torch.arange(len(after))))
    assert conditions.lattice_free.all(), "a cell of which no symmetry is known"


def test_real_crystals_are_the_same_in_their_primitive_cells(data_folder) -> None:
    before = encode_dataset("mp_20_mini", form="raw")
    cells = primitive_cells(before)
    assert len(cells) == len(before) == 512
    assert cells.n_sites.max() <= 20
    rows = torch.arange(0, 512, 16)
    originals = reconstruct(before.batch(rows, torch.float64))
    found = cells_as_they_are(cells.batch(rows, torch.float64))
    for crystal, original in zip(found, originals, strict=True):
        assert crystal.formula == original.formula
        assert crystal.density == pytest.approx(original.density, rel=1e-5)
        assert StructureMatcher().fit(crystal.to_pymatgen(), original.to_pymatgen())
