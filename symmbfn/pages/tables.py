"""Tables and bars of a screening's page, as HTML: they reflow on a narrow screen."""

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.evaluation.distributions import group_shares
from symmbfn.pages.figures import DISTANCES, UNITS

MOST_GROUPS = 30
FINE = 1000  # n above which a hundredth of a percent means something
CONVENTIONS = {
    "paper": ("Paper", "E ≤ 0"),
    "metastable": ("Metastable", "E ≤ 0.1"),
    "mattergen": ("As MatterGen", "E < 0.1"),
    "lemat_sun": ("As LeMat, SUN", "E ≤ 0"),
    "lemat_msun": ("As LeMat, MSUN", "0 < E ≤ 0.1"),
}
RATES = {
    "ok": "Built without a failure",
    "structurally_valid": "Atoms apart, a real volume",
    "compositionally_valid": "Charges can balance (SMACT)",
    "valid": "Valid: both",
    "no_short_contact": "No contact below 0.7 of the radii",
    "unique": "Unique: first of its kind",
    "novel": "Novel: not in the training split",
    "novel_anywhere": "Novel: in no split of the reference",
    "unique_and_novel": "Unique and novel",
    "group_kept": "Space group as asked (0.1 Å)",
    "group_kept_sharp": "Space group as asked (0.001 Å)",
    "not_compared": "Could not be compared",
}
STEPS = {
    "requested": ("Requested", ""),
    "valid": ("Valid", "geometry and composition"),
    "unique": ("Unique", "first of its kind"),
    "novel": ("Novel", "not in the training split"),
    "metastable": ("Metastable", "at most 0.1 eV/atom above the hull"),
    "stable": ("Stable", "on or below the hull"),
}


def percent(share: float, n: int) -> str:
    """A share of n in percent, with as many decimals as n bears."""
    return f"{100 * share:.{2 if n > FINE else 1}f}\u00a0%"


def interval(low: float, high: float, n: int) -> str:
    """A 95 % interval in percent: "1.2–3.4 %"."""
    return f"{percent(low, n)[:-2]}–{percent(high, n)}"


def formula_html(formula: str) -> str:
    """Write "Al2O3" with subscripts."""
    return re.sub(r"\d+", r"<sub>\g<0></sub>", escape(formula))


def space_group_html(number: int) -> str:
    """Write the symbol of a space group with bars and screw axes as printed."""
    text = str(symmetry_tables().hermann_mauguin[number - 1])
    text = re.sub(r"([A-Za-z])", r"<i>\1</i>", text)
    text = re.sub(r"-(\d)", r'<span class="bar">\1</span>', text)
    text = re.sub(r"_(\d)", r"<sub>\1</sub>", text)
    return f'<span class="symbol">{text}</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], *, kind: str = "") -> str:
    """A table of ready HTML; the first cell of a row is its heading.

    Args:
        head: headings of the columns.
        rows: cells.
        kind: class of the table.
    """
    tops = "".join(f'<th scope="col">{cell}</th>' for cell in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return f'<table class="{kind}"><thead><tr>{tops}</tr></thead><tbody>{body}</tbody></table>'


def meter(share: float, low: float | None = None, high: float | None = None) -> str:
    """A bar from 0 to 1 with its interval as a fine line; the numbers stand beside it."""
    parts = [f'<rect class="full" width="{100 * share:.3f}" height="10"/>']
    if low is not None and high is not None:
        width = 100 * (high - low)
        parts.append(
            f'<rect class="spread" x="{100 * low:.3f}" y="4" width="{width:.3f}" height="2"/>'
        )
    return (
        '<svg class="meter" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect class="rest" width="100" height="10"/>{"".join(parts)}</svg>'
    )


def funnel(steps: Sequence[Mapping[str, Any]]) -> str:
    """Bars of how many crystals are left after each question."""
    n = steps[0]["count"]
    rows = []
    for step in steps:
        name, meaning = STEPS[step["name"]]
        share = step["count"] / n
        rows.append(
            f'<li><span class="name">{name} <small>{meaning}</small></span>{meter(share)}'
            f'<span class="count"><b>{step["count"]:,}</b> {percent(share, n)}</span></li>'
        )
    return f'<ol class="bars">{"".join(rows)}</ol>'


def statuses(counts: Mapping[str, int], n: int) -> str:
    """What became of each request; the counts add up, and the last row says so."""
    rows = [
        (escape(name.replace("_", " ")), f"{count:,}", percent(count / n, n))
        for name, count in counts.items()
    ]
    total = sum(counts.values())
    rows.append(("<b>all requests</b>", f"<b>{total:,}</b>", percent(total / n, n)))
    return table(("status", "crystals", "share"), rows)


def rates(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Every rate of the crystals as they were generated."""
    rows = []
    for name in [*(name for name in RATES if name in found), *(found.keys() - RATES.keys())]:
        rate = found[name]
        low, high = rate["interval"]
        n = rate["n"]
        rows.append(
            (
                RATES.get(name, escape(name.replace("_", " "))),
                meter(rate["share"], low, high),
                f"<b>{percent(rate['share'], n)}</b>",
                interval(low, high, n),
                f"{rate['count']:,} of {n:,}",
            )
        )
    return table(("", "", "share", "95 % interval", "crystals"), rows, kind="rates")


STRICTER = {
    "known_system": "the hull has a phase of exactly these elements",
    "novel_anywhere": "new against every split of the reference",
}


def stability(
    rows: Sequence[Mapping[str, Any]], stricter: Mapping[str, Sequence[Mapping[str, Any]]]
) -> str:
    """Stable, unique, novel and S.U.N. under every convention, with and without elements.

    Args:
        rows: "stability" of a report.
        stricter: "stricter" of a report.
    """
    found = {(row["convention"], row["unaries"], row["figure"]): row for row in rows}
    lines = []
    for name, (label, rule) in CONVENTIONS.items():
        for unaries in ("kept", "left out"):
            cells = [
                _rate_cell(found[name, unaries, figure])
                for figure in ("stable", "unique", "novel", "sun")
            ]
            lines.append((f"{label} <small>{rule}; pure elements {unaries}</small>", *cells))
    for name, rule in STRICTER.items():
        strict = {(row["convention"], row["figure"]): row for row in stricter[name]}
        for convention in ("paper", "metastable"):
            stable, sun = (_rate_cell(strict[convention, figure]) for figure in ("stable", "sun"))
            label = f"{CONVENTIONS[convention][0]}, stricter <small>{rule}</small>"
            lines.append((label, stable, "", "", sun))
    head = ("convention", "stable", "and unique", "and novel", "all three")
    return table(head, lines, kind="conventions")


def of_all_relaxed(rows: Sequence[Mapping[str, Any]]) -> str:
    """The figures that no convention decides."""
    labels = {
        "failed": "Failed before or in the relaxation",
        "unknown": "System unknown to the hull",
        "unconverged": "Not converged, and kept",
        "unary": "Pure elements",
        "unique": "Unique after relaxation",
        "novel": "Novel after relaxation",
        "novelty_unknown": "Novelty unknown",
        "unique_and_novel": "Unique and novel",
    }
    found = {row["figure"]: row for row in rows if row["convention"] == "any"}
    return table(
        ("", "share", "95 % interval", "crystals"),
        [
            (
                label,
                f"<b>{percent(found[name]['rate'], found[name]['n'])}</b>",
                interval(found[name]["low"], found[name]["high"], found[name]["n"]),
                f"{found[name]['count']:,} of {found[name]['n']:,}",
            )
            for name, label in labels.items()
        ],
    )


def matched(columns: Mapping[str, Mapping[str, int]]) -> str:
    """What the matcher found, as generated and relaxed; each column adds up.

    Args:
        columns: heading -> what was found -> crystals.
    """
    names = dict.fromkeys(name for counts in columns.values() for name in counts)
    rows = [(name, *(f"{c.get(name, 0):,}" for c in columns.values())) for name in names]
    totals = (f"<b>{sum(counts.values()):,}</b>" for counts in columns.values())
    return table(("", *columns), [*rows, ("<b>crystals</b>", *totals)])


def _rate_cell(row: Mapping[str, Any]) -> str:
    spread = interval(row["low"], row["high"], row["n"])[:-2]
    share = percent(row["rate"], row["n"])
    return f"<b>{share}</b><small>{spread}</small><small>{row['count']:,}</small>"


def distances(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Distances and floors with their deviations."""
    rows = [
        (
            _of(name, row["unit"]),
            f"<b>{row['value']:.3f}</b> ± {row['deviation']:.3f}",
            f"{row['floor_mean']:.3f} ± {row['floor_sd']:.3f}",
        )
        for name, row in found.items()
    ]
    return table(("distance of", "generated", "as many real ones"), rows)


def drawn_distances(
    drawn: Mapping[str, Mapping[str, Sequence[float]]], found: Mapping[str, Mapping[str, Any]]
) -> str:
    """Mean and deviation of each distance over draws, from the valid and from all.

    Args:
        drawn: "valid" and "all" -> name -> mean and deviation.
        found: distances of a report, for their units.
    """
    rows = [
        (kind, *(f"{mean:.3f} ± {sd:.3f}" for mean, sd in values.values()))
        for kind, values in drawn.items()
    ]
    heads = (_of(name, found[name]["unit"]) for name in next(iter(drawn.values())))
    return table(("", *heads), rows)


def coverage(found: Mapping[str, Any]) -> str:
    """Shares of crystals with one of the other kind near, in structure and in composition."""
    rows = []
    for name, label, n in (
        ("recalled", "Recall: real ones near a generated one", found["n_reference"]),
        ("precise", "Precision: generated ones near a real one", found["n_generated"]),
    ):
        counts = (found[f"n_{name}"], found[f"n_{name}_jointly"])
        rows.append((label, *(f"<b>{percent(k / n, n)}</b> {k:,} of {n:,}" for k in counts)))
    return table(("", "as published", "by one and the same crystal"), rows)


def _of(name: str, unit: str) -> str:
    """What a distance is of, with its unit."""
    unit = UNITS.get(unit, unit)
    return f"{DISTANCES[name]} <small>{unit}</small>" if unit else DISTANCES[name]


def costs(found: Mapping[str, Any]) -> str:
    """Seconds for each stable and each S.U.N. crystal, stage by stage."""
    per_sample = dict(found["seconds_per_sample"])
    per_sample["total"] = sum(per_sample.values())
    rows = []
    for stage, seconds in per_sample.items():
        cells = [_seconds(seconds)]
        for figure in ("stable", "sun"):
            price = found[figure][stage]
            low, high = (_seconds(value) for value in price["interval"])
            cells.append(f"<b>{_seconds(price['seconds'])}</b><small>{low}–{high}</small>")
        rows.append((f"<b>{stage}</b>" if stage == "total" else stage, *cells))
    head = ("seconds of", "per crystal requested", "per stable one", "per S.U.N. one")
    return table(head, rows, kind="costs")


def _seconds(value: float | None) -> str:
    """Three figures; None is what a rate of 0 makes of a price."""
    if value is None:
        return "∞"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def groups(generated: Int[np.ndarray, "n"], real: Int[np.ndarray, "m"]) -> str:
    """The most frequent space groups, generated above real, as bars of one scale."""
    ours, theirs = group_shares(generated), group_shares(real)
    order = np.argsort(-(ours + theirs), kind="stable")[:MOST_GROUPS]
    order = order[(ours + theirs)[order] > 0]
    top = max(ours.max(), theirs.max())
    rows = []
    for row in order.tolist():
        bars = "".join(
            f'<rect class="{kind}" y="{y}" width="{100 * share / top:.3f}" height="8"/>'
            for kind, share, y in (("full", ours[row], 1), ("real", theirs[row], 11))
        )
        rows.append(
            f'<li><span class="name">{space_group_html(row + 1)} <small>{row + 1}</small></span>'
            '<svg class="meter" viewBox="0 0 100 20" preserveAspectRatio="none" aria-hidden="true">'
            f'{bars}</svg><span class="count"><b>{100 * ours[row]:.1f}</b>'
            f"<span>{100 * theirs[row]:.1f}</span></span></li>"
        )
    return f'<ol class="bars groups">{"".join(rows)}</ol>'


def facts(values: Mapping[str, Any]) -> str:
    """Names and values, those within a value of several as "outer.inner"."""
    rows = [
        f"<dt>{escape(name)}</dt><dd>{escape(str(value))}</dd>" for name, value in _flat(values)
    ]
    return f"<dl>{''.join(rows)}</dl>"


def _flat(values: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list | tuple) else value
            yield f"{before}{name}".replace("_", " "), text
