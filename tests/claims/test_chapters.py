"""Running a chapter twice gives the same file, and a stored number that is wrong is found."""

import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from symmbfn.claims import chapters
from symmbfn.claims.chapters import chapter_scripts, run_chapter

SCRIPT = """# %% [markdown]
# # A chapter

# %% tags=["parameters"]
n: int = 3

# %%
print("sum", sum(range(n)), flush=True)
print("of", n)

# %% tags=["volatile", "nbval-ignore-output"]
import time
print(time.time())
"""


@pytest.fixture(scope="module")
def chapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("notebooks")
    script = folder / "01_sum.py"
    script.write_text(SCRIPT)
    run_chapter(script, script.with_suffix(".ipynb"), {})
    return script


def test_output_is_stored_and_nothing_of_the_run(chapter: Path, tmp_path: Path) -> None:
    stored = chapter.with_suffix(".ipynb").read_text()
    notebook = nbformat.reads(stored, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == [1, 2, 3]
    assert [output.text for output in code[1].outputs] == ["sum 3\nof 3\n"]
    assert code[2].outputs == []
    run_chapter(chapter, tmp_path / "again.ipynb", {})
    assert (tmp_path / "again.ipynb").read_text() == stored


def test_parameters_are_set_and_unknown_ones_refused(chapter: Path, tmp_path: Path) -> None:
    run_chapter(chapter, tmp_path / "full.ipynb", {"n": 4})
    assert "sum 6" in (tmp_path / "full.ipynb").read_text()
    with pytest.raises(ValueError, match="'m'"):
        run_chapter(chapter, tmp_path / "none.ipynb", {"m": 4})


def test_nbval_finds_an_altered_number(chapter: Path, tmp_path: Path) -> None:
    good = chapter.with_suffix(".ipynb").read_text()
    (tmp_path / "good.ipynb").write_text(good)
    (tmp_path / "bad.ipynb").write_text(good.replace("sum 3", "sum 4"))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--nbval"]
    codes = [
        subprocess.run([*command, name], cwd=tmp_path, capture_output=True).returncode
        for name in ("good.ipynb", "bad.ipynb")
    ]
    assert codes == [0, 1]


def test_chapters_by_number_and_name(chapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chapters, "NOTEBOOKS", chapter.parent)
    assert chapter_scripts([]) == chapter_scripts(["01"]) == [chapter]
    assert chapter_scripts(["01_sum"]) == [chapter]
    with pytest.raises(ValueError, match="'07'"):
        chapter_scripts(["07"])
