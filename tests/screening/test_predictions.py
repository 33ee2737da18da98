"""Predictions: all draws are rows, equal structures are said to be, the best come first."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

import symmbfn
from symmbfn.cli.verbs import main
from symmbfn.crystals.cell import Cell
from symmbfn.screening.predictions import (
    TABLE,
    RankedPrediction,
    _ranked,
    predict,
    predictions_table,
    said,
    write_predictions,
)

SALT = [[0, 0, 0], [0.5, 0.5, 0.5]]


def row(draw: int, cell: Cell | None, height: float = float("nan")) -> RankedPrediction:
    status = "ok" if cell is not None else "invalid_geometry"
    group = None if cell is None else 225
    energy = height - 2.0  # of one composition, so in the same order
    return RankedPrediction(
        "NaCl", draw, None, status, "", cell, group, "", "k (KBr)", 0.5, energy, height
    )


def salt(edge: float, group: str = "Fm-3m") -> Cell:
    lattice = Lattice.cubic(edge)
    return Cell.from_pymatgen(Structure.from_spacegroup(group, lattice, ["Na", "Cl"], SALT))


@pytest.fixture
def four() -> list[RankedPrediction]:
    """Rock salt twice, the caesium chloride type, and nothing."""
    other = salt(3.4, "Pm-3m")
    return [row(1, None), row(2, salt(5.6), 0.02), row(3, other, 0.1), row(4, salt(5.7), 0.0)]


def test_the_lowest_comes_first_and_its_copy_has_no_rank(four: list[RankedPrediction]) -> None:
    found = list(_ranked(four, workers=1))
    assert [(one.draw, one.rank, one.copy_of) for one in found] == [
        (4, 1, None),
        (3, 2, None),
        (2, None, 4),
        (1, None, None),
    ]


def test_without_energies_the_order_of_the_draws_stays(four: list[RankedPrediction]) -> None:
    nan = float("nan")
    plain = [replace(one, formation_energy_per_atom=nan, e_above_hull=nan) for one in four]
    found = list(_ranked(plain, workers=1))
    assert [(one.draw, one.rank, one.copy_of) for one in found] == [
        (2, 1, None),
        (3, 2, None),
        (4, None, 2),
        (1, None, None),
    ]


def test_files_hold_what_the_table_says(four: list[RankedPrediction], tmp_path: Path) -> None:
    found = list(_ranked(four, workers=1))
    path = write_predictions(tmp_path / "new", found)
    table = pd.read_csv(path)
    assert table["draw"].tolist() == [4, 3, 2, 1]
    assert table["file"].fillna("").tolist() == ["NaCl-001.cif", "NaCl-002.cif", "", ""]
    assert sorted(p.name for p in path.parent.iterdir()) == [
        "NaCl-001.cif",
        "NaCl-002.cif",
        TABLE,
    ]
    first = Structure.from_file(path.parent / "NaCl-001.cif")
    assert len(first) == 8 and first.lattice.a == pytest.approx(5.7, abs=1e-4)
    with pytest.raises(ValueError, match="not an empty folder"):
        write_predictions(path.parent, found)
    text = said(found)
    assert text.startswith("NaCl: 4 draws, 2 structures, 1 copies, 1 without a structure")
    assert "+0.100 eV/atom from the hull" in text


def test_real_compositions_come_out_ranked() -> None:
    found = predict("KCl", draws=4, seed=1)
    assert sorted(one.draw for one in found) == [1, 2, 3, 4]
    ranks = [one.rank for one in found if one.rank is not None]
    assert ranks == [*range(1, len(ranks) + 1)]
    table = predictions_table(found)
    assert table["e_above_hull"].isna().all() and len(table) == 4
    assert symmbfn.predict is predict
    for one in found:
        if one.cell is not None:
            assert one.cell.composition["K"] == one.cell.composition["Cl"]


def test_chgnet_relaxes_and_ranks(data_folder: Path) -> None:
    found = predict("NaCl", atoms=2, draws=4, rank="chgnet", seed=1)
    best = found[0]
    assert best.space_group_number == 225 and best.rank == 1
    assert -0.1 < best.e_above_hull < 0.05
    assert best.formation_energy_per_atom == pytest.approx(-2.1, abs=0.2)
    heights = [one.e_above_hull for one in found if one.rank is not None]
    assert heights == sorted(heights)


def test_without_a_data_folder_energies_rank_and_no_hull_is_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SYMMBFN_DATA", raising=False)
    found = predict("NaCl", atoms=2, draws=3, rank="chgnet", seed=1)
    assert found[0].rank == 1 and found[0].space_group_number == 225
    energies = [one.formation_energy_per_atom for one in found if one.rank is not None]
    assert energies == sorted(energies) and all(energy < 0 for energy in energies)
    assert all(one.e_above_hull != one.e_above_hull for one in found)
    assert "formation energy -2" in said(found)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["Xx2O3"], "'Xx' is no element"),
        ([""], "is no formula"),
        (["Fe0.5O"], "0.5 of Fe"),
        (["NaCl", "--atoms", "500"], "500 atoms"),
        (["NaCl", "--draws", "0"], "draws"),
        (["NaCl", "--rank", "nobody"], "nobody"),
        (["NaCl", "--space-group", "Xm3m"], "Xm3m"),
        (["missing.txt"], "missing.txt"),
    ],
)
def test_bad_input_is_one_line(
    arguments: Sequence[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["predict", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert says in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_command_line_reads_formulas_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    formulas = tmp_path / "mine.txt"
    formulas.write_text("NaCl  # table salt\n\nKBr\n")
    out = tmp_path / "out"
    arguments = ["predict", str(formulas), "--draws", "2", "--steps", "3", "--out", str(out)]
    assert main([*arguments, "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert "NaCl: 2 draws" in shown and "KBr: 2 draws" in shown
    table = pd.read_csv(out / TABLE)
    assert table["formula"].value_counts().to_dict() == {"NaCl": 2, "KBr": 2}
    formulas.write_text("NaCl\nXx\n")
    assert main([*arguments[:-1], str(tmp_path / "other")]) == 2
    assert "line 2: composition: 'Xx' is no element" in capsys.readouterr().err


def test_a_prediction_does_not_depend_on_how_many_are_compared_at_once() -> None:
    one = predict("KBr", draws=3, n_steps=3)
    two = predict("KBr", draws=3, n_steps=3, workers=2)
    assert [r.template for r in one] == [r.template for r in two]
    for a, b in zip(one, two, strict=True):
        if a.cell is not None and b.cell is not None:
            assert np.array_equal(a.cell.lattice_matrix, b.cell.lattice_matrix)
