"""Relaxations of an unfinished screening, kept in `results/` and taken up on another machine.

    python -m scripts.evaluation.relaxed_files keep default      in results/relaxed_default.parquet
    python -m scripts.evaluation.relaxed_files restore default   back into the cache

A relaxation costs a second or more, and a screening of thousands is stopped and resumed for days.
What its journal holds is kept exactly. It may be restored wherever the same crystals were made, if
need be with other last digits: their formulas are compared.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from symmbfn.claims.store import RESULTS
from symmbfn.crystals.records import read_crystals
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.energies.relaxation import Relaxed
from symmbfn.runtime.files import whole_file
from symmbfn.screening.screen import answers_of
from symmbfn.screening.stages.relaxed import RELAXED

CELL = ("lattice_matrix", "atomic_numbers", "fractional_coords")


def kept_file(name: str) -> Path:
    """Where the relaxations of a crowd are kept."""
    return RESULTS / f"relaxed_{name}.parquet"


def keep(name: str, folder: Path) -> int:
    """Write all relaxations of a screening's journal; returns how many."""
    rows = [_flat(answer) for answer in answers_of(folder, RELAXED)]
    with whole_file(kept_file(name)) as part:
        pd.DataFrame(rows).to_parquet(part, index=False, compression="zstd")
    return len(rows)


def restore(name: str, folder: Path, source: Path) -> int:
    """Add what is kept and not there to the journal of a screening; returns how many.

    Raises:
        ValueError: the crystals of the source are others than those that were relaxed.
    """
    rows = pd.read_parquet(kept_file(name)).to_dict(orient="records")
    made = {crystal.index: crystal.formula for crystal in read_crystals(source)}
    journal, added = answers_of(folder, RELAXED), 0
    for answer in (_nested(row) for row in rows):
        relaxed = Relaxed.from_record(answer)
        if relaxed.cell is not None and relaxed.cell.formula != made.get(answer["index"]):
            raise ValueError(
                f"crystal {answer['index']} of {source} is not the one that was relaxed"
            )
        if answer["index"] not in journal:
            journal.add(answer)
            added += 1
    return added


def _flat(answer: dict[str, Any]) -> dict[str, Any]:
    cell = answer["cell"] or dict.fromkeys(CELL)
    flat = {name: None if cell[name] is None else np.asarray(cell[name]).ravel() for name in CELL}
    return {name: value for name, value in answer.items() if name != "cell"} | flat


def _nested(row: dict[str, Any]) -> dict[str, Any]:
    flat = {name: row.pop(name) for name in CELL}
    row = {name: _plain(value) for name, value in row.items()}
    cell = None
    if flat["lattice_matrix"] is not None:
        cell = {
            "lattice_matrix": flat["lattice_matrix"].reshape(3, 3).tolist(),
            "atomic_numbers": flat["atomic_numbers"].tolist(),
            "fractional_coords": flat["fractional_coords"].reshape(-1, 3).tolist(),
        }
    return row | {"cell": cell}


def _plain(value: Any) -> Any:
    """JSON types again; NaN is null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and np.isnan(value) else value


def main() -> None:
    """Keep or restore."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("task", choices=("keep", "restore"))
    parser.add_argument("names", nargs="+")
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluation")
    options = parser.parse_args()
    for name in options.names:
        folder = options.work / "screened" / name
        if options.task == "keep":
            print(f"{name}: {keep(name, folder)} kept")
        else:
            print(f"{name}: {restore(name, folder, options.work / name)} restored")


if __name__ == "__main__":
    main()
