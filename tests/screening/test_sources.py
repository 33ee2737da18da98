"""Crystals to be judged come from runs, CIFs and datasets; none is lost on the way."""

import os
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.generation.run import generate_run
from symmbfn.screening.sources import Candidate, read_candidates
from symmbfn.screening.stages.judged import judge_candidate
from tests.crystals.samples import one_crystal

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


def test_a_composition_is_judged_whatever_the_geometry(tmp_path: Path) -> None:
    """Atoms 0.2 angstrom apart, made by a generator or written in a file."""
    crowd = [[0, 0, 0], [0.05, 0, 0], [0, 0.05, 0], [0, 0, 0.05]]
    salt = Structure(Lattice.cubic(4.0), ["Na", "Cl"], crowd[:2])
    (tmp_path / "small.cif").write_text(salt.to(fmt="cif"))
    sites = [(11, "a", tuple(crowd[0])), (17, "a", tuple(crowd[1]))]
    crystal = reconstruct(AsymmetricUnitBatch.stack([one_crystal(1, sites, 4.0)]))[0]
    made = Candidate(0, "0", crystal.status, crystal.reason, Cell.of(crystal), crystal)
    (read,) = read_candidates(tmp_path).rows
    for row in map(judge_candidate, (made, read)):
        assert (row.status, row.formula) == ("invalid_geometry", "NaCl")
        assert row.is_smact_valid and not row.is_structurally_valid and not row.is_valid
    # three fluorine ions are too many for one of sodium
    fluoride = Structure(Lattice.cubic(4.0), ["Na", "F", "F", "F"], crowd)
    (tmp_path / "small.cif").write_text(fluoride.to(fmt="cif"))
    (read,) = read_candidates(tmp_path).rows
    row = judge_candidate(read)
    assert (row.status, row.formula, row.is_smact_valid) == ("invalid_geometry", "NaF3", False)


@pytest.mark.parametrize(
    ("name", "phase"),
    [
        ("mp-149", "mp-149"),
        ("mp-149.cif", "mp-149"),
        ("silicon/mp-149", "mp-149"),
        ("silicon/mp-149.cif.gz", "mp-149"),
        ("mp-149#2", "mp-149"),
        ("my.phase", "my.phase"),
    ],
)
def test_the_entry_of_a_crystal_is_found_by_its_name(name: str, phase: str) -> None:
    assert phase in Candidate(0, name, "ok", "", None).own_phases


def test_the_number_of_a_request_is_the_name_of_no_phase() -> None:
    crystal = Crystal.failed(149, 0, "reconstruction_failed", "no letter", 1)
    assert Candidate(149, "149", crystal.status, "", None, crystal).own_phases == ()


def test_a_source_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        read_candidates("nowhere")


def test_a_dataset_of_several_splits_is_told_how_to_name_one() -> None:
    with pytest.raises(ValueError, match="several splits, name one: .*mp_20:val"):
        read_candidates("mp_20")
