"""Who says how high an energy lies: a potential, and what ties its energies to the hull."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import torch

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.potentials import POTENTIAL, Chgnet, Potential
from symmbfn.evaluation.energies.references import ElementReferences, chgnet_references
from symmbfn.runtime.files import file_digest


@dataclass(frozen=True)
class Judge:
    """A potential with all that its formation energies depend on.

    Args:
        name: of the potential with its version, such as "CHGNet 0.3.0".
        digest: SHA-256 of its weights.
        make: called without arguments in each worker process, gives the potential; picklable.
        references: of the elements, on the scale of its energies.
        device: where the potential computes; "cpu" sends one crystal at a time to each of
            several processes, an accelerator takes batches in this one.
    """

    name: str
    digest: str
    make: Callable[[], Potential]
    references: ElementReferences
    device: str = "cpu"

    def formation_energy(self, cell: Cell, energy_per_atom: float) -> float:
        """Formation energy on the scale of the hull, eV/atom; NaN where an element is unknown.

        Args:
            cell: the crystal that the energy is of.
            energy_per_atom: what the potential says, eV/atom.
        """
        return self.references.formation_energy(cell.composition, energy_per_atom)


def chgnet_judge(device: torch.device | str = "cpu") -> Judge:
    """CHGNet 0.3.0 with the references that were fitted to it; it needs nothing else."""
    return Judge(
        f"CHGNet {POTENTIAL}",
        _chgnet_digest(),
        partial(Chgnet, device=device),
        chgnet_references(),
        device=torch.device(device).type,
    )


@cache
def _chgnet_digest() -> str:
    """SHA-256 of the one file of weights in the package chgnet."""
    folder = Path(str(files("chgnet"))) / "pretrained" / POTENTIAL
    (path,) = folder.glob("*.pth.tar")
    return file_digest(path)
