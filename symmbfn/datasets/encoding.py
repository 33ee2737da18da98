"""From a dataset of CIFs to an encoded one: every row in a worker process, once, kept on disk."""

import csv
import hashlib
import io
import json
import os
import sys
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from symmbfn.crystals.asymmetric_unit import FORMS, AsymmetricUnit
from symmbfn.datasets.cache import FORMAT, EncodedDataset, flat
from symmbfn.datasets.registry import (
    cache_folder,
    dataset_label,
    dataset_symprec,
    load_dataset,
    property_columns,
)
from symmbfn.runtime.checks import one_of, real_number, whole_number
from symmbfn.runtime.files import locked, write_whole
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import LOST, Outcome, n_cores, run_killable

if TYPE_CHECKING:
    import pandas

# part of the digest: raise it when `asymmetric_unit` gives something else for the same input
ENCODER = 3
FAILURES = "failures.csv"
# how reasons begin that lie with the machine or its time limit, not with the crystal
PASSING = ("timeout", LOST, "MemoryError")
FAILURE_COLUMNS = ("dataset", "row", "material_id", "reason")
SECONDS_PER_CRYSTAL = 0.008  # of processor time: see encode.ms_per_structure
LONG = 10.0  # seconds: what takes longer is announced


class TooManyFailuresError(ValueError):
    """More rows could not be encoded than the caller allows; what could be is on the disk.

    All rows are always too many.
    """


def encode_cif(text: str, *, symprec: float, form: Literal["canonical", "raw"]) -> AsymmetricUnit:
    """Read a CIF and find its asymmetric unit, in a worker process.

    Args:
        text: the content of a CIF.
        symprec: symmetry tolerance in angstrom.
        form: "canonical" or "raw".

    Returns:
        The asymmetric unit.

    Raises:
        ValueError: with the reason why there is none.
    """
    from symmbfn.crystals.structure import asymmetric_unit
    from symmbfn.datasets.structure_texts import structure_of

    return asymmetric_unit(structure_of(text), symprec=symprec, form=form)


def encode_dataset(
    name_or_path: str | Path,
    *,
    split: str | None = None,
    form: str = "canonical",
    symprec: float | None = None,
    workers: int | None = None,
    cache_dir: str | Path | None = None,
    max_failures: int | None = None,
    time_limit: float = 60.0,
) -> EncodedDataset:
    """Encode every crystal of a dataset on all cores, or read what was encoded before.

    The tensors go to `<cache_dir>/<name>-<split>-<digest>.safetensors`; rows that could not be
    encoded go to `failures.csv` beside it, with the reason, and are left out. Rows that took too
    long, or lost their process or its memory, are tried again at the next call. What a stopped
    call leaves in the `.jsonl` beside it, the next one goes on with.

    Args:
        name_or_path: see `load_dataset`.
        split: a split of a named dataset.
        form: "canonical" picks origin and axes by rule, "raw" keeps the standardised cell's.
        symprec: symmetry tolerance in angstrom; None takes the dataset's own.
        workers: processes; None takes one per core.
        cache_dir: None takes `cache_folder()/encoded`.
        max_failures: None allows all but one.
        time_limit: seconds of wall time for one structure.

    Returns:
        The encoded crystals, in the order of the rows.

    Raises:
        ValueError: an argument out of range, or a dataset without rows.
        TooManyFailuresError: more than `max_failures` rows could not be encoded, or all of
            them; raised when all files are written.
    """
    symprec = dataset_symprec(name_or_path) if symprec is None else symprec
    symprec = real_number("symprec", symprec, above=0.0)
    one_of("form", form, FORMS)
    workers = n_cores() if workers is None else whole_number("workers", workers)
    time_limit = real_number("time_limit", time_limit, above=0.0)
    table = load_dataset(name_or_path, split, workers=workers)
    if not len(table):
        raise ValueError(f"{name_or_path} has no rows")
    folder = _writable(Path(cache_dir) if cache_dir is not None else cache_folder() / "encoded")
    settings: dict[str, Any] = {"dataset": dataset_label(name_or_path), "split": split or "all"}
    settings |= {"form": form, "symprec": symprec}
    digest = _digest(table, settings)
    stem = f"{settings['dataset']}-{settings['split']}-{digest[:8]}"
    path = folder / f"{stem}.safetensors"
    encoded = _stored(path)
    if encoded is None or _passing(encoded.failures):
        rows = partial(_outcomes, workers=workers, time_limit=time_limit)
        with locked(path):
            encoded = _completed(table, path, settings, digest, rows)
    _write_failures(folder / FAILURES, stem, encoded.failures)
    _check_failures(encoded, len(table), max_failures, folder / FAILURES)
    return encoded


def _writable(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write into {folder}")
    return folder


def _stored(path: Path) -> EncodedDataset | None:
    """What was encoded before, if it is there whole."""
    is_there = path.is_file() and path.with_suffix(".json").is_file()
    return EncodedDataset.load(path) if is_there else None


def _completed(
    table: "pandas.DataFrame",
    path: Path,
    settings: dict[str, Any],
    digest: str,
    encode: Callable[..., Iterator[Outcome]],
) -> EncodedDataset:
    """Encode the rows of a table that are not, each kept as it comes, and store them all."""
    before = _stored(path)
    if before is not None and not _passing(before.failures):
        return before  # another process was here while this one waited
    journal = Journal(path.with_suffix(".jsonl"))
    lasting = [] if before is None else _lasting(before)
    done = {outcome.index: outcome for outcome in lasting}
    done |= {row["index"]: _outcome_of(row) for row in journal}
    for outcome in encode(table, done, settings, path.parent):
        done[outcome.index] = outcome
        if not outcome.reason.startswith(PASSING):
            journal.add(_record_of(outcome))
    encoded = _encoded(table, list(done.values()), settings, digest)
    if len(encoded) > len(before or ()):
        encoded.save(path)
    journal.path.unlink(missing_ok=True)
    return encoded


def _record_of(outcome: Outcome) -> dict[str, Any]:
    """An outcome in JSON types, exactly."""
    record = {name: getattr(outcome, name) for name in ("index", "reason", "process_ms", "status")}
    if outcome.value is None:
        return record
    values = vars(outcome.value).items()
    return record | {"unit": {k: v.tolist() if hasattr(v, "tolist") else v for k, v in values}}


def _outcome_of(record: dict[str, Any]) -> Outcome:
    """Inverse of `_record_of`."""
    unit = record.get("unit")
    if unit is not None:
        unit = {k: np.array(v) if isinstance(v, list) else v for k, v in unit.items()}
        unit = AsymmetricUnit(**unit)
    return Outcome(
        record["index"],
        unit,
        record["reason"],
        float("nan") if record["process_ms"] is None else record["process_ms"],
        record["status"],
    )


def _announce(settings: dict[str, Any], n: int, n_done: int, workers: int, folder: Path) -> None:
    """Say on standard error what takes long, and that it does so once."""
    seconds = n * SECONDS_PER_CRYSTAL / workers
    if seconds < LONG:
        return
    minutes = max(1, round(seconds / 60))
    time_needed = f"about {minutes} minute{'s' * (minutes > 1)}"
    crystals = f"{n} crystals" if not n_done else f"{n} of {n + n_done} crystals are left"
    print(
        f"encoding {settings['dataset']} {settings['split']} for the first time: {crystals}, "
        f"{time_needed} on {workers} core{'s' * (workers > 1)}; kept in {folder}",
        file=sys.stderr,
        flush=True,
    )


def _outcomes(
    table: "pandas.DataFrame",
    done: Container[int],
    settings: dict[str, Any],
    folder: Path,
    *,
    workers: int,
    time_limit: float,
) -> Iterator[Outcome]:
    """Encode the rows that are not done, and yield them as they come."""
    todo = [row for row in range(len(table)) if row not in done]
    n_done = len(table) - len(todo)
    _announce(settings, len(todo), n_done, workers, folder)
    encode = partial(encode_cif, symprec=settings["symprec"], form=settings["form"])
    new = progress(
        run_killable(
            encode, table["cif"].iloc[todo].tolist(), workers=workers, time_limit=time_limit
        ),
        total=len(table),
        done=n_done,
        label=f"encoding {settings['dataset']} {settings['split']}",
    )
    return (replace(outcome, index=todo[outcome.index]) for outcome in new)


def _encoded(
    table: "pandas.DataFrame", outcomes: list[Outcome], settings: dict[str, Any], digest: str
) -> EncodedDataset:
    """Collect what became of all rows, in their order."""
    outcomes = sorted(outcomes, key=lambda outcome: outcome.index)
    identifiers, names = table["material_id"].tolist(), property_columns(table)
    done = [outcome for outcome in outcomes if not outcome.reason]
    rows = [outcome.index for outcome in done]
    times = torch.tensor([outcome.process_ms for outcome in done])
    encoded = EncodedDataset(
        **flat([outcome.value for outcome in done]),
        properties=torch.tensor(table[names].to_numpy(dtype="float32")[rows]),
        property_names=tuple(names),
        identifiers=tuple(identifiers[row] for row in rows),
        settings=settings,
        digest=digest,
        failures=tuple((o.index, identifiers[o.index], o.reason) for o in outcomes if o.reason),
        process_ms=float(times.mean()),
    )
    # what another call may add to has another digest
    passing = _passing(encoded.failures)
    return encoded.derived(*passing) if passing else encoded


def _passing(failures: tuple[tuple[int, str, str], ...]) -> list[int]:
    """Rows that failed for no fault of the crystal."""
    return [row for row, _, reason in failures if reason.startswith(PASSING)]


def _lasting(encoded: EncodedDataset) -> list[Outcome]:
    """What became of all other rows."""
    failed = {row: reason for row, _, reason in encoded.failures}
    done = [row for row in range(len(encoded) + len(failed)) if row not in failed]
    return [
        *(Outcome(row, encoded.unit(i), "", encoded.process_ms) for i, row in enumerate(done)),
        *(
            Outcome(row, None, reason, float("nan"))
            for row, reason in failed.items()
            if not reason.startswith(PASSING)
        ),
    ]


def _digest(table: "pandas.DataFrame", settings: dict[str, Any]) -> str:
    """SHA-256 over everything that decides what the tensors hold."""
    names = property_columns(table)
    digest = hashlib.sha256(f"format {FORMAT} encoder {ENCODER}".encode())
    digest.update(json.dumps([settings, names], sort_keys=True).encode())
    digest.update((files("symmbfn.crystals") / "symmetry_tables.npz").read_bytes())
    for identifier, text in zip(table["material_id"], table["cif"], strict=True):
        digest.update(f"{len(identifier)} {identifier} {len(text)} {text}".encode())
    digest.update(table[names].to_numpy(dtype="float32").tobytes())
    return digest.hexdigest()


def _write_failures(path: Path, stem: str, failures: tuple[tuple[int, str, str], ...]) -> None:
    """Put one dataset's failures into the folder's list, in place of what it had there."""
    mine = [[stem, str(row), identifier, reason] for row, identifier, reason in failures]
    with locked(path):
        kept = []
        if path.is_file():
            with path.open(newline="") as file:
                kept = [row for row in csv.reader(file)][1:]
        rows = [row for row in kept if row[:1] != [stem]] + mine
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FAILURE_COLUMNS, *rows])
        write_whole(path, text.getvalue())


def _check_failures(
    encoded: EncodedDataset, n_rows: int, max_failures: int | None, listed: Path
) -> None:
    if not len(encoded):
        raise TooManyFailuresError(f"not one of {n_rows} rows could be encoded: see {listed}")
    if max_failures is not None and len(encoded.failures) > max_failures:
        raise TooManyFailuresError(
            f"{len(encoded.failures)} of {n_rows} rows could not be encoded, "
            f"more than {max_failures}: see {listed}"
        )
