"""A stage of one's own fits into a screening; what does not fit is said before any work."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from symmbfn.screening.reference import Reference
from symmbfn.screening.screen import ScreeningConfig
from symmbfn.screening.sources import Candidate, Candidates
from symmbfn.screening.stage import Answer, Screening, Stage, check_stages, run_stages


def screening(folder: Path, n: int = 4) -> Screening:
    rows = tuple(Candidate(i, f"crystal {i}", "ok", "", None) for i in range(n))
    return Screening(Candidates(rows, ""), Reference("nothing", {}), folder)


def numbers(screening: Screening, table: pd.DataFrame, todo: Sequence[int]) -> Iterator[Answer]:
    for index in reversed(todo):  # answers come in any order
        yield {"index": index, "number": 10 * index}


NUMBERS = Stage("numbers", adds=("number",), ask=numbers)


def test_a_stage_of_ones_own_is_ten_lines(tmp_path: Path) -> None:
    """It reads the table of those before it, is asked about some crystals, and adds a column."""

    def ask(screening: Screening, table: pd.DataFrame, todo: Sequence[int]) -> Iterator[Answer]:
        for index in todo:
            yield {"index": index, "half": table["number"][index] // 2}

    def large(screening: Screening, table: pd.DataFrame) -> list[int]:
        return table.index[table["number"] >= 20].tolist()

    half = Stage("half", adds=("half",), ask=ask, needs=("number",), crystals=large)
    table = run_stages([NUMBERS, half], screening(tmp_path))
    assert table["number"].tolist() == [0, 10, 20, 30]
    assert table["half"].tolist()[2:] == [10, 15] and table["half"][:2].isna().all()


def test_a_stopped_stage_is_asked_the_rest_alone(tmp_path: Path) -> None:
    asked: list[list[int]] = []

    def stopping(screening: Screening, table: pd.DataFrame, todo: list[int]) -> Iterator[Answer]:
        asked.append(list(todo))
        for index in todo:
            if len(asked) == 1 and index == 2:
                raise KeyboardInterrupt
            yield {"index": index, "number": index}

    stage = Stage("numbers", adds=("number",), ask=stopping)
    with pytest.raises(KeyboardInterrupt):
        run_stages([stage], screening(tmp_path))
    table = run_stages([stage], screening(tmp_path))
    again = run_stages([stage], screening(tmp_path))
    assert asked == [[0, 1, 2, 3], [2, 3]]
    assert table["number"].tolist() == again["number"].tolist() == [0, 1, 2, 3]


def test_stages_that_do_not_fit_are_refused_before_the_first(tmp_path: Path) -> None:
    later = Stage("later", adds=("other",), ask=numbers, needs=("number",))
    for stages, message in (
        ([later, NUMBERS], "'later' needs number"),
        ([NUMBERS, NUMBERS], "two stages are called 'numbers'"),
        ([NUMBERS, Stage("more", adds=("number",), ask=numbers)], "adds number a second time"),
    ):
        with pytest.raises(ValueError, match=message):
            run_stages(stages, screening(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_stage_gives_what_it_says(tmp_path: Path) -> None:
    stage = Stage("numbers", adds=("number", "colour"), ask=numbers)
    with pytest.raises(ValueError, match="'numbers' does not give colour"):
        run_stages([stage], screening(tmp_path))


def test_a_stage_that_is_asked_nothing_still_has_its_columns(tmp_path: Path) -> None:
    stage = Stage("numbers", adds=("number",), ask=numbers, crystals=lambda screening, table: [])
    table = run_stages([stage], screening(tmp_path))
    assert len(table) == 4 and table["number"].isna().all()


@pytest.mark.parametrize("relax", [None, "chgnet"])
def test_the_stages_of_every_config_fit_together(relax: str | None) -> None:
    check_stages(ScreeningConfig(relax=relax, has_judges=relax is not None).stages())
