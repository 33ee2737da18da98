"""Counts of a screening by hand: ten crystals, each of which fails one question."""

import pandas as pd
import pytest

from symmbfn.evaluation.summary import relaxed_rows, summarise

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
        )
    )
    plain = {
        row["figure"]: row["count"]
        for row in report["stability"]
        if row["convention"] == "paper" and row["unaries"] == "kept"
    }
    assert (plain["stable"], plain["sun"]) == (4, 3)
    known = stricter(report, "known_system")
    assert (known["paper", "stable"], known["paper", "sun"]) == (3, 2)
    anywhere = stricter(report, "novel_anywhere")
    assert (anywhere["paper", "stable"], anywhere["paper", "sun"]) == (4, 2)


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
