"""What each choice of the model is worth: one change at a time, equal crystals seen, two seeds.

    python -m scripts.comparisons.ablations train NAME --seed 0  one run: train, validate, generate
    python -m scripts.comparisons.ablations queue [NAME ...]  what is missing, most telling first
    python -m scripts.comparisons.ablations cost  cost of a training step beside the base's
    python -m scripts.comparisons.ablations sample [NAME ...]  other samplers of the shipped weights
    python -m scripts.comparisons.ablations record  results/comparisons.json from what is done

Everything is chosen on MP-20 val. Predictions stand in this file since before the runs. A run
takes a quarter of an hour of one free core, resumes where it was killed, and is not repeated;
several queues share the work.
"""

import argparse
import contextlib
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from scripts.comparisons.claims import (
    SEEDS,
    WORK,
    Runs,
    cited,
    claims_of,
    folder_of,
    outcomes_of,
    sampler_claims,
)
from scripts.comparisons.variants import BASE, SAMPLERS, VARIANTS, Variant
from scripts.foundation.data import read
from scripts.foundation.generation import observables
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.full_cell import full_cells, primitive_cells
from symmbfn.evaluation.distributions import DISTANCES, distances
from symmbfn.evaluation.observables import dataset_observables
from symmbfn.evaluation.validity import judge
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import (
    WEIGHTS_FILE,
    file_digest,
    load_model,
    save_model,
    weights_folder,
)
from symmbfn.model.config import PUBLISHED, default_config
from symmbfn.model.config_files import settings_of
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.files import locked, write_whole
from symmbfn.runtime.run_folder import versions
from symmbfn.runtime.workers import run_killable
from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
from symmbfn.training.data import elements_of
from symmbfn.training.fit import build_model
from symmbfn.training.trainer import Trainer
from symmbfn.training.validation import validate

DATASET = "mp_20"
N_GENERATED = 1000
CELLS = {"full_cells": full_cells, "primitive_cells": primitive_cells}
COST_ROUNDS, COST_STEPS = 7, 4  # of timing


def data_of(variant: Variant, split: str) -> EncodedDataset:
    """The crystals of a split as a variant sees them."""
    dataset = encode_dataset(DATASET, split=split, form=variant.form)
    return CELLS[variant.data](dataset) if variant.data else dataset


def model_of(variant: Variant, train: EncodedDataset, seed: int) -> SymmBFN:
    """A new model of a variant, initial weights from the seed."""
    if variant.preset in PUBLISHED:
        config = PUBLISHED[variant.preset]()
    else:
        config = BASE(default_config(elements_of(train)))
    return build_model(variant.change(config), train, None, seed)


def training_of(variant: Variant, seed: int) -> TrainingConfig:
    """The budget all share: crystals seen, batches, schedule."""
    changed = {"batch_size": 128, "warmup_steps": 400, "validate_every": 5.0, **variant.training}
    return TrainingConfig(
        epochs=variant.epochs,
        batch_size=changed["batch_size"],
        optimiser=OptimiserConfig(warmup_steps=changed["warmup_steps"]),
        dtype="bf16",
        seed=seed,
        reporting=ReportingConfig(validate_every=changed["validate_every"]),
    )


def train(name: str, seed: int) -> dict[str, Any]:
    """One run to its end: weights, losses on val, and what it generates."""
    variant, folder = VARIANTS[name], folder_of(name, seed)
    data = {split: data_of(variant, split) for split in ("train", "val")}
    model = model_of(variant, data["train"], seed)
    trainer = Trainer(model, data["train"], data["val"], training_of(variant, seed), folder)
    average = trainer.run()
    save_model(average, folder / "weights", notes={"variant": name, "seed": seed})
    outcome = {
        "name": name,
        "seed": seed,
        "settings": settings_of(model.config),
        "parameters": sum(p.numel() for p in model.parameters()),
        "crystals": trainer.crystals,
        "seconds": round(trainer.elapsed),
        "skipped": trainer.skipped,
        "weights": file_digest(folder / "weights" / "model.safetensors"),
        "versions": versions(),
        "val": validate(average, data["val"]),
        "generated": generated(average, seed, **sampler_of(average)),
    }
    write_whole(folder / "outcome.json", json.dumps(outcome, indent=1) + "\n")
    return outcome


def sampler_of(model: SymmBFN) -> dict[str, Any]:
    """The sampler of all variants but those that bring the paper's or the circle's: the default
    of the first ones, whatever it has become.
    """
    return {"n_steps": 31, "clearance": 0.0} if model.config.coords.is_standardised else {}


def generated(model: SymmBFN, seed: int, n: int = N_GENERATED, **changes: Any) -> dict[str, Any]:
    """Counts and distances of n crystals, against all of val."""
    sampler = preset_sampler(model, **changes)
    request = Request(n=n, seed=700 + seed)
    crystals = [c for b in generate_batches(model, request, sampler) for c in b]
    outcomes = list(run_killable(judge, crystals, workers=1, time_limit=120.0))
    rows = [asdict(o.value) for o in outcomes if not o.reason]
    valid = [row for row in rows if row["is_structurally_valid"]]
    reference = dataset_observables(read(DATASET, "val")[1])
    found = distances(observables(valid), reference) if valid else [float("nan")] * 3
    return {
        "n": n,
        "seed": request.seed,
        "sampler": asdict(sampler),
        "validity_structural": len(valid),
        "contacts": sum(row["has_good_contacts"] for row in rows),
        "validity_smact": sum(row["is_smact_valid"] for row in rows),
        "group_kept": sum(row["symmetry"] == "kept" for row in rows),
        "p1": sum(row["found_group"] == 1 for row in rows),
        "p1_or_none": n - sum((row["found_group"] or 1) != 1 for row in rows),
        **{name: float(value) for name, value in zip(DISTANCES, found, strict=True)},
    }


@contextlib.contextmanager
def claimed(name: str, seed: int) -> Iterator[bool]:
    """Whether this process may make a run: nobody else is at it, and it is not done."""
    folder = folder_of(name, seed)
    folder.mkdir(parents=True, exist_ok=True)
    owner = folder / "owner"
    with locked(owner):
        pid = int(owner.read_text()) if owner.is_file() else 0
        is_free = not (pid and Path(f"/proc/{pid}").exists())
        is_mine = is_free and not (folder / "outcome.json").is_file()
        if is_mine:
            owner.write_text(str(os.getpid()))
    try:
        yield is_mine
    finally:
        if is_mine:
            owner.unlink(missing_ok=True)


def queue(names: list[str]) -> None:
    """Make all runs that are missing, first every variant with one seed, then with the other."""
    for seed in SEEDS:
        for name in names or list(VARIANTS):
            with claimed(name, seed) as is_mine:
                if is_mine:
                    began = time.monotonic()
                    outcome = train(name, seed)
                    minutes = (time.monotonic() - began) / 60
                    print(name, seed, f"{minutes:.1f} min", outcome["generated"], flush=True)


def shipped_digest() -> str:
    """SHA-256 of the shipped default weights."""
    return file_digest(weights_folder("default") / WEIGHTS_FILE)


def sampled(name: str, seed: int) -> Path:
    """Where it is kept what a sampler made of the shipped weights."""
    return WORK / "samplers" / f"{name}-{seed}-{shipped_digest()[:12]}.json"


def sample_with(names: list[str]) -> None:
    """What the shipped weights generate with other samplers; done ones are not made again."""
    model = load_model("default")
    for seed in SEEDS:
        for name in names or list(SAMPLERS):
            path = sampled(name, seed)
            if not path.is_file():
                path.parent.mkdir(parents=True, exist_ok=True)
                found = generated(model, seed, **SAMPLERS[name].changes)
                write_whole(path, json.dumps({"seed": seed, "generated": found}, indent=1) + "\n")
                print(name, seed, found, flush=True)


def cost(names: list[str]) -> None:
    """Time of a training step of every variant over the base's, in turns; kept beside the runs."""
    trainers = {name: _trainer_at_start(name) for name in ("base", *names)}
    rounds: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(COST_ROUNDS):
        for name, trainer in trainers.items():
            before, seen = time.process_time(), trainer.crystals
            for _ in range(COST_STEPS):
                trainer.train_step(next(trainer.batches))
            rounds[name].append((time.process_time() - before) / (trainer.crystals - seen))
    for name, times in rounds.items():
        ratios = sorted(a / b for a, b in zip(times, rounds["base"], strict=True))
        value = {
            "ratio": statistics.median(ratios),
            "interval": [ratios[0], ratios[-1]],
            "rounds": COST_ROUNDS,
        }
        write_whole(WORK / f"{name}-cost.json", json.dumps(value) + "\n")
        print(name, value, flush=True)


def _trainer_at_start(name: str) -> Trainer:
    """A run of a variant that is thrown away, past the first steps, which are slower."""
    variant = VARIANTS[name]
    data = data_of(variant, "train")
    folder = Path(tempfile.mkdtemp())
    trainer = Trainer(model_of(variant, data, 0), data, None, training_of(variant, 0), folder)
    for _ in range(COST_STEPS):
        trainer.train_step(next(trainer.batches))
    return trainer


def _sampled_runs(name: str) -> dict[int, dict[str, Any]]:
    paths = {seed: sampled(name, seed) for seed in SEEDS}
    return {seed: json.loads(path.read_text()) for seed, path in paths.items() if path.is_file()}


def record_all() -> None:
    """Record what is done; variants that are not run are named as such."""
    crowds: dict[str, dict[str, Runs]] = {"ablation": {}, "representation": {}}
    for name, variant in VARIANTS.items():
        if runs := outcomes_of(name):
            kind = "representation" if variant.against == "as_sites" else "ablation"
            crowds[kind][name] = runs
    found = [claim for kind, crowd in crowds.items() for claim in claims_of(crowd, kind)]
    absent = [name for name in VARIANTS if not outcomes_of(name)]
    partial = [name for name in VARIANTS if 0 < len(outcomes_of(name)) < len(SEEDS)]
    n_complete = len(VARIANTS) - len(absent) - len(partial)
    some = (", ".join(partial) or "none") if n_complete else "all others"
    note = f"Not run: {', '.join(absent) or 'none'}. Fewer than {len(SEEDS)} seeds: {some}."
    sampled_by = {name: runs for name in SAMPLERS if (runs := _sampled_runs(name))}
    found += sampler_claims(sampled_by, {"weights/default": shipped_digest()})
    command = "python -m scripts.comparisons.ablations record"
    found.append(Claim("ablation.all.complete", n_complete, command, note=note))
    record("comparisons", [*found, *cited(found)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("train", "queue", "cost", "sample", "record"))
    parser.add_argument("names", nargs="*", choices=[[], *VARIANTS, *SAMPLERS])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.verb == "queue":
        queue(arguments.names)
    elif arguments.verb == "cost":
        cost(arguments.names or [name for name in VARIANTS if name != "base"])
    elif arguments.verb == "sample":
        sample_with(arguments.names)
    elif arguments.verb == "record":
        record_all()
    for name in arguments.names if arguments.verb == "train" else ():
        with claimed(name, arguments.seed) as is_mine:
            if is_mine:
                train(name, arguments.seed)


if __name__ == "__main__":
    main()
