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
