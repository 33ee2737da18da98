"""Properties of crystals: CHGNet's energies, formation energies, and band gaps of our own."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.registry import cache_folder, dataset_label, load_dataset
from symmbfn.evaluation.energies.entries import composition_from_formula
from symmbfn.evaluation.energies.potentials import POTENTIAL, Chgnet
from symmbfn.evaluation.energies.references import chgnet_references
from symmbfn.runtime.files import file_digest, whole_file, write_whole
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

if TYPE_CHECKING:
    import pandas

FEATURES = tuple(f"f{i:02d}" for i in range(64))
DROPOUT = 0.1
METAL_GAP = 1e-3  # eV; a smaller gap is none
TIME_LIMIT = 120.0  # seconds for one crystal
SHIPPED = Path(str(files("symmbfn"))) / "weights" / "band_gap"
WEIGHTS_FILE, FACTS_FILE = "model.safetensors", "band_gap.json"


class BandGap(nn.Module):
    """PBE band gap from CHGNet's crystal features: whether there is one, and how wide.

    Args:
        n_hidden: width of the two hidden layers.

    Source: ours: trained by `python -m scripts.evaluation.band_gap`.
    """

    mean: Tensor
    whitening: Tensor

    def __init__(self, n_hidden: int):
        super().__init__()
        self.n_hidden = n_hidden
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("whitening", torch.eye(len(FEATURES)))
        self.layers = nn.Sequential(
            nn.Linear(len(FEATURES), n_hidden),
            nn.SiLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(n_hidden, n_hidden),
            nn.SiLU(),
            nn.Dropout(DROPOUT),
            nn.Linear(n_hidden, 2),
        )

    def forward(self, features: Float[Tensor, "n 64"]) -> tuple[Float[Tensor, "n"], ...]:
        """Log-odds of a gap, and its width in eV if there is one, both of shape (n,)."""
        odds, width = self.layers((features - self.mean) @ self.whitening).unbind(-1)
        return odds, nn.functional.softplus(width)

    @torch.no_grad()
    def predict(self, features: Float[np.ndarray, "n 64"]) -> Float[np.ndarray, "n"]:
        """Band gaps in eV, NaN where a feature is; shape (n,).

        0 unless a gap is more likely than none, as in the data, where two in three are 0. The
        width times its probability comes no nearer on val and calls hardly a metal one.

        Args:
            features: of `Chgnet.describe`, shape (n, 64).
        """
        odds, width = self(torch.as_tensor(features, dtype=torch.float32))
        return (width * (odds > 0)).double().numpy()

    def save(self, folder: Path, facts: Mapping[str, Any]) -> str:
        """Write the network in half precision and what is known of them; returns the digest.

        Args:
            folder: made if missing.
            facts: of the training, JSON types.
        """
        from safetensors.torch import save_file

        # the whitening spans four decades, too many for half precision
        weights = {
            name: (value.half() if name.startswith("layers") else value).contiguous()
            for name, value in self.state_dict().items()
        }
        with whole_file(folder / WEIGHTS_FILE) as part:
            save_file(weights, part)
        digest = file_digest(folder / WEIGHTS_FILE)
        content = {"sha256": digest, "n_hidden": self.n_hidden, "facts": facts}
        write_whole(folder / FACTS_FILE, json.dumps(content, indent=1) + "\n")
        return digest

    @classmethod
    def load(cls, folder: Path = SHIPPED) -> "BandGap":
        """Read what `save` wrote; the one of the package by default.

        Raises:
            ValueError: a file is missing, damaged or altered.
        """
        from safetensors.torch import load_file

        try:
            content = json.loads((folder / FACTS_FILE).read_text())
            if file_digest(folder / WEIGHTS_FILE) != content["sha256"]:
                raise ValueError("the weights are altered")
            found = cls(content["n_hidden"])
            found.load_state_dict(
                {name: value.float() for name, value in load_file(folder / WEIGHTS_FILE).items()}
            )
        except (OSError, ValueError, LookupError, TypeError, RuntimeError) as error:
            raise ValueError(f"{folder.name} holds no regressor of band gaps: {error}") from None
        return found.eval()


def describe_dataset(
    name_or_path: str | Path, split: str | None = None, *, workers: int = 1
) -> "pandas.DataFrame":
    """CHGNet's energies and features of the crystals of a dataset, in the cells they come in.

    Computed once: kept in `<name>-<split>-<digest>.parquet` in `cache_folder()/evaluation/labels`.
    What a stopped call leaves in the `.jsonl` beside it, the next one goes on with.

    Args:
        name_or_path, split: see `load_dataset`.
        workers: processes of one thread each, 10 ms a crystal.

    Returns:
        One row a crystal: `material_id`, `formula`, `energy_per_atom` in eV, `f00` to `f63`,
        and `reason`, which is empty where there are values.
    """
    import pandas as pd

    dataset = load_dataset(name_or_path, split, workers=workers)
    names, texts = dataset["material_id"].tolist(), dataset["cif"].tolist()
    digest = hashlib.sha256(json.dumps([POTENTIAL, names, texts]).encode()).hexdigest()
    stem = f"{dataset_label(name_or_path)}-{split or 'all'}"
    path = cache_folder() / "evaluation" / "labels" / f"{stem}-{digest[:8]}.parquet"
    if path.is_file():
        table = pd.read_parquet(path)
        if table.attrs.get("digest") == digest:
            return table
    journal = Journal(path.with_suffix(".jsonl"))
    todo = [row for row in range(len(texts)) if row not in journal]
    found = describe_all([texts[row] for row in todo], workers=workers)
    for place, row in progress(found, total=len(todo), label=stem):
        journal.add({"index": todo[place], **row})
    table = described_table(journal)
    table.insert(0, "material_id", names)
    table.attrs["digest"] = digest
    with whole_file(path) as part:
        table.to_parquet(part, index=False)
    journal.path.unlink(missing_ok=True)
    return table


def describe_all(
    crystals: Sequence[Cell | str], *, workers: int = 1
) -> Iterator[tuple[int, dict[str, Any]]]:
    """CHGNet's energies and features of cells, or of the cells in texts of CIFs.

    Args:
        crystals: any cells.
        workers: processes, each killed where a crystal takes two minutes.

    Yields:
        Place in `crystals`, and `formula`, `energy_per_atom`, `features` and `reason`, as they
        are done.
    """
    for outcome in run_killable(describe, crystals, workers=workers, time_limit=TIME_LIMIT):
        found = outcome.value or {"formula": "", "energy_per_atom": None, "features": []}
        yield outcome.index, {**found, "reason": outcome.reason}


def described_table(rows: Iterable[Mapping[str, Any]]) -> "pandas.DataFrame":
    """One row a crystal, in order: `formula`, `energy_per_atom`, `f00` to `f63`, `reason`.

    Args:
        rows: of `describe_all`.
    """
    import pandas as pd

    flat = [
        {**row, **dict(zip(FEATURES, row["features"], strict=bool(row["features"])))}
        for row in rows
    ]
    columns = ["formula", "energy_per_atom", *FEATURES, "reason"]
    types = {"energy_per_atom": "float64", **dict.fromkeys(FEATURES, "float32")}
    return pd.DataFrame(flat, columns=columns).astype(types)


def describe(crystal: Cell | str) -> dict[str, Any]:
    """Formula, energy per atom in eV and features of one crystal, as workers return them.

    Raises:
        ValueError: the text is no CIF of one crystal, or CHGNet cannot take it.
    """
    from symmbfn.datasets.structure_texts import structure_of

    if isinstance(crystal, str):
        crystal = Cell.from_pymatgen(structure_of(crystal))
    energies, features = _potential().describe([crystal])
    values = [float(f"{value:.7g}") for value in features[0]]
    return {
        "formula": crystal.formula,
        "energy_per_atom": float(energies[0]),
        "features": values,
    }


@cache
def _potential() -> Chgnet:
    return Chgnet()


def label(described: "pandas.DataFrame") -> "pandas.DataFrame":
    """Formation energies and band gaps of crystals that were described.

    Args:
        described: `formula`, `energy_per_atom` and `f00` to `f63`, see `described_table`.

    Returns:
        The other columns of the table, then `formation_energy_per_atom`, eV, NaN where an
        element has no reference, and `band_gap`, eV.
    """
    references = chgnet_references()
    energies = [
        references.formation_energy(composition_from_formula(formula), energy)
        if formula
        else float("nan")
        for formula, energy in zip(described["formula"], described["energy_per_atom"], strict=True)
    ]
    gaps = BandGap.load().predict(described[[*FEATURES]].to_numpy())
    table = described.drop(columns=[*FEATURES])
    return table.assign(formation_energy_per_atom=energies, band_gap=gaps)


def label_dataset(
    name_or_path: str | Path, split: str | None = None, *, out: Path, workers: int = 1
) -> "pandas.DataFrame":
    """Label all crystals of a dataset, as they stand, by what judges generated ones.

    Args:
        name_or_path, split: see `load_dataset`.
        out: Parquet file to write.
        workers: of `describe_dataset`, which does the long part and keeps it.

    Returns:
        One row a crystal: `material_id`, `formula`, `energy_per_atom`,
        `formation_energy_per_atom`, `band_gap`, eV, and `reason`, empty where there are values.

    Raises:
        ValueError: `out` is no name of a Parquet file; or as `describe_dataset`.
    """
    if out.suffix != ".parquet" or out.is_dir():
        raise ValueError(f"out must be a file that ends in .parquet, got {str(out)!r}")
    table = label(describe_dataset(name_or_path, split, workers=workers))
    with whole_file(out) as part:
        table.to_parquet(part, index=False)
    return table
