"""What a stage of a screening is, and the loop that runs a list of them.

A stage asks one question of each crystal. Its answers go into a journal of its own as they come,
so that a second call asks only what is missing, and become columns of the one table at the end.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge, chgnet_judge
from symmbfn.evaluation.energies.relaxation import RelaxationConfig
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.screening.reference import Reference
from symmbfn.screening.sources import Candidates

if TYPE_CHECKING:
    import pandas

Answer = dict[str, Any]  # "index" of the crystal, and values of JSON types


@dataclass(frozen=True)
class Screening:
    """What all stages of a screening share.

    Args:
        candidates: the crystals that are judged.
        known: those they are compared with.
        folder: of the journals.
        relaxation: how crystals are relaxed.
        relax_first: how many from the start are relaxed, None for all.
        judge: whose potential relaxes them and whose energies are compared with the hull.
        hull: that energies are compared with, None without relaxation.
        workers: processes of one thread each.
    """

    candidates: Candidates
    known: Reference
    folder: Path
    relaxation: RelaxationConfig = field(default_factory=RelaxationConfig)
    relax_first: int | None = None
    judge: Judge = field(default_factory=chgnet_judge)
    hull: Hull | None = None
    workers: int = 1
    _journals: dict[str, Journal] = field(default_factory=dict, init=False, repr=False)

    def journal(self, stage: str) -> Journal:
        """The answers of a stage, by its name."""
        if stage not in self._journals:
            self._journals[stage] = Journal(self.folder / f"{stage}.jsonl")
        return self._journals[stage]


def every_crystal(screening: Screening, table: "pandas.DataFrame") -> Sequence[int]:
    """Indices of all crystals."""
    return range(len(screening.candidates))


@dataclass(frozen=True)
class Stage:
    """One question asked of the crystals of a screening.

    Args:
        name: of the stage and of its journal; another question needs another name.
        adds: columns that it adds to the table.
        ask: from the screening, the table so far and the indices of the crystals without answer
            to their answers, as they come; other crystals may be answered too.
        needs: columns of stages before it.
        crystals: from the screening and the table so far to the indices of the crystals that it
            is asked about.
        columns: from the screening and all answers to the columns, indexed by crystal; None takes
            the values of the answers.
    """

    name: str
    adds: tuple[str, ...]
    ask: Callable[[Screening, "pandas.DataFrame", Sequence[int]], Iterable[Answer]]
    needs: tuple[str, ...] = ()
    crystals: Callable[[Screening, "pandas.DataFrame"], Sequence[int]] = every_crystal
    columns: Callable[[Screening, Journal], "pandas.DataFrame"] | None = None

    def table(self, screening: Screening, answers: Journal) -> "pandas.DataFrame":
        """What the answers come to: the columns that the stage adds, in their order.

        Raises:
            ValueError: one of them is missing.
        """
        import pandas as pd

        if self.columns is None:
            found = pd.DataFrame(list(answers), columns=None if len(answers) else ["index"])
            found = found.set_index("index")
        else:
            found = self.columns(screening, answers)
        if len(found) and (missing := [name for name in self.adds if name not in found]):
            raise ValueError(f"stage {self.name!r} does not give {', '.join(missing)}")
        return found.reindex(columns=[*self.adds])


def check_stages(stages: Sequence[Stage]) -> None:
    """Make sure, before any work, that a list of stages fits together.

    Raises:
        ValueError: two of one name, a column that is missing, or one that is added twice.
    """
    names: set[str] = set()
    there: set[str] = set()
    for stage in stages:
        if stage.name in names:
            raise ValueError(f"two stages are called {stage.name!r}")
        if missing := [name for name in stage.needs if name not in there]:
            raise ValueError(
                f"stage {stage.name!r} needs {', '.join(missing)}, which no stage before it adds"
            )
        if twice := [name for name in stage.adds if name in there]:
            raise ValueError(f"stage {stage.name!r} adds {', '.join(twice)} a second time")
        names.add(stage.name)
        there.update(stage.adds)


def run_stages(stages: Sequence[Stage], screening: Screening) -> "pandas.DataFrame":
    """Run stages one after the other, asking only what their journals do not hold yet.

    Returns:
        One row for each crystal, by its index; the columns in the order of the stages.

    Raises:
        ValueError: see `check_stages`; or a stage does not give what it says.
    """
    import pandas as pd

    check_stages(stages)
    table = pd.DataFrame(index=pd.RangeIndex(len(screening.candidates), name="index"))
    for stage in stages:
        answers = screening.journal(stage.name)
        asked = stage.crystals(screening, table)
        todo = [index for index in asked if index not in answers]
        if todo:
            found = stage.ask(screening, table, todo)
            for answer in progress(found, total=len(todo), label=stage.name):
                answers.add(answer)
        found = stage.table(screening, answers)
        # another call may have asked about more crystals than this one does
        table = table.join(found[found.index.isin(asked)])
    return table
