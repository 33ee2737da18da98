"""Recorded comparisons as text and numbers for a chapter: ablations, published rows, steps.

What was not measured keeps its place and says so.
"""

import math
import re
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from symmbfn._shapes import Float
from symmbfn.claims.published import published_table
from symmbfn.claims.store import claims

# what each kind of variant is held against
BASES = {"ablation": "base", "representation": "as_sites", "sampler": "preset"}
ALL = "all"
# end of a claim's note where the variant lost and is no longer in the code
TAKEN_OUT = "Its code was taken out since; the command runs at this commit."
AGAINST = re.compile(r"; against ([a-z0-9_]+)\.")
ABSENT = "not yet"
WIDTH, COLUMN = 75, 10
NAMES, LONG_NAMES, CELL = 18, 21, 17

Entry = dict[str, Any]


def ablations(kind: str = "ablation") -> dict[str, dict[str, Entry]]:
    """Claims `<kind>.<variant>.<metric>` by variant and metric, the base first.

    Args:
        kind: "ablation" for variants of the model, "representation" for small models of other
            forms of a crystal, "sampler" for changes to the sampler.
    """
    found: dict[str, dict[str, Entry]] = {}
    for entry in claims(f"{kind}.*.*"):
        _, variant, metric = entry["name"].split(".", 2)
        if variant != ALL:
            found.setdefault(variant, {})[metric] = entry
    return dict(sorted(found.items(), key=lambda item: (item[0] != BASES[kind], item[0])))


def changes_text(
    metrics: Mapping[str, str],
    groups: Mapping[str, Sequence[str]],
    kind: str = "ablation",
) -> str:
    """The table of ablations: a line each variant, by how much it differs from its other.

    The first line has the values of what they are compared with. Behind a change stands half of
    its 95 % interval, and a star where it differs with 95 % confidence of all variants together.

    Args:
        metrics: heading -> metric, in the order of the columns, at most three.
        groups: heading -> variants; those in no group follow under "others".
        kind: see `ablations`.
    """
    found, base = ablations(kind), BASES[kind]
    if not found:
        return "not measured yet"
    heads = "".join(f"{heading:>{CELL}}" for heading in metrics)
    lines = [f"{'':<{NAMES}}{'seeds':>5}{heads}"]
    named = {name for names in groups.values() for name in names} | {base}
    others = {"others": [name for name in found if name not in named]}
    for group, names in {"": [base], **groups, **others}.items():
        rows = {name: found[name] for name in names if name in found}
        lines += [group] if group and rows else []
        for name, row in rows.items():
            cells = [
                _number(row.get(metric)) if name == base else _change(row, metric)
                for metric in metrics.values()
            ]
            head = f"{' ' if group else ''}{name}"
            lines += [head] if len(head) > NAMES else []
            head = "" if len(head) > NAMES else head
            texts = "".join(f"{cell:>{CELL}}" for cell in cells)
            lines.append(f"{head:<{NAMES}}{_n_seeds(row):>5}{texts}".rstrip())
    return "\n".join(lines)


def values_text(metrics: Mapping[str, str], kind: str = "ablation") -> str:
    """Values of variants with both ends of their intervals, a line each variant that has some.

    Args:
        metrics: heading -> metric, in the order of the columns, at most three.
        kind: see `ablations`.
    """
    found = ablations(kind)
    rows = [n for n, row in found.items() if not row.keys().isdisjoint(metrics.values())]
    wide = (WIDTH - LONG_NAMES) // len(metrics)
    lines = [f"{'':<{LONG_NAMES}}" + "".join(f"{heading:>{wide}}" for heading in metrics)]
    for name in rows:
        row = found[name]
        cells = [_with_ends(row.get(metric)) for metric in metrics.values()]
        lines.append(f"{name:<{LONG_NAMES}}" + "".join(f"{cell:>{wide}}" for cell in cells))
    return "\n".join(lines) if found else "not measured yet"


def not_run_text() -> str:
    """Which variants of the model were not run, or with one seed only."""
    notes = [entry["note"] for entry in claims(f"ablation.{ALL}.complete")]
    return "\n".join(textwrap.fill(note, WIDTH) for note in notes)


def taken_out_text() -> str:
    """Which variants of the model are no longer in the code, and the commit that has them."""
    by_commit: dict[str, list[str]] = {}
    for variant, row in ablations().items():
        entry = row["expected"]
        if TAKEN_OUT in entry["note"]:
            by_commit.setdefault(entry["commit"], []).append(variant)
    lines = (f"Code at {commit}: {', '.join(names)}." for commit, names in by_commit.items())
    return "\n".join(textwrap.fill(line, WIDTH) for line in lines)


def predictions_text(kind: str = "ablation") -> str:
    """What was expected of each variant before its run, and what was found of just that.

    Args:
        kind: see `ablations`.
    """
    parts = []
    for variant, row in ablations(kind).items():
        about, _, facts = row["expected"]["note"].partition(". ")
        found_against = AGAINST.search(facts)
        against = found_against[1] if found_against else variant
        after = []
        for metric in about.removeprefix("About ").split(", "):
            entry = row.get(f"change.{metric}", row.get(metric))
            if entry is not None:
                figure = _number(entry) if entry is row.get(metric) else _change(row, metric)
                after.append(f"{metric} {figure} {entry['unit']}".strip())
        title = variant if variant == against else f"{variant}, against {against}"
        parts += [title, _wrapped("expected", row["expected"]["value"])]
        parts.append(_wrapped("found", "; ".join(after) or "nothing that compares"))
    return "\n".join(parts) or "not measured yet"


def _n_seeds(row: Mapping[str, Entry]) -> int:
    """How many seeds a variant was run with."""
    seeds = row["contacts"]["seed"]
    return len(seeds) if isinstance(seeds, list) else 1


def _number(entry: Entry | None) -> str:
    return "-" if entry is None else f"{entry['value']:.4g}"


def _change(row: Mapping[str, Entry], metric: str) -> str:
    """A difference with half of its interval; starred where it is one beyond doubt."""
    if (entry := row.get(f"change.{metric}")) is None:
        return "-"
    is_sure = metric in row["differs"]["value"].split(", ")
    return _with_half(entry, "+") + ("*" if is_sure else "")


def _with_half(entry: Entry | None, sign: str = "") -> str:
    """A value with half of its interval, to two digits of that."""
    if entry is None or not entry["interval"]:
        return _number(entry)
    low, high = entry["interval"]
    half = (high - low) / 2
    digits = max(0, 1 - math.floor(math.log10(half))) if half else 0
    return f"{entry['value']:{sign}.{digits}f} ±{half:.{digits}f}"


def beside_published(
    number: int,
    dataset: str,
    ours: Mapping[str, Mapping[str, str]],
) -> str:
    """A table of the paper with rows of ours below its own, in its columns and units.

    Args:
        number: of the table.
        dataset: whose rows; "" for Table 3.
        ours: label, of at most 19 characters -> column -> name of a claim.

    Raises:
        ValueError: another table, or a column that it has not.
    """
    table = published_table(number)
    if unknown := {column for row in ours.values() for column in row} - {*table.units}:
        raise ValueError(f"table {number} has columns {[*table.units]}, not {sorted(unknown)}")
    recorded = {entry["name"]: entry for entry in claims("*")}
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


def steps_series(metric: str) -> Float[np.ndarray, "S 4"]:
    """Claims `paper_steps.<steps>.<metric>` in order of the steps.

    Args:
        metric: such as "contacts".

    Returns:
        Steps, value, and both ends of the interval (the value where there is none), shape (S, 4).
    """
    rows = []
    for entry in claims(f"paper_steps.*.{metric}"):
        steps = entry["name"].split(".")[-2]
        ends = entry["interval"] or (entry["value"], entry["value"])
        rows.append((float(steps), float(entry["value"]), *map(float, ends)))
    return np.array(sorted(rows)).reshape(-1, 4)


def before_and_after(figures: Sequence[str]) -> str:
    """Claims `default.<when>.<figure>` of the weights before, and of those that ship.

    The sampler of those before had no clearance; the others are shown without and with it. Behind
    a value stands half of its interval.

    Args:
        figures: such as "validity_structural" or "val.d_rho".
    """
    columns = {"before": "before", "no_clearance": "no clearance", "after": "after"}
    recorded = {entry["name"]: entry for entry in claims("default.*")}
    lines = [f"{'':<{LONG_NAMES}}" + "".join(f"{head:>{CELL}}" for head in columns.values())]
    for figure in figures:
        cells = [_with_half(recorded.get(f"default.{when}.{figure}")) for when in columns]
        lines.append(f"{figure:<{LONG_NAMES}}" + "".join(f"{cell:>{CELL}}" for cell in cells))
    return "\n".join(lines)


def _with_ends(entry: Entry | None) -> str:
    ends = entry["interval"] if entry else None
    return _number(entry) + (f" ({ends[0]:.3g}, {ends[1]:.3g})" if ends else "")


def _wrapped(head: str, text: str) -> str:
    return textwrap.fill(
        text, WIDTH, initial_indent=f"  {head + ':':<10}", subsequent_indent=" " * 12
    )
