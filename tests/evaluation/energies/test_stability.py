"""Conventions counted by hand, prices, and the printed tables against themselves."""

import math
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from symmbfn.claims.published import errata, published_table
from symmbfn.evaluation.energies.stability import (
    CONVENTIONS,
    Rate,
    cost,
    costs,
    first_of_each,
    left_out,
    stability_rates,
)
from symmbfn.intervals import wilson_interval


def printed_tables() -> dict[tuple[str, str], tuple[str, ...]]:
    """Seconds a sample, stability and S.U.N. in %, their two costs, by dataset and method."""
    rates = published_table(1)
    found = {}
    for row in published_table(2).rows:
        rate = rates.of(row.dataset)[row.method].printed
        price = row.printed
        costs = price["stable_s"], price["sun_s"]
        found[row.dataset, row.method] = (price["seconds"], rate["stable"], rate["sun"], *costs)
    return found


PRINTED = printed_tables()


def judged() -> pd.DataFrame:
    """Ten requests: a class of three whose first is not stable, a pure element, two failures."""
    nan, na = math.nan, pd.NA
    rows = [
        # status, is_unique, is_novel, duplicate_of, e_above_hull, unfitted, is_converged, elements
        ("ok", True, True, 0, 0.05, 0.0, True, 2),  # metastable, first of its class
        ("ok", False, True, 0, -0.01, 0.02, True, 2),  # stable, second of it
        ("ok", False, True, 0, -0.02, 0.01, False, 2),  # stable, third of it
        ("ok", True, False, na, 0.0, -0.1, True, 3),  # on the hull, known
        ("ok", True, True, na, 0.1, 0.11, True, 3),  # at the threshold
        ("ok", True, True, na, -0.3, nan, True, 1),  # a pure element
        ("ok", True, True, na, nan, nan, True, 4),  # its system is not covered
        ("ok", True, na, na, -0.5, -0.4, True, 2),  # nobody looked whether it is new
        ("timeout", False, na, na, nan, nan, False, 2),
        ("relaxation_diverged", True, True, na, -9.0, -9.0, False, 2),
    ]
    columns = ["status", "is_unique", "is_novel", "duplicate_of", "e_above_hull"]
    columns += ["e_above_hull_unfitted", "is_converged", "n_elements"]
    return pd.DataFrame(rows, columns=columns)


def counts(table: pd.DataFrame, convention: str) -> dict[str, int]:
    found = stability_rates(table)
    chosen = found[found["convention"] == convention]
    return dict(zip(chosen["figure"], chosen["count"], strict=True))


@pytest.mark.parametrize(
    ("convention", "counted"),
    [
        # stable, unique, novel, sun: rows 1, 2, 3, 5, 7, of which 2 is a copy of 1; metastable:
        # rows 0 to 5 and 7, where 0 stands for its class, and of 0, 3, 4, 5, 7 three are new
        ("ours", (5, 4, 3, 2, 7, 3)),
        # stable: rows 0, 3, 7, of which only 0 is new; metastable: 1 and 2 too, copies of it
        ("paper_rule", (3, 3, 1, 1, 5, 1)),
        # below 0.1: as the metastable of ours without row 4; no word for more
        ("mattergen", (6, 4, 4, 2)),
        # metastable: above 0 and up to 0.1, rows 0 and 4 alone
        ("lemat", (5, 4, 3, 2, 2, 2)),
    ],
)
def test_conventions_by_hand(convention: str, counted: tuple) -> None:
    figures = ("stable", "unique", "novel", "sun", "metastable", "msun")
    assert counts(judged(), convention) == dict(zip(figures, counted, strict=False))


def test_each_convention_has_one_row_a_figure() -> None:
    found = stability_rates(judged())
    assert not found.duplicated(["convention", "figure"]).any()
    assert found["convention"].unique().tolist() == ["any", *(one.name for one in CONVENTIONS)]


def test_a_table_without_energies_of_a_convention_goes_without_it() -> None:
    """Older tables have no unfitted energies: their other rates stay what they are."""
    older = judged().drop(columns="e_above_hull_unfitted")
    empty = judged().assign(e_above_hull_unfitted=math.nan)
    whole = stability_rates(judged())
    for table, reason in ((older, "no column"), (empty, "no crystal has a value")):
        assert [*left_out(table)] == ["paper_rule"] and reason in left_out(table)["paper_rule"]
        rest = whole[whole["convention"] != "paper_rule"].reset_index(drop=True)
        pd.testing.assert_frame_equal(stability_rates(table), rest)
    assert not left_out(judged())


def second_opinion(*statuses: str | None, energies: dict[int, float]) -> pd.DataFrame:
    """The ten requests, and what a second judge says of some of them."""
    found = [energies.get(row, math.nan) for row in range(10)]
    return judged().assign(second_status=[*statuses], second_e_above_hull=found)


def test_both_judges_by_hand() -> None:
    """S.U.N. by ours are rows 1 and 5."""
    every = ["ok"] * 8 + [None, None]  # nobody asks about failures
    energies = {1: 0.01, 2: -0.2, 3: 0.0, 5: -0.1, 7: -0.3, 9: -1.0}
    assert counts(second_opinion(*every, energies=energies), "both") == {"stable": 4, "sun": 1}
    failed = ["ok"] * 5 + ["timeout", "ok", "ok", None, None]
    assert counts(second_opinion(*failed, energies=energies), "both") == {"stable": 3, "sun": 0}


def test_a_rate_by_both_judges_is_of_crystals_chosen_before_the_answer() -> None:
    """Asked about the first three and all S.U.N.: stable is of three requests, S.U.N. of ten."""
    some = ["ok", "ok", "ok", None, None, "ok", None, None, None, None]
    energies = {0: 0.0, 1: -0.1, 2: 0.3, 5: -0.1}
    found = stability_rates(second_opinion(*some, energies=energies))
    both = found[found["convention"] == "both"].set_index("figure")
    assert both["n"].to_dict() == {"stable": 3, "sun": 10}
    assert both["count"].to_dict() == {"stable": 1, "sun": 2}
    some[5] = None  # one S.U.N. crystal was not asked about
    found = stability_rates(second_opinion(*some, energies=energies))
    both = found[found["convention"] == "both"].set_index("figure")
    assert both["n"].to_dict() == {"stable": 3, "sun": 3}
    assert both["count"].to_dict() == {"stable": 1, "sun": 1}
    none = stability_rates(second_opinion(*[None] * 10, energies={}))
    assert not none["convention"].eq("both").any(), "nobody was asked"


def test_figures_of_all_rows_by_hand() -> None:
    assert counts(judged(), "any") == {
        "failed": 2,
        "unknown": 1,
        "unconverged": 1,
        "unary": 1,
        "unique": 6,
        "novel": 6,
        "novelty_unknown": 1,
        "unique_and_novel": 4,
    }


def test_every_rate_is_a_share_of_the_requests() -> None:
    """Failures stay in the denominator, and the intervals are Wilson's."""
    found = stability_rates(judged())
    assert (found["n"] == 10).all()
    np.testing.assert_allclose(found["rate"], found["count"] / 10)
    for count, low, high in zip(found["count"], found["low"], found["high"], strict=True):
        assert (low, high) == wilson_interval(count, 10)


def test_what_could_not_be_compared_is_not_unique() -> None:
    """It may be a copy of another: rates err to the low side."""
    table = judged()
    table["is_unique"] = table["is_unique"].astype("boolean")
    table.loc[5, "is_unique"] = pd.NA
    found = counts(table, "ours")
    assert (found["stable"], found["unique"], found["novel"], found["sun"]) == (5, 3, 3, 1)
    assert found["msun"] == 2


def test_an_unknown_energy_is_never_stable() -> None:
    table = judged().assign(e_above_hull=math.nan)
    for name in ("ours", "mattergen", "lemat"):
        assert set(counts(table, name).values()) == {0}
    assert counts(table, "any")["unknown"] == 8


def test_copies_of_a_stable_crystal_add_nothing_to_sun() -> None:
    """A model that repeats one crystal a thousand times has found one."""
    one = judged().iloc[[1]].assign(duplicate_of=0, is_unique=True)
    copies = pd.concat([one] * 1000, ignore_index=True)
    found = counts(copies, "ours")
    assert found == {
        **{"stable": 1000, "unique": 1, "novel": 1000, "sun": 1},
        **{"metastable": 1000, "msun": 1},
    }


def test_order_of_thresholds() -> None:
    """Looser conventions count more, and the metastable are the stable and those above."""
    rng = np.random.default_rng(0)
    n = 500
    table = pd.DataFrame(
        {
            "status": rng.choice(["ok", "timeout"], n, p=[0.9, 0.1]),
            "is_unique": rng.random(n) < 0.9,
            "is_novel": rng.random(n) < 0.8,
            "duplicate_of": np.where(rng.random(n) < 0.2, rng.integers(0, 50, n), np.arange(n)),
            "e_above_hull": np.round(rng.normal(0.05, 0.1, n), 2),
            "is_converged": True,
            "n_elements": rng.integers(1, 5, n),
        }
    )
    ours, loose, lemat = (counts(table, name) for name in ("ours", "mattergen", "lemat"))
    assert {name: lemat[name] for name in ("stable", "sun")} == {
        name: ours[name] for name in ("stable", "sun")
    }
    assert ours["metastable"] == lemat["stable"] + lemat["metastable"]
    at_threshold = ((table["e_above_hull"] == 0.1) & (table["status"] == "ok")).sum()
    assert at_threshold > 0
    assert ours["metastable"] - loose["stable"] == at_threshold
    for found in (ours, loose, lemat):
        assert found["sun"] <= min(found["unique"], found["novel"]) <= found["stable"]
    assert ours["sun"] <= ours["msun"] <= ours["metastable"]


def test_the_first_stable_copy_stands_for_its_class() -> None:
    table = judged()
    stable = table["e_above_hull"] <= 0
    assert first_of_each(table, stable).nonzero()[0].tolist() == [1, 3, 5, 7, 9]


def test_tables_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no column is_novel, n_elements"):
        stability_rates(judged().drop(columns=["is_novel", "n_elements"]))
    with pytest.raises(ValueError, match="0 rows"):
        stability_rates(judged().iloc[:0])
    with pytest.raises(ValueError, match="share a label"):
        stability_rates(pd.concat([judged(), judged()]))


def test_cost_by_hand() -> None:
    """Two seconds a sample and one in four good: eight seconds a good one."""
    price = cost(2.0, Rate(25, 100))
    low, high = wilson_interval(25, 100)
    assert price.seconds == pytest.approx(8.0)
    assert price.interval == pytest.approx((2 / high, 2 / low))
    assert price.interval[0] < 8 < price.interval[1]
    none = cost(2.0, Rate(0, 100))
    assert none.seconds == math.inf and none.interval[1] == math.inf
    assert none.interval[0] == pytest.approx(2 / wilson_interval(0, 100)[1])
    for wrong in (0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="must be positive"):
            cost(wrong, Rate(1, 2))


def test_costs_by_stage_add_up() -> None:
    prices = costs({"generation": 0.01, "rebuild": 0.002, "relaxation": 3.0}, Rate(12, 100))
    assert list(prices) == ["generation", "rebuild", "relaxation", "total"]
    assert prices["generation"].seconds == pytest.approx(0.01 / 0.12)
    parts = sum(prices[stage].seconds for stage in ("generation", "rebuild", "relaxation"))
    assert prices["total"].seconds == pytest.approx(parts)


def printed_range(number: str) -> tuple[float, float]:
    """What a printed number may have been before it was rounded."""
    half = 0.5 * 10.0 ** Decimal(number).as_tuple().exponent
    return float(number) - half, float(number) + half


def test_printed_costs_follow_from_the_printed_rates_in_20_of_24() -> None:
    """0.007 s is anything from 6.5 to 7.5 ms, so its costs are known to 7 % only."""
    contradictions = set()
    for method, (seconds, stable, sun, *prices) in PRINTED.items():
        low, high = printed_range(seconds)
        for figure, rate, price in zip(("stable", "sun"), (stable, sun), prices, strict=True):
            lowest, highest = (r / 100 for r in printed_range(rate))
            cheapest, dearest = printed_range(price)
            n = 1_000_000  # rates as counts, finer than they are printed
            least = cost(low, Rate(round(n * highest), n)).seconds
            most = cost(high, Rate(round(n * lowest), n)).seconds
            if most < cheapest or dearest < least:
                contradictions.add((method, figure))
    assert len(PRINTED) * 2 == 24
    assert contradictions == {
        (("mp_20", "DiffCSP"), "stable"),
        (("mp_20", "FlowMM"), "stable"),
        (("mp_20", "FlowMM"), "sun"),
        (("mp_20", "SymmCD"), "sun"),
    }
    told = [entry.where for entry in errata() if entry.where.startswith("Table 2")]
    figures = {"stable": "stable_s", "sun": "sun_s"}
    names = {f"Table 2, {method}, {figures[figure]}" for (_, method), figure in contradictions}
    assert {*told} == names and len(told) == 4


def test_rates_that_the_four_contradicting_costs_imply() -> None:
    """Of the costs whose digits contradict the rates, in %."""
    implied = {
        method: tuple(100 * float(row[0]) / float(price) for price in row[3:])
        for method, row in PRINTED.items()
    }
    assert implied["mp_20", "DiffCSP"][0] == pytest.approx(9.90, abs=0.005)
    assert implied["mp_20", "FlowMM"] == pytest.approx((9.30, 7.50), abs=0.005)
    assert implied["mp_20", "SymmCD"][1] == pytest.approx(6.49, abs=0.005)


def test_the_papers_difference_in_sun_is_none() -> None:
    """7.24 % and 6.86 % of 10,000: the intervals overlap."""
    ours, theirs = Rate(724, 10_000), Rate(686, 10_000)
    assert theirs.interval[1] > ours.interval[0]
    pooled = (724 + 686) / 20_000
    z = (ours.value - theirs.value) / math.sqrt(pooled * (1 - pooled) * 2 / 10_000)
    assert z == pytest.approx(1.05, abs=0.01)
