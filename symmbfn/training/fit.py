"""From a dataset to weights: encode, build the model or take one that is trained, train, write."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.conditions.known_templates import KnownTemplates
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.label_files import read_labels
from symmbfn.datasets.registry import SAME_COLUMN, dataset_label, dataset_names
from symmbfn.model.card import model_card
from symmbfn.model.checkpoints import (
    CONFIG_FILE,
    load_model,
    read_config,
    save_model,
    weights_folder,
)
from symmbfn.model.config import PUBLISHED, ModelConfig, default_config
from symmbfn.model.further_properties import (
    continued_statistics,
    take_weights,
    with_further_properties,
)
from symmbfn.model.statistics import compute_statistics, with_property_tables
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.checks import one_of, real_number, whole_number
from symmbfn.runtime.devices import pick_device
from symmbfn.runtime.distributed import Ranks, joined
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.run_folder import check_folder, only_process, open_folder, versions
from symmbfn.training.config import TrainingConfig
from symmbfn.training.data import (
    CELLS,
    check_varying,
    elements_of,
    extra_crystals,
    learnable_sets,
    training_sets,
    varying_properties,
)
from symmbfn.training.logs import read_log, start_log, tensorboard_writer
from symmbfn.training.trainer import Trainer

PRESETS = ("default", *PUBLISHED)
WEIGHTS, CARD = "weights", "MODEL_CARD.md"


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
        properties: columns that a new model of the default preset can be conditioned on; None
            takes all numbers of a named dataset, and none of a file of the user's. A model that
            is continued learns those that it does not have yet beside its own.
        extra: dataset of further crystals, which the model always sees with their energy above
            the hull: it learns from them what unstable is, and they leave what it generates
            without conditions as it was. None for none.
        labels: values joined to the dataset by id, see `read_labels`; later ones go over earlier
            ones.
        device: "auto", "cpu" or "cuda".
    """

    preset: str = "default"
    cell: str | None = None
    origin: str | None = None
    width: int | None = None
    depth: int | None = None
    symprec: float | None = None
    properties: tuple[str, ...] | None = None
    extra: str | None = None
    labels: tuple[str | Path, ...] = ()
    device: str = "auto"

    def __post_init__(self):
        one_of("preset", self.preset, PRESETS)
        if self.cell is not None:
            one_of("cell", self.cell, tuple(CELLS))
        for name in ("width", "depth"):
            if (value := getattr(self, name)) is not None:
                whole_number(name, value)
        if self.symprec is not None:
            real_number("symprec", self.symprec, above=0.0)
        self._check_fits_model()

    def _check_fits_model(self) -> None:
        """Refuse what the model that is continued, or the preset, does not have."""
        if self.origin:
            for name in ("cell", "width", "depth"):
                if value := getattr(self, name):
                    raise ValueError(f"{name} {value!r} cannot change the model of {self.origin!r}")
        if self.cell and self.preset in ("default", "paper"):
            raise ValueError(
                f"cell {self.cell!r} is for the presets full_cell and circular, "
                f"not for {self.preset!r}"
            )
        if self.properties and not self.origin and self.preset != "default":
            raise ValueError(
                f"properties {', '.join(self.properties)} are for the preset default, "
                f"not for {self.preset!r}"
            )


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
        FloatingPointError: losses were not finite; there are no weights.
        KeyboardInterrupt: after a signal, when the state is on the disk.
    """
    if training.reporting.has_tensorboard:
        tensorboard_writer()  # raises where it is missing, before any work
    if config.properties:
        names = dict.fromkeys(SAME_COLUMN.get(name, name) for name in config.properties)
        config = replace(config, properties=tuple(names))
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
    cell = _cell(config, source)
    is_canonical = source.config.coords.is_standardised if source else config.preset == "default"
    labels = [read_labels(name_or_path) for name_or_path in config.labels]
    with ranks.first_alone():
        check_folder(folder)
        everything, validation = training_sets(
            dataset,
            form="canonical" if is_canonical else "raw",
            cell=cell,
            symprec=config.symprec,
            properties=config.properties or (),
            labels=labels,
        )
    model_config = _config(dataset, everything, config, source)
    train, validation, left_out = learnable_sets(everything, validation, model_config)
    further = model_config.properties[len(source.config.properties) :] if source else ()
    check_varying(train, further)
    dataset_seen, n_extra = train, 0
    if config.extra:
        with ranks.first_alone():
            extra = extra_crystals(config.extra, model_config, train, validation, labels)
        dataset_seen, n_extra = train.followed_by(extra), len(extra)
    settings = {
        "dataset": dataset_label(dataset),
        "data": dataset_seen.digest,
        **({"extra": config.extra, "n_extra": n_extra} if config.extra else {}),
        **_settings_of(config, model_config, cell),
        **({"further_properties": further} if further else {}),
        **({"labels": {one.name: one.digest for one in labels}} if labels else {}),
        **training.settings(),
    }
    with ranks.first_alone():
        open_folder(folder, settings, {"versions": versions()})
    with only_process(folder) if ranks.is_first else nullcontext():
        if (folder / WEIGHTS / CONFIG_FILE).is_file():
            return folder / WEIGHTS
        values = dataset_seen.values_of(model_config.properties)
        model = build_model(model_config, train, source, training.seed, values).to(device)
        _say_start(model, train, settings)
        run = training.with_short_warmup(len(dataset_seen))
        trainer = Trainer(model, dataset_seen, validation, run, folder, ranks, n_extra)
        notes = {**settings, "left_out": left_out}
        if not trainer.step and ranks.is_first:
            n_validation = 0 if validation is None else len(validation)
            start_log(folder, {**notes, "validation_crystals": n_validation})
        average = trainer.run()
        if ranks.is_first:
            _write_weights(average, trainer, notes)
        ranks.wait()
    return folder / WEIGHTS


def _cell(config: FitConfig, source: SymmBFN | None) -> str | None:
    """Of which cell the model knows all atoms; None if it knows sites and symmetry."""
    if source is None:
        is_of_atoms = config.preset in ("full_cell", "circular")
        return (config.cell or "conventional") if is_of_atoms else None
    if not source.config.is_of_atoms:
        return None
    notes = read_config(weights_folder(str(config.origin)))["notes"]
    return notes.get("cell", "conventional")


def _settings_of(config: FitConfig, model: ModelConfig, cell: str | None) -> dict[str, Any]:
    """What decides the model of a run, by name, and what it is continued from."""
    origin: dict[str, Any] = {"continued_from": None}
    if config.origin:
        found = read_config(weights_folder(config.origin))
        dataset = found["notes"].get("dataset")  # the last one that it was trained on
        origin = {"continued_from": found["sha256"], "origin_dataset": dataset}
    return {
        "preset": None if config.origin else config.preset,
        **origin,
        "width": model.network.width,
        "depth": model.network.depth,
        **({"cell": cell} if cell else {}),
        **({"symprec": config.symprec} if config.symprec else {}),
        **({"properties": config.properties} if config.properties is not None else {}),
    }


def new_config(dataset: EncodedDataset, config: FitConfig) -> ModelConfig:
    """Configuration of a new model; slots take their elements along the Mendeleev scale.

    A model of the default preset can be conditioned on the properties of `config`, or on all
    that differ between the crystals of the dataset.

    Raises:
        ValueError: one of the properties is not there, or the same for all crystals.
    """
    changes: dict[str, Any] = {
        name: getattr(config, name)
        for name in ("width", "depth")
        if getattr(config, name) is not None
    }
    if config.preset != "default":
        return PUBLISHED[config.preset](**changes)
    varying = varying_properties(dataset)
    names = varying if config.properties is None else config.properties
    if missing := [name for name in names if name not in dataset.property_names]:
        there = ", ".join(dataset.property_names) or "none"
        raise ValueError(f"no property {', '.join(missing)} in the dataset, only {there}")
    check_varying(dataset, names)
    return default_config(elements_of(dataset), properties=names, **changes)


def _config(
    dataset: str | Path, encoded: EncodedDataset, config: FitConfig, source: SymmBFN | None
) -> ModelConfig:
    """The source's with further properties, or `new_config`.

    A file of the user's has no properties that are not named.
    """
    if source is not None:
        return with_further_properties(source.config, config.properties or ())
    is_named = config.properties is not None or str(dataset) in dataset_names()
    return new_config(encoded, config if is_named else replace(config, properties=()))


def build_model(
    config: ModelConfig,
    dataset: EncodedDataset,
    source: SymmBFN | None,
    seed: int,
    properties: Float[Tensor, "M Q"] | None = None,
) -> SymmBFN:
    """A new model, or the source's weights with the requests of the new dataset.

    All that the source has stays standardised as its weights know it; which space groups and
    numbers of sites and elements are drawn, and the scale of properties that the source does not
    have, is the new dataset's.

    Args:
        config: of the model; with a source its own, but for further properties at the end.
        dataset: its crystals are those that the model will generate.
        source: the model that is continued, or None.
        seed: of new weights.
        properties: values of the model's properties by which these are scaled, of these or more
            crystals, shape (M, Q); None takes the dataset's.
    """
    units = dataset.batch(torch.arange(len(dataset)))
    values = dataset.values_of(config.properties) if properties is None else properties
    n_old = 0 if source is None else len(source.config.properties)
    new = replace(config, properties=config.properties[n_old:])
    statistics = compute_statistics(units, new, values[:, n_old:])
    if source is not None:
        statistics = continued_statistics(source.statistics, statistics)
    own = dataset.values_of(config.properties)
    statistics = with_property_tables(statistics, units, config, own)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SymmBFN(config, statistics)
    if source is not None:
        take_weights(model, source)
    return model.train()


def _say_start(model: SymmBFN, train: EncodedDataset, settings: dict[str, Any]) -> None:
    """Print what is trained on what, what it can be conditioned on, and what is not learnt."""
    origin = settings["continued_from"]
    what = (
        f"continuing from weights {origin[:12]}" if origin else f"a new {settings['preset']} model"
    )
    size = sum(parameter.numel() for parameter in model.parameters())
    print(f"{what}: {size / 1e6:.2f} million parameters, {len(train)} crystals", flush=True)
    there, learnt = train.property_names, model.config.properties
    for text, names in (
        ("new to these weights", settings.get("further_properties", ())),
        ("conditioned on", [name for name in learnt if name in there]),
        ("not in the dataset, so without values", [name for name in learnt if name not in there]),
        ("not learnt, numbers of the dataset", [name for name in there if name not in learnt]),
    ):
        if names:
            print(f"{text}: {', '.join(names)}", flush=True)


def _write_weights(average: SymmBFN, trainer: Trainer, settings: dict[str, Any]) -> None:
    """Write weights, card and notes, and say how many steps had no effect."""
    if trainer.skipped:
        print(
            f"{trainer.skipped} of {trainer.step} steps had no effect, since the loss or its "
            "gradient was not finite",
            flush=True,
        )
    measured = read_log(trainer.folder, "validation")
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
    write_whole(trainer.folder / WEIGHTS / CARD, model_card(average, notes))
    save_model(average, trainer.folder / WEIGHTS, notes=notes)
    if not average.config.is_of_atoms:
        n_own = len(trainer.dataset) - settings.get("n_extra", 0)
        own = trainer.dataset.subset(torch.arange(n_own))
        KnownTemplates.of_dataset(own).save(trainer.folder / WEIGHTS)


def _device_name(device: torch.device, n: int) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return name if n == 1 else f"{n} x {name}"
