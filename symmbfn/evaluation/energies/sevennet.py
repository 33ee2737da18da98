"""A second opinion that errs elsewhere than CHGNet: SevenNet's model 7net-l3i5.

`pip install 'symmbfn[sevennet]'` brings it with its weights.
"""

from collections.abc import Sequence
from functools import cache
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.corrections import mp2020_correction
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import AsePotential, SinglePoint
from symmbfn.evaluation.energies.references import ElementReferences
from symmbfn.runtime.files import file_digest

MODEL = "7net-l3i5"
CHECKPOINT = Path("pretrained_potentials", "SevenNet_l3i5", "checkpoint_l3i5.pth")
# of the wheel sevenn 0.13.0. The file is a pickle: no other one is opened
DIGEST = "a7ff190d41efe5b8317a03d20a468e4036a1a3e64e0b14fdbab64ac3f4bfc09d"
SHIPPED = "sevennet_references.json"


class SevenNet:
    """The universal potential 7net-l3i5 with the weights of its package, on the processor.

    Its energies are those of VASP with the settings of the Materials Project, uncorrected.

    Needs the package sevenn.

    Raises:
        ValueError: no such package, or other weights than those whose digest is known.

    Source: Park et al. 2024 (SevenNet).
    """

    def __init__(self) -> None:
        path = _checkpoint()
        from sevenn.calculator import SevenNetCalculator

        calculator = SevenNetCalculator(path, device="cpu")
        calculator.model.requires_grad_(False)
        self._ase = AsePotential(calculator)

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        """One point for each cell.

        Raises:
            ValueError: an element that it does not know, or an atom without neighbour.
        """
        return self._ase(cells)


def _checkpoint() -> Path:
    """The file of weights, after its digest was compared."""
    if find_spec("sevenn") is None:
        raise ValueError("no sevenn: pip install 'symmbfn[sevennet]'")
    path = Path(str(files("sevenn"))) / CHECKPOINT
    if not path.is_file() or file_digest(path) != DIGEST:
        raise ValueError(f"{str(path)!r} is not the file that is known: pip install sevenn==0.13.0")
    return path


def sevennet_judge() -> Judge:
    """7net-l3i5, with the corrections of the Materials Project and references fitted to both.

    Raises:
        ValueError: no package sevenn, or altered weights.
    """
    _checkpoint()
    return Judge(f"SevenNet {MODEL}", DIGEST, SevenNet, sevennet_references(), mp2020_correction)


@cache
def sevennet_references() -> ElementReferences:
    """The references of 7net-l3i5, as `python -m scripts.evaluation.second_judge fit` made them."""
    with as_file(files("symmbfn.evaluation.energies") / SHIPPED) as path:
        return ElementReferences.load(path)
