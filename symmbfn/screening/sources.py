"""Crystals to be judged, whoever made them: a run's folder, files, or a dataset."""

import hashlib
import json
import time
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.distances import GeometryError
from symmbfn.crystals.records import RECORDS, read_crystals
from symmbfn.datasets.registry import DATASETS, dataset_splits, load_dataset
from symmbfn.datasets.structure_files import stem_of
from symmbfn.generation.run_outputs import SUMMARY
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

TIME_LIMIT = 60.0  # seconds for one file of others


@dataclass(frozen=True)
class Candidate:
    """One crystal to be judged, or the reason why there is none.

    Args:
        index: place among all crystals of the source.
        name: path of the file within its folder, without suffix; `material_id` of a row; the
            number of the request.
        status: "ok", or what went wrong before.
        reason: one line, empty when the status is "ok".
        cell: the conventional cell of a generated crystal, the cell as written of another; also
            of one whose atoms overlap.
        crystal: the record of a generated crystal.
    """

    index: int
    name: str
    status: str
    reason: str
    cell: Cell | None
    crystal: Crystal | None = None

    @property
    def own_phases(self) -> tuple[str, ...]:
        """Names that the entry of this very crystal may have among known phases.

        The name, and without folders and suffix: "mp-149" for "silicon/mp-149.cif". None for a
        generated crystal: the number of a request may be the name of some other phase.
        """
        if self.crystal is not None:
            return ()
        last = PurePosixPath(self.name.partition("#")[0]).name
        return tuple(dict.fromkeys((self.name, last, stem_of(last))))

    @property
    def primitive_cell(self) -> Cell | None:
        """The smaller cell of the same crystal, if the record tells its centring."""
        if self.crystal is None or not self.crystal.has_structure:
            return self.cell
        return Cell.of(self.crystal, primitive=True)


@dataclass(frozen=True)
class Candidates:
    """All crystals of one source.

    Args:
        rows: one for every request, file or row, in order.
        digest: SHA-256 of what was read.
        facts: what the source says of itself: settings and times of a run, and the process time
            of building all cells from its records.
    """

    rows: tuple[Candidate, ...]
    digest: str
    facts: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)


def read_candidates(source: str | Path, *, workers: int = 1) -> Candidates:
    """Read crystals to be judged.

    Args:
        source: the folder of a run; a CIF, POSCAR or extxyz file, a folder or a zip of these; a
            CSV with `material_id` and `cif`; or a dataset with its split, such as
            "mp_20:test_open".
        workers: processes that read files of others, which are killed where they hang.

    Raises:
        ValueError: there is no such thing, or nothing in it.
    """
    path = Path(source)
    found = _run(path) if (path / RECORDS).is_file() else _files(str(source), workers)
    if not len(found):
        raise ValueError(f"{str(source)!r} holds no crystals")
    return found


def _run(folder: Path) -> Candidates:
    rows = []
    start = time.process_time()
    crystals = list(read_crystals(folder))
    rebuilding = time.process_time() - start
    for place, crystal in enumerate(crystals):
        cell = Cell.of(crystal) if crystal.has_structure else None
        name = str(crystal.index)
        rows.append(Candidate(place, name, crystal.status, crystal.reason, cell, crystal))
    facts: dict[str, Any] = {"rebuilding_seconds": rebuilding}
    if (folder / SUMMARY).is_file():
        summary = json.loads((folder / SUMMARY).read_text())
        facts |= {name: summary.get(name) for name in ("settings", "weights_name", "time")}
    digest = hashlib.sha256((folder / RECORDS).read_bytes()).hexdigest()
    return Candidates(tuple(rows), digest, facts)


def _files(source: str, workers: int) -> Candidates:
    name, _, split = source.partition(":")
    is_named = name in DATASETS
    if is_named and not split and len(splits := dataset_splits(name)) > 1:
        every = ", ".join(f"{name}:{one}" for one in splits)
        raise ValueError(f"dataset {name} has several splits, name one: {every}")
    name, split = (name, split) if is_named else (source, "")
    table = load_dataset(name, split or None, workers=workers)
    names, texts = table["material_id"].tolist(), table["cif"].tolist()
    digest = hashlib.sha256(json.dumps([names, texts]).encode()).hexdigest()
    rows: list[Candidate] = []
    outcomes = run_killable(read_cif, texts, workers=workers, time_limit=TIME_LIMIT)
    for outcome in progress(outcomes, total=len(texts), label="reading crystals"):
        cell, status, reason = outcome.value or (None, outcome.status, outcome.reason)
        status = status or "reconstruction_failed"
        rows.append(Candidate(outcome.index, names[outcome.index], status, reason, cell))
    left_out = table.attrs.get("left_out")
    facts = {"files_left_out": left_out} if left_out else {}
    return Candidates(tuple(sorted(rows, key=lambda row: row.index)), digest, facts)


def read_cif(text: str) -> tuple[Cell, str, str]:
    """The cell of a CIF with its status and reason, as a worker process returns them.

    Returns:
        The cell; "ok", or "invalid_geometry" and why: its atoms overlap, for one.

    Raises:
        ValueError: the text is no CIF of one ordered crystal, or one without a cell.
    """
    from symmbfn.datasets.structure_texts import structure_of

    try:
        return Cell.from_pymatgen(structure_of(text)), "ok", ""
    except GeometryError as error:
        if error.atoms is None:
            raise
        return Cell.from_pymatgen(error.atoms), error.status, str(error)
