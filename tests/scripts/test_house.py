"""The layout keeps its limits, and the scripts that measure it see what is too large."""

import subprocess
from graphlib import CycleError
from pathlib import Path

import pytest

from scripts.house import bit_equal, cif, measure, mutants
from scripts.house.mutants import Judge, Mutant
from symmbfn.claims.store import REPOSITORY, Claim

MODULE = """
from dataclasses import dataclass
from symmbfn.flows import steps

@dataclass(frozen=True)
class RunSettings:
    n: int
    seed: int = 0

    def both(self):
        return self.n + \\
            self.seed

class NoSettings:
    a: int
    b: int
    c: int
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A package of two folders, and a script that is its longest file."""
    files = {
        "symmbfn/__init__.py": "from symmbfn.cli.verbs import main\n",
        "symmbfn/_shapes.py": "X = 1\n",
        "symmbfn/flows/__init__.py": "",
        "symmbfn/flows/steps.py": "def f():\n    from symmbfn._shapes import X\n    return X\n",
        "symmbfn/cli/__init__.py": "",
        "symmbfn/cli/verbs.py": MODULE,
        "scripts/long.py": "import symmbfn.cli.verbs\n" + "x = 1\n" * 40,
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_layout_counted_by_hand(tree: Path) -> None:
    found = {claim.name: (claim.value, claim.n) for claim in measure.layout(tree)}
    assert found == {
        "files.longest_lines": (41, 7),
        "functions.longest_lines": (3, 2),
        "config.most_fields": (2, 1),  # a class that is no dataclass does not count
        "imports.floors": (2, 1),  # flows, cli; a file beside them is no package
        "imports.upwards": (0, 2),
        "packages.n": (2, None),
        "files.at_top": (2, None),
    }


def test_what_is_too_large_is_named_and_not_met(tree: Path) -> None:
    (tree / "scripts/long.py").write_text("x = 1\n" * 401)
    claim = next(claim for claim in measure.layout(tree) if claim.name == "files.longest_lines")
    assert claim.value == 401 and claim.met is False and "scripts/long.py" in claim.note


def test_an_import_upwards_is_counted_and_a_circle_refused(tree: Path) -> None:
    (tree / "symmbfn/flows/steps.py").write_text("from symmbfn import pages\n")
    upwards = next(claim for claim in measure.layout(tree) if claim.name == "imports.upwards")
    assert upwards.value == 1 and upwards.note == "flows imports pages" and upwards.met is False
    (tree / "symmbfn/flows/steps.py").write_text("from symmbfn import cli\n")
    with pytest.raises(CycleError):
        measure.layout(tree)
    (tree / "symmbfn/_shapes.py").write_text("from .cli import verbs\n")
    with pytest.raises(ValueError, match="relative"):
        measure.layout(tree)


@pytest.fixture(scope="module")
def here() -> dict[str, Claim]:
    return {claim.name: claim for claim in measure.layout()}


@pytest.mark.parametrize("name", measure.LIMITS)
def test_the_repository_keeps_its_limits(name: str, here: dict[str, Claim]) -> None:
    claim = here[name]
    assert claim.met, f"{name} is {claim.value}, {claim.aim}: {claim.note}"


@pytest.mark.parametrize("mutant", mutants.read_mutants(), ids=lambda mutant: mutant.what)
def test_a_mutant_can_be_made(mutant: Mutant) -> None:
    """Code that moves takes its mutant along; the tests of a mutant are files that exist."""
    text = (REPOSITORY / mutant.file).read_text()
    assert mutant.applied_to(text) != text
    paths = [word for word in mutant.tests.split() if word.startswith("tests/")]
    assert paths and all((REPOSITORY / path.split("::")[0]).exists() for path in paths)


def test_a_mutant_is_killed_by_a_test_that_fails_and_survives_one_that_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a toy needs none, and starts sooner
    repository, copy = tmp_path / "repository", tmp_path / "copy"
    repository.mkdir()
    (repository / "doubling.py").write_text("def double(x):\n    return 2 * x\n")
    (repository / "test_sharp.py").write_text(
        "from doubling import double\n\ndef test_double():\n    assert double(3) == 6\n"
    )
    (repository / "test_blunt.py").write_text(
        "from doubling import double\n\ndef test_double():\n    assert double(0) == 0\n"
    )
    (repository / "test_wrong.py").write_text("def test_wrong():\n    assert False\n")
    subprocess.run(["git", "init", "-q", str(repository)], check=True)
    judge = Judge(mutants.copied(repository, copy))

    def mutant(tests: str, old: str = "2 * x", new: str = "3 * x") -> Mutant:
        return Mutant("doubling", "doubling.py", old, new, tests)

    assert judge.is_killed(mutant("test_sharp.py"))
    assert not judge.is_killed(mutant("test_blunt.py"))
    assert (copy / "doubling.py").read_text() == (repository / "doubling.py").read_text()
    with pytest.raises(ValueError, match="0 times '4 \\* x'"):
        judge.is_killed(mutant("test_sharp.py", old="4 * x"))
    with pytest.raises(ValueError, match="fails without the mutant"):
        judge.is_killed(mutant("test_wrong.py"))
    with pytest.raises(ValueError, match="cannot be run"):
        judge.is_killed(mutant("test_absent.py"))


def test_survivors_are_named() -> None:
    claim = mutants.claim_of(["doubling"], 3)
    assert (claim.value, claim.n, claim.met) == (2, 3, False) and "doubling" in claim.note
    assert mutants.claim_of([], 3).met


def test_crystals_count_that_are_the_same_or_failed_on_both_sides() -> None:
    before = {"0.cif": b"a", "1.cif": b"b", "2.cif": b"c"}
    after = {"0.cif": b"a", "1.cif": b"x", "3.cif": b"d"}
    # the second differs, the third is gone, the fourth is new; the fifth failed in both
    assert bit_equal.n_equal(before, after, n=5) == 2


def test_tests_that_pass_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (tmp_path / "test_toy.py").write_text(
        "import pytest\n\n"
        "@pytest.mark.parametrize('n', range(5))\n"
        "def test_toy(n):\n"
        "    if n == 1:\n"
        "        pytest.skip('not here')\n"
        "    assert n < 3\n"
    )
    assert cif.passed("test_toy.py::test_toy", tmp_path) == (2, 5)
    with pytest.raises(ValueError, match="cannot be run"):
        cif.passed("test_toy.py::test_none", tmp_path)
