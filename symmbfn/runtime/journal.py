"""Results of long work, one line of JSON each, appended to a file as they come."""

import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np


class Journal:
    """Rows by number; the next process finds what a killed one has written.

    Args:
        path: the file; made with the first row. A line that was not finished is cut off.

    Raises:
        ValueError: a finished line that is not a row.
    """

    def __init__(self, path: Path):
        self.path = path
        self._rows: dict[int, dict[str, Any]] = {}
        if not path.is_file():
            return
        content = path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if whole != content:
            os.truncate(path, len(whole))
        for number, line in enumerate(whole.splitlines(), start=1):
            try:
                row = json.loads(line)
                self._rows[row["index"]] = row
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{path} line {number} is no row: {error!r}") from None

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, index: int) -> bool:
        return index in self._rows

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self._rows[index]

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """All rows in the order of their numbers."""
        return (self._rows[index] for index in sorted(self._rows))

    def add(self, row: dict[str, Any]) -> None:
        """Append a row with the key "index"; numbers that are not finite become null.

        Args:
            row: JSON types, and NumPy's single numbers.
        """
        row = _plain(row)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
        self._rows[row["index"]] = row


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    is_no_number = isinstance(value, float) and not math.isfinite(value)
    return None if is_no_number else value
