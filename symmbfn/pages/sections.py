"""What each section of a screening's page shows: rows of tables, charts and counts."""

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from symmbfn._shapes import Int
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.crystals.symmetry_search import SYMPREC
from symmbfn.evaluation.energies.stability import is_true
from symmbfn.evaluation.observables import NO_GROUP, Observables
from symmbfn.evaluation.summary import METASTABLE, relaxed_rows
from symmbfn.figures.embedded import Picture
from symmbfn.figures.periodic_table import element_map
from symmbfn.figures.plots import crystal_view
from symmbfn.pages import tables
from symmbfn.pages.charts import (
    distance_dots,
    element_counts,
    group_strip,
    histogram,
    hull_energies,
    memorisation,
    powder_pattern,
)
from symmbfn.pages.crystal_rows import decomposition
from symmbfn.screening.shortlist import FOLDER, LIST, MOST, conventional, shortlist

if TYPE_CHECKING:
    import pandas

MOST_SHOWN = 12  # a browser keeps about 16 views in 3-D alive
VIEW_HEIGHT, VIEW_ZOOM = 250, 1.9  # pixels; factor on the size that 3Dmol.js chooses

Content = dict[str, Any]


def generated(report: Mapping[str, Any], table: "pandas.DataFrame") -> Content:
    """Rates of the crystals before any relaxation, and how far they are from known ones."""
    relaxed = relaxed_rows(table) if "stability" in report else None
    found = {"as generated": tables.matches(table, "")}
    nearest = table["nearest_train"].astype(float).to_numpy()
    nearest_relaxed = None
    if relaxed is not None:
        found["relaxed"] = tables.matches(relaxed, "relaxed_")
        nearest_relaxed = relaxed["relaxed_nearest_train"].astype(float).to_numpy()
    curve = memorisation(nearest, nearest_relaxed)
    caption = (
        "How far the nearest training crystal of the same formula is: largest difference of the "
        f"average minimum distances, no threshold. {curve.caption}"
    )
    return {
        "rates": tables.rates(report["rates"]),
        "nearest": Picture(curve.svg, caption),
        "matches": found,
        "match_names": list(dict.fromkeys(name for counts in found.values() for name in counts)),
    }


def stability(
    report: Mapping[str, Any], table: "pandas.DataFrame", claims: Sequence[Mapping[str, Any]]
) -> Content:
    """Energies above the hull, rates under every convention, and the price of a stable crystal."""
    lines, missing = tables.controls(report, claims)
    return {
        "energies": hull_energies(relaxed_rows(table)),
        "of_all_relaxed": tables.of_all_relaxed(report["stability"]),
        "conventions": tables.conventions(report),
        "left_out": {tables.CONVENTIONS[name][0]: why for name, why in report["left_out"].items()},
        "controls": lines,
        "missing_controls": missing,
        "costs": tables.costs(report["costs"]),
    }


def candidates(table: "pandas.DataFrame", relaxed: Mapping[int, Cell]) -> Content:
    """The first crystals of the shortlist in 3-D, with their powder patterns."""
    chosen = shortlist(table)
    has_both = "is_stable_by_both" in chosen
    if has_both:  # what is missing is no yes
        chosen = chosen.assign(is_stable_by_both=is_true(chosen["is_stable_by_both"]))
    shown = [_candidate(row, relaxed[row["index"]]) for _, row in chosen[:MOST_SHOWN].iterrows()]
    return {
        "shown": shown,
        "n": len(chosen),
        "has_both": has_both,
        "most": MOST,
        "limit": METASTABLE,
        "list": LIST,
        "folder": FOLDER,
    }


def _candidate(row: "pandas.Series", relaxed: Cell) -> Content:
    """One relaxed crystal: its facts, a view and its powder pattern."""
    cell = conventional(relaxed)
    name = f"{cell.formula}, {len(cell)} atoms in the cell"
    view = crystal_view(cell, height=VIEW_HEIGHT, zoom=VIEW_ZOOM, name=name)
    return {
        "index": row["index"],
        "formula": cell.formula,
        "space_group_number": int(row["relaxed_group"]),
        "e_above_hull": row["e_above_hull"],
        "e_above_hull_unfitted": _finite(row.get("e_above_hull_unfitted")),
        "second_e_above_hull": _finite(row.get("second_e_above_hull")),
        "is_stable_by_both": row.get("is_stable_by_both"),
        "phases": decomposition(row.get("decomposition")),
        "knows_system": bool(row["knows_system"]),
        "density": cell.density,
        "n_atoms": len(cell),
        "band_gap": _finite(row.get("band_gap")),
        "view": Markup(view.forms["text/html"]),
        "pattern": powder_pattern(cell),
    }


def _finite(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else value


def real_crystals(
    report: Mapping[str, Any], table: "pandas.DataFrame", reference: Observables
) -> Content | None:
    """The generated crystals, unrelaxed, beside real ones; None if none has a structure."""
    built = table[np.isfinite(table["density"].astype(float))]
    if built.empty:
        return None
    numbers = built["found_group"].fillna(NO_GROUP).astype(int).to_numpy()
    real_numbers = reference.space_group_number
    groups = tables.groups(numbers, real_numbers)
    assert reference.volume_per_atom is not None
    content: Content = {
        "distances": [],
        "coverage": tables.coverage(report["coverage"]) if "coverage" in report else [],
        "elements": _elements(built["formula"], reference),
        "symprec": SYMPREC,
        "n": len(built),
        "n_real": len(reference),
        "groups": groups,
        "highest_share": max(max(row["generated"], row["real"]) for row in groups),
        "group_strip": group_strip(numbers, real_numbers),
        "density": histogram(_column(built, "density"), reference.density, "density", "(g/cm³)"),
        "volume_per_atom": histogram(
            _column(built, "volume_per_atom"), reference.volume_per_atom, "volume per atom", "Å³"
        ),
        "n_elements": element_counts(
            built["n_elements"].to_numpy(dtype=np.int64), reference.n_elements
        ),
    }
    if "distances" in report:
        content["distances"] = tables.distances(report["distances"])
        content["distance_dots"] = distance_dots(report["distances"])
    return content


def provenance(report: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Where the crystals and the numbers come from: headings, with names and values."""
    reference = report["reference"]
    screening = {
        "source": report["source"],
        "reference": f"{reference['name']}, split {reference['split']}",
        "hull": report["hull"],
        "judge": report["judge"],
        "second judge": report["second_judge"],
        "seed of draws": report["seed"],
        "settings": report["settings"],
    }
    facts = report["source_facts"]
    source = {name: value for name, value in facts.items() if name != "rebuilding_seconds"}
    cards = {
        "This screening": screening,
        "What the source says of itself": source,
        "Versions": report["versions"],
    }
    return [(heading, tables.facts(values)) for heading, values in cards.items() if values]


def _column(rows: "pandas.DataFrame", name: str) -> np.ndarray:
    return rows[name].to_numpy(dtype=float)


def _elements(formulas: "pandas.Series", reference: Observables) -> Picture:
    """The periodic table of generated and real crystals."""
    assert reference.element_shares is not None
    real = (reference.element_shares > 0).sum(axis=0)
    chart = element_map(_holding(formulas), len(formulas), real, len(reference))
    caption = (
        f"Share of the {len(formulas):,} generated crystals that hold an element, in %. Coloured "
        f"where it differs from that of the {len(reference):,} real ones by more than chance at "
        "95 %, grey where it does not, empty where neither has it. Of a hundred elements with "
        "equal shares five would be coloured by chance."
    )
    return Picture(chart, caption)


def _holding(formulas: "pandas.Series") -> Int[np.ndarray, "Z"]:
    """How many crystals hold each element, by atomic number."""
    counts = np.zeros(len(SYMBOLS), dtype=np.int64)
    for formula in formulas:
        counts[[element_number(symbol) for symbol in set(re.findall("[A-Z][a-z]?", formula))]] += 1
    return counts
