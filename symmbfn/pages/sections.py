"""Sections of a screening's page, each a grid of figures and tables with what they count."""

import re
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.evaluation.observables import NO_GROUP, Observables
from symmbfn.evaluation.summary import METASTABLE, relaxed_rows
from symmbfn.figures.embedded import Picture
from symmbfn.figures.periodic_table import element_map
from symmbfn.figures.plots import crystal_view
from symmbfn.pages import tables
from symmbfn.pages.figures import (
    distance_dots,
    element_counts,
    group_strip,
    histogram,
    hull_energies,
    memorisation,
    powder_pattern,
)
from symmbfn.pages.tables import formula_html, percent, space_group_html
from symmbfn.screening.shortlist import FOLDER, LIST, MOST, shortlist

if TYPE_CHECKING:
    import pandas

MOST_SHOWN = 12  # a browser keeps about 16 views in 3-D alive
VIEW_HEIGHT, VIEW_ZOOM = 250, 1.9  # pixels; and over what 3Dmol takes for a fit


def share_of(rate: Mapping[str, Any]) -> str:
    """Count and share of a rate: "12 (3.4 %)"."""
    return f"{rate['count']:,} ({percent(rate['share'], rate['n'])})"


def card(content: str, *, heading: str = "", note: str = "", kind: str = "") -> str:
    """A white box; what is too wide for a narrow screen scrolls in it."""
    top = f"<h3>{heading}</h3>" if heading else ""
    end = f'<p class="note">{note}</p>' if note else ""
    return f'<div class="card {kind}">{top}<div class="scroll">{content}</div>{end}</div>'


def _picture(heading: str, picture: Picture, *, kind: str = "") -> str:
    caption = f"<figcaption>{escape(picture.caption)}</figcaption>"
    return f'<figure class="card {kind}"><h3>{heading}</h3>{picture.svg}{caption}</figure>'


def funnel(report: Mapping[str, Any]) -> str:
    """How many are left after each question, and what became of the others."""
    steps, n = report["funnel"], report["n"]
    counted = steps[0]["count"]
    which = f"All {n:,} requests" if counted == n else f"The first {counted:,} of {n:,} requests"
    relaxed = "stability" in report
    note = f"{which}; each bar counts those that pass its question and all above it. " + (
        "Unique and novel are asked of the relaxed structures."
        if relaxed
        else "No crystal was relaxed: the funnel ends before stability."
    )
    cards = card(tables.funnel(steps), note=note, kind="wide")
    cards += card(
        tables.statuses(report["statuses"], n),
        heading="What became of each request",
        note="A failure is a row with its reason; none is dropped.",
    )
    if relaxed:
        found = report["relaxation"]["statuses"]
        cards += card(
            tables.statuses(found, report["n_relaxed"]),
            heading="What became of each relaxation",
            note="A request that failed before brings its status along.",
        )
    return f'<div class="grid">{cards}</div>'


def generated(report: Mapping[str, Any], table: "pandas.DataFrame") -> str:
    """Rates of the crystals before any relaxation, and how new they are."""
    relaxed = relaxed_rows(table) if "stability" in report else None
    distances = [
        rows[name].astype(float).to_numpy()
        for rows, name in ((table, "nearest_train"), (relaxed, "relaxed_nearest_train"))
        if rows is not None
    ]
    curve = memorisation(distances[0], distances[1] if relaxed is not None else None)
    curve = Picture(
        curve.svg,
        "How far the nearest training crystal of the same formula is: largest difference of the "
        f"average minimum distances, no threshold. {curve.caption}",
    )
    rates = card(
        tables.rates(report["rates"]),
        heading="Rates, as shares of all requests",
        note="The bar is the rate, the fine line its Wilson interval.",
        kind="wide",
    )
    columns = {"as generated": _matches(table)}
    if relaxed is not None:
        columns["relaxed"] = _matches(relaxed, "relaxed_")
    known = card(
        tables.matched(columns),
        heading="What the matcher found",
        note="pymatgen's StructureMatcher within a formula. A crystal that matches several splits "
        "is counted with the first.",
    )
    return f'<div class="grid">{rates}{_picture("New, or remembered?", curve)}{known}</div>'


def _matches(rows: "pandas.DataFrame", before: str = "") -> dict[str, int]:
    """Crystals by the split of the reference they match; the counts add up to the rows."""
    split, is_first = rows[f"{before}known_split"], rows[f"{before}is_first"]
    is_new = split.isna() & rows[f"{before}is_novel_anywhere"].eq(True).fillna(False)
    counts = split.value_counts()
    found = {f"in {escape(name)}": int(count) for name, count in counts.items()} | {
        "in no split, first of its kind": int((is_new & is_first.eq(True).fillna(False)).sum()),
        "in no split, a copy of another": int((is_new & is_first.eq(False).fillna(False)).sum()),
    }
    return found | {"not compared": len(rows) - sum(found.values())}


def stability(report: Mapping[str, Any], table: "pandas.DataFrame") -> str:
    """Energies above the hull, every convention, and what a stable crystal costs."""
    relaxation, n = report["relaxation"], report["n_relaxed"]
    kept, converged = relaxation["group_kept"], relaxation["converged"]
    gain = relaxation["median_energy_gain_per_atom"]
    said = {
        "converged": share_of(converged),
        "space group kept": share_of(kept),
        "median steps": _number(relaxation["median_steps"]),
        "median seconds a crystal": _number(relaxation["median_seconds"]),
        "median energy gained": f"{_number(gain)} eV/atom",
    }
    cards = _picture("Energy above the hull", hull_energies(relaxed_rows(table)))
    cards += card(
        tables.of_all_relaxed(report["stability"]) + f"<br>{tables.facts(said)}",
        heading="Of all that went to relaxation",
    )
    cards += card(
        tables.stability(report["stability"], report["stricter"]),
        heading="Stable, unique and new, by every convention",
        note=f"Share of all {n:,} that went to relaxation, failures among them; its Wilson "
        "interval at 95 %; count. E is the energy above the hull in eV/atom. The rules on E are "
        "their authors'; relaxation, hull and matcher are ours, so the last three rules do not "
        "make the numbers comparable with published ones.",
        kind="wide",
    )
    if report["costs"]["seconds_per_sample"]:
        note = (
            "Time per request over the rate, by the paper's convention; intervals come from the "
            "rate alone. Times are those of this machine."
        )
        cards += card(
            tables.costs(report["costs"]), heading="Price of a crystal / s", note=note, kind="wide"
        )
    return f'<div class="grid">{cards}</div>'


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3g}"


def beside(report: Mapping[str, Any], table: "pandas.DataFrame", reference: Observables) -> str:
    """Distances to real crystals, elements, space groups and histograms."""
    built = table[np.isfinite(table["density"].astype(float))]
    if built.empty:
        return card("", heading="Nothing to compare", note="No crystal has a structure.")
    groups = built["found_group"].fillna(NO_GROUP).astype(int).to_numpy()
    assert reference.volume_per_atom is not None and reference.element_shares is not None
    cards = ""
    if "distances" in report:
        found = report["distances"]
        cards += _picture("Distances, over those of real crystals", distance_dots(found))
        cards += card(
            tables.distances(found),
            heading="Distances to real crystals",
            note="± one standard deviation. A generator as good as the data itself would score "
            "what as many real crystals score. Space groups, letters and composition: "
            "Jensen-Shannon distance, at most 0.833; the others: Wasserstein-1.",
        )
    if drawn := report.get("distances_of_1000"):
        cards += card(
            tables.drawn_distances(drawn, report["distances"]),
            heading="The same by draws of 1,000, as in print",
            note="Mean and deviation of draws from those that are valid, from all that have a "
            "structure, and from real crystals of the training data. Fewer crystals lie farther "
            "off: compare with other draws of 1,000 only.",
            kind="wide",
        )
    if covered := report.get("coverage"):
        cards += card(
            tables.coverage(covered),
            heading="Coverage",
            note="Near in the fingerprints of sites and of composition. As published, one crystal "
            "may be near in structure and another in composition.",
            kind="wide",
        )
    real = (reference.element_shares > 0).sum(axis=0)
    chart = element_map(_holding(built["formula"]), len(built), real, len(reference))
    caption = (
        f"Share of the {len(built):,} generated crystals that hold an element, in %. Coloured "
        f"where it differs from that of the {len(reference):,} real ones by more than chance at "
        "95 %, grey where it does not, white where neither has it. Of a hundred elements with "
        "equal shares five would be coloured by chance."
    )
    cards += _picture("Elements", Picture(chart, caption), kind="wide")
    legend = '<i class="key" style="background:#0072b2"></i>generated'
    legend += '<i class="key" style="background:#b8bec8;margin-left:.8rem"></i>real'
    cards += card(
        tables.groups(groups, reference.space_group_number),
        heading=f"Most frequent space groups, share of crystals / % &ensp;<small>{legend}</small>",
        note=f"As found at {SYMPREC} Å; {len(groups):,} generated and {len(reference):,} real "
        "crystals. Where nothing is found it counts as group 1.",
        kind="wide",
    )
    strip = group_strip(groups, reference.space_group_number)
    cards += _picture("All 230 space groups", strip)
    for column, values, quantity, unit in (
        ("density", reference.density, "density", "(g/cm³)"),
        ("volume_per_atom", reference.volume_per_atom, "volume per atom", "Å³"),
    ):
        picture = histogram(built[column].to_numpy(dtype=float), values, quantity, unit)
        cards += _picture(quantity.capitalize(), picture)
    numbers = built["n_elements"].to_numpy(dtype=np.int64)
    cards += _picture("Number of elements", element_counts(numbers, reference.n_elements))
    return f'<div class="grid">{cards}</div>'


def _holding(formulas: "pandas.Series") -> Int[np.ndarray, "Z"]:
    """How many crystals hold each element, by atomic number."""
    counts = np.zeros(len(SYMBOLS), dtype=np.int64)
    for formula in formulas:
        counts[[element_number(symbol) for symbol in set(re.findall("[A-Z][a-z]?", formula))]] += 1
    return counts


def candidates(
    report: Mapping[str, Any], table: "pandas.DataFrame", relaxed: Mapping[int, Cell]
) -> str:
    """The first of the shortlist, to turn, with their powder patterns."""
    chosen = shortlist(table)
    if chosen.empty:
        return f"<p>No relaxed crystal is new and at most {METASTABLE} eV/atom above the hull.</p>"
    shown = chosen.head(MOST_SHOWN)
    text = (
        f"The shortlist holds up to {MOST} relaxed crystals that are new, each once, converged and "
        f"at most {METASTABLE} eV/atom above the hull, lowest first. Of its {len(chosen)} here are "
        f"{len(shown)}. An energy far below 0 says more of what the hull lacks than of the "
        "crystal. Drag to turn. All are in "
        f'<a href="{LIST}">{LIST}</a>, with structures and input files for DFT in '
        f'<a href="{FOLDER}/">{FOLDER}/</a>.'
    )
    cards = "".join(_candidate(row, relaxed[row["index"]]) for _, row in shown.iterrows())
    return f'<p>{text}</p><div class="candidates">{cards}</div>'


def _candidate(row: "pandas.Series", cell: Cell) -> str:
    """One crystal: what it is, how it looks, how it would diffract."""
    cell = _conventional(cell)
    group = int(row["relaxed_group"])
    pattern = powder_pattern(cell)
    name = f"{cell.formula}, {len(cell)} atoms in the cell"
    view = crystal_view(cell, height=VIEW_HEIGHT, zoom=VIEW_ZOOM, name=name)
    energy = f"{row['e_above_hull']:+.3f}".replace("-", "−")
    return (
        f'<article class="card"><h3>{formula_html(cell.formula)}</h3>'
        f"<p>{space_group_html(group)} ({group}); crystal {row['index']}</p>"
        f"<p><b>{energy} eV/atom</b> above the hull</p>"
        f"<p>{cell.density:.2f} g/cm³, {len(cell)} atoms in the cell</p>{_gap(row)}"
        f'<div class="view">{view.forms["text/html"]}</div>'
        f"<figure>{pattern.svg}<figcaption>{escape(pattern.caption)}</figcaption>"
        "</figure></article>"
    )


def _gap(row: "pandas.Series") -> str:
    """The band gap, where a screening predicts one."""
    gap = row.get("band_gap")
    if gap is None or not np.isfinite(gap):
        return ""
    said = f"band gap {gap:.1f} eV" if gap > 0 else "a metal"
    return f"<p>{said}, as predicted</p>"


def _conventional(cell: Cell) -> Cell:
    """The conventional cell, made exact, as the CIFs of the shortlist are."""
    found = search_symmetry(cell, SYMPREC)
    if found is None:
        return cell
    numbers = np.asarray(found.std_types, dtype=np.int64)
    return Cell(np.asarray(found.std_lattice), numbers, np.asarray(found.std_positions))
