"""Augmentation: another description of the same crystal, every one of them as likely."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from scipy import stats

from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.crystals.canonical import canonical_form, project_onto_locus
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.datasets.augmentation import augmented
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.full_cell import full_cells
from tests.models import dataset, units

PNMA, POLAR = 15, 9  # of the units: a perovskite with Ti on 4b and Li on 4a; one of P4mm


@cache
def real() -> EncodedDataset:
    return encode_dataset("prototypes", workers=1)


def one(row: int) -> EncodedDataset:
    named = replace(dataset(), identifiers=tuple(map(str, range(len(dataset())))))
    return named.subset(torch.tensor([row]))


def letters_of(crystals: EncodedDataset, row: int, element: int) -> set[str]:
    unit = crystals.unit(row)
    table = symmetry_tables().letter[positions_of(unit.space_group_number)]
    return {str(table[w]) for w in unit.wyckoff_positions[unit.atomic_numbers == element]}


def test_real_crystals_stay_what_they_are() -> None:
    before, after = real(), augmented(real(), 1, seed=3)
    every = torch.arange(0, len(before), 3)
    matcher = StructureMatcher()
    cells = [reconstruct(one.batch(every, torch.float64)) for one in (before, after)]
    for old, new in zip(*cells, strict=True):
        assert new.status == old.status == "ok"
        assert matcher.fit(old.to_pymatgen(), new.to_pymatgen()), old.unit
    # the negative control: with a letter of the old setting some crystals are others
    mixed = replace(after, wyckoff_positions=before.wyckoff_positions)
    cells[1] = reconstruct(mixed.batch(every, torch.float64))
    fits = [
        new.status == "ok" and matcher.fit(old.to_pymatgen(), new.to_pymatgen())
        for old, new in zip(*cells, strict=True)
    ]
    assert 0.2 < np.mean(fits) < 0.9


def test_the_canonical_form_takes_it_back() -> None:
    before, n_copies = real(), 2
    after = augmented(before, n_copies, seed=0)
    n_equal, n_changed = 0, 0
    for row in range(n_copies * len(before)):
        old, new = canonical_form(before.unit(row % len(before))), after.unit(row)
        n_changed += not np.array_equal(new.wyckoff_positions, old.wyckoff_positions)
        back = canonical_form(new)
        gap = np.inf
        if np.array_equal(back.wyckoff_positions, old.wyckoff_positions):
            assert np.array_equal(back.atomic_numbers, old.atomic_numbers)
            gap = np.abs(back.fractional_coords - old.fractional_coords).max()
        n_equal += gap < 1e-3
        np.testing.assert_allclose(back.lattice_k, old.lattice_k, atol=2e-3)
    assert n_equal / len(after) > 0.99
    assert n_changed / len(after) > 0.2


def test_sites_lie_on_the_first_locus_of_their_position_and_in_the_chart() -> None:
    after = augmented(real(), 3, seed=1)
    assert (after.fractional_coords >= CHART_END - 1).all()
    assert (after.fractional_coords <= CHART_END).all()
    for row in range(len(after)):
        unit = after.unit(row)
        for w, x in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
            off = project_onto_locus(unit.space_group_number, int(w), x[None])[1]
            assert off[0] < 1e-6


def test_every_setting_is_as_likely() -> None:
    n = 2000
    copies = augmented(one(PNMA), n, seed=0)
    ti = [letters_of(copies, row, 22) for row in range(n)]
    li = [letters_of(copies, row, 3) for row in range(n)]
    # four of the eight origins of Pnma exchange 4a and 4b, for both sites together
    assert all(a | b == {"a", "b"} for a, b in zip(ti, li, strict=True))
    assert abs(sum(a == {"a"} for a in ti) - n / 2) < 4 * np.sqrt(n / 4)
    x = copies.fractional_coords.reshape(n, -1)
    _, counts = x.mul(1e4).round().unique(dim=0, return_counts=True)
    assert len(counts) == 8
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_along_a_polar_axis_every_origin_is_as_likely_for_all_sites_together() -> None:
    n, unit = 2000, units()[POLAR]
    copies = augmented(one(POLAR), n, seed=0)
    z = {}
    for row in range(n):
        copy = copies.unit(row)
        for number, x in zip(copy.atomic_numbers.tolist(), copy.fractional_coords, strict=True):
            z.setdefault(number, []).append(x[2])
            assert np.abs(x[:2] * 2 - np.rint(x[:2] * 2)).max() < 1e-6, "not polar: 0 or 1/2"
    uniform = (np.array(z[82]) - (CHART_END - 1)) % 1
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3
    # mirror twins are settings too: the distance along the axis is kept up to its sign
    gap = np.array(z[22]) - np.array(z[82])
    true = unit.fractional_coords[1, 2] - unit.fractional_coords[0, 2]
    off = [np.abs(gap - s * true - np.rint(gap - s * true)) for s in (1, -1)]
    assert np.minimum(*off).max() < 3e-4  # each site may be set onto the grid of 1/24
    assert 0.4 < np.mean(off[0] < off[1]) < 0.6


def test_copies_come_one_after_the_other_and_name_what_they_are() -> None:
    before = dataset()
    before = replace(
        before,
        identifiers=tuple(f"crystal {i}" for i in range(len(before))),
        settings={"form": "canonical"},
    )
    after = augmented(before, 3, seed=5)
    assert len(after) == 3 * len(before)
    assert after.identifiers == 3 * before.identifiers
    for copy in range(3):
        rows = slice(copy * len(before), (copy + 1) * len(before))
        assert torch.equal(after.space_group_number[rows], before.space_group_number)
        assert torch.equal(after.n_sites[rows], before.n_sites)
        for row in range(len(before)):
            old, new = before.unit(row), after.unit(rows.start + row)
            assert sorted(old.atomic_numbers) == sorted(new.atomic_numbers)
    assert not torch.equal(after.fractional_coords[:20], after.fractional_coords[-20:])
    assert after.settings == {"form": "augmented", "copies": 3, "seed": 5}
    same, other = augmented(before, 3, seed=5), augmented(before, 3, seed=6)
    assert torch.equal(same.fractional_coords, after.fractional_coords)
    assert same.digest == after.digest
    assert len({before.digest, after.digest, other.digest, augmented(before, 2, 5).digest}) == 4


def test_what_has_no_settings_is_refused() -> None:
    with pytest.raises(ValueError, match="n_copies.*0"):
        augmented(dataset(), 0, seed=0)
    with pytest.raises(ValueError, match="all atoms"):
        augmented(full_cells(dataset()), 1, seed=0)
