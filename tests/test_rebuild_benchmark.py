"""The timing script runs both sides on the same crystals and reports what it promises."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from tests.crystals.samples import prototypes


def _script():
    path = Path(__file__).parents[1] / "scripts" / "rebuild_benchmark.py"
    spec = importlib.util.spec_from_file_location("rebuild_benchmark", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
