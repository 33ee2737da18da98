"""Is each of the 530 settings of the International Tables read from a CIF, by each of its names?

For every setting a crystal of one atom in general position is filled with spglib's operations.
CIFs of its asymmetric unit name the setting in one way each; what `parse_cif` makes of them is
right when it is the same atoms in the same cell.

Run: python -m scripts.house.settings
"""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import gemmi
import numpy as np
import spglib

from symmbfn.crystals.structure import parse_cif

N_SETTINGS = 530
MONOCLINIC = range(3, 16)
SITE = np.array([0.0760, 0.2950, 0.3481])  # in general position in every setting
CELL = np.array([[9.3, 0, 0], [-1.4, 10.7, 0], [-0.9, 1.3, 12.1]])  # without symmetry
CLOSE = 1e-6  # fractional

Operations = tuple[np.ndarray, np.ndarray]


def standard(entry: gemmi.SpaceGroup) -> bool:
    """Whether the number alone says which setting this is."""
    return entry.is_reference_setting() or entry.ext == "R"


def code(entry: gemmi.SpaceGroup) -> str:
    """The suffix of a setting: "b1", "2", "1cab", "H"; "" where the symbol says all."""
    return entry.ext.strip("\0") + entry.qualifier


def short(entry: gemmi.SpaceGroup) -> str:
    """A monoclinic symbol without the axes that carry nothing, any other as it is."""
    if entry.number not in MONOCLINIC:
        return entry.hm
    return " ".join(word for word in entry.hm.split() if word != "1")


def full(entry: gemmi.SpaceGroup, row: int, suffix: str = "") -> str | None:
    """The full symbol, of which the usual one is an abbreviation: P 21/n 21/m 21/a."""
    if entry.hm in ("C m m b", "C c c b"):
        return None  # C 2/m 2/m 2/e means C m m a
    kind = spglib.get_spacegroup_type(row + 1)
    assert kind is not None
    return named(suffixed(kind.international_full, suffix))


def suffixed(symbol: str, suffix: str) -> str:
    return f"{symbol}:{suffix}" if suffix else symbol


def named(symbol: str) -> str:
    return f"_space_group_name_H-M_alt '{symbol}'"


def numbered(entry: gemmi.SpaceGroup, suffix: str = "") -> str:
    lines = [f"_space_group_IT_number {entry.number}"]
    if suffix:
        lines.append(f"_space_group.IT_coordinate_system_code {suffix}")
    return "\n".join(lines)


def listed(operations: Operations) -> str:
    """Operations as rows of a CIF."""
    rows = ["loop_", "_space_group_symop_operation_xyz"]
    for rotation, translation in zip(*operations, strict=True):
        operation = gemmi.Op()
        operation.rot = (rotation * gemmi.Op.DEN).tolist()
        operation.tran = np.rint(translation * gemmi.Op.DEN).astype(int).tolist()
        rows.append(f"'{operation.triplet()}'")
    return "\n".join(rows)


# what a file says; None where such a name says nothing of this setting
Door = Callable[[gemmi.SpaceGroup, int, Operations], str | None]
DOORS: dict[str, Door] = {
    "operations": lambda entry, row, operations: listed(operations),
    "hall": lambda entry, row, operations: f"_space_group_name_Hall '{entry.hall}'",
    "symbol": lambda entry, row, operations: named(entry.hm),
    "symbol_with_suffix": lambda entry, row, operations: named(suffixed(entry.hm, code(entry))),
    "short_symbol": lambda entry, row, operations: named(short(entry)),
    "short_symbol_with_suffix": lambda entry, row, operations: named(
        suffixed(short(entry), code(entry))
    ),
    "symbol_without_spaces": lambda entry, row, operations: named(
        suffixed(short(entry).replace(" ", ""), code(entry))
    ),
    "full_symbol": lambda entry, row, operations: full(entry, row),
    "full_symbol_with_suffix": lambda entry, row, operations: full(entry, row, code(entry)),
    "number": lambda entry, row, operations: numbered(entry) if standard(entry) else None,
    "number_with_code": lambda entry, row, operations: (
        numbered(entry, code(entry)) if code(entry) or standard(entry) else None
    ),
}


def count_settings(rows: Sequence[int] = range(N_SETTINGS)) -> dict[str, Any]:
    """Read settings by every name.

    Args:
        rows: which of the settings, 0 to 529.

    Returns:
        "doors": for each kind of name how many settings were "right", "refused" or "wrong";
        "settings_right": settings right by their operations and by their Hall symbol, and by
        all other names right or refused; "n": all of them.
    """
    doors = {name: Counter({"right": 0, "refused": 0, "wrong": 0}) for name in DOORS}
    n_right = 0
    entries = list(gemmi.spacegroup_table_itb())
    for row, entry in ((row, entries[row]) for row in rows):
        operations = operations_of(row)
        cell = cell_of(operations[0])
        expected = operations[0] @ SITE + operations[1]
        outcomes = {}
        for name, door in DOORS.items():
            text = door(entry, row, operations)
            if text is not None:
                outcomes[name] = outcome(cif(cell, text), expected)
                doors[name][outcomes[name]] += 1
        is_sure = outcomes["operations"] == outcomes["hall"] == "right"
        n_right += is_sure and "wrong" not in outcomes.values()
    counts = {name: dict(counter) for name, counter in doors.items()}
    return {"n": len(rows), "settings_right": n_right, "doors": counts}


def operations_of(row: int) -> Operations:
    """Rotations and translations of a setting by spglib's database."""
    found = spglib.get_symmetry_from_database(row + 1)
    assert found is not None
    return found["rotations"], found["translations"]


def cell_of(rotations: np.ndarray) -> tuple[float, ...]:
    """Lengths and angles of a cell that the rotations keep and nothing else does."""
    metric = (rotations.mT @ (CELL @ CELL.T) @ rotations).mean(axis=0)
    lengths = np.sqrt(metric.diagonal())
    cosines = metric / np.outer(lengths, lengths)
    angles = np.degrees(np.arccos([cosines[1, 2], cosines[0, 2], cosines[0, 1]]))
    return (*lengths, *angles)


def cif(cell: tuple[float, ...], symmetry: str) -> str:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    lines = [f"_cell_{name} {value:.6f}" for name, value in zip(names, cell, strict=True)]
    site = " ".join(f"{x:.4f}" for x in SITE)
    atoms = ["loop_", "_atom_site_label", *(f"_atom_site_fract_{axis}" for axis in "xyz")]
    return "\n".join(["data_setting", *lines, symmetry, *atoms, f"Fe1 {site}", ""])


def outcome(text: str, expected: np.ndarray) -> str:
    """What becomes of a CIF whose atoms are known."""
    try:
        found = parse_cif(text).frac_coords
    except ValueError:
        return "refused"
    if len(found) != len(expected):
        return "wrong"
    steps = found[:, None] - expected
    is_there = (np.abs(steps - np.rint(steps)) < CLOSE).all(axis=-1)
    return "right" if is_there.any(axis=0).all() else "wrong"


if __name__ == "__main__":
    print(json.dumps(count_settings(), indent=1))
