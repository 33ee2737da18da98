"""`symmbfn hull`: energies of structures become phases of a hull, whatever stops on the way."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.cli.verbs import main
from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.entries import read_entries
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.references import ElementReferences, chgnet_references
from symmbfn.evaluation.energies.relaxation import Relaxed
from symmbfn.screening import phases
from symmbfn.screening.phases import write_phases

# total energies per atom by formula; a made-up potential that fails on CsCl
ENERGIES = {"Na": -1.0, "Cl": -2.0, "NaCl": -3.5, "Na3N": -2.5}


def by_formula(
    cells: list[Cell], config: Any, *, judge: Judge, workers: int = 1
) -> Iterator[tuple[int, Relaxed]]:
    """Answers in another order than that of the questions."""
    for place, cell in reversed(list(enumerate(cells))):
        energy = ENERGIES.get(cell.formula)
        if energy is None:
            yield place, Relaxed("invalid_geometry", "no such element")
        else:
            yield place, Relaxed("ok", energy_per_atom=energy, cell=cell, is_converged=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFs of Na, Cl, NaCl and CsCl, and one that is none."""
    cifs = tmp_path / "cifs"
    cifs.mkdir()
    pairs = {"cs": ["Cs", "Cl"], "salt": ["Na", "Cl"]}
    for name, symbols in {"na": ["Na"], "cl": ["Cl"], **pairs}.items():
        coords = [[0.0] * 3, [0.5] * 3][: len(symbols)]
        Structure(Lattice.cubic(4.0), symbols, coords).to(str(cifs / f"{name}.cif"))
    (cifs / "broken.cif").write_text("data_nothing\n")
    return cifs


def made_up(name: str) -> Callable[..., Judge]:
    """A judge for whom sodium counts -1 eV and chlorine -2 eV, and cesium nothing known."""
    judge = Judge(name, "digest", dict, ElementReferences({"Na": -1.0, "Cl": -2.0}))
    return lambda text, **options: judge


@pytest.fixture
def own_potential(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "relax_all", by_formula)
    monkeypatch.setattr(phases, "judge_of", made_up("Made-up 1"))


def test_phases_of_a_potential_become_a_hull(
    folder: Path, tmp_path: Path, own_potential: None, capsys: pytest.CaptureFixture
) -> None:
    (folder / "cs.cif").unlink()
    table = write_phases(folder, tmp_path / "hull.parquet").set_index("id")
    # -3.5 less the mean of -1 and -2
    assert table["formation_energy_per_atom"]["salt"] == pytest.approx(-2.0)
    assert table["formation_energy_per_atom"][["na", "cl"]].tolist() == [0, 0]
    assert table["reason"]["broken"] and np.isnan(table["energy_per_atom"]["broken"])
    assert not list(tmp_path.glob("*.jsonl"))
    hull = Hull.from_file(tmp_path / "hull.parquet")
    assert "1 rows without an energy are left out" in capsys.readouterr().err
    assert hull.sources == {"Made-up 1"}
    assert hull.e_above_hull({"Na": 1, "Cl": 1}, -1.5) == pytest.approx(0.5)
    (part,) = hull.at({"Na": 1, "Cl": 1}).decomposition
    assert (part.name, part.source, part.is_predicted) == ("salt", "Made-up 1", True)


def test_an_element_without_reference_is_a_reason(
    folder: Path, tmp_path: Path, own_potential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ENERGIES, "CsCl", -3.0)
    table = write_phases(folder, tmp_path / "hull.parquet").set_index("id")
    assert table["reason"]["cs"] == "no reference energy of Cs"
    assert np.isnan(table["formation_energy_per_atom"]["cs"])
    ids = {entry.id for entry in read_entries(tmp_path / "hull.parquet")}
    assert ids == {"na", "cl", "salt"}


def test_a_correction_counts(
    folder: Path, tmp_path: Path, own_potential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge = replace(made_up("Made-up 1")(""), correction=lambda cell: -0.1 * len(cell))
    monkeypatch.setattr(phases, "judge_of", lambda text, **options: judge)
    table = write_phases(folder, tmp_path / "hull.parquet").set_index("id")
    # two atoms in the cell of the salt, one in that of sodium
    assert table["energy_per_atom"][["salt", "na"]].tolist() == pytest.approx([-3.7, -1.1])
    assert table["formation_energy_per_atom"]["salt"] == pytest.approx(-2.2)


def test_a_stopped_call_is_gone_on_with(
    folder: Path, tmp_path: Path, own_potential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cs.cif").unlink()
    whole = write_phases(folder, tmp_path / "whole.parquet")
    asked = []

    def stopped(cells: list[Cell], *rest: Any, **options: Any) -> Iterator[tuple[int, Relaxed]]:
        asked.append([cell.formula for cell in cells])
        for n, answer in enumerate(by_formula(cells, *rest, **options)):
            if n == 1 and len(asked) == 1:
                raise KeyboardInterrupt
            yield answer

    monkeypatch.setattr(phases, "relax_all", stopped)
    out = tmp_path / "hull.parquet"
    with pytest.raises(KeyboardInterrupt):
        write_phases(folder, out)
    (journal,) = tmp_path.glob("hull-*.jsonl")
    with journal.open("a") as file:  # a kill may leave half a line
        file.write('{"index": 4, "energy')
    assert not out.exists()
    resumed = write_phases(folder, out)
    assert sorted(asked[0]) == ["Cl", "Na", "NaCl"] and len(asked[1]) == 2
    pd.testing.assert_frame_equal(resumed, whole)
    monkeypatch.setattr(phases, "relax_all", pytest.fail)
    pd.testing.assert_frame_equal(write_phases(folder, out), whole)


def test_another_question_is_not_written_over_the_answer(
    folder: Path, tmp_path: Path, own_potential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "cs.cif").unlink()
    out = tmp_path / "hull.parquet"
    write_phases(folder, out)
    with pytest.raises(ValueError, match="holds something else: nothing is overwritten"):
        write_phases(folder, out, is_relaxed=True)
    monkeypatch.setattr(phases, "judge_of", made_up("Made-up 2"))
    with pytest.raises(ValueError, match="holds something else"):
        write_phases(folder, out)


def test_a_structure_that_has_not_arrived_has_no_relaxed_energy(
    folder: Path, tmp_path: Path, own_potential: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unconverged(cells: list[Cell], *_: Any, **__: Any) -> Iterator[tuple[int, Relaxed]]:
        for place, cell in enumerate(cells):
            energy = ENERGIES.get(cell.formula, -1.0)
            there = cell.formula != "NaCl"
            yield place, Relaxed("ok", "", there, 500, energy, cell=cell)

    monkeypatch.setattr(phases, "relax_all", unconverged)
    relaxed = write_phases(folder, tmp_path / "a.parquet", is_relaxed=True).set_index("id")
    assert relaxed["reason"]["salt"] == "not relaxed after 500 steps"
    as_it_stands = write_phases(folder, tmp_path / "b.parquet").set_index("id")
    assert as_it_stands["reason"]["salt"] == ""


def test_chgnet_counts_from_the_shipped_references(folder: Path, tmp_path: Path) -> None:
    """Through the command line: one real crystal, whose energy is that of the cell as written."""
    pytest.importorskip("chgnet")
    from symmbfn.evaluation.energies.potentials import Chgnet

    for name in ("na", "cl", "cs", "broken"):
        (folder / f"{name}.cif").unlink()
    out = tmp_path / "hull.parquet"
    assert main(["hull", str(folder), "--out", str(out), "--workers", "1"]) == 0
    (row,) = pd.read_parquet(out).itertuples()
    cell = Cell.from_pymatgen(Structure.from_file(str(folder / "salt.cif")))
    (energy,), _ = Chgnet().describe([cell])
    assert row.energy_per_atom == pytest.approx(energy, abs=1e-4)
    expected = chgnet_references().formation_energy({"Na": 1, "Cl": 1}, row.energy_per_atom)
    assert row.formation_energy_per_atom == pytest.approx(expected)
    assert row.energy_source == "CHGNet 0.3.0"
    attrs = pd.read_parquet(out).attrs
    assert attrs["potential"] == "CHGNet 0.3.0" and len(attrs["digest"]) == 64
    json.dumps(attrs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out", "hull.csv"], "must be a file that ends in .parquet"),
        (["--out", "hull.parquet", "--potential", "m3gnet"], "'module:factory', got 'm3gnet'"),
        (["--out", "hull.parquet", "--workers", "0"], "workers"),
    ],
)
def test_bad_arguments(
    arguments: list[str], message: str, folder: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["hull", str(folder), *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
