"""`symmbfn generate`: files, resume, and one line with the value for every bad argument."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch

from symmbfn.cli.verbs import main
from symmbfn.generation import run as runs

FILES = {
    ".lock",
    "cif",
    "crystals.extxyz",
    "gallery.html",
    "gallery.png",
    "manifest.json",
    "records.jsonl",
    "summary.json",
}


def command(weights: Path | str, out: Path, *more: str, n: str = "9") -> list[str]:
    return [
        "generate",
        "--n",
        n,
        "--out",
        str(out),
        "--weights",
        str(weights),
        "--steps",
        "1",
        *more,
    ]


def outcome(arguments: list[str], capsys: pytest.CaptureFixture) -> tuple[int, str]:
    """Exit code and what was written to stderr."""
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = int(stop.code or 0)
    return code, capsys.readouterr().err


def test_it_writes_everything_and_the_same_call_is_quiet(
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"
    assert main(command(tiny_weights, out, "--seed", "3")) == 0
    first = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == FILES
    assert "9 crystals" in first and str(out / "gallery.html") in first
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    monkeypatch.setattr(runs, "generate_batches", pytest.fail)
    assert main(command(tiny_weights, out, "--seed", "3")) == 0
    assert capsys.readouterr().out == first
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    code, shown = outcome(command(tiny_weights, out, "--seed", "4"), capsys)
    assert code == 2 and "seed is 3 there and 4 here" in shown and shown.count("\n") == 1
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


def test_a_range_of_numbers_is_a_part_of_the_whole_run(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert main(command(tiny_weights, whole)) == 0
    assert main(command(tiny_weights, part, "--first", "5", n="4")) == 0
    lines = (whole / "records.jsonl").read_text().splitlines()
    assert (part / "records.jsonl").read_text().splitlines() == lines[5:]
    cifs = {path.name: path.read_bytes() for path in (whole / "cif").iterdir()}
    for path in (part / "cif").iterdir():
        assert path.read_bytes() == cifs[path.name]
        assert f"cif/{path.name}" in (part / "gallery.html").read_text()
    code, shown = outcome(command(tiny_weights, part, "--first", "6", n="4"), capsys)
    assert code == 2 and "requests.0.first is 5 there and 6 here" in shown


def test_interruption_is_code_130_and_resumes(
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = tmp_path / "out"

    def stop(*args, **kwargs):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(runs, "generate_batches", stop)
        code, shown = outcome(command(tiny_weights, out), capsys)
    assert code == 130 and "0 of 9 crystals" in shown and "resumes" in shown
    assert main(command(tiny_weights, out)) == 0
    assert sum(json.loads((out / "summary.json").read_text())["statuses"].values()) == 9


def of_file(weights: Path, file: Path, out: Path, *more: str) -> list[str]:
    """The command without --n."""
    given = command(weights, out, "--requests", str(file), *more)
    return [word for place, word in enumerate(given) if place not in (1, 2)]


def test_a_file_of_requests_is_one_run(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table, lines = tmp_path / "asked.csv", tmp_path / "asked.jsonl"
    table.write_text('n,space-group,elements\r\n3,225,\r\n\r\n,,"Ti,O"\r\n2,,\r\n')
    rows = [{"n": 3, "space_group_number": 225}, {"elements": ["Ti", "O"]}, {"n": 2}]
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for file in (table, lines):
        out = tmp_path / file.suffix
        assert main(of_file(tiny_weights, file, out, "--first", "4", "--seed", "3")) == 0
        assert "3 requests, " in capsys.readouterr().out
        assert {path.name for path in out.iterdir()} == FILES
    records = (tmp_path / ".csv" / "records.jsonl").read_text()
    assert records == (tmp_path / ".jsonl" / "records.jsonl").read_text()
    found = [json.loads(line) for line in records.splitlines()]
    assert [(r["index"], r["request"]) for r in found] == [
        (4, 0), (5, 0), (6, 0), (7, 1), (8, 2), (9, 2)
    ]  # fmt: skip
    assert {r["space_group_number"] for r in found[:3]} == {225}
    alone = command(tiny_weights, tmp_path / "alone", "--first", "7", "--seed", "3", n="1")
    assert main([*alone, "--elements", "Ti,O"]) == 0
    (one,) = map(json.loads, (tmp_path / "alone" / "records.jsonl").read_text().splitlines())
    assert {**one, "request": 1} == found[3]


def test_what_is_wrong_with_a_file_is_said_in_one_line(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    file, out = tmp_path / "asked.jsonl", tmp_path / "out"
    file.write_text('{"n": 2}\n\n{"elements": "Xe,O"}\n')
    for more, text in [
        ([], f"{file} line 3: no training crystal has the elements Xe"),
        (["--elements", "Li"], "--elements must stand in the lines"),
        (["--n", "3", "--guidance", "2"], "--guidance, --n must stand in the lines"),
        (["--property", "band_gap=1", "--space-group", "1"], "--property, --space-group must"),
        (["--seed", "-1"], "seed must"),
        (["--first", "-1"], "first must"),
        (["--requests", str(tmp_path / "nowhere.csv")], "nowhere.csv"),
        (["--requests", str(tiny_weights)], "must be a .csv or a .jsonl file"),
    ]:
        code, shown = outcome(of_file(tiny_weights, file, out, *more), capsys)
        assert code == 2 and text in shown and shown.count("\n") == 1, shown
    code, shown = outcome(["generate", "--out", str(out)], capsys)
    assert code == 2 and "give --n N, or --requests FILE" in shown and shown.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--n", "0"], "0"),
        (["--n", "-3"], "-3"),
        (["--n", "many"], "'many'"),
        (["--n", "2.5"], "'2.5'"),
        (["--first", "-1"], "-1"),
        (["--space-group", "0"], "0"),
        (["--space-group", "231"], "231"),
        (["--space-group", "abc"], "'abc'"),
        (["--space-group", "225,-1"], "-1"),
        (["--space-group", ","], "','"),
        (["--space-group", "195"], "195"),
        (["--steps", "0"], "0"),
        (["--steps", "x"], "'x'"),
        (["--solver", "euler"], "'euler'"),
        (["--seed", "-1"], "-1"),
        (["--seed", str(2**63)], str(2**63)),
        (["--device", "tpu"], "'tpu'"),
        (["--weights", "best"], "'best'"),
        (["--unknown", "1"], "--unknown"),
        (["--elements", ""], "''"),
        (["--elements", "fe,O"], "'fe'"),
        (["--only", "Fe2O3"], "'Fe2O3'"),
        (["--require", "Rn"], "Rn"),
        (["--require", "Li", "--exclude", "Li"], "Li"),
        (["--exclude", "Q"], "'Q'"),
        (["--composition", "Fe0.5O"], "0.5 of Fe"),
        (["--composition", "Fe2O3", "--atoms", "6"], "6"),
        (["--composition", "NaCl", "--atoms", "2.5"], "'2.5'"),
        (["--composition", "NaCl", "--atoms", "4000"], "4000"),
        (["--atoms", "2"], "2"),
        (["--template", "225: Na 4z"], "'z'"),
        (["--template", "225: Na 4a", "--space-group", "62"], "62"),
        (["--template", "225: Na 4a, Na 4a"], "2 times"),
        (["--template", "225: Rn 4a"], "Rn"),
        (["--template", "nowhere.cif"], "'nowhere.cif'"),
        (["--lattice", "4 4 4 90 90"], "'4 4 4 90 90'"),
        (["--lattice", "4 5 6 90 90 90", "--space-group", "225"], "225"),
        (["--lattice", "1 1 1 90 90 90"], "1.0"),
        (["--keep", "nowhere.cif:1"], "'nowhere.cif'"),
        (["--keep", "nowhere.cif"], "'nowhere.cif'"),
        (["--property", "band_gap"], "'band_gap'"),
        (["--property", "band_gap=2..1"], "band_gap"),
        (["--property", "charm=1"], "charm"),
        (["--guidance", "-1"], "-1"),
        (["--guidance", "nan"], "nan"),
        (["--guidance", "inf"], "inf"),
    ],
)
def test_bad_arguments_name_the_value_and_leave_no_folder(
    arguments: list[str],
    value: str,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    out = tmp_path / "out"
    code, shown = outcome(command(tiny_weights, out, *arguments), capsys)
    assert code == 2
    assert value in shown and shown.count("\n") == 1
    assert not out.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_cuda_without_cuda(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    code, shown = outcome(command(tiny_weights, tmp_path / "out", "--device", "cuda"), capsys)
    assert code == 2 and "'cuda'" in shown and shown.count("\n") == 1


def test_weights_that_cannot_be_trusted(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    pickled = tmp_path / "model.pt"
    pickled.write_bytes(pickle.dumps({"weight": 1}))
    disguised, truncated, no_config, old = (tmp_path / name for name in "abcd")
    for folder in (disguised, truncated, no_config, old):
        shutil.copytree(tiny_weights, folder)
    (disguised / "model.safetensors").write_bytes(pickle.dumps({"weight": 1}))
    content = (truncated / "model.safetensors").read_bytes()
    (truncated / "model.safetensors").write_bytes(content[: len(content) // 2])
    (no_config / "config.json").write_text("{")
    config = json.loads((old / "config.json").read_text())
    (old / "config.json").write_text(json.dumps({**config, "format": 0}))
    for weights, text in [
        (pickled, "pickled"),
        (disguised, "altered"),
        (truncated, "truncated"),
        (no_config, "unreadable"),
        (old, "format 0"),
        (tmp_path / "nowhere", "nowhere"),
    ]:
        code, shown = outcome(command(weights, tmp_path / "out"), capsys)
        assert code == 2, weights
        assert text in shown and shown.count("\n") == 1, shown
        assert not (tmp_path / "out").exists()


def test_output_that_cannot_be_written_or_is_not_ours(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").write_text("mine")
    for out in (tmp_path / "file", tmp_path / "file" / "out", tmp_path):
        code, shown = outcome(command(tiny_weights, out), capsys)
        assert code == 2
        assert str(tmp_path) in shown and shown.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "mine"


def test_conditions_reach_every_record(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out, asked = tmp_path / "out", ["--template", "225: Na 4a, Cl 4b"]
    cell = ["--lattice", "5.64 5.64 5.64 90 90 90"]
    assert main(command(tiny_weights, out, *asked, *cell, n="3")) == 0
    assert main(command(tiny_weights, out, *asked, *cell, n="3")) == 0, "the same run"
    records = [json.loads(line) for line in (out / "records.jsonl").read_text().splitlines()]
    assert [(one["formula"], one["status"]) for one in records] == [("NaCl", "ok")] * 3
    capsys.readouterr()
    code, shown = outcome(command(tiny_weights, out, *cell, n="3"), capsys)
    assert code == 2 and "requests.0.template" in shown and shown.count("\n") == 1
