"""A property of the user's, learnt by the shipped weights: the bulk modulus of 2,500 crystals.

    python -m scripts.conditioning.finetune            label, train, generate, judge, record

The data are crystals of MP-20 train with CHGNet's bulk modulus, one in fifty without it; the
weights that are continued know nothing of it. Requests for some values and for none are judged by
CHGNet, which the model never saw. What is there already is not made again: all of it lies in the
cache and is resumed.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from scripts.conditioning.bulk_modulus import modulus_of
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.workers import run_killable

N_DATA, N, SEED = 2500, 300, 0
COLUMN = "bulk_modulus"  # GPa
TIME_LIMIT = 60.0  # seconds for the bulk modulus of one crystal
COMMAND = "python -m scripts.conditioning.finetune"


def moduli(crystals: Sequence[Cell | str], path: Path, workers: int) -> np.ndarray:
    """Bulk moduli, GPa, NaN where there is none; kept in a journal as they come."""
    journal = Journal(path)
    todo = [row for row in range(len(crystals)) if row not in journal]
    chosen = [crystals[row] for row in todo]
    for one in run_killable(modulus_of, chosen, workers=workers, time_limit=TIME_LIMIT):
        journal.add({"index": todo[one.index], "value": one.value, "reason": one.reason})
    values = [row["value"] for row in journal]
    return np.array([np.nan if value is None else value for value in values])


def labelled(path: Path, workers: int) -> Path:
    """The file that a user would have: crystals, and a column of numbers with gaps."""
    rows = load_dataset("mp_20", "train").sample(N_DATA, random_state=SEED)
    values = moduli(rows["cif"].tolist(), path.with_suffix(".jsonl"), workers)
    with whole_file(path) as part:
        rows[["material_id", "cif"]].assign(**{COLUMN: values}).to_csv(part, index=False)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", type=Path, default=cache_folder() / "conditioning" / "finetune")
    options = parser.parse_args()
    data = labelled(options.work / "mine.csv", options.workers)


if __name__ == "__main__":
    main()
