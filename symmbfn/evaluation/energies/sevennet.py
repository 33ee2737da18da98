"""A second opinion beside that of CHGNet: SevenNet's model 7net-l3i5.

`pip install 'symmbfn[sevennet]'` brings it with its weights.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.corrections import mp2020_correction
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import SinglePoint
from symmbfn.evaluation.energies.references import ElementReferences, elemental_references
from symmbfn.evaluation.energies.sevennet_sum import NeighbourSum, equal_edges
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
        from sevenn.checkpoint import SevenNetCheckpoint

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # TorchScript, which is deprecated in torch
            model = SevenNetCheckpoint(str(path)).build_model()
        for name, layer in model.named_children():
            if name.endswith("_convolution"):
                model.replace_module(name, NeighbourSum(layer))
        model.set_is_batch_data(False)
        self._model = model.eval().requires_grad_(False)
        self._known = set(model.type_map or ())

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        """One point for each cell.

        Raises:
            ValueError: an element that it does not know.
        """
        return [self._point(cell) for cell in cells]

    def _point(self, cell: Cell) -> SinglePoint:
        if strange := sorted(set(cell.atomic_numbers.tolist()) - self._known):
            raise ValueError(f"{MODEL} does not know elements of number {strange}")
        edges, vectors = equal_edges(cell, self._model.cutoff)
        found = self._model(
            {
                "atomic_numbers": torch.as_tensor(cell.atomic_numbers, dtype=torch.int64),
                "edge_index": torch.as_tensor(edges, dtype=torch.int64),
                "edge_vec": torch.as_tensor(vectors, dtype=torch.float32),
                "num_atoms": torch.tensor(len(cell)),
                "cell_volume": torch.tensor(cell.volume, dtype=torch.float32),
            }
        )
        energy = float(found["inferred_total_energy"].detach()) / len(cell)
        xx, yy, zz, xy, yz, zx = (-found["inferred_stress"].double()).tolist()
        stress = np.array([[xx, xy, zx], [xy, yy, yz], [zx, yz, zz]])
        return SinglePoint(energy, found["inferred_force"].double().numpy(), stress)


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
    return replace(bare_sevennet(), references=sevennet_references())


def bare_sevennet() -> Judge:
    """The same without references, which are to be fitted."""
    return Judge(
        f"SevenNet {MODEL}",
        DIGEST,
        SevenNet,
        ElementReferences({}),
        correction=mp2020_correction,
        unfitted=elemental_references(),
    )


@cache
def sevennet_references() -> ElementReferences:
    """The references of 7net-l3i5, as `python -m scripts.evaluation.second_judge fit` made them."""
    with as_file(files("symmbfn.evaluation.energies") / SHIPPED) as path:
        return ElementReferences.load(path)
