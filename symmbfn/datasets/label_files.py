"""Labels: numbers of crystals from a file beside the dataset, joined by the crystal's id."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.registry import SAME_COLUMN, check_numbers
from symmbfn.runtime.files import whole_file

if TYPE_CHECKING:
    import pandas

WHOLE_HULL = "whole_hull"
SHIPPED = Path(str(files("symmbfn"))) / "datasets" / "labels"
# columns of text that say where a number comes from
TEXTS = ("formula", "energy_source", "reason")


@dataclass(frozen=True, eq=False)
class Labels:
    """Numbers of crystals by their id.

    Args:
        name: what the labels are called.
        names: of the columns.
        row_of: id -> row of the values.
        values: NaN where not known, shape (n, p), float32.
        digest: SHA-256 of all of it.
    """

    name: str
    names: tuple[str, ...]
    row_of: dict[str, int]
    values: Float[Tensor, "n p"]
    digest: str

    def join(self, dataset: EncodedDataset) -> EncodedDataset:
        """The same crystals with these values, over those that the dataset has of a column.

        A crystal without a label keeps the dataset's value, or has none.

        Args:
            dataset: its crystals are found by their identifiers, not by their order.
        """
        names = tuple(dict.fromkeys([*dataset.property_names, *self.names]))
        rows = torch.tensor([self.row_of.get(name, -1) for name in dataset.identifiers])
        found = torch.where(rows[:, None] < 0, torch.nan, self.values[rows])
        values = dataset.values_of(names).clone()
        for column, name in zip(found.unbind(-1), self.names, strict=True):
            place = names.index(name)
            values[:, place] = torch.where(column.isnan(), values[:, place], column)
        return dataset.derived("labels", self.digest, properties=values, property_names=names)

    def count(self, identifiers: Iterable[str]) -> int:
        """How many of these crystals have a label."""
        return sum(name in self.row_of for name in identifiers)


def read_labels(name_or_path: str | Path) -> Labels:
    """Read labels of crystals.

    Args:
        name_or_path: "whole_hull": the energies above the whole hull, and the formation
            energies, of MP-20 train and val and of `mp2025_other_le20` that the package ships.
            Or a CSV (also .csv.gz) or Parquet file with the column `material_id` (or `id`);
            `formula`, `energy_source` and `reason` may be text, all others are numbers, empty
            or NaN where not known, such as `symmbfn label` and `symmbfn hull` write.

    Raises:
        ValueError: no such file, an id that stands twice, a column that is no number, or shipped
            labels that were altered.
    """
    if str(name_or_path) == WHOLE_HULL:
        return _labels(WHOLE_HULL, _shipped())
    path = Path(name_or_path)
    return _labels(path.name, _table(path))


def write_labels(table: "pandas.DataFrame", path: Path, **facts: str) -> None:
    """Write labels that the package ships.

    Args:
        table: `material_id`, numbers, and columns of text.
        path: Parquet file to write.
        facts: where they come from; written into the file with the digest of the numbers.
    """
    table.attrs = {**facts, "digest": _labels(path.name, table).digest}
    with whole_file(path) as part:
        table.to_parquet(part, index=False, compression="zstd")


def _shipped() -> "pandas.DataFrame":
    import pandas as pd

    tables = []
    for path in sorted(SHIPPED.glob("*.parquet")):
        table = pd.read_parquet(path)
        if _labels(path.name, table).digest != table.attrs["digest"]:
            raise ValueError(f"the labels {path.name} are altered: install the package again")
        table.attrs = {}
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _table(path: Path) -> "pandas.DataFrame":
    import pandas as pd

    name = path.name.lower()
    if not name.endswith((".csv", ".csv.gz", ".parquet")):
        raise ValueError(f"labels are {WHOLE_HULL!r}, or a .csv, .csv.gz or .parquet file: {path}")
    try:
        if name.endswith(".parquet"):
            return pd.read_parquet(path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no readable file of labels: {error}") from None


def _labels(name: str, table: "pandas.DataFrame") -> Labels:
    if "material_id" not in table:
        table = table.rename(columns={"id": "material_id"})
    if "material_id" not in table:
        raise ValueError(f"labels {name}: no column material_id")
    table = table.rename(columns=SAME_COLUMN)
    ids = table["material_id"].astype(str)
    if twice := ids[ids.duplicated()].tolist():
        raise ValueError(f"labels {name}: {len(twice)} ids stand twice, such as {twice[0]}")
    columns = tuple(column for column in table if column not in ("material_id", *TEXTS))
    if not columns:
        raise ValueError(f"labels {name}: no column of numbers beside material_id")
    try:
        numbers = check_numbers(table, columns)
    except ValueError as error:
        raise ValueError(f"labels {name}: {error}") from None
    values = torch.tensor(numbers.to_numpy(dtype="float32"))
    digest = hashlib.sha256(json.dumps([columns, ids.tolist()]).encode())
    digest.update(values.numpy().tobytes())
    rows = {id_: row for row, id_ in enumerate(ids)}
    return Labels(name, columns, rows, values, digest.hexdigest())
