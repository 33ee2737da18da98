"""Crystals whose judgement is known beforehand, to hold the pipeline of evaluation against.

    python -m scripts.evaluation.controls                256 crystals of each kind, of test_open
    python -m scripts.evaluation.controls --split val    for developing

`real.csv.gz` are crystals of MP-20 as they are: what a perfect model would make. `shuffled.csv.gz`
are the same crystals with the elements of one another: right geometry, wrong chemistry.
`random.csv.gz` are PyXtal's random crystals of the same compositions and space groups: symmetry
and no more. `controls.json` says what became of each; the tables are for `load_dataset`.
"""

import argparse
import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.structure import parse_cif
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.workers import run_killable

DATASET = "mp_20"
TIME_LIMIT = 60.0  # seconds for one random crystal


def shuffled(structures: list[Structure], rng: np.random.Generator) -> list[Structure]:
    """Give each crystal the elements of another one with as many; the lattice stays.

    Within each number of elements the crystals pass their elements round one ring in random
    order; which of the new elements takes the place of which old one is random too.
    """
    n_elements = np.array([len(structure.elements) for structure in structures])
    changed: list[Structure | None] = [None] * len(structures)
    for number in np.unique(n_elements):
        ring = rng.permutation(np.flatnonzero(n_elements == number))
        for row, donor in zip(ring, np.roll(ring, 1), strict=True):
            mine = sorted(element.symbol for element in structures[row].elements)
            theirs = sorted(element.symbol for element in structures[donor].elements)
            new = dict(zip(mine, rng.permutation(theirs).tolist(), strict=True))
            changed[row] = structures[row].copy()
            changed[row].replace_species(new)
    return changed


def random_crystal(task: tuple[int, dict[str, int], int]) -> str:
    """CIF of PyXtal's random crystal.

    Args:
        task: space group number, element symbol -> atoms in the conventional cell, seed.

    Raises:
        ValueError: PyXtal gave none.
    """
    from pyxtal import pyxtal

    number, counts, seed = task
    crystal = pyxtal()
    crystal.from_random(3, number, list(counts), list(counts.values()), random_state=seed)
    if not crystal.valid:
        raise ValueError("no valid crystal")
    return cif_of(crystal.to_pymatgen())


def cif_of(structure: Structure) -> str:
    """P1 CIF with all digits that matter."""
    return str(CifWriter(structure, significant_figures=10))


def random_tasks(dataset: EncodedDataset, seed: int) -> list[tuple[int, dict[str, int], int]]:
    """Space group and composition of the conventional cell of each crystal, and its own seed."""
    batch = dataset.batch(torch.arange(len(dataset)), torch.float64)
    tasks = []
    for row, crystal in enumerate(reconstruct(batch)):
        counts = Counter(SYMBOLS[number] for number in Cell.of(crystal).atomic_numbers)
        tasks.append((crystal.space_group_number, dict(counts), 1000 * seed + row))
    return tasks


def write(folder: Path, name: str, identifiers: list[str], texts: list[str]) -> None:
    """One control as a table that `load_dataset` reads."""
    table = pd.DataFrame({"material_id": identifiers, "cif": texts})
    # without a time stamp, so that the same crystals give the same file
    packing: Any = {"method": "gzip", "mtime": 0}
    table.to_csv(folder / f"{name}.csv.gz", index=False, compression=packing)


def make(
    dataset: str | Path, split: str | None, n: int, folder: Path, *, seed: int, workers: int
) -> dict[str, Any]:
    """Write all controls; return what became of them."""
    encoded = encode_dataset(dataset, split=split, workers=workers)
    generator = torch.Generator().manual_seed(seed)
    chosen = encoded.subset(torch.randperm(len(encoded), generator=generator)[:n])
    names = list(chosen.identifiers)
    cifs = load_dataset(dataset, split).set_index("material_id")["cif"]
    texts = [cifs[name] for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, "real", names, texts)

    structures = [parse_cif(text) for text in texts]
    mixed = shuffled(structures, np.random.default_rng(seed))
    write(folder, "shuffled", [f"shuffled-{name}" for name in names], [cif_of(s) for s in mixed])
    same = sum(
        a.composition.reduced_formula == b.composition.reduced_formula
        for a, b in zip(structures, mixed, strict=True)
    )

    tasks = random_tasks(chosen, seed)
    outcomes = sorted(
        run_killable(random_crystal, tasks, workers=workers, time_limit=TIME_LIMIT),
        key=lambda outcome: outcome.index,
    )
    made = [outcome for outcome in outcomes if not outcome.reason]
    write(
        folder,
        "random",
        [f"random-{names[outcome.index]}" for outcome in made],
        [outcome.value for outcome in made],
    )
    failures = [
        {
            "material_id": names[outcome.index],
            "space_group_number": tasks[outcome.index][0],
            "atoms": tasks[outcome.index][1],
            "reason": outcome.reason,
        }
        for outcome in outcomes
        if outcome.reason
    ]
    return {
        "dataset": encoded.settings["dataset"],
        "split": encoded.settings["split"],
        "digest": encoded.digest,
        "n": len(names),
        "seed": seed,
        "real": {"n": len(names)},
        "shuffled": {"n": len(mixed), "n_with_their_own_formula": same},
        "random": {"n": len(made), "n_failed": len(failures), "failures": failures},
    }


def main() -> None:
    """Make the controls and say how many there are."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--split", default="test_open", help="of MP-20")
    line.add_argument("--n", type=int, default=256)
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--workers", type=int, default=1)
    line.add_argument("--out", type=Path, default=cache_folder() / "evaluation" / "controls")
    given = line.parse_args()
    options = {"seed": given.seed, "workers": given.workers}
    facts = make(DATASET, given.split, given.n, given.out, **options)
    write_whole(given.out / "controls.json", json.dumps(facts, indent=1) + "\n")
    counts = {name: facts[name]["n"] for name in ("real", "shuffled", "random")}
    print(f"{counts} of {facts['n']} crystals of {DATASET} {given.split} in {given.out}")


if __name__ == "__main__":
    main()
