"""The table of all crystals of a screening, as data that the page's script shows and sorts."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.symmetry import symmetry_tables

if TYPE_CHECKING:
    import pandas

# column of the table -> heading and decimals; those that a table lacks are left out
ENERGIES = {
    "e_above_hull": ("E above hull / (eV/atom)", 3),
    "e_above_hull_unfitted": ("the same, nothing fitted", 3),
    "second_e_above_hull": ("the same, second judge", 3),
    "formation_energy_per_atom": ("formation energy / (eV/atom)", 3),
    "band_gap": ("band gap / eV", 2),
}
Column = dict[str, Any]


def crystal_rows(table: "pandas.DataFrame", files: Mapping[int, str]) -> dict[str, Any]:
    """Columns and rows of the table; where a crystal was relaxed, the relaxed one counts.

    Args:
        table: of the screening.
        files: path of the CIF of every relaxed crystal by its index.

    Returns:
        JSON types: `columns` with name, kind and decimals, and `rows` with a value for each column
        (null where it is unknown) and the path of the CIF, or null, at the end.
    """
    is_relaxed = "relax_status" in table
    columns: list[Column] = [
        {"name": "no.", "kind": "number", "decimals": 0},
        {"name": "formula", "kind": "formula"},
        {"name": "space group", "kind": "group"},
        {"name": "atoms", "kind": "number", "decimals": 0},
    ]
    shown = {name: how for name, how in ENERGIES.items() if name in table}
    columns += [
        {"name": label, "kind": "number", "decimals": decimals}
        for label, decimals in shown.values()
    ]
    columns += [{"name": name, "kind": "text"} for name in ("status", "new", "copy of")]
    has_names = bool((table["name"].astype(str) != table["index"].astype(str)).any())
    columns += [{"name": "name", "kind": "text"}] if has_names else []
    rows = []
    for row in table.to_dict(orient="records"):
        at = is_relaxed and _known(row["relax_status"]) is not None
        before = "relaxed_" if at else ""
        status = row["relax_status"] if at else row["status"]
        group = _known(row["relaxed_group"] if at else row["found_group"])
        rows.append(
            [
                row["index"],
                row["formula"],
                None if group is None else int(group),
                _known(row.get("n_atoms")),
                *(_rounded(row[name], decimals) for name, (_, decimals) in shown.items()),
                f"{status}{', not relaxed' if is_relaxed and not at else ''}".replace("_", " "),
                _answer(row[f"{before}is_novel"]),
                _copied(row, before),
                *([str(row["name"])] if has_names else []),
                files.get(row["index"]),
            ]
        )
    symbols = symmetry_tables().hermann_mauguin
    groups = sorted({row[2] for row in rows} - {None})
    return {
        "columns": columns,
        "symbols": {number: str(symbols[number - 1]) for number in groups},
        "rows": rows,
    }


def decomposition(text: Any) -> list[dict[str, str]]:
    """The phases that a crystal decomposes into, by the column `decomposition` of a table.

    Args:
        text: "mp-149 0.600 DFT; mp-66 0.400 CHGNet 0.3.0": name, share of the atoms, and who says
            the energy; anything else than text for a crystal of which it is not known.

    Returns:
        Name, share and source of each phase.
    """
    if not isinstance(text, str):
        return []
    parts = (re.fullmatch(r"(.+?) (\d\.\d+)(?: (.+))?", part) for part in text.split("; "))
    return [{"name": part[1], "share": part[2], "source": part[3] or ""} for part in parts if part]


def _known(value: Any) -> Any:
    """The value as a JSON type, None where it is missing."""
    if value is None or value != value or str(value) == "<NA>":
        return None
    return value.item() if hasattr(value, "item") else value


def _rounded(value: Any, decimals: int) -> float | None:
    known = _known(value)
    return None if known is None else round(float(known), decimals + 1)


def _answer(value: Any) -> str | None:
    known = _known(value)
    return None if known is None else ("yes" if known else "no")


def _copied(row: Mapping[str, Any], before: str) -> str | None:
    """The number of the crystal that it is a copy of."""
    first = _known(row[f"{before}duplicate_of"])
    return None if first is None or int(first) == row["index"] else f"no. {int(first)}"
