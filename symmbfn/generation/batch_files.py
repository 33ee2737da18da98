"""Parts of a run: the texts of one batch on the disk, and their join in the order of numbers.

A part is one file, so that the disk is waited for once: a header in JSON on the first line, then
the records, then the frames. The join has one part in memory at a time and writes each text to
the place where its crystal belongs.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from symmbfn.generation.writers import Finished
from symmbfn.runtime.files import whole_file, write_whole

PARTS, CIFS = "parts", "cif"


def part_path(folder: Path, number: int) -> Path:
    """Where the texts of a batch lie while the run is not finished."""
    return folder / PARTS / f"part-{number:06d}.texts"


def write_cifs(folder: Path, finished: Iterable[Finished]) -> None:
    """Write the files of single crystals into the folder of a run."""
    for one in finished:
        if one.cif:
            # not durable, which would take milliseconds each: `mend_cifs` repairs damaged ones
            write_whole(folder / CIFS / one.cif_name, one.cif, is_durable=False)


def mend_cifs(folder: Path, finished: Iterable[Finished]) -> None:
    """Write those files again that are missing or have another size than they should."""
    write_cifs(
        folder,
        (
            one
            for one in finished
            if one.cif and not _has_size(folder / CIFS / one.cif_name, len(one.cif.encode()))
        ),
    )


def damaged_cifs(folder: Path, n: int) -> set[str] | None:
    """Names of CIFs that are missing or have another size than written.

    None if parts are missing, too, so that the sizes are not known.

    Args:
        folder: of the run.
        n: number of crystals.
    """
    damaged, n_seen = set(), 0
    for _, header in headers(folder):
        n_seen += len(header["index"])
        damaged |= {
            name
            for name, size in header["cif_bytes"].items()
            if not _has_size(folder / CIFS / name, size)
        }
    return damaged if n_seen == n else None


def _has_size(path: Path, size: int) -> bool:
    return path.is_file() and path.stat().st_size == size


def write_part(path: Path, finished: Sequence[Finished], facts: dict[str, Any]) -> None:
    """Write the records and frames of a batch, whose CIFs are there already.

    Args:
        path: see `part_path`.
        finished: the texts of the batch.
        facts: what else the header says.
    """
    header = {
        **facts,
        "index": [one.index for one in finished],
        "record_bytes": [len(one.record.encode()) for one in finished],
        "extxyz_bytes": [len(one.extxyz.encode()) for one in finished],
        "cif_bytes": {one.cif_name: len(one.cif.encode()) for one in finished if one.cif},
    }
    texts = [one.record for one in finished] + [one.extxyz for one in finished]
    write_whole(path, json.dumps(header) + "\n" + "".join(texts))


def headers(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The parts that are there and their headers."""
    for path in sorted((folder / PARTS).glob("part-*.texts")):
        with path.open(encoding="utf-8") as file:
            yield path, json.loads(file.readline())


def join_parts(folder: Path, numbers: range, records: Path, structures: Path) -> None:
    """Make two files of the parts, in the order of the crystals' numbers; the records last.

    Args:
        folder: of the run.
        numbers: those of its crystals.
        records, structures: the files to write.

    Raises:
        ValueError: the parts do not hold each crystal once.
    """
    n = len(numbers)
    n_found, lengths = np.zeros(n, dtype=np.int64), np.zeros((2, n), dtype=np.int64)
    for path, header in headers(folder):
        if strangers := [number for number in header["index"] if number not in numbers]:
            raise ValueError(f"{str(path)!r} holds crystal {strangers[0]}, not of this run")
        place = np.array(header["index"]) - numbers.start
        np.add.at(n_found, place, 1)
        lengths[:, place] = header["extxyz_bytes"], header["record_bytes"]
    if (n_found != 1).any():
        raise ValueError(
            f"parts in {str(folder)!r} hold {(n_found > 0).sum()} of {n} records, "
            f"{(n_found > 1).sum()} more than once"
        )
    frame_starts, record_starts = (np.cumsum(lengths, axis=1) - lengths).tolist()
    _put(folder, structures, dict(zip(numbers, frame_starts, strict=True)), "extxyz_bytes")
    _put(folder, records, dict(zip(numbers, record_starts, strict=True)), "record_bytes")


def _put(folder: Path, target: Path, starts: dict[int, int], sizes: str) -> None:
    """Copy the texts of all parts to where they belong in one file, by the crystals' numbers."""
    with whole_file(target) as whole, whole.open("r+b", buffering=0) as file:
        for path, header in headers(folder):
            content = path.read_bytes()
            start = content.index(b"\n") + 1
            if sizes == "extxyz_bytes":
                start += sum(header["record_bytes"])
            for index, size in zip(header["index"], header[sizes], strict=True):
                if size:
                    file.seek(starts[index])
                    file.write(content[start : start + size])
                start += size
