"""What the network is told of a batch's beliefs, and its features of pairs of sites."""

from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.networks.embeddings import image_features, pair_phases
from symmbfn.variables import Given


@dataclass
class Reading:
    """What the network is told of a batch's beliefs.

    Attributes:
        theta: probabilities of each categorical variable, 0 on padding.
        channels: (theta, bounded state, previous estimate) of each categorical variable.
        coords: of each site (B, N, C): the belief's mean with and without unit variance, and
            where the network reads it the best estimate so far.
        lattice: mean of the belief, of unit variance; and where it is read the best so far.
        x, k: best fractional coordinates (B, N, 3) and lattice coefficients (B, 6).
        phases: sin and cos of the coordinates' harmonics.
        elements: probabilities of each site's element (B, N, K).
        radius: expected covalent radius (B, N), angstrom.
        atoms: expected number of atoms of each site in the cell (B, N), 0 on padding.
        slots, positions: states of the element slots, embeddings of the groups' positions.
    """

    theta: dict[str, Tensor]
    channels: dict[str, tuple[Tensor, Tensor, Tensor]]
    coords: Tensor
    lattice: tuple[Tensor, ...]
    x: Tensor
    k: Tensor
    phases: tuple[Tensor, Tensor]
    elements: Tensor
    radius: Tensor
    atoms: Tensor
    slots: Tensor | None
    positions: Tensor | None


def pair_features(reading: Reading, given: Given, *, has_images: bool) -> Float[Tensor, "B N N E"]:
    """Differences, phases, likeness of the elements, and the symmetry images of a pair."""
    x, radius, elements = reading.x, reading.radius, reading.elements
    difference = x[:, None] - x[:, :, None]
    alike = (elements[:, :, None] * elements[:, None]).sum(-1)
    sum_of_radii = radius[:, :, None] + radius[:, None]
    parts = [
        difference,
        difference - difference.round(),
        pair_phases(*reading.phases),
        torch.stack([alike, sum_of_radii / 4], dim=-1),
    ]
    if has_images:
        metric = k_to_metric(reading.k).float()
        operations = given.rotations, given.translations, given.is_operation
        parts.append(image_features(x, metric, *operations, radius))
    return torch.cat(parts, dim=-1)
