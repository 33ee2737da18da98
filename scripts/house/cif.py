"""Count what is read right from CIFs, for `results/house.json`.

    python -m scripts.house.cif

The cases are files from users with the right reading of each, or with the reason to refuse it; the
settings are those of the International Tables, each under all its names.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from xml.etree import ElementTree

from symmbfn.claims.store import REPOSITORY, Claim, record

COMMAND = "python -m scripts.house.cif"
CASES = "tests/crystals/test_cif.py::test_cases"
N_CASES, N_SETTINGS = 17, 530


def passed(tests: str, repository: Path = REPOSITORY) -> tuple[int, int]:
    """How many tests pass, and how many there are.

    Args:
        tests: one argument of pytest.
        repository: where it runs.

    Raises:
        ValueError: they cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.xml")
        command = [sys.executable, "-m", "pytest", "-q", tests, f"--junitxml={report}"]
        done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
        if done.returncode not in (0, 1):
            raise ValueError(f"pytest {tests} cannot be run: {done.stdout[-2000:]}{done.stderr}")
        cases = ElementTree.parse(report).findall(".//testcase")
    return sum(not len(case) for case in cases), len(cases)  # a failure or a skip is a child


def cases_claim() -> Claim:
    """Files of users that are read right."""
    right, n = passed(CASES)
    return _claim("cif.cases_right", right, n, N_CASES, "files", "")


def settings_claim() -> Claim:
    """Settings of the International Tables that are read right or refused, under every name."""
    from scripts.house.settings import count_settings

    found = count_settings()
    note = "Right by their operations and by their Hall symbol; under every other name right, or "
    note += "refused with the reason. By name: "
    counts = (
        f"{name} {outcomes['right']} right, {outcomes['refused']} refused, "
        f"{outcomes['wrong']} wrong"
        for name, outcomes in found["doors"].items()
    )
    note += "; ".join(counts) + "."
    return _claim(
        "cif.settings_right", found["settings_right"], found["n"], N_SETTINGS, "settings", note
    )


def _claim(name: str, value: int, n: int, aim: int, unit: str, note: str) -> Claim:
    met = value == n == aim
    return Claim(name, value, COMMAND, unit=unit, n=n, aim=f"all {aim}", met=met, note=note)


def main() -> None:
    """Count and record."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    for claim in (cases_claim(), settings_claim()):
        print(f"{claim.name} = {claim.value} of {claim.n}. {claim.note}", flush=True)
        record("house", [claim])


if __name__ == "__main__":
    main()
