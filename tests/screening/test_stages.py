"""Each stage gives every answer to the crystal that it belongs to, in whatever order they come."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.evaluation.energies.entries import Entry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.labels import FEATURES
from symmbfn.evaluation.energies.matgl import MODELS
from symmbfn.evaluation.energies.references import ElementReferences, elemental_references
from symmbfn.evaluation.energies.relaxation import Relaxed
from symmbfn.evaluation.similarity.matching import Duplicate, Known, KnownCrystal
from symmbfn.evaluation.similarity.nearest import Nearest
from symmbfn.runtime.workers import Outcome
from symmbfn.screening.reference import Reference
from symmbfn.screening.sources import Candidate, Candidates
from symmbfn.screening.stage import Screening, Stage, run_stages
from symmbfn.screening.stages import band_gaps, compared, judged, judges, relaxed
from symmbfn.screening.stages import second_judge as second_stage
from symmbfn.screening.stages.band_gaps import BAND_GAPS
from symmbfn.screening.stages.compared import COMPARED, COMPARED_RELAXED
from symmbfn.screening.stages.judged import JUDGED
from symmbfn.screening.stages.judges import JUDGES
from symmbfn.screening.stages.relaxed import RELAXED
from symmbfn.screening.stages.second_judge import second_judge

HULL = Hull([Entry("salt", {"Na": 1.0, "Cl": 1.0}, -2.0)], name="", digest="")


def salt(edge: float) -> Cell:
    return Cell(edge * np.eye(3), np.array([11, 17]), np.array([[0.0] * 3, [0.5] * 3]))


def data(energies: Sequence[float]) -> EncodedDataset:
    """A split of which only a property is asked."""
    n = len(energies)
    return EncodedDataset(
        *(torch.zeros(n, dtype=torch.int16), torch.arange(n + 1), torch.zeros(n, 6)),
        *(torch.zeros(n, dtype=torch.int16), torch.zeros(n, dtype=torch.int16), torch.zeros(n, 3)),
        properties=torch.tensor([[energy] for energy in energies]),
        property_names=("e_above_hull",),
    )


KNOWN_DATA = Reference("known", {"train": data([0.1, 0.2]), "val": data([0.3, 0.4])})


@pytest.fixture
def screening(tmp_path: Path) -> Screening:
    """Five crystals: the second has no structure, the others are told apart by their edges."""
    rows = [Candidate(i, f"crystal {i}", "ok", "", salt(3.5 + i / 10)) for i in range(5)]
    rows[1] = Candidate(1, "crystal 1", "reconstruction_failed", "no CIF", None)
    candidates = Candidates(tuple(rows), "")
    return Screening(candidates, KNOWN_DATA, tmp_path, hull=HULL, relax_first=4)


def given(**columns: list[Any]) -> Stage:
    """A stage that stands for those before the one that is tested."""
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return Stage(
        "given", tuple(columns), lambda *_: ({"index": i, **r} for i, r in enumerate(rows))
    )


def relax_backwards(cells: list[Cell], *_: Any, **__: Any) -> Iterator[tuple[int, Relaxed]]:
    """Energies that tell the edge; the crystal of edge 3.7 cannot be relaxed."""
    for place, cell in reversed(list(enumerate(cells))):
        edge = float(cell.lattice_matrix[0, 0])
        if edge == pytest.approx(3.7):
            yield place, Relaxed("relaxation_diverged", "too far")
        else:
            yield place, Relaxed("ok", cell=cell, energy_per_atom=-edge, seconds=1.0)


def test_relaxations_belong_to_their_crystals(
    screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(relaxed, "relax_all", relax_backwards)
    table = run_stages([RELAXED], screening)
    statuses = ["ok", "reconstruction_failed", "relaxation_diverged", "ok"]
    assert table["relax_status"][:4].tolist() == statuses
    assert pd.isna(table["relax_status"][4]), "only the first four are sent to relaxation"
    assert table["energy_per_atom"].dropna().to_dict() == pytest.approx({0: -3.5, 3: -3.8})
    assert table["relax_reason"][1] == "no CIF"
    rise = table["formation_energy_per_atom"] - table["energy_per_atom"]
    assert rise[0] == pytest.approx(rise[3]), "one composition has one reference"
    height = table["formation_energy_per_atom"] + 2.0
    assert table["e_above_hull"].dropna().to_dict() == pytest.approx({0: height[0], 3: height[3]})
    # by the paper's rule: less the mean of the elements' own energies, nothing fitted
    own = elemental_references().energies
    unfitted = table["energy_per_atom"] - (own["Na"] + own["Cl"]) / 2 + 2.0
    expected = {0: unfitted[0], 3: unfitted[3]}
    assert table["e_above_hull_unfitted"].dropna().to_dict() == pytest.approx(expected)
    assert table["decomposition"].dropna().to_dict() == dict.fromkeys((0, 3), "salt 1.000 DFT")
    assert table["has_predicted_phases"].dropna().to_dict() == {0: False, 3: False}


def test_more_relaxations_go_on_and_fewer_are_a_shorter_table(
    screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def counted(cells: list[Cell], *_: Any, **__: Any) -> Iterator[tuple[int, Relaxed]]:
        asked.append(len(cells))
        return relax_backwards(cells)

    monkeypatch.setattr(relaxed, "relax_all", counted)
    tables = [
        run_stages([RELAXED], replace(screening, relax_first=first)) for first in (2, None, 3, 4)
    ]
    # the second crystal has no structure, and the failure of the third is an answer
    assert asked == [1, 3, 0, 0][: len(asked)] and sum(asked) == 4
    counts = [int(table["relax_status"].notna().sum()) for table in tables]
    assert counts == [2, 5, 3, 4]
    once = replace(screening, folder=screening.folder / "once", relax_first=None)
    pd.testing.assert_frame_equal(run_stages([RELAXED], once), tables[1])


MU = {"Na": -1.3, "Cl": -1.8}


def judge(**mu: float) -> Judge:
    """A judge of which only the references matter."""
    return Judge("Second 1.0", "ab" * 32, dict, ElementReferences(mu))


def second_opinion(cells: list[Cell], *_: Any, **__: Any) -> Iterator[tuple[int, Relaxed]]:
    """Each crystal 0.2 eV/atom above what `relax_backwards` says, then 0.1 lower."""
    for place, cell in enumerate(cells):
        energy = 0.2 - float(cell.lattice_matrix[0, 0])
        yield (
            place,
            Relaxed("ok", cell=cell, initial_energy_per_atom=energy, energy_per_atom=energy - 0.1),
        )


@pytest.fixture
def judged_once(screening: Screening, monkeypatch: pytest.MonkeyPatch) -> Screening:
    """By the first judge, crystal 0 lies 0.05 eV/atom above the hull, 3 and 4 below it."""
    monkeypatch.setattr(relaxed, "relax_all", relax_backwards)
    monkeypatch.setattr(second_stage, "relax_all", second_opinion)
    first = replace(judge(Na=-1.55, Cl=-1.55), name="First 1.0")
    return replace(screening, judge=first, relax_first=None)


def compared_as(**columns: list[Any]) -> Stage:
    return replace(given(**columns), name="compared_relaxed")


NEW = compared_as(relaxed_duplicate_of=[0, None, None, 3, 3], relaxed_is_novel=[True] * 5)


def test_a_second_judge_is_asked_about_the_relaxed_crystals(judged_once: Screening) -> None:
    asked = second_judge(judge(**MU), None)
    table = run_stages([RELAXED, NEW, asked], judged_once)
    assert table["second_status"].notna().tolist() == [True, False, False, True, True]
    assert table["second_initial_energy_per_atom"][0] == pytest.approx(-3.3)
    assert table["second_energy_per_atom"][0] == pytest.approx(-3.4)
    # -3.4 less the mean of the two references; the salt of the hull lies at -2
    assert table["second_formation_energy_per_atom"][0] == pytest.approx(-1.85)
    assert table["second_e_above_hull"].dropna().to_dict() == pytest.approx(
        {0: 0.15, 3: -0.15, 4: -0.25}
    )
    assert table["e_above_hull"].dropna().to_dict() == pytest.approx({0: 0.05, 3: -0.25, 4: -0.35})
    both = table["is_stable_by_both"].tolist()
    assert both == [False, pd.NA, pd.NA, True, True]
    assert list(judged_once.folder.glob("second_judge_abababab.jsonl"))


def test_one_judge_alone_makes_no_crystal_stable_by_both(judged_once: Screening) -> None:
    high = second_judge(judge(Na=-1.75, Cl=-1.75), None)
    table = run_stages([RELAXED, NEW, high], judged_once)
    # 3 is stable by the first judge alone
    assert table["is_stable_by_both"].tolist() == [False, pd.NA, pd.NA, False, True]


def test_an_element_without_reference_is_a_reason(judged_once: Screening) -> None:
    asked = second_judge(judge(Na=-1.3), None)
    table = run_stages([RELAXED, NEW, asked], judged_once)
    assert table["second_status"][0] == "ok" and np.isnan(table["second_e_above_hull"][0])
    assert table["second_reason"][0] == "no reference energy of Cl for Second 1.0"
    assert table["is_stable_by_both"].isna().all()
    assert table["second_energy_per_atom"].notna().sum() == 3


def test_the_first_crystals_are_asked_about_and_all_candidates(judged_once: Screening) -> None:
    """Crystal 4 is a copy of 3 and needs no second opinion, 3 is past the first ones."""
    asked = second_judge(judge(**MU), 2)
    table = run_stages([RELAXED, NEW, asked], judged_once)
    assert table["second_status"].notna().tolist() == [True, False, False, True, False]
    known = compared_as(relaxed_duplicate_of=[0, None, None, 3, 4], relaxed_is_novel=[False] * 5)
    elsewhere = replace(judged_once, folder=judged_once.folder / "known")
    table = run_stages([RELAXED, known, asked], elsewhere)
    assert table["second_status"].notna().tolist() == [True, False, False, False, False]


def test_what_is_asked_of_relaxed_crystals_skips_the_failures(
    screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    def describe_backwards(
        cells: list[Cell], *, workers: int
    ) -> Iterator[tuple[int, dict[str, Any]]]:
        for place, cell in reversed(list(enumerate(cells))):
            values = {"formula": "NaCl", "energy_per_atom": -float(cell.lattice_matrix[0, 0])}
            yield place, values | {"features": [0.0] * len(FEATURES), "reason": ""}

    def edges(cells: Any) -> Iterator[dict[str, Any]]:
        for cell in cells:
            yield dict.fromkeys(MODELS, float(cell.lattice_matrix[0, 0])) | {"reason": ""}

    monkeypatch.setattr(relaxed, "relax_all", relax_backwards)
    monkeypatch.setattr(band_gaps, "describe_all", describe_backwards)
    monkeypatch.setattr(judges, "ask_matgl", edges)
    # the edge stands for the gap
    monkeypatch.setattr(
        band_gaps, "label", lambda table: table.assign(band_gap=-table["energy_per_atom"])
    )
    table = run_stages([RELAXED, BAND_GAPS, JUDGES], screening)
    for column in ("band_gap", "megnet_band_gap"):
        assert table[column].dropna().to_dict() == pytest.approx({0: 3.5, 3: 3.8})


@pytest.mark.parametrize("stage", [COMPARED, COMPARED_RELAXED])
def test_comparisons_tell_train_from_the_other_splits(
    stage: Stage, screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Crystal 0 is in val only, 2 a copy of 0 and in both, 3 could not be compared with val."""
    seen: list[list[Cell | None]] = []

    def duplicates(cells: list[Cell | None], *, workers: int) -> list[Duplicate]:
        seen.append(cells)
        firsts = [0, None, 0, 3, 4][: len(cells)]
        return [Duplicate(first, "ok" if first is not None else "no_structure") for first in firsts]

    def known(cells: list[Cell | None], split: EncodedDataset, *, workers: int) -> list[Known]:
        answers = [Known()] * 5
        if split is KNOWN_DATA.splits["train"]:
            answers[2] = Known((KnownCrystal(0, 1, "t1", 0.01),))
        else:
            answers[0] = Known((KnownCrystal(0, 0, "v0", 0.02),))
            answers[2] = Known((KnownCrystal(0, 1, "v1", 0.03),))
            answers[3] = Known((), "timeout", "more than 60 s")
        answers[1] = Known((), "no_structure", "no structure")
        return answers[: len(cells)]

    distance = np.arange(5.0)
    monkeypatch.setattr(compared, "find_duplicates", duplicates)
    monkeypatch.setattr(compared, "find_known", known)
    monkeypatch.setattr(compared, "neighbourhoods", lambda cells: None)
    monkeypatch.setattr(Reference, "neighbourhoods", None)
    monkeypatch.setattr(compared, "nearest", lambda *_: Nearest(distance, 10 * distance))
    monkeypatch.setattr(relaxed, "relax_all", relax_backwards)
    statuses = [row.status for row in screening.candidates.rows]
    prefix, before = ("", given(status=statuses)) if stage is COMPARED else ("relaxed_", RELAXED)
    table = run_stages([before, stage], screening)
    table = table[[column for column in stage.adds]].rename(columns=lambda c: c[len(prefix) :])[:4]
    assert [cell is None for cell in seen[0]][:2] == [False, True]
    assert len(seen[0]) == (5 if stage is COMPARED else 4)
    assert table["duplicate_of"].tolist() == [0, pd.NA, 0, 3]
    assert table["is_first"].tolist() == [True, pd.NA, False, True]
    assert table["is_novel"].tolist() == [True, pd.NA, False, True]
    assert table["is_novel_anywhere"].tolist() == [False, pd.NA, False, pd.NA]
    assert table["known_as"].tolist() == ["v0", None, "t1", None], "train is named first"
    assert table["known_split"].tolist() == ["val", None, "train", None]
    assert table["known_train"].tolist() == [None, None, "t1", None]
    assert table["known_rms"][[0, 2]].tolist() == [0.02, 0.01]
    assert table["known_e_above_hull"][[0, 2]].tolist() == pytest.approx([0.3, 0.2])
    assert table["comparison"].tolist() == ["ok", "no_structure", "ok", "timeout"]
    assert table["nearest_train"].tolist() == [0, 1, 2, 3]
    assert table["nearest_train_prototype"].tolist() == [0, 10, 20, 30]


def test_a_crystal_on_which_a_library_hangs_is_a_row_of_that_status(
    screening: Screening, monkeypatch: pytest.MonkeyPatch
) -> None:
    crystal = Crystal.failed(3, 77, "ok", "", 225)
    rows = list(screening.candidates.rows)
    rows[3] = Candidate(3, "crystal 3", "ok", "", salt(3.8), crystal)

    def hang(function: Any, items: list[Candidate], **_: Any) -> Iterator[Outcome]:
        for place, item in reversed(list(enumerate(items))):
            if item.index in (0, 3):
                yield Outcome(place, None, "timeout: more than 60 s", float("nan"), "timeout")
            else:
                yield Outcome(place, function(item), "", 1.0)

    monkeypatch.setattr(judged, "run_killable", hang)
    shared = Screening(Candidates(tuple(rows), ""), KNOWN_DATA, screening.folder)
    table = run_stages([JUDGED], shared)
    assert table["name"].tolist() == [f"crystal {i}" for i in range(5)]
    wanted = ["timeout", "reconstruction_failed", "ok", "timeout", "ok"]
    assert table["status"].tolist() == wanted
    assert table["reason"][0] == table["reason"][3] == "timeout: more than 60 s"
    assert table["space_group_number"].tolist()[3] == 225, "what was asked for is still known"
    assert table["a"].dropna().to_dict() == pytest.approx({2: 3.7, 4: 3.9})
