"""Every way to install leads to the same pins."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = yaml.safe_load((ROOT / "environment.yml").read_text())
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS = [
    line
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line and not line.startswith("#")
]
PIP_PART = next(entry["pip"] for entry in ENVIRONMENT["dependencies"] if isinstance(entry, dict))


def plain(requirement: str) -> str:
    """Name of a requirement, as the index spells it."""
    name = re.match(r"[\w.-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name.group()).lower()


def test_every_declared_package_has_a_pin() -> None:
    extras = PROJECT["optional-dependencies"].values()
    declared = [*PROJECT["dependencies"], *(name for extra in extras for name in extra)]
    assert {plain(name) for name in declared} <= {plain(pin) for pin in PINS}


def test_pins_are_versions_of_the_index() -> None:
    names = [plain(pin) for pin in PINS]
    assert len(names) == len(set(names))
    # a local version such as 2.13.0+cpu is on no index
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in PINS)


def test_python_is_one_that_every_package_has_wheels_for() -> None:
    assert PROJECT["requires-python"] == ">=3.11.5,<3.13"
    assert sys.version_info[:2] in ((3, 11), (3, 12))


def test_conda_brings_python_and_pip_the_rest() -> None:
    conda = [entry for entry in ENVIRONMENT["dependencies"] if isinstance(entry, str)]
    assert [plain(entry) for entry in conda] == ["python", "pip"]
    assert ENVIRONMENT["channels"] == ["conda-forge", "nodefaults"]
    assert "-c constraints.txt" in PIP_PART
    makefile = (ROOT / "Makefile").read_text()
    (editable,) = [line for line in PIP_PART if line.startswith("-e ")]
    assert editable.removeprefix("-e ") in makefile


def test_wheel_carries_data_files() -> None:
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    patterns = patterns["package-data"]["symmbfn"]
    package = ROOT / "symmbfn"
    covered = {path for pattern in patterns for path in package.glob(pattern)}
    data = {
        path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")
    }
    assert data <= covered, data - covered


@pytest.mark.slow
def test_pip_part_resolves() -> None:
    # conda, too, writes the list beside environment.yml and lets pip read it there
    listed = ROOT / ".env-pip-check.txt"
    listed.write_text("\n".join(PIP_PART) + "\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "-q", "-r", str(listed)]
    try:
        subprocess.run(command, cwd=ROOT, check=True)
    finally:
        listed.unlink()
