"""Verbs do what they say; a bad argument is one line with the value, and exit code 2."""

import os
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path

import pytest

from symmbfn.cli import verbs
from symmbfn.cli.verbs import main
from symmbfn.datasets.registry import load_dataset
from tests.runtime.processes import WORKS_FOR_EVER, holds, is_running

SMALL = ["--reference", "prototypes", "--out", "x"]


@pytest.fixture
def crystals(tmp_path: Path) -> Path:
    folder = tmp_path / "cifs"
    folder.mkdir()
    for _, row in load_dataset("prototypes").head(2).iterrows():
        (folder / f"{row['material_id']}.cif").write_text(row["cif"])
    (folder / "bad.cif").write_text("nothing")
    return folder


def test_encode_a_folder_and_set_the_bar(
    crystals: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    command = ["encode", "--dataset", str(crystals), "--out", str(out), "--workers", "1"]
    assert main(command) == 0
    assert "2 crystals, 1 failures" in capsys.readouterr().out
    assert len(list(out.glob("cifs-all-*.safetensors"))) == 1
    assert "bad" in (out / "failures.csv").read_text()
    assert main([*command, "--max-failures", "1"]) == 0
    assert main([*command, "--max-failures", "0"]) == 1
    assert "1 of 3" in capsys.readouterr().err


def test_nothing_but_failures_is_below_the_bar(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source = tmp_path / "cifs"
    source.mkdir()
    (source / "bad.cif").write_text("nothing")
    command = ["encode", "--dataset", str(source), "--out", str(tmp_path / "out")]
    for options in ([], ["--max-failures", "0"]):
        assert main([*command, *options]) == 1
        assert "not one of 1 rows" in capsys.readouterr().err


def test_splits_after_a_bad_one_are_encoded(
    crystals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    table = load_dataset(crystals)
    table[table["material_id"] == "bad"].to_csv(tmp_path / "mp_20_train.csv.gz", index=False)
    table.to_csv(tmp_path / "mp_20_val.csv.gz", index=False)
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path))
    out = tmp_path / "out"
    assert main(["encode", "--dataset", "mp_20", "--out", str(out), "--workers", "1"]) == 1
    shown = capsys.readouterr()
    assert "not one of 1 rows" in shown.err
    assert "mp_20 val: 2 crystals, 1 failures" in shown.out
    assert len(list(out.glob("mp_20-val-*.safetensors"))) == 1


@pytest.mark.parametrize(
    "error", [RuntimeError("a worker process could not start\n(out of luck)"), MemoryError()]
)
def test_a_machine_that_gives_up_is_one_line(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def give_up(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("symmbfn.datasets.encoding.encode_dataset", give_up)
    assert main(["encode", "--dataset", "prototypes"]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith("symmbfn encode: ") and shown.count("\n") == 1


def test_a_set_that_is_not_at_hand_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.delenv("SYMMBFN_DATA", raising=False)
    assert main(["encode", "--dataset", "mp_20_mini"]) == 2
    assert "mp_20_mini" in capsys.readouterr().err


def test_info_names_what_is_at_hand(capsys: pytest.CaptureFixture) -> None:
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert "prototypes: all" in shown and "torch" in shown


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["encode", "--dataset", "mp_21"], "'mp_21'"),
        (["encode", "--dataset", "mp_20", "--split", "tset"], "'tset'"),
        (["encode", "--dataset", "prototypes", "--workers", "0"], "0"),
        (["encode", "--dataset", "prototypes", "--workers", "two"], "'two'"),
        (["encode", "--dataset", "prototypes", "--form", "own"], "'own'"),
        (["encode", "--dataset", "prototypes", "--symprec", "-0.1"], "-0.1"),
        (["encode", "--dataset", "prototypes", "--symprec", "nan"], "nan"),
        (["label", "--dataset", "prototypes", "--out", "a.txt"], "'a.txt'"),
        (["label", "--dataset", "prototypes", "--out", "tests"], "'tests'"),
        (["evaluate", "prototypes", *SMALL, "--seed", "-1"], "-1"),
        (["evaluate", "prototypes", *SMALL, "--relax", "emt"], "'emt'"),
        (["evaluate", "prototypes", *SMALL, "--export", "csv"], "'csv'"),
        (["encode"], "--dataset"),
        (["enc"], "'enc'"),
        (["--verison"], "--verison"),
    ],
)
def test_bad_arguments(arguments: list[str], value: str, capsys: pytest.CaptureFixture) -> None:
    try:
        code = main(arguments)
    except SystemExit as stop:
        code = stop.code
    shown = capsys.readouterr().err
    assert code == 2
    assert value in shown and shown.count("\n") == 1


def test_output_that_cannot_be_written_is_one_line(
    crystals: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "file").touch()
    out = tmp_path / "file" / "out"
    assert main(["encode", "--dataset", str(crystals), "--out", str(out)]) == 2
    shown = capsys.readouterr().err
    assert str(out.parent) in shown and shown.count("\n") == 1


def test_a_stopped_verb_says_what_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def stop(options: object) -> int:
        raise KeyboardInterrupt

    out = str(tmp_path / "out")
    for arguments, kept in (
        (["encode", "--dataset", "x"], "what is done is kept, the same command goes on"),
        (["train", "--dataset", "x", "--out", out], "the same command goes on"),
        (["generate", "--n", "3", "--out", out], f"crystals so far are in {out}, the same"),
        (["evaluate", "x", "--out", out], f"what is done is kept in {out} and the cache, the same"),
        (["label", "--dataset", "x", "--out", out], "what is done is kept, the same command"),
        (["benchmark"], "nothing is kept"),
        (["info"], "nothing to keep"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(stop, "__name__", arguments[0])
            patch.setattr(verbs, arguments[0], stop)
            assert main(arguments) == 130
        said = capsys.readouterr().err
        assert said.startswith(f"symmbfn {arguments[0]}: stopped; ") and kept in said
        assert said.count("\n") == 1
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL, "it is left as it was"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_workers_too_and_is_one_line(number: int, tmp_path: Path) -> None:
    """A terminal sends Ctrl-C to the workers as well, which must not speak of it."""
    script, note = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(
        "import os, signal, sys\n"
        # a background job of a shell ignores SIGINT, and so does what it starts
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from symmbfn.cli import verbs\n"
        "from symmbfn.runtime.workers import run_killable\n"
        f"{WORKS_FOR_EVER}"
        "def evaluate(options):\n"
        "    list(run_killable(own, [options.source], workers=2, time_limit=1000.0))\n"
        "if __name__ == '__main__':\n"
        "    verbs.evaluate = evaluate\n"
        "    sys.exit(verbs.main(['evaluate', sys.argv[1], '--out', 'there']))\n"
    )
    command = [sys.executable, script, note]
    run = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert holds(note.exists, seconds=120), "the worker has not begun"
        os.killpg(run.pid, number) if number == signal.SIGINT else run.send_signal(number)
        said = run.communicate(timeout=60)[1]
    finally:
        with suppress(ProcessLookupError):  # what lives on would compute for ever
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 130
    kept = "what is done is kept in there and the cache, the same command goes on"
    assert said == f"symmbfn evaluate: stopped; {kept}\n"
    assert not is_running(int(note.read_text()))


def test_evaluate_says_what_each_count_is_of_and_exports(
    crystals: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Two crystals and a file that cannot be read, beside the same two as known ones."""
    out, known = tmp_path / "judged", tmp_path / "known"
    known.mkdir()
    for path in crystals.glob("*.cif"):
        if path.name != "bad.cif":
            (known / path.name).write_text(path.read_text())
    asked = ["evaluate", str(crystals), "--reference", str(known), "--out", str(out)]
    assert main([*asked, "--workers", "1", "--export", "lemat"]) == 0
    said = capsys.readouterr().out
    assert "3 requested\nas generated, each of all 3: " in said
    assert "2 unique, 0 novel\n" in said
    assert "one question after the other, of the 3 requested: " in said
    assert "lemat.csv: 2 structures as generated, of all 3 of 3 requests" in said
    assert len((out / "lemat.csv").read_text().splitlines()) == 4


@pytest.mark.parametrize("start", [["-m", "symmbfn"], ["-m", "symmbfn.cli.verbs"]])
def test_without_a_verb_there_is_help(start: list[str]) -> None:
    done = subprocess.run([sys.executable, *start], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: symmbfn")
    assert all(verb in done.stdout for verb in ("encode", "train", "generate", "evaluate"))


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    project = Path(__file__).resolve().parents[2] / "pyproject.toml"
    version = tomllib.loads(project.read_text())["project"]["version"]
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"symmbfn {version}\n"


def test_help_is_quick_and_loads_nothing_heavy() -> None:
    code = "from symmbfn.cli.verbs import _parser; _parser()"
    code = f"import sys; {code}; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
