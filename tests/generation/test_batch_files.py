"""Parts of a run are joined in the order of requests, and only when each request is there once."""

import json
from pathlib import Path

import pytest

from symmbfn.generation.batch_files import (
    damaged_cifs,
    headers,
    join_parts,
    part_path,
    write_cifs,
    write_part,
)
from symmbfn.generation.writers import Finished


def text(index: int, is_valid: bool = True) -> Finished:
    # texts of different lengths, one with a letter of two bytes
    record = json.dumps({"index": index, "reason": "\u00e5" * index}, ensure_ascii=False) + "\n"
    frame = f"frame {index}\n" * (index + 1)
    return Finished(index, record, *((f"{index}.cif", "c" * index + "\n", frame) * is_valid))


def write(folder: Path, *batches: list[Finished]) -> None:
    for number, batch in enumerate(batches):
        write_cifs(folder, batch)
        write_part(part_path(folder, number), batch, {"seconds": number})


def test_the_join_is_in_the_order_of_requests(tmp_path: Path) -> None:
    texts = [text(index, is_valid=index != 3) for index in range(6)]
    write(tmp_path, [texts[4], texts[1]], [texts[3]], [texts[5], texts[0], texts[2]])
    records, structures = tmp_path / "records.jsonl", tmp_path / "crystals.extxyz"
    join_parts(tmp_path, range(6), records, structures)
    assert records.read_text(encoding="utf-8") == "".join(one.record for one in texts)
    assert structures.read_text() == "".join(one.extxyz for one in texts)
    assert [header["seconds"] for _, header in headers(tmp_path)] == [0, 1, 2]


def test_the_join_of_a_later_range(tmp_path: Path) -> None:
    texts = [text(index, is_valid=index != 13) for index in range(12, 16)]
    write(tmp_path, [texts[3], texts[1]], [texts[0], texts[2]])
    records, structures = tmp_path / "records.jsonl", tmp_path / "crystals.extxyz"
    join_parts(tmp_path, range(12, 16), records, structures)
    assert records.read_text(encoding="utf-8") == "".join(one.record for one in texts)
    assert structures.read_text() == "".join(one.extxyz for one in texts)
    records.unlink()
    with pytest.raises(ValueError, match="holds crystal 12"):
        join_parts(tmp_path, range(13, 17), records, structures)
    assert not records.exists()


def test_a_request_that_is_missing_or_there_twice_is_refused(tmp_path: Path) -> None:
    records, structures = tmp_path / "records.jsonl", tmp_path / "crystals.extxyz"
    write(tmp_path, [text(0), text(2)])
    for n, message in [(3, "hold 2 of 3 records"), (2, "holds crystal 2")]:
        with pytest.raises(ValueError, match=message):
            join_parts(tmp_path, range(n), records, structures)
    write(tmp_path, [text(0), text(2)], [text(1), text(2)])
    with pytest.raises(ValueError, match="1 more than once"):
        join_parts(tmp_path, range(3), records, structures)
    assert not records.exists() and not structures.exists()


def test_damaged_files_are_known_as_long_as_all_parts_are_there(tmp_path: Path) -> None:
    write(tmp_path, [text(0), text(2)], [text(1), text(3, is_valid=False)])
    assert damaged_cifs(tmp_path, 4) == set()
    (tmp_path / "cif" / "0.cif").unlink()
    (tmp_path / "cif" / "2.cif").write_text("c")
    assert damaged_cifs(tmp_path, 4) == {"0.cif", "2.cif"}
    part_path(tmp_path, 1).unlink()
    assert damaged_cifs(tmp_path, 4) is None
