"""Encoded tensors hold what was encoded, survive the disk, and are made again when they must."""

import csv
import multiprocessing
import re
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from symmbfn.datasets import cache, encoding
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import TooManyFailuresError, encode_dataset
from symmbfn.datasets.registry import load_dataset
from symmbfn.runtime import files
from symmbfn.runtime.workers import Outcome

BAD_CIFS = {
    "empty": "",
    "words": "no crystal at all",
    "truncated": "data_x\n_cell_length_a 4",
}


@pytest.fixture(scope="module")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve prototypes with a property, and three rows that are no crystals."""
    table = load_dataset("prototypes").head(12).copy()
    table["gap"] = np.arange(12.0)
    table.loc[3, "gap"] = np.nan
    for name, text in BAD_CIFS.items():
        table.loc[len(table)] = {"material_id": name, "cif": text, "gap": 1.0}
    path = tmp_path_factory.mktemp("data") / "mine.csv"
    table[["material_id", "gap", "cif"]].to_csv(path, index=False)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoded")


@pytest.fixture(scope="module")
def encoded(crystals: Path, folder: Path) -> EncodedDataset:
    return encode_dataset(crystals, cache_dir=folder, workers=2)


def test_a_subset_holds_the_same_crystals_and_is_another_set(encoded: EncodedDataset) -> None:
    rows = torch.tensor([7, 2, 2, 11])
    part = encoded.subset(rows)
    assert len(part) == 4
    for mine, source in enumerate(rows.tolist()):
        one, other = part.unit(mine), encoded.unit(source)
        assert one.identifier == other.identifier
        assert one.space_group_number == other.space_group_number
        assert part.properties[mine].equal(encoded.properties[source])
        for name in ("lattice_k", "atomic_numbers", "wyckoff_positions", "fractional_coords"):
            assert (getattr(one, name) == getattr(other, name)).all()
    others = {encoded.subset(torch.tensor(chosen)).digest for chosen in ([7], [7, 2], [2, 7])}
    assert len({encoded.digest, part.digest, *others}) == 5
    assert len(encoded.subset(rows[:0])) == 0


def test_every_row_is_encoded_or_explained(
    encoded: EncodedDataset, crystals: Path, folder: Path
) -> None:
    assert len(encoded) == 12
    assert encoded.identifiers == tuple(load_dataset(crystals)["material_id"][:12])
    with (folder / "failures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["row"], row["material_id"]) for row in rows] == [
        ("12", "empty"),
        ("13", "words"),
        ("14", "truncated"),
    ]
    assert all(row["reason"] and row["dataset"].startswith("mine-all-") for row in rows)


def test_units_are_the_encoders_own(encoded: EncodedDataset, crystals: Path) -> None:
    from symmbfn.datasets.encoding import encode_cif

    texts = load_dataset(crystals)["cif"]
    for index in (0, 5, 11):
        unit = encode_cif(texts[index], symprec=0.1, form="canonical")
        stored = encoded.unit(index)
        assert stored.space_group_number == unit.space_group_number
        assert np.array_equal(stored.lattice_k, unit.lattice_k)
        assert np.array_equal(stored.atomic_numbers, unit.atomic_numbers)
        assert np.array_equal(stored.wyckoff_positions, unit.wyckoff_positions)
        # single precision of a number below 1
        assert np.abs(stored.fractional_coords - unit.fractional_coords).max() < 1e-7


def test_batch_is_the_stack_of_its_units(encoded: EncodedDataset) -> None:
    indices = torch.tensor([7, 0, 3])
    batch = encoded.batch(indices, dtype=torch.float64)
    for row, unit in zip(indices.tolist(), batch.unstack(), strict=True):
        stored = encoded.unit(row)
        assert unit.space_group_number == stored.space_group_number
        assert np.array_equal(unit.lattice_k, stored.lattice_k)
        assert np.array_equal(unit.atomic_numbers, stored.atomic_numbers)
        assert np.array_equal(unit.wyckoff_positions, stored.wyckoff_positions)
        assert np.array_equal(unit.fractional_coords, stored.fractional_coords)
    assert not batch.fractional_coords[~batch.is_site].any()
    assert not batch.atomic_numbers[~batch.is_site].any()
    assert torch.equal(batch.n_sites, encoded.n_sites[indices])


def test_properties_keep_their_rows_and_gaps(encoded: EncodedDataset) -> None:
    assert encoded.property_names == ("gap",)
    expected = torch.arange(12.0)
    expected[3] = float("nan")
    assert torch.equal(encoded.properties[:, 0].isnan(), expected.isnan())
    assert torch.equal(encoded.properties[:, 0].nan_to_num(), expected.nan_to_num())


def test_other_properties_are_another_set(
    encoded: EncodedDataset, crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a training on a corrected column would read the tensors of the old one."""
    # nothing is encoded: the digest is known before
    monkeypatch.setattr(encoding, "_outcomes", lambda *_, **__: [])
    monkeypatch.setattr(encoding, "_encoded", lambda *arguments: encoded.derived(arguments[-1]))
    table = load_dataset(crystals)
    changed, renamed, unknown = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    table.assign(gap=table["gap"].replace(5.0, 5.5)).to_csv(changed, index=False)
    table.rename(columns={"gap": "width"}).to_csv(renamed, index=False)
    table.assign(gap=table["gap"].replace(0.0, np.nan)).to_csv(unknown, index=False)
    digests = []
    for path in (crystals, crystals, changed, renamed, unknown):
        copy = tmp_path / "mine.csv"  # it is not the name of the file that tells them apart
        copy.write_bytes(path.read_bytes())
        folder = tmp_path / f"cache-{len(digests)}"
        digests.append(encode_dataset(copy, cache_dir=folder).digest)
    assert digests[0] == digests[1] and len(set(digests)) == 4


def test_disk_changes_nothing(encoded: EncodedDataset, tmp_path: Path) -> None:
    loaded = EncodedDataset.load(encoded.save(tmp_path / "copy"))
    for name in cache._TENSORS:
        first, second = getattr(encoded, name), getattr(loaded, name)
        assert first.dtype == second.dtype
        assert torch.equal(first.nan_to_num(), second.nan_to_num())
    for name in ("identifiers", "failures", "settings", "digest", "property_names"):
        assert getattr(encoded, name) == getattr(loaded, name)


def test_second_call_reads_the_first(
    encoded: EncodedDataset, crystals: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("encoded twice")

    monkeypatch.setattr(encoding, "_outcomes", refuse)
    again = encode_dataset(crystals, cache_dir=folder)
    assert again.digest == encoded.digest and len(again.failures) == 3
    with pytest.raises(AssertionError, match="encoded twice"):
        encode_dataset(crystals, cache_dir=folder, form="raw")
    with pytest.raises(AssertionError, match="encoded twice"):
        encode_dataset(crystals, cache_dir=folder, symprec=0.01)


def test_rows_that_the_machine_failed_are_tried_again(
    encoded: EncodedDataset, crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []
    reasons = {0: "timeout: more than 60 s", 5: "worker_lost: exit code -9", 7: "MemoryError: "}

    def here(function, items, **_):
        asked.append(items)
        for i, item in enumerate(items):
            if len(asked) == 1 and i in reasons:
                yield Outcome(i, None, reasons[i], float("nan"))
                continue
            try:
                yield Outcome(i, function(item), "", 1.0)
            except ValueError as error:
                yield Outcome(i, None, str(error), float("nan"))

    monkeypatch.setattr("symmbfn.datasets.encoding.run_killable", here)
    first = encode_dataset(crystals, cache_dir=tmp_path)
    assert len(first) == 9 and [row for row, *_ in first.failures] == [0, 5, 7, 12, 13, 14]
    assert first.digest != encoded.digest, "other crystals are another set"
    again = encode_dataset(crystals, cache_dir=tmp_path)
    texts = load_dataset(crystals)["cif"]
    assert asked[1] == [texts[row] for row in reasons]
    for name in cache._TENSORS:
        assert torch.equal(getattr(again, name).nan_to_num(), getattr(encoded, name).nan_to_num())
    for name in ("identifiers", "settings", "digest", "property_names"):
        assert getattr(again, name) == getattr(encoded, name)
    assert [row for row, *_ in again.failures] == [12, 13, 14]
    assert "timeout" not in (tmp_path / "failures.csv").read_text()
    assert encode_dataset(crystals, cache_dir=tmp_path).digest == again.digest
    assert len(asked) == 2


def test_a_stopped_call_loses_nothing(
    encoded: EncodedDataset, crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def stopping(function, items, **_):
        asked.append(len(items))
        for i, item in enumerate(items):
            if len(asked) == 1 and i == 6:
                raise KeyboardInterrupt
            try:
                yield Outcome(i, function(item), "", 1.0)
            except ValueError as error:
                yield Outcome(i, None, str(error), float("nan"), "")

    monkeypatch.setattr("symmbfn.datasets.encoding.run_killable", stopping)
    with pytest.raises(KeyboardInterrupt):
        encode_dataset(crystals, cache_dir=tmp_path)
    again = encode_dataset(crystals, cache_dir=tmp_path)
    assert asked == [15, 9]
    assert (again.digest, again.failures) == (encoded.digest, encoded.failures)
    for name in cache._TENSORS:
        assert torch.equal(getattr(again, name).nan_to_num(), getattr(encoded, name).nan_to_num())
    assert not list(tmp_path.glob("*.jsonl")), "what is whole needs no journal"


def test_a_folder_with_a_dot_in_its_name_is_encoded_once(crystals: Path, tmp_path: Path) -> None:
    table = load_dataset(crystals)[["material_id", "cif"]]
    for version in ("v1.2", "v1.3"):
        table[:2].to_csv(tmp_path / f"{version}.csv", index=False)
        encode_dataset(tmp_path / f"{version}.csv", cache_dir=tmp_path / "cache", workers=1)
    stored = [path.name for path in sorted((tmp_path / "cache").glob("*.safetensors"))]
    assert [name[:9] for name in stored] == ["v1.2-all-", "v1.3-all-"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "_outcomes", None)
        encode_dataset(tmp_path / "v1.2.csv", cache_dir=tmp_path / "cache", workers=1)


def test_a_second_process_waits_and_says_so(
    encoded: EncodedDataset,
    crystals: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    """Two calls at once would do everything twice, and write into one journal."""
    monkeypatch.setattr(files, "PATIENCE", 0.0)  # however quick the machine is
    with ThreadPoolExecutor(2) as pool:
        calls = [
            pool.submit(encode_dataset, crystals, cache_dir=tmp_path, workers=1) for _ in range(2)
        ]
        assert {call.result().digest for call in calls} == {encoded.digest}
    waits = re.findall("waiting for another process that makes (.+)", capsys.readouterr().err)
    # both write into failures.csv in the end, and may meet there as well
    assert len([path for path in waits if not path.endswith("failures.csv")]) == 1


def encoded_there(arguments: tuple[Path, Path]) -> str:
    source, folder = arguments
    return encode_dataset(source, cache_dir=folder, workers=1).digest


def test_a_worker_of_a_pool_encodes(
    encoded: EncodedDataset, crystals: Path, tmp_path: Path
) -> None:
    """Its processes are daemonic, which Python lets have no processes of their own."""
    tasks = [(crystals, tmp_path / name) for name in ("first", "second")]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        digests = pool.map_async(encoded_there, tasks).get(timeout=300)
    assert digests == [encoded.digest] * 2


def test_a_worker_of_dask_encodes(encoded: EncodedDataset, crystals: Path, tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.Client(n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        digest = client.submit(encoded_there, (crystals, tmp_path)).result(timeout=300)
    assert digest == encoded.digest


def test_what_takes_long_is_announced_once(
    crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    encode_dataset(crystals, cache_dir=tmp_path / "quick", workers=2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(encoding, "SECONDS_PER_CRYSTAL", 20.0)
    for _ in range(2):
        encode_dataset(crystals, cache_dir=tmp_path / "slow", workers=2)
    assert capsys.readouterr().err == (
        "encoding mine all for the first time: 15 crystals, about 2 minutes on 2 cores; "
        f"kept in {tmp_path / 'slow'}\n"
    )


def test_the_bar_for_failures(encoded: EncodedDataset, crystals: Path, folder: Path) -> None:
    assert len(encode_dataset(crystals, cache_dir=folder, max_failures=3)) == 12
    with pytest.raises(TooManyFailuresError, match="3 of 15"):
        encode_dataset(crystals, cache_dir=folder, max_failures=2)


def test_nothing_encodable_is_an_error_with_its_reasons_kept(tmp_path: Path) -> None:
    source = tmp_path / "cifs"
    source.mkdir()
    (source / "a.cif").write_text("nothing")
    with pytest.raises(TooManyFailuresError, match="not one of 1 rows"):
        encode_dataset(source, cache_dir=tmp_path, workers=1, max_failures=0)
    assert "cifs-all-" in (tmp_path / "failures.csv").read_text()


def test_a_dataset_without_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("material_id,cif\n")
    with pytest.raises(ValueError, match="none.csv has no rows"):
        encode_dataset(tmp_path / "none.csv", cache_dir=tmp_path)


def test_encodings_at_the_same_time_keep_each_others_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("fcntl", reason="no file locks on this system")
    path = tmp_path / "failures.csv"
    write = encoding.write_whole

    def write_late(*arguments: object) -> None:
        time.sleep(0.05)  # enough for all others to have read
        write(*arguments)

    monkeypatch.setattr(encoding, "write_whole", write_late)
    stems = [f"set-{i}" for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda stem: encoding._write_failures(path, stem, ((0, "a", "bad"),)), stems))
    with path.open(newline="") as file:
        assert sorted(row["dataset"] for row in csv.DictReader(file)) == stems


@pytest.mark.parametrize(
    ("options", "value"),
    [
        ({"form": "standard"}, "'standard'"),
        ({"symprec": 0.0}, "0.0"),
        ({"symprec": -1.0}, "-1.0"),
        ({"workers": 0}, "0"),
        ({"time_limit": 0.0}, "0.0"),
    ],
)
def test_arguments_out_of_range_are_named(
    crystals: Path, tmp_path: Path, options: dict, value: str
) -> None:
    with pytest.raises(ValueError, match=value):
        encode_dataset(crystals, cache_dir=tmp_path, **options)


def test_damaged_files_are_refused(encoded: EncodedDataset, tmp_path: Path) -> None:
    path = encoded.save(tmp_path / "copy")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="copy"):
        EncodedDataset.load(path)
    path.write_bytes(whole)
    facts = path.with_suffix(".json")
    facts.write_text(facts.read_text().replace(encoded.digest, "0" * 64))
    with pytest.raises(ValueError, match="belong together"):
        EncodedDataset.load(path)
    with pytest.raises(ValueError, match="none"):
        EncodedDataset.load(tmp_path / "none")
