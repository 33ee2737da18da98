"""A folder belongs to one run: it is recognised, compared, locked, and never overwritten."""

import multiprocessing
from pathlib import Path

import pytest
import torch

from symmbfn.runtime import run_folder as module
from symmbfn.runtime.run_folder import MANIFEST, check_folder, only_process, open_folder, versions


def test_the_first_call_writes_and_the_next_one_reads(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    first = open_folder(folder, {"n": 3, "groups": (1, 2)}, {"made_by": "one"})
    again = open_folder(folder, {"n": 3, "groups": (1, 2)}, {"made_by": "two"})
    assert first == again and again["made_by"] == "one"


def test_every_difference_is_named(tmp_path: Path) -> None:
    open_folder(tmp_path, {"n": 3, "seed": 0, "groups": None}, {})
    before = (tmp_path / MANIFEST).read_bytes()
    with pytest.raises(ValueError, match=r"groups is None there and \[1, 2.*230\] here, seed is 0"):
        open_folder(tmp_path, {"n": 3, "seed": 1, "groups": tuple(range(1, 231))}, {})
    with pytest.raises(ValueError, match="extra is None there and 1 here"):
        open_folder(tmp_path, {"n": 3, "seed": 0, "groups": None, "extra": 1}, {})
    assert (tmp_path / MANIFEST).read_bytes() == before


def test_differences_within_values_are_named_by_their_path(tmp_path: Path) -> None:
    there = {"request": {"n": 3, "groups": {"a": 1, "b": 2}}, "format": 1}
    open_folder(tmp_path, there, {})
    here = {"request": {"n": 4, "groups": {"a": 1, "c": 2}}, "format": 1}
    with pytest.raises(ValueError) as error:
        open_folder(tmp_path, here, {})
    assert str(error.value).endswith(
        "another run: request.groups.b is 2 there and None here, "
        "request.groups.c is None there and 2 here, request.n is 3 there and 4 here"
    )


def test_differences_in_a_list_are_named_by_their_place(tmp_path: Path) -> None:
    open_folder(tmp_path, {"requests": [{"n": 3}, {"n": 4}], "groups": [1, 2]}, {})
    for here, said in [
        ({"requests": [{"n": 3}, {"n": 5}], "groups": [1, 2]}, "requests.1.n is 4 there and 5"),
        ({"requests": [{"n": 3}], "groups": [1, 2]}, "requests.1 is {'n': 4} there and None"),
        ({"requests": [{"n": 3}, {"n": 4}], "groups": [1]}, "groups is [1, 2] there and [1]"),
    ]:
        with pytest.raises(ValueError) as error:
            open_folder(tmp_path, here, {})
        assert str(error.value).endswith(f"another run: {said} here")


def test_foreign_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="nothing is overwritten"):
        check_folder(tmp_path)
    (tmp_path / "notes.txt").unlink()
    # what a killed writer left does not count
    (tmp_path / ".manifest.json.abc.part").touch()
    check_folder(tmp_path)
    (tmp_path / MANIFEST).write_text("[]")
    with pytest.raises(ValueError, match="no manifest"):
        open_folder(tmp_path, {}, {})
    check_folder(tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists(), "nothing is made before the work"
    with pytest.raises(OSError, match="file"):
        (tmp_path / "file").touch()
        check_folder(tmp_path / "file" / "folder")


def _hold(folder: Path, is_held, may_go) -> None:
    with only_process(folder):
        is_held.set()
        may_go.wait(60)


def test_two_processes_cannot_write_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    is_held, may_go = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, is_held, may_go))
    other.start()
    assert is_held.wait(60)
    with pytest.raises(ValueError, match=f"another process .*{tmp_path}"), only_process(tmp_path):
        pass
    other.kill()  # no time to give the lock back
    other.join()
    with only_process(tmp_path):
        pass
    with only_process(tmp_path):  # nor does its own end leave a trace that keeps others out
        pass


def test_an_error_is_that_of_the_block_and_gives_the_folder_back(tmp_path: Path) -> None:
    with pytest.raises(TimeoutError, match="mine"), only_process(tmp_path):
        raise TimeoutError("mine")
    with only_process(tmp_path):
        pass


def test_versions_are_those_of_what_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    assert versions()["torch"] == torch.__version__
    monkeypatch.setattr(module, "PACKAGES", ("symmbfn", "not-to-be-had"))
    assert versions().keys() == {"python", "symmbfn"}
    assert versions("numpy", "nor-this").keys() == {"python", "symmbfn", "numpy"}
