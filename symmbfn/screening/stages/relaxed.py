"""Relaxed crystals, their energies, and how far these lie above the hull."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.relaxation import Relaxed, relax_all
from symmbfn.runtime.journal import Journal
from symmbfn.screening.sources import Candidate
from symmbfn.screening.stage import Answer, Screening, Stage, every_crystal

if TYPE_CHECKING:
    import pandas

TIME_LIMIT = 900.0  # seconds of wall time for one crystal
RELAXATION = (
    *("is_converged", "n_steps", "energy_per_atom", "initial_energy_per_atom", "max_force"),
    *("relax_seconds", "volume_change", "relax_status", "relax_reason"),
)
ABOVE_HULL = (
    *("formation_energy_per_atom", "hull_energy_per_atom", "is_covered", "knows_system"),
    *("n_phases", "decomposition", "has_predicted_phases"),
    *("e_above_hull", "e_above_hull_without_own", "e_above_hull_unfitted"),
)
TYPES = {
    **dict.fromkeys(("formation_energy_per_atom", "hull_energy_per_atom"), "float64"),
    **dict.fromkeys(("e_above_hull", "e_above_hull_without_own"), "float64"),
    "e_above_hull_unfitted": "float64",
    **dict.fromkeys(("relaxed_group", "n_phases"), "Int64"),
    **dict.fromkeys(("is_covered", "knows_system", "is_converged"), "boolean"),
    "has_predicted_phases": "boolean",
}


def relaxed_crystals(answers: Journal) -> dict[int, Relaxed]:
    """Relaxations by the index of their crystal, in its order.

    Args:
        answers: of the stage `RELAXED`.
    """
    return {row["index"]: Relaxed.from_record(row) for row in answers}


def relaxed_cells(screening: Screening) -> dict[int, Cell]:
    """Relaxed cells by the index of their crystal, of those that have one."""
    relaxed = relaxed_crystals(screening.journal(RELAXED.name))
    return {index: one.cell for index, one in relaxed.items() if one.cell is not None}


def relaxed_without_failure(screening: Screening, table: "pandas.DataFrame") -> list[int]:
    """Indices of the crystals that have a relaxed cell."""
    return table.index[table["relax_status"] == "ok"].tolist()


def _first_crystals(screening: Screening, table: "pandas.DataFrame") -> Sequence[int]:
    return every_crystal(screening, table)[: screening.relax_first]


def _ask(screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]) -> Iterator[Answer]:
    """Relax; what has no structure keeps its own status."""
    origins: dict[int, Cell | Crystal] = {}
    for row in (screening.candidates.rows[index] for index in todo):
        if row.cell is None or row.status != "ok":
            status = row.status if row.status != "ok" else "reconstruction_failed"
            yield {"index": row.index, **Relaxed(status, row.reason).to_record()}
        else:
            origins[row.index] = row.crystal or row.cell
    indices = list(origins)
    done = relax_all(
        list(origins.values()),
        screening.relaxation,
        judge=screening.judge,
        workers=screening.workers,
        time_limit=TIME_LIMIT,
    )
    for place, relaxed in done:
        yield {"index": indices[place], **relaxed.to_record()}


def _columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
    import pandas as pd

    assert screening.hull is not None
    rows = []
    for index, one in relaxed_crystals(answers).items():
        row = vars(one) | {"index": index, "relax_status": one.status}
        row["relax_reason"] = reason_of(one, screening.judge)
        if one.cell is not None:
            source = screening.candidates.rows[index]
            energy = screening.judge.formation_energy(one.cell, one.energy_per_atom)
            row |= above_hull(one.cell, energy, source, screening.hull)
            # by the paper's rule: energies less those of the elements, no fit
            unfitted = screening.judge.unfitted_energy(one.cell, one.energy_per_atom)
            height = screening.hull.e_above_hull(one.cell.composition, unfitted)
            row["e_above_hull_unfitted"] = height
            found = search_symmetry(one.cell, SYMPREC)
            row["relaxed_group"] = None if found is None else int(found.number)
        rows.append(row)
    table = pd.DataFrame(rows).set_index("index").rename(columns={"seconds": "relax_seconds"})
    # where nothing could be relaxed, no row has all of them
    return table.reindex(columns=[*RELAXED.adds]).astype(TYPES)


def reason_of(relaxed: Relaxed, judge: Judge) -> str:
    """Why a crystal has no structure, or no energy of formation; empty where it has both."""
    if relaxed.cell is None or not (unknown := judge.without_reference(relaxed.cell)):
        return relaxed.reason
    return f"no reference energy of {', '.join(unknown)} for {judge.name}"


def above_hull(cell: Cell, energy: float, source: Candidate, hull: Hull) -> dict[str, Any]:
    """Formation energy of a relaxed crystal and its distance from the hull, eV/atom.

    Args:
        cell: relaxed.
        energy: of formation, eV/atom.
        source: the crystal that was relaxed, whose own entry of the hull may be left out.
        hull: of formation energies.
    """
    composition = cell.composition
    point, own = hull.at(composition), source.own_phases
    return {
        "formation_energy_per_atom": energy,
        "hull_energy_per_atom": point.hull_energy_per_atom,
        "is_covered": point.is_covered,
        "knows_system": point.knows_system,
        "n_phases": point.n_phases,
        "decomposition": "; ".join(map(str, point.decomposition)),
        "has_predicted_phases": point.has_predicted_phases,
        "e_above_hull": hull.e_above_hull(composition, energy),
        "e_above_hull_without_own": hull.e_above_hull(composition, energy, exclude=own),
    }


RELAXED = Stage(
    "relaxed",
    adds=(*RELAXATION, *ABOVE_HULL, "relaxed_group"),
    ask=_ask,
    crystals=_first_crystals,
    columns=_columns,
)
