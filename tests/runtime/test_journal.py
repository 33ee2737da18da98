"""A journal keeps every finished row, whatever happens to the process that wrote it."""

from pathlib import Path

import pytest

from symmbfn.runtime.journal import Journal


def test_rows_survive_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "stages" / "rows.jsonl"
    journal = Journal(path)
    journal.add({"index": 2, "energy": float("nan")})
    journal.add({"index": 0, "energy": -1.5})
    with path.open("a") as file:
        file.write('{"index": 1, "ener')
    again = Journal(path)
    assert list(again) == [{"index": 0, "energy": -1.5}, {"index": 2, "energy": None}]
    assert 1 not in again and len(again) == 2
    again.add({"index": 1, "energy": 0.0})
    assert [row["index"] for row in Journal(path)] == [0, 1, 2]


def test_numbers_deep_in_a_row_are_kept_too(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "rows.jsonl")
    journal.add({"index": 0, "cell": {"lattice": [[1.0, float("inf")]]}})
    assert (
        Journal(journal.path)[0] == journal[0] == {"index": 0, "cell": {"lattice": [[1.0, None]]}}
    )


def test_a_finished_line_that_is_no_row_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"index": 1}\n{"no": 3}\n')
    with pytest.raises(ValueError, match="line 2 is no row"):
        Journal(tmp_path / "rows.jsonl")
