"""Counts of a screening by hand: ten crystals, each of which fails one question."""

import pandas as pd
import pytest

from symmbfn.evaluation.summary import Judging, relaxed_rows, summarise, summary_said

SHARED = {
    **{"status": "ok", "is_structurally_valid": True, "is_smact_valid": True, "n_elements": 2},
    **{"has_good_contacts": True, "is_first": True, "is_novel": True, "is_novel_anywhere": True},
    **{"comparison": "ok", "symmetry": "unasked", "sharp_symmetry": "unasked", "found_group": 225},
    **{"relax_status": "ok", "relaxed_is_first": True, "relaxed_is_novel": True},
    **{"relaxed_is_novel_anywhere": True, "relaxed_group": 225, "is_converged": True},
    **{"e_above_hull": -0.1, "is_covered": True, "knows_system": True, "n_steps": 10},
    **{"relax_seconds": 2.0, "initial_energy_per_atom": -3.0, "energy_per_atom": -3.5},
}


def table(*changes: dict) -> pd.DataFrame:
    rows = [
        {"index": i, "duplicate_of": i, "relaxed_duplicate_of": i} | SHARED | change
        for i, change in enumerate(changes)
    ]
    found = pd.DataFrame(rows)
    yes_or_no = ("is_converged", "knows_system", "is_covered", "relaxed_is_novel")
    return found.astype(dict.fromkeys(yes_or_no, "boolean"))


def stricter(report: dict, which: str) -> dict[tuple[str, str], int]:
    return {(row["convention"], row["figure"]): row["count"] for row in report["stricter"][which]}


def test_stricter_rates_doubt_each_what_it_says() -> None:
    report = summarise(
        table(
            {},
            {"knows_system": False},
            {"relaxed_is_novel_anywhere": False},
            {"relaxed_is_novel": False, "relaxed_is_novel_anywhere": False},
            {"n_elements": 1, "e_above_hull": 0.05},
        )
    )
    plain = {
        row["figure"]: row["count"] for row in report["stability"] if row["convention"] == "ours"
    }
    figures = ("stable", "sun", "metastable", "msun")
    assert tuple(plain[name] for name in figures) == (4, 3, 5, 4)
    for which, counted in (
        ("known_system", (3, 2, 4, 3)),
        ("novel_anywhere", (4, 2, 5, 3)),
        ("compounds", (4, 3, 4, 3)),
    ):
        found = stricter(report, which)
        assert tuple(found["ours", name] for name in figures) == counted, which


def test_every_rate_of_stability_names_what_it_rests_on() -> None:
    made = table({}, {"e_above_hull": 0.2})
    made = made.assign(e_above_hull_unfitted=[0.1, 0.3])
    made = made.assign(second_status="ok", second_e_above_hull=[-0.1, 0.0])
    judging = Judging(hull="a hull", judge="one", second_judge="two")
    report = summarise(made, judging=judging)
    rows = [row for row in report["stability"] if row["convention"] != "any"]
    rows += [row for found in report["stricter"].values() for row in found]
    assert {row["hull"] for row in rows} == {"a hull"} and all(row["references"] for row in rows)
    by_name = {row["convention"]: row for row in rows}
    assert [*by_name] == ["ours", "paper_rule", "mattergen", "lemat", "both"]
    assert {name: row["judge"] for name, row in by_name.items()} == {
        **dict.fromkeys(("ours", "paper_rule", "mattergen", "lemat"), "one"),
        "both": "one and two",
    }
    assert "fitted to" in by_name["ours"]["references"]
    assert "nothing fitted" in by_name["paper_rule"]["references"]
    assert not report["left_out"]


def test_relaxation_is_summed_over_those_that_came_through() -> None:
    nothing = dict.fromkeys(("energy_per_atom", "initial_energy_per_atom", "relax_seconds"))
    failed = {"relax_status": "timeout", "is_converged": False, "relaxed_group": pd.NA} | nothing
    made = table(
        {"relaxed_group": 123},
        {"energy_per_atom": -3.1, "relax_seconds": 4.0, "is_converged": False},
        failed,
        {"relax_status": None},
    )
    found = summarise(made)["relaxation"]
    assert found["statuses"] == {"ok": 2, "timeout": 1}
    assert found["converged"]["count"] == found["group_kept"]["count"] == 1
    assert found["group_kept"]["n"] == 3
    assert found["median_energy_gain_per_atom"] == pytest.approx(0.3), "relaxing gains energy"
    assert (found["median_seconds"], found["seconds"]) == (3.0, 6.0)
    assert relaxed_rows(made)["status"].tolist() == ["ok", "ok", "timeout"]


def test_the_funnel_asks_one_question_after_the_other() -> None:
    report = summarise(
        table(
            {},
            {"is_smact_valid": False},
            {"is_structurally_valid": False},
            {"relaxed_duplicate_of": 0},
            {"relaxed_is_novel": False},
            {"e_above_hull": 0.05},
            {"e_above_hull": 0.2},
            {"relax_status": "timeout"},
        )
    )
    assert [step["count"] for step in report["funnel"]] == [8, 6, 5, 4, 2, 1]
    assert {step["n"] for step in report["funnel"]} == {8}
    assert report["funnel"][0]["name"] == "relaxed"


def test_counts_are_said_with_what_they_are_of() -> None:
    """Of four requests three are relaxed: a copy as generated, and another after relaxation."""
    made = table(
        {},
        {"is_first": False, "duplicate_of": 0, "is_smact_valid": False},
        {"relaxed_is_first": False, "relaxed_duplicate_of": 0, "relaxed_is_novel": False},
        {"relax_status": None, "is_novel": False},
    )
    assert summary_said(summarise(made)).splitlines() == [
        "4 requested, 3 of them relaxed",
        "as generated, each of all 4: 3 valid, 3 unique, 3 novel",
        "one question after the other, of the 3 relaxed: 2 valid, of these 1 unique, of these "
        "1 novel, of these 1 metastable, of these 1 stable",
        "stable, unique and novel, by convention: ours 2 of 3 (66.67 %), mattergen 2 of 3 "
        "(66.67 %), lemat 2 of 3 (66.67 %)",
        "paper_rule is left out: the table has no column e_above_hull_unfitted",
    ]
    columns = [name for name in made if "relax" not in name]
    first, _, last = summary_said(summarise(made[columns])).splitlines()
    assert first == "4 requested"
    assert last == (
        "one question after the other, of the 4 requested: 3 valid, of these 3 unique, of these "
        "2 novel"
    )


def test_seconds_are_priced_per_crystal_that_counts() -> None:
    """One of two is stable: 2 s of relaxation and 1 s of generation each, so 6 s for one."""
    report = summarise(table({}, {"e_above_hull": 0.2}), seconds={"generation": 1.0})
    assert report["costs"]["seconds_per_sample"] == {"generation": 1.0, "relaxation": 2.0}
    assert report["costs"]["stable"]["total"]["seconds"] == pytest.approx(6.0)
    assert report["costs"]["stable"]["generation"]["seconds"] == pytest.approx(2.0)


def test_a_group_counts_as_kept_in_a_valid_structure_only() -> None:
    """Ten requests, whose groups are found at 0.1, 0.01 and 0.001 angstrom or are not."""
    asked = {"space_group_number": 225, "default_group": 225, "symmetry": "kept"}
    kept = {**asked, "sharp_symmetry": "kept"}
    report = summarise(
        table(
            kept,
            {**kept, "status": "invalid_geometry"},
            {**kept, "status": "symmetry_mismatch"},
            {**kept, "found_group": None, "default_group": None, "symmetry": "none"},
            {**kept, "default_group": 221},
            {**kept, "sharp_symmetry": "lost"},
        )
    )
    rates = {name: row for name, row in report["rates"].items() if name.startswith("group_kept")}
    assert {name: row["count"] for name, row in rates.items()} == {
        **{"group_kept": 3, "group_kept_default": 2, "group_kept_sharp": 3}
    }
    assert {row["n"] for row in rates.values()} == {6}


def test_nothing_is_no_screening() -> None:
    with pytest.raises(ValueError, match="0 crystals"):
        summarise(table({})[:0])
