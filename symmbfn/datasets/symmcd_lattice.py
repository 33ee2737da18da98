"""The lattice coefficients of SymmCD, which are those of a distorted cell: for comparison only."""

import numpy as np
import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.lattice import (
    constrain_k,
    k_to_parameters,
    parameters_to_matrix,
    symmetric_to_k,
)
from symmbfn.crystals.loci import inverse_3x3
from symmbfn.datasets.cache import EncodedDataset

N_POINTS = 64  # of the quadrature: exact to rounding for eigenvalues within a factor of 50


def with_symmcd_lattice(dataset: EncodedDataset) -> EncodedDataset:
    """Replace k by the coefficients of log L instead of those of (1/2) log L L^T.

    L is the triangular lattice matrix. Its logarithm is not symmetric, and six coefficients keep
    the symmetric part only, so monoclinic and triclinic cells do not come back from it (6 % in
    one edge and 3.6 degrees on average). In other families the values that the space group
    fixes overwrite all that is wrong.

    Returns:
        The same crystals with other `lattice_k`. `settings["lattice"]` is "symmcd", and the
        digest is another.

    Raises:
        ValueError: the dataset has these coefficients already.

    Source: Levy et al. 2025 (SymmCD): its code; book, method-symmcd-lattice.
    """
    if dataset.settings.get("lattice") == "symmcd":
        raise ValueError("this dataset has the lattice coefficients of SymmCD already")
    number = dataset.space_group_number.long()
    matrix = parameters_to_matrix(k_to_parameters(dataset.lattice_k, number))
    log_matrix = logarithm(matrix)
    k = symmetric_to_k((log_matrix + log_matrix.mT) / 2)
    return dataset.derived(
        "lattice of SymmCD",
        lattice_k=constrain_k(k, number),
        settings={**dataset.settings, "lattice": "symmcd"},
    )


def logarithm(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Logarithm of matrices with positive eigenvalues, equal or not, of a whole batch at once.

    SciPy's takes one at a time, and warns of its last digits.

    Args:
        matrix: shape (..., 3, 3), float64.

    Returns:
        log A = ln(c) I + int_0^1 (A/c - I) (I + s (A/c - I))^-1 ds with c = (det A)^(1/3), by
        Gauss-Legendre quadrature, shape (..., 3, 3).

    Source: Higham 2008, Eq. 11.1.
    """
    identity = torch.eye(3, dtype=matrix.dtype, device=matrix.device)
    scale = torch.linalg.det(matrix).pow(1 / 3)[..., None, None]
    change = matrix / scale - identity
    result = scale.log() * identity
    nodes, weights = np.polynomial.legendre.leggauss(N_POINTS)
    for node, weight in zip(nodes.tolist(), weights.tolist(), strict=True):
        s = (node + 1) / 2
        result = result + weight / 2 * change @ inverse_3x3(identity + s * change)
    return result
