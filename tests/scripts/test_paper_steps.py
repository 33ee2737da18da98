"""Steps against quality: what is counted, what is not made twice, and of which crystals."""

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from symmbfn.crystals.records import read_crystals
from symmbfn.evaluation.observables import Observables
from symmbfn.generation.sampler import preset_sampler
from symmbfn.intervals import wilson_interval
from symmbfn.model.checkpoints import load_model
from symmbfn.runtime.journal import Journal


@pytest.fixture
def script() -> ModuleType:
    pytest.importorskip("pyxtal")  # the scripts of the foundation compare with it
    from scripts.comparisons import paper_steps

    return paper_steps


def row(index: int, **changes: Any) -> dict[str, Any]:
    values = {"density": 4.0, "n_elements": 2, "found_group": 225, "seconds": 0.5}
    flags = {"is_structurally_valid": True, "has_good_contacts": True}
    return {"index": index, **values, **flags, **changes}


def test_figures_of_four_requests_by_hand(script: ModuleType, tmp_path: Path) -> None:
    rows = [
        row(0),
        row(1, density=6.0, n_elements=4, seconds=1.5),
        row(2, density=5.0, has_good_contacts=False, found_group=1),
        # no structure: among the requests, not among the compared
        row(3, density=None, is_structurally_valid=False, has_good_contacts=False),
    ]
    real = Observables(np.array([3.0]), np.array([2]), np.array([225]))
    options = script.Options("command", tmp_path, seed=100)
    found = {claim.name: claim for claim in script.claims_of(20, rows, real, options)}
    assert found["paper_steps.20.validity_structural"].value == 75
    assert found["paper_steps.20.contacts"].value == 50
    low, high = wilson_interval(2, 4)
    ends = found["paper_steps.20.contacts"].interval
    assert ends == pytest.approx((100 * low, 100 * high), abs=1e-3)
    assert found["paper_steps.20.d_rho"].value == pytest.approx(2.0)  # mean 5 against 3
    assert found["paper_steps.20.d_elem"].value == pytest.approx(2 / 3, abs=1e-4)
    assert found["paper_steps.20.d_rho"].n == 3
    assert 0 < found["paper_steps.20.d_g"].value < np.sqrt(np.log(2))
    assert found["paper_steps.20.seconds"].value == 0.75
    none = script.claims_of(10, rows[3:], real, options)
    assert {claim.name for claim in none} == {
        "paper_steps.10.validity_structural",
        "paper_steps.10.contacts",
        "paper_steps.10.seconds",
    }


def test_stable_shares_by_hand(script: ModuleType, tmp_path: Path) -> None:
    columns = ["e_above_hull", "relaxed_is_first", "relaxed_is_novel", "relaxed_duplicate_of"]
    table = pd.DataFrame(
        [
            (-0.1, True, True, 0),
            (-0.1, False, True, 0),
            (0.05, True, True, 2),
            (0.5, True, True, 3),
            (np.nan, None, None, None),
        ],
        columns=columns,
    ).assign(index=range(5), relax_status=["ok"] * 4 + ["timeout"], n_elements=2, is_converged=True)
    options = script.Options("command", tmp_path, seed=100)
    found = {claim.name: claim for claim in script.stability_claims(50, table, options)}
    values = {name.rsplit(".", 1)[1]: claim.value for name, claim in found.items()}
    assert values == {"stable": 40, "metastable": 60, "sun": 20}
    assert {claim.n for claim in found.values()} == {5}


def test_what_is_judged_stays_and_is_of_the_crystals_that_would_be_relaxed(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("paper")
    sampler = preset_sampler(model, n_steps=2)
    journal = Journal(tmp_path / "rows.jsonl")
    few = script.requests(model, sampler, journal, 2)
    more = script.requests(model, sampler, journal, 3)
    assert more[:2] == few and [row["index"] for row in more] == [0, 1, 2]
    assert all(row["seconds"] > 0 for row in more)

    monkeypatch.setattr(script, "generate_batches", None)
    assert script.requests(model, sampler, Journal(journal.path), 3) == more
    monkeypatch.undo()
    script.generate_run(
        tmp_path / "run", n=2, weights="paper", n_steps=2, seed=script.SEED, workers=0
    )
    for crystal, judged in zip(read_crystals(tmp_path / "run"), more[:2], strict=True):
        assert crystal.space_group_number == judged["space_group_number"]
        same = judged["density"] is None and not crystal.has_structure
        assert same or crystal.density == pytest.approx(judged["density"], rel=1e-9)


def test_nothing_is_measured_on_no_requests(script: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got 0 and 0"):
        next(script.measure([10], 0, 0, 1, tmp_path))
