"""A property of the user's, learnt by the shipped weights: the bulk modulus of 2,000 crystals.

    python -m scripts.conditioning.finetune            label, train, generate, judge, record

The data are crystals of MP-20 train with CHGNet's bulk modulus, which the weights that are
continued know nothing of. Requests for two values and for none are judged by CHGNet as they were
made, at the volume where it finds no pressure; the network never saw it. What is there already is
not made again: all of it lies in the cache and is resumed.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from scripts.conditioning.bulk_modulus import modulus_of
from scripts.evaluation.run import weights_of_preset
from symmbfn.claims.store import Claim, record
from symmbfn.cli.arguments import FINE_TUNING_RATE
from symmbfn.conditions.request import Request
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.generation.run import generate_run
from symmbfn.intervals import bootstrap_deviation, wilson_interval
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.workers import run_killable
from symmbfn.screening.sources import read_candidates
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.fit import FitConfig, fit
from symmbfn.training.steps import draw_noise, stratified_times

ORIGIN, COLUMN = "default", "bulk_modulus"  # GPa
OLD = "formation_energy_per_atom"  # crystals with it show what is left of the old properties
N_DATA, N_HELD_OUT, N, SEED = 2000, 400, 300, 0
TARGETS = (50.0, 200.0)  # GPa; the data lie around 100
NEAR = 0.25  # share of the target
TRAINING = TrainingConfig(
    epochs=25.0, batch_size=64, optimiser=OptimiserConfig(FINE_TUNING_RATE), dtype="bf16"
)
TIME_LIMIT = 60.0  # seconds for the bulk modulus of one crystal
N_NATS, N_TIMES = 400, 8  # crystals whose loss is looked at, times of each
Z = 1.96  # of the normal distribution, for 95 %
COMMAND = "python -m scripts.conditioning.finetune"


def main() -> None:
    """Make, judge and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", type=Path, default=cache_folder() / "conditioning" / "finetune")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data, held_out = labelled(options.work, options.workers)
    config = FitConfig(origin=ORIGIN, properties=(COLUMN,), device="cpu")
    weights = fit(data, options.work / "run", config, TRAINING)
    claims = [*claims_of_nats(held_out, load_model(weights))]
    found = {}
    for target in (None, *TARGETS):
        folder = options.work / ("none" if target is None else f"at-{target:g}")
        wanted = {} if target is None else {COLUMN: target}
        request = Request.of(n=N, seed=SEED, properties=wanted)
        generate_run(folder, request, weights=str(weights), device="cpu", workers=0)
        cells = [candidate.cell for candidate in read_candidates(folder).rows]
        found[target] = moduli(cells, folder.with_suffix(".jsonl"), options.workers)
    claims += claims_of_targets(found)
    for claim in claims:
        print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval}", flush=True)
    record("conditioning", claims)


def labelled(folder: Path, workers: int) -> tuple[Path, Path]:
    """The file that a user would have, crystals and a column with gaps, and one held out."""
    rows = load_dataset("mp_20", "train").sample(N_DATA + N_HELD_OUT, random_state=SEED)
    values = moduli(rows["cif"].tolist(), folder / "mine.jsonl", workers)
    table = rows[["material_id", "cif"]].assign(**{COLUMN: values})
    paths = folder / "mine.csv", folder / "held_out.csv"
    for path, part_of in zip(paths, (table[:N_DATA], table[N_DATA:]), strict=True):
        with whole_file(path) as part:
            part_of.to_csv(part, index=False)
    return paths


def moduli(crystals: Sequence[Cell | str | None], path: Path, workers: int) -> np.ndarray:
    """Bulk moduli, GPa, NaN where there is none; kept in a journal as they come."""
    journal = Journal(path)
    todo = [row for row, one in enumerate(crystals) if one is not None and row not in journal]
    chosen = [crystals[row] for row in todo]
    for one in run_killable(modulus_of, chosen, workers=workers, time_limit=TIME_LIMIT):
        journal.add({"index": todo[one.index], "value": one.value, "reason": one.reason})
    found = {row["index"]: row["value"] for row in journal if row["value"] is not None}
    return np.array([found.get(row, np.nan) for row in range(len(crystals))])


def claims_of_targets(found: dict[float | None, np.ndarray]) -> Iterator[Claim]:
    """What crystals are like that were made for a value, beside those made for none.

    Args:
        found: target -> bulk moduli of the requests, GPa, NaN where there is none.
    """
    known = {target: values[~np.isnan(values)] for target, values in found.items()}
    for target, values in known.items():
        name = "finetune.none" if target is None else f"finetune.{target:g}"
        yield _share(f"{name}.judged", len(values), N, "requests with a bulk modulus by CHGNet")
        note = "mean bulk modulus by CHGNet of the crystals as generated, no ion relaxed"
        yield _mean(f"{name}.mean", values, "GPa", note)
        if target is None:
            continue
        for made, whom, whose in (
            (values, name, "made for it"),
            (known[None], f"finetune.base_{target:g}", "made for no value, by the same weights"),
        ):
            note = f"distance from {target:g} GPa of crystals {whose}"
            yield _mean(f"{whom}.mae", np.abs(made - target), "GPa", note)
            n_near = int((np.abs(made - target) <= NEAR * target).sum())
            note = f"within {NEAR:.0%} of {target:g} GPa, of the judged crystals {whose}"
            yield _share(f"{whom}.near", n_near, len(made), note)


def claims_of_nats(held_out: Path, model: SymmBFN) -> Iterator[Claim]:
    """What telling properties is worth: the new one, and those of the origin before and after."""
    others = encode_dataset(held_out, form="canonical")
    val = encode_dataset("mp_20", split="val", form="canonical")
    origin = load_model(ORIGIN)
    for name, one, crystals, text in (
        (
            "new",
            model,
            others,
            "the new one, crystals of MP-20 train that were not in the user's file",
        ),
        ("old_before", origin, val, "those of the origin, MP-20 val, before the training"),
        (
            "old_after",
            model,
            val,
            "those of the origin, MP-20 val, after the training without them",
        ),
    ):
        known = ~crystals.values_of((COLUMN if name == "new" else OLD,))[:, 0].isnan()
        chosen = crystals.subset(known.nonzero().flatten()[:N_NATS])
        told, untold = (nats(one, chosen, is_told) for is_told in (True, False))
        note = f"nats a crystal that telling properties saves: {text}"
        yield _mean(f"finetune.nats.{name}", untold - told, "nats", note)
        yield _mean(
            f"finetune.untold.{name}", untold, "nats", f"nats a crystal, nothing told: {text}"
        )


@torch.no_grad()
def nats(model: SymmBFN, dataset: EncodedDataset, is_told: bool) -> np.ndarray:
    """Loss of each crystal, smallest first: nats, mean over times, told all properties or none."""
    generator = torch.Generator().manual_seed(SEED)
    values = dataset.values_of(model.config.properties)
    losses = []
    for rows in dataset.n_sites.argsort(stable=True).split(64):
        data, conditions = model.encode(dataset.batch(rows))
        if is_told:
            conditions = replace(conditions, properties=values[rows])
        total = torch.zeros(len(rows))
        for _ in range(N_TIMES):
            t = stratified_times(len(rows), model.config.loss.min_t, generator, torch.device("cpu"))
            noise = draw_noise(model, conditions, generator, torch.device("cpu"))
            estimates = model(model.flow(data, conditions, t, noise), conditions, t)
            total += sum(model.losses(data, estimates, conditions, t)[0].values())
        losses.append(total / N_TIMES)
    return torch.cat(losses).numpy()


def _mean(name: str, values: np.ndarray, unit: str, note: str) -> Claim:
    """The mean with the interval of a bootstrap."""

    def figure(rows: np.ndarray) -> np.ndarray:
        return values[rows].mean(keepdims=True)

    half = Z * float(bootstrap_deviation(figure, len(values), seed=SEED)[0])
    mean = float(values.mean())
    interval = round(mean - half, 3), round(mean + half, 3)
    return Claim(name, round(mean, 3), unit=unit, interval=interval, **_shared(len(values), note))


def _share(name: str, count: int, n: int, note: str) -> Claim:
    low, high = (round(100 * end, 1) for end in wilson_interval(count, n))
    value = round(100 * count / n, 1)
    return Claim(name, value, unit="%", interval=(low, high), **_shared(n, note))


def _shared(n: int, note: str) -> dict[str, Any]:
    return {
        "command": COMMAND,
        "n": n,
        "seed": SEED,
        "versions": weights_of_preset(ORIGIN),
        "note": f"{note[0].upper()}{note[1:]}.",
    }


if __name__ == "__main__":
    main()
