"""The stored chapters are the scripts' own, run from top to bottom, and free of noise."""

import re
from pathlib import Path

import jupytext
import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPTS = sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.py"))
LARGEST = 2_000_000  # bytes
WIDEST = 6.5  # inches
MOST_CELLS = 25


@pytest.fixture(params=SCRIPTS, ids=lambda path: path.stem)
def script(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(script: Path) -> nbformat.NotebookNode:
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_script_and_notebook_agree(script: Path, notebook: nbformat.NotebookNode) -> None:
    """By content: after a checkout all file times are alike."""

    def facts(cell: nbformat.NotebookNode) -> tuple:
        return cell.cell_type, cell.source.strip(), tuple(cell.metadata.get("tags", []))

    assert [facts(c) for c in jupytext.read(script).cells] == [facts(c) for c in notebook.cells]


def test_every_cell_was_run_in_order(notebook: nbformat.NotebookNode) -> None:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    assert counts == list(range(1, len(counts) + 1))


def test_output_holds_text_to_compare_and_no_errors(notebook: nbformat.NotebookNode) -> None:
    outputs = [output for cell in code_cells(notebook) for output in cell.outputs]
    assert not [o for o in outputs if o.output_type == "error" or o.get("name") == "stderr"]
    assert sum(o.output_type == "stream" or "text/plain" in o.get("data", {}) for o in outputs) >= 2


def test_every_interactive_figure_has_static_html(notebook: nbformat.NotebookNode) -> None:
    """The book shows no plotly output by its own type, and is told not to warn of it."""
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if any("plotly" in kind for kind in output.get("data", {})):
                assert "text/html" in output.data


def test_metadata_is_clean(script: Path, notebook: nbformat.NotebookNode) -> None:
    assert notebook.metadata.kernelspec.name == "python3"
    assert "papermill" not in notebook.metadata and "widgets" not in notebook.metadata
    assert any("parameters" in cell.metadata.get("tags", []) for cell in notebook.cells)
    assert script.with_suffix(".ipynb").stat().st_size < LARGEST


def test_stored_output_names_no_place_on_a_machine(notebook: nbformat.NotebookNode) -> None:
    text = "".join(str(output) for cell in code_cells(notebook) for output in cell.outputs)
    assert str(ROOT) not in text and str(Path.home()) + "/" not in text


def test_figures_are_no_wider_than_the_page(script: Path) -> None:
    """A wider one is shrunk there, and its labels with it."""
    widths = re.findall(r"figsize=\(([\d.]+)", script.read_text())
    assert all(float(width) <= WIDEST for width in widths)


def test_a_chapter_is_read_in_one_sitting(notebook: nbformat.NotebookNode) -> None:
    assert len(code_cells(notebook)) <= MOST_CELLS


def test_no_notebook_without_its_script() -> None:
    stored = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert stored == {path.stem for path in SCRIPTS}
