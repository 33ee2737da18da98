"""What others read is what was made, to the last digit where the form allows it."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Structure

from symmbfn.crystals.cell import Cell
from symmbfn.screening.exports import LEMAT, MOST_FOR_LEMAT, write_lemat, write_relaxed_cifs
from symmbfn.screening.sources import Candidate

LATTICE = np.array([[3.1, 0.2, 1 / 3], [0.0, 4.0000000001, 0.1], [-0.7, np.pi, 5.3]])
CELL = Cell(LATTICE, np.array([11, 17, 17]), np.array([[0.1, 0.2, 1 / 3], [0.6, 0.5, 0.7],
                                                       [0.2, 0.9, 0.95]]))  # fmt: skip


def candidate(index: int, cell: Cell | None = CELL, status: str = "ok") -> Candidate:
    reason = "" if status == "ok" else "lost"
    return Candidate(index, f'odd "name", {index}', status, reason, cell)


def read_as_lemat(path: Path) -> list[Structure]:
    """As the benchmark's loader does it: empty cells are skipped, braces are JSON."""
    table = pd.read_csv(path)
    texts = [text for text in table["structure"] if not pd.isna(text)]
    assert all(text.startswith("{") for text in texts)
    return [Structure.from_dict(json.loads(text)) for text in texts]


def test_lemat_reads_what_was_generated(tmp_path: Path) -> None:
    other = Cell(2 * LATTICE, CELL.atomic_numbers[::-1], CELL.fractional_coords)
    failed = candidate(1, None, "reconstruction_failed")
    invalid = candidate(3, CELL, "invalid_geometry")
    said = write_lemat(tmp_path, [candidate(0), failed, candidate(2, other), invalid])
    assert said == "lemat.csv: 2 structures as generated, of all 4 of 4 requests"
    found = read_as_lemat(tmp_path / LEMAT)
    for structure, cell in zip(found, (CELL, other), strict=True):
        back = Cell.from_pymatgen(structure)
        np.testing.assert_array_equal(back.lattice_matrix, cell.lattice_matrix)
        np.testing.assert_array_equal(back.fractional_coords, cell.fractional_coords)
        np.testing.assert_array_equal(back.atomic_numbers, cell.atomic_numbers)
    names = pd.read_csv(tmp_path / LEMAT)["material_id"].tolist()
    assert names == [f'odd "name", {index}' for index in range(4)], "each request has its row"


def test_lemat_takes_the_first_of_many(tmp_path: Path) -> None:
    rows = [candidate(0)] * 2 + [candidate(2, None, "timeout")] * MOST_FOR_LEMAT
    said = write_lemat(tmp_path, rows)
    assert said.endswith(f"2 structures as generated, of the first 2500 of {len(rows)} requests")
    assert len(pd.read_csv(tmp_path / LEMAT)) == 2500


def test_cifs_are_the_relaxed_cells(tmp_path: Path) -> None:
    paths = write_relaxed_cifs(tmp_path, {0: CELL, 17: CELL})
    assert paths == {0: "relaxed/00000-NaCl2.cif", 17: "relaxed/00017-NaCl2.cif"}
    found = Structure.from_file(str(tmp_path / paths[17]))
    assert found.volume == pytest.approx(CELL.volume, rel=1e-8)
    np.testing.assert_allclose(found.lattice.abc, CELL.to_pymatgen().lattice.abc, rtol=1e-9)
    shift = found.frac_coords - CELL.fractional_coords
    np.testing.assert_allclose(shift - np.round(shift), 0, atol=1e-9)
    before = (tmp_path / paths[0]).stat().st_mtime_ns
    write_relaxed_cifs(tmp_path, {0: CELL, 1: CELL})
    assert (tmp_path / paths[0]).stat().st_mtime_ns == before, "what is there is not written again"
    assert (tmp_path / "relaxed" / "00001-NaCl2.cif").is_file()
