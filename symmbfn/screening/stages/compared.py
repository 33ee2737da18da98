"""Which crystals are the first of their kind, and which are known; done once, as a whole."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.similarity.matching import Duplicate, Known, find_duplicates, find_known
from symmbfn.evaluation.similarity.nearest import nearest, neighbourhoods
from symmbfn.runtime.journal import Journal
from symmbfn.screening.reference import Reference
from symmbfn.screening.stage import Answer, Screening, Stage, every_crystal
from symmbfn.screening.stages.relaxed import relaxed_cells

if TYPE_CHECKING:
    import pandas

KNOWN = ("known_as", "known_split", "known_rms", "known_e_above_hull")
YES_OR_NO = ("is_first", "is_novel", "is_novel_anywhere")
COLUMNS = (
    *("comparison", "duplicate_of", *YES_OR_NO, "known_train", *KNOWN),
    *("nearest_train", "nearest_train_prototype"),
)
Cells = Mapping[int, Cell | None]


def compare(cells: Cells, known: Reference, workers: int) -> Iterator[Answer]:
    """Compare crystals among themselves and with those that are known.

    Args:
        cells: of every crystal by its index, None where there is no structure.
        known: the crystals of the reference.
        workers: processes.
    """
    indices, listed = list(cells), list(cells.values())
    duplicates = find_duplicates(listed, workers=workers)
    found = {
        split: find_known(listed, data, workers=workers) for split, data in known.splits.items()
    }
    close = nearest(neighbourhoods(listed), known.neighbourhoods)
    for place, (index, duplicate) in enumerate(zip(indices, duplicates, strict=True)):
        first = None if duplicate.first is None else indices[duplicate.first]
        answers = {split: rows[place] for split, rows in found.items()}
        yield {
            "index": index,
            **_comparison(index, first, duplicate, answers, known),
            "nearest_train": float(close.same_formula[place]),
            "nearest_train_prototype": float(close.same_prototype[place]),
        }


def _comparison(
    index: int,
    first: int | None,
    duplicate: Duplicate,
    answers: dict[str, Known],
    known: Reference,
) -> dict[str, Any]:
    train = next(iter(answers.values()))
    matches = [(split, match) for split in answers for match in answers[split].matches]
    statuses = [duplicate.status, *(answer.status for answer in answers.values())]
    facts: dict[str, Any] = dict.fromkeys(KNOWN)
    if matches:
        split, match = matches[0]
        energy = known.property_of(split, match.row, "e_above_hull")
        facts = dict(zip(facts, (match.identifier, split, match.rms, energy), strict=True))
    return {
        "comparison": next((status for status in statuses if status != "ok"), "ok"),
        "duplicate_of": first,
        "is_first": None if first is None else first == index,
        "is_novel": _novelty([train]),
        "is_novel_anywhere": _novelty(answers.values()),
        "known_train": train.matches[0].identifier if train.matches else None,
        **facts,
    }


def _novelty(answers: Iterable[Known]) -> bool | None:
    """Whether none of the answers is a match; None where one of them could not be given."""
    answers = list(answers)
    if any(answer.matches for answer in answers):
        return False
    return True if all(answer.is_novel for answer in answers) else None


def _stage(
    name: str,
    prefix: str,
    needs: str,
    cells_of: Callable[[Screening, "pandas.DataFrame"], Cells],
    crystals: Callable[[Screening, "pandas.DataFrame"], Sequence[int]],
) -> Stage:
    """The same comparison of other cells, under names of its own."""

    def ask(
        screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]
    ) -> Iterator[Answer]:
        return compare(cells_of(screening, table), screening.known, screening.workers)

    def columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
        import pandas as pd

        table = pd.DataFrame(list(answers)).set_index("index")
        types = {"duplicate_of": "Int64", **dict.fromkeys(YES_OR_NO, "boolean")}
        return table.astype(types).add_prefix(prefix)

    adds = tuple(f"{prefix}{column}" for column in COLUMNS)
    return Stage(name, adds, ask, needs=(needs,), crystals=crystals, columns=columns)


def _as_read(screening: Screening, table: "pandas.DataFrame") -> Cells:
    """What is no crystal is no copy of one, and none is a copy of it."""
    is_crystal = (table["status"] == "ok").tolist()
    return {
        row.index: row.primitive_cell if ok else None
        for row, ok in zip(screening.candidates.rows, is_crystal, strict=True)
    }


def _after_relaxation(screening: Screening, table: "pandas.DataFrame") -> Cells:
    cells = relaxed_cells(screening)
    return {index: cells.get(index) for index in _relaxed(screening, table)}


def _relaxed(screening: Screening, table: "pandas.DataFrame") -> list[int]:
    return table.index[table["relax_status"].notna()].tolist()


COMPARED = _stage("compared", "", "status", _as_read, every_crystal)
COMPARED_RELAXED = _stage(
    "compared_relaxed", "relaxed_", "relax_status", _after_relaxation, _relaxed
)
