"""The syntax of a CIF: from text to the values of the one data block that holds a structure."""

import codecs
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import IO, Any

from gemmi import cif

MAX_CIF_CHARACTERS = 10_000_000
_WANTED = ("_cell_", "_atom_site_", "_symmetry_", "_space_group_", "_chemical_formula_")
_STRUCTURE = ("_cell_length_", "_atom_site_")
_CELL = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


@dataclass(frozen=True)
class CifBlock:
    """Values of a data block.

    Args:
        columns: values of each tag, None where they are "?" or "."; tags in small letters, with
            "_" for the "." of newer dictionaries.
    """

    columns: dict[str, list[str | None]]

    def column(self, tag: str) -> list[str | None]:
        """All values of a tag, none where it is not in the block."""
        return self.columns.get(tag, [])

    def known(self, tag: str) -> list[str]:
        """The values of a tag that are neither "?" nor "."."""
        return [value for value in self.column(tag) if value is not None]

    def has(self, start: str) -> bool:
        """Whether a tag begins so."""
        return any(tag.startswith(start) for tag in self.columns)


def read_text(source: str | bytes | PathLike[str] | IO[Any]) -> str:
    """Take the text of a CIF from what a caller has.

    Args:
        source: text, bytes, an open file, or the path of a file as a `Path`; a str is never
            taken for a path, since it may come from a table of somebody else's.

    Raises:
        ValueError: it is none of these, empty, or too long.
        OSError: the file cannot be read.
    """
    if isinstance(source, PathLike):
        with Path(source).open("rb") as file:
            return read_text(file)
    found = source
    if hasattr(source, "read"):
        found = source.read(MAX_CIF_CHARACTERS + 1)
    if isinstance(found, bytes | bytearray):
        encoding = next((name for mark, name in _MARKS.items() if found.startswith(mark)), "utf-8")
        found = bytes(found).decode(encoding, errors="replace")
    if not isinstance(found, str):
        raise ValueError(
            f"expected the text of a CIF, a Path or an open file, got {type(source).__name__}"
        )
    if not found.strip():
        raise ValueError("empty CIF")
    if len(found) > MAX_CIF_CHARACTERS:
        raise ValueError(f"CIF of more than {MAX_CIF_CHARACTERS} characters")
    if found is source and found.lower().endswith(".cif") and len(found.splitlines()) == 1:
        raise ValueError(f"{found[:80]!r} is the name of a file: give it as a Path")
    return found


def cell_parameters(block: CifBlock) -> list[float]:
    """Return a, b, c in angstrom and alpha, beta, gamma in degrees.

    Raises:
        ValueError: one is missing, stands there twice, or is no number.
    """
    parameters = []
    for tag in (f"_cell_{name}" for name in _CELL):
        values = block.column(tag)
        if len(values) != 1:
            raise ValueError(f"unreadable CIF: {'several values of' if values else 'no'} {tag}")
        parameters.append(number_of(values[0] or "?", tag))
    return parameters


def read_block(text: str) -> CifBlock:
    """Read the one data block with a cell or atoms; others, a publication's say, do not count.

    Args:
        text: a CIF.

    Raises:
        ValueError: it is no CIF, or not one of one structure.
    """
    # quoted text of real files holds letters that CIF does not know; none has a meaning here
    plain = text.removeprefix("\ufeff").rstrip("\0\x1a").replace("\xa0", " ")
    plain = plain.encode("ascii", "replace").decode()
    start = (plain.strip().splitlines() or [""])[0][:80]
    try:
        document = cif.read_string(plain, check_level=0)
    except (ValueError, RuntimeError) as error:
        line, _, reason = str(error).removeprefix("string:").partition(":")
        reason = reason.partition("): ")[2] or reason
        raise ValueError(f"unreadable CIF: line {line}: {reason}, it begins {start!r}") from None
    blocks = [block for block in map(_columns, document) if _has_structure(block)]
    if not blocks:
        raise ValueError(f"unreadable CIF: no cell and no atoms, it begins {start!r}")
    if len(blocks) > 1:
        raise ValueError(f"CIF of {len(blocks)} structures, expected one")
    return CifBlock(blocks[0])


def number_of(text: str, what: str) -> float:
    """A number of a CIF without its standard uncertainty: "5.64(3)" is 5.64.

    Args:
        text: as it stands in the file.
        what: the value's name, for the message.

    Raises:
        ValueError: it is no number.
    """
    digits = text.partition("(")[0]
    try:
        return float(digits if "_" not in digits else "")
    except ValueError:
        raise ValueError(f"unreadable CIF: {what} is {text!r}") from None


def _has_structure(columns: dict[str, list[str | None]]) -> bool:
    return any(tag.startswith(_STRUCTURE) for tag in columns)


def _columns(block: cif.Block) -> dict[str, list[str | None]]:
    columns: dict[str, list[str | None]] = {}
    for item in block:
        pair: Any = item.pair
        if pair is not None:
            tags, raw = [pair[0]], [pair[1]]
        elif item.loop is not None:
            tags, raw = item.loop.tags, item.loop.values
        else:
            continue
        for place, tag in enumerate(tags):
            name = tag.lower().replace(".", "_").replace("name_h_m", "name_h-m")
            if name.startswith(_WANTED):
                values = [
                    None if cif.is_null(value) else cif.as_string(value)
                    for value in raw[place :: len(tags)]
                ]
                if columns.setdefault(name, values) != values:
                    raise ValueError(f"unreadable CIF: {tag} stands twice, with other values")
    return columns
