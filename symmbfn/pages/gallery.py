"""The gallery of a run: a sheet of pictures, and a page with its crystals in 3-D."""

import json
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
from symmbfn.figures.plots import balls, rounded
from symmbfn.generation.batch_files import CIFS
from symmbfn.generation.run_outputs import SUMMARY
from symmbfn.generation.writers import cif_name
from symmbfn.pages.contact_sheet import COLUMNS, ROWS, contact_sheet
from symmbfn.pages.rendering import render_page
from symmbfn.runtime.files import whole_file, write_whole

SHEET, PAGE = "gallery.png", "gallery.html"
MOST_ON_PAGE = 500


def write_gallery(folder: str | Path) -> None:
    """Write the page of a finished run and, of a row of crystals or more, the sheet.

    What is there is left. For fewer crystals the library that draws the sheet takes longer to
    load than they take to generate, and the page shows them all.

    Args:
        folder: of the run; its first crystals with a valid structure are shown, in the order of
            their numbers.
    """
    folder = Path(folder)
    summary = json.loads((folder / SUMMARY).read_text())
    names = (SHEET, PAGE) if summary["n"] >= COLUMNS else (PAGE,)
    missing = [name for name in names if not (folder / name).is_file()]
    if not missing:
        return
    valid = (crystal for crystal in read_crystals(folder) if crystal.status == "ok")
    crystals = list(islice(valid, MOST_ON_PAGE))
    if SHEET in missing:
        sheet = contact_sheet(crystals[: COLUMNS * ROWS], counts_said(summary))
        with whole_file(folder / SHEET) as part:
            sheet.savefig(part, format="png", dpi=110)
    if PAGE in missing:
        write_whole(folder / PAGE, gallery_page(crystals, summary))


def gallery_page(crystals: list[Crystal], summary: dict[str, Any]) -> str:
    """Make the page: self-contained HTML with one viewer for all crystals.

    Args:
        crystals: with a valid structure.
        summary: of the run.
    """
    numbers = {int(number) for crystal in crystals for number in crystal.atomic_numbers}
    return render_page(
        "gallery.html",
        n_valid=summary["rates"]["ok"]["count"],
        n_shown=len(crystals),
        counts=counts_said(summary),
        gradients=svg_gradients(numbers),
        data={
            "contact": CONTACT_RATIO,
            "edge": EDGE_COLOUR,
            "balls": balls(np.array(sorted(numbers), dtype=np.int64)),
            "crystals": [_facts(crystal) for crystal in crystals],
        },
    )


def counts_said(summary: dict[str, Any]) -> str:
    """How many crystals of a run have a valid structure, and what became of the others."""
    statuses = summary["statuses"]
    others = [f"{count} {name}" for name, count in statuses.items() if name != "ok"]
    text = f"{statuses.get('ok', 0)} of {summary['n']} crystals have a valid structure"
    return f"{text} ({', '.join(others).replace('_', ' ')})" if others else text


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


def _symbol(space_group_number: int) -> str:
    return str(symmetry_tables().hermann_mauguin[space_group_number - 1])
