"""Files that are either whole or absent."""

import hashlib
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

PATIENCE = 2.0  # seconds of waiting for another process before it is said


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def whole_file(path: Path, *, is_durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path in the same folder, and rename it to `path` after the block.

    An error or a kill inside the block leaves what stood at `path` before.

    Args:
        path: the file to write; missing parent folders are made.
        is_durable: wait until the file and its name are on the disk, which takes milliseconds.
            Without it a power cut may leave an empty file: only for files whose size is checked
            later and which can be made again.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
    os.close(handle)
    part = Path(name)
    try:
        yield part
        if is_durable:
            with part.open("rb+") as file:  # Windows lets only writers wait
                os.fsync(file.fileno())
        # mkstemp makes files private; a cache or a result is as readable as any new file
        umask = os.umask(0)
        os.umask(umask)
        part.chmod(0o666 & ~umask)
        os.replace(part, path)
        if is_durable:
            _keep_names(path.parent)
    finally:
        part.unlink(missing_ok=True)


def _keep_names(folder: Path) -> None:
    """Wait until the names in a folder are on the disk; Windows cannot open a folder."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def write_whole(path: Path, content: str | bytes, *, is_durable: bool = True) -> None:
    """Write text (UTF-8) or bytes to `path` in one step; arguments as in `whole_file`."""
    with whole_file(path, is_durable=is_durable) as part:
        part.write_bytes(content.encode() if isinstance(content, str) else content)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process changes the file; the lock goes with the process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # beside the file, which is replaced as a whole
    lock = FileLock(path.with_name(f".{path.name}.lock"))
    try:
        lock.acquire(timeout=PATIENCE)
    except Timeout:
        print(f"waiting for another process that makes {path}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
