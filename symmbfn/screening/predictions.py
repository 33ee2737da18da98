"""Predicted structures: relaxed in their space groups, ranked by energy, written as files."""

import math
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.conditions.sites import template_of
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge, judge_of
from symmbfn.evaluation.energies.mp_hulls import hull_for
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed, relax_all
from symmbfn.evaluation.similarity.matching import find_duplicates
from symmbfn.generation.structure_prediction import NETWORK, Prediction, predict_structures
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import write_whole
from symmbfn.screening.shortlist import conventional

if TYPE_CHECKING:
    import pandas

TABLE = "predictions.csv"
NAN = float("nan")


@dataclass(frozen=True)
class RankedPrediction:
    """One draw for a composition, and where it stands among the others.

    Attributes:
        formula: as it was asked for.
        draw: number of the draw for this formula, from 1.
        rank: among the different structures of the formula, 1 for the best; None for a copy of a
            better one and for what has no structure.
        status, reason: "ok", or why there is no structure.
        cell: the structure, relaxed where it was ranked by energy; None without one.
        space_group_number: that is found in it at 0.1 angstrom.
        template: letters and elements of the sites it was made with; empty without a structure.
        source: "network", or name and formula of the known crystal whose template it has.
        probability: of this template among those of known crystals; None for "network".
        formation_energy_per_atom: eV; NaN where it was not ranked by energy.
        e_above_hull: eV/atom; NaN as well without the data folder, which has the hull.
        copy_of: draw whose structure it repeats.
    """

    formula: str
    draw: int
    rank: int | None
    status: str
    reason: str
    cell: Cell | None
    space_group_number: int | None
    template: str
    source: str
    probability: float | None
    formation_energy_per_atom: float = NAN
    e_above_hull: float = NAN
    copy_of: int | None = None


def predict(
    formula: str | Sequence[str],
    *,
    atoms: int | None = None,
    space_group_number: Any = None,
    draws: int = 20,
    rank: str | None = None,
    seed: int = 0,
    weights: str = "default",
    workers: int = 1,
    **settings: Any,
) -> list[RankedPrediction]:
    """The likely structures of one or several compositions.

    Args:
        formula: such as "LiFePO4", or several.
        atoms: of the primitive cell; None for any number that training crystals have.
        space_group_number: groups to choose from, as in a `Request`; None for all.
        draws: structures to make for each formula.
        rank: judge that relaxes them within their groups and ranks them by energy, see `judge_of`;
            None leaves them as they are, likely templates first.
        seed: of the noise.
        weights: name of shipped weights or a model folder, with templates beside them.
        workers: processes that relax and compare.
        settings: of `generate`.

    Returns:
        All draws; those of each formula by rank, then those without one.

    Raises:
        ValueError: a formula that no crystal of the model can have, and why; an unknown judge.
    """
    workers = whole_number("workers", workers)
    judge = None if rank is None else judge_of(rank, workers=workers)
    # energies of one composition can be ranked without a hull
    hull = hull_for(judge) if judge is not None and os.environ.get("SYMMBFN_DATA") else None
    found = predict_structures(
        formula,
        atoms=atoms,
        space_group_number=space_group_number,
        draws=draws,
        seed=seed,
        weights=weights,
        **settings,
    )
    rows = list(_as_made(found))
    if judge is not None:
        places = [place for place, row in enumerate(rows) if row.cell is not None]
        crystals = [found[place].crystal for place in places]
        config = RelaxationConfig(keeps_space_group=True)
        for number, relaxed in relax_all(crystals, config, judge=judge, workers=workers):
            place = places[number]
            rows[place] = _relaxed(rows[place], relaxed, judge, hull)
    return list(_ranked(rows, workers))


def _as_made(found: Sequence[Prediction]) -> Iterator[RankedPrediction]:
    count: defaultdict[str, int] = defaultdict(int)
    for one in found:
        count[one.draw.formula] += 1
        crystal = one.crystal
        is_there = crystal.status == "ok"
        cell = Cell.of(crystal, primitive=True) if is_there else None
        yield RankedPrediction(
            one.draw.formula,
            count[one.draw.formula],
            None,
            crystal.status,
            crystal.reason,
            cell,
            None if cell is None else _group(cell),
            str(template_of(crystal.unit)) if is_there else "",
            one.draw.source,
            one.draw.probability,
        )


def _relaxed(
    row: RankedPrediction, relaxed: Relaxed, judge: Judge, hull: Hull | None
) -> RankedPrediction:
    """The row with its relaxed cell and the energies of that."""
    row = replace(
        row,
        status=relaxed.status,
        reason=relaxed.reason,
        cell=relaxed.cell,
        space_group_number=None if relaxed.cell is None else _group(relaxed.cell),
    )
    if row.cell is None:
        return row
    energy = judge.formation_energy(row.cell, relaxed.energy_per_atom)
    height = NAN if hull is None else hull.e_above_hull(row.cell.composition, energy)
    return replace(row, formation_energy_per_atom=energy, e_above_hull=height)


def _group(cell: Cell) -> int | None:
    found = search_symmetry(cell, SYMPREC)
    return None if found is None else int(found.number)


def _ranked(rows: Sequence[RankedPrediction], workers: int) -> Iterator[RankedPrediction]:
    """Rows of each formula in order, structures that match an earlier one without a rank."""
    for formula in dict.fromkeys(row.formula for row in rows):
        mine = [row for row in rows if row.formula == formula]
        # without energies the order of the draws stays
        mine.sort(key=_order)
        copies = find_duplicates([row.cell for row in mine], workers=workers)
        n_ranked, later = 0, []
        for place, (row, copy) in enumerate(zip(mine, copies, strict=True)):
            if row.cell is None:
                later.append(row)
            elif copy.first not in (None, place):
                later.append(replace(row, copy_of=mine[copy.first].draw))
            else:
                n_ranked += 1
                yield replace(row, rank=n_ranked)
        yield from later


def _order(row: RankedPrediction) -> tuple[bool, float]:
    energy = row.formation_energy_per_atom
    return row.cell is None, math.inf if math.isnan(energy) else energy


def predictions_table(predictions: Sequence[RankedPrediction]) -> "pandas.DataFrame":
    """All but the structures, one row a draw."""
    import pandas as pd

    names = [name for name in RankedPrediction.__dataclass_fields__ if name != "cell"]
    table = pd.DataFrame([{name: getattr(one, name) for name in names} for one in predictions])
    whole = dict.fromkeys(("rank", "space_group_number", "copy_of"), "Int64")
    return table.astype(whole)


def said(predictions: Sequence[RankedPrediction], n_shown: int = 3) -> str:
    """The best structures of each formula, and how many there are, as lines for people."""
    lines = []
    for formula in dict.fromkeys(one.formula for one in predictions):
        mine = [one for one in predictions if one.formula == formula]
        ranked = [one for one in mine if one.rank is not None]
        n_copies = sum(one.copy_of is not None for one in mine)
        n_failed = sum(one.cell is None for one in mine)
        lines.append(
            f"{formula}: {len(mine)} draws, {len(ranked)} structures, {n_copies} copies, "
            f"{n_failed} without a structure"
        )
        for one in ranked[:n_shown]:
            height, energy = one.e_above_hull, ""
            if not math.isnan(height):
                energy = f", {height:+.3f} eV/atom from the hull"
            elif not math.isnan(one.formation_energy_per_atom):
                energy = f", formation energy {one.formation_energy_per_atom:.3f} eV/atom"
            origin = "by the network" if one.source == NETWORK else f"as in {one.source}"
            lines.append(f"  {one.rank}. {one.template}, {origin}{energy}")
    return "\n".join(lines)


def check_new(folder: Path) -> None:
    """Refuse a folder that holds something.

    Raises:
        ValueError: it does.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ValueError(f"{folder} exists and is not an empty folder")


def write_predictions(folder: Path, predictions: Sequence[RankedPrediction]) -> Path:
    """Write `predictions.csv`, and a CIF of the conventional cell for each ranked structure.

    Args:
        folder: new or empty.
        predictions: of `predict`.

    Returns:
        Path of the table, whose column `file` names the CIFs.

    Raises:
        ValueError: the folder holds something already.
    """
    from pymatgen.io.cif import CifWriter

    check_new(folder)
    table = predictions_table(predictions)
    table["file"] = ""
    for place, one in enumerate(predictions):
        if one.rank is None or one.cell is None:
            continue
        name = f"{one.formula}-{one.rank:03d}.cif"
        structure = conventional(one.cell).to_pymatgen()
        write_whole(folder / name, str(CifWriter(structure, symprec=SYMPREC)), is_durable=False)
        table.loc[place, "file"] = name
    write_whole(folder / TABLE, table.round(6).to_csv(index=False))
    return folder / TABLE
