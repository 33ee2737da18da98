"""The timing script runs both sides on the same crystals and reports what it promises."""

import importlib
import json
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from tests.crystals.samples import prototypes

ROOT = Path(__file__).parents[2]


def _script() -> ModuleType:
    return importlib.import_module("scripts.foundation.rebuild")


def test_figures_of_a_small_run() -> None:
    pytest.importorskip("pyxtal")
    units = [unit for unit in prototypes()[1] if unit.space_group_number < 75][:60]
    figures = _script().rebuild_benchmark(AsymmetricUnitBatch.stack(units), repeats=2, n_pyxtal=4)
    assert figures["n"] == 60
    assert figures["n_pyxtal"] == 4
    assert figures["speedup_vs_pyxtal"] == pytest.approx(
        figures["pyxtal_ms_per_crystal"] / figures["ms_per_crystal_axes"]
    )
    assert figures["letters_kept"] > 0.9
    assert min(figures.values()) > 0


def test_pyxtal_is_asked_for_the_positions_we_encode() -> None:
    """On undisturbed sites its search finds the sites: both sides are given one task."""
    pytest.importorskip("pyxtal")
    script = _script()
    for unit in prototypes()[1][:12]:
        found = np.array(script.pyxtal_search(unit))
        gap = found - unit.fractional_coords
        assert np.abs(gap - np.rint(gap)).max() < 0.02


def test_make_bench_times_what_the_repository_holds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    pytest.importorskip("pyxtal")
    names = re.search(r"for name in ([\w. ]+);", (ROOT / "Makefile").read_text())
    assert names and "foundation.rebuild" in names[1].split()
    for name in names[1].split():
        assert (ROOT / "scripts" / (name.replace(".", "/") + ".py")).is_file()
    monkeypatch.delenv("SYMMBFN_DATA", raising=False)
    monkeypatch.setenv("SYMMBFN_OFFLINE", "1")
    monkeypatch.setattr(sys, "argv", ["rebuild.py", "--n", "20", "--n-pyxtal", "1"])
    _script().main()
    figures = json.loads(capsys.readouterr().out)
    assert (figures["n"], figures["n_pyxtal"]) == (20, 1)
