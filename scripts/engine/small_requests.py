"""What a small request costs a crystal, beside a large one; and one crystal from the command line.

    python -m scripts.engine.small_requests    requests of 20 and of 1,000, three seeds (3 minutes)

Processor time of one thread, in turns. Crystal i of a request must be crystal i of the other, bit
for bit. Records `small.*` in `results/reliability.json`.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch

from symmbfn.benchmark.timing import alternate, one_thread
from symmbfn.claims.store import Claim, record
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.records import record_of
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import WEIGHTS_FILE, load_model, weights_folder
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.files import file_digest

SMALL, LARGE, SEEDS, ROUNDS = 20, 1000, (0, 1, 2), 1
MOST_RATIO, MOST_CPU_S = 2.0, 2.5
WEIGHTS, COMMAND = "default", "python -m scripts.engine.small_requests"


def are_same(ours: list[Crystal], theirs: list[Crystal]) -> bool:
    """Whether crystals are the same, every bit of their coordinates and lattices included."""
    return all(
        record_of(a) == record_of(b)
        and np.array_equal(a.fractional_coords, b.fractional_coords)
        and np.array_equal(a.lattice_matrix, b.lattice_matrix)
        for a, b in zip(ours, theirs, strict=True)
        if a.unit is not None or b.unit is not None
    )


def ratio_claim(model: SymmBFN, rounds: int) -> Claim:
    """Time of a crystal of a small request over that of a large one, for each seed in turns.

    Raises:
        ValueError: their crystals differ.
    """
    made: dict[int, list[Crystal]] = {}
    each: dict[int, list[float]] = {SMALL: [], LARGE: []}  # ms

    def make(n: int, seed: int) -> None:
        made[n] = generate(n=n, seed=seed, weights=model)

    with one_thread():
        generate(n=SMALL, seed=SEEDS[0], weights=model, n_steps=1)  # tables are read once
        for seed in SEEDS:
            actions = {f"{n}": partial(make, n, seed) for n in each}
            for name, seconds in alternate(actions, rounds, torch.device("cpu")).items():
                each[int(name)] += [1e3 * s / int(name) for s in seconds]
            if not are_same(made[SMALL], made[LARGE][:SMALL]):
                raise ValueError(f"seed {seed}: crystals of {SMALL} are not those of {LARGE}")
    ratios = [small / large for small, large in zip(each[SMALL], each[LARGE], strict=True)]
    return Claim(
        "small.ratio_20_to_1000",
        round(median(ratios), 2),
        COMMAND,
        n=SMALL,
        seed=list(SEEDS),
        interval=(round(min(ratios), 2), round(max(ratios), 2)),
        aim=f"at most {MOST_RATIO:g}",
        met=median(ratios) <= MOST_RATIO,
        note=f"Processor time of one thread for a crystal, checked, of a request of {SMALL} "
        f"({median(each[SMALL]):.1f} ms) over one of {LARGE} ({median(each[LARGE]):.1f} ms), the "
        f"same crystals bit for bit; in turns, {rounds} rounds for each of {len(SEEDS)} seeds, "
        "lowest and highest.",
        versions=weights_version(),
    )


def command_claim(rounds: int) -> Claim:
    """Processor time of `symmbfn generate --n 1` from start to end."""
    seconds = [one_crystal(seed) for _ in range(rounds) for seed in SEEDS]
    return Claim(
        "small.generate_1_cpu_s",
        round(median(seconds), 2),
        COMMAND,
        unit="s",
        n=1,
        seed=list(SEEDS),
        interval=(round(min(seconds), 2), round(max(seconds), 2)),
        aim=f"at most {MOST_CPU_S:g} s",
        met=median(seconds) <= MOST_CPU_S,
        note="Processor time of `symmbfn generate --n 1`, user and system, from the start to "
        f"the written page; {len(seconds)} runs, lowest and highest.",
        versions=weights_version(),
    )


def one_crystal(seed: int) -> float:
    """Seconds of the processor that one crystal takes from the command line."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "symmbfn", "generate", "--n", "1", "--seed", str(seed)]
        command += ["--weights", WEIGHTS, "--out", str(Path(folder) / "one")]
        subprocess.run(command, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def weights_version() -> dict[str, str]:
    """Digest of the weights behind the figures."""
    return {f"weights/{WEIGHTS}": file_digest(weights_folder(WEIGHTS) / WEIGHTS_FILE)}


def main() -> None:
    """Time and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--dry-run", action="store_true", help="record nothing")
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of spglib
    found = [command_claim(2 * options.rounds), ratio_claim(load_model(WEIGHTS), options.rounds)]
    for claim in found:
        print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval}. {claim.note}")
    if not options.dry_run:
        record("reliability", found)


if __name__ == "__main__":
    main()
