"""Numbers at the doors: NumPy's count as Python's; True is none, and 2.0 is no whole one."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from symmbfn.generation.run import generate_run
from symmbfn.runtime.checks import one_of, real_number, whole_number
from symmbfn.runtime.workers import run_killable
from symmbfn.screening.screen import screen


def test_numbers_of_numpy_are_whole_numbers() -> None:
    for value in (3, np.int64(3), np.uint8(3), np.array(3)):
        number = whole_number("n", value)
        assert number == 3 and type(number) is int
    assert whole_number("seed", np.int32(0), least=0) == 0


@pytest.mark.parametrize("value", [True, np.True_, 2.0, "2", None, 0, np.array([2, 3])], ids=str)
def test_what_is_no_whole_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="workers must be a whole number of at least 1, got"):
        whole_number("workers", value)


@pytest.mark.parametrize("value", [0.5, 1, np.float32(0.5), np.int64(1)], ids=repr)
def test_real_numbers_are_taken_as_floats(value: float) -> None:
    number = real_number("rate", value, least=0.0, most=1.0)
    assert number == value and type(number) is float


@pytest.mark.parametrize(
    "value", [True, "0.5", None, 1j, float("nan"), float("inf"), 0.0, 1.5], ids=repr
)
def test_what_is_no_real_number_within_the_bounds_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="rate must be a finite number above 0 and at most 1, got"):
        real_number("rate", value, above=0.0, most=1.0)


@pytest.mark.parametrize("value", ["foo", "", None, 1, ["raw"], np.array(["raw", "x"])], ids=repr)
def test_what_is_none_of_the_choices_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="form must be one of canonical, raw, got"):
        one_of("form", value, ("canonical", "raw"))


def test_a_request_of_numpy_numbers_is_the_same_request(tiny_weights: Path, tmp_path: Path) -> None:
    """In a process of its own: the tests' type checks let no NumPy number into these doors."""
    code = f"""
import numpy as np
from symmbfn.generation.generate import generate
from symmbfn.generation.run import generate_run
one, two = np.int64(1), np.int64(2)
request = {{"weights": {str(tiny_weights)!r}, "device": "cpu", "n_steps": one, "seed": two}}
print([crystal.index for crystal in generate(n=two, batch_size=one, **request)])
generate_run({str(tmp_path)!r}, n=two, workers=one, **request)
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 1]\n"
    run = {"weights": str(tiny_weights), "device": "cpu"}
    assert generate_run(tmp_path, n=2, n_steps=1, seed=2, **run)["n"] == 2, "the same run"


def test_too_few_workers_are_refused_before_the_work(tiny_weights: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="workers.*-1"):
        generate_run(tmp_path / "run", n=1, weights=str(tiny_weights), workers=-1)
    with pytest.raises(ValueError, match="workers.*0"):
        screen(tmp_path, tmp_path / "screening", workers=0)
    with pytest.raises(ValueError, match="workers.*0"):
        list(run_killable(str, [1], workers=0, time_limit=1.0))
    assert not list(tmp_path.iterdir())
