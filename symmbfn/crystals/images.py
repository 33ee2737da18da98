"""Symmetry images: the vectors from every site to all atoms of the orbits of all sites."""

from typing import NamedTuple

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.layout import DENSE, Layout

RESOLUTION = 1e-3  # angstrom; images closer in distance than this are taken in order
HALF_CELL = 0.5 + 1e-4  # fractional; on the half cell itself rounding would choose the side


class Images(NamedTuple):
    """Vectors from every site i to the images of every site j under all operations.

    Shapes are those of a dense batch, see `Layout`.

    A vector is wrapped to the nearest whole numbers. In a skewed cell that need not be the shortest
    one, so one flip by a lattice vector along the best axis is made where it shortens the vector.

    Attributes:
        wrapped: the three components of the wrapped vectors, fractional, each (B, N, N, O).
        squared: squared lengths of the wrapped vectors, angstrom^2, shape (B, N, N, O).
        gain: by how much a flip along `axis` lowers the squared length, angstrom^2.
        axis: the axis with the largest gain, 0 to 2.
        is_flipped: whether the flip is made: where the gain is positive.
    """

    wrapped: tuple[Tensor, ...]
    squared: Tensor
    gain: Tensor
    axis: Tensor
    is_flipped: Tensor

    def distance(self) -> Float[Tensor, "*P O"]:
        """Lengths of the vectors after the flip.

        Returns:
            Distances, angstrom, shape (B, N, N, O).
        """
        return (self.squared - self.gain * self.is_flipped).clamp_min(0).sqrt()

    def vectors(self, index: Int[Tensor, "*P I"]) -> Float[Tensor, "*P I 3"]:
        """Vectors of chosen operations, after the flip.

        Args:
            index: I operations of each pair, shape (B, N, N, I).

        Returns:
            Fractional vectors, shape (B, N, N, I, 3).
        """
        vector = torch.stack([part.gather(-1, index) for part in self.wrapped], dim=-1)
        axes = torch.arange(3, device=index.device) == self.axis.gather(-1, index)[..., None]
        flip = axes * self.is_flipped.gather(-1, index)[..., None]
        return vector - flip * torch.where(vector < 0, -1.0, 1.0)


def images_of(
    x: Float[Tensor, "B N 3"],
    metric: Float[Tensor, "B 3 3"],
    rotations: Float[Tensor, "B O 3 3"],
    translations: Float[Tensor, "B O 3"],
    layout: Layout = DENSE,
) -> Images:
    """Vectors g x_j - x_i to the nearest lattice image, of all ordered pairs (i, j) and operations
    g.

    Args:
        x: fractional coordinates, shape (B, N, 3).
        metric: metric tensors, shape (B, 3, 3), angstrom^2.
        rotations: of the operations, padding included, shape (B, O, 3, 3).
        translations: of the operations, fractional, shape (B, O, 3).
        layout: of the pairs.

    Returns:
        Wrapped vectors, their lengths and flips.

    Source: book, method-images.
    """
    # (pairs, O) for each axis: operations last: contiguous in memory
    by_axis = rotations.permute(3, 0, 2, 1)[:, :, :, None]  # (y, B, x, 1, O)
    images = translations.mT[:, :, None]  # (B, x, N, O)
    for y in range(3):
        images = images + by_axis[y] * x[:, None, :, y, None]
    images, x = images.transpose(1, 2), x[..., None]  # (B, N, axis, O), with one x for all images
    images, x = layout.sites(images), layout.sites(x)
    v = tuple(
        _wrapped(layout.sender(image) - layout.receiver(at))
        for image, at in zip(images.unbind(-2), x.unbind(-2), strict=True)
    )
    m = [row.unbind(-2) for row in layout.at_pairs(metric[..., None]).unbind(-3)]
    gv = [m[a][0] * v[0] + m[a][1] * v[1] + m[a][2] * v[2] for a in range(3)]
    squared = v[0] * gv[0] + v[1] * gv[1] + v[2] * gv[2]
    # The wrapped vector need not be the shortest in a skewed cell: try one flip along each axis.
    gains = [2 * gv[a].abs() - m[a][a] for a in range(3)]
    gain, axis = gains[0], torch.zeros_like(gains[0], dtype=torch.long)
    for a in (1, 2):  # the first axis counts among equals
        is_more = (gains[a] / RESOLUTION).round() > (gain / RESOLUTION).round()
        gain, axis = torch.where(is_more, gains[a], gain), axis.masked_fill(is_more, a)
    return Images(v, squared, gain, axis, gain > RESOLUTION)


def _wrapped(difference: Tensor) -> Tensor:
    """The nearest to 0 of the numbers that differ from these by whole ones."""
    return difference - (difference + HALF_CELL).floor()
