"""Band gaps of the relaxed crystals, eV."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.labels import describe_all, described_table, label
from symmbfn.runtime.journal import Journal
from symmbfn.screening.stage import Answer, Screening, Stage
from symmbfn.screening.stages.relaxed import relaxed_cells, relaxed_without_failure

if TYPE_CHECKING:
    import pandas


def _ask(screening: Screening, table: "pandas.DataFrame", todo: Sequence[int]) -> Iterator[Answer]:
    cells = relaxed_cells(screening)
    for place, answer in describe_all([cells[i] for i in todo], workers=screening.workers):
        yield {"index": todo[place], **answer}


def _columns(screening: Screening, answers: Journal) -> "pandas.DataFrame":
    table = label(described_table(answers))[["band_gap"]]
    return table.set_axis([row["index"] for row in answers], axis="index")


BAND_GAPS = Stage(
    "band_gaps",
    adds=("band_gap",),
    ask=_ask,
    needs=("relax_status",),
    crystals=relaxed_without_failure,
    columns=_columns,
)
