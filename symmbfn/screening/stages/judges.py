"""What M3GNet and MEGNet say of the relaxed crystals, eV per atom and eV."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.matgl import MODELS, ask_matgl
from symmbfn.runtime.journal import Journal
from symmbfn.screening.stage import Answer, Screening, Stage
from symmbfn.screening.stages.relaxed import relaxed_cells, relaxed_without_failure

if TYPE_CHECKING:
    import pandas


def _ask(screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]) -> Iterator[Answer]:
    cells = relaxed_cells(screening)
    answers = ask_matgl(cells[index] for index in todo)
    for index, answer in zip(todo, answers, strict=True):
        yield {"index": index, **answer}


def _columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
    import pandas as pd

    table = pd.DataFrame(list(answers), columns=["index", *MODELS, "reason"]).set_index("index")
    return table.astype(dict.fromkeys(MODELS, float)).rename(columns={"reason": "judges_reason"})


JUDGES = Stage(
    "judges",
    adds=(*MODELS, "judges_reason"),
    ask=_ask,
    needs=("relax_status",),
    crystals=relaxed_without_failure,
    columns=_columns,
)
