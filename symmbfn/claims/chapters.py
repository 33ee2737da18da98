"""Run the chapters and store their output: `python -m symmbfn.claims.chapters [NAME ...]`.

The scripts in notebooks/ are the only source. Each is run from top to bottom by papermill and
stored beside its script, free of what changes from run to run; how long it took goes to
`results/chapters.json`.
"""

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.claims.store import REPOSITORY, Claim, record
from symmbfn.runtime.files import write_whole

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = REPOSITORY / "notebooks"
BUILD = REPOSITORY / "build" / "chapters"
# output of these cells is shown live and never stored: timings, machine names
VOLATILE = "volatile"
KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
RUN_METADATA = ("papermill", "execution", "collapsed", "scrolled")


def chapter_scripts(names: list[str]) -> list[Path]:
    """Return the chapters' scripts, all or those named (`03` or `03_continuous`).

    Raises:
        ValueError: a name that fits no chapter.
    """
    scripts = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.py"))
    chosen = []
    for name in names:
        fitting = [path for path in scripts if name in (path.stem, path.stem[:2])]
        if not fitting:
            stems = ", ".join(path.stem for path in scripts)
            raise ValueError(f"no chapter {name!r} among {stems or 'none'}")
        chosen += fitting
    return chosen or scripts


def run_chapter(script: Path, target: Path, parameters: dict[str, Any]) -> float:
    """Run a script as a notebook and write it, with its output, to `target`.

    Args:
        script: py:percent source.
        target: the .ipynb to write, whole or not at all.
        parameters: values for the cell tagged "parameters".

    Returns:
        Wall time in seconds.

    Raises:
        ValueError: the chapter has no such parameter.
        papermill.PapermillExecutionError: a cell failed; the notebook up to there is in build/.
    """
    import jupytext
    import nbformat
    import papermill

    BUILD.mkdir(parents=True, exist_ok=True)
    source, executed = BUILD / f"{script.stem}.source.ipynb", BUILD / f"{script.stem}.ipynb"
    nbformat.write(_prepared(jupytext.read(script)), source)
    known = papermill.inspect_notebook(str(source))
    # papermill itself only warns of an unknown name, and runs the defaults
    if unknown := sorted(set(parameters) - set(known)):
        raise ValueError(f"{script.stem} has no parameter {unknown[0]!r}, only {', '.join(known)}")
    start = time.monotonic()
    papermill.execute_notebook(
        str(source),
        str(executed),
        parameters=parameters,
        kernel_name=KERNEL["name"],
        cwd=str(script.parent),
        progress_bar=False,
        # ipykernel announces its unencrypted local socket on every start
        extra_arguments=["--IPKernelApp.log_level=50"],
    )
    seconds = time.monotonic() - start
    done = clean(nbformat.read(executed, as_version=4))
    nbformat.validate(done)
    write_whole(target, nbformat.writes(done) + "\n")
    return seconds


def clean(notebook: "NotebookNode") -> "NotebookNode":
    """Take out what differs between two runs of the same chapter."""
    for key in ("papermill", "widgets"):
        notebook.metadata.pop(key, None)
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        for key in RUN_METADATA:
            cell.metadata.pop(key, None)
        tags = cell.metadata.get("tags", [])
        if VOLATILE in tags:
            cell["outputs"] = []
        if "outputs" in cell:
            cell["outputs"] = _in_one_piece(cell["outputs"])
        if not tags:
            cell.metadata.pop("tags", None)
    return notebook


def _in_one_piece(outputs: list["NotebookNode"]) -> list["NotebookNode"]:
    """Join text that a cell printed in a row: where it was cut depends on the clock."""
    joined: list[NotebookNode] = []
    for output in outputs:
        last = joined[-1] if joined else {}
        if output.output_type == "stream" and last.get("name") == output.name:
            joined[-1]["text"] += output.text
        else:
            joined.append(output)
    return joined


def _prepared(notebook: "NotebookNode") -> "NotebookNode":
    """Name the kernel, and give cells ids by position: random ones make every run a change."""
    notebook.metadata["kernelspec"] = dict(KERNEL)
    notebook.nbformat_minor = 5
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    return notebook


def main(arguments: list[str] | None = None) -> int:
    """Run chapters from the command line; 0 where all succeed, 1 where one fails."""
    parser = argparse.ArgumentParser(
        prog="python -m symmbfn.claims.chapters", description=main.__doc__
    )
    parser.add_argument("names", nargs="*", help="03, or 03_continuous; all without a name")
    parser.add_argument("-p", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--out", type=Path, help="folder; default: beside the script")
    options = parser.parse_args(arguments)
    if options.p and options.out is None:
        parser.error("-p needs --out: the stored chapters are those with default parameters")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("TQDM_DISABLE", "1")  # no lines in a chapter that only a slow run has
    import yaml

    parameters = {name: yaml.safe_load(value) for name, value in options.p}
    try:
        scripts = chapter_scripts(options.names)
        for script in scripts:
            target = (options.out or script.parent) / f"{script.stem}.ipynb"
            seconds = run_chapter(script, target, parameters)
            print(f"{script.stem}: {seconds:.0f} s", flush=True)
            if options.out is None:
                _record_time(script.stem, seconds)
    except Exception as error:
        print(f"chapters: {error}", file=sys.stderr)
        return 1
    return 0


def _record_time(stem: str, seconds: float) -> None:
    claim = Claim(
        name=f"chapter.{stem}.seconds",
        value=round(seconds, 1),
        unit="s",
        n=1,
        command=f"python -m symmbfn.claims.chapters {stem}",
        aim="at most 40 s at cpu scale, the training chapter 120 s",
        met=seconds <= (120 if "training" in stem or "model" in stem else 40),
        note="wall time at cpu scale, one thread",
    )
    record("chapters", [claim])


if __name__ == "__main__":
    sys.exit(main())
