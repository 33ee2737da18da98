"""The von Mises distribution: entropy, mean resultant, and draws made of normal ones.

A draw is a monotone function of a standard normal number. So the noise of an angle comes from the
same generators as that of any other variable.
"""

import math
from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Float, Tensor

ITERATIONS = 60
NODES = 48  # of the quadrature of a tail
NEGLIGIBLE = 45.0  # how far the log-density falls before a tail ends


def mean_resultant(concentration: Float[Tensor, "*X"]) -> Float[Tensor, "*X"]:
    """A(c) = I1(c) / I0(c), the expectation of cos(y - m) for y ~ vM(m, c).

    Args:
        concentration: c, any shape, at least 0.

    Returns:
        A in [0, 1), shape of `concentration`.

    Source: Mardia and Jupp 2000, Sec. 3.5.4.
    """
    return torch.special.i1e(concentration) / torch.special.i0e(concentration)


def entropy(concentration: Float[Tensor, "*X"]) -> Float[Tensor, "*X"]:
    """Entropy ln(2 pi I0(c)) - c A(c).

    Args:
        concentration: c, any shape, at least 0.

    Returns:
        Nats, shape of `concentration`; ln(2 pi) at c = 0.

    Source: Mardia and Jupp 2000, Sec. 3.5.4.
    """
    log_i0 = torch.special.i0e(concentration).log() + concentration
    return math.log(2 * math.pi) + log_i0 - concentration * mean_resultant(concentration)


def from_normal(
    normal: Float[Tensor, "*X"], concentration: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X"]:
    """The angle y with F(y) = Phi(z): its distribution function equals that of the normal number z.

    Args:
        normal: z, a standard normal draw, any shape, not empty, at most 8 in size.
        concentration: c, broadcastable, at least 0.

    Returns:
        A draw of vM(0, c), in [-pi, pi], exact to the last digits of float64.

    Source: ours: inverse transform sampling, by Newton's method within a bracket.
    """
    target, c = torch.broadcast_tensors(normal.double().abs(), concentration.double())
    low, high = torch.zeros_like(target), torch.full_like(target, math.pi)
    angle = (target * math.sqrt(2 * math.pi) * torch.special.i0e(c)).clamp_max(3.0)
    for _ in range(ITERATIONS):
        z, slope = _normal_of(angle, c)
        is_below = z < target
        low, high = torch.where(is_below, angle, low), torch.where(is_below, high, angle)
        newton = angle - (z - target) * slope
        is_inside = (newton >= low) & (newton <= high)
        before, angle = angle, torch.where(is_inside, newton, (low + high) / 2)
        if (angle - before).abs().max() < 1e-12:
            break
    return angle.copysign(normal.double())


def _normal_of(angle: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """The normal number of an angle in [0, pi], and the slope of the angle over it.

    The tail beyond the angle is integrated, and not what lies before: tails keep their digits.
    """
    nodes, weights = _legendre()
    end = ((1 - 2 * torch.sin(angle / 2) ** 2) - NEGLIGIBLE / c).clamp_min(-1).acos()
    half = (end - angle).clamp_min(0) / 2
    step = half[..., None] * (1 + nodes)
    # cos(angle + step) - cos(angle)
    fall = -2 * torch.sin(angle[..., None] + step / 2) * torch.sin(step / 2)
    beyond = half * ((c[..., None] * fall).exp() * weights).sum(-1)
    density = (-2 * c * torch.sin(angle / 2) ** 2).exp() / (2 * math.pi * torch.special.i0e(c))
    z = -torch.special.ndtri(beyond * density)
    return z, torch.exp(-(z**2) / 2) / math.sqrt(2 * math.pi) / density


@cache
def _legendre() -> tuple[Tensor, Tensor]:
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    return torch.tensor(nodes), torch.tensor(weights)


SPACING = 1 / 32  # of the normal numbers in a table
MOST = 7.0  # beyond every draw in single precision


def table_of(concentrations: Float[Tensor, "M"]) -> Float[Tensor, "M Z 4"]:
    """Tabulate `from_normal` for a few concentrations, as cubics between equally spaced numbers.

    Args:
        concentrations: c of each row, shape (M,).

    Returns:
        Coefficients of the cubics, highest power first, in the position within a cell from 0 to 1,
        shape (M, Z, 4), float64.

    Source: ours: Hermite interpolation with exact slopes.
    """
    z = torch.arange(0, MOST + SPACING / 2, SPACING, dtype=torch.float64)
    c = concentrations.double()[:, None].expand(-1, len(z))
    angle = from_normal(z.expand_as(c), c)
    slope = SPACING * _normal_of(angle, c)[1].nan_to_num(0.0, 0.0, 0.0)
    y0, y1, d0, d1 = angle[:, :-1], angle[:, 1:], slope[:, :-1], slope[:, 1:]
    return torch.stack([2 * (y0 - y1) + d0 + d1, 3 * (y1 - y0) - 2 * d0 - d1, d0, y0], dim=-1)


def from_table(
    table: Float[Tensor, "M Z 4"], normal: Float[Tensor, "*X M"]
) -> Float[Tensor, "*X M"]:
    """Draws of all rows of a table, to single precision.

    Args:
        table: of `table_of`; row m belongs to place m of the last axis.
        normal: standard normal draws, shape (..., M).

    Returns:
        Angles in [-pi, pi], shape and precision of `normal`.

    Source: ours.
    """
    place = (normal.abs() / SPACING).clamp_max(table.shape[1] - 1e-3)
    cell = place.floor()
    row = torch.arange(len(table), device=table.device) * table.shape[1]
    a, b, c, d = table.flatten(0, 1).to(normal.dtype)[row + cell.long()].unbind(-1)
    u = place - cell
    return (((a * u + b) * u + c) * u + d).copysign(normal)
