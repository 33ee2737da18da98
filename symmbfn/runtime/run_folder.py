"""Output folders: the settings of a run stand in it, so that it is resumed, never overwritten."""

import json
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from symmbfn.runtime.files import write_whole

MANIFEST = "manifest.json"
LOCK = ".lock"  # a file that stays: to remove it while others wait for it would let two in
PACKAGES = ("symmbfn", "torch", "numpy", "pymatgen", "spglib", "ase")


def check_folder(folder: Path) -> None:
    """Make sure, before the work, that a folder can take a run: new, empty, or already one.

    Raises:
        OSError: it cannot be made or written.
        ValueError: it holds something else.
    """
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{str(there)!r} is no folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"cannot write into {str(there)!r}")
    if there != folder:
        return
    if (folder / MANIFEST).is_file():
        return
    # what a killed process leaves of a file is hidden and ends in .part
    if any(not path.name.endswith(".part") for path in folder.iterdir()):
        raise ValueError(f"{str(folder)!r} holds something else: nothing is overwritten")


def open_folder(
    folder: Path,
    settings: dict[str, Any],
    facts: dict[str, Any],
    *,
    renew: Callable[[dict[str, Any]], dict[str, Any]] = dict,
) -> dict[str, Any]:
    """Write the manifest of a new run, or compare with the one that is there.

    Args:
        folder: see `check_folder`.
        settings: what decides the content of the folder, JSON types or tuples.
        facts: written beside the settings by the first call.
        renew: from the settings in an older manifest to what they are called today.

    Returns:
        The manifest: `settings`, and the facts of the first call.

    Raises:
        ValueError: the folder belongs to other settings; all differences are named.
    """
    check_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / MANIFEST
    # through JSON, so that a tuple equals the list it is stored as
    here = json.loads(json.dumps(settings))
    if not path.is_file():
        manifest = {"settings": here, **facts}
        write_whole(path, json.dumps(manifest, indent=1) + "\n")
        return manifest
    try:
        manifest = json.loads(path.read_text())
        there = renew(manifest["settings"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{str(path)!r} is no manifest of a run: {error!r}") from None
    if different := differences(there, here):
        raise ValueError(f"{str(folder)!r} holds another run: {', '.join(different)}")
    return manifest


def replace_facts(folder: Path, settings: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write the facts of this call into a manifest; those before go to the end of `earlier`.

    Args:
        folder: opened with the same settings, and locked by `only_process`.
        settings: as for `open_folder`.
        facts: of this call.
    """
    path = folder / MANIFEST
    here = json.loads(json.dumps({"settings": settings, **facts}))
    there = json.loads(path.read_text())
    earlier = there.pop("earlier", [])
    if there != here:
        manifest = {**here, "earlier": [*earlier, there]}
        write_whole(path, json.dumps(manifest, indent=1) + "\n")


def differences(there: dict[str, Any], here: dict[str, Any]) -> list[str]:
    """Say of each value that is not the same what it is, such as "seed is 3 there and 4 here".

    Values within values are named by their path, such as "requests.0.seed".
    """
    different = []
    for name in sorted(there.keys() | here.keys()):
        old, new = (_by_place(value.get(name)) for value in (there, here))
        if isinstance(old, dict) and isinstance(new, dict):
            different += [f"{name}.{text}" for text in differences(old, new)]
        elif old != new:
            different.append(f"{name} is {_short(old)} there and {_short(new)} here")
    return different


def _by_place(value: Any) -> Any:
    """A list of dictionaries as a dictionary by place, other values as they are."""
    is_list_of_dicts = isinstance(value, list) and all(isinstance(one, dict) for one in value)
    return {str(place): one for place, one in enumerate(value)} if is_list_of_dicts else value


def versions(*others: str) -> dict[str, str]:
    """Versions of Python and of the packages that decide what comes out, those that are there.

    Args:
        others: packages that decide it too.
    """
    found = {"python": platform.python_version()}
    for package in (*PACKAGES, *others):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # a machine that only trains may lack pymatgen
            continue
    return found


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:28]}...{text[-8:]}"


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Keep a second process out of a folder that exists; the lock goes with the process.

    Raises:
        ValueError: another one is in it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(
            f"another process is writing into {str(folder)!r}, it holds {lock.lock_file!r}"
        ) from None
    try:
        yield
    finally:
        lock.release()
