"""Stable, unique, new: one table of judged crystals under every published convention."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symmbfn._shapes import Bool
from symmbfn.intervals import wilson_interval

if TYPE_CHECKING:
    import pandas

COLUMNS = (
    "status",
    "is_unique",
    "is_novel",
    "duplicate_of",
    "e_above_hull",
    "is_converged",
    "n_elements",
)


@dataclass(frozen=True)
class Convention:
    """What somebody calls stable: above < e_above_hull <= highest, eV/atom.

    Args:
        name: of the convention.
        highest: largest energy above the hull.
        includes_highest: whether that itself is stable.
        above: energies must exceed this.
    """

    name: str
    highest: float
    includes_highest: bool = True
    above: float = -math.inf

    def holds(self, e_above_hull: "pandas.Series") -> "pandas.Series":
        """Whether each energy is stable; NaN never is."""
        low_enough = (
            e_above_hull <= self.highest if self.includes_highest else e_above_hull < self.highest
        )
        return low_enough & (e_above_hull > self.above)


# Their relaxers and matchers differ from ours, too. Source: book, method-stability.
CONVENTIONS = (
    Convention("paper", 0.0),
    Convention("metastable", 0.1),
    Convention("mattergen", 0.1, includes_highest=False),
    Convention("lemat_sun", 0.0),
    Convention("lemat_msun", 0.1, above=0.0),
)


@dataclass(frozen=True)
class Rate:
    """A share of the requests.

    Args:
        count: how many.
        n: requests; failures are among them.
    """

    count: int
    n: int

    @property
    def value(self) -> float:
        return self.count / self.n

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson interval at 95 % confidence."""
        return wilson_interval(self.count, self.n)


def stability_rates(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Count stable, unique and novel crystals under every convention.

    Args:
        table: one row a request, failures included; where only the first requests were
            relaxed, their rows alone. Columns:
            `status`: nothing but "ok" is ever stable;
            `e_above_hull`: eV/atom after relaxation, NaN where it is unknown;
            `is_unique`: first of its duplicate class among all; missing where it could not be
            compared, and then it is never counted as unique;
            `duplicate_of`: row label of the first of the class, its own for that one; missing
            where there is no other;
            `is_novel`: matches no crystal of the training data, missing where nobody looked;
            `is_converged`: the relaxation ended by itself (counted, not required);
            `n_elements`: distinct elements.

    Returns:
        One row a figure with `convention`, `unaries` ("kept", or "left out": then pure
        elements are never stable), `figure`, `count`, `n`, `rate`, `low`, `high`. Every rate
        is a share of all rows; `low` and `high` are its Wilson interval. Figures of a
        convention: `stable`, `unique` and `novel` (among the stable), `sun` (all three). Of all
        rows, convention "any": `failed`, `unknown` (no failure, and yet no energy above the
        hull), `unconverged`, `unary`, `unique`, `novel`, `novelty_unknown`, `unique_and_novel`.

    Raises:
        ValueError: no rows, or a column that is missing.

    Source: book, method-stability; book, method-sun.
    """
    import pandas as pd

    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(f"a table of judged crystals has no column {', '.join(missing)}")
    if table.empty:
        raise ValueError("a rate needs at least one request, the table has 0 rows")
    if not table.index.is_unique:
        raise ValueError("rows of judged crystals share a label")
    is_ok = table["status"] == "ok"
    is_compound = table["n_elements"].fillna(0) >= 2
    rows = _rows("any", "kept", _of_all(table), len(table))
    for convention in CONVENTIONS:
        is_stable = is_ok & convention.holds(table["e_above_hull"].astype(float))
        for unaries, counted in (("kept", is_stable), ("left out", is_stable & is_compound)):
            figures = _of_stable(table, counted)
            rows += _rows(convention.name, unaries, figures, len(table))
    return pd.DataFrame(rows)


def first_of_each(table: "pandas.DataFrame", is_counted: "pandas.Series") -> Bool[np.ndarray, "n"]:
    """Whether a row is counted and none before it of its duplicate class is.

    The first of a class need not be stable: then the first stable copy stands for it.

    Source: book, method-sun.
    """
    labels = table.index.to_series()
    classes = table["duplicate_of"].where(table["duplicate_of"].notna(), labels)
    counted = is_counted.to_numpy(dtype=bool)
    is_first = counted.copy()
    is_first[counted] = ~classes[counted].duplicated().to_numpy()
    return is_first


def is_true(column: "pandas.Series") -> "pandas.Series":
    """What is missing is not true."""
    return column.astype("boolean").fillna(False).astype(bool)


def _of_all(table: "pandas.DataFrame") -> dict[str, "pandas.Series"]:
    is_ok = table["status"] == "ok"
    is_novel, is_unique = is_true(table["is_novel"]), is_true(table["is_unique"])
    return {
        "failed": ~is_ok,
        "unknown": is_ok & table["e_above_hull"].isna(),
        "unconverged": is_ok & ~is_true(table["is_converged"]),
        "unary": is_ok & (table["n_elements"] == 1),
        "unique": is_ok & is_unique,
        "novel": is_ok & is_novel,
        "novelty_unknown": is_ok & table["is_novel"].isna(),
        "unique_and_novel": is_ok & is_unique & is_novel,
    }


def _of_stable(table: "pandas.DataFrame", is_stable: "pandas.Series") -> dict[str, "pandas.Series"]:
    is_novel = is_true(table["is_novel"])
    # one that could not be compared may be a copy
    is_first = first_of_each(table, is_stable) & table["is_unique"].notna()
    return {
        "stable": is_stable,
        "unique": is_stable & is_first,
        "novel": is_stable & is_novel,
        "sun": is_stable & is_first & is_novel,
    }


def _rows(
    convention: str, unaries: str, figures: dict[str, "pandas.Series"], n: int
) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for figure, holds in figures.items():
        rate = Rate(int(holds.sum()), n)
        low, high = rate.interval
        named = {"convention": convention, "unaries": unaries, "figure": figure}
        rows.append(
            named | {"count": rate.count, "n": n, "rate": rate.value, "low": low, "high": high}
        )
    return rows


@dataclass(frozen=True)
class Cost:
    """Seconds for one crystal that counts; infinite where none does.

    Args:
        seconds: time per request over the rate of those that count.
        interval: from the rate's interval alone; the time is taken as exact.
    """

    seconds: float
    interval: tuple[float, float]


def cost(seconds_per_sample: float, rate: Rate) -> Cost:
    """Price of one crystal that counts: time per request over their rate.

    Args:
        seconds_per_sample: wall time of N requests over N, seconds.
        rate: of the crystals that count, such as the stable ones.

    Raises:
        ValueError: a time that is not positive and finite.

    Source: Table 2; book, method-cost.
    """
    if not 0 < seconds_per_sample < math.inf:
        raise ValueError(f"seconds per sample must be positive, got {seconds_per_sample}")
    low, high = rate.interval
    dearest = math.inf if low == 0 else seconds_per_sample / low
    here = math.inf if rate.count == 0 else seconds_per_sample / rate.value
    return Cost(here, (seconds_per_sample / high, dearest))


def costs(seconds_per_sample: Mapping[str, float], rate: Rate) -> dict[str, Cost]:
    """Price by stage, such as generation, rebuild and relaxation, and their "total".

    Args:
        seconds_per_sample: stage -> seconds per request. The paper's cost is the generation's.
        rate: of the crystals that count.
    """
    total = sum(seconds_per_sample.values())
    by_stage = {stage: cost(seconds, rate) for stage, seconds in seconds_per_sample.items()}
    return by_stage | {"total": cost(total, rate)}
