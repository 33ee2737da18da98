"""A file is whole or absent, whatever happens while it is written."""

import multiprocessing
import os
import stat
import time
from pathlib import Path

import pytest

from symmbfn.runtime.files import locked, whole_file, write_whole


def test_an_error_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_whole(path, "old")

    def fail_half_way() -> None:
        with whole_file(path) as part:
            part.write_text("ne")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_half_way()
    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_files_are_as_readable_as_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    write_whole(tmp_path / "whole", b"x")
    assert (tmp_path / "whole").stat().st_mode == (tmp_path / "plain").stat().st_mode


@pytest.mark.parametrize("is_durable", [True, False])
def test_a_durable_file_and_its_name_are_on_the_disk(
    is_durable: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The content before the name, else a power cut may leave a name without content."""
    events = []
    fsync, replace = os.fsync, os.replace

    def sync(handle: int) -> None:
        events.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")
        fsync(handle)

    def rename(source: Path, target: Path) -> None:
        events.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", rename)
    write_whole(tmp_path / "a.txt", "x", is_durable=is_durable)
    assert events == (["file", "rename", "folder"] if is_durable else ["rename"])


def _add_slowly(path: Path) -> None:
    for _ in range(5):
        with locked(path):
            number = int(path.read_text()) if path.exists() else 0
            time.sleep(0.01)
            write_whole(path, str(number + 1))


def test_changes_of_a_file_by_several_processes_are_all_kept(tmp_path: Path) -> None:
    path = tmp_path / "new" / "count"
    context = multiprocessing.get_context("fork")
    others = [context.Process(target=_add_slowly, args=(path,)) for _ in range(3)]
    for process in others:
        process.start()
    for process in others:
        process.join(60)
    assert path.read_text() == "15"
