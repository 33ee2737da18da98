"""Requests from a file: one on each line, as JSON objects or as rows of a table."""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from symmbfn.conditions.chemistry import Chemistry
from symmbfn.conditions.request import Request
from symmbfn.conditions.requests import RequestError
from symmbfn.runtime.checks import real_number, whole_number

OF_RUN = ("first", "seed")
NUMBERS: dict[str, Callable[[str, Any], float]] = {
    "n": whole_number,
    "atoms": whole_number,
    "guidance": real_number,
}
# options of the command line that are called otherwise than the fields of a request
OPTIONS = {"space_group": "space_group_number", "property": "properties"}
FIELDS = sorted(
    {one.name for part in (Request, Chemistry) for one in fields(part)} - {"chemistry", *OF_RUN}
)


@dataclass(frozen=True)
class RequestFile:
    """The requests of a file.

    Attributes:
        path: of the file.
        requests: one for each line that is not blank, their crystals numbered through.
        lines: number of the line that each stands on, from 1.
    """

    path: Path
    requests: tuple[Request, ...]
    lines: tuple[int, ...]

    def said(self, error: RequestError) -> str:
        """What is wrong with a request, and on which line it stands."""
        return f"{self.path} line {self.lines[error.place]}: {error.reason}"


def read_requests(path: str | Path, *, first: int = 0, seed: int = 0) -> RequestFile:
    """Read a file of requests.

    A `.jsonl` file has one JSON object a line; a `.csv` file has names of columns, and then one
    row a request. The names are those of the fields of `Request` and `Chemistry`, or of the
    options of `symmbfn generate`. What is null or an empty cell is not given; without `n` a line
    asks for one crystal. In a cell several properties are parted by semicolons:
    "band_gap=1..2; e_above_hull=0". Blank lines count for nothing. Paths of CIFs are read from
    the working directory.

    Args:
        path: of the file, UTF-8.
        first: number of the first crystal of the file.
        seed: of all requests.

    Raises:
        ValueError: another form, no requests, or a line that is none, with its number.
        OSError: the file cannot be read.
    """
    path, start = Path(path), Request(n=1, first=first, seed=seed).first
    forms = {".csv": _rows, ".jsonl": _objects}
    if path.suffix not in forms:
        raise ValueError(f"requests must be a .csv or a .jsonl file, got {str(path)!r}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no UTF-8 text: {error.reason}") from None
    requests: list[Request] = []
    lines: list[int] = []
    for line, values in forms[path.suffix](path, text):
        with _named(path, line):
            values = {"n": 1, **values}
            for name in NUMBERS.keys() & values.keys():
                values[name] = NUMBERS[name](name, values[name])
            requests.append(Request.of(**values, first=start, seed=seed))
        lines.append(line)
        start += requests[-1].n
    if not requests:
        raise ValueError(f"{path} has no requests")
    return RequestFile(path, tuple(requests), tuple(lines))


def _objects(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and fields of each line of JSON."""
    # not `splitlines`: a text in JSON may hold other ends of lines than these
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        with _named(path, line):
            try:
                found = json.loads(content, object_pairs_hook=_unique, parse_constant=_refused)
            except json.JSONDecodeError as error:
                said = f"column {error.colno} is no JSON, {error.msg}"
                raise ValueError(f"{said}: {content[:40]!r}") from None
            if not isinstance(found, dict):
                raise ValueError(f"a request is an object such as {{'n': 5}}, got {content[:40]!r}")
            names = _fields_of(found)
            values = dict(zip(names, found.values(), strict=True))
        yield line, {name: value for name, value in values.items() if value is not None}


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if twice := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"{twice[0]!r} is there twice")
    return dict(pairs)


def _refused(name: str) -> None:
    raise ValueError(f"{name} is no number")


def _rows(path: Path, text: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number and fields of each row of a table."""
    reader = csv.reader(io.StringIO(text), strict=True, skipinitialspace=True)
    names: list[str] = []
    while True:
        line = reader.line_num + 1
        with _named(path, line):
            if (row := next(reader, None)) is None:
                return
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not names:
                names = _fields_of(cells)
                continue
            if len(cells) != len(names):
                raise ValueError(f"{len(cells)} cells for {len(names)} columns")
        yield line, {n: _value_of(n, cell) for n, cell in zip(names, cells, strict=True) if cell}


def _value_of(name: str, cell: str) -> Any:
    """A cell as a request reads it; as it stands, for the request to refuse, if it is no number."""
    if NUMBERS.get(name) is whole_number and re.fullmatch(r"[+-]?\d{1,30}", cell):
        return int(cell)
    if NUMBERS.get(name) is real_number:
        with suppress(ValueError):
            return float(cell)
    if name == "properties":
        return [part for part in map(str.strip, cell.split(";")) if part]
    return cell


def _fields_of(names: Iterable[str]) -> list[str]:
    """Fields of a request by their names or by those of the options."""
    found: list[str] = []
    for name in names:
        field = name.strip().replace("-", "_")
        field = OPTIONS.get(field, field)
        if field in OF_RUN:
            raise ValueError(f"{name} is one for the whole file, and not of a line")
        if field not in FIELDS:
            raise ValueError(f"no field {name!r}: there are {', '.join(FIELDS)}")
        if field in found:
            raise ValueError(f"{name!r} is there twice")
        found.append(field)
    return found


@contextmanager
def _named(path: Path, line: int) -> Iterator[None]:
    """Say of an error on which line of the file it is."""
    try:
        yield
    except (ValueError, TypeError, OSError, RecursionError, csv.Error) as error:
        raise ValueError(f"{path} line {line}: {' '.join(str(error).split())}") from None
