"""Phases for a hull of one's own: formation energies of any structures by a potential."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.entries import SOURCE_COLUMN, composition_from_formula
from symmbfn.evaluation.energies.judge import Judge, judge_of
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

    The elements count from the references of the judge, which are fitted to DFT, so that these
    phases may lie beside DFT's, and `evaluate --relax` with the same judge counts alike.

    Args:
        source: see `read_candidates`.
        out: Parquet file, new or of the same call.
        potential: see `judge_of`.
        is_relaxed: relax the structures first; else their energies are taken as they stand.
        workers: processes of one thread each.

    Returns:
        One row a structure: `id`, `formula`, `energy_per_atom`, corrected where the judge
        corrects, and `formation_energy_per_atom`, eV, `energy_source`, and `reason`, empty where
        there is an energy. Its `attrs`, which the file holds too, name the potential and the
        digest of what was asked.

    Raises:
        ValueError: `out` is no name of a Parquet file or holds something else; or as `judge_of`.
    """
    workers = whole_number("workers", workers)
    if out.suffix != ".parquet" or out.is_dir():
        raise ValueError(f"out must be a file that ends in .parquet, got {str(out)!r}")
    judge = judge_of(potential, workers=workers)
    candidates = read_candidates(source, workers=workers)
    asked = [candidates.digest, judge.name, judge.digest, is_relaxed, judge.references.energies]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    if (done := _written(out, digest)) is not None:
        return done
    journal = Journal(out.with_name(f"{out.stem}-{digest[:8]}.jsonl"))
    config = RelaxationConfig() if is_relaxed else AS_THEY_STAND
    todo = [row.index for row in candidates.rows if row.index not in journal]
    found = _ask(candidates, todo, judge, config, workers)
    for row in progress(found, total=len(todo), label=out.stem):
        journal.add(row)
    table = _table(candidates, journal, judge)
    table.attrs = {"potential": judge.name, "digest": digest, "is_relaxed": is_relaxed}
    with whole_file(out) as part:
        table.to_parquet(part, index=False)
    journal.path.unlink(missing_ok=True)
    return table


def _ask(
    candidates: Candidates, todo: list[int], judge: Judge, config: RelaxationConfig, workers: int
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
        outcome = _outcome(judge, relaxed, is_relaxed=config.max_steps > 0)
        yield {"index": indices[place], **outcome}


def _outcome(judge: Judge, relaxed: Relaxed, *, is_relaxed: bool) -> dict:
    """Energy of a structure, or why there is none; one that moves on has not arrived."""
    reason = relaxed.reason or ("" if relaxed.status == "ok" else relaxed.status)
    if is_relaxed and relaxed.status == "ok" and not relaxed.is_converged:
        reason = f"not relaxed after {relaxed.n_steps} steps"
    if reason or relaxed.cell is None:
        return {"energy_per_atom": None, "reason": reason}
    energy = judge.total_energy(relaxed.cell, relaxed.energy_per_atom)
    return {"energy_per_atom": energy, "reason": ""}


def _table(candidates: Candidates, journal: Journal, judge: Judge) -> "pandas.DataFrame":
    import pandas as pd

    rows = []
    for answer, row in zip(journal, candidates.rows, strict=True):
        energy, reason, formation = answer["energy_per_atom"], answer["reason"], None
        formula = "" if row.cell is None else row.cell.formula
        if energy is not None:
            composition = composition_from_formula(formula)
            formation = judge.references.formation_energy(composition, energy)
            if missing := sorted(composition.keys() - judge.references.energies.keys()):
                reason = f"no reference energy of {', '.join(missing)}"
        rows.append((row.name, formula, energy, formation, judge.name, reason))
    types = {"energy_per_atom": "float64", "formation_energy_per_atom": "float64"}
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(types)


def _written(out: Path, digest: str) -> "pandas.DataFrame | None":
    """What an earlier call of the same wrote, if it did."""
    import pandas as pd

    if not out.exists():
        return None
    table = pd.read_parquet(out)
    if table.attrs.get("digest") != digest:
        raise ValueError(f"{str(out)!r} holds something else: nothing is overwritten")
    return table
