"""Scripts of the evaluation: what is kept comes back, and what is counted again adds up."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from scripts.evaluation import duel, rejudge, relaxed_files
from symmbfn.claims.published import published_duel
from symmbfn.claims.store import RESULTS, claims
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.evaluation.energies.entries import Entry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import chgnet_judge
from symmbfn.evaluation.energies.references import elemental_references
from symmbfn.evaluation.energies.relaxation import Relaxed
from symmbfn.evaluation.summary import summarise
from symmbfn.runtime.journal import Journal

FCC = np.array([[0.0, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.0]])
SALT = Cell(5.64 * FCC, np.array([11, 17]), np.array([[0.0] * 3, [0.5] * 3]))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A journal with a relaxation and a failure, kept."""
    monkeypatch.setattr(relaxed_files, "RESULTS", tmp_path)
    journal = Journal(tmp_path / "there" / "stages" / "relaxed.jsonl")
    done = Relaxed("ok", is_converged=True, n_steps=7, energy_per_atom=-3.1, cell=SALT)
    for index, one in ((4, done), (1, Relaxed("timeout", "too long"))):
        journal.add({"index": index, **one.to_record()})
    assert relaxed_files.keep("some", tmp_path / "there") == 2
    return tmp_path


def made(kept: Path, monkeypatch: pytest.MonkeyPatch, formula: str) -> None:
    """Crystals of these formulas, so far as a folder of a run would tell."""
    crystals = [Crystal.failed(index, 0, "ok", "", 225) for index in (1, 4)]
    monkeypatch.setattr(Crystal, "formula", formula)
    monkeypatch.setattr(relaxed_files, "read_crystals", lambda _: crystals)


def test_relaxations_come_back_exactly_and_once(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(kept, monkeypatch, "NaCl")
    assert relaxed_files.restore("some", kept / "here", kept) == 2
    assert relaxed_files.restore("some", kept / "here", kept) == 0
    there, here = (Journal(kept / x / "stages" / "relaxed.jsonl") for x in ("there", "here"))
    assert list(there) == list(here)


def test_relaxations_of_other_crystals_are_refused(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(kept, monkeypatch, "KCl")
    with pytest.raises(ValueError, match="crystal 4 of .* is not the one that was relaxed"):
        relaxed_files.restore("some", kept / "here", kept)


def test_another_hull_changes_distances_and_not_energies() -> None:
    salt = Entry("salt", {"Na": 1.0, "Cl": 1.0}, -2.0)
    hull = Hull([salt], name="made up", digest="")
    rows = pd.DataFrame(
        {"formula": ["NaCl", "Na3Cl", ""], "formation_energy_per_atom": [-1.9, -1.0, np.nan]}
    )
    found = rejudge.judged_again(rows, hull)
    # half of the atoms of Na3Cl go into the salt, at -2
    assert found["e_above_hull"].tolist()[:2] == pytest.approx([0.1, 0.0])
    assert found["knows_system"].tolist()[:2] == [True, True]
    assert found.iloc[2][["e_above_hull", "e_above_hull_unfitted"]].isna().all()
    fitted, own = chgnet_judge().references.energies, elemental_references().energies
    # by the paper's rule: the elements' own energies in place of the fitted ones
    rise = [(fitted["Na"] - own["Na"] + fitted["Cl"] - own["Cl"]) / 2]
    rise.append((3 * (fitted["Na"] - own["Na"]) + fitted["Cl"] - own["Cl"]) / 4)
    apart = found["e_above_hull_unfitted"] - found["e_above_hull"]
    assert apart.tolist()[:2] == pytest.approx(rise)


def test_what_was_not_kept_is_not_counted() -> None:
    rows = pd.read_parquet(RESULTS / "judged_sg10.parquet")
    rows = rows.drop(columns="relaxed_is_novel_anywhere", errors="ignore")
    report = summarise(rejudge.as_screened(rows))
    assert report["stricter"].keys() == {"known_system", "compounds"}


def test_recorded_figures_rest_on_what_was_kept() -> None:
    again = [one for one in claims("*.ours.*") if one["command"].startswith(rejudge.COMMAND)]
    assert again
    for one in again:
        table = pd.read_parquet(RESULTS / f"judged_{one['command'].split()[-1]}.parquet")
        needs_splits = one["name"].endswith(".novel_anywhere")
        assert "relaxed_is_novel_anywhere" in table or not needs_splits, one["name"]


def test_a_duel_counts_requests_and_quotes_the_other_side() -> None:
    n = 4
    table = pd.DataFrame(
        {
            "index": range(n),
            "symmetry": ["kept", "kept", "supergroup", "kept"],
            "status": ["ok", "ok", "ok", "invalid_geometry"],
            "is_structurally_valid": [True, True, True, False],
            "relax_status": ["ok", "ok", "ok", None],
            "relaxed_is_first": [True, True, True, None],
            "relaxed_is_novel": [True, True, False, None],
            "relaxed_duplicate_of": [0, 1, 2, None],
            "e_above_hull": [-0.1, 0.2, -0.1, np.nan],
            "is_converged": True,
            "n_elements": 2,
            "relaxed_group": [15, 15, 15, None],
        }
    )
    found = {claim.name: claim for claim in duel.claims_of(15, table)}
    assert found["duel.15.right"].value == 50 and found["duel.15.right"].n == 4
    assert found["duel.15.sun"].value == pytest.approx(33.33) and found["duel.15.sun"].n == 3
    assert found["duel.15.both"].value == pytest.approx(33.33)
    right, _ = published_duel().rows[15]
    assert f"publishes {right} of 1,000" in found["duel.15.right"].note
