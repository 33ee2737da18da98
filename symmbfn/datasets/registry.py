"""Named datasets, folders of CIFs and CSV files, all as one table of CIF texts.

A named dataset is served from the folder `SYMMBFN_DATA` where that holds the split, else its
official file is downloaded once from its public repository. Its git blob id is verified at every
reading.
"""

import gzip
import hashlib
import http.client
import json
import os
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from platformdirs import user_cache_path

from symmbfn.crystals.symmetry_search import SYMPREC
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.progress import progress

if TYPE_CHECKING:
    import pandas

RAW_FILES = "https://raw.githubusercontent.com"
ATTEMPTS = 4
FIRST_PAUSE = 1.0  # seconds; doubles with every attempt
NETWORK_TIMEOUT = 30.0  # seconds without a byte
# one name for one quantity, whichever file it comes from
SAME_COLUMN = {"energy_above_hull": "e_above_hull"}
# columns of the known files that are numbers but no property of a crystal
NOT_PROPERTIES = {"row", "spacegroup.number", "theoretical", "Unnamed: 0", ""}
LARGEST_PROPERTY = 1e38  # what single precision holds, differences included


@dataclass(frozen=True)
class Dataset:
    """A named dataset: its file in `SYMMBFN_DATA` and its official file, by split.

    Attributes:
        local: split -> file name in the folder `SYMMBFN_DATA`.
        official: split -> (owner/repository, path, git blob id of the content).
        symprec: distance tolerance in angstrom at which its symmetry is read.
    """

    local: dict[str, str]
    official: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    symprec: float = SYMPREC


def _official(repository: str, name: str, *blobs: str) -> dict[str, tuple[str, str, str]]:
    splits = ("train", "val", "test")
    return {
        split: (repository, f"data/{name}/{split}.csv", blob)
        for split, blob in zip(splits, blobs, strict=True)
    }


DATASETS = {
    "mp_20": Dataset(
        {split: f"mp_20_{split}.csv.gz" for split in ("train", "val", "test_open")},
        _official(
            "txie-93/cdvae",
            "mp_20",
            "b1c9d498565ac2fd8d075a51ff2ef5e51ba6c21f",
            "7efe4d7ebeb4f460ceaad35e5326c42111d9c9a1",
            "5dc643041df53f5ce4970a79930ad262b4f07acd",
        ),
    ),
    # at 0.1 angstrom half of these perovskites would be taken for more symmetric ones
    "perov_5": Dataset(
        {split: f"perov_5_{split}.csv.gz" for split in ("train", "val", "test_open")},
        _official(
            "txie-93/cdvae",
            "perov_5",
            "0769074b5d51d293b765c4371b8f55c468c9c9f2",
            "4a2c8dde98347dd0e01fa83dcf3982c2abe98f9f",
            "d3c5d5af4b27a2a139149f2bb73c8a3dba9d8ac1",
        ),
        symprec=0.01,
    ),
    "mpts_52": Dataset(
        {split: f"mpts_52_{split}.csv.gz" for split in ("val", "test_open")},
        _official(
            "jiaor17/DiffCSP",
            "mpts_52",
            "28c53b0a0fd3f32fb8078aca8e5b484e372790c6",
            "a377ba0ca7bee37ee69d9f50f8362eaa35d9f690",
            "2e8af159618f63be346b6527f155514323964423",
        ),
    ),
    "mp_20_mini": Dataset({"train": "mp_20_mini_train512.csv.gz"}),
    "mpts_52_trainlike": Dataset({"train": "mpts_52_trainlike.csv.gz"}),
    "mp2025_other_le20": Dataset({"train": "mp2025_other_le20.csv.gz"}),
}
PROTOTYPES = "prototypes"


def dataset_names() -> tuple[str, ...]:
    """Return the names that `load_dataset` knows."""
    return (PROTOTYPES, *DATASETS)


def dataset_splits(name_or_path: str | Path) -> tuple[str, ...]:
    """Return the splits to be had now: those in `SYMMBFN_DATA`, else the official ones.

    A file, a folder or the prototypes have one split, "all".

    Raises:
        ValueError: `SYMMBFN_DATA` names no folder.
    """
    dataset = DATASETS.get(str(name_or_path))
    if dataset is None:
        return ("all",)
    at_hand = tuple(split for split, file in dataset.local.items() if _in_data_folder(file))
    return at_hand or tuple(dataset.official)


def dataset_symprec(name_or_path: str | Path) -> float:
    """Return the symmetry tolerance of a dataset in angstrom, 0.1 where nothing else is known."""
    dataset = DATASETS.get(str(name_or_path))
    return SYMPREC if dataset is None else dataset.symprec


def dataset_label(name_or_path: str | Path) -> str:
    """Return a short name for file names: the dataset's own, or that of the file or folder."""
    if str(name_or_path) in dataset_names():
        return str(name_or_path)
    return Path(name_or_path).resolve().name.removesuffix(".gz").removesuffix(".csv")


def load_dataset(
    name_or_path: str | Path, split: str | None = None, *, workers: int = 1
) -> "pandas.DataFrame":
    """Read one split of a dataset as a table with `material_id`, `cif` and its other columns.

    Args:
        name_or_path: a name of `dataset_names()`; a CSV file (also .csv.gz) with the columns
            `material_id` and `cif`; or a CIF, POSCAR or extxyz file, a folder or a zip of these,
            see `read_structures`.
        split: a split of a named dataset; None where there is only one.
        workers: processes that read files which are no CIFs.

    Returns:
        One row a crystal. `material_id` and `cif` are text; a column is numeric where every
        cell that is not empty or NaN is a finite number, and NaN means not known. A file that
        cannot be read has the reason for its `cif`, as a remark that no CIF parser takes.

    Raises:
        ValueError: no such dataset or split, a file without the two columns, or
            `SYMMBFN_DATA` names no folder.
        ConnectionError: the official file is neither at hand nor to be had.
    """
    name = str(name_or_path)
    if name in DATASETS:
        return read_table(_file_of(name, split))
    if split not in (None, "all"):
        raise ValueError(f"{name} has no split {split!r}: it is one set")
    if name == PROTOTYPES:
        return _prototypes()
    from symmbfn.datasets.structure_files import kind_of, read_structures

    path = Path(name_or_path)
    if path.is_dir() or (path.exists() and kind_of(path.name)):
        return read_structures(path, workers=workers)
    if path.is_file():
        return read_table(path)
    raise ValueError(
        f"dataset {name!r} is neither a file or folder nor one of {', '.join(dataset_names())}"
    )


def read_table(path: Path) -> "pandas.DataFrame":
    """Read a CSV of crystals, taking nothing for missing but the empty field.

    Sodium nitride is spelt NaN, which the CSV reader's own rules would drop.
    """
    import pandas as pd

    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{path} is no readable CSV file: {error}") from None
    missing = {"material_id", "cif"} - set(table.columns)
    if missing:
        raise ValueError(f"{path} has no column {', '.join(sorted(missing))}")
    table = table.rename(columns=SAME_COLUMN)
    if twice := table.columns[table.columns.duplicated()].unique().tolist():
        raise ValueError(f"{path} has two columns {', '.join(twice)}")
    names = table["material_id"]
    if twice := names[names.duplicated()].unique().tolist():
        more = f" and {len(twice) - 1} more" if len(twice) > 1 else ""
        print(f"{path}: several rows are called {twice[0]!r}{more}", file=sys.stderr)
    for column in table.columns.difference(["material_id", "cif"]):
        numbers, is_wrong = _numbers(table[column])
        if not is_wrong.any() and numbers.notna().any():
            table[column] = numbers
    return table


def _numbers(column: "pandas.Series") -> tuple["pandas.Series", "pandas.Series"]:
    """Numbers of a column, NaN where the cell is empty or NaN, and which cells are neither."""
    import pandas as pd

    cells = column.where(column.notna(), "").astype(str).str.strip()
    numbers = pd.to_numeric(cells, errors="coerce").astype(float)
    is_unknown = cells.str.lower().isin(["", "nan"])
    return numbers, ~is_unknown & ~(numbers.abs() <= LARGEST_PROPERTY)


def property_columns(table: "pandas.DataFrame") -> list[str]:
    """Return the columns that hold a number for a crystal, such as its formation energy."""
    numeric = table.select_dtypes("number").columns
    return [column for column in numeric if column not in NOT_PROPERTIES]


def check_properties(table: "pandas.DataFrame", names: tuple[str, ...]) -> None:
    """Make sure that columns are properties: every cell is a number, or empty or NaN for unknown.

    Args:
        table: of `load_dataset`.
        names: of the columns.

    Raises:
        ValueError: there is no such column, or one of its cells is no number; the first such row
            is named, counted from 1.
    """
    there = property_columns(table)
    if missing := [name for name in names if name not in table.columns]:
        only = ", ".join(there) or "none"
        raise ValueError(f"no property {', '.join(missing)} in the dataset, only {only}")
    check_numbers(table, names)
    for name in names:
        if name not in there:
            reason = "empty in every row" if name not in NOT_PROPERTIES else "none of a crystal"
            raise ValueError(f"column {name} is no property: it is {reason}")


def check_numbers(table: "pandas.DataFrame", names: Sequence[str]) -> "pandas.DataFrame":
    """Return columns as numbers, NaN where a cell is empty or NaN.

    Args:
        table: with the column `material_id`.
        names: of the columns.

    Raises:
        ValueError: a cell is no number; the first such row is named, counted from 1.
    """
    import pandas as pd

    columns = {}
    for name in names:
        columns[name], is_wrong = _numbers(table[name])
        if is_wrong.any():
            row = int(is_wrong.to_numpy().argmax())
            raise ValueError(
                f"column {name}, row {row + 1} ({table['material_id'].iloc[row]}): "
                f"{str(table[name].iloc[row])!r} is no number of single precision such as 1.5; "
                f"leave the cell empty where the value is unknown ({is_wrong.sum()} such rows)"
            )
    return pd.DataFrame(columns)


def cache_folder() -> Path:
    """Return the folder for downloads and encoded tensors: `SYMMBFN_CACHE`, or the user's cache."""
    if os.environ.get("SYMMBFN_CACHE"):
        return Path(os.environ["SYMMBFN_CACHE"])
    return user_cache_path("symmbfn", appauthor=False)


def git_blob_id(content: bytes) -> str:
    """Return the id under which git stores this content: SHA-1 over a header and the bytes."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def download(url: str, target: Path, blob: str) -> Path:
    """Fetch a file once, whole and verified; try again where the network fails.

    Args:
        url: where it lies.
        target: where to put it. A file already there is kept, if it has this content.
        blob: git blob id of the content.

    Raises:
        ConnectionError: offline, not there, or broken off in every attempt.
        ValueError: the content is not the one that was asked for.
    """
    if target.is_file() and git_blob_id(target.read_bytes()) == blob:
        return target
    if os.environ.get("SYMMBFN_OFFLINE", "0") not in ("", "0"):
        state = "altered since" if target.is_file() else "not there"
        raise ConnectionError(f"SYMMBFN_OFFLINE is set, and the download {target} is {state}")
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        try:
            content = _fetch(url, target.name)
            break
        except urllib.error.HTTPError as error:
            reason = f"HTTP {error.code}"
            if error.code < 500 and error.code not in (408, 429):
                raise ConnectionError(f"{url}: {reason}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = str(error) or type(error).__name__
    else:
        raise ConnectionError(f"{url}: {reason}, after {ATTEMPTS} attempts")
    if git_blob_id(content) != blob:
        raise ValueError(f"{url}: content has git blob id {git_blob_id(content)}, not {blob}")
    write_whole(target, content)
    return target


def _fetch(url: str, label: str) -> bytes:
    with urllib.request.urlopen(url, timeout=NETWORK_TIMEOUT) as response:
        announced = int(response.headers.get("Content-Length") or 0)
        content = bytearray()
        with progress(total=announced or None, label=label, unit="B", unit_scale=True) as bar:
            while chunk := response.read(1 << 16):
                content += chunk
                bar.update(len(chunk))
    if announced and len(content) != announced:
        raise ConnectionError(f"broken off after {len(content)} of {announced} bytes")
    return bytes(content)


def _in_data_folder(file: str) -> Path | None:
    folder = os.environ.get("SYMMBFN_DATA")
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ValueError(f"SYMMBFN_DATA is {folder!r}, which is no folder")
    path = Path(folder, file)
    return path if path.is_file() else None


def _file_of(name: str, split: str | None) -> Path:
    dataset = DATASETS[name]
    known = tuple(dict.fromkeys([*dataset.local, *dataset.official]))
    if split is None and len(known) == 1:
        (split,) = known
    if split is None:
        raise ValueError(f"dataset {name} has several splits, name one: {', '.join(known)}")
    if split not in known:
        raise ValueError(f"dataset {name} has no split {split!r}, only {', '.join(known)}")
    if split in dataset.local and (path := _in_data_folder(dataset.local[split])):
        return path
    folder = os.environ.get("SYMMBFN_DATA") or "unset"
    if split not in dataset.official:
        raise ValueError(
            f"{name} {split} is only in the folder SYMMBFN_DATA ({folder}), "
            f"which has no {dataset.local[split]}"
        )
    repository, path_there, blob = dataset.official[split]
    url = f"{RAW_FILES}/{repository}/HEAD/{path_there}"
    target = cache_folder() / "downloads" / f"{name}_{split}.csv"
    if split in dataset.local and folder != "unset":
        print(
            f"{name} {split}: SYMMBFN_DATA ({folder}) has no {dataset.local[split]}, "
            f"the official file {target} is taken",
            file=sys.stderr,
        )
    return download(url, target, blob)


def _prototypes() -> "pandas.DataFrame":
    """The AFLOW crystallographic prototypes that pymatgen carries, as P1 CIFs.

    Source: Mehl et al. 2017 (AFLOW): as packaged by pymatgen.
    """
    import pandas as pd
    from pymatgen.core import Structure
    from pymatgen.io.cif import CifWriter

    folder = files("pymatgen") / "analysis" / "prototypes"
    entries = json.loads(gzip.decompress((folder / "aflow_prototypes.json.gz").read_bytes()))
    rows = []
    uses: Counter[str] = Counter()
    for entry in entries:
        label = entry["tags"]["aflow"]
        uses[label] += 1
        structure = Structure.from_dict({**entry["snl"], "@class": "Structure"})
        structure.remove_oxidation_states()
        rows.append(
            {
                # several minerals share one label; ids are told apart
                "material_id": label if uses[label] == 1 else f"{label}-{uses[label]}",
                "mineral": entry["tags"]["mineral"],
                "strukturbericht": entry["tags"]["strukturbericht"],
                "cif": str(CifWriter(structure, significant_figures=10)),
            }
        )
    return pd.DataFrame(rows)
