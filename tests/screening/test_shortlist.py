"""Files of the shortlist are of the relaxed crystal, and hold numbers as a person writes them."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Structure

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.summary import METASTABLE
from symmbfn.screening.shortlist import MOST, conventional, input_files, shortlist, write_shortlist

NOISE = re.compile(r"\d\.\d*(0000000|9999999)\d*[1-9]\b")  # as of 0.1 + 0.2


def table_of(**columns: list) -> pd.DataFrame:
    """Rows of a screening: rock salts of density 1 before their relaxation."""
    n = len(next(iter(columns.values())))
    rows = {
        "index": list(range(n)),
        "name": [f"{row}.cif" for row in range(n)],
        "formula": ["KBr"] * n,
        "n_atoms": [2] * n,
        "density": [1.0] * n,
        "found_group": [1] * n,
        "relaxed_group": [225] * n,
        "relaxed_duplicate_of": list(range(n)),
        "relaxed_is_novel": [True] * n,
        "is_converged": [True] * n,
        "e_above_hull": [0.1 + 0.2 - 0.3] * n,
        "formation_energy_per_atom": [-1.1 - 2.2] * n,
        "band_gap": [4.5] * n,
    }
    return pd.DataFrame(rows | columns)


def rock_salt(edge: float = 6.6) -> Cell:
    """The primitive cell of KBr."""
    lattice = edge / 2 * np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]])
    return Cell(lattice, np.array([19, 35]), np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]]))


def test_the_list_is_of_the_relaxed_crystals(tmp_path: Path) -> None:
    table = table_of(e_above_hull=[0.02, -0.1])
    relaxed = {0: rock_salt(6.6), 1: rock_salt(7.0)}
    returned = write_shortlist(tmp_path, table, relaxed)
    listed = pd.read_csv(tmp_path / "candidates.csv")
    pd.testing.assert_frame_equal(listed, returned)
    assert listed["index"].tolist() == [1, 0]
    for row, edge in zip(listed.itertuples(), (7.0, 6.6), strict=True):
        assert row.space_group_number == 225 and row.n_atoms == 8
        assert (row.a, row.b, row.c, row.alpha, row.beta, row.gamma) == (edge,) * 3 + (90.0,) * 3
        assert row.volume == pytest.approx(edge**3, abs=1e-6)
        # four units of KBr, 119.002 g/mol, in a cell of so many cubic angstrom
        assert row.density == pytest.approx(4 * 119.002 / 0.602214 / edge**3, rel=1e-4)
        assert row.minimum_distance == pytest.approx(edge / 2)
        place = tmp_path / "candidates" / f"{row.index:05d}-KBr"
        for file in ("POSCAR", "KBr.cif"):
            structure = Structure.from_file(str(tmp_path / "candidates" / place / file))
            assert structure.density == pytest.approx(row.density, rel=1e-5)
            assert structure.volume / len(structure) == pytest.approx(edge**3 / 8, rel=1e-6)
    assert not {"density_generated", "relaxed_group", "found_group"} & set(listed)


def test_what_a_screening_did_not_predict_is_no_column(tmp_path: Path) -> None:
    table = table_of(e_above_hull=[0.0]).drop(columns="band_gap")
    assert "band_gap" not in write_shortlist(tmp_path, table, {0: rock_salt()})


def test_those_that_both_judges_call_stable_come_first(tmp_path: Path) -> None:
    """Rows 2 and 3 are two copies: the one of which both say stable stands for them."""
    table = table_of(
        e_above_hull=[-0.3, -0.1, -0.2, 0.0, 0.05],
        second_e_above_hull=[0.02, np.nan, 0.1, 0.0, -0.4],
        is_stable_by_both=[False, None, False, True, False],
        relaxed_duplicate_of=[0, 1, 2, 2, 4],
    )
    assert shortlist(table)["index"].tolist() == [3, 0, 1, 4]
    listed = write_shortlist(tmp_path, table, dict.fromkeys(range(5), rock_salt()))
    assert listed["is_stable_by_both"].fillna("").tolist() == [True, False, "", False]
    assert "is_doubted" not in listed
    assert "is_stable_by_both" not in write_shortlist(
        tmp_path, table_of(name=["a"]), {0: rock_salt()}
    )


def test_an_empty_list_has_its_columns(tmp_path: Path) -> None:
    write_shortlist(tmp_path, table_of(e_above_hull=[0.5]), {0: rock_salt()})
    listed = pd.read_csv(tmp_path / "candidates.csv")
    assert listed.empty and {"index", "density", "e_above_hull"} <= set(listed)
    assert not (tmp_path / "candidates").exists()


def test_the_limit_counts_and_the_list_ends() -> None:
    energies = [METASTABLE, METASTABLE + 1e-9, *np.linspace(-1, 0, MOST + 5)]
    chosen = shortlist(table_of(e_above_hull=energies))
    assert len(chosen) == MOST and chosen.e_above_hull.is_monotonic_increasing
    assert shortlist(table_of(e_above_hull=energies[:2]))["index"].tolist() == [0]


def test_of_copies_the_one_of_lowest_energy_is_listed() -> None:
    table = table_of(relaxed_duplicate_of=[0, 0, 2], e_above_hull=[0.05, -0.02, 0.01])
    assert shortlist(table)["index"].tolist() == [1, 2]


def test_unconverged_and_known_crystals_are_not_listed() -> None:
    table = table_of(
        is_converged=[True, False, True, True], relaxed_is_novel=[True, True, False, None]
    )
    assert shortlist(table)["index"].tolist() == [0]


@pytest.mark.parametrize("n", [3, 7, 14])
def test_settings_are_written_as_a_person_would(n: int) -> None:
    """pymatgen's EDIFF is 5e-5 times the number of atoms, 0.00030000000000000003 for six."""
    cell = rock_salt()
    chain = cell.to_pymatgen().make_supercell([1, 1, n])
    files = input_files(Cell.from_pymatgen(chain))
    settings = dict(line.split(" = ") for line in files["INCAR"].splitlines())
    assert settings["EDIFF"] == f"{5e-5 * 2 * n:.5f}".rstrip("0")
    assert float(settings["ENCUT"]) == 520 and settings["MAGMOM"] == f"{2 * n}*0.6"
    for name, text in files.items():
        assert not NOISE.search(text), name


def test_atoms_of_all_files_have_one_order() -> None:
    """The settings of VASP list magnetic moments and pseudopotentials in the order of POSCAR."""
    elements = np.array([8, 26, 8, 26])
    coords = np.array([[0.5, 0.5, 0.5], [0, 0, 0], [0.5, 0, 0], [-1e-17, 0.5, 1.0]])
    files = input_files(Cell(np.diag([3.0, 6.0, 3.1]) - 1e-17, elements, coords))
    lines = files["POSCAR"].splitlines()
    assert lines[5:7] == ["Fe O", "2 2"] and files["POTCAR.spec"].split() == ["Fe_pv", "O"]
    assert "MAGMOM = 2*5.0 2*0.6" in files["INCAR"]
    assert "-0.000" not in files["POSCAR"] and "1.0000000" not in files["POSCAR"]


def test_a_conventional_cell_is_exact() -> None:
    cell = rock_salt()
    cell.fractional_coords[1] += 1e-3
    exact = conventional(cell)
    assert len(exact) == 8 and exact.density == pytest.approx(cell.density)
    assert np.allclose(exact.lattice_matrix, exact.lattice_matrix[0, 0] * np.eye(3), atol=1e-12)
    assert np.allclose(2 * exact.fractional_coords % 1, 0, atol=1e-12)
