"""`make` installs into an environment of its own, and into no other one."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make` needs of a checkout, at a path with a space in it."""
    folder = tmp_path / "my checkout"
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "constraints.txt", "pyproject.toml", "scripts/environment.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def environment(folder: Path, source: Path) -> Path:
    """A virtual environment with an editable install of a checkout, and a pip that notes calls."""
    binaries = folder / ".venv" / "bin"
    binaries.mkdir(parents=True)
    python = binaries / "python"
    python.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/calls"\n')
    python.chmod(0o755)
    info = folder / ".venv/lib/python3.11/site-packages/symmbfn-0.1.0.dist-info"
    info.mkdir(parents=True)
    record = {"dir_info": {"editable": True}, "url": source.as_uri()}
    (info / "direct_url.json").write_text(json.dumps(record))
    return folder / ".venv"


def make(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "lint"], cwd=folder, capture_output=True, text=True)


def calls(folder: Path) -> str:
    path = folder / "calls"
    return path.read_text() if path.exists() else ""


def test_its_own_environment_is_installed_into(checkout: Path) -> None:
    environment(checkout, checkout)
    make(checkout)
    assert "-m pip install" in calls(checkout)


def test_a_link_is_named_and_left_alone(checkout: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    theirs = environment(other, other)
    (theirs / ".installed").touch()  # up to date, and still not this checkout's
    (checkout / ".venv").symlink_to(theirs)
    done = make(checkout)
    assert done.returncode and not calls(other)
    assert f".venv is a link to {theirs}" in done.stderr and "rm .venv" in done.stderr


@pytest.mark.parametrize("is_up_to_date", [False, True])
def test_the_install_of_another_checkout_is_named_and_left_alone(
    checkout: Path, tmp_path: Path, is_up_to_date: bool
) -> None:
    other = tmp_path / "other one"
    own = environment(checkout, other)
    if is_up_to_date:
        (own / ".installed").touch()
    done = make(checkout)
    assert done.returncode and not calls(checkout)
    assert f"runs the code of {other}" in done.stderr and "make clean" in done.stderr


def test_nothing_there_is_nothing_wrong_and_the_check_is_quick(checkout: Path) -> None:
    python = ["python3", "-I", "-S"]
    times: dict[str, list[float]] = {"check": [], "nothing": []}
    for _ in range(5):
        for name, rest in (("check", ["scripts/environment.py", ".venv"]), ("nothing", ["-c", ""])):
            start = time.perf_counter()
            done = subprocess.run([*python, *rest], cwd=checkout, capture_output=True, text=True)
            times[name].append(time.perf_counter() - start)
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    # it runs before every target: as long as four starts of a Python that does nothing
    assert min(times["check"]) < 12 * min(times["nothing"])
