"""Does the matcher find what it should, how long does it take, and how near is the training set.

    python -m scripts.evaluation.matching --folder RUN            the folder of 10,000 crystals
    python -m scripts.evaluation.matching --folder RUN --dry-run  prints only

Records `results/evaluation.json`.
"""

import argparse
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from os import getpid
from pathlib import Path

import numpy as np
import torch

from scripts.foundation.claims import Options, rate
from symmbfn.claims.store import Claim, record
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.records import read_crystals
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells
from symmbfn.evaluation.similarity.matching import find_duplicates, find_known
from symmbfn.evaluation.similarity.nearest import Nearest, nearest, neighbourhoods, shares_within

MAX_ATOMS = 60
NOISE = 0.01  # angstrom, standard deviation of each coordinate
LIMITS = (0.01, 0.03, 0.1, 0.3, 1.0)  # angstrom
SCALED_LIMITS = (0.003, 0.01, 0.03, 0.1, 0.3)
RUN = "symmbfn generate --n 10000 --out RUN"


def disguise(cell: Cell, rng: np.random.Generator) -> Cell:
    """The same crystal in a random cell of two or three, its origin moved, its atoms shaken."""
    larger = cell.to_pymatgen()
    if 2 * len(cell) <= MAX_ATOMS:
        size = int(rng.integers(2, 4)) if 3 * len(cell) <= MAX_ATOMS else 2
        # a Hermite normal form, a prime on its diagonal, is every lattice of that index
        place = int(rng.integers(3))
        matrix = np.eye(3, dtype=int)
        matrix[place, place] = size
        matrix[place, :place] = rng.integers(size, size=place)
        larger = larger.make_supercell(matrix, in_place=False)
    coords = larger.frac_coords + rng.random(3)
    shaken = rng.normal(0, NOISE, coords.shape) @ np.linalg.inv(larger.lattice.matrix)
    return Cell(np.array(larger.lattice.matrix), np.array(larger.atomic_numbers), coords + shaken)


def found_again(train: EncodedDataset, options: Options, workers: int) -> Claim:
    """Share of training crystals that are known under their own name after a disguise."""
    generator = torch.Generator().manual_seed(options.seed)
    rows = torch.randperm(len(train), generator=generator)[: options.n].tolist()
    rng = np.random.default_rng(options.seed)
    cells = [disguise(cell, rng) for cell in dataset_cells(train, rows)]
    answers = find_known(cells, train, workers=workers)
    own = sum(
        row in [m.row for m in answer.matches] for row, answer in zip(rows, answers, strict=True)
    )
    n_known = sum(bool(answer.matches) for answer in answers)
    undecided = sum(answer.status != "ok" for answer in answers)
    return rate(
        "novelty.train_found",
        own,
        len(rows),
        options,
        aim=99,
        note="Crystals of mp_20 train with a random origin, in a random supercell of two or three "
        f"cells (at most {MAX_ATOMS} atoms) and {NOISE} angstrom of Gaussian noise on each "
        f"coordinate, that match their own row of train; {n_known} match some row, "
        f"{undecided} could not be compared.",
    )


def time_of_all(
    cells: Sequence[Cell | None],
    references: dict[str, EncodedDataset],
    options: Options,
    workers: int,
) -> Claim:
    """Wall time of uniqueness and novelty for the crystals of a run."""
    with peak_memory() as peak:
        start = time.perf_counter()
        duplicates = find_duplicates(cells, workers=workers)
        between = time.perf_counter()
        known = find_known(cells, list(references.values()), workers=workers)
        end = time.perf_counter()
    is_unique = np.array([answer.first == row for row, answer in enumerate(duplicates)])
    is_novel = np.array([answer.is_novel for answer in known])
    train = np.array([any(m.dataset == 0 for m in answer.matches) for answer in known])
    n, sets = len(cells), " and ".join(references)
    n_missing = sum(cell is None for cell in cells)
    undecided = sum(a.status not in ("ok", "no_structure") for a in [*duplicates, *known])
    minutes = (end - start) / 60
    return Claim(
        "dedupe.minutes_10000",
        round(minutes, 2),
        options.command,
        unit="min",
        n=n,
        aim="at most 10 min",
        met=minutes <= 10 and n >= 10_000,
        note=f"Wall time on {workers} processes: duplicates {between - start:.0f} s, novelty "
        f"against {sum(map(len, references.values()))} crystals of mp_20 {sets} "
        f"{end - between:.0f} s; "
        f"peak memory of all processes together {peak[0]:.2f} GB. Of all {n} requests "
        f"{100 * is_unique.mean():.2f} % are unique, {100 * is_novel.mean():.2f} % novel, "
        f"{100 * (is_unique & is_novel).mean():.2f} % both, {100 * train.mean():.2f} % match a "
        f"crystal of {next(iter(references))}; {n_missing} without a valid structure count as "
        f"neither, {undecided} comparisons were not done. As generated, not relaxed.",
    )


def time_of_one_formula(train: EncodedDataset, options: Options, workers: int) -> Claim:
    """Wall time where every crystal meets every other: real ones, all made TiO2."""
    cells = []
    for row in torch.randperm(
        len(train), generator=torch.Generator().manual_seed(options.seed)
    ).tolist():
        unit = train.unit(row)
        if len(np.unique(unit.atomic_numbers)) != 2:
            continue
        (cell,) = dataset_cells(train, [row])
        elements, counts = np.unique(cell.atomic_numbers, return_counts=True)
        if counts.max() == 2 * counts.min():
            numbers = np.where(cell.atomic_numbers == elements[counts.argmin()], 22, 8)
            cells.append(replace(cell, atomic_numbers=numbers))
        if len(cells) == 1000:
            break
    start = time.perf_counter()
    answers = find_duplicates(cells, workers=workers)
    minutes = (time.perf_counter() - start) / 60
    n_classes = sum(answer.first == row for row, answer in enumerate(answers))
    undecided = sum(answer.status != "ok" for answer in answers)
    return Claim(
        "dedupe.minutes_one_formula",
        round(minutes, 2),
        options.command,
        unit="min",
        n=len(cells),
        seed=options.seed,
        note=f"The worst case: crystals of mp_20 train with two elements in ratio 1:2, all made "
        f"TiO2, on {workers} processes: {n_classes} classes, {undecided} not compared in time.",
    )


def memorisation(
    cells: Sequence[Cell | None], references: dict[str, EncodedDataset], options: Options
) -> Iterator[Claim]:
    """Shares of generated and of held-out crystals that lie near to one of the training set."""
    everyone = {name: range(len(dataset)) for name, dataset in references.items()}
    crowds = {
        name: neighbourhoods(dataset_cells(references[name], rows))
        for name, rows in everyone.items()
    }
    crowds["generated"] = neighbourhoods(cells)
    for name in ("generated", "val"):
        found = nearest(crowds[name], crowds["train"])
        yield from curve(name, found, len(crowds["train"]), options)


def curve(name: str, found: Nearest, n_train: int, options: Options) -> Iterator[Claim]:
    """The share at one distance as a claim, at the others in its note."""
    kinds = (
        ("formula", found.same_formula, LIMITS, "angstrom", "the same reduced formula"),
        ("prototype", found.same_prototype, SCALED_LIMITS, "length per atom", "the same counts"),
    )
    for kind, distance, limits, unit, what in kinds:
        counts = np.rint(len(distance) * shares_within(distance, np.array(limits))).astype(int)
        middle = len(limits) // 2
        points = ", ".join(
            f"{100 * count / len(distance):.2f} % {limit:g}"
            for count, limit in zip(counts, limits, strict=True)
        )
        yield rate(
            f"memorisation.{name}.{kind}",
            int(counts[middle]),
            len(distance),
            options,
            note=f"Crystals within {limits[middle]:g} {unit} of one of the {n_train} of mp_20 "
            f"train that has {what}: largest difference of 100 average minimum distances. "
            f"The curve, share and distance: {points}.",
        )


@contextmanager
def peak_memory(pause: float = 0.5) -> Iterator[list[float]]:
    """Largest proportional memory of this process and all below it, GB, in a list of one."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(pause):
            peak[0] = max(peak[0], sum(map(_memory, _family(getpid()))) / 1e6)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        stop.set()
        watcher.join()


def _family(process: int) -> list[int]:
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            # the name in brackets may hold anything
            parents[int(status.parent.name)] = int(status.read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):  # it has ended since
            continue
    family = [process]
    for member in family:
        family += [child for child, parent in parents.items() if parent == member]
    return family


def _memory(process: int) -> int:
    """Kilobytes, shared pages in part."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def weights_of(folder: Path) -> dict[str, str]:
    """The model that made a run, as claims name it."""
    manifest = json.loads((folder / "manifest.json").read_text())
    return {f"weights/{manifest['weights_name']}": manifest["settings"]["weights"]}


def measure(folder: Path, options: Options, workers: int) -> Iterator[Claim]:
    """All claims."""
    encode = partial(encode_dataset, "mp_20", workers=workers)
    references = {split: encode(split=split) for split in ("train", "val")}
    crystals = read_crystals(folder)
    cells = [Cell.of(c, primitive=True) if c.status == "ok" else None for c in crystals]
    weights = weights_of(folder)
    yield replace(time_of_all(cells, references, options, workers), versions=weights)
    for claim in memorisation(cells, references, options):
        yield replace(claim, versions=weights) if ".generated." in claim.name else claim
    yield found_again(references["train"], options, workers)
    yield time_of_one_formula(references["train"], options, workers)


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--folder", type=Path, required=True, help=f"RUN of {RUN}")
    line.add_argument("--n", type=int, default=2000, help="training crystals to find again")
    line.add_argument("--workers", type=int, default=2)
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--dry-run", action="store_true")
    given = line.parse_args()
    command = f"{RUN}; python -m scripts.evaluation.matching --folder RUN"
    options = replace(Options(command, given.folder, seed=given.seed), n=given.n)
    for claim in measure(given.folder, options, given.workers):
        print(f"{claim.name} = {claim.value} {claim.interval or ''} {claim.unit}", flush=True)
        print(f"  {claim.note}", flush=True)
        if not given.dry_run:
            record("evaluation", [claim])


if __name__ == "__main__":
    main()
