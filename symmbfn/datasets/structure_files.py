"""Files of crystals by anyone, alone, in a folder or in a zip, as texts of CIFs.

A CIF is taken as it is. What is in other formats is turned into a CIF in processes that can be
killed. Nothing is unpacked to the disk, and no more is read than a crystal can need.
"""

import gzip
import io
import re
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, cast

from symmbfn.crystals.cif.block import MAX_CIF_CHARACTERS
from symmbfn.datasets.structure_texts import (
    CIF,
    EXTXYZ,
    NOT_READ,
    POSCAR,
    check_total,
    cif_of,
    frames,
    not_read,
)
from symmbfn.runtime.progress import progress
from symmbfn.runtime.run_folder import MANIFEST
from symmbfn.runtime.workers import run_killable

if TYPE_CHECKING:
    import pandas

ZIP = "zip"
SUFFIXES = {
    **{".cif": CIF, ".zip": ZIP},
    **dict.fromkeys((".vasp", ".poscar", ".contcar"), POSCAR),
    **dict.fromkeys((".extxyz", ".xyz"), EXTXYZ),
}
VASP_NAME = re.compile(r"(poscar|contcar)([._-].*)?", re.IGNORECASE)
NOT_CRYSTALS = re.compile(r"(^|/)(__MACOSX/|\._|\.DS_Store$|Thumbs\.db$)")  # of file browsers
TIME_LIMIT = 60.0  # seconds for one crystal
N_NAMED = 5
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
Stream = io.BufferedIOBase | IO[bytes]  # of a file, of a member of an archive, of a .gz


@dataclass(frozen=True)
class _Text:
    """One crystal as it stands in a file.

    Args:
        path: of the file within the folder or archive.
        kind: CIF, POSCAR or extxyz.
        text: the content, or `NOT_READ` and the reason.
        frame: number among the crystals of a file of several, else None.
    """

    path: PurePosixPath
    kind: str
    text: str
    frame: int | None = None

    @property
    def name(self) -> str:
        """The path without the suffix, and the number of the frame."""
        name = str(_within(self.path).with_name(stem_of(self.path.name)))
        return name if self.frame is None else f"{name}-{self.frame}"

    @property
    def whole_name(self) -> str:
        """The path, and the number of the frame."""
        name = str(_within(self.path))
        return name if self.frame is None else f"{name}-{self.frame}"


def _within(path: PurePosixPath) -> PurePosixPath:
    """A path of an archive without what would lead out of it."""
    return PurePosixPath(*(part for part in path.parts if part not in ("/", "..")))


def stem_of(name: str) -> str:
    """The name of a file without .gz and the suffix of a format that is read: "mp-149.cif.gz"."""
    plain = name[:-3] if name.lower().endswith(".gz") else name
    path = PurePosixPath(plain)
    return path.stem if path.suffix.lower() in SUFFIXES else plain


def kind_of(name: str) -> str | None:
    """Format of a file by its name: "CIF", "POSCAR", "extxyz", "zip", or None for any other.

    All but a zip may end in .gz besides.
    """
    plain = name[:-3] if name.lower().endswith(".gz") else name
    kind = SUFFIXES.get(PurePosixPath(plain).suffix.lower())
    if kind is None and VASP_NAME.fullmatch(plain):
        kind = POSCAR
    return None if kind == ZIP and plain != name else kind


def read_structures(path: Path, *, workers: int = 1) -> "pandas.DataFrame":
    """Read all crystals of a file, a folder or a zip.

    Args:
        path: a CIF, POSCAR or extxyz file (also .gz); or a folder or a zip of such files, with
            folders in it or without. A run or a screening that lies in a folder is left out.
        workers: processes that read what is no CIF, which are killed where they hang.

    Returns:
        Columns `material_id`, the path of the file within the folder or zip without its suffix,
        with the number of the frame where there are several; and `cif`, a text. A file that
        cannot be read has the reason for its text. What is left out is in `attrs["left_out"]`
        and is counted on standard error.

    Raises:
        ValueError: no crystal is there, an archive cannot be read, or all texts together have
            more than a billion characters.
    """
    import pandas as pd

    left_out: list[str] = []
    texts: list[_Text] = []
    n_characters = 0
    for text in _texts(path, left_out):
        n_characters += len(text.text)
        check_total(n_characters)
        texts.append(text)
    if not texts:
        raise ValueError(f"{path} holds no .cif file, POSCAR or extxyz{_listed(left_out)}")
    if left_out:
        print(
            f"{path}: {len(left_out)} left out, which are no files of crystals{_listed(left_out)}",
            file=sys.stderr,
        )
    table = pd.DataFrame({"material_id": _names(texts, path), "cif": _cifs(texts, workers)})
    table.attrs["left_out"] = left_out
    return table


def _texts(path: Path, left_out: list[str]) -> Iterator[_Text]:
    """All crystals of a path; names of other files go into the list."""
    if path.is_dir():
        yield from _of_folder(path, PurePosixPath(), left_out)
    elif kind_of(path.name) == ZIP:
        yield from _zipped(path, left_out)
    else:
        with _opened(path) as stream:
            yield from _split(PurePosixPath(path.name), kind_of(path.name) or CIF, stream)


def _of_folder(folder: Path, place: PurePosixPath, left_out: list[str]) -> Iterator[_Text]:
    """All crystals of a folder and of those below it."""
    for file in sorted(folder.iterdir()):
        if NOT_CRYSTALS.search(file.name):
            continue
        kind, there = kind_of(file.name), place / file.name
        if file.is_dir() and not _is_another(file):
            yield from _of_folder(file, there, left_out)
        elif kind in (CIF, POSCAR, EXTXYZ) and not file.is_dir():
            with _opened(file) as stream:
                yield from _split(there, kind, stream)
        else:
            left_out.append(f"{there}/" if file.is_dir() else str(there))


def _is_another(folder: Path) -> bool:
    """Whether a folder is hidden, leads elsewhere, or is a run: it may be the one to write into."""
    return folder.name.startswith(".") or folder.is_symlink() or (folder / MANIFEST).is_file()


def _zipped(path: Path, left_out: list[str]) -> Iterator[_Text]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ValueError(f"{path} is no readable zip: {error}") from None
    with archive:
        for member in sorted(archive.infolist(), key=lambda one: one.filename):
            name = PurePosixPath(member.filename)
            if member.is_dir() or NOT_CRYSTALS.search(member.filename):
                continue
            kind = kind_of(name.name)
            if kind not in (CIF, POSCAR, EXTXYZ):
                left_out.append(member.filename)
                continue
            try:
                with archive.open(member) as stream:
                    yield from _split(name, kind, stream)
            except UNREADABLE as error:
                yield _Text(name, kind, not_read(error))


@contextmanager
def _opened(path: Path) -> Iterator[Stream | OSError]:
    """The open file, or why it cannot be: a row that fails, not a run that stops."""
    try:
        if not path.is_file():  # a broken link, a folder, or a pipe that would never end
            raise FileNotFoundError("no such file, or not a regular one")
        stream = path.open("rb")
    except OSError as error:
        yield error
        return
    with stream:
        yield stream


def _split(path: PurePosixPath, kind: str, stream: Stream | OSError) -> Iterator[_Text]:
    """The crystals of one open file."""
    if isinstance(stream, OSError):
        yield _Text(path, kind, not_read(stream))
        return
    try:
        if path.name.lower().endswith(".gz"):
            stream = gzip.GzipFile(fileobj=stream)
        if kind != EXTXYZ:
            yield _Text(path, kind, _decoded(stream))
            return
        lines = io.TextIOWrapper(cast(IO[bytes], stream), "utf-8", errors="replace")
        parts = list(frames(lines))
    except UNREADABLE as error:
        yield _Text(path, kind, not_read(error))
        return
    for number, part in enumerate(parts):
        yield _Text(path, kind, part, number if len(parts) > 1 else None)


def _decoded(stream: Stream) -> str:
    """Read a text so far that its row can fail for its size."""
    raw = stream.read(4 * MAX_CIF_CHARACTERS)
    encoding = "utf-16" if raw.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    return raw.decode(encoding, errors="replace")[: MAX_CIF_CHARACTERS + 1]


def _cifs(texts: list[_Text], workers: int) -> list[str]:
    """The texts, those of other formats turned into CIFs."""
    cifs = [text.text for text in texts]
    rows = [
        row
        for row, text in enumerate(texts)
        if text.kind != CIF and not text.text.startswith(NOT_READ)
    ]
    items = [(texts[row].kind, texts[row].text) for row in rows]
    outcomes = run_killable(cif_of, items, workers=workers, time_limit=TIME_LIMIT)
    for outcome in progress(outcomes, total=len(items), label="reading files"):
        row = rows[outcome.index]
        reason = not_read(f"{texts[row].kind}: {outcome.reason}")
        cifs[row] = reason if outcome.value is None else outcome.value
    return cifs


def _names(texts: list[_Text], path: Path) -> list[str]:
    """Paths without suffixes; where several share one, whole paths, which standard error says."""
    counts = Counter(text.name for text in texts)
    names = [text.name if counts[text.name] == 1 else text.whole_name for text in texts]
    if shared := [name for name, count in counts.items() if count > 1]:
        print(
            f"{path}: files that share a name keep their whole one{_listed(shared)}",
            file=sys.stderr,
        )
    return _told_apart(map(_printable, names))


def _told_apart(names: Iterable[str]) -> list[str]:
    """The same names, each once: an archive can hold one path twice, and the second gets a #2."""
    uses: Counter[str] = Counter()
    found: dict[str, None] = {}
    for name in names:
        fresh = name
        while fresh in found:
            uses[name] += 1
            fresh = f"{name}#{uses[name] + 1}"
        found[fresh] = None
    return list(found)


def _printable(name: str) -> str:
    """A name that a terminal shows and does not obey."""
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _listed(names: Iterable[str]) -> str:
    listed = [_printable(name) for name in names]
    more = f" and {len(listed) - N_NAMED} more" if len(listed) > N_NAMED else ""
    return f": {', '.join(listed[:N_NAMED])}{more}" if listed else ""
