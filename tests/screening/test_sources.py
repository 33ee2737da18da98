"""Crystals to be judged come from runs, CIFs and datasets; none is lost on the way."""

import os
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.generation.run import generate_run
from symmbfn.screening.sources import read_candidates

GOOD = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def test_a_run_gives_one_candidate_for_each_request(tmp_path: Path) -> None:
    generate_run(tmp_path / "run", n=6, n_steps=4, seed=3)
    found = read_candidates(tmp_path / "run")
    assert [row.index for row in found.rows] == list(range(6))
    assert found.facts["settings"]["sampler"]["n_steps"] == 4
    for row in found.rows:
        assert row.crystal is not None
        if row.cell is not None:
            assert row.primitive_cell.formula == row.cell.formula == row.crystal.formula
            assert row.primitive_cell.density == pytest.approx(row.cell.density)


def test_files_that_cannot_be_read_are_rows_with_a_reason(tmp_path: Path) -> None:
    text = GOOD.to(fmt="cif")
    flat = text.replace("_cell_angle_gamma   90.", "_cell_angle_gamma   0.0")
    (tmp_path / "a.cif").write_text(text)
    (tmp_path / "b.cif").write_text("nonsense")
    (tmp_path / "c.cif").write_text(flat)
    (tmp_path / "d.cif").write_text(text.replace("5.64", "0.9"))
    os.mkfifo(tmp_path / "e.cif")  # a pipe that would never end
    rows = read_candidates(tmp_path).rows
    assert [row.name for row in rows] == list("abcde")
    wanted = ["ok", "reconstruction_failed", "invalid_geometry", "invalid_geometry"]
    assert [row.status for row in rows] == [*wanted, "reconstruction_failed"]
    assert all(bool(row.reason) == (row.status != "ok") for row in rows)
    assert rows[0].cell is not None and rows[0].cell.formula == "NaCl"


def test_a_source_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        read_candidates("nowhere")


def test_a_dataset_of_several_splits_is_told_how_to_name_one() -> None:
    with pytest.raises(ValueError, match="several splits, name one: .*mp_20:val"):
        read_candidates("mp_20")
