"""Stable, unique, new: a table of judged crystals under every convention, side by side."""

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
class EnergyRange:
    """Energies above the hull from one limit to another, eV/atom.

    Args:
        highest: the upper limit.
        above: energies must exceed this one.
        includes_highest: whether the upper limit belongs to the range.
    """

    highest: float
    above: float = -math.inf
    includes_highest: bool = True

    def holds(self, energies: "pandas.Series") -> "pandas.Series":
        """Whether each energy lies in the range; NaN never does."""
        below = energies <= self.highest if self.includes_highest else energies < self.highest
        return below & (energies > self.above)


@dataclass(frozen=True)
class Convention:
    """What somebody calls stable and metastable.

    Args:
        name: of the convention.
        stable: energies above the hull of a stable crystal.
        metastable: those of a metastable one; None where the convention has no such word.
        column: of the table, that has the energies above the hull that it looks at.
        references: what the formation energies count from.
    """

    name: str
    stable: EnergyRange
    metastable: EnergyRange | None = None
    column: str = "e_above_hull"
    references: str = "elements fitted to DFT formation energies"


# Limits are their authors'; relaxation, hull and matcher are ours. Source: book, method-stability.
CONVENTIONS = (
    Convention("ours", EnergyRange(0.0), EnergyRange(0.1)),
    Convention(
        "paper_rule",
        EnergyRange(0.0),
        EnergyRange(0.1),
        column="e_above_hull_unfitted",
        references="energies of the elements in the Materials Project, nothing fitted",
    ),
    Convention("mattergen", EnergyRange(0.1, includes_highest=False)),
    Convention("lemat", EnergyRange(0.0), EnergyRange(0.1, above=0.0)),
)
BOTH = "both"  # as `ours`, and a second judge says stable too


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
            `e_above_hull`: eV/atom after relaxation, NaN where it is unknown; likewise the
            columns of other conventions, see `left_out` for what happens without them;
            `is_unique`: first of its duplicate class among all; missing where it could not be
            compared, and then it is never counted as unique;
            `duplicate_of`: row label of the first of the class, its own for that one; missing
            where there is no other;
            `is_novel`: matches no crystal of the training data, missing where nobody looked;
            `is_converged`: the relaxation ended by itself (counted, not required);
            `n_elements`: distinct elements;
            `second_status`, `second_e_above_hull`: of a second judge, missing where it was not
            asked; without these columns nothing is counted for "both".

    Returns:
        One row for each `convention` and `figure` with `count`, `n`, `rate`, `low`, `high`: the
        rate is a share of n requests, `low` and `high` are its Wilson interval. Figures of a
        convention: `stable`; `unique` and `novel` among the stable; `sun`, all three; and where
        it has the word, `metastable` and `msun`, the same of the metastable crystals. A crystal
        is unique if it is the first of its class among those that are stable (for `msun`,
        metastable). Figures of "both": see `_by_both`. Of all rows, convention "any": `failed`,
        `unknown` (no failure, and yet no energy above the hull), `unconverged`, `unary`,
        `unique`, `novel`, `novelty_unknown`, `unique_and_novel`.

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
    rows = _rows("any", _of_all(table))
    without_energies = left_out(table)
    for convention in CONVENTIONS:
        if convention.name not in without_energies:
            rows += _rows(convention.name, figures_of(table, convention))
    if "second_status" in table:
        rows += _rows(BOTH, _by_both(table))
    return pd.DataFrame(rows)


def left_out(table: "pandas.DataFrame") -> dict[str, str]:
    """Conventions that cannot be counted for a table, and why: it lacks their energies.

    Args:
        table: as for `stability_rates`.

    Returns:
        Name of the convention -> reason. Ours always counts.
    """
    found = {}
    for name, column in ((one.name, one.column) for one in CONVENTIONS):
        if column not in table:
            found[name] = f"the table has no column {column}"
        elif column != "e_above_hull" and table[column].isna().all():
            found[name] = f"no crystal has a value of {column}"
    return found


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


def figures_of(table: "pandas.DataFrame", convention: Convention) -> dict[str, "pandas.Series"]:
    """Which rows each figure of a convention counts, see `stability_rates`."""
    is_ok, energies = table["status"] == "ok", table[convention.column].astype(float)
    is_novel = is_true(table["is_novel"])
    # one that could not be compared may be a copy
    is_compared = table["is_unique"].notna()
    is_stable = is_ok & convention.stable.holds(energies)
    is_unique = first_of_each(table, is_stable) & is_compared
    figures = {
        "stable": is_stable,
        "unique": is_unique,
        "novel": is_stable & is_novel,
        "sun": is_unique & is_novel,
    }
    if convention.metastable is not None:
        is_metastable = is_ok & convention.metastable.holds(energies)
        is_unique = first_of_each(table, is_metastable) & is_compared
        figures |= {"metastable": is_metastable, "msun": is_unique & is_novel}
    return figures


def _by_both(table: "pandas.DataFrame") -> dict[str, "pandas.Series"]:
    """Crystals that are `stable` and `sun` by our convention and stable by a second judge too.

    A share needs a choice of crystals that does not depend on the answer. So the denominator are
    the requests from the first one on, up to where the second judge was not asked; for `sun` all
    requests, if it was asked about all crystals that are S.U.N. by the first judge.
    """
    ours = figures_of(table, CONVENTIONS[0])
    says_stable = table["second_e_above_hull"].astype(float) <= CONVENTIONS[0].stable.highest
    says_stable &= (table["second_status"] == "ok").fillna(False).astype(bool)
    # nobody needs to ask about a crystal that has no relaxed structure
    is_asked = table["second_status"].notna() | (table["status"] != "ok")
    n_first = int(is_asked.cumprod().sum())
    n_sun = len(table) if is_asked[ours["sun"]].all() else n_first
    return {
        "stable": (ours["stable"] & says_stable)[:n_first],
        "sun": (ours["sun"] & says_stable)[:n_sun],
    }


def _rows(convention: str, figures: dict[str, "pandas.Series"]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for figure, holds in figures.items():
        if not len(holds):
            continue
        rate = Rate(int(holds.sum()), len(holds))
        low, high = rate.interval
        named: dict[str, object] = {"convention": convention, "figure": figure}
        counted = {"count": rate.count, "n": rate.n, "rate": rate.value, "low": low, "high": high}
        rows.append({**named, **counted})
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
