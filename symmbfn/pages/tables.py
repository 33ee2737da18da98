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
    "ours": ("Ours", "stable E ≤ 0, metastable E ≤ 0.1"),
    "paper_rule": ("The paper's rule", "stable E ≤ 0, metastable E ≤ 0.1"),
    "mattergen": ("As MatterGen", "stable E < 0.1"),
    "lemat": ("As LeMat-GenBench", "stable E ≤ 0, metastable 0 < E ≤ 0.1"),
    "both": ("Both judges", "stable E ≤ 0 by each"),
}
FIGURES = ("stable", "sun", "metastable", "msun")
STRICTER = {
    "known_system": "the hull has a phase of exactly these elements",
    "compounds": "pure elements never count",
    "novel_anywhere": "new against every split of the reference",
}
CONTROLS = {
    "real": "Real crystals of a test split, own entry of the hull left out",
    "shuffled": "Real crystals with shuffled elements",
    "random": "Random coordinates, real compositions",
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
    "relaxed": ("Sent to relaxation", ""),
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
    """A rate of a report's table of conventions."""
    return next(
        rate_of_row(row)
        for row in report["stability"]
        if (row["convention"], row["figure"]) == (convention, figure)
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


def conventions(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A line for each convention, then stricter versions of ours.

    Args:
        report: content of `report.json`.

    Returns:
        Label, rule, references and judge (None where they are those of ours), and the rates that
        `FIGURES` names; None where the convention has no such word.
    """
    by_name = _by_convention(report["stability"])
    lines = [
        {
            "label": label,
            "rule": rule,
            "references": by_name[name][0]["references"],
            "judge": by_name[name][0]["judge"],
            "rates": _figures(by_name[name]),
        }
        for name, (label, rule) in CONVENTIONS.items()
        if name in by_name
    ]
    for name, rule in STRICTER.items():
        rows = _by_convention(report["stricter"][name])["ours"]
        lines.append(
            {"label": "Ours, stricter", "rule": rule, "references": None, "rates": _figures(rows)}
        )
    return lines


def _by_convention(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["convention"], []).append(row)
    return found


def _figures(rows: Sequence[Mapping[str, Any]]) -> list[Rate | None]:
    found = {row["figure"]: rate_of_row(row) for row in rows}
    return [found.get(figure) for figure in FIGURES]


def controls(
    report: Mapping[str, Any], claims: Sequence[Mapping[str, Any]]
) -> tuple[list[tuple[str, list[Rate | None]]], str]:
    """Rates of this screening, of real crystals and of nonsense, by our convention.

    Args:
        report: content of `report.json`.
        claims: recorded figures, of which those named control.NAME.FIGURE.ours count, if their
            versions name the same hull and the same judge.

    Returns:
        Label and the rates that `FIGURES` names of each line; and why a control is not shown.
    """
    ours = _figures(_by_convention(report["stability"])["ours"])
    lines: list[tuple[str, list[Rate | None]]] = [("This screening", ours)]
    by_name = {claim["name"]: claim for claim in claims}
    other: set[str] = set()
    for name, label in CONTROLS.items():
        found = [by_name.get(f"control.{name}.{figure}.ours") for figure in FIGURES]
        basis = {_basis(claim) for claim in found if claim}
        if basis == {(report["hull"], report["judge"])}:
            lines.append((label, [None if claim is None else _rate_of(claim) for claim in found]))
        else:
            other |= {str(hull) for hull, _ in basis}
    if len(lines) == 1 + len(CONTROLS):
        return lines, ""
    if other:
        return lines, f"Controls were judged by another hull or judge ({', '.join(sorted(other))})."
    return lines, "No controls are recorded for this hull and judge."


def _basis(claim: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return claim["versions"].get("hull"), claim["versions"].get("judge")


def _rate_of(claim: Mapping[str, Any]) -> Rate:
    """A claim in percent as a rate."""
    share, n = claim["value"] / 100, claim["n"]
    bounds = [bound / 100 for bound in claim["interval"]]
    return {"count": round(share * n), "n": n, "share": share, "interval": bounds}


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
