"""Energies of two functionals are never compared: by hand for salt, whose hull lies at -2.13."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pymatgen.entries.computed_entries import (
    CompositionEnergyAdjustment,
    ComputedEntry,
    ConstantEnergyAdjustment,
    ManualEnergyAdjustment,
    TemperatureEnergyAdjustment,
)

from symmbfn.evaluation.energies.entries import read_elemental_energies, read_entries
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.run_types import GGA, scale_of, split_id

SALT = {"Na": 1, "Cl": 1}
PURE = [("Na", -1.3), ("Cl2", -3.6)]
OTHER = ("Na", -3.56)  # a functional whose sodium lies 2.26 eV lower


def entry(formula: str, energy: float, run_type: str = "", **more: Any) -> dict[str, Any]:
    parameters = {"run_type": run_type} if run_type else {}
    one = ComputedEntry(formula, energy, parameters=parameters, entry_id=more.pop("entry_id", None))
    return one.as_dict() | more


def height(tmp_path: Path, entries: list[dict[str, Any]]) -> float:
    path = tmp_path / "entries.json"
    path.write_text(json.dumps(entries))
    return Hull.from_file(path).at(SALT).hull_energy_per_atom


def salt_world(run_type: str) -> list[dict[str, Any]]:
    return [entry(formula, energy, run_type) for formula, energy in (*PURE, ("NaCl", -7.36))]


@pytest.mark.parametrize("place", ["parameters", "data", "top", "thermo", "entry_id"])
def test_entries_of_another_functional_are_left_out_and_counted(
    tmp_path: Path, place: str, capsys: pytest.CaptureFixture
) -> None:
    """NaCl lies at (-7.36 + 1.3 + 1.8) / 2 whatever r2SCAN says of sodium."""
    stated: dict[str, Any] = {
        "parameters": {"parameters": {"run_type": "R2SCAN"}},
        "data": {"data": {"run_type": "r2SCAN"}},
        "top": {"run_type": "r2SCAN"},
        "thermo": {"thermo_type": "R2SCAN"},
        "entry_id": {"entry_id": "mp-127-r2SCAN"},
    }[place]
    world = [*salt_world("GGA"), entry(*OTHER) | stated]
    assert height(tmp_path, world) == pytest.approx(-2.13)
    assert "3 of GGA and GGA+U, 1 of R2SCAN" in capsys.readouterr().err
    assert Hull.from_file(tmp_path / "entries.json").name == "entries.json (GGA)"
    assert read_elemental_energies(tmp_path / "entries.json") == {"Na": -1.3, "Cl": -1.8}


def test_plain_and_hubbard_calculations_lie_on_one_scale(tmp_path: Path) -> None:
    assert {scale_of(name) for name in ("GGA", "GGA+U", "gga_gga+u", "PBE", "PBE+U")} == {GGA}
    assert len({scale_of(name) for name in ("GGA", "r2SCAN", "SCAN", "GGA_GGA+U_R2SCAN")}) == 4
    corrected = entry("NaCl", -6.36, "GGA+U", energy_adjustments=[{"value": -1.0}], correction=-1.0)
    world = [*(entry(formula, energy, "GGA") for formula, energy in PURE), corrected]
    assert height(tmp_path, world) == pytest.approx(-2.13)


def test_a_hubbard_energy_without_correction_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pure = [entry(formula, energy, "GGA") for formula, energy in PURE]
    height(tmp_path, [*pure, entry("NaCl", -7.36, "GGA+U", entry_id="mp-1-GGA+U")])
    assert "such as mp-1, have no correction" in capsys.readouterr().err
    height(tmp_path, salt_world("GGA+U"))  # beside no others it is one scale
    assert not capsys.readouterr().err


def test_one_functional_alone_is_taken_whatever_it_is(tmp_path: Path) -> None:
    assert height(tmp_path, salt_world("R2SCAN")) == pytest.approx(-2.13)
    assert Hull.from_file(tmp_path / "entries.json").name == "entries.json (R2SCAN)"


@pytest.mark.parametrize(
    ("world", "message"),
    [
        ([*salt_world("GGA"), entry(*OTHER)], "1 of no run type, the first of them entry 3"),
        ([*salt_world("SCAN"), entry(*OTHER, "R2SCAN")], "several scales, 3 of SCAN, 1 of R2SCAN"),
        ([*salt_world("GGA")[1:], entry(*OTHER, "R2SCAN")], "no entry of the pure elements Na"),
        ([entry(*OTHER, "GGA", entry_id="mp-1-R2SCAN")], "mp-1-R2SCAN names two run types"),
        ([*salt_world("GGA"), entry(*OTHER, thermo_type="GGA_GGA+U_R2SCAN")], "mixing scheme"),
        (
            [
                *salt_world("GGA"),
                entry(
                    *OTHER,
                    "GGA",
                    energy_adjustments=[
                        {"value": 0.2, "name": "MP GGA(+U)/r2SCAN mixing adjustment"}
                    ],
                ),
            ],
            "mixing scheme",
        ),
    ],
)
def test_energies_that_cannot_be_compared_are_refused(
    tmp_path: Path, world: list[dict[str, Any]], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        height(tmp_path, world)


def test_all_kinds_of_adjustments_are_added(tmp_path: Path) -> None:
    """-0.5, -0.2, 4 atoms of -0.1, and 2 atoms of 0.001 at 300 K: -0.5 in all."""
    adjustments = [
        ConstantEnergyAdjustment(-0.5),
        ManualEnergyAdjustment(-0.2),
        CompositionEnergyAdjustment(-0.1, 4),
        TemperatureEnergyAdjustment(0.001, 300, 2),
    ]
    world = [
        *(ComputedEntry(formula, energy).as_dict() for formula, energy in PURE),
        ComputedEntry("NaCl", -7.36, energy_adjustments=adjustments).as_dict(),
    ]
    assert height(tmp_path, world) == pytest.approx(-2.13 - 0.25)
    # an older file states the sum alone, a newer one may leave it out
    older = [*world[:2], world[2] | {"energy_adjustments": []}]
    newer = [*world[:2], {k: v for k, v in world[2].items() if k != "correction"}]
    for same in (older, newer):
        assert height(tmp_path, same) == pytest.approx(-2.13 - 0.25)
    with pytest.raises(ValueError, match=r"entry 2 has a correction of -0.7 eV"):
        height(tmp_path, [*world[:2], world[2] | {"correction": -0.7}])
    with pytest.raises(ValueError, match="entry 2 has an energy adjustment of no known kind"):
        height(tmp_path, [*world[:2], world[2] | {"energy_adjustments": [{"amount": 1}]}])
    with pytest.raises(ValueError, match=r"energy nan"):
        height(tmp_path, [*newer[:2], newer[2] | {"energy_adjustments": [{"adj_per_atom": 1}]}])


@pytest.mark.parametrize("column", ["run_type", "thermo_type", "entry_id"])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_tables_are_of_one_functional_too(tmp_path: Path, column: str, kind: str) -> None:
    types = ["GGA", "R2SCAN"] if column != "thermo_type" else ["GGA_GGA+U", "R2SCAN"]
    if column == "entry_id":
        types = [f"mp-1-{name}" for name in types]
    table = pd.DataFrame(
        {"formula": ["NaCl"] * 2, "formation_energy_per_atom": [-2.13, -2.9], column: types}
    )
    path = tmp_path / f"table.{kind}"
    table.to_csv(path, index=False) if kind == "csv" else table.to_parquet(path)
    (only,) = read_entries(path)
    assert only.formation_energy_per_atom == -2.13
    path = tmp_path / f"half.{kind}"
    half = table.assign(**{column: [types[0], None]})
    half.to_csv(path, index=False) if kind == "csv" else half.to_parquet(path)
    with pytest.raises(ValueError, match="no run type"):
        read_entries(path)


def test_the_run_type_is_no_part_of_a_name() -> None:
    """A crystal mp-149 leaves out its own entries, which are called after their calculation."""
    assert split_id("mp-149-GGA+U") == ("mp-149", "GGA+U")
    assert split_id("mp-149-r2SCAN") == ("mp-149", "r2SCAN")
    assert split_id("mp-149") == ("mp-149", "") and split_id("GGA") == ("GGA", "")
