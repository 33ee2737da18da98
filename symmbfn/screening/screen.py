"""From crystals of any origin to one table of what each of them is worth.

A screening is a folder that can be stopped and resumed. `manifest.json` says what was asked for;
`stages/` keeps every answer of every stage as it comes. At the end they become
`per_structure.parquet`, one row for every crystal that was asked for, from which all rates are
counted.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import chgnet_judge
from symmbfn.evaluation.energies.matgl import MatglJudge
from symmbfn.evaluation.energies.mp_hulls import CHGNET, default_hull
from symmbfn.evaluation.energies.relaxation import RelaxationConfig
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.run_folder import only_process, open_folder, versions
from symmbfn.screening.reference import Reference
from symmbfn.screening.sources import read_candidates
from symmbfn.screening.stage import Screening, Stage, check_stages, run_stages
from symmbfn.screening.stages.band_gaps import BAND_GAPS
from symmbfn.screening.stages.compared import COMPARED, COMPARED_RELAXED
from symmbfn.screening.stages.judged import JUDGED
from symmbfn.screening.stages.judges import JUDGES
from symmbfn.screening.stages.relaxed import RELAXED

if TYPE_CHECKING:
    import pandas

# part of the manifest: raise it when the same settings give another table
FORMAT = 2
TABLE, STAGES = "per_structure.parquet", "stages"


@dataclass(frozen=True)
class ScreeningConfig:
    """What is asked of crystals.

    Args:
        reference: dataset whose crystals are known.
        symprec: tolerance at which its symmetry is read, angstrom; None takes its own.
        relax: "chgnet" relaxes them; None judges them as they are.
        relax_first: relax only so many from the start, None for all.
        keeps_space_group: relax within the space group.
        hull: file of entries for the convex hull; None takes the one of the data folder, see
            `default_hull`.
        has_judges: ask M3GNet and MEGNet about the relaxed crystals too; see `make judges`.

    Raises:
        ValueError: values that do not go together.
    """

    reference: str = "mp_20"
    symprec: float | None = None
    relax: str | None = None
    relax_first: int | None = None
    keeps_space_group: bool = False
    hull: str | Path | None = None
    has_judges: bool = False

    def __post_init__(self) -> None:
        relax, first = self.relax, self.relax_first
        if relax not in (None, "chgnet"):
            raise ValueError(f"relax must be 'chgnet' or left out, got {relax!r}")
        if first is not None and (relax is None or first < 1):
            raise ValueError(f"relax_first {first} needs a relaxation, and at least 1")
        needs_one = self.hull is not None or self.keeps_space_group or self.has_judges
        if relax is None and needs_one:
            raise ValueError("a hull, a kept space group and judges need a relaxation by 'chgnet'")

    def stages(self) -> list[Stage]:
        """The stages that answer it."""
        if self.relax is None:
            return [JUDGED, COMPARED]
        judges = [JUDGES] if self.has_judges else []
        return [JUDGED, COMPARED, RELAXED, BAND_GAPS, *judges, COMPARED_RELAXED]


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
    config: ScreeningConfig | None = None,
    *,
    own_stages: Sequence[Stage] = (),
    workers: int = 1,
    device: str = "cpu",
) -> "pandas.DataFrame":
    """Judge crystals one by one; a second call goes on with what the first one left.

    Args:
        source: see `read_candidates`.
        folder: new, empty, or of the same screening.
        config: what is asked; None takes the defaults.
        own_stages: further questions, asked after those of the config.
        workers: processes of one thread each.
        device: of the relaxation, "cpu" or "cuda".

    Returns:
        One row per crystal, as in `per_structure.parquet`; the columns are those of
        `symmbfn.evaluation.summary`, and of own stages.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
    """
    workers = whole_number("workers", workers)
    config = config or ScreeningConfig()
    stages = [*config.stages(), *own_stages]
    check_stages(stages)
    judge_versions = _judge_versions() if config.has_judges else {}
    hull = None
    if config.relax is not None:
        hull = default_hull() if config.hull is None else Hull.from_file(config.hull)
        hull.check_judge(CHGNET)
    folder = Path(folder)
    screening = Screening(
        candidates=read_candidates(source, workers=workers),
        known=Reference.load(config.reference, config.symprec),
        folder=folder / STAGES,
        relaxation=RelaxationConfig(keeps_space_group=config.keeps_space_group),
        relax_first=config.relax_first,
        judge=chgnet_judge(device),
        hull=hull,
        workers=workers,
    )
    facts = {"source_name": str(source), **_facts(screening, config), "judges": judge_versions}
    open_folder(folder, asdict(_settings(screening, config)), facts)
    with only_process(folder):
        table = run_stages(stages, screening).reset_index()
        with whole_file(folder / TABLE) as part:
            table.to_parquet(part)
    return table


def answers_of(folder: Path, stage: Stage) -> Journal:
    """What a stage answered in the folder of a screening."""
    return Journal(folder / STAGES / f"{stage.name}.jsonl")


def _judge_versions() -> dict[str, str]:
    """Start the judges once: what they lack is better known before the relaxations."""
    with MatglJudge() as judge:
        return judge.versions


def _settings(screening: Screening, config: ScreeningConfig) -> ScreeningSettings:
    return ScreeningSettings(
        source=screening.candidates.digest,
        reference=config.reference,
        known={split: data.digest for split, data in screening.known.splits.items()},
        relax=config.relax,
        relax_first=config.relax_first,
        keeps_space_group=config.keeps_space_group,
        hull=None if screening.hull is None else screening.hull.digest,
        has_judges=config.has_judges,
    )


def _facts(screening: Screening, config: ScreeningConfig) -> dict[str, Any]:
    """What a manifest keeps beside the settings."""
    facts: dict[str, Any] = {
        "source_facts": screening.candidates.facts,
        "symprec": config.symprec,
        "hull_name": None if screening.hull is None else screening.hull.name,
        "versions": versions("scipy", "chgnet"),
    }
    if config.relax is not None:
        judge = screening.judge
        model = {"model": judge.name, "weights": judge.digest, "device": judge.device}
        facts["relaxation"] = {**model, **asdict(screening.relaxation)}
        facts["references"] = judge.references.digest
    return facts
