"""Models on disk: safetensors and JSON, never a pickle.

A model is a folder with `model.safetensors` (weights) and `config.json` (configuration,
statistics with the P(G, D, M) table, digest of the weights).
"""

import hashlib
import json
from dataclasses import asdict, fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from symmbfn._files import whole_file, write_whole
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.model import ModelConfig, Statistics, SymmBFN

FORMAT_VERSION = 1
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_model(
    model: SymmBFN,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float16,
    notes: dict | None = None,
) -> str:
    """Write a model folder; returns the digest of its weights.

    Args:
        model: the model whose weights are written (an EMA copy, usually).
        folder: made if missing.
        dtype: precision of the stored weights.
        notes: anything of the training worth keeping beside the weights, JSON types.

    Raises:
        ValueError: if a weight is not finite in this precision.
    """
    folder = Path(folder)
    weights = {
        name: value.detach().cpu().to(dtype).contiguous()
        for name, value in model.state_dict().items()
    }
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ValueError(f"weight {name} is not finite in {dtype}")
    with whole_file(folder / WEIGHTS_FILE) as part:
        save_file(weights, part)
    digest = file_digest(folder / WEIGHTS_FILE)
    statistics = {f.name: getattr(model.statistics, f.name).tolist() for f in fields(Statistics)}
    config = {
        "format": FORMAT_VERSION,
        "sha256": digest,
        "model": asdict(model.config),
        "statistics": statistics,
        "notes": notes or {},
    }
    write_whole(folder / CONFIG_FILE, json.dumps(config, indent=1) + "\n")
    return digest


def weights_folder(name_or_path: str | Path) -> Path:
    """Folder of a shipped model by name, or of a model on disk.

    Raises:
        ValueError: if there is no such model; a pickle is refused by name.
    """
    path = Path(name_or_path)
    if path.suffix in {".pt", ".pth", ".ckpt", ".pkl", ".bin"}:
        raise ValueError(
            f"weights {str(path)!r}: pickled files are not read, only safetensors folders"
        )
    if path.name == WEIGHTS_FILE:
        path = path.parent
    if (path / CONFIG_FILE).is_file():
        return path
    shipped = Path(str(files("symmbfn") / "weights"))
    if (shipped / str(name_or_path) / CONFIG_FILE).is_file():
        return shipped / str(name_or_path)
    names = sorted(p.parent.name for p in shipped.glob(f"*/{CONFIG_FILE}"))
    raise ValueError(f"weights {str(name_or_path)!r} are neither a model folder nor one of {names}")


def load_model(
    name_or_path: str | Path = "default", *, device: str | torch.device = "cpu"
) -> SymmBFN:
    """Read a model, float32 and in evaluation mode.

    Args:
        name_or_path: name of shipped weights ("default", "paper") or a model folder.
        device: where to put it.

    Raises:
        ValueError: if the model is missing, of another format, truncated or altered.
    """
    folder = weights_folder(name_or_path)
    config = read_config(folder)
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise ValueError(f"weights {str(folder)!r} have no {WEIGHTS_FILE}")
    if file_digest(path) != config.get("sha256"):
        raise ValueError(
            f"weights {str(path)!r} are truncated or altered: "
            f"their digest is not the one in {CONFIG_FILE}"
        )
    try:
        weights = load_file(path)
        model = SymmBFN(
            config_from_dict(config["model"]), statistics_from_dict(config["statistics"])
        )
        model.load_state_dict({name: value.float() for name, value in weights.items()})
    except (SafetensorError, RuntimeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"weights {str(path)!r} do not fit this version: {error}") from error
    return model.to(device).eval()


def read_config(folder: Path) -> dict[str, Any]:
    """The JSON beside the weights.

    Raises:
        ValueError: if it is not JSON or of an unknown format.
    """
    path = folder / CONFIG_FILE
    try:
        config = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{str(path)!r} is unreadable: {error}") from error
    version = config.get("format") if isinstance(config, dict) else None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{str(path)!r} has format {version!r}, this version reads {FORMAT_VERSION}"
        )
    return config


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """Inverse of `dataclasses.asdict` after JSON.

    Raises:
        ValueError: if an element has no atomic number that exists.
    """
    elements = tuple(values["elements"])
    if unknown := [z for z in elements if not 0 < z < len(SYMBOLS)]:
        raise ValueError(f"elements must be atomic numbers up to {len(SYMBOLS) - 1}, got {unknown}")
    properties = tuple(values.get("properties", ()))
    return ModelConfig(**{**values, "elements": elements, "properties": properties})


def statistics_from_dict(values: dict[str, Any]) -> Statistics:
    """Statistics from lists; integers stay integers, what older weights lack is left out."""
    integers = {"given", "given_count"}
    return Statistics(
        **{
            f.name: torch.tensor(
                values[f.name], dtype=torch.long if f.name in integers else torch.float32
            )
            for f in fields(Statistics)
            if f.name in values
        }
    )
