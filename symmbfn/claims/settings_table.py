"""Our settings beside those that the paper states, and what it leaves open, by dataset."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from symmbfn.claims.published import published_hyperparameters
from symmbfn.datasets.registry import DATASETS
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import load_model, read_config, weights_folder
from symmbfn.model.class_configs import CERTAINTY
from symmbfn.model.config import default_config, paper_config
from symmbfn.model.config_files import settings_of
from symmbfn.training.config import TrainingConfig

LEFT_OPEN = "left open"
OF_TRAIN = "those of train"


@dataclass(frozen=True)
class Hyperparameter:
    """One line of the table.

    Attributes:
        name: what is set.
        paper: as the paper or its authors' README state it, or "left open".
        source: where it is stated, or empty.
        ours_paper, ours_default: of our two presets.
    """

    name: str
    paper: str
    source: str
    ours_paper: str
    ours_default: str


@dataclass(frozen=True)
class Settings:
    """All that a preset sets for a dataset.

    Attributes:
        model: of the preset, by names such as "network.width", see `settings_of`.
        sampler: of the preset.
        training: of the run of the shipped weights where they were trained on the dataset, else
            what `symmbfn train` does unless told.
        symprec: tolerance at which the dataset's symmetry is read, angstrom.
        is_known: whether the classes of the elements are those of this dataset.
    """

    model: Mapping[str, Any]
    sampler: SamplerConfig
    training: Mapping[str, Any]
    symprec: float
    is_known: bool


def settings_for(preset: str, dataset: str) -> Settings:
    """Settings of a preset, "default" or "paper", for a dataset.

    Raises:
        ValueError: another dataset or preset.
    """
    if dataset not in DATASETS:
        raise ValueError(f"dataset must be one of {', '.join(DATASETS)}, got {dataset!r}")
    shipped, run = load_model(preset), read_config(weights_folder(preset))["notes"]
    is_trained = run["dataset"] == dataset
    elements = shipped.config.elements
    new = paper_config() if preset == "paper" else default_config(elements)
    return Settings(
        model=settings_of(shipped.config if is_trained else new),
        sampler=preset_sampler(shipped),
        training=run if is_trained else TrainingConfig().settings(),
        symprec=DATASETS[dataset].symprec,
        is_known=is_trained or preset == "paper",
    )


def _is_standardised(s: Settings) -> bool:
    return s.model["coords.is_standardised"]


def _yes(has_it: bool) -> str:
    return "yes" if has_it else "no"


def _epochs(run: Mapping[str, Any]) -> float:
    """Of all runs that the weights went through."""
    return run.get("epochs_before", 0) + run.get("epochs_seen", run["epochs"])


ROWS: dict[str, Callable[[Settings], Any]] = {
    "symmetry tolerance / A": lambda s: s.symprec,
    "form of the crystals": lambda s: "canonical" if _is_standardised(s) else "raw",
    "coordinates": lambda s: "standardised" if _is_standardised(s) else "in [0, 1)",
    "wrapped": lambda s: "at the end" if _is_standardised(s) else "every call",
    "lattice": lambda s: "log metric",
    "classes of elements": lambda s: len(s.model["elements"]) if s.is_known else OF_TRAIN,
    "elements are of": lambda s: (
        "the crystal" if s.model["composition"] == "slots" else "each site"
    ),
    "form of the symmetry": lambda s: s.model["symmetry"],
    "sigma1, coordinates": lambda s: s.model["coords.sigma1"],
    "sigma1, lattice": lambda s: s.model["lattice.sigma1"],
    "beta1, elements": lambda s: (
        s.model["composition.beta1"] if s.is_known else f"{CERTAINTY:g} / classes"
    ),
    "beta1, symmetry": lambda s: s.model["symmetry.beta1"],
    "target": lambda s: s.model["coords.target"],
    "smallest time": lambda s: s.model["loss.min_t"],
    "weight, coordinates": lambda s: s.model["coords.weight"],
    "weight, lattice": lambda s: s.model["lattice.weight"],
    "weight, elements": lambda s: s.model["composition.weight"],
    "weight, pointers": lambda s: s.model.get("composition.pointer_weight", "none"),
    "weight, symmetry": lambda s: s.model["symmetry.weight"],
    "weight, cross-entropy": lambda s: s.model["loss.cross_entropy"],
    "width": lambda s: s.model["network.width"],
    "layers": lambda s: s.model["network.depth"],
    "harmonics": lambda s: s.model["network.n_frequencies"],
    "features of a pair": lambda s: s.model["network.edge_width"] or "all",
    "images of a pair": lambda s: s.model.get("images.n_images", 0),
    "moves along images": lambda s: _yes(s.model.get("images.has_displacements", False)),
    "modulated by time": lambda s: _yes(s.model["network.is_modulated"]),
    "reads its estimate": lambda s: _yes(s.model["has_self_conditioning"]),
    "conditioned on parts": lambda s: _yes(s.model["has_fixed_parts"]),
    "learning rate": lambda s: s.training["learning_rate"],
    "its schedule": lambda s: f"last {s.training['decay_fraction']:.0%} linear",
    "warm-up / steps": lambda s: s.training["warmup_steps"],
    "weight decay": lambda s: s.training["weight_decay"],
    "gradient clip": lambda s: s.training["clip"],
    "averaged weights": lambda s: s.training["ema_decay"],
    "batch / crystals": lambda s: s.training["batch_size"],
    "epochs": lambda s: _epochs(s.training),
    "precision": lambda s: s.training["dtype"],
    "solver": lambda s: s.sampler.solver,
    "sampling steps": lambda s: s.sampler.n_steps,
    "first time": lambda s: s.sampler.start,
    "final classes": lambda s: "drawn" if s.sampler.is_drawn else "likeliest",
    "projection on the way": lambda s: _yes(s.sampler.has_projection),
    "clearance / radii": lambda s: s.sampler.clearance,
}


def hyperparameters(dataset: str = "mp_20") -> tuple[Hyperparameter, ...]:
    """The table for a dataset, as in Supplementary Table 3.

    Args:
        dataset: a named dataset; the shipped weights were trained on "mp_20".

    Raises:
        ValueError: another dataset.

    Source: book, method-left-open: the paper's; ours: from the configurations.
    """
    stated = published_hyperparameters()
    paper, default = (settings_for(preset, dataset) for preset in ("paper", "default"))
    return tuple(
        Hyperparameter(
            name, *stated.get(name, (LEFT_OPEN, "")), _text(of(paper)), _text(of(default))
        )
        for name, of in ROWS.items()
    )


def hyperparameters_text(dataset: str = "mp_20") -> str:
    """The table as text for a chapter, 75 characters wide.

    Behind what is stated stands where: T in the text or a table of the paper, R in the README.
    """
    lines = [("", "the paper", "", "paper preset", "default preset")]
    for h in hyperparameters(dataset):
        where = "R" if h.source.endswith("README") else "T" if h.source else ""
        lines.append((h.name, h.paper, where, h.ours_paper, h.ours_default))
    return "\n".join(f"{a:<23}{b:<19}{w:<2}{c:<16}{d}".rstrip() for a, b, w, c, d in lines)


def _text(value: int | float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
