"""A run can be stopped anywhere: what is done stays, and the end is the same bit for bit."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import ase.io
import numpy as np
import pytest
import torch
from pymatgen.core import Structure
from safetensors.torch import load_file, save_file

from symmbfn.conditions.request import Request
from symmbfn.crystals.centring import PRIMITIVE_VECTORS
from symmbfn.crystals.records import read_crystals, read_records
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation import generate as generation
from symmbfn.generation import run as runs
from symmbfn.generation.batch_files import headers
from symmbfn.generation.generate import generate
from symmbfn.generation.run import generate_run
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import CONFIG_FILE, WEIGHTS_FILE, load_model
from symmbfn.runtime.files import file_digest

BATCH_SIZE = 4
REQUEST = {"n": 30, "n_steps": 2, "seed": 12, "device": "cpu"}


def content(folder: Path) -> dict[str, bytes]:
    """Every file by name; times differ between runs, so the summary is compared without."""
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    summary = json.loads(found.pop("summary.json"))
    summary.pop("time")
    return found | {"summary.json": json.dumps(summary).encode()}


@pytest.fixture(scope="module", autouse=True)
def small_batches() -> Iterator[None]:
    """Several batches of a few crystals: one batch would hold these runs whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(runs.BATCH_SIZE, "cpu", BATCH_SIZE)
        yield


@pytest.fixture(scope="module")
def whole(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run without interruption."""
    folder = tmp_path_factory.mktemp("runs") / "whole"
    generate_run(folder, weights=str(tiny_weights), **REQUEST)
    return folder


def test_every_request_has_one_record_and_counts_add_up(whole: Path) -> None:
    records = list(read_records(whole))
    assert [record["index"] for record in records] == list(range(30))
    assert {record["seed"] for record in records} == {12}
    summary = json.loads((whole / "summary.json").read_text())
    assert sum(summary["statuses"].values()) == summary["n"] == 30
    assert summary["statuses"]["ok"] == summary["rates"]["ok"]["count"]
    assert 0 < summary["rates"]["ok"]["count"] < 30, "the test needs both kinds"
    low, high = summary["rates"]["ok"]["interval"]
    assert low < summary["rates"]["ok"]["share"] < high
    assert summary["time"]["seconds"] > 0 and summary["time"]["processor_seconds"] > 0
    assert not (whole / "parts").exists()


def test_files_hold_the_crystals_that_python_returns(whole: Path, tiny_weights: Path) -> None:
    expected = generate(weights=str(tiny_weights), **REQUEST)
    crystals = list(read_crystals(whole))
    assert [c.status for c in crystals] == [c.status for c in expected]
    valid = [crystal for crystal in expected if crystal.status == "ok"]
    names = sorted(path.name for path in (whole / "cif").iterdir())
    assert [int(name.split("-")[0]) for name in names] == [crystal.index for crystal in valid]
    atoms = ase.io.read(whole / "crystals.extxyz", ":")
    for crystal, name, one in zip(valid, names, atoms, strict=True):
        assert (whole / "cif" / name).read_text() == crystal.to_cif()
        assert one.info["index"] == crystal.index
        assert np.array_equal(one.numbers, crystal.atomic_numbers)
        assert np.allclose(one.cell.array, crystal.lattice_matrix, atol=1e-6)
        assert f"-{crystal.formula}-{crystal.space_group_number}.cif" in name


def test_the_same_call_makes_nothing_again(
    whole: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "generate_batches", pytest.fail)
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    generate_run(whole, weights=str(tiny_weights), **REQUEST)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before


def test_what_was_deleted_is_made_from_the_records(
    whole: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "generate_batches", pytest.fail)
    before = content(whole)
    for path in [whole / "summary.json", whole / "crystals.extxyz", *(whole / "cif").iterdir()]:
        path.unlink()
    generate_run(whole, weights=str(tiny_weights), **REQUEST)
    assert content(whole) == before


def test_a_cif_that_a_power_cut_emptied_is_made_again(
    whole: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFs do not wait for the disk: the name of one may outlive its content."""
    monkeypatch.setattr(runs, "generate_batches", pytest.fail)
    before = content(whole)
    emptied, cut, *_ = sorted((whole / "cif").iterdir())
    emptied.write_bytes(b"")
    cut.write_bytes(cut.read_bytes()[:100])
    generate_run(whole, weights=str(tiny_weights), **REQUEST)
    assert content(whole) == before


@pytest.mark.parametrize("n_batches", [0, 1, 4])
def test_an_interrupted_run_ends_as_if_it_had_not_been(
    n_batches: int,
    whole: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = []
    real = runs.generate_batches

    def stopping(*args, index, **kwargs):
        if len(calls) == n_batches:
            raise KeyboardInterrupt
        calls.append(index.tolist())
        return real(*args, index=index, **kwargs)

    folder = tmp_path / "run"
    monkeypatch.setattr(runs, "generate_batches", stopping)
    with pytest.raises(KeyboardInterrupt, match=r"stopped with \d+ of 30") as stop:
        generate_run(folder, weights=str(tiny_weights), **REQUEST)
    safe = sum(map(len, calls))
    assert str(stop.value).startswith(f"stopped with {safe} of 30")
    assert len(list((folder / "cif").glob("*"))) <= safe

    def counting(*args, index, **kwargs):
        calls.append(index.tolist())
        return real(*args, index=index, **kwargs)

    monkeypatch.setattr(runs, "generate_batches", counting)
    generate_run(folder, weights=str(tiny_weights), **REQUEST)
    assert sorted(i for index in calls for i in index) == list(range(30)), "none twice"
    assert content(folder) == content(whole)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_killed_process_loses_nothing_but_its_batches(
    workers: int, tiny_weights: Path, tmp_path: Path
) -> None:
    options = {"n": 60, "n_steps": 12, "device": "cpu", "weights": str(tiny_weights)}
    folder = tmp_path / "killed"
    code = "\n".join([
        "from symmbfn.generation import run",
        f"run.BATCH_SIZE['cpu'] = {BATCH_SIZE}",
        f"run.generate_run({str(folder)!r}, workers={workers}, **{options})",
    ])  # fmt: skip
    command = [sys.executable, "-c", code]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while len(list((folder / "parts").glob("part-*"))) < 3 and time.monotonic() < deadline:
        assert process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    parts = {path: path.read_bytes() for path in (folder / "parts").glob("part-*")}
    assert len(parts) >= 3
    kept = [index for _, header in headers(folder) for index in header["index"]]
    summary = generate_run(folder, **options)
    assert sum(summary["statuses"].values()) == 60 and len(set(kept)) == len(kept) > 0
    generate_run(tmp_path / "whole", **options)
    left_over = [name for name in content(folder) if name.endswith(".part")]
    assert {k: v for k, v in content(folder).items() if k not in left_over} == content(
        tmp_path / "whole"
    )


@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_workers_changes_no_byte(
    workers: int, whole: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    summary = generate_run(tmp_path, weights=str(tiny_weights), workers=workers, **REQUEST)
    assert summary["time"]["workers"] == [workers]
    assert content(tmp_path) == content(whole)


def test_an_interrupted_run_with_workers_ends_as_if_it_had_not_been(
    whole: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches that were sampled but not written when the run is stopped are sampled again."""
    calls, real = [], runs.generate_batches

    def stopping(*args, index, **kwargs):
        if len(calls) == 4:
            raise KeyboardInterrupt
        calls.append(len(index))
        return real(*args, index=index, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(runs, "generate_batches", stopping)
        with pytest.raises(KeyboardInterrupt, match=r"stopped with \d+ of 30") as stop:
            generate_run(tmp_path, weights=str(tiny_weights), workers=1, **REQUEST)
    safe = sum(len(header["index"]) for _, header in headers(tmp_path))
    assert str(stop.value).startswith(f"stopped with {safe} of 30") and safe <= sum(calls)
    generate_run(tmp_path, weights=str(tiny_weights), workers=1, **REQUEST)
    assert content(tmp_path) == content(whole)


def test_the_manifest_says_what_the_batches_came_from(
    whole: Path, tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = json.loads((whole / "manifest.json").read_text())
    assert manifest["buckets"] == {"sites": [*SITE_EDGES], "operations": [*OPERATION_EDGES]}
    assert (manifest["settings"]["dtype"], manifest["device"]) == ("float32", "cpu")
    # other batches have other numbers: the parts of both would not fit together
    shutil.copy(whole / "manifest.json", tmp_path)
    monkeypatch.setattr(runs, "SITE_EDGES", (2, 4))
    with pytest.raises(ValueError, match="size buckets"):
        generate_run(tmp_path, weights=str(tiny_weights), **REQUEST)


def test_a_run_that_goes_on_elsewhere_says_so_and_notes_it(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    request = {**REQUEST, "weights": str(tiny_weights), "n": 2}
    generate_run(tmp_path, **request)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert "resumed_with" not in manifest and not capsys.readouterr().err
    here = {"device": "cpu", **manifest["versions"]}
    manifest |= {"device": "cuda", "versions": {**manifest["versions"], "torch": "1.0"}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    for _ in range(2):
        for name in ("records.jsonl", "summary.json"):
            (tmp_path / name).unlink()
        summary = generate_run(tmp_path, **request)
        said = capsys.readouterr().err
        assert "device is 'cuda' there and 'cpu' here, torch is '1.0' there" in said
        assert said.count("\n") == 1
        assert summary["resumed_with"] == [here] and summary["versions"]["torch"] == "1.0"


def test_other_settings_are_refused_and_nothing_changes(whole: Path, tiny_weights: Path) -> None:
    before = content(whole)
    for change, text in [
        ({"n": 31}, r"requests\.0\.n is 30 there and 31 here"),
        ({"seed": 8}, r"requests\.0\.seed is 12 there and 8 here"),
        ({"n_steps": 3}, r"sampler\.n_steps is 2 there and 3 here"),
        ({"solver": "ode2"}, r"sampler\.solver is 'bfn' there and 'ode2' here"),
        ({"clearance": 0.0}, r"sampler\.clearance is 0.75 there and 0.0 here"),
        (
            {"space_group_number": 225},
            r"requests\.0\.space_group_number is None there and \[225\] here",
        ),
        ({"primitive": True}, "primitive is False there and True here"),
    ]:
        with pytest.raises(ValueError, match=text):
            generate_run(whole, weights=str(tiny_weights), **{**REQUEST, **change})
    assert content(whole) == before


def test_a_resumed_run_compares_request_and_sampler_as_a_whole(
    whole: Path, tiny_weights: Path
) -> None:
    """Whichever field differs, those too that no keyword of the command line sets."""
    manifest = json.loads((whole / "manifest.json").read_text())["settings"]
    request = Request(n=30, seed=12)
    sampler = preset_sampler(load_model(tiny_weights), n_steps=2)
    assert [Request(**one) for one in manifest["requests"]] == [request]
    assert SamplerConfig(**manifest["sampler"]) == sampler
    before, run = content(whole), {"weights": str(tiny_weights), "device": "cpu"}
    generate_run(whole, request, sampler=sampler, **run)
    for name, value in (("temperature", 0.5), ("eta", 0.3), ("has_projection", False)):
        with pytest.raises(
            ValueError, match=rf"run: sampler\.{name} is \S+ there and {value} here$"
        ):
            generate_run(whole, request, sampler=replace(sampler, **{name: value}), **run)
    with pytest.raises(ValueError, match=r"run: requests\.0\.first is 0 there and 1 here$"):
        generate_run(whole, replace(request, first=1), sampler=sampler, **run)
    assert content(whole) == before


def test_a_run_belongs_to_weights_and_not_to_their_name(tiny_weights: Path, tmp_path: Path) -> None:
    """Weights that were trained on in the same folder are others; a copy elsewhere is none."""
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        shutil.copytree(tiny_weights, folder)
    request = {**REQUEST, "n": 2}
    generate_run(tmp_path / "run", weights=str(here), **request)
    before = content(tmp_path / "run")
    (tmp_path / "run" / "summary.json").unlink()
    generate_run(tmp_path / "run", weights=str(there), **request)
    assert content(tmp_path / "run") == before
    values = load_file(here / WEIGHTS_FILE)
    save_file({name: value * 1.5 for name, value in values.items()}, here / WEIGHTS_FILE)
    config = json.loads((here / CONFIG_FILE).read_text())
    config["sha256"] = file_digest(here / WEIGHTS_FILE)
    (here / CONFIG_FILE).write_text(json.dumps(config))
    with pytest.raises(ValueError, match=r"run: weights is .* there and .* here$"):
        generate_run(tmp_path / "run", weights=str(here), **request)
    assert content(tmp_path / "run") == before


def test_neighbouring_ranges_together_are_the_whole_run(
    whole: Path, tiny_weights: Path, tmp_path: Path
) -> None:
    """The same records, frames and CIFs, and each part is a run that can be resumed."""
    run = {**REQUEST, "weights": str(tiny_weights)}
    found: dict[str, bytes] = {}
    for first, n, workers in ((0, 8, 0), (8, 22, 1)):
        folder = tmp_path / str(first)
        summary = generate_run(folder, **{**run, "n": n, "first": first}, workers=workers)
        assert summary["n"] == sum(summary["statuses"].values()) == n
        records = list(read_records(folder))
        assert [record["index"] for record in records] == list(range(first, first + n))
        part = content(folder)
        (folder / "crystals.extxyz").unlink()
        next((folder / "cif").iterdir()).unlink()
        generate_run(folder, **{**run, "n": n, "first": first})
        assert content(folder) == part, "what was deleted is made again"
        for name in ("records.jsonl", "crystals.extxyz"):
            found[name] = found.get(name, b"") + part[name]
        found |= {name: text for name, text in part.items() if name.startswith("cif/")}
    expected = content(whole)
    assert found == {name: expected[name] for name in found}
    assert {name for name in expected if name.startswith("cif/")} <= set(found)


def test_primitive_cells_and_asked_groups(tiny_weights: Path, tmp_path: Path) -> None:
    request = {**REQUEST, "n": 12, "space_group_number": "225,229,195"}
    summary = generate_run(tmp_path, weights=str(tiny_weights), primitive=True, **request)
    assert summary["space_groups_not_in_training"] == [195]
    assert summary["cells"] == "primitive"
    valid = [crystal for crystal in read_crystals(tmp_path) if crystal.status == "ok"]
    assert {crystal.space_group_number for crystal in valid} <= {225, 229} and valid
    atoms = ase.io.read(tmp_path / "crystals.extxyz", ":")
    for crystal, one, path in zip(valid, atoms, sorted((tmp_path / "cif").iterdir()), strict=True):
        centring = {225: "F", 229: "I"}[crystal.space_group_number]
        n_copies = round(1 / np.linalg.det(PRIMITIVE_VECTORS[centring]))
        assert len(one) * n_copies == len(crystal)
        assert len(Structure.from_file(path)) == len(one)


def test_groups_that_no_training_crystal_has_are_refused(
    tiny_weights: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="195"):
        generate_run(tmp_path / "x", weights=str(tiny_weights), n=3, space_group_number=195)
    assert not (tmp_path / "x").exists()


def torch_says() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


def cuda_says() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate")


def windows_says() -> None:
    raise RuntimeError("[enforce fail] . DefaultCPUAllocator: not enough memory: you tried")


def python_says() -> None:
    raise MemoryError


@pytest.mark.parametrize("says", [torch_says, cuda_says, windows_says, python_says])
def test_without_memory_a_batch_is_halved_and_one_crystal_is_a_record(
    says: Callable[[], None],
    whole: Path,
    tiny_weights: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory goes to the rows that are computed, which on the CPU are a multiple of 8."""
    real, rows_with_4 = generation.sample, []

    def small_memory(model, given, sampler, *, index, **kwargs):
        if 4 in index:
            rows_with_4.append(len(given.is_site))
        if len(given.is_site) > 2 or 4 in index:
            says()
        return real(model, given, sampler, index=index, **kwargs)

    monkeypatch.setattr(generation, "sample", small_memory)
    summary = generate_run(tmp_path, weights=str(tiny_weights), **REQUEST)
    assert summary["statuses"]["out_of_memory"] == 1
    assert sum(summary["statuses"].values()) == 30
    assert rows_with_4[0] >= 8 and rows_with_4[-1] == 1
    assert all(less < more for more, less in pairwise(rows_with_4)), "no shape is tried twice"
    lost = list(read_records(tmp_path))[4]
    assert lost["status"] == "out_of_memory" and re.search("memory", lost["reason"])
    before, after = list(read_records(whole)), list(read_records(tmp_path))
    assert [r["space_group_number"] for r in before] == [r["space_group_number"] for r in after]
    before[4] = lost
    assert [r["status"] for r in before] == [r["status"] for r in after]


def test_an_error_that_is_not_about_memory_ends_the_run(
    tiny_weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args, **kwargs):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(runs, "generate_batches", broken)
    with pytest.raises(RuntimeError, match="mat1"):
        generate_run(tmp_path, weights=str(tiny_weights), **REQUEST)
