"""A wheel built from the checkout generates where the checkout is not."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
OFFLINE = ["--no-deps", "--no-index"]
SETUPTOOLS = 77  # as in pyproject.toml


def skip_without_backend() -> None:
    """Skip where nothing can build a wheel: no index is asked for setuptools."""
    try:
        there = version("setuptools")
    except PackageNotFoundError:
        there = "0"
    if int(there.split(".")[0]) < SETUPTOOLS:
        pytest.skip(f"setuptools >= {SETUPTOOLS} is not installed, and the test is offline")
    pytest.importorskip("pip")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package installed from its wheel, and nothing else."""
    skip_without_backend()
    folder = tmp_path_factory.mktemp("wheel")
    # a build writes beside its sources, and what an earlier one left there goes into the wheel
    source = folder / "source"
    shutil.copytree(ROOT / "symmbfn", source / "symmbfn", ignore=shutil.ignore_patterns("__py*__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = [*PIP, "wheel", *OFFLINE, "--no-build-isolation", "-w", str(folder), str(source)]
    subprocess.run(build, check=True)
    (wheel,) = folder.glob("*.whl")
    target = folder / "installed"
    subprocess.run([*PIP, "install", *OFFLINE, "--target", str(target), str(wheel)], check=True)
    return target


def test_the_installed_command_generates(installed: Path, tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SYMMBFN_")}
    environment |= {"PYTHONPATH": str(installed), "OMP_NUM_THREADS": "1"}

    def output(*arguments: str | Path) -> str:
        command = [sys.executable, *map(str, arguments)]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, check=True, stdout=subprocess.PIPE, text=True
        )
        return done.stdout.strip()

    imported = output("-c", "import symmbfn; print(symmbfn.__file__)")
    assert Path(imported).is_relative_to(installed), "not the checkout"
    request = ["generate", "--n", "2", "--steps", "2", "--device", "cpu", "--out", "new"]
    output(installed / "bin" / "symmbfn", *request)
    records = (tmp_path / "new" / "records.jsonl").read_text().splitlines()
    assert [json.loads(record)["index"] for record in records] == [0, 1]
    assert (tmp_path / "new" / "gallery.html").is_file()
