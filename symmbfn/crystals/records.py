"""Crystals as lines of JSON: facts to read, and the asymmetric unit to build the crystal from."""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import positions_of, symmetry_tables

RECORDS = "records.jsonl"  # name of the file in the folder of a run
CHUNK = 1000
FACTS = ("index", "seed", "status", "reason")
FACTS_OF_STRUCTURE = (
    "space_group_number",
    "found_space_group_number",
    "n_merged",
    "n_dropped",
)
NEEDED = (*FACTS, *FACTS_OF_STRUCTURE, "lattice_k", "sites")


def record_of(crystal: Crystal) -> dict[str, Any]:
    """All facts of a crystal as JSON types.

    The keys are those of `Crystal`, where they are explained. `lattice_k` and the coordinates of
    `sites` are exact, all other numbers are rounded to six decimals.

    Args:
        crystal: a record of any status.

    Returns:
        Key -> value; null, or an empty list, for what a record without structure does not have.

    Source: ours.
    """
    tables = symmetry_tables()
    group = crystal.space_group_number
    record: dict[str, Any] = {
        "index": crystal.index,
        "request": crystal.request,
        "seed": crystal.seed,
        "status": crystal.status,
        "reason": crystal.reason,
        "formula": crystal.formula,
        "space_group_number": group,
        "space_group": str(tables.hermann_mauguin[group - 1]),
        "found_space_group_number": crystal.found_space_group_number,
        "group_of_sites": crystal.group_of_sites,
        "letters": list(crystal.letters),
        "n_atoms": len(crystal),
        "n_merged": crystal.n_merged,
        "n_dropped": crystal.n_dropped,
        "density": _rounded(crystal.density),
        "volume": _rounded(crystal.volume),
        "minimum_distance": _rounded(crystal.minimum_distance),
        "contact_ratio": _rounded(crystal.contact_ratio),
        "lattice_parameters": None,
        "lattice_k": None,
        "sites": [],
    }
    if crystal.unit is None:
        return record
    unit = crystal.unit
    record["lattice_parameters"] = [_rounded(value) for value in crystal.lattice_parameters]
    record["lattice_k"] = unit.lattice_k.tolist()
    record["sites"] = [
        {
            "element": SYMBOLS[number],
            "letter": letter,
            "coords": coords,
            "residual": _rounded(residual),
        }
        for number, letter, coords, residual in zip(
            unit.atomic_numbers.tolist(),
            crystal.letters,
            unit.fractional_coords.tolist(),
            crystal.residual.tolist(),
            strict=True,
        )
    ]
    return record


def crystals_of(records: list[dict[str, Any]]) -> list[Crystal]:
    """Build crystals from the records of `record_of`, many at once.

    Args:
        records: of any status.

    Returns:
        One crystal for each record, in order.

    Raises:
        KeyError: a record lacks a key.

    Source: ours.
    """
    built: dict[int, Crystal] = {}
    rows = [row for row, record in enumerate(records) if record["sites"]]
    if rows:
        batch = AsymmetricUnitBatch.stack([_unit_of(records[row]) for row in rows])
        built = dict(zip(rows, reconstruct(batch, merge=False), strict=True))
    crystals = []
    for row, record in enumerate(records):
        # runs of an earlier version had one request, and did not say so
        facts = {name: record[name] for name in FACTS} | {"request": record.get("request", 0)}
        crystal = built.get(row)
        if crystal is None:
            group = record["space_group_number"]
            crystals.append(Crystal.failed(**facts, space_group_number=group))
            continue
        residual = np.array([site["residual"] for site in record["sites"]])
        # what does not follow from the asymmetric unit
        facts |= {name: record[name] for name in FACTS_OF_STRUCTURE}
        crystals.append(replace(crystal, **facts, residual=residual))
    return crystals


def read_records(path: str | Path) -> Iterator[dict[str, Any]]:
    """Read the records of a file, one after the other.

    Args:
        path: `records.jsonl`, or the folder of a run.

    Returns:
        An iterator over the records.

    Raises:
        ValueError: a line that is no record.

    Source: ours.
    """
    path = Path(path)
    path = path / RECORDS if path.is_dir() else path
    with path.open() as file:
        for number, line in enumerate(file, start=1):
            try:
                record = json.loads(line)
                if missing := [name for name in NEEDED if name not in record]:
                    raise ValueError(f"no {', '.join(missing)}")
            except (ValueError, TypeError) as error:
                raise ValueError(f"{path} line {number} is no record: {error}") from None
            yield record


def read_crystals(path: str | Path) -> Iterator[Crystal]:
    """Read the crystals of a file or of the folder of a run, whatever their status.

    Args:
        path: `records.jsonl`, or the folder of a run.

    Returns:
        An iterator over the crystals.

    Raises:
        ValueError: a line that is no record.

    Source: ours.
    """
    records = read_records(path)
    while chunk := list(islice(records, CHUNK)):
        yield from crystals_of(chunk)


def lines_of(records: Iterable[dict[str, Any]]) -> str:
    """Write records as text.

    Args:
        records: of `record_of`.

    Returns:
        One line of JSON for each record.

    Raises:
        ValueError: a number that is not finite.

    Source: ours.
    """
    return "".join(json.dumps(record, allow_nan=False) + "\n" for record in records)


def _unit_of(record: dict[str, Any]) -> AsymmetricUnit:
    sites = record["sites"]
    # versions that only knew asymmetric units did not write it
    group = record.get("group_of_sites", record["space_group_number"])
    letters = symmetry_tables().letter[positions_of(group)].tolist()
    return AsymmetricUnit(
        space_group_number=group,
        lattice_k=np.array(record["lattice_k"]),
        atomic_numbers=np.array([element_number(site["element"]) for site in sites]),
        wyckoff_positions=np.array([letters.index(site["letter"]) for site in sites]),
        fractional_coords=np.array([site["coords"] for site in sites]),
    )


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None
