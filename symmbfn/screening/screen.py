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
from symmbfn.evaluation.energies.judge import Judge, check_judge_name, chgnet_judge, judge_of
from symmbfn.evaluation.energies.matgl import MatglJudge
from symmbfn.evaluation.energies.mp_hulls import hull_for
from symmbfn.evaluation.energies.relaxation import RelaxationConfig
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.run_folder import only_process, open_folder, replace_facts, versions
from symmbfn.screening.reference import Reference
from symmbfn.screening.sources import read_candidates
from symmbfn.screening.stage import Screening, Stage, check_stages, run_stages
from symmbfn.screening.stages.band_gaps import BAND_GAPS
from symmbfn.screening.stages.compared import COMPARED, COMPARED_RELAXED
from symmbfn.screening.stages.judged import JUDGED
from symmbfn.screening.stages.judges import JUDGES
from symmbfn.screening.stages.relaxed import RELAXED
from symmbfn.screening.stages.second_judge import second_judge

if TYPE_CHECKING:
    import pandas

# part of the manifest: raise it when the same settings give other answers
FORMAT = 2
TABLE_SETTINGS = ("relax_first", "hull", "has_judges")  # once among the settings
TABLE, STAGES = "per_structure.parquet", "stages"


@dataclass(frozen=True)
class ScreeningConfig:
    """What is asked of crystals.

    The reference, the judge and `keeps_space_group` decide the answers that a folder keeps, and
    cannot change between two calls. All else decides the table alone.

    Args:
        reference: dataset whose crystals are known.
        symprec: tolerance at which its symmetry is read, angstrom; None takes its own.
        relax: judge that relaxes them and gives their energies, see `judge_of`; None judges them
            as they are.
        relax_first: relax only so many from the start, None for all.
        keeps_space_group: relax within the space group.
        hull: file of entries for the convex hull; None takes the one of the data folder, see
            `hull_for`.
        has_judges: ask M3GNet and MEGNet about the relaxed crystals too; see `make judges`.
        second_judge: another judge, asked about the relaxed crystals too.
        second_first: ask it about so many from the start, and all that are stable, unique and
            novel by the first judge; None for all.

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
    second_judge: str | None = None
    second_first: int | None = None

    def __post_init__(self) -> None:
        for name in filter(None, (self.relax, self.second_judge)):
            check_judge_name(name)
        for what, n, needed in (
            ("relax_first", self.relax_first, self.relax),
            ("second_first", self.second_first, self.second_judge),
        ):
            if n is not None and (needed is None or n < 1):
                raise ValueError(f"{what} {n} needs a judge that is asked, and at least 1")
        others = self.hull, self.keeps_space_group or None, self.has_judges or None
        if self.relax is None and any(one is not None for one in (*others, self.second_judge)):
            raise ValueError("a hull, a kept space group and further judges need a relaxation")
        if self.second_judge is not None and self.second_judge == self.relax:
            raise ValueError(f"the second judge must be another one than {self.relax!r}")

    def stages(self, second: Judge | None = None) -> list[Stage]:
        """The stages that answer it.

        Args:
            second: the second judge, made.
        """
        if self.relax is None:
            return [JUDGED, COMPARED]
        judges = [JUDGES] if self.has_judges else []
        seconds = [] if second is None else [second_judge(second, self.second_first)]
        return [JUDGED, COMPARED, RELAXED, BAND_GAPS, *judges, COMPARED_RELAXED, *seconds]


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
    workers, folder = whole_number("workers", workers), Path(folder)
    config = config or ScreeningConfig()
    judge_versions = _judge_versions() if config.has_judges else {}
    judge = judge_of(config.relax or "chgnet", workers=workers, device=device)
    second = None if config.second_judge is None else judge_of(config.second_judge, workers=workers)
    stages = [*config.stages(second), *own_stages]
    check_stages(stages)
    screening = Screening(
        candidates=read_candidates(source, workers=workers),
        known=Reference.load(config.reference, config.symprec, workers=workers),
        folder=folder / STAGES,
        relaxation=RelaxationConfig(keeps_space_group=config.keeps_space_group),
        relax_first=config.relax_first,
        judge=judge,
        hull=_hull(config, judge, second),
        workers=workers,
    )
    settings = _settings(screening, config)
    facts = {"source_name": str(source), **_facts(screening, config, second)}
    facts["judges"] = judge_versions
    open_folder(folder, settings, facts, renew=_renewed)
    with only_process(folder):
        replace_facts(folder, settings, facts)
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


def _hull(config: ScreeningConfig, judge: Judge, second: Judge | None) -> Hull | None:
    """The hull that energies are compared with, None where there are none.

    Raises:
        ValueError: it has phases of another potential than the judge.
    """
    if config.relax is None:
        return None
    if config.hull is None:
        hull = hull_for(judge)
    else:
        hull = Hull.from_file(config.hull)
        hull.check_judge(judge.name)
    if second is not None:
        # asked beside the first one, of the same hull, so that one thing differs and not two
        hull.check_judge(second.name, is_tied_to_dft=True)
    return hull


def _settings(screening: Screening, config: ScreeningConfig) -> dict[str, Any]:
    """What decides the answers in a screening's folder, and so cannot change."""
    return {
        "source": screening.candidates.digest,
        "reference": config.reference,
        "known": {split: data.digest for split, data in screening.known.splits.items()},
        "relax": config.relax,
        "weights": None if config.relax is None else screening.judge.digest,
        "keeps_space_group": config.keeps_space_group,
        "format": FORMAT,
    }


def _renewed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a folder from before they were those of the answers alone."""
    if "weights" in settings:
        return settings
    kept = {name: value for name, value in settings.items() if name not in TABLE_SETTINGS}
    return {**kept, "weights": chgnet_judge().digest if kept.get("relax") else None}


def _facts(screening: Screening, config: ScreeningConfig, second: Judge | None) -> dict[str, Any]:
    """What this call asked for beside the settings, and what it was answered with."""
    facts: dict[str, Any] = {
        "source_facts": screening.candidates.facts,
        "symprec": config.symprec,
        "relax_first": config.relax_first,
        "has_judges": config.has_judges,
        "hull_name": None if screening.hull is None else screening.hull.name,
        "hull": None if screening.hull is None else screening.hull.digest,
        "hull_sources": [] if screening.hull is None else sorted(screening.hull.sources),
        "versions": versions("scipy", "chgnet", "sevenn"),
    }
    if config.relax is not None:
        judge = screening.judge
        model = {"model": judge.name, "weights": judge.digest, "device": judge.device}
        facts["relaxation"] = {**model, **asdict(screening.relaxation)}
        facts["references"] = judge.references.facts
    if second is not None:
        facts["second_judge"] = second.name
        facts["second_weights"] = second.digest
        facts["second_references"] = second.references.facts
        facts["second_first"] = config.second_first
    return facts
