"""Lattices as six numbers k: the coefficients of half the logarithm of the metric.

For a lattice matrix L with rows a, b, c and metric M = L L^T, S = (1/2) log M is symmetric
and does not change when the crystal is rotated. Written as S = sum_i k_i B_i over

    B1 = e1e2 + e2e1, B2 = e1e3 + e3e1, B3 = e2e3 + e3e2,
    B4 = diag(1, -1, 0), B5 = diag(1, 1, -2), B6 = I

each crystal family leaves some k free and fixes the others, k6 is (ln V) / 3, and any six
numbers are a lattice. Functions compute in float64 and return float64.
"""

from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.symmetry import CRYSTAL_FAMILIES, symmetry_tables

K6_RANGE = (0.2, 3.4)
K4_LIMIT, K5_LIMIT = 1.6, 1.4
# angstrom; a crystal of MP-20 has a cell of 132
LENGTH_RANGE = (1.5, 150.0)
ANGLE_RANGE = (15.0, 165.0)  # degrees
SQUARINGS = 10  # of the exponential: eight terms of its series are exact to |S| of 100


def metric_to_k(metric: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """Return k of a metric.

    Args:
        metric: L L^T, positive definite, shape (..., 3, 3), square angstrom.

    Returns:
        k, shape (..., 6), float64.

    Source: book, method-eq-k: k_i = <S, B_i> / <B_i, B_i>.
    """
    eigenvalues, vectors = torch.linalg.eigh(metric.double())
    s = (vectors * (eigenvalues.log() / 2).unsqueeze(-2)) @ vectors.mT
    return symmetric_to_k(s)


def symmetric_to_k(s: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 6"]:
    """Return the coefficients of a symmetric matrix over the basis.

    Args:
        s: S, symmetric, shape (..., 3, 3).

    Returns:
        k with S = sum_i k_i B_i, shape (..., 6).

    Source: book, method-eq-k.
    """
    s1, s2, s3 = s.diagonal(dim1=-2, dim2=-1).unbind(-1)
    return torch.stack(
        [
            s[..., 0, 1],
            s[..., 0, 2],
            s[..., 1, 2],
            (s1 - s2) / 2,
            (s1 + s2 - 2 * s3) / 6,
            (s1 + s2 + s3) / 3,
        ],
        dim=-1,
    )


def k_to_metric(k: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the metric exp(2 S) of k.

    Args:
        k: lattice coefficients, shape (..., 6). Numbers that are not finite give a metric that is
            not finite, and no exception.

    Returns:
        Metric L L^T, shape (..., 3, 3), float64, square angstrom.

    Source: book, method-eq-k: S = sum_i k_i B_i.
    """
    k1, k2, k3, k4, k5, k6 = k.double().unbind(-1)
    rows = [k5 + k4, k1, k2, k1, k5 - k4, k3, k2, k3, -2 * k5]  # without its trace, k6
    s = torch.stack(rows, dim=-1).unflatten(-1, (3, 3))
    # scaling and squaring with fixed numbers of both: the same for every batch, on any device
    power = 2 * s / 2**SQUARINGS
    term = result = torch.eye(3, dtype=power.dtype, device=power.device).expand_as(power)
    for order in range(1, 9):
        term = _product(term, power) / order
        result = result + term
    for _ in range(SQUARINGS):
        result = _product(result, result)
    return result * (2 * k6).exp()[..., None, None]


def _product(a: Tensor, b: Tensor) -> Tensor:
    """Products of 3 x 3 matrices, each on its own whatever the batch."""
    return (a[..., :, :, None] * b[..., None, :, :]).sum(-2)


def constrain_k(
    k: Float[Tensor, "*batch 6"], space_group_number: Int[Tensor, "*batch"] | int
) -> Float[Tensor, "*batch 6"]:
    """Overwrite the components of k that a space group fixes.

    Args:
        k: lattice coefficients, shape (..., 6).
        space_group_number: 1 to 230, one for all or one each.

    Returns:
        k that obeys the crystal family, shape (..., 6), float64.

    Source: book, method-eq-lattice-constraint.
    """
    number = torch.as_tensor(space_group_number, device=k.device)
    free, fixed = lattice_constraints(number)
    return torch.where(free, k.double(), fixed)


def parameters_to_metric(parameters: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the metric of cell parameters.

    Args:
        parameters: a, b, c in angstrom and alpha, beta, gamma in degrees, shape (..., 6).

    Returns:
        Metric, shape (..., 3, 3), float64, square angstrom.

    Source: book, method-lattice: the definition of the metric.
    """
    a, b, c, alpha, beta, gamma = parameters.double().unbind(-1)
    ab, ac, bc = a * b * _cos(gamma), a * c * _cos(beta), b * c * _cos(alpha)
    return torch.stack([a * a, ab, ac, ab, b * b, bc, ac, bc, c * c], -1).unflatten(-1, (3, 3))


def k_to_parameters(
    k: Float[Tensor, "*batch 6"], space_group_number: Int[Tensor, "*batch"] | int
) -> Float[Tensor, "*batch 6"]:
    """Return the cell parameters of k.

    Args:
        k: lattice coefficients, shape (..., 6); those the space group fixes are overwritten first.
        space_group_number: 1 to 230, one for all or one each.

    Returns:
        a, b, c in angstrom and alpha, beta, gamma in degrees, shape (..., 6), float64. Edges that
        the crystal family makes equal, and its angles of 90 and 120 degrees, are exact.

    Source: book, method-lattice; book, method-lattice-families: what is exact.
    """
    number = torch.as_tensor(space_group_number, device=k.device)
    free, _ = lattice_constraints(number)
    metric = k_to_metric(constrain_k(k, space_group_number))
    lengths = metric.diagonal(dim1=-2, dim2=-1).sqrt()
    a, b, c = lengths.unbind(-1)
    cosines = [
        metric[..., 1, 2] / (b * c),
        metric[..., 0, 2] / (a * c),
        metric[..., 0, 1] / (a * b),
    ]
    alpha, beta, gamma = torch.rad2deg(torch.stack(cosines, dim=-1).clamp(-1, 1).acos()).unbind(-1)

    family = _lattice_tables()[2].to(k.device)[number.long() - 1]
    is_hexagonal = family == CRYSTAL_FAMILIES.index("hexagonal")
    b = torch.where(family >= CRYSTAL_FAMILIES.index("tetragonal"), a, b)
    c = torch.where(family == CRYSTAL_FAMILIES.index("cubic"), a, c)
    alpha = torch.where(free[..., 2], alpha, 90.0)
    beta = torch.where(free[..., 1], beta, 90.0)
    gamma = torch.where(free[..., 0], gamma, torch.where(is_hexagonal, 120.0, 90.0))
    return torch.stack([a, b, c, alpha, beta, gamma], dim=-1)


def parameters_to_matrix(parameters: Float[Tensor, "*batch 6"]) -> Float[Tensor, "*batch 3 3"]:
    """Return the lattice matrix of cell parameters, in the orientation that pymatgen uses.

    Args:
        parameters: a, b, c in angstrom and alpha, beta, gamma in degrees, shape (..., 6).

    Returns:
        Rows a (in the xz plane), b, c (along z), shape (..., 3, 3), float64, angstrom.

    Source: Ong et al. 2013 (pymatgen): the orientation.
    """
    a, b, c, alpha, beta, gamma = parameters.double().unbind(-1)
    sin_alpha, sin_beta = torch.deg2rad(alpha).sin(), torch.deg2rad(beta).sin()
    cos_star = (_cos(alpha) * _cos(beta) - _cos(gamma)) / (sin_alpha * sin_beta)
    sin_star = (1 - cos_star.clamp(-1, 1) ** 2).sqrt()
    zero = torch.zeros_like(a)
    rows = [
        a * sin_beta, zero, a * _cos(beta),
        -b * sin_alpha * cos_star, b * sin_alpha * sin_star, b * _cos(alpha),
        zero, zero, c,
    ]  # fmt: skip
    return torch.stack(rows, dim=-1).unflatten(-1, (3, 3))


def cell_parameters(lattice_matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "6"]:
    """Edges and angles of a cell.

    Args:
        lattice_matrix: rows a, b, c, shape (3, 3), angstrom.

    Returns:
        a, b, c in angstrom and alpha, beta, gamma in degrees, shape (6,).
    """
    lengths = np.linalg.norm(lattice_matrix, axis=1)
    a, b, c = lattice_matrix / lengths[:, None]
    cosines = np.clip([b @ c, a @ c, a @ b], -1, 1)
    return np.concatenate([lengths, np.rad2deg(np.arccos(cosines))])


def lattice_constraints(
    space_group_number: Int[Tensor, "*batch"],
) -> tuple[Bool[Tensor, "*batch 6"], Float[Tensor, "*batch 6"]]:
    """Return which lattice coefficients a space group leaves free, and the other values.

    Args:
        space_group_number: 1 to 230, shape (...).

    Returns:
        Mask of free components, and the fixed values (0 where free), both (..., 6).

    Source: book, method-lattice-families.
    """
    free, fixed, _ = _lattice_tables()
    row = space_group_number.long() - 1
    return free.to(row.device)[row], fixed.to(row.device)[row]


def is_plausible_lattice(
    k: Float[Tensor, "*batch 6"], space_group_number: Int[Tensor, "*batch"] | int
) -> Bool[Tensor, "*batch"]:
    """Tell which lattices lie within wide bounds that real crystals keep.

    Args:
        k: lattice coefficients, shape (..., 6); those the space group fixes are overwritten first.
        space_group_number: 1 to 230, one for all or one each.

    Returns:
        True where k4, k5, k6, all edges and all angles lie within their bounds, shape (...).

    Source: book, method-lattice-bounds.
    """
    parameters = k_to_parameters(k, space_group_number)
    lengths, angles = parameters[..., :3], parameters[..., 3:]
    k4, k5, k6 = constrain_k(k, space_group_number)[..., 3:].unbind(-1)
    return (
        parameters.isfinite().all(-1)
        & ((k6 >= K6_RANGE[0]) & (k6 <= K6_RANGE[1]))
        & (k4.abs() <= K4_LIMIT)
        & (k5.abs() <= K5_LIMIT)
        & ((lengths >= LENGTH_RANGE[0]) & (lengths <= LENGTH_RANGE[1])).all(-1)
        & ((angles >= ANGLE_RANGE[0]) & (angles <= ANGLE_RANGE[1])).all(-1)
    )


def _cos(degrees: Tensor) -> Tensor:
    # rounding makes the cosines of 60, 90 and 120 degrees exact, so zeros print as zeros
    return torch.deg2rad(degrees).cos().round(decimals=15)


@cache
def _lattice_tables() -> tuple[Tensor, Tensor, Tensor]:
    tables = symmetry_tables()
    return (
        torch.tensor(tables.lattice_free),
        torch.tensor(tables.lattice_fixed),
        torch.tensor(tables.crystal_family, dtype=torch.int64),
    )
