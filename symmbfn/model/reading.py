"""What the network reads of a batch's beliefs, before it becomes features."""

from dataclasses import dataclass

from symmbfn._shapes import Float, Tensor
from symmbfn.model.variables import Conditions


@dataclass
class Reading:
    """The most likely crystals so far, and how much is believed of them.

    Attributes:
        conditions, t: what the crystals are conditioned on, and the times of the beliefs.
        classes: (probabilities, bounded logits, previous estimate) of each categorical variable.
        numbers: what is read of "lattice", (B, 6) each, and of "coords", (B, N, 3) each.
        states: what the channels of "elements" and "symmetry" make of their beliefs once, for
            input and output, see `Channel`.
        x: best fractional coordinates so far, (B, N, 3).
        k: best lattice coefficients so far, (B, 6).
        phases: sines and cosines of the coordinates' harmonics, (B, N, 3 F) each.
        elements: probabilities of each site's element, (B, N, K).
        radius: expected covalent radius, angstrom, (B, N).
        atoms: expected number of atoms of each site in the cell, (B, N); 0 on padding.
    """

    conditions: Conditions
    t: Float[Tensor, "B"]
    classes: dict[str, tuple[Tensor, Tensor, Tensor]]
    numbers: dict[str, tuple[Tensor, ...]]
    states: dict[str, Tensor]
    x: Float[Tensor, "B N 3"]
    k: Float[Tensor, "B 6"]
    phases: tuple[Tensor, Tensor]
    elements: Float[Tensor, "B N K"]
    radius: Float[Tensor, "B N"]
    atoms: Float[Tensor, "B N"]

    def theta(self, name: str) -> Tensor:
        """Probabilities of a categorical variable, 0 on padding."""
        return self.classes[name][0]
