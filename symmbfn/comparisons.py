"""Recorded comparisons as text and numbers for a chapter: ablations, published rows, steps.

What was not measured keeps its place and says so.
"""

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from symmbfn._shapes import Float
from symmbfn.published import published_table
from symmbfn.results import RESULTS, claims

BASE, PREDICTION = "base", "prediction"
ABSENT = "not yet"
WIDTH, COLUMN = 75, 10

Entry = dict[str, Any]


def ablations(folder: Path = RESULTS) -> dict[str, dict[str, Entry]]:
    """Claims `ablation.<variant>.<metric>` by variant and metric, the base first.

    A variant that was predicted and not run has its `prediction` alone.

    Args:
        folder: the repository's `results/`.
    """
    found: dict[str, dict[str, Entry]] = {}
    for entry in claims("ablation.*.*", folder):
        _, variant, metric = entry["name"].split(".", 2)
        found.setdefault(variant, {})[metric] = entry
    return dict(sorted(found.items(), key=lambda item: (item[0] != BASE, item[0])))


def ablations_text(metrics: Mapping[str, str], folder: Path = RESULTS) -> str:
    """The table of ablations: a line each variant, values with their intervals' half widths.

    Args:
        metrics: heading, of at most 13 characters -> metric, in the order of the columns.
        folder: the repository's `results/`.
    """
    found = ablations(folder)
    if not found:
        return "not measured yet"
    lines = [f"{'':<21}" + "".join(f"{heading:>13}" for heading in metrics)]
    is_run = {variant: set(metrics.values()) & set(row) for variant, row in found.items()}
    for variant in sorted(found, key=lambda name: not is_run[name]):
        cells = [_with_error(found[variant].get(metric)) for metric in metrics.values()]
        row = "".join(f"{cell:>13}" for cell in cells) if is_run[variant] else "   not run"
        lines.append(f"{variant:<21}{row}")
    return "\n".join(lines)


def predictions_text(metrics: Mapping[str, str], folder: Path = RESULTS) -> str:
    """What was expected of each variant before its run, and how far it lies from the base.

    Args:
        metrics: word -> metric; a difference is told where the two intervals are apart.
        folder: the repository's `results/`.
    """
    found = ablations(folder)
    base = found.get(BASE, {})
    parts = []
    for variant, row in found.items():
        if variant == BASE:
            continue
        said = row[PREDICTION]["value"] if PREDICTION in row else "no prediction"
        parts += [
            variant,
            _wrapped("before", said),
            _wrapped("after", _outcome(row, base, metrics)),
        ]
    return "\n".join(parts) or "not measured yet"


def _outcome(row: dict[str, Entry], base: dict[str, Entry], metrics: Mapping[str, str]) -> str:
    """Differences from the base that are larger than the intervals, in words."""
    told, n_compared = [], 0
    for word, metric in metrics.items():
        if metric not in row or metric not in base:
            continue
        n_compared += 1
        if is_apart(row[metric], base[metric]):
            change = row[metric]["value"] - base[metric]["value"]
            told.append(f"{word} {change:+.3g} {row[metric]['unit']}".strip())
    if not n_compared:
        return "not run"
    return ", ".join(told) or "no difference beyond the intervals"


def is_apart(one: Entry, other: Entry) -> bool:
    """Whether two figures' intervals have nothing in common; without intervals they are apart."""
    if not (one["interval"] and other["interval"]):
        return one["value"] != other["value"]
    return one["interval"][0] > other["interval"][1] or one["interval"][1] < other["interval"][0]


def beside_published(
    number: int,
    dataset: str,
    ours: Mapping[str, Mapping[str, str]],
    folder: Path = RESULTS,
) -> str:
    """A table of the paper with rows of ours below its own, in its columns and units.

    Args:
        number: of the table.
        dataset: whose rows; "" for Table 3.
        ours: label, of at most 19 characters -> column -> name of a claim.
        folder: the repository's `results/`.

    Raises:
        ValueError: another table, or a column that it has not.
    """
    table = published_table(number)
    if unknown := {column for row in ours.values() for column in row} - {*table.units}:
        raise ValueError(f"table {number} has columns {[*table.units]}, not {sorted(unknown)}")
    recorded = {entry["name"]: entry for entry in claims("*", folder)}
    rows: list[tuple[str, str, list[str]]] = [
        ("", "steps", [*table.units]),
        ("", "", [*table.units.values()]),
    ]
    for row in table.of(dataset).values():
        cells = [row.printed.get(column, "-") for column in table.units]
        rows.append((row.method, str(row.steps or "-"), cells))
    for label, names in ours.items():
        cells = [_cell(recorded, names.get(column)) for column in table.units]
        rows.append((label, "", cells))
    lines = (
        f"{label:<20}{steps:>5}" + "".join(f"{cell:>{COLUMN}}" for cell in cells)
        for label, steps, cells in rows
    )
    return "\n".join(line.rstrip() for line in lines)


def _cell(recorded: Mapping[str, Entry], name: str | None) -> str:
    if name is None:
        return "-"
    return f"{recorded[name]['value']:.4g}" if name in recorded else ABSENT


def steps_series(metric: str, folder: Path = RESULTS) -> Float[np.ndarray, "S 4"]:
    """Claims `paper_steps.<steps>.<metric>` in order of the steps.

    Args:
        metric: such as "contacts".
        folder: the repository's `results/`.

    Returns:
        Steps, value, and both ends of the interval (the value where there is none), shape (S, 4).
    """
    rows = []
    for entry in claims(f"paper_steps.*.{metric}", folder):
        steps = entry["name"].split(".")[-2]
        ends = entry["interval"] or (entry["value"], entry["value"])
        rows.append((float(steps), float(entry["value"]), *map(float, ends)))
    return np.array(sorted(rows)).reshape(-1, 4)


def before_and_after(folder: Path = RESULTS) -> str:
    """Claims `default.before.<figure>` beside `default.after.<figure>`, with their intervals."""
    found = {
        when: {
            entry["name"].removeprefix(f"default.{when}."): entry
            for entry in claims(f"default.{when}.*", folder)
        }
        for when in ("before", "after")
    }
    figures = [*dict.fromkeys([*found["before"], *found["after"]])]
    if not figures:
        return "not measured yet"
    lines = [f"{'':<31}{'before':<22}{'after':<22}"]
    for figure in figures:
        cells = [_with_ends(found[when].get(figure)) for when in ("before", "after")]
        lines.append(f"{figure:<31}{cells[0]:<22}{cells[1]:<22}")
    return "\n".join(line.rstrip() for line in lines)


def _with_ends(entry: Entry | None) -> str:
    if entry is None:
        return ABSENT
    ends = entry["interval"]
    interval = f" ({ends[0]:.3g} to {ends[1]:.3g})" if ends else ""
    return f"{entry['value']:.4g}{interval}"


def _with_error(entry: Entry | None) -> str:
    if entry is None:
        return "-"
    if not entry["interval"]:
        return f"{entry['value']:.4g}"
    low, high = entry["interval"]
    return f"{entry['value']:.4g} ±{(high - low) / 2:.2g}"


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=f"  {head + ':':<8}", subsequent_indent=" " * 10
    )
