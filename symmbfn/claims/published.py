"""What the paper prints: Tables 1, 2 and 3 digit by digit, under which protocol, and its errata."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

FILE = "published.json"


@dataclass(frozen=True)
class PublishedRow:
    """One line of a table.

    Attributes:
        dataset: "perov_5", "mp_20", "mpts_52", or "mp_20_sg10" for ten space groups of MP-20;
            empty where the table has a column for each.
        method: its name; in Table 3 "symmbfn", "full_cell" and "circular", as in our claims.
        steps: of the sampler; None where there are none.
        printed: column -> digits as printed, so that it is known what was rounded away.
    """

    dataset: str
    method: str
    steps: int | None
    printed: dict[str, str]

    def value(self, column: str) -> float | None:
        """The number in a column; None where the paper prints none."""
        return float(self.printed[column]) if column in self.printed else None


@dataclass(frozen=True)
class PublishedTable:
    """A table of the paper.

    Attributes:
        title: what it is about, in our words.
        units: column -> unit.
        protocol: what the numbers are -> how they came about, and what is not stated.
        rows: in the paper's order.
    """

    title: str
    units: dict[str, str]
    protocol: dict[str, str]
    rows: tuple[PublishedRow, ...]

    def of(self, dataset: str) -> dict[str, PublishedRow]:
        """Rows of a dataset by method."""
        return {row.method: row for row in self.rows if row.dataset == dataset}


@dataclass(frozen=True)
class Erratum:
    """What is wrong in the printed paper, or does not fit together.

    Attributes:
        where: equation, section, or table and column.
        printed: what stands there.
        correct: what it has to be, or what it implies.
    """

    where: str
    printed: str
    correct: str


def published_table(number: int) -> PublishedTable:
    """Table 1 (distances and rates), 2 (seconds) or 3 (representations).

    Raises:
        ValueError: another table.

    Source: Table 1; Table 2; Table 3.
    """
    tables = _content()["tables"]
    if str(number) not in tables:
        raise ValueError(f"table must be one of {', '.join(tables)}, got {number!r}")
    found = tables[str(number)]
    rows = []
    for dataset, method, steps, *cells in found["rows"]:
        printed = dict(zip(found["units"], cells, strict=True))
        there = {column: digits for column, digits in printed.items() if digits is not None}
        rows.append(PublishedRow(dataset or "", method, steps, there))
    return PublishedTable(found["title"], found["units"], found["protocol"], tuple(rows))


def published_ratio(name: str) -> tuple[float, str]:
    """A ratio that the paper's text states, and in which words.

    Args:
        name: "circular_over_full_cell", "full_cell_over_symmbfn" or "stable_cost".

    Raises:
        ValueError: another name.
    """
    ratios = _content()["text"]
    if name not in ratios:
        raise ValueError(f"ratio must be one of {', '.join(ratios)}, got {name!r}")
    return float(ratios[name]["printed"]), ratios[name]["says"]


@dataclass(frozen=True)
class PublishedDuel:
    """What another method publishes of requests for single space groups.

    Attributes:
        method, source, protocol: whose, where, and how it was counted.
        n: requests of each group.
        rows: space group number -> how many crystals have the right group; how many of these are
            stable, unique and novel besides.
    """

    method: str
    source: str
    protocol: str
    n: int
    rows: dict[int, tuple[int, int]]


def published_duel() -> PublishedDuel:
    """Requests for single space groups by PLaID++.

    Source: Xu et al. 2025 (PLaID++).
    """
    found = _content()["duel"]
    rows = {group: (right, sun) for group, right, sun in found["rows"]}
    return PublishedDuel(found["method"], found["source"], found["protocol"], found["n"], rows)


def published_hyperparameters() -> dict[str, tuple[str, str]]:
    """Setting -> value as stated, and where; what is not here the paper leaves open.

    They are the same for all datasets; the number of epochs without improvement, which is said to
    differ, is not stated. Source: book, method-left-open.
    """
    return {name: (value, where) for name, (value, where) in _content()["hyperparameters"].items()}


def errata() -> tuple[Erratum, ...]:
    """What is wrong in the printed formulas and tables. Source: book, method-errata."""
    return tuple(Erratum(**entry) for entry in _content()["errata"])


@cache
def _content() -> dict[str, Any]:
    return json.loads((files("symmbfn.claims") / FILE).read_text())
