"""Second opinions: formation energies and band gaps by M3GNet and MEGNet, models of matgl.

`make judges` builds their environment. They were trained on the Materials Project of 2018 and
2019, whose formation energies are not those of MP-20, and the model of band gaps is wrong for
simple oxides. So they are no reference, and a figure made with them names them; how far they
lie from MP-20 is in the claims `judges.*`.
"""

import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies import matgl_process
from symmbfn.evaluation.energies.matgl_process import MODELS

if TYPE_CHECKING:
    import pandas

__all__ = ["MODELS", "MatglJudge", "judges_folder", "predict_matgl"]

PYTHON = Path(__file__).resolve().parents[3] / ".venv-judges" / "bin" / "python"
START_LIMIT = 300.0  # seconds to import, load and predict the known values
TIME_LIMIT = 60.0  # seconds of wall time for one crystal


def judges_folder() -> Path:
    """The folder of the models: `SYMMBFN_JUDGES`, else `weights` beside `SYMMBFN_DATA`.

    Raises:
        ValueError: neither is set, or there is no such folder.
    """
    data = os.environ.get("SYMMBFN_DATA")
    named = os.environ.get("SYMMBFN_JUDGES") or (data and Path(data).resolve().parent / "weights")
    if not named:
        raise ValueError("set SYMMBFN_JUDGES to the folder of matgl's models")
    if not Path(named).is_dir():
        raise ValueError(f"no folder {str(named)!r}: set SYMMBFN_JUDGES to that of matgl's models")
    return Path(named)


class MatglJudge:
    """A process that holds the models of `judges_folder()`, in the environment of `make judges`.

    Attributes:
        versions: of the libraries in that environment.

    Raises:
        ValueError: no environment, no models, altered files, or known values that do not come
            out; in one line.
    """

    def __init__(self) -> None:
        folder = judges_folder()
        if not PYTHON.is_file():
            raise ValueError(f"no interpreter {str(PYTHON)!r}: `make judges` builds it")
        self._process = subprocess.Popen(
            # -I: this folder's modules must not stand in for those of the environment
            [str(PYTHON), "-I", matgl_process.__file__, str(folder.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        greeting = self._answer(START_LIMIT)
        if "versions" not in greeting:
            self.close()
            reason = greeting.get("error") or greeting["reason"]
            raise ValueError(f"the judges cannot start (`make judges` builds them): {reason}")
        self.versions: dict[str, str] = greeting["versions"]

    @property
    def is_dead(self) -> bool:
        """Whether it takes no more crystals."""
        return self._process.poll() is not None

    def ask(self, cell: Cell) -> dict[str, Any]:
        """The values of one crystal by their names in `MODELS`, or {"reason": why not}.

        Args:
            cell: any cell of the crystal. The process is killed where it takes a minute.
        """
        question = {
            "lattice_matrix": cell.lattice_matrix.tolist(),
            "atomic_numbers": cell.atomic_numbers.tolist(),
            "fractional_coords": cell.fractional_coords.tolist(),
        }
        assert self._process.stdin
        try:
            self._process.stdin.write(json.dumps(question) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return {"reason": f"worker_lost: exit code {self._process.wait()}"}
        return self._answer(TIME_LIMIT)

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(BrokenPipeError):  # a question nobody read
                if pipe:
                    pipe.close()

    def __enter__(self) -> "MatglJudge":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _answer(self, time_limit: float) -> dict[str, Any]:
        assert self._process.stdout
        clock = Timer(time_limit, self._process.kill)
        clock.start()
        line = self._process.stdout.readline()
        is_late = not clock.is_alive()
        clock.cancel()
        if line.endswith("\n"):
            return json.loads(line)
        code = self._process.wait()
        if is_late:
            return {"reason": f"timeout: more than {time_limit:g} s"}
        return {"reason": f"worker_lost: exit code {code}"}


def ask_matgl(cells: Iterable[Cell]) -> Iterator[dict[str, Any]]:
    """Ask M3GNet and MEGNet for formation energies, and MEGNet for PBE band gaps, one by one.

    Args:
        cells: any cells of the crystals.

    Yields:
        For each crystal in order `m3gnet_formation_energy`, `megnet_formation_energy`, eV per
        atom, `megnet_band_gap`, eV, and `reason`, which is empty where there are values.

    Raises:
        ValueError: the judges cannot start.
    """
    judge = MatglJudge()
    try:
        for cell in cells:
            if judge.is_dead:
                judge.close()
                judge = MatglJudge()
            yield dict.fromkeys(MODELS) | {"reason": ""} | judge.ask(cell)
    finally:
        judge.close()


def predict_matgl(cells: Iterable[Cell]) -> "pandas.DataFrame":
    """The answers of `ask_matgl`, one row a crystal."""
    import pandas as pd

    table = pd.DataFrame(list(ask_matgl(cells)), columns=[*MODELS, "reason"])
    return table.astype(dict.fromkeys(MODELS, float))
