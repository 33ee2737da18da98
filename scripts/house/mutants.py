"""Break the code in many places, one at a time, and see whether its tests notice.

    python -m scripts.house.mutants          all of mutants.json, into results/house.json
    python -m scripts.house.mutants 3 7      some of them by number, nothing recorded

Each entry of `mutants.json` beside this file has `what` is broken, the `file`, the text `old`
which stands in it exactly once, the text `new` in its place, and the `tests` that must fail:
arguments of pytest.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from symmbfn.claims.store import REPOSITORY, Claim, record

LIST = Path(__file__).with_name("mutants.json")
TIME_LIMIT = 600.0  # seconds for the tests of one mutant; one that never ends is noticed too
TESTS_FAILED = 1  # exit code of pytest


@dataclass(frozen=True)
class Mutant:
    """One change that makes the code wrong.

    Args:
        what: is broken, in words.
        file: path within the repository.
        old: text that stands in the file exactly once.
        new: text in its place.
        tests: arguments of pytest, such as "tests/flows/test_noise.py -k steps".
    """

    what: str
    file: str
    old: str
    new: str
    tests: str

    def applied_to(self, text: str) -> str:
        """The file's text with the change.

        Raises:
            ValueError: the old text does not stand there exactly once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.what}: {self.file} has {count} times {self.old!r}, not once")
        return text.replace(self.old, self.new)


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """Every mutant of the list."""
    return [Mutant(**entry) for entry in json.loads(path.read_text())]


def copied(repository: Path, folder: Path) -> Path:
    """A copy of the files that git knows, with the changes that are not committed yet."""
    command = ["git", "-C", str(repository), "ls-files", "-z", "--cached", "--others"]
    listed = subprocess.run([*command, "--exclude-standard"], capture_output=True, check=True)
    for name in listed.stdout.decode().split("\0"):
        if name and (repository / name).is_file():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(repository / name, target)
    return folder


class Judge:
    """Runs tests in a copy of the repository.

    Args:
        copy: the folder of the copy.
    """

    def __init__(self, copy: Path):
        self.copy = copy
        self._passes = cache(self._passes_now)

    def is_killed(self, mutant: Mutant) -> bool:
        """Whether the tests of a mutant pass without it and fail with it.

        Raises:
            ValueError: they fail without it, or cannot be run.
        """
        path = self.copy / mutant.file
        text = path.read_text()
        changed = mutant.applied_to(text)
        if not self._passes(mutant.tests):
            raise ValueError(f"{mutant.what}: {mutant.tests} fails without the mutant")
        path.write_text(changed)
        try:
            return not self._passes_now(mutant.tests)
        finally:
            path.write_text(text)

    def _passes_now(self, tests: str) -> bool:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider"]
        paths = {"PYTHONPATH": str(self.copy), "PYTHONDONTWRITEBYTECODE": "1"}
        try:
            done = subprocess.run(
                [*command, *tests.split()],
                cwd=self.copy,
                env=os.environ | paths,
                capture_output=True,
                text=True,
                timeout=TIME_LIMIT,
            )
        except subprocess.TimeoutExpired:
            return False
        if done.returncode not in (0, TESTS_FAILED):
            raise ValueError(f"pytest {tests} cannot be run: {done.stdout[-2000:]}{done.stderr}")
        return done.returncode == 0


def claim_of(survived: list[str], n: int) -> Claim:
    """The figure of all mutants."""
    return Claim(
        "mutants.killed",
        n - len(survived),
        "python -m scripts.house.mutants",
        unit="mutants",
        n=n,
        aim=f"all {n}",
        met=not survived,
        note=f"survived: {', '.join(survived)}" if survived else "",
    )


def main() -> None:
    """Try the mutants that the command line names, all without one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("number", type=int, nargs="*", help="places in the list, from 0")
    numbers, mutants = parser.parse_args().number, read_mutants()
    survived = []
    with tempfile.TemporaryDirectory() as folder:
        judge = Judge(copied(REPOSITORY, Path(folder)))
        for number in numbers or range(len(mutants)):
            is_killed = judge.is_killed(mutants[number])
            print(number, "killed" if is_killed else "SURVIVED", mutants[number].what, flush=True)
            if not is_killed:
                survived.append(mutants[number].what)
    if not numbers:
        print(record("house", [claim_of(survived, len(mutants))]))


if __name__ == "__main__":
    main()
