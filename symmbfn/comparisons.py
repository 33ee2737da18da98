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

BASES = {"ablation": "base", "sampler": "preset"}  # what each kind of variant is held against
ALL = "all"
ABSENT = "not yet"
WIDTH, COLUMN = 75, 10
NAMES, CELL = 19, 14

Entry = dict[str, Any]


def ablations(folder: Path = RESULTS, kind: str = "ablation") -> dict[str, dict[str, Entry]]:
    """Claims `<kind>.<variant>.<metric>` by variant and metric, the base first.

    Args:
        folder: the repository's `results/`.
        kind: "ablation" for variants of the model, "sampler" for those of the sampler.
    """
    found: dict[str, dict[str, Entry]] = {}
    for entry in claims(f"{kind}.*.*", folder):
        _, variant, metric = entry["name"].split(".", 2)
        if variant != ALL:
            found.setdefault(variant, {})[metric] = entry
    return dict(sorted(found.items(), key=lambda item: (item[0] != BASES[kind], item[0])))


def ablations_text(
    metrics: Mapping[str, str], folder: Path = RESULTS, kind: str = "ablation"
) -> str:
    """The table of ablations: a line each variant, values with their intervals' half widths.

    Variants of which none of the metrics was measured are left out.

    Args:
        metrics: heading -> metric, in the order of the columns, at most four.
        folder, kind: see `ablations`.
    """
    found = ablations(folder, kind)
    if not found:
        return "not measured yet"
    lines = [f"{'':<{NAMES}}" + "".join(f"{heading:>{CELL}}" for heading in metrics)]
    for variant, row in found.items():
        if row.keys().isdisjoint(metrics.values()):
            continue
        cells = "".join(f"{_with_error(row.get(metric)):>{CELL}}" for metric in metrics.values())
        lines += [variant] if len(variant) > NAMES else []
        lines.append(f"{'' if len(variant) > NAMES else variant:<{NAMES}}{cells}")
    return "\n".join(lines)


def not_run_text(folder: Path = RESULTS) -> str:
    """Which variants of the model were not run, or with one seed only."""
    notes = [entry["note"] for entry in claims(f"ablation.{ALL}.complete", folder)]
    return "\n".join(textwrap.fill(note, WIDTH) for note in notes)


def predictions_text(
    metrics: Mapping[str, str], folder: Path = RESULTS, kind: str = "ablation"
) -> str:
    """What was expected of each variant before its run, and what came of it.

    Args:
        metrics: word -> metric; what is told of them beside the recorded outcome is a difference
            from the variant that it is compared with, where both intervals are apart.
        folder, kind: see `ablations`.
    """
    found, base = ablations(folder, kind), BASES[kind]
    parts = []
    for variant, row in found.items():
        about = next(iter(row.values()))["note"]
        facts, _, prediction = about.partition("Prediction: ")
        against = facts.rpartition("against ")[2].rstrip(". ") or base
        after = _changes(row, found.get(against, {}), metrics)
        if "outcome" in row:
            after.insert(0, row["outcome"]["value"])
        title = variant if variant == base else f"{variant}, against {against}"
        parts += [title, _wrapped("before", prediction)]
        parts += [] if variant == base else [_wrapped("after", "; ".join(after) or "no difference")]
    return "\n".join(parts) or "not measured yet"


def _changes(
    row: dict[str, Entry], other: dict[str, Entry], metrics: Mapping[str, str]
) -> list[str]:
    """Differences that are larger than the intervals, in words."""
    return [
        f"{word} {row[metric]['value'] - other[metric]['value']:+.3g} {row[metric]['unit']}".strip()
        for word, metric in metrics.items()
        if metric in row and metric in other and is_apart(row[metric], other[metric])
    ]


def is_apart(one: Entry, other: Entry) -> bool:
    """Whether two figures' intervals have nothing in common; one run has none, and is not."""
    if not (one["interval"] and other["interval"]):
        return False
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
