"""Geometry, composition and symmetry of every crystal."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from typing import TYPE_CHECKING

from symmbfn.crystals.crystal import Crystal
from symmbfn.evaluation.validity import UNASKED, Judgement, judge, judge_cell
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.workers import run_killable
from symmbfn.screening.sources import Candidate
from symmbfn.screening.stage import Answer, Screening, Stage

if TYPE_CHECKING:
    import pandas

TIME_LIMIT = 60.0  # seconds of wall time for one crystal
GROUPS = ("space_group_number", "found_group", "default_group")
LATTICE = ("a", "b", "c", "alpha", "beta", "gamma")  # angstrom and degrees
VALUES = tuple(
    field.name for field in fields(Judgement) if field.name not in ("index", "lattice_parameters")
)


def _ask(screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]) -> Iterator[Answer]:
    rows = [screening.candidates.rows[index] for index in todo]
    outcomes = run_killable(judge_candidate, rows, workers=screening.workers, time_limit=TIME_LIMIT)
    for outcome in outcomes:
        row, judged = rows[outcome.index], outcome.value
        if judged is None:
            status = outcome.status or "reconstruction_failed"
            judged = judge_candidate(_lost(row, status, outcome.reason))
        yield asdict(judged) | {"name": row.name}


def _columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
    import pandas as pd

    table = pd.DataFrame(list(answers)).set_index("index")
    parameters = pd.DataFrame(
        table.pop("lattice_parameters").tolist(), columns=[*LATTICE], index=table.index, dtype=float
    )
    return table.join(parameters).astype(dict.fromkeys(GROUPS, "Int64"))


def judge_candidate(row: Candidate) -> Judgement:
    """Judge whatever there is of a candidate; a failure before stays what it was."""
    if row.crystal is not None:
        return replace(judge(row.crystal), index=row.index)
    if row.cell is not None:
        judged = judge_cell(row.cell, index=row.index)
        if row.status == "ok":
            return judged
        judged = replace(judged, status=row.status, reason=row.reason)
        return replace(judged, is_structurally_valid=False, has_good_contacts=False)
    nothing = Crystal.failed(row.index, None, row.status, row.reason, 1)
    return replace(
        judge(nothing), space_group_number=None, symmetry=UNASKED, sharp_symmetry=UNASKED
    )


def _lost(row: Candidate, status: str, reason: str) -> Candidate:
    """The candidate on which a library hung or died."""
    crystal = row.crystal
    if crystal is not None:
        group = crystal.space_group_number
        crystal = Crystal.failed(row.index, crystal.seed, status, reason, group)
    return replace(row, status=status, reason=reason, cell=None, crystal=crystal)


JUDGED = Stage("validity", adds=(*VALUES, "name", *LATTICE), ask=_ask, columns=_columns)
