"""The script that judges the judge: its figures on two crystals solved by hand."""

import importlib.util
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from symmbfn.evaluation.energies.entries import Entry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.references import ElementReferences


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return importlib.import_module("scripts.evaluation.hull")


@pytest.fixture
def rows() -> pd.DataFrame:
    """NaCl twice, on the hull and 0.1 above; NaF officially 0.05 above, here on the hull."""
    table = [
        ("low", {"Na": 1.0, "Cl": 1.0}, -2.0, 0.0, -4.02),
        ("high", {"Na": 1.0, "Cl": 1.0}, -1.9, 0.1, -4.1),
        ("fluoride", {"Na": 1.0, "F": 1.0}, -3.0, 0.05, -5.2),
    ]
    columns = ["id", "composition", "formation_energy_per_atom", "e_above_hull", "energy_per_atom"]
    return pd.DataFrame(table, columns=columns)


@pytest.fixture
def hull(rows: pd.DataFrame) -> Hull:
    columns = (rows["id"], rows["composition"], rows["formation_energy_per_atom"])
    return Hull([Entry(*row) for row in zip(*columns, strict=True)], name="small", digest="0")


def test_the_hull_alone(script: ModuleType, hull: Hull, rows: pd.DataFrame) -> None:
    found = {claim.name: claim for claim in script.hull_claims(hull, rows)}
    assert found["hull.mae_ev"].value == pytest.approx(0.05 / 3, abs=1e-5)
    expected = {"within_10mev": 2, "not_overestimated": 3, "agreement": 2, "covered": 2}
    for name, count in expected.items():  # without its own entry the fluoride has no competitor
        assert found[f"hull.{name}"].value == pytest.approx(100 * count / 3, abs=0.01)
    assert found["hull.precision"].value == 50 and found["hull.recall"].value == 100
    assert found["hull.precision"].n == 2 and found["hull.recall"].n == 1


def test_the_judge(script: ModuleType, hull: Hull, rows: pd.DataFrame) -> None:
    """References of -2 each: formation energies -2.02, -2.1 and -3.2."""
    references = ElementReferences({"Na": -2.0, "Cl": -2.0, "F": -2.0})
    found = {claim.name: claim for claim in script.judge_claims(hull, references, rows)}
    # -0.02, -0.1 and -0.2 against 0, 0.1 and 0.05
    assert found["judge.mae_ev"].value == pytest.approx((0.02 + 0.2 + 0.25) / 3, abs=1e-5)
    assert found["judge.precision.own_in"].value == pytest.approx(100 / 3, abs=0.01)
    # left out, the fluoride is unknown
    assert found["judge.precision.own_out"].value == 50
    assert "1 unknown" in found["judge.precision.own_out"].note
    assert found["judge.recall.own_out"].value == 100


def test_the_references(script: ModuleType, rows: pd.DataFrame) -> None:
    fitted = ElementReferences({"Na": -2.0, "Cl": -2.0, "F": -2.0})
    plain = ElementReferences({"Na": -2.2, "Cl": -2.2, "F": -2.2})
    own, other = script.reference_claims(rows, fitted, plain)
    assert own.value == pytest.approx(np.mean([20, 200, 200]))
    assert other.value == pytest.approx(np.mean([180, 0, 0]))
    assert own.name == "references.residual_mev" and "mean -140.0" in own.note


def test_the_whole_hull_beside_the_open_one(
    script: ModuleType, hull: Hull, rows: pd.DataFrame
) -> None:
    """A second fluoride that CHGNet alone knows: the first lies 0.05 above it, as officially."""
    phases = [
        Entry(id_, composition, energy)
        for id_, composition, energy in zip(
            rows["id"], rows["composition"], rows["formation_energy_per_atom"], strict=True
        )
    ]
    other = Entry("other", {"Na": 1.0, "F": 1.0}, -3.05, source="CHGNet 0.3.0")
    whole = Hull([*phases, other], name="whole", digest="1")
    claims = script.whole_hull_claims(whole, hull, rows)
    bias, mae, stable = claims
    assert [claim.name for claim in claims] == [
        "hull.full.bias_mev",
        "hull.full.mae_mev",
        "hull.full.stable_real",
    ]
    assert (bias.value, mae.value) == pytest.approx((0, 0), abs=1e-9)
    assert "-16.67 with the open hull" in bias.note and "16.67 with the open hull" in mae.note
    # own entry out: NaCl lies 0.1 below the other NaCl, the two others lie above a phase
    assert stable.value == 33.33 and stable.n == 3
    assert "officially 33.3 %, 33.3 % with the open hull" in stable.note
    references = ElementReferences({"Na": -1.0, "Cl": -3.0, "F": -3.2})
    # formation by CHGNet -2.02, -2.1 and -3.1: -0.02, -0.1 and -0.05 against the hull
    judge = script.judge_of_whole_hull(whole, references, rows)
    assert judge.value == pytest.approx((0.02 + 0.2 + 0.1) / 3, abs=1e-5)
