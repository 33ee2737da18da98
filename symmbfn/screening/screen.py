"""From crystals of any origin to one table of what each of them is worth.

A screening is a folder that can be stopped and resumed. `manifest.json` says what was asked for;
`stages/` keeps every judgement and every relaxation as it comes. At the end they become
`per_structure.parquet`, one row for every crystal that was asked for, from which all rates are
counted.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.hull import Hull, open_hull
from symmbfn.evaluation.energies.labels import POTENTIAL
from symmbfn.evaluation.energies.matgl import MatglJudge
from symmbfn.evaluation.energies.references import chgnet_references
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.run_folder import only_process, open_folder, versions
from symmbfn.screening.sources import read_candidates
from symmbfn.screening.stages import (
    Reference,
    compared_table,
    judged_table,
    properties_table,
    relax_candidates,
    relaxed_table,
    second_opinions,
)

if TYPE_CHECKING:
    import pandas

# part of the manifest: raise it when the same settings give another table
FORMAT = 2
TABLE, STAGES = "per_structure.parquet", "stages"
JUDGED, RELAXED = "judged.jsonl", "relaxed.jsonl"


@dataclass(frozen=True)
class ScreeningSettings:
    """What decides the content of a screening's folder.

    Attributes:
        source: digest of the crystals.
        reference: dataset whose crystals are known.
        known: digest of each of its splits.
        relax: "chgnet" or None.
        relax_first: how many of the crystals are relaxed, None for all.
        keeps_space_group: whether a relaxation may not lower the symmetry.
        hull: digest of the convex hull, or None.
        has_judges: whether M3GNet and MEGNet are asked.
        format: of the folder.
    """

    source: str
    reference: str
    known: dict[str, str]
    relax: str | None
    relax_first: int | None
    keeps_space_group: bool
    hull: str | None
    has_judges: bool
    format: int = FORMAT


def screen(
    source: str | Path,
    folder: str | Path,
    *,
    reference: str = "mp_20",
    symprec: float | None = None,
    relax: str | None = None,
    relax_first: int | None = None,
    keeps_space_group: bool = False,
    hull: str | Path | None = None,
    has_judges: bool = False,
    workers: int = 1,
    device: str = "cpu",
) -> "pandas.DataFrame":
    """Judge crystals one by one; a second call goes on with what the first one left.

    Args:
        source: see `read_candidates`.
        folder: new, empty, or of the same screening.
        reference: dataset whose crystals are known.
        symprec: tolerance at which its symmetry is read, angstrom; None takes its own.
        relax: "chgnet" relaxes them; None judges them as they are.
        relax_first: relax only so many from the start, None for all.
        keeps_space_group: relax within the space group.
        hull: file of entries for the convex hull; None takes the one from the data folder.
        has_judges: ask M3GNet and MEGNet about the relaxed crystals too; see `make judges`.
        workers: processes of one thread each.
        device: of the relaxation, "cpu" or "cuda".

    Returns:
        One row per crystal, as in `per_structure.parquet`; the columns are those of
        `symmbfn.evaluation.summary`.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
    """
    workers = whole_number("workers", workers)
    if relax not in (None, "chgnet"):
        raise ValueError(f"relax must be 'chgnet' or left out, got {relax!r}")
    if relax_first is not None and (relax is None or relax_first < 1):
        raise ValueError(f"relax_first {relax_first} needs a relaxation, and at least 1")
    if relax is None and (hull is not None or keeps_space_group or has_judges):
        raise ValueError("a hull, a kept space group and judges need a relaxation by 'chgnet'")
    judge_versions: dict[str, str] = {}
    if has_judges:
        with MatglJudge() as judge:  # it would be a pity to learn it after the relaxations
            judge_versions = judge.versions
    phases = None
    if relax is not None:
        phases = open_hull() if hull is None else Hull.from_file(hull)
    candidates = read_candidates(source, workers=workers)
    known = Reference.load(reference, symprec)
    settings = ScreeningSettings(
        source=candidates.digest,
        reference=reference,
        known={split: data.digest for split, data in known.splits.items()},
        relax=relax,
        relax_first=relax_first,
        keeps_space_group=keeps_space_group,
        hull=None if phases is None else phases.digest,
        has_judges=has_judges,
    )
    folder = Path(folder)
    facts = {
        "source_name": str(source),
        "source_facts": candidates.facts,
        "symprec": symprec,
        "hull_name": None if phases is None else phases.name,
        "versions": versions("scipy", "chgnet"),
        "judges": judge_versions,
    }
    config = RelaxationConfig(keeps_space_group=keeps_space_group)
    if relax is not None:
        facts["relaxation"] = {"model": f"CHGNet {POTENTIAL}", "device": device, **asdict(config)}
        facts["references"] = chgnet_references().digest
    open_folder(folder, asdict(settings), facts)
    with only_process(folder):
        stages = folder / STAGES
        table = judged_table(candidates, Journal(stages / JUDGED), workers)
        # what is no crystal is no copy of one, and none is a copy of it
        is_crystal = (table["status"] == "ok").tolist()
        cells = [
            row.primitive_cell if ok else None
            for row, ok in zip(candidates.rows, is_crystal, strict=True)
        ]
        table = table.join(
            compared_table(cells, known, Journal(stages / "compared.jsonl"), workers)
        )
        if phases is not None:
            chosen = candidates.rows[:relax_first]
            journal = Journal(stages / RELAXED)
            relax_candidates(chosen, config, journal, workers=workers, device=device)
            relaxed = relaxed_crystals(journal)
            table = table.join(relaxed_table(relaxed, candidates, phases))
            journal = Journal(stages / "described.jsonl")
            table = table.join(properties_table(relaxed, journal, workers))
            if has_judges:
                journal = Journal(stages / "judges.jsonl")
                table = table.join(second_opinions(relaxed, journal))
            cells = [relaxed[row.index].cell for row in chosen]
            journal = Journal(stages / "compared_relaxed.jsonl")
            table = table.join(
                compared_table(cells, known, journal, workers).add_prefix("relaxed_")
            )
        with whole_file(folder / TABLE) as part:
            table.reset_index().to_parquet(part)
    return table.reset_index()


def relaxed_crystals(journal: Journal) -> dict[int, Relaxed]:
    """Relaxations of a screening by the index of their crystal."""
    return {row["index"]: Relaxed.from_record(row) for row in journal}
