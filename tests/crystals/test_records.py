"""A crystal written as a line of JSON and read back is the same crystal."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.records import crystals_of, lines_of, read_crystals, record_of
from symmbfn.crystals.symmetry_search import check_symmetry
from tests.crystals.samples import one_crystal
from tests.models import batch


def crystals() -> list[Crystal]:
    built = [check_symmetry(crystal) for crystal in reconstruct(batch(), seed=5)]
    built[3] = replace(built[3], status="symmetry_mismatch", reason="space group 1 found")
    # a cell of two angstrom: atoms far too close, yet a structure
    crowded = batch(0)
    crowded.lattice_k[:, 5] -= 1.5
    built += reconstruct(crowded, indices=[len(built)], seed=5)
    assert built[-1].status == "invalid_geometry"
    # a site beside a mirror, twice
    twice = one_crystal(6, [(14, "c", (0.1, 0.03, 0.7)), (8, "c", (0.6, 0.3, 0.2))] * 2, edge=6.0)
    built += reconstruct(AsymmetricUnitBatch.stack([twice]), indices=[len(built)], seed=5)
    assert (built[-1].n_merged, built[-1].n_dropped) == (1, 2)
    return [*built, Crystal.failed(len(built), 5, "reconstruction_failed", "no letter", 47)]


def test_what_comes_back_is_what_went_in(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    path.write_text(lines_of(map(record_of, crystals())))
    for before, after in zip(crystals(), read_crystals(path), strict=True):
        for name in ("index", "seed", "status", "reason", "space_group_number", "letters"):
            assert getattr(after, name) == getattr(before, name)
        assert after.found_space_group_number == before.found_space_group_number
        assert (after.n_merged, after.n_dropped) == (before.n_merged, before.n_dropped)
        assert after.has_structure == before.has_structure
        assert after.formula == before.formula
        assert np.array_equal(after.atomic_numbers, before.atomic_numbers)
        assert np.array_equal(after.orbit, before.orbit)
        gap = after.fractional_coords - before.fractional_coords
        assert np.abs(gap - np.rint(gap)).max(initial=0) < 1e-9
        if before.lattice_matrix is not None:
            assert np.allclose(after.lattice_matrix, before.lattice_matrix, atol=1e-9)
            assert after.to_cif() == before.to_cif()
        assert after.residual == pytest.approx(before.residual, abs=1e-6)
        if not np.isnan(before.minimum_distance):
            assert after.minimum_distance == pytest.approx(before.minimum_distance, abs=1e-6)
            assert after.contact_ratio == pytest.approx(before.contact_ratio, abs=1e-6)


def test_a_record_can_be_read_by_people_and_by_any_json_reader() -> None:
    salt = record_of(crystals()[0])
    assert salt["formula"] == "NaCl" and salt["space_group"] == "Fm-3m"
    assert salt["letters"] == ["a", "b"] and salt["n_atoms"] == 8
    assert salt["lattice_parameters"] == pytest.approx([5.6, 5.6, 5.6, 90, 90, 90])
    assert salt["minimum_distance"] == pytest.approx(2.8)
    # 4 NaCl in a cube of 5.6 angstrom
    assert salt["density"] == pytest.approx(4 * (22.98977 + 35.453) * 1.66054 / 5.6**3, rel=1e-4)
    assert salt["n_merged"] == salt["n_dropped"] == 0
    nothing = record_of(crystals()[-1])
    assert nothing["density"] is None and nothing["sites"] == []
    json.loads(lines_of([salt, nothing]).splitlines()[1], parse_constant=pytest.fail)


def test_a_broken_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "records.jsonl"
    for line in ('{"index": 1', "{}", "1", "null"):
        path.write_text(lines_of([record_of(crystals()[0])]) + line)
        with pytest.raises(ValueError, match=f"{path} line 2 is no record"):
            list(read_crystals(path))
    assert crystals_of([]) == []
