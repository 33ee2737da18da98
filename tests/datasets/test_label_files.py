"""Labels go to the crystal of their id, and what is no label is refused."""

import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from symmbfn.datasets import label_files
from symmbfn.datasets.label_files import SHIPPED, WHOLE_HULL, read_labels, write_labels
from tests.models import dataset

ROOT = Path(__file__).parents[2]


def written(folder: Path, table: dict, name: str = "labels.csv") -> Path:
    path = folder / name
    frame = pd.DataFrame(table)
    frame.to_parquet(path) if path.suffix == ".parquet" else frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("name", ["labels.csv", "labels.csv.gz", "labels.parquet"])
def test_values_are_joined_by_id_over_those_of_the_dataset(tmp_path: Path, name: str) -> None:
    crystals = replace(
        dataset(),
        identifiers=tuple(f"mp-{i}" for i in range(16)),
        properties=torch.arange(16.0)[:, None],
        property_names=("band_gap",),
    )
    # in another order, of three crystals of the set and one that it lacks
    table = {
        "energy_above_hull": [0.5, 0.25, np.nan, 9.0],
        "material_id": ["mp-7", "mp-2", "mp-3", "mp-404"],
        "band_gap": [70.5, np.nan, 30.5, 9.0],
        "energy_source": ["DFT", "CHGNet 0.3.0", "DFT", "DFT"],
    }
    labels = read_labels(written(tmp_path, table, name))
    assert labels.count(crystals.identifiers) == 3
    joined = labels.join(crystals)
    assert joined.property_names == ("band_gap", "e_above_hull")
    gaps, heights = joined.properties.unbind(-1)
    assert gaps.tolist() == [*range(3), 30.5, *range(4, 7), 70.5, *range(8, 16)]
    assert {i: h for i, h in enumerate(heights.tolist()) if h == h} == {2: 0.25, 7: 0.5}
    assert joined.identifiers == crystals.identifiers and joined.digest != crystals.digest
    assert crystals.properties.tolist() == torch.arange(16.0)[:, None].tolist()


def test_the_digest_is_of_the_values(tmp_path: Path) -> None:
    table = {"material_id": ["a", "b"], "x": [1.0, 2.0]}
    first = read_labels(written(tmp_path, table, "one.csv"))
    assert read_labels(written(tmp_path, table, "two.parquet")).digest == first.digest
    for other in ({"x": [1.0, 2.5]}, {"material_id": ["a", "c"]}):
        assert read_labels(written(tmp_path, table | other)).digest != first.digest
    renamed = {"material_id": ["a", "b"], "y": [1.0, 2.0]}
    assert read_labels(written(tmp_path, renamed)).digest != first.digest


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": [1.0]}, "no column material_id"),
        ({"material_id": ["a"], "formula": ["Na"]}, "no column of numbers"),
        ({"material_id": ["a", "b"], "x": ["1.0", "1,5"]}, r"column x, row 2 \(b\): '1,5'"),
        ({"material_id": ["a"], "phase": ["cubic"]}, "column phase, row 1"),
        ({"material_id": ["a", "b", "a"], "x": [1.0, 2.0, 3.0]}, "1 ids stand twice, such as a"),
    ],
)
def test_what_is_no_label_is_refused(tmp_path: Path, table: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        read_labels(written(tmp_path, table))
    assert "labels.csv" in str(refused.value)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels.parquet").write_text("nothing")
    for name in ("labels.parquet", "missing.csv", "labels.pkl", "whole"):
        with pytest.raises(ValueError, match=name):
            read_labels(tmp_path / name)


def test_an_altered_label_of_the_package_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(label_files, "SHIPPED", tmp_path)
    table = pd.DataFrame({"material_id": ["mp-1"], "e_above_hull": [0.5]})
    write_labels(table, tmp_path / "set-train.parquet", hull="mine")
    assert read_labels(WHOLE_HULL).row_of == {"mp-1": 0}
    stored = pd.read_parquet(tmp_path / "set-train.parquet")
    assert stored.attrs["hull"] == "mine"
    altered = stored.assign(e_above_hull=[0.4])
    altered.attrs = stored.attrs
    altered.to_parquet(tmp_path / "set-train.parquet")
    with pytest.raises(ValueError, match=r"set-train\.parquet are altered"):
        read_labels(WHOLE_HULL)


def test_the_shipped_labels_are_small_packaged_and_of_no_test_crystal(data_folder: Path) -> None:
    labels = read_labels(WHOLE_HULL)
    assert labels.names == ("e_above_hull", "formation_energy_per_atom")
    files = sorted(SHIPPED.glob("*.parquet"))
    assert sum(path.stat().st_size for path in files) < 2_000_000
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    packaged = {
        path
        for pattern in package["package-data"]["symmbfn"]
        for path in (ROOT / "symmbfn").glob(pattern)
    }
    assert set(files) <= packaged
    assert not labels.values.isnan().any() and labels.values[:, 0].min() == 0
    for name in ("mp_20_test_open", "mpts_52_test_open"):
        table = pd.read_csv(data_folder / f"{name}.csv.gz", usecols=["material_id"])
        assert labels.count(table["material_id"].tolist()) < (1 if "mp_20" in name else 3000)


@pytest.mark.parametrize("split", ["train", "val"])
def test_the_shipped_labels_agree_with_the_official_distances(
    data_folder: Path, split: str
) -> None:
    """Where these are known; a stable crystal of the Materials Project is 0 in most cases."""
    labels = read_labels(WHOLE_HULL)
    table = pd.read_csv(
        data_folder / f"mp_20_{split}.csv.gz", usecols=["material_id", "e_above_hull"]
    )
    assert labels.count(table["material_id"].tolist()) > 0.98 * len(table)
    known = table[table["e_above_hull"].notna() & table["material_id"].isin(labels.row_of)]
    ours = labels.values[[labels.row_of[id_] for id_ in known["material_id"]], 0].numpy()
    gap = ours - known["e_above_hull"].to_numpy()
    assert np.abs(gap).mean() < 0.003 and np.quantile(np.abs(gap), 0.9) < 0.01
