"""What each choice of the model is worth: one change at a time, equal crystals seen, two seeds.

    python scripts/ablations.py train NAME --seed 0    one run: train, validate on val, generate
    python scripts/ablations.py queue [NAME ...]       all that are missing, most telling first
    python scripts/ablations.py cost                   cost of a training step beside the base's
    python scripts/ablations.py record                 results/comparisons.json from what is done

Everything is chosen on MP-20 val. Predictions stand in this file since before the runs. A run
takes a quarter of an hour of one free core, resumes where it was killed, and is not repeated;
several queues share the work.
"""

import argparse
import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from foundation_data import read
from foundation_generation import observables

from symmbfn._files import locked, write_whole
from symmbfn.checkpoints import file_digest, save_model
from symmbfn.datasets.augmentation import augmented
from symmbfn.datasets.cache import EncodedDataset, encode_dataset
from symmbfn.datasets.registry import cache_folder
from symmbfn.datasets.symmcd_lattice import with_symmcd_lattice
from symmbfn.datasets.workers import run_killable
from symmbfn.evaluation.distributions import DISTANCES, distances
from symmbfn.evaluation.observables import dataset_observables
from symmbfn.evaluation.validity import judge
from symmbfn.fitting import elements_of
from symmbfn.generation import generate_indices
from symmbfn.manifests import versions
from symmbfn.model import SymmBFN, compute_statistics, default_config, paper_config
from symmbfn.sampling import preset_sampler
from symmbfn.training import Trainer, TrainingConfig, validate

DATASET = "mp_20"
EPOCHS, N_GENERATED = 20.0, 1000
COPIES = 20
SEEDS = (0, 1)
WORK = cache_folder() / "ablations"


@dataclass(frozen=True)
class Variant:
    """One change to the base and what was expected of it.

    Attributes:
        changes: of the model's configuration.
        prediction: written before the run.
        form: "canonical" or "raw" labels.
        data: "augmented", COPIES of the training set in random settings (and one of val), or
            "symmcd_lattice"; "" as encoded.
        training: changes to the training run.
        epochs: passes over the training set.
        preset: "default" or "paper", what the changes are made to.
    """

    prediction: str
    changes: dict[str, Any] = field(default_factory=dict)
    form: str = "canonical"
    data: str = ""
    training: dict[str, Any] = field(default_factory=dict)
    epochs: float = EPOCHS
    preset: str = "default"


VARIANTS = {
    "base": Variant("The reference: contacts about 78 %, bound about 34.5 nats."),
    "no_images": Variant(
        "Contacts 10 points lower, coordinates 3 nats worse: a site sees none of its neighbours.",
        {"has_images": False},
    ),
    "no_preconditioning": Variant(
        "Elements 1 nat worse and letters too; d_elem hardly changes, since slots settle it.",
        {"is_preconditioned": False},
    ),
    "no_self_conditioning": Variant(
        "Bound equal within 0.3 nats (it is measured without), contacts 3 points lower, 10 % "
        "cheaper steps.",
        {"has_self_conditioning": False},
    ),
    "sites": Variant(
        "d_elem above 0.4: each site settles on an element of its own; SMACT 10 points lower.",
        {"elements_as": "sites"},
    ),
    "axes": Variant(
        "Group kept lower by 2 points, d_rho worse: letters live in the coordinates only.",
        {
            "symmetry": "axes",
            "beta1_symmetry": 2.5,
            "weights": {
                "coords": 1.0,
                "lattice": 0.5,
                "elements": 2.0,
                "pointers": 2.0,
                "axes": 10.0,
            },
        },
    ),
    "data_target": Variant(
        "Coordinates worse late in time: the network has to copy its input to sharpen it.",
        {"target": "data"},
    ),
    "noise_target": Variant(
        "Worse than v: small times multiply the network's error.", {"target": "noise"}
    ),
    "no_cross_entropy": Variant("No difference beyond the seeds.", {"cross_entropy": 0.0}),
    "no_modulation": Variant(
        "Bound 0.5 nats worse, 10 % fewer parameters' cost.", {"is_modulated": False}
    ),
    "raw": Variant(
        "Letters and coordinates 2 nats worse: the network must guess the setting.", form="raw"
    ),
    "frequencies_128": Variant(
        "Bound equal, step 1.5 times as dear: harmonics above 24 carry nothing.",
        {"n_frequencies": 128, "edge_width": 96},
    ),
    "edge_layers_2": Variant(
        "Coordinates 0.3 nats better, step 1.5 times as dear: a draw at equal time.",
        {"edge_layers": 2},
    ),
    "paper": Variant(
        "The published form at this width: contacts below 60 %, d_elem above 0.5.",
        {"width": 256, "depth": 5},
        form="raw",
        preset="paper",
    ),
}

VARIANTS |= {
    "augmented": Variant(
        "Bound 2 nats higher by the settings alone (1.25 on average, and the polar shifts); "
        "contacts and letters as raw: twenty epochs of one setting beat one of twenty.",
        data="augmented",
        epochs=EPOCHS / COPIES,
        training={"validate_every": 5.0 / COPIES},
    ),
    "symmcd_lattice": Variant(
        "Contacts 2 points lower, since a fifth of the cells come back sheared; d_rho equal, the "
        "volume being exact; bound equal within 0.3 nats.",
        data="symmcd_lattice",
    ),
    "transformer": Variant(
        "Bound within 0.3 nats and contacts within 2 points of the base: what the pairs say "
        "counts, not how it is summed.",
        {"network": "transformer"},
    ),
    "masked_axes": Variant(
        "Against axes: group kept 1 point higher, axes' nats a third lower; still behind letters.",
        {**VARIANTS["axes"].changes, "has_axis_mask": True},
    ),
    "linear_accuracy": Variant(
        "Elements and letters 0.5 nats worse, coordinates 0.3 nats better; contacts 1 point "
        "higher, d_elem equal.",
        {"categorical_power": 1.0},
    ),
    "sites_told": Variant(
        "Against sites: elements' cross-entropy a little lower, d_elem still above 0.4: sites are "
        "told how many, but not which.",
        {"elements_as": "sites", "is_told_n_elements": True},
    ),
    "image_stabiliser": Variant(
        "No difference beyond the seeds: letters tell the network how often an atom was counted.",
        {"image_pooling": "stabiliser"},
    ),
    "image_species": Variant(
        "Coordinates 0.2 nats better, contacts 1 point higher.", {"image_pooling": "species"}
    ),
    "output_only": Variant(
        "Bound 0.3 nats worse: most of preconditioning is the output.",
        {"has_bounded_state": False},
    ),
    "input_only": Variant(
        "Nearly as bad as no_preconditioning: elements 0.7 nats worse.",
        {"is_preconditioned": False, "has_bounded_state": True},
    ),
}


def folder_of(name: str, seed: int) -> Path:
    """Where a run keeps its checkpoints, log, weights and outcome."""
    return WORK / f"{name}-{seed}"


def data_of(variant: Variant, split: str, seed: int) -> EncodedDataset:
    """The crystals of a split as a variant sees them; val is the same for all seeds."""
    dataset = encode_dataset(DATASET, split=split, form=variant.form)
    if variant.data == "augmented":
        is_train = split == "train"
        return augmented(dataset, COPIES if is_train else 1, seed if is_train else 0)
    if variant.data == "symmcd_lattice":
        return with_symmcd_lattice(dataset)
    return dataset


def model_of(variant: Variant, train: EncodedDataset, seed: int) -> SymmBFN:
    """A new model of a variant, initial weights from the seed."""
    if variant.preset == "paper":
        config = paper_config(**variant.changes)
    else:
        config = default_config(elements_of(train), **variant.changes)
    statistics = compute_statistics(train.batch(torch.arange(len(train))), config)
    torch.manual_seed(seed)
    return SymmBFN(config, statistics).train()


def training_of(variant: Variant, seed: int) -> TrainingConfig:
    """The budget all share: crystals seen, batches, schedule."""
    settings = {
        "epochs": variant.epochs,
        "batch_size": 128,
        "warmup_steps": 400,
        "dtype": "bf16",
        "seed": seed,
        "validate_every": 5.0,
        **variant.training,
    }
    return TrainingConfig(**settings)


def train(name: str, seed: int) -> dict[str, Any]:
    """One run to its end: weights, losses on val, and what it generates."""
    variant, folder = VARIANTS[name], folder_of(name, seed)
    data = {split: data_of(variant, split, seed) for split in ("train", "val")}
    model = model_of(variant, data["train"], seed)
    trainer = Trainer(model, data["train"], data["val"], training_of(variant, seed), folder)
    average = trainer.run()
    save_model(average, folder / "weights", notes={"variant": name, "seed": seed})
    outcome = {
        "name": name,
        "seed": seed,
        **asdict(variant),
        "parameters": sum(p.numel() for p in model.parameters()),
        "crystals": trainer.crystals,
        "seconds": round(trainer.elapsed),
        "skipped": trainer.skipped,
        "weights": file_digest(folder / "weights" / "model.safetensors"),
        "versions": versions(),
        "val": validate(average, data["val"]),
        "generated": generated(average, seed),
    }
    write_whole(folder / "outcome.json", json.dumps(outcome, indent=1) + "\n")
    return outcome


def generated(model: SymmBFN, seed: int, n: int = N_GENERATED, **changes: Any) -> dict[str, Any]:
    """Counts and distances of n crystals with the preset's sampler, against all of val."""
    sampler = preset_sampler(model, **changes)
    index = torch.arange(n)
    seed_of_requests = 700 + seed
    crystals = [
        c for b in generate_indices(model, index, sampler, seed=seed_of_requests) for c in b
    ]
    outcomes = list(run_killable(judge, crystals, workers=1, time_limit=120.0))
    rows = [asdict(o.value) for o in outcomes if not o.reason]
    valid = [row for row in rows if row["is_structurally_valid"]]
    reference = dataset_observables(read(DATASET, "val")[1])
    found = distances(observables(valid), reference) if valid else [float("nan")] * 3
    return {
        "n": n,
        "seed": seed_of_requests,
        "sampler": asdict(sampler),
        "validity_structural": len(valid),
        "contacts": sum(row["has_good_contacts"] for row in rows),
        "validity_smact": sum(row["is_smact_valid"] for row in rows),
        "group_kept": sum(row["symmetry"] == "kept" for row in rows),
        "p1": sum(row["found_group"] == 1 for row in rows),
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("train", "queue"))
    parser.add_argument("names", nargs="*", choices=[[], *VARIANTS])
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.verb == "queue":
        queue(arguments.names)
    for name in arguments.names if arguments.verb == "train" else ():
        with claimed(name, arguments.seed) as is_mine:
            if is_mine:
                train(name, arguments.seed)


if __name__ == "__main__":
    main()
