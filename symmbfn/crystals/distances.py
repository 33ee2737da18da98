"""Distances between periodic sites, with the nearest image in cells of any shape."""

from typing import Any

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.loci import inverse_3x3, loci

# bounds of any structure, read or built
MINIMUM_DISTANCE = 0.5  # angstrom, between two atoms
MINIMUM_VOLUME = 0.1  # cubic angstrom, of the cell
MAX_REDUCTION_STEPS = 100


class GeometryError(ValueError):
    """A cell, or distances between atoms, that no crystal has.

    Attributes:
        atoms: the cell as it was read, where it has atoms: a pymatgen Structure, or None.
    """

    atoms: Any = None
    status = "invalid_geometry"  # of the record that reports this error


def reduce_lattice(lattice: Float[Tensor, "B 3 3"]) -> Float[Tensor, "B 3 3"]:
    """Return a Minkowski-reduced basis of the same lattice, shortest vector first.

    In such a basis the nearest image of a point whose coordinates lie in [-1/2, 1/2] is
    among its 27 neighbours, and the first row is the shortest lattice vector.

    Args:
        lattice: rows a, b, c of non-zero volume, shape (B, 3, 3), angstrom.

    Returns:
        Rows of the reduced basis, shape (B, 3, 3), angstrom.

    Source: Nguyen and Stehlé 2009: the greedy algorithm.
    """
    steps = torch.tensor(
        [[i, j] for i in (-1.0, 0.0, 1.0) for j in (-1.0, 0.0, 1.0)],
        dtype=lattice.dtype,
        device=lattice.device,
    )
    reduced, todo = _by_length(lattice), torch.arange(len(lattice), device=lattice.device)
    for _ in range(MAX_REDUCTION_STEPS):
        a, b, c = reduced[todo].unbind(-2)
        b = b - _ratio(a, b).round().unsqueeze(-1) * a
        # the multiples of a and b nearest to c solve a 2 x 2 system; try the points around
        aa, ab, bb = (a * a).sum(-1), (a * b).sum(-1), (b * b).sum(-1)
        ac, bc = (a * c).sum(-1), (b * c).sum(-1)
        volume = aa * bb - ab * ab
        along_a = (bb * ac - ab * bc) / volume
        along_b = (aa * bc - ab * ac) / volume
        multiples = torch.stack([along_a, along_b], dim=-1).round().unsqueeze(1) + steps
        candidates = c.unsqueeze(1) - multiples @ torch.stack([a, b], dim=1)
        lengths = candidates.square().sum(-1)
        shortest = lengths.argmin(-1, keepdim=True)
        is_shorter = lengths.gather(1, shortest) < (1 - 1e-9) * (c * c).sum(-1, keepdim=True)
        closest = candidates.gather(1, shortest.unsqueeze(-1).expand(-1, 1, 3)).squeeze(1)
        c = torch.where(is_shorter, closest, c)
        previous = reduced[todo]
        reduced[todo] = _by_length(torch.stack([a, b, c], dim=1))
        todo = todo[(reduced[todo] != previous).flatten(1).any(-1)]
        if len(todo) == 0:
            break
    return reduced


def _by_length(lattice: Tensor) -> Tensor:
    order = lattice.square().sum(-1).argsort(dim=-1, stable=True)
    return lattice.gather(1, order.unsqueeze(-1).expand_as(lattice))


def _ratio(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / (a * a).sum(-1)


class PairDistances:
    """Distances of many pairs: bounds for all, the exact value where it is needed.

    Wrapping a displacement gives an upper bound, and the exact distance where the cell is a box.
    The distances between lattice planes give a lower bound. Only pairs that can fall below a
    cutoff are compared with their 27 images.

    Args:
        coords: fractional coordinates in the basis of `lattice`, shape (X, 3).
        first, second: rows of `coords` that make the pairs, shape (P,).
        lattice: reduced basis of each crystal, shape (B, 3, 3), angstrom.
        crystal: crystal of each pair, shape (P,).

    Attributes:
        lower: lower bounds, shape (P,), angstrom.
        distance: upper bounds, exact where `is_exact`, shape (P,), angstrom.

    Source: ours.
    """

    def __init__(
        self,
        coords: Float[Tensor, "X 3"],
        first: Int[Tensor, "P"],
        second: Int[Tensor, "P"],
        lattice: Float[Tensor, "B 3 3"],
        crystal: Int[Tensor, "P"],
    ):
        displacement = coords[second] - coords[first]
        self._displacement = displacement - displacement.round()
        self._lattice, self._crystal = lattice, crystal
        gram = (lattice @ lattice.mT).abs()
        is_box = gram.triu(1).flatten(1).amax(-1) < 1e-9 * gram.flatten(1).amax(-1)
        spacing = 1 / inverse_3x3(lattice).square().sum(-2).sqrt()
        self.lower = (self._displacement.abs() * spacing[crystal]).amax(-1)
        in_space = (self._displacement.unsqueeze(-2) @ lattice[crystal]).squeeze(-2)
        self.distance = in_space.square().sum(-1).sqrt()
        self.is_exact = is_box[crystal]

    def refine(self, mask: Bool[Tensor, "P"]) -> Float[Tensor, "P"]:
        """Make some of the distances exact.

        Args:
            mask: which pairs, shape (P,).

        Returns:
            All distances, shape (P,), angstrom: exact where masked now or before, else bounds.
        """
        rows = (mask & ~self.is_exact).nonzero().squeeze(-1)
        lattice = self._lattice[self._crystal[rows]]
        images = self._displacement[rows].unsqueeze(-2) + loci(rows.device).shifts
        self.distance[rows] = (images @ lattice).square().sum(-1).amin(-1).sqrt()
        self.is_exact = self.is_exact | mask
        return self.distance
