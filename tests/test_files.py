"""A file is whole or absent, whatever happens while it is written."""

from pathlib import Path

import pytest

from symmbfn._files import whole_file, write_whole


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
