"""Crystals of a run to look at: a sheet of pictures, and a page in which they turn."""

import json
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from symmbfn.crystals.contacts import CONTACT_RATIO
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.records import read_crystals
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.figures.crystal import EDGE_COLOUR, posed, svg, svg_gradients
from symmbfn.figures.plots import (
    balls,
    draw_crystal,
    formula_mathtext,
    rounded,
    space_group_mathtext,
)
from symmbfn.generation.batch_files import CIFS
from symmbfn.generation.run_outputs import SUMMARY
from symmbfn.generation.writers import cif_name
from symmbfn.runtime.files import whole_file, write_whole

SHEET, PAGE = "gallery.png", "gallery.html"
COLUMNS, ROWS = 5, 4
MOST_ON_PAGE = 500


def write_gallery(folder: str | Path) -> None:
    """Write the sheet and the page of a finished run, where they are missing.

    Args:
        folder: of the run; its first valid crystals are shown, in the order of the requests.
    """
    folder = Path(folder)
    if all((folder / name).is_file() for name in (SHEET, PAGE)):
        return
    summary = json.loads((folder / SUMMARY).read_text())
    valid = (crystal for crystal in read_crystals(folder) if crystal.status == "ok")
    crystals = list(islice(valid, MOST_ON_PAGE))
    if not (folder / SHEET).is_file():
        sheet = contact_sheet(crystals[: COLUMNS * ROWS], _counts(summary))
        with whole_file(folder / SHEET) as part:
            sheet.savefig(part, format="png", dpi=110)
    if not (folder / PAGE).is_file():
        write_whole(folder / PAGE, gallery_page(crystals, summary))


def contact_sheet(crystals: list[Crystal], subtitle: str = "") -> Any:
    """Draw the cells of crystals with formula, space group and elements.

    Args:
        crystals: valid ones, at most 20 look well.
        subtitle: a line under the title.

    Returns:
        A matplotlib Figure.
    """
    from matplotlib.figure import Figure

    n_rows = max(1, -(-len(crystals) // COLUMNS))
    height = 2.72 * n_rows + 0.75
    figure = Figure(figsize=(2.3 * COLUMNS + 0.5, height), facecolor="white")
    figure.set_layout_engine("none")  # whatever the style in use says: every place is given
    top = 1 - 0.28 / height
    title = "New crystals" if crystals else "No valid crystal"
    figure.text(0.022, top, title, size=16, weight="bold", va="center", color="#1d2430")
    figure.text(0.978, top, subtitle, size=9.5, va="center", ha="right", color="#667085")
    for place, crystal in enumerate(crystals):
        row, column = divmod(place, COLUMNS)
        left = (0.25 + 2.3 * column + 0.15) / (2.3 * COLUMNS + 0.5)
        bottom = 1 - (0.6 + 2.72 * row + 2.0) / height
        box = (left, bottom, 2.0 / (2.3 * COLUMNS + 0.5), 2.0 / height)
        draw_crystal(figure.add_axes(box), crystal)
        captions = figure.add_axes((box[0], bottom - 0.62 / height, box[2], 0.6 / height))
        captions.set(xlim=(-1, 1), ylim=(0, 0.6))
        captions.axis("off")
        _caption(captions, crystal)
    return figure


def gallery_page(crystals: list[Crystal], summary: dict[str, Any]) -> str:
    """Make the page: self-contained HTML with one viewer for all crystals.

    Args:
        crystals: valid ones.
        summary: of the run.
    """
    n_valid = summary["rates"]["ok"]["count"]
    numbers = {int(number) for crystal in crystals for number in crystal.atomic_numbers}
    shown = f"; the first {len(crystals)} are shown" if len(crystals) < n_valid else ""
    data = {
        "title": f"{n_valid} new crystals",
        "subtitle": f"{_counts(summary)}{shown}. Drag to turn, scroll to zoom.",
        "contact": CONTACT_RATIO,
        "edge": EDGE_COLOUR,
        "balls": balls(np.array(sorted(numbers), dtype=np.int64)),
        "crystals": [_facts(crystal) for crystal in crystals],
    }
    text = json.dumps(data, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    page = static_text("gallery.html")
    # the data last: it is the only part that could hold one of the other marks
    for mark, content in (
        ("STYLE", static_text("page.css")),
        ("GRADIENTS", svg_gradients(numbers)),
        ("VIEWER", static_text("3Dmol-min.js")),
    ):
        page = page.replace(mark, content, 1)
    return page.replace("const run = DATA;", f"const run = {text};", 1)


def static_text(name: str) -> str:
    """A file that pages are made of; a script comes as it can stand inside a script element."""
    text = (files("symmbfn.pages") / "static" / name).read_text(encoding="utf-8")
    return text.replace("</script", "<\\/script") if name.endswith(".js") else text


def _facts(crystal: Crystal) -> dict[str, Any]:
    """What the page needs of one crystal; the keys are short because there are many."""
    assert crystal.unit is not None
    group, found = crystal.space_group_number, crystal.found_space_group_number
    lattice = posed(crystal)[2]
    symbols = [SYMBOLS[number] for number in crystal.atomic_numbers.tolist()]
    coords = np.round(crystal.fractional_coords, 5).tolist()
    names = [
        f"{multiplicity}{letter}"
        for multiplicity, letter in zip(np.bincount(crystal.orbit), crystal.letters, strict=True)
    ]
    elements = [SYMBOLS[number] for number in crystal.unit.atomic_numbers.tolist()]
    sites = np.round(crystal.unit.fractional_coords, 5) + 0.0
    return {
        "i": crystal.index,
        "f": crystal.formula,
        "g": group,
        "sg": _symbol(group),
        "found": found,
        "foundsg": _symbol(found) if found else "",
        "rho": round(crystal.density, 4),
        "v": round(crystal.volume, 3),
        "n": len(crystal),
        "d": round(crystal.minimum_distance, 4),
        "q": round(crystal.contact_ratio, 4),
        "cell": np.round(crystal.lattice_parameters, 5).tolist(),
        "m": rounded(lattice),
        "atoms": [[symbol, *row] for symbol, row in zip(symbols, coords, strict=True)],
        "sites": [
            [element, name, *row]
            for element, name, row in zip(elements, names, sites.tolist(), strict=True)
        ],
        "cif": f"{CIFS}/{cif_name(crystal.index, crystal.formula, group)}",
        "svg": svg(crystal, 150),
    }


def _caption(axes: Any, crystal: Crystal) -> None:
    """Formula, space group, and a dot for each element."""
    number = crystal.space_group_number
    formula = formula_mathtext(crystal.formula)
    size = min(11.0, 11.0 * 16 / max(1, len(crystal.formula)))
    axes.text(0, 0.5, formula, ha="center", va="center", size=size, weight="bold", color="#1d2430")
    group = f"{space_group_mathtext(number)} ({number})"
    axes.text(0, 0.28, group, ha="center", va="center", size=9, color="#475067")
    shades = balls(crystal.atomic_numbers)
    step = min(0.42, 1.9 / len(shades))
    for place, (symbol, (colour, _)) in enumerate(shades.items()):
        x = step * (place - (len(shades) - 1) / 2)
        axes.plot(x - 0.07, 0.08, "o", color=colour, mec="#333", mew=0.5, ms=6)
        axes.text(x, 0.08, symbol, ha="left", va="center", size=8, color="#475067")


def _counts(summary: dict[str, Any]) -> str:
    """One line for people: how many of how many, and what the others were."""
    n, statuses = summary["n"], summary["statuses"]
    others = [f"{count} {name}" for name, count in statuses.items() if name != "ok"]
    text = f"{statuses.get('ok', 0)} of {n} requests are valid"
    return f"{text} ({', '.join(others).replace('_', ' ')})" if others else text


def _symbol(space_group_number: int) -> str:
    return str(symmetry_tables().hermann_mauguin[space_group_number - 1])
