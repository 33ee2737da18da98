"""Rows of the tables of a screening's page: labels and values, which templates lay out."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn._shapes import Int
from symmbfn.evaluation.distributions import group_shares
from symmbfn.pages.charts import DISTANCES, UNITS

if TYPE_CHECKING:
    import pandas

MOST_GROUPS = 30
CONVENTIONS = {
    "paper": ("Paper", "E ≤ 0"),
    "metastable": ("Metastable", "E ≤ 0.1"),
    "mattergen": ("As MatterGen", "E < 0.1"),
    "lemat_sun": ("As LeMat, SUN", "E ≤ 0"),
    "lemat_msun": ("As LeMat, MSUN", "0 < E ≤ 0.1"),
}
STRICTER = {
    "known_system": "the hull has a phase of exactly these elements",
    "novel_anywhere": "new against every split of the reference",
}
RATES = {
    "ok": "Built without a failure",
    "structurally_valid": "Valid structure: atoms apart, a real volume",
    "compositionally_valid": "Valid composition: charges can balance (SMACT)",
    "valid": "Valid: structure and composition",
    "no_short_contact": "No contact below 0.7 of the radii",
    "unique": "Unique: first of its kind",
    "novel": "Novel: not in the training split",
    "novel_anywhere": "Novel: in no split of the reference",
    "unique_and_novel": "Unique and novel",
    "group_kept": "Space group as asked (0.1 Å)",
    "group_kept_default": "Space group as asked (0.01 Å, pymatgen's default)",
    "group_kept_sharp": "Space group as asked (0.001 Å)",
    "not_compared": "Could not be compared",
}
STEPS = {
    "requested": ("Requested", ""),
    "valid": ("Valid", "structure and composition"),
    "unique": ("Unique", "first of its kind"),
    "novel": ("Novel", "not in the training split"),
    "metastable": ("Metastable", "at most 0.1 eV/atom above the hull"),
    "stable": ("Stable", "on or below the hull"),
}
OF_ALL_RELAXED = {
    "failed": "Failed before or in the relaxation",
    "unknown": "System unknown to the hull",
    "unconverged": "Not converged, and kept",
    "unary": "Pure elements",
    "unique": "Unique after relaxation",
    "novel": "Novel after relaxation",
    "novelty_unknown": "Novelty unknown",
    "unique_and_novel": "Unique and novel",
}

Rate = dict[str, Any]  # share, count, n, interval


def rate_of_row(row: Mapping[str, Any]) -> Rate:
    """A row of `stability` in the form in which a report has its other rates."""
    counts = {name: row[name] for name in ("count", "n")}
    return counts | {"share": row["rate"], "interval": [row["low"], row["high"]]}


def rate_of_convention(report: Mapping[str, Any], convention: str, figure: str) -> Rate:
    """A rate of a report's table of conventions, pure elements kept."""
    wanted = (convention, "kept", figure)
    return next(
        rate_of_row(row)
        for row in report["stability"]
        if (row["convention"], row["unaries"], row["figure"]) == wanted
    )


def funnel(steps: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Name, meaning and count of each step of a report's funnel."""
    labels = (STEPS[step["name"]] for step in steps)
    return [
        {"name": name, "meaning": meaning, "count": step["count"]}
        for step, (name, meaning) in zip(steps, labels, strict=True)
    ]


def rates(found: Mapping[str, Rate]) -> list[tuple[str, Rate]]:
    """Label of every rate of the crystals as they were generated; ours first, in our order."""
    names = [*(name for name in RATES if name in found), *(found.keys() - RATES.keys())]
    return [(RATES.get(name, name.replace("_", " ")), found[name]) for name in names]


def matches(rows: "pandas.DataFrame", prefix: str) -> dict[str, int]:
    """Crystals by the split of the reference that they match; the counts add up to the rows.

    Args:
        rows: of a screening's table.
        prefix: of its columns: "relaxed_" for the relaxed crystals, else empty.
    """
    split, is_first = rows[f"{prefix}known_split"], rows[f"{prefix}is_first"]
    is_new = split.isna() & rows[f"{prefix}is_novel_anywhere"].eq(True).fillna(False)
    found = {f"in {name}": int(count) for name, count in split.value_counts().items()} | {
        "in no split, first of its kind": int((is_new & is_first.eq(True).fillna(False)).sum()),
        "in no split, a copy of another": int((is_new & is_first.eq(False).fillna(False)).sum()),
    }
    return found | {"not compared": len(rows) - sum(found.values())}


def conventions(
    rows: Sequence[Mapping[str, Any]], stricter: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[tuple[str, str, list[Rate | None]]]:
    """Stable, unique, novel and S.U.N. under every convention, with and without elements.

    Args:
        rows: "stability" of a report.
        stricter: "stricter" of a report.

    Returns:
        Label, rule and four rates of each line; None where a rate is not counted.
    """
    found = {(row["convention"], row["unaries"], row["figure"]): rate_of_row(row) for row in rows}
    lines: list[tuple[str, str, list[Rate | None]]] = []
    for name, (label, rule) in CONVENTIONS.items():
        for unaries in ("kept", "left out"):
            figures = ("stable", "unique", "novel", "sun")
            rule_said = f"{rule}; pure elements {unaries}"
            lines.append((label, rule_said, [found[name, unaries, figure] for figure in figures]))
    for name, rule in STRICTER.items():
        strict = {(row["convention"], row["figure"]): rate_of_row(row) for row in stricter[name]}
        for convention in ("paper", "metastable"):
            ends = [strict[convention, figure] for figure in ("stable", "sun")]
            label = f"{CONVENTIONS[convention][0]}, stricter"
            lines.append((label, rule, [ends[0], None, None, ends[1]]))
    return lines


def of_all_relaxed(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, Rate]]:
    """The rates on which all conventions agree; `rows` as in `conventions`."""
    found = {row["figure"]: rate_of_row(row) for row in rows if row["convention"] == "any"}
    return [(label, found[name]) for name, label in OF_ALL_RELAXED.items()]


def costs(found: Mapping[str, Any]) -> list[tuple[str, float, list[Mapping[str, Any]]]]:
    """Stage, seconds per request, and prices of a stable and of an S.U.N. crystal; a sum last.

    Args:
        found: "costs" of a report.
    """
    per_sample = dict(found["seconds_per_sample"])
    if not per_sample:
        return []
    per_sample["total"] = sum(per_sample.values())
    return [
        (stage, seconds, [found[figure][stage] for figure in ("stable", "sun")])
        for stage, seconds in per_sample.items()
    ]


def distances(found: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """What each distance is of, its unit, and its row of a report."""
    return [
        (DISTANCES[name], UNITS.get(row["unit"], row["unit"]), row) for name, row in found.items()
    ]


def coverage(found: Mapping[str, Any]) -> list[tuple[str, int, list[int]]]:
    """Label, number of crystals, and how many are near: as published, and to one crystal."""
    sides = (
        ("recalled", "Recall: real ones near a generated one", found["n_reference"]),
        ("precise", "Precision: generated ones near a real one", found["n_generated"]),
    )
    return [
        (label, n, [found[f"n_{name}"], found[f"n_{name}_jointly"]]) for name, label, n in sides
    ]


def groups(generated: Int[np.ndarray, "n"], real: Int[np.ndarray, "m"]) -> list[dict[str, Any]]:
    """Shares of the most frequent space groups, generated and real.

    Args:
        generated: space group numbers, shape (n,).
        real: the same, shape (m,).
    """
    ours, theirs = group_shares(generated), group_shares(real)
    order = np.argsort(-(ours + theirs), kind="stable")[:MOST_GROUPS]
    return [
        {"number": row + 1, "generated": float(ours[row]), "real": float(theirs[row])}
        for row in order.tolist()
        if ours[row] + theirs[row] > 0
    ]


def facts(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    """Names and values, those within a value of several as "outer.inner"; None is left out."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from facts(value, f"{before}{name}.")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            text = f"{text:.10g}" if isinstance(text, float) else text  # 0.3, not 0.1 + 0.2
            yield f"{before}{name}".replace("_", " "), text
