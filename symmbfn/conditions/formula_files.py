"""Formulas from the command line: as they stand, or from a file with one a line."""

from collections.abc import Sequence
from pathlib import Path

from symmbfn.conditions.chemistry import counts_of

MOST_BYTES = 10_000_000


def read_formulas(texts: Sequence[str]) -> list[str]:
    """Formulas, each checked, and each once however often it is named.

    Args:
        texts: formulas, or paths of text files with one formula a line, such as mine.txt; their
            names have an ending. Empty lines and what follows # do not count.

    Raises:
        ValueError: one is no formula, or a file holds none, naming it and its line.
    """
    formulas: list[str] = []
    for text in texts:
        path = Path(text)
        if not path.suffix or not path.is_file():
            counts_of(text)
            formulas.append(text)
            continue
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{text} is larger than {MOST_BYTES:,} bytes")
        try:
            lines = path.read_text().splitlines()
        except UnicodeDecodeError:
            raise ValueError(f"{text} is no text file") from None
        found = [(number, line.partition("#")[0].strip()) for number, line in enumerate(lines, 1)]
        for number, line in found:
            try:
                if line:
                    counts_of(line)
            except ValueError as error:
                raise ValueError(f"{text}, line {number}: {error}") from None
        if not any(line for _, line in found):
            raise ValueError(f"{text} holds no formula")
        formulas += [line for _, line in found if line]
    return list(dict.fromkeys(formulas))
