"""Phases for a hull of one's own: formation energies of any structures by a potential."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.entries import (
    SOURCE_COLUMN,
    Total,
    composition_from_formula,
    lowest_elements,
)
from symmbfn.evaluation.energies.judge import NAMES, Judge, check_judge, judge_of
from symmbfn.evaluation.energies.own_judge import without_references
from symmbfn.evaluation.energies.references import ElementReferences
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed, relax_all
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.screening.sources import Candidates, read_candidates

if TYPE_CHECKING:
    import pandas

COLUMNS = ("id", "formula", "energy_per_atom", "formation_energy_per_atom", SOURCE_COLUMN, "reason")
AS_THEY_STAND = RelaxationConfig(max_steps=0)


def write_phases(
    source: str | Path,
    out: Path,
    potential: str = "chgnet",
    *,
    is_relaxed: bool = False,
    workers: int = 1,
) -> "pandas.DataFrame":
    """Write the formation energies of structures as a file that `read_entries` takes for a hull.

    What a stopped call leaves in the `.jsonl` beside the file, the next one goes on with.

    Elements count from the references that the package ships for CHGNet and SevenNet, so that
    these phases may lie beside DFT's; with a potential of the user from its own lowest energy of
    each pure element among the structures.

    Args:
        source: see `read_candidates`.
        out: Parquet file, new or of the same call.
        potential: "chgnet", "sevennet" or "module:factory", see `judge_of`.
        is_relaxed: relax the structures first; else their energies are taken as they stand.
        workers: processes of one thread each.

    Returns:
        One row a structure: `id`, `formula`, `energy_per_atom` and `formation_energy_per_atom`,
        eV, `energy_source`, and `reason`, empty where there is an energy. Its `attrs`, which the
        file holds too, name the potential and the digest of what was asked.

    Raises:
        ValueError: `out` is no name of a Parquet file or holds something else, there is no such
            potential, or an element without structure of its own to count from.
    """
    workers = whole_number("workers", workers)
    if out.suffix != ".parquet" or out.is_dir():
        raise ValueError(f"out must be a file that ends in .parquet, got {str(out)!r}")
    judge = _judge(potential)
    has_references = bool(judge.references.energies)
    candidates = read_candidates(source, workers=workers)
    asked = [candidates.digest, judge.name, judge.digest, is_relaxed, judge.references.energies]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    if (done := _written(out, digest)) is not None:
        return done
    if not has_references:
        _check_elements(candidates)
    journal = Journal(out.with_name(f"{out.stem}-{digest[:8]}.jsonl"))
    config = RelaxationConfig() if is_relaxed else AS_THEY_STAND
    todo = [row.index for row in candidates.rows if row.index not in journal]
    answers = _ask(candidates, todo, config, judge, workers)
    for row in progress(answers, total=len(todo), label=out.stem):
        journal.add(row)
    table = _table(candidates, journal, judge)
    table.attrs = {"potential": judge.name, "digest": digest, "is_relaxed": is_relaxed}
    with whole_file(out) as part:
        table.to_parquet(part, index=False)
    journal.path.unlink(missing_ok=True)
    return table


def _judge(potential: str) -> Judge:
    """The judge of a name; one of the user's has no references, and takes its own elements."""
    check_judge(potential)
    return judge_of(potential) if potential in NAMES else without_references(potential)


def _ask(
    candidates: Candidates, todo: list[int], config: RelaxationConfig, judge: Judge, workers: int
) -> Iterator[dict]:
    """Energies as they come, and the reasons of those that have no structure."""
    cells = {}
    for row in (candidates.rows[index] for index in todo):
        if row.cell is None or row.status != "ok":
            yield {"index": row.index, "energy_per_atom": None, "reason": row.reason or row.status}
        else:
            cells[row.index] = row.crystal or row.cell
    indices = list(cells)
    for place, relaxed in relax_all(list(cells.values()), config, judge=judge, workers=workers):
        found = _outcome(relaxed, judge, is_relaxed=config.max_steps > 0)
        yield {"index": indices[place], **found}


def _outcome(relaxed: Relaxed, judge: Judge, *, is_relaxed: bool) -> dict:
    """Energy of a structure, or why there is none; one that moves on has not arrived."""
    reason = relaxed.reason or ("" if relaxed.status == "ok" else relaxed.status)
    if is_relaxed and relaxed.status == "ok" and not relaxed.is_converged:
        reason = f"not relaxed after {relaxed.n_steps} steps"
    energy = None
    if not reason and relaxed.cell is not None:
        energy = judge.total_energy(relaxed.cell, relaxed.energy_per_atom)
    return {"energy_per_atom": energy, "reason": reason}


def _table(candidates: Candidates, journal: Journal, judge: Judge) -> "pandas.DataFrame":
    import pandas as pd

    formulas = ["" if row.cell is None else row.cell.formula for row in candidates.rows]
    compositions = [composition_from_formula(one) if one else {} for one in formulas]
    energies = [row["energy_per_atom"] for row in journal]
    name, references = judge.name, judge.references
    if not references.energies:
        pairs = zip(candidates.rows, compositions, energies, strict=True)
        totals = [Total(row.name, c, energy) for row, c, energy in pairs if energy is not None]
        references = ElementReferences(lowest_elements(totals), potential=name)
    rows = []
    for answer, row in zip(journal, candidates.rows, strict=True):
        composition, energy, reason = compositions[row.index], energies[row.index], answer["reason"]
        formation = None
        if energy is not None:
            formation = references.formation_energy(composition, energy)
            if missing := sorted(composition.keys() - references.energies.keys()):
                reason = f"no reference energy of {', '.join(missing)}"
        rows.append((row.name, formulas[row.index], energy, formation, name, reason))
    types = {"energy_per_atom": "float64", "formation_energy_per_atom": "float64"}
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(types)


def _check_elements(candidates: Candidates) -> None:
    """Before the work: every element has a structure of its own."""
    cells = [row.cell for row in candidates.rows if row.cell is not None and row.status == "ok"]
    systems = [set(cell.composition) for cell in cells]
    alone = {symbol for system in systems if len(system) == 1 for symbol in system}
    if missing := sorted(set().union(*systems) - alone):
        raise ValueError(
            f"no structure of the pure elements {', '.join(missing)} to count energies from"
        )


def _written(out: Path, digest: str) -> "pandas.DataFrame | None":
    """What an earlier call of the same wrote, if it did."""
    import pandas as pd

    if not out.exists():
        return None
    table = pd.read_parquet(out)
    if table.attrs.get("digest") != digest:
        raise ValueError(f"{str(out)!r} holds something else: nothing is overwritten")
    return table
