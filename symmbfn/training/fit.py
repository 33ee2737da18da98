"""From a dataset to weights: encode, build the model or take one that is trained, train, write."""

import hashlib
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from symmbfn.crystals.elements import MENDELEEV_NUMBER, SYMBOLS
from symmbfn.datasets.cache import FAILURES, EncodedDataset, encode_dataset
from symmbfn.datasets.full_cell import full_cells, primitive_cells
from symmbfn.datasets.registry import DATASETS, cache_folder, dataset_label, dataset_names
from symmbfn.model.card import model_card
from symmbfn.model.checkpoints import (
    CONFIG_FILE,
    load_model,
    read_config,
    save_model,
    weights_folder,
)
from symmbfn.model.config import PUBLISHED, ModelConfig, default_config
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import compute_statistics
from symmbfn.runtime.devices import pick_device
from symmbfn.runtime.distributed import Ranks, joined
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.run_folder import check_folder, only_process, open_folder, versions
from symmbfn.training.trainer import INCIDENTAL, LOG, Trainer, TrainingConfig

PRESETS = ("default", *PUBLISHED)
CELLS = {"conventional": full_cells, "primitive": primitive_cells}
WEIGHTS, CARD = "weights", "MODEL_CARD.md"
HELD_OUT = 20  # one crystal in so many validates where a dataset has no split for it


@dataclass(frozen=True)
class FitConfig:
    """What is trained, beside the data and the training itself.

    Attributes:
        preset: "default", "paper", "full_cell" or "circular", for a new model.
        cell: "conventional" or "primitive", of which a model without symmetry knows all atoms;
            None takes the first.
        origin: weights to continue from, a shipped name or a model folder, or None.
        width, depth: of a new model; None takes the preset's.
        symprec: tolerance at which the symmetry of the data is read, angstrom; None takes the
            dataset's own.
        properties: columns that a new model of the default preset learns to be asked for; None
            takes all numbers of a named dataset, and none of a file of the user's.
        device: "auto", "cpu" or "cuda".
        has_tensorboard: write TensorBoard's files beside the log.
    """

    preset: str = "default"
    cell: str | None = None
    origin: str | None = None
    width: int | None = None
    depth: int | None = None
    symprec: float | None = None
    properties: tuple[str, ...] | None = None
    device: str = "auto"
    has_tensorboard: bool = False

    def __post_init__(self):
        if self.preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {self.preset!r}")
        if self.cell not in (None, *CELLS):
            raise ValueError(f"cell must be one of {', '.join(CELLS)}, got {self.cell!r}")
        if self.cell and self.origin:
            raise ValueError(f"cell {self.cell!r} cannot change the model of {self.origin!r}")
        if self.cell and self.preset in ("default", "paper"):
            raise ValueError(
                f"cell {self.cell!r} is for the presets full_cell and circular, "
                f"not for {self.preset!r}"
            )
        if self.properties and self.origin:
            raise ValueError(
                f"properties {', '.join(self.properties)} cannot change the model of "
                f"{self.origin!r}"
            )
        if self.properties and self.preset != "default":
            raise ValueError(
                f"properties {', '.join(self.properties)} are for the preset default, "
                f"not for {self.preset!r}"
            )
        for name in ("width", "depth"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
            if value is not None and self.origin:
                raise ValueError(f"{name} {value} cannot change the model of {self.origin!r}")


def fit(
    dataset: str | Path, folder: str | Path, config: FitConfig, training: TrainingConfig
) -> Path:
    """Train on a dataset, or go on with what an earlier call left; returns the model folder.

    Under `torchrun` all processes train together, and the first one writes.

    Args:
        dataset: a name or a path, as in `load_dataset`.
        folder: for checkpoints, log and, at the end, `weights/`; new, empty or of the same run.
        config, training: what and how.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
        KeyboardInterrupt: after a signal, when the state is on the disk.
    """
    with joined(pick_device(config.device)) as (ranks, device):
        return _fit(dataset, Path(folder), config, training, ranks, device)


def _fit(
    dataset: str | Path,
    folder: Path,
    config: FitConfig,
    training: TrainingConfig,
    ranks: Ranks,
    device: torch.device,
) -> Path:
    source = load_model(config.origin) if config.origin else None
    log_class = _trainer_class(config)
    is_canonical = source.config.is_standardised if source else config.preset == "default"
    cell = _cell(config, source)
    with ranks.first_alone():
        check_folder(folder)
        form = "canonical" if is_canonical else "raw"
        everything, validation = training_sets(
            dataset, form=form, cell=cell, symprec=config.symprec
        )
    properties = config.properties
    if properties is None and str(dataset) not in dataset_names():
        properties = ()
    new = replace(config, properties=properties)
    model_config = source.config if source else new_config(everything, new)
    train, why = only_known(everything, model_config)
    if not len(train):
        raise ValueError(f"nothing is left for the model to train on: {why}")
    left_out = {
        "not_encoded": len(everything.failures),
        "not_known": len(everything) - len(train),
        "why": why,
    }
    if validation is not None:
        validation, _ = only_known(validation, model_config)
        validation = validation if len(validation) else None
    origin = read_config(weights_folder(config.origin))["sha256"] if config.origin else None
    settings = {
        "dataset": dataset_label(dataset),
        "data": train.digest,
        "preset": None if source else config.preset,
        "continued_from": origin,
        "width": model_config.width,
        "depth": model_config.depth,
        **({"cell": cell} if cell else {}),
        **({"symprec": config.symprec} if config.symprec else {}),
        **({"properties": config.properties} if config.properties is not None else {}),
        **{k: v for k, v in asdict(training).items() if k not in INCIDENTAL},
    }
    with ranks.first_alone():
        open_folder(folder, settings, {"versions": versions()})
    with only_process(folder) if ranks.is_first else nullcontext():
        if (folder / WEIGHTS / CONFIG_FILE).is_file():
            return folder / WEIGHTS
        model = build_model(model_config, train, source, training.seed).to(device)
        say = f"continuing from weights {origin[:12]}" if origin else f"a new {config.preset} model"
        size = sum(parameter.numel() for parameter in model.parameters())
        print(f"{say}: {size / 1e6:.2f} million parameters, {len(train)} crystals", flush=True)
        run = _fitting_warmup(training, train)
        trainer = log_class(model, train, validation, run, folder, ranks)
        notes = {**settings, "left_out": left_out}
        _say_properties(train.property_names, model_config.properties)
        if not trainer.step and ranks.is_first:
            _log_start(folder, notes, validation)
        average = trainer.run()
        if ranks.is_first:
            _write_weights(folder, average, trainer, notes)
        ranks.wait()
    return folder / WEIGHTS


# ---- data -------------------------------------------------------------------------------------


def _cell(config: FitConfig, source: SymmBFN | None) -> str | None:
    """Of which cell the model knows all atoms; None if it knows sites and symmetry."""
    if source is None:
        is_of_atoms = config.preset in ("full_cell", "circular")
        return (config.cell or "conventional") if is_of_atoms else None
    if source.config.symmetry != "none":
        return None
    notes = read_config(weights_folder(str(config.origin)))["notes"]
    return notes.get("cell", "conventional")


def training_sets(
    dataset: str | Path, *, form: str, cell: str | None = None, symprec: float | None = None
) -> tuple[EncodedDataset, EncodedDataset | None]:
    """Encoded training and validation crystals; what has no split for it gives one in 20.

    Args:
        dataset: a name or a path.
        form: "canonical" or "raw".
        cell: "conventional" or "primitive", to write out all its atoms; None for sites.
        symprec: symmetry tolerance in angstrom; None takes the dataset's own.

    Returns:
        The training set, and the validation set or None where it would be empty.
    """
    known = DATASETS.get(str(dataset))
    splits = {**known.local, **known.official} if known else {}
    options = {"form": form, "symprec": symprec}
    train = _encoded(dataset, "train" if splits else None, cell, **options)
    if "val" in splits:
        return train, _encoded(dataset, "val", cell, **options)
    is_held_out = torch.tensor([_is_held_out(name) for name in train.identifiers])
    if is_held_out.all() or not is_held_out.any():
        return train, None
    mine, others = (mask.nonzero().flatten() for mask in (~is_held_out, is_held_out))
    return train.subset(mine), train.subset(others)


def _encoded(
    dataset: str | Path, split: str | None, cell: str | None, **options: Any
) -> EncodedDataset:
    """Encode a split, and say how many of its rows could not be."""
    encoded = encode_dataset(dataset, split=split, **options)
    if failed := len(encoded.failures):
        rows = f"{failed} of {failed + len(encoded)} rows of {dataset_label(dataset)}"
        reasons = cache_folder() / "encoded" / FAILURES
        print(f"not encoded: {rows} {split or ''}".rstrip() + f", see {reasons}", flush=True)
    return CELLS[cell](encoded) if cell else encoded


def only_known(dataset: EncodedDataset, config: ModelConfig) -> tuple[EncodedDataset, str]:
    """Leave out the crystals that a model has no classes for, and say how many.

    Returns:
        The others, and why some were left out; empty if none was.
    """
    crystal = torch.repeat_interleave(torch.arange(len(dataset)), dataset.n_sites)
    numbers = dataset.atomic_numbers.long()
    is_known = torch.isin(numbers, torch.tensor(config.elements))
    unknown = sorted({SYMBOLS[number] for number in numbers[~is_known].tolist()})
    has_element = torch.zeros(len(dataset), len(SYMBOLS), dtype=torch.bool)
    has_element[crystal, numbers] = True
    keep = torch.ones(len(dataset), dtype=torch.bool)
    keep[crystal[~is_known]] = False
    is_crowded = has_element.sum(-1) > config.n_slots
    if config.elements_as == "slots":
        keep &= ~is_crowded
    if keep.all():
        return dataset, ""
    reasons = [f"elements it does not know ({', '.join(unknown)})"] if unknown else []
    if config.elements_as == "slots" and is_crowded.any():
        reasons.append(f"more than {config.n_slots} elements")
    why = f"{int((~keep).sum())} of {len(dataset)} crystals have {' or '.join(reasons)}"
    print(f"left out: {why}", flush=True)
    return dataset.subset(keep.nonzero().flatten()), why


def _is_held_out(identifier: str) -> bool:
    """One in 20, by the name alone: the same crystal validates wherever it comes."""
    return int(hashlib.sha256(identifier.encode()).hexdigest(), 16) % HELD_OUT == 0


# ---- model ------------------------------------------------------------------------------------


def elements_of(dataset: EncodedDataset) -> tuple[int, ...]:
    """Atomic numbers that occur, along the Mendeleev scale."""
    present = set(dataset.atomic_numbers.tolist())
    return tuple(sorted(present, key=lambda number: (MENDELEEV_NUMBER[number], number)))


def new_config(dataset: EncodedDataset, config: FitConfig) -> ModelConfig:
    """Configuration of a new model; slots take their elements along the Mendeleev scale.

    The default preset learns to be asked for the properties of `config`, or for all that the
    dataset knows.

    Raises:
        ValueError: the dataset does not know one of them of two crystals.
    """
    changes: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("width", "depth")
        if getattr(config, name) is not None
    }
    if config.preset == "default":
        counts = (~dataset.properties.isnan()).sum(0) > 1
        pairs = zip(dataset.property_names, counts, strict=True)
        known = tuple(name for name, is_known in pairs if is_known)
        names = known if config.properties is None else config.properties
        if unknown := [name for name in names if name not in known]:
            there = ", ".join(known) or "none"
            raise ValueError(f"no property {', '.join(unknown)} in the dataset, only {there}")
        return default_config(elements_of(dataset), properties=names, **changes)
    return PUBLISHED[config.preset](**changes)


def build_model(
    config: ModelConfig, dataset: EncodedDataset, source: SymmBFN | None, seed: int
) -> SymmBFN:
    """A new model, or the source's weights with the requests of the new dataset.

    Coordinates and lattice stay standardised as the source's weights know them; which space
    groups and numbers of sites and elements are drawn is the new dataset's.
    """
    units = dataset.batch(torch.arange(len(dataset)))
    if source is None:
        statistics = compute_statistics(units, config, dataset.values_of(config.properties))
    else:
        # properties stay scaled as the source knows them, whatever the new dataset has of them
        new = compute_statistics(units, replace(config, properties=()))
        statistics = replace(source.statistics, given=new.given, given_count=new.given_count)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SymmBFN(config, statistics)
    if source is not None:
        model.load_state_dict(source.state_dict())
    return model.train()


# ---- the run ----------------------------------------------------------------------------------


def _say_properties(there: tuple[str, ...], learnt: tuple[str, ...]) -> None:
    """Print which properties the model learns to be asked for, and which numbers it leaves."""
    for what, names in (
        ("learns to be asked for", [name for name in learnt if name in there]),
        ("never told, the dataset has no", [name for name in learnt if name not in there]),
        ("not learnt, numbers of the dataset", [name for name in there if name not in learnt]),
    ):
        if names:
            print(f"{what}: {', '.join(names)}", flush=True)


def _trainer_class(config: FitConfig) -> type[Trainer]:
    """The loop, with TensorBoard's files beside its log if they are asked for.

    Raises:
        ValueError: TensorBoard is not installed.
    """
    if not config.has_tensorboard:
        return Trainer
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("tensorboard is not installed: pip install symmbfn[tensorboard]") from None

    class LoggingTrainer(Trainer):
        def run(self) -> SymmBFN:
            if not self.ranks.is_first:
                return super().run()
            # what a killed process wrote of later steps is not shown
            folder, later = str(self.folder / "tensorboard"), self.step + 1
            with SummaryWriter(folder, purge_step=later) as self.writer:
                return super().run()

        def log(self, kind: str, values: dict[str, float]) -> None:
            super().log(kind, values)
            for name, value in values.items() if self.ranks.is_first else ():
                self.writer.add_scalar(f"{kind}/{name}", value, self.step)

    return LoggingTrainer


def _fitting_warmup(training: TrainingConfig, dataset: EncodedDataset) -> TrainingConfig:
    """Shorten the warm-up to a tenth of a short run; by the clock the trainer does."""
    if training.minutes is not None:
        return training
    n_steps = training.epochs * len(dataset) / training.batch_size
    return replace(training, warmup_steps=min(training.warmup_steps, max(1, int(n_steps / 10))))


def _log_start(folder: Path, settings: dict[str, Any], validation: EncodedDataset | None) -> None:
    """The first line of the log says what the others belong to."""
    line = {
        "kind": "start",
        **settings,
        "validation_crystals": 0 if validation is None else len(validation),
    }
    write_whole(folder / LOG, json.dumps(line) + "\n")


def _write_weights(
    folder: Path, average: SymmBFN, trainer: Trainer, settings: dict[str, Any]
) -> None:
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    measured = [line for line in lines if line["kind"] == "validation"]
    notes = {
        **settings,
        "n_crystals": len(trainer.dataset),
        "crystals_seen": trainer.crystals,
        "epochs_seen": round(trainer.epochs, 2),
        "steps": trainer.step,
        "steps_skipped": trainer.skipped,
        "seconds": round(trainer.elapsed),
        "device": _device_name(trainer.device, trainer.ranks.size),
        "validation": measured[-1] if measured else None,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": versions(),
    }
    write_whole(folder / WEIGHTS / CARD, model_card(average, notes))
    save_model(average, folder / WEIGHTS, notes=notes)


def _device_name(device: torch.device, n: int) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if n == 1 else f"{n} x {name}"
