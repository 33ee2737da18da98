"""What a second judge says of the relaxed crystals, from where the first one left them."""

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.relaxation import Relaxed, relax_all
from symmbfn.evaluation.energies.stability import is_true
from symmbfn.evaluation.summary import STABLE
from symmbfn.runtime.journal import Journal
from symmbfn.screening.stage import Answer, Screening, Stage
from symmbfn.screening.stages.relaxed import (
    RELAXED,
    TIME_LIMIT,
    reason_of,
    relaxed_cells,
    relaxed_crystals,
    relaxed_without_failure,
)

if TYPE_CHECKING:
    import pandas

ENERGIES = (
    *("second_initial_energy_per_atom", "second_energy_per_atom"),
    *("second_formation_energy_per_atom", "second_e_above_hull"),
)
COLUMNS = (*ENERGIES, "second_status", "second_reason", "is_stable_by_both")


def second_judge(judge: Judge, first: int | None) -> Stage:
    """The stage that relaxes the crystals on from where the first judge left them.

    Columns: `second_initial_energy_per_atom`, of the crystal as it comes, and
    `second_energy_per_atom`, as the potential gives them; `second_formation_energy_per_atom` and
    `second_e_above_hull`, eV/atom; `second_status` and `second_reason`, as of a relaxation,
    missing where nobody asked; `is_stable_by_both`, missing where one of them gave no energy.

    Args:
        judge: another one than the first. Its answers have a journal of their own.
        first: ask about so many from the start, and all that are stable, unique and novel by
            the first judge; None asks about all that have a relaxed cell.
    """

    def crystals(screening: Screening, table: "pandas.DataFrame") -> Sequence[int]:
        relaxed = relaxed_without_failure(screening, table)
        if first is None:
            return relaxed
        chosen = set(_stable_unique_novel(table))
        return [index for index in relaxed if index < first or index in chosen]

    def ask(
        screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]
    ) -> Iterator[Answer]:
        cells = relaxed_cells(screening)
        done = relax_all(
            [cells[index] for index in todo],
            screening.relaxation,
            judge=judge,
            workers=screening.workers,
            time_limit=TIME_LIMIT,
        )
        for place, relaxed in done:
            yield {"index": todo[place], **relaxed.to_record()}

    def columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
        return _columns(judge, screening, answers)

    return Stage(
        f"second_judge_{judge.digest[:8]}",
        adds=COLUMNS,
        ask=ask,
        needs=("relax_status", "e_above_hull", "relaxed_duplicate_of", "relaxed_is_novel"),
        crystals=crystals,
        columns=columns,
    )


def _stable_unique_novel(table: "pandas.DataFrame") -> list[int]:
    """Indices of the crystals that count as S.U.N. by the first judge."""
    is_new = table["relaxed_duplicate_of"].notna() & is_true(table["relaxed_is_novel"])
    chosen = table[is_new & (table["e_above_hull"] <= STABLE)]
    return chosen.drop_duplicates("relaxed_duplicate_of").index.tolist()


def _columns(judge: Judge, screening: Screening, answers: Journal) -> "pandas.DataFrame":
    import pandas as pd

    assert screening.hull is not None
    before = relaxed_crystals(screening.journal(RELAXED.name))
    rows = []
    for index, one in relaxed_crystals(answers).items():
        row: dict[str, Any] = {
            "index": index,
            "second_initial_energy_per_atom": one.initial_energy_per_atom,
            "second_energy_per_atom": one.energy_per_atom,
            "second_status": one.status,
            "second_reason": reason_of(one, judge),
        }
        if one.cell is not None:
            energy = judge.formation_energy(one.cell, one.energy_per_atom)
            height = screening.hull.e_above_hull(one.cell.composition, energy)
            heights = [height, _height(screening, before[index])]
            row["second_formation_energy_per_atom"] = energy
            row["second_e_above_hull"] = height
            row["is_stable_by_both"] = (
                None if any(map(math.isnan, heights)) else max(heights) <= STABLE
            )
        rows.append(row)
    table = pd.DataFrame(rows, columns=["index", *COLUMNS]).set_index("index")
    return table.astype({**dict.fromkeys(ENERGIES, "float64"), "is_stable_by_both": "boolean"})


def _height(screening: Screening, relaxed: Relaxed) -> float:
    """Energy above the hull by the first judge, eV/atom."""
    assert screening.hull is not None and relaxed.cell is not None
    energy = screening.judge.formation_energy(relaxed.cell, relaxed.energy_per_atom)
    return screening.hull.e_above_hull(relaxed.cell.composition, energy)
