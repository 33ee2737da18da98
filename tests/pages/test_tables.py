"""Rows of the page's tables have the numbers of the report, in the place that their label names."""

import numpy as np
import pandas as pd
import pytest

from symmbfn.pages import tables
from symmbfn.pages.formats import interval, percent, seconds


def test_matches_of_relaxed_crystals_are_theirs() -> None:
    rows = pd.DataFrame(
        {
            "known_split": [None, "train", None],
            "is_first": [True, True, False],
            "is_novel_anywhere": [True, False, True],
            "relaxed_known_split": ["val", None, None],
            "relaxed_is_first": [True, None, True],
            "relaxed_is_novel_anywhere": [False, None, True],
        }
    )
    answers = [name for name in rows if "is_" in name]
    rows = rows.astype(dict.fromkeys(answers, "boolean"))
    first, copy = "in no split, first of its kind", "in no split, a copy of another"
    made = {"in train": 1, first: 1, copy: 1, "not compared": 0}
    relaxed = {"in val": 1, first: 1, copy: 0, "not compared": 1}
    assert tables.matches(rows, "") == made
    assert tables.matches(rows, "relaxed_") == relaxed


def test_coverage_names_its_sides() -> None:
    found = {
        **{"n_reference": 50, "n_recalled": 45, "n_recalled_jointly": 40},
        **{"n_generated": 8, "n_precise": 6, "n_precise_jointly": 4},
    }
    recall, precision = tables.coverage(found)
    assert recall[0].startswith("Recall") and recall[1:] == (50, [45, 40])
    assert precision[0].startswith("Precision") and precision[1:] == (8, [6, 4])


def test_costs_end_with_their_sum() -> None:
    prices = {
        "sampling": {"seconds": 4.0},
        "relaxation": {"seconds": 8.0},
        "total": {"seconds": 12},
    }
    found = {
        "seconds_per_sample": {"sampling": 1.0, "relaxation": 2.0},
        "stable": prices,
        "sun": {name: {"seconds": 10 * row["seconds"]} for name, row in prices.items()},
    }
    rows = tables.costs(found)
    assert [(stage, spent) for stage, spent, _ in rows] == [
        *(("sampling", 1.0), ("relaxation", 2.0), ("total", 3.0))
    ]
    # the price of a stable crystal stands before that of a stable, unique and novel one
    assert [[one["seconds"] for one in both] for *_, both in rows] == [[4, 40], [8, 80], [12, 120]]
    assert tables.costs({"seconds_per_sample": {}}) == []


def row(convention: str, figure: str, count: int, n: int = 100, **more: str) -> dict:
    named = {"convention": convention, "figure": figure, "references": "r", "judge": "one"}
    return named | {"count": count, "n": n, "rate": count / n, "low": 0.0, "high": 1.0} | more


def report_of_conventions() -> dict:
    """Stable 20, S.U.N. 10, metastable 50, M.S.U.N. 30 of 100 by ours; the stricter rates less."""
    figures = dict(zip(tables.FIGURES, (20, 10, 50, 30), strict=True))
    ours = [row("ours", name, count) for name, count in figures.items()]
    others = [row("mattergen", "stable", 49), row("both", "sun", 4, 60, judge="one and two")]
    strict = {
        name: [row("ours", figure, count - less) for figure, count in figures.items()]
        for less, name in enumerate(("known_system", "compounds", "novel_anywhere"), 1)
    }
    everything = [row("any", "failed", 3), *ours, *others, row("ours", "unique", 15)]
    return {"stability": everything, "stricter": strict, "hull": "a hull", "judge": "one"}


def counted(rates: list) -> list[int | None]:
    return [None if rate is None else rate["count"] for rate in rates]


def test_each_convention_is_one_line_and_ours_comes_again_stricter() -> None:
    lines = tables.conventions(report_of_conventions())
    labels = ["Ours", "As MatterGen", "Both judges", *["Ours, stricter"] * 3]
    assert [line["label"] for line in lines] == labels, "what is not counted has no line"
    assert [counted(line["rates"]) for line in lines] == [
        [20, 10, 50, 30],
        [49, None, None, None],
        [None, 4, None, None],
        *([19, 9, 49, 29], [18, 8, 48, 28], [17, 7, 47, 27]),
    ]
    assert lines[2]["judge"] == "one and two" and lines[2]["rates"][1]["n"] == 60
    assert "elements never count" in lines[4]["rule"]


def claim_of(name: str, value: float, *, hull: str = "a hull", judge: str = "one") -> dict:
    versions = {"hull": hull, "judge": judge}
    return {"name": name, "value": value, "n": 256, "interval": [1.0, 9.0], "versions": versions}


def test_controls_are_shown_where_hull_and_judge_are_the_same() -> None:
    report = report_of_conventions()
    same = [
        claim_of(f"control.{name}.{figure}.ours", value)
        for name, value in (("real", 50.0), ("shuffled", 5.0), ("random", 6.25))
        for figure in tables.FIGURES
    ]
    lines, missing = tables.controls(report, same)
    assert [label.split()[0] for label, _ in lines] == ["This", "Real", "Real", "Random"]
    assert [counted(rates)[0] for _, rates in lines] == [20, 128, 13, 16] and not missing
    assert lines[3][1][0] == {"count": 16, "n": 256, "share": 0.0625, "interval": [0.01, 0.09]}
    # sharper or blunter judges are no comparison
    others = [claim_of(one["name"], one["value"], hull="another hull") for one in same[:4]]
    lines, missing = tables.controls(report, [*others, *same[4:]])
    assert len(lines) == 3 and "another hull" in missing
    others = [claim_of(one["name"], one["value"], judge="two") for one in same]
    assert len(tables.controls(report, others)[0]) == 1
    lines, missing = tables.controls(report, [])
    assert len(lines) == 1 and "No controls are recorded" in missing


def test_groups_come_from_frequent_to_rare() -> None:
    generated, real = np.array([225, 225, 225, 14]), np.array([225, 2, 2, 62, 62, 62, 62, 62])
    rows = tables.groups(generated, real)
    assert [row["number"] for row in rows] == [225, 62, 2, 14]
    assert rows[0] == {"number": 225, "generated": 0.75, "real": 0.125}


def test_a_rate_keeps_both_ends_of_its_interval() -> None:
    row = {"count": 3, "n": 4, "rate": 0.75, "low": 0.3, "high": 0.95, "figure": "sun"}
    rate = tables.rate_of_row(row)
    assert rate == {"count": 3, "n": 4, "share": 0.75, "interval": [0.3, 0.95]}
    assert interval(rate["interval"], 4) == "30.0–95.0\u00a0%"
    assert percent(0.12345, 1001) == "12.35\u00a0%" and percent(0.12345, 1000) == "12.3\u00a0%"


def test_rates_that_have_no_label_are_shown_last() -> None:
    labels = [label for label, _ in tables.rates({"a_new_rate": {}, "valid": {}, "ok": {}})]
    assert labels == ["Built without a failure", "Valid: structure and composition", "a new rate"]


def test_facts_of_facts_are_one_list() -> None:
    found = dict(tables.facts({"a_b": {"c": [1, 2]}, "d": None, "e": 0.1 + 0.2}))
    assert found == {"a b.c": "1, 2", "e": "0.3"}


@pytest.mark.parametrize(
    ("value", "text"), [(None, "∞"), (0.12345, "0.123"), (999.4, "999"), (12345.6, "12,346")]
)
def test_seconds_have_three_figures(value: float | None, text: str) -> None:
    assert seconds(value) == text
