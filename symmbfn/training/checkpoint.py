"""Checkpoints of a run: files that hold all that the rest of the run depends on."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from symmbfn._shapes import Tensor
from symmbfn.model.config import ModelConfig
from symmbfn.model.config_files import config_to_dict
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.run_folder import differences
from symmbfn.training.config import TrainingConfig

KEPT = 2  # the last ones; the newest may be damaged
_FACTS = ("counters", "order", "identity")  # the fields of a checkpoint that are JSON


class DamagedCheckpointError(ValueError):
    """A checkpoint cannot be read; the one before it may be whole."""


@dataclass
class Checkpoint:
    """A run at the end of a step.

    Attributes:
        tensors: weights, averages, moments, and the states of the generators.
        counters: step, crystals, seconds and the like.
        order: place in the data, but for the state of its generator, which is a tensor.
        identity: what the run is; only the same one continues it.
    """

    tensors: dict[str, Tensor]
    counters: dict[str, int | float]
    order: dict[str, int]
    identity: dict[str, Any]


def run_identity(
    model: ModelConfig, training: TrainingConfig, data: str, device: torch.device
) -> dict[str, Any]:
    """What two runs must share for one to continue the other.

    Args:
        model, training: their settings.
        data: digest of the training set.
        device: only its kind counts, since its generators differ.

    Returns:
        One JSON value for each setting, by a name of its own.
    """
    settings = {
        **_flat("model", config_to_dict(model)),
        **training.settings(),
        "data": data,
        "device": device.type,
    }
    # through JSON, so that a tuple equals the list it is stored as
    return json.loads(json.dumps(settings))


def check_identity(checkpoint: Checkpoint, identity: dict[str, Any], path: Path) -> None:
    """Make sure that a checkpoint belongs to this run.

    Raises:
        ValueError: it belongs to another run; all differences are named.
    """
    if different := differences(checkpoint.identity, identity):
        raise ValueError(f"{str(path)!r} belongs to another run: {', '.join(different)}")


def checkpoints_in(folder: Path) -> list[Path]:
    """Checkpoints of a folder, oldest first."""
    return sorted(folder.glob("step-*.safetensors"))


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> Path:
    """Write a checkpoint, whole or not at all, and delete all but the last two."""
    path = folder / f"step-{checkpoint.counters['step']:09d}.safetensors"
    facts = {name: json.dumps(getattr(checkpoint, name)) for name in _FACTS}
    tensors = {k: v.detach().cpu().contiguous() for k, v in checkpoint.tensors.items()}
    with whole_file(path) as part:
        save_file(tensors, part, facts)
    for old in checkpoints_in(folder)[:-KEPT]:
        old.unlink()
    return path


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        DamagedCheckpointError: it is not whole.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return Checkpoint(tensors, **{name: json.loads(metadata[name]) for name in _FACTS})
    except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise DamagedCheckpointError(f"checkpoint {str(path)!r} is unreadable: {error}") from error


def newest_checkpoint(folder: Path) -> tuple[Path, Checkpoint] | None:
    """The newest checkpoint that is whole; damaged ones after it are renamed to .damaged.

    Returns:
        Its path and content, or None where there is no checkpoint.

    Raises:
        DamagedCheckpointError: none of them is whole.
    """
    paths = checkpoints_in(folder)
    for path in reversed(paths):
        try:
            return path, read_checkpoint(path)
        except DamagedCheckpointError as error:
            if path == paths[0]:
                raise
            print(f"{error}; taking the one before it", file=sys.stderr)
            path.rename(path.with_suffix(".damaged"))
    return None


def _flat(name: str, value: Any) -> dict[str, Any]:
    """The values in nested dictionaries, named such as "model.network.width"."""
    if not isinstance(value, dict):
        return {name: value}
    return {k: v for key, item in value.items() for k, v in _flat(f"{name}.{key}", item).items()}
