"""Steps against quality of the shipped `paper` weights (Supplementary Table 2), on MP-20 val.

    python -m scripts.comparisons.paper_steps  1,000 requests for each number of steps
    python -m scripts.comparisons.paper_steps --relax 200  which of the first 200 are stable; hours
    python -m scripts.comparisons.paper_steps --steps 10 20 --n 40 --dry-run

The requests are those of one seed for every row. What is judged is kept in the cache and is not
made again; a killed run goes on where it was. Records `results/comparisons.json`.
"""

import argparse
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from scripts.foundation.claims import Options, rate
from scripts.foundation.data import code_digest, read
from scripts.foundation.generation import JUDGE_SECONDS, observables, resampled, unjudged
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.distributions import DISTANCES, UNITS, distances
from symmbfn.evaluation.energies.stability import stability_rates
from symmbfn.evaluation.observables import Observables, dataset_observables
from symmbfn.evaluation.summary import relaxed_rows
from symmbfn.evaluation.validity import judge
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.run import generate_run
from symmbfn.generation.sampler import preset_sampler
from symmbfn.intervals import bootstrap_deviation
from symmbfn.model.checkpoints import WEIGHTS_FILE, load_model, weights_folder
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.files import file_digest
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable
from symmbfn.screening.screen import ScreeningConfig, screen

WEIGHTS = "paper"
STEPS = (10, 20, 50, 100, 200, 500, 1000)
N, SEED = 1000, 100  # the seed apart from those of reported figures
CHUNK = 500  # requests that are generated at once
COMMAND = "python -m scripts.comparisons.paper_steps"
# name of the claim -> convention, figure, as in `stability_rates`
STABILITY = {
    "stable": ("ours", "stable"),
    "metastable": ("ours", "metastable"),
    "sun": ("ours", "sun"),
}


def requests(
    model: SymmBFN, sampler: SamplerConfig, journal: Journal, n: int, seed: int = SEED
) -> list[dict[str, Any]]:
    """Judgements of requests 0 to n - 1 with the processor time that each took to generate."""
    missing = torch.tensor([i for i in range(n) if i not in journal], dtype=torch.long)
    label, request = f"{sampler.n_steps} steps", Request(n=n, seed=seed)
    with progress(total=n, done=n - len(missing), label=label) as bar:
        for part in missing.split(CHUNK) if len(missing) else ():
            start = time.process_time()
            crystals = [c for b in generate_batches(model, request, sampler, index=part) for c in b]
            seconds = (time.process_time() - start) / len(part)
            for outcome in run_killable(judge, crystals, workers=1, time_limit=JUDGE_SECONDS):
                lost = outcome.reason and unjudged(crystals[outcome.index], outcome.reason)
                journal.add((lost or asdict(outcome.value)) | {"seconds": seconds})
                bar.update()
    return [journal[i] for i in range(n)]


def claims_of(
    steps: int, rows: Sequence[dict[str, Any]], reference: Observables, options: Options, **shared
) -> Iterator[Claim]:
    """Rates, distances and time of one number of steps."""
    prefix, n = f"paper_steps.{steps}", len(rows)
    note = f"Shipped paper weights, {steps} steps of its sampler; denominator: all requests."
    counted = {"validity_structural": "is_structurally_valid", "contacts": "has_good_contacts"}
    for name, key in counted.items():
        count = sum(row[key] for row in rows)
        yield rate(f"{prefix}.{name}", count, n, options, note=note, **shared)
    yield from distance_claims(prefix, rows, reference, options, **shared)
    yield Claim(
        f"{prefix}.seconds",
        float(f"{sum(row['seconds'] for row in rows) / n:.4g}"),
        options.command,
        unit="s",
        n=n,
        seed=options.seed,
        note="Processor time of one thread for a crystal, from request to full cell, float32, "
        f"batches as of {CHUNK} requests.",
        **shared,
    )


def distance_claims(
    prefix: str, rows: Sequence[dict[str, Any]], reference: Observables, options: Options, **shared
) -> Iterator[Claim]:
    """d_rho, d_elem and d_G of the structurally valid crystals, if there are any."""
    crowd = observables([row for row in rows if row["is_structurally_valid"]])
    if not len(crowd):
        return
    values = distances(crowd, reference)
    spread = bootstrap_deviation(partial(resampled, crowd, reference), len(crowd))
    for name, value, deviation in zip(DISTANCES, values, spread, strict=True):
        ends = max(0.0, value - 1.96 * deviation), value + 1.96 * deviation
        yield Claim(
            f"{prefix}.{name}",
            round(float(value), 4),
            options.command,
            unit=UNITS[name],
            n=len(crowd),
            seed=options.seed,
            interval=(round(float(ends[0]), 4), round(float(ends[1]), 4)),
            note=f"Structurally valid ones of {len(rows)} requests against mp_20 val; interval "
            "from the bootstrap deviation.",
            **shared,
        )


def relaxed(steps: int, n: int, folder: Path, workers: int) -> pd.DataFrame:
    """The first n requests, relaxed and judged; the same crystals as those of `requests`."""
    run = folder / f"run-{steps}-{n}"
    generate_run(run, n=n, weights=WEIGHTS, n_steps=steps, seed=SEED, device="cpu", workers=1)
    config = ScreeningConfig(relax="chgnet")
    return screen(run, folder / f"screened-{steps}-{n}", config, workers=workers)


def stability_claims(
    steps: int, table: pd.DataFrame, options: Options, **shared: Any
) -> Iterator[Claim]:
    """Shares of the relaxed requests under our convention."""
    found = stability_rates(relaxed_rows(table))
    counts = found.set_index(["convention", "figure"])["count"]
    note = f"{steps} steps; all requests sent to relaxation (CHGNet 0.3.0, fmax 0.1) count; the "
    note += "hull of the data folder lacks phases, which flatters."
    for name, key in STABILITY.items():
        yield rate(
            f"paper_steps.{steps}.{name}",
            int(counts[key]),
            len(table),
            options,
            note=note,
            **shared,
        )


def measure(
    steps: Sequence[int], n: int, n_relaxed: int, workers: int, work: Path
) -> Iterator[list[Claim]]:
    """Claims of each number of steps as they come, the relaxations last.

    Raises:
        ValueError: fewer than one request.
    """
    if n < 1 or n_relaxed < 0:
        raise ValueError(f"n must be at least 1 and relax at least 0, got {n} and {n_relaxed}")
    digest = file_digest(weights_folder(WEIGHTS) / WEIGHTS_FILE)
    model, reference = load_model(WEIGHTS), dataset_observables(read("mp_20", "val")[1])
    command = COMMAND if n == N else f"{COMMAND} --n {n}"
    options = Options(command, work, seed=SEED, n=n)
    shared: dict[str, Any] = {"versions": {f"weights/{WEIGHTS}": digest}}
    code = code_digest(__file__)
    warm_up = preset_sampler(model, n_steps=1)
    list(generate_batches(model, Request(n=8), warm_up))  # tables are read once
    for number in steps:
        journal = Journal(work / f"{digest[:12]}-{code}-{number}.jsonl")
        rows = requests(model, preset_sampler(model, n_steps=number), journal, n)
        yield [*claims_of(number, rows, reference, options, **shared)]
    if n_relaxed:
        options = replace(options, command=f"{COMMAND} --relax {n_relaxed}")
        for number in steps:
            table = relaxed(number, n_relaxed, work / digest[:12], workers)
            yield [*stability_claims(number, table, options, **shared)]


def main() -> None:
    """Measure and record."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--steps", type=int, nargs="+", default=STEPS)
    line.add_argument("--n", type=int, default=N)
    line.add_argument("--relax", type=int, default=0, help="relax so many of each")
    line.add_argument("--workers", type=int, default=1, help="processes that relax")
    line.add_argument("--work", type=Path, default=cache_folder() / "paper_steps")
    line.add_argument("--dry-run", action="store_true", help="record nothing")
    given = line.parse_args()
    for claims in measure(given.steps, given.n, given.relax, given.workers, given.work):
        for claim in claims:
            print(f"{claim.name} = {claim.value} {claim.interval or ''} {claim.unit}", flush=True)
        if not given.dry_run:
            record("comparisons", claims)


if __name__ == "__main__":
    main()
