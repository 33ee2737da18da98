"""Which crystals are the same: among themselves, and as those that are known.

The judge is pymatgen's StructureMatcher with its own settings (ltol 0.2, stol 0.3, 5 degrees,
primitive cells, scaled volumes), the earlier or known crystal as its first argument. It never
matches two compositions, so only crystals of one reduced formula meet, and each is reduced once,
as the matcher would, not in every comparison. More than it matches are only crystals whose copies
within 0.1 angstrom hide a smaller cell. All of it runs in processes that can be killed: no
crystal costs more than its time, and one that would says so.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from symmbfn.crystals.cell import Cell
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.evaluation.similarity.dataset_cells import crystals_with
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

TIME_LIMIT = 60.0  # seconds of wall time to reduce one crystal, and again to compare it

Failure = tuple[str, str]  # status and reason


@dataclass(frozen=True)
class Duplicate:
    """Where a crystal stands among the others of its list.

    Args:
        first: index of the first crystal of its class, its own where it is that one; None
            without an answer.
        status: "ok", "no_structure", or why it was not compared: "timeout", "worker_lost",
            "out_of_memory", "matching_failed".
        reason: one line, empty when the status is "ok".
    """

    first: int | None
    status: str = "ok"
    reason: str = ""


@dataclass(frozen=True)
class KnownCrystal:
    """A crystal of a reference.

    Args:
        dataset: number of the reference, 0 for the only one.
        row: of the crystal in it, where its properties are found.
        identifier: its name.
        rms: distance of its atoms from those of the crystal that it matches, root mean square
            at equal volumes, in units of (volume per atom)^(1/3); NaN in the rare case that
            the matcher takes it for too far.
    """

    dataset: int
    row: int
    identifier: str
    rms: float


@dataclass(frozen=True)
class Known:
    """Which known crystals a crystal matches.

    Args:
        matches: closest first; empty where there is none, or no answer.
        status, reason: as in `Duplicate`.
    """

    matches: tuple[KnownCrystal, ...] = ()
    status: str = "ok"
    reason: str = ""

    @property
    def is_novel(self) -> bool:
        """Whether all known crystals of its formula were compared and none matches."""
        return self.status == "ok" and not self.matches


def find_duplicates(cells: Sequence[Cell | None], *, workers: int) -> list[Duplicate]:
    """Sort crystals into classes of equal ones, each named after its first.

    A crystal is the first of a class when no first before it matches it; the firsts are those of
    `StructureMatcher.group_structures`. Crystals of the same space group, letters and elements
    are compared before others, so that duplicates are found early; a crystal that matches
    several firsts goes to the one met first.

    Args:
        cells: one a crystal, None where there is no structure.
        workers: number of processes.

    Returns:
        One answer for each crystal, in order.

    Raises:
        ValueError: no worker.

    Source: book, method-matching.
    """
    from symmbfn.evaluation.similarity.matching_tasks import first_match, prepare

    run = partial(_run, workers=whole_number("workers", workers))
    shared = [rows for rows in _by_formula(cells).values() if len(rows) > 1]
    copies = {row: cells[row] for rows in shared for row in rows}
    prepared, failed = run("reducing cells", prepare, copies)
    todo: dict[int, list[int]] = {}
    for rows in shared:
        there = [row for row in rows if row in prepared]
        for place, row in enumerate(there):
            label = prepared[row][1]
            todo[row] = sorted(there[:place], key=lambda r: (prepared[r][1] != label, r))
    search = partial(first_match, forms={row: forms for row, (forms, _) in prepared.items()})
    first: dict[int, int] = {}
    while todo:
        tasks = {row: (row, others) for row, others in todo.items()}
        found, lost = run("finding copies", search, tasks)
        failed |= lost
        todo = _settle(todo, found, first)
    failed |= _without_structure(cells)
    return [
        Duplicate(None, *failed[row]) if row in failed else Duplicate(first.get(row, row))
        for row in range(len(cells))
    ]


def _settle(
    compared: Mapping[int, list[int]], found: Mapping[int, int | None], first: dict[int, int]
) -> dict[int, list[int]]:
    """Enter what is certain into `first`; return the other rows, with what is left to compare.

    A match with a crystal that is no first itself decides nothing, for matching is not
    transitive. The lowest of the rows left has only firsts before it, so this comes to an end.
    """
    left: dict[int, list[int]] = {}
    for row in sorted(found):
        match = found[row]
        if match is None:
            first[row] = row
        elif first.get(match) == match:
            first[row] = match
        else:
            rest = compared[row][compared[row].index(match) :]
            left[row] = [other for other in rest if other in left or first.get(other) == other]
    return left


def find_known(
    cells: Sequence[Cell | None],
    reference: EncodedDataset | Sequence[EncodedDataset],
    *,
    workers: int,
) -> list[Known]:
    """Find all crystals of a reference that each crystal matches.

    Args:
        cells: one a crystal, None where there is no structure.
        reference: one dataset or several; only crystals of formulas that occur are rebuilt.
        workers: number of processes.

    Returns:
        One answer for each crystal, in order. One that could not be compared with every known
        crystal of its formula, and matches none of the others, has the status of what failed.

    Raises:
        ValueError: no worker.

    Source: book, method-matching.
    """
    from symmbfn.evaluation.similarity.matching_tasks import all_matches, reduced_forms

    run = partial(_run, workers=whole_number("workers", workers))
    datasets = [reference] if isinstance(reference, EncodedDataset) else list(reference)
    mine = _by_formula(cells)
    places, known_cells = crystals_with(datasets, set(mine))
    n = len(cells)  # in one list of all, the known crystals come after the others
    others = {name: [n + k for k in known] for name, known in _by_formula(known_cells).items()}
    candidates = {
        row: others[name] for name, rows in mine.items() for row in rows if name in others
    }
    everyone = {row: cells[row] for row in candidates} | dict(enumerate(known_cells, start=n))
    reduced, failed = run("reducing cells", reduced_forms, everyone)
    found, lost = run(
        "finding known crystals",
        partial(all_matches, forms=reduced),
        {
            row: (row, [k for k in known if k in reduced])
            for row, known in candidates.items()
            if row in reduced
        },
    )
    failed |= lost | _without_structure(cells)
    answers = []
    for row in range(n):
        failures = [failed[k] for k in (row, *candidates.get(row, [])) if k in failed]
        matches = []
        for k, rms in found.get(row, []):
            number, place = places[k - n]
            identifier = datasets[number].identifiers[place]
            matches.append(KnownCrystal(number, place, identifier, rms))
        is_open = failures and not matches
        answers.append(Known((), *failures[0]) if is_open else Known(tuple(matches)))
    return answers


def _without_structure(cells: Sequence[Cell | None]) -> dict[int, Failure]:
    failure = "no_structure", "no structure"
    return {row: failure for row, cell in enumerate(cells) if cell is None}


def _by_formula(cells: Sequence[Cell | None]) -> dict[str, list[int]]:
    rows: dict[str, list[int]] = defaultdict(list)
    for row, cell in enumerate(cells):
        if cell is not None:
            rows[cell.formula].append(row)
    return rows


def _run(
    label: str, function: Callable[[Any], Any], items: Mapping[int, Any], *, workers: int
) -> tuple[dict[int, Any], dict[int, Failure]]:
    """Values by key, and status and reason where there is no value."""
    values: dict[int, Any] = {}
    failures: dict[int, Failure] = {}
    keys, todo = list(items), list(items.values())
    outcomes = run_killable(function, todo, workers=workers, time_limit=TIME_LIMIT)
    for outcome in progress(outcomes, total=len(todo), label=label):
        key = keys[outcome.index]
        if outcome.reason:
            failures[key] = (outcome.status or "matching_failed", outcome.reason)
        else:
            values[key] = outcome.value
    return values, failures
