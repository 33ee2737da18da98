"""Who says how high an energy lies: a potential, and what ties its energies to the hull."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path

import torch

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.potentials import CHGNET, POTENTIAL, Chgnet, Potential
from symmbfn.evaluation.energies.references import (
    ElementReferences,
    chgnet_references,
    elemental_references,
)
from symmbfn.runtime.files import file_digest

NAMES = ("chgnet", "sevennet")


@dataclass(frozen=True)
class Judge:
    """A potential with all that its formation energies depend on.

    Args:
        name: of the potential with its version, such as "CHGNet 0.3.0".
        digest: SHA-256 of its weights.
        make: called without arguments in each worker process, gives the potential; picklable.
        references: of the elements, on the scale of its energies after the correction.
        correction: what is added to the energy of a crystal before, eV/atom; None for nothing.
        unfitted: the elements' own energies on the same scale, where the potential is one for it;
            None where nobody knows.
        device: where the potential computes; "cpu" sends one crystal at a time to each of
            several processes, an accelerator takes batches in this one.
    """

    name: str
    digest: str
    make: Callable[[], Potential]
    references: ElementReferences
    correction: Callable[[Cell], float] | None = None
    unfitted: ElementReferences | None = None
    device: str = "cpu"

    def total_energy(self, cell: Cell, energy_per_atom: float) -> float:
        """What the references belong to, eV/atom: the potential's energy after the correction."""
        return energy_per_atom + (0.0 if self.correction is None else self.correction(cell))

    def formation_energy(self, cell: Cell, energy_per_atom: float) -> float:
        """Formation energy on the scale of the hull, eV/atom; NaN where an element is unknown.

        Args:
            cell: the crystal that the energy is of.
            energy_per_atom: what the potential says, eV/atom.
        """
        energy = self.total_energy(cell, energy_per_atom)
        return self.references.formation_energy(cell.composition, energy)

    def unfitted_energy(self, cell: Cell, energy_per_atom: float) -> float:
        """The same against the elements' own energies, nothing fitted; NaN where unknown."""
        if self.unfitted is None:
            return math.nan
        energy = self.total_energy(cell, energy_per_atom)
        return self.unfitted.formation_energy(cell.composition, energy)

    def without_reference(self, cell: Cell) -> list[str]:
        """Symbols of the elements of a crystal that have no reference."""
        return sorted(cell.composition.keys() - self.references.energies.keys())


def chgnet_judge(device: torch.device | str = "cpu") -> Judge:
    """CHGNet 0.3.0 with the references that were fitted to it; it needs nothing else."""
    return Judge(
        CHGNET,
        _chgnet_digest(),
        partial(Chgnet, device=device),
        chgnet_references(),
        unfitted=elemental_references(),
        device=torch.device(device).type,
    )


def judge_of(text: str, *, workers: int = 1, device: str = "cpu") -> Judge:
    """The judge of a name on the command line.

    Args:
        text: see `check_judge_name`.
        workers: processes that fit references where none are shipped.
        device: where CHGNet computes; the others decide themselves.

    Raises:
        ValueError: the potential or its references are not to be had; in one line.
    """
    from symmbfn.evaluation.energies.own_judge import own_judge
    from symmbfn.evaluation.energies.sevennet import sevennet_judge

    check_judge_name(text)
    if text == "chgnet":
        return chgnet_judge(device)
    if device != "cpu":
        raise ValueError(f"{text!r} takes no device, got {device!r}: it decides itself")
    return sevennet_judge() if text == "sevennet" else own_judge(text, workers=workers)


def check_judge_name(text: str) -> None:
    """Make sure that a text has the form of a judge: "chgnet", "sevennet" or "module:factory".

    Raises:
        ValueError: another text.
    """
    module, colon, attribute = text.partition(":")
    is_path = colon and all(part.isidentifier() for part in (*module.split("."), attribute))
    if text not in NAMES and not is_path:
        names = ", ".join(map(repr, NAMES))
        raise ValueError(f"potential must be {names} or 'module:factory', got {text!r}")


@cache
def _chgnet_digest() -> str:
    """SHA-256 of the one file of weights in the package chgnet."""
    folder = Path(str(files("chgnet"))) / "pretrained" / POTENTIAL
    (path,) = folder.glob("*.pth.tar")
    return file_digest(path)
