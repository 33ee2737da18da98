"""Models on disk: safetensors and JSON, never a pickle.

A model is a folder with `model.safetensors` (weights) and `config.json` (configuration,
statistics with the P(G, D, M) table, digest of the weights).
"""

import json
import re
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model.config import ModelConfig
from symmbfn.model.config_files import config_from_dict, config_to_dict, nested
from symmbfn.model.property_table import PropertyTable
from symmbfn.model.statistics import Statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.files import file_digest, whole_file, write_whole

FORMAT_VERSION = 2  # nested configuration
FLAT_FORMAT = 1  # that of the first weights, see `config_files.nested`
# names of tables, and of parts of the network, in files of the first format -> those of today
RENAMED_TABLES = {"given": "conditions", "given_count": "condition_count"}
RENAMED = {"slots.": "elements.", "letters.": "symmetry.", "axes.": "symmetry."}
WEIGHTS_FILE, CONFIG_FILE = "model.safetensors", "config.json"


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
    config = {
        "format": FORMAT_VERSION,
        "sha256": digest,
        "model": config_to_dict(model.config),
        "statistics": statistics_to_dict(model.statistics),
        "notes": notes or {},
    }
    write_config(folder, config)
    return digest


def write_config(folder: Path, config: dict[str, Any]) -> None:
    """Write the JSON beside the weights, each list of numbers on one line."""
    text = json.dumps(config, indent=1)
    # only between values is there a line's end: in a string it is an escape
    text = re.sub(r"\[\n[-+.,\deE\s]*\]", lambda found: re.sub(r"\s", "", found[0]), text)
    write_whole(folder / CONFIG_FILE, text + "\n")


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
        ValueError: if the model is missing or of another format, if its weights are truncated or
            altered, or if the tables of the configuration, which are under no digest, do not fit
            together.
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
        if config["format"] == FLAT_FORMAT:
            config["model"] = nested(config["model"])
            weights = {_renamed(name): value for name, value in weights.items()}
            tables = config["statistics"].items()
            config["statistics"] = {RENAMED_TABLES.get(n, n): table for n, table in tables}
        settings = config_from_dict(config["model"])
        model = SymmBFN(settings, statistics_from_dict(config["statistics"], settings))
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
    if version not in (FLAT_FORMAT, FORMAT_VERSION):
        known = f"{FLAT_FORMAT} and {FORMAT_VERSION}"
        raise ValueError(f"{str(path)!r} has format {version!r}, this version reads {known}")
    return config


def _renamed(name: str) -> str:
    """Name of a weight of the first format, as it is called today."""
    for old, new in RENAMED.items():
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def statistics_to_dict(statistics: Statistics) -> dict[str, Any]:
    """Statistics as lists and numbers."""
    tables = {name: table.to_json() for name, table in statistics.property_tables.items()}
    others = [f.name for f in fields(Statistics) if f.name != "property_tables"]
    lists = {name: getattr(statistics, name).tolist() for name in others}
    return {**lists, "property_tables": tables}


def statistics_from_dict(values: dict[str, Any], config: ModelConfig) -> Statistics:
    """Statistics from lists; integers stay integers, what older weights lack is left out.

    Args:
        values: by name of the field.
        config: of the model they belong to.

    Raises:
        ValueError: if a table has not the shape that the model needs, or a count is not positive.
    """
    integers = {"conditions", "condition_count"}
    tables = {
        f.name: torch.tensor(
            values[f.name], dtype=torch.long if f.name in integers else torch.float32
        )
        for f in fields(Statistics)
        if f.name in values and f.name != "property_tables"
    }
    n_rows, n_properties = len(tables["conditions"]), len(config.properties)
    shapes = {
        "coords_mean": (3,),
        "coords_std": (3,),
        "lattice_mean": (6,),
        "lattice_std": (6,),
        "element_log_prior": (len(config.elements),),
        "position_log_prior": symmetry_tables().letter.shape,
        "conditions": (n_rows, 3),
        "condition_count": (n_rows,),
        "property_mean": (n_properties,),
        "property_std": (n_properties,),
    }
    for name, table in tables.items():
        if table.shape != shapes[name]:
            raise ValueError(f"{name} must have shape {shapes[name]}, got {tuple(table.shape)}")
    if tables["condition_count"].min() < 1:
        raise ValueError(f"condition_count must be positive, got {tables['condition_count'].min()}")
    found = values.get("property_tables", {})
    if unknown := [name for name in found if name not in config.properties]:
        raise ValueError(f"property_tables of {', '.join(unknown)}, which the model does not have")
    of_properties = {name: PropertyTable.from_json(one, n_rows) for name, one in found.items()}
    return Statistics(**tables, property_tables=of_properties)
