"""Primitive cells of the seven centrings."""

import numpy as np

from symmbfn._shapes import Float
from symmbfn.crystals.symmetry import CENTRINGS, symmetry_tables

# columns are the primitive vectors in the conventional basis, as in spglib
PRIMITIVE_VECTORS = {
    "P": np.eye(3),
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "B": np.array([[1, 0, -1], [0, 2, 0], [1, 0, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
}


def primitive_vectors(space_group_number: int) -> Float[np.ndarray, "3 3"]:
    """Vectors of the primitive cell in the conventional basis.

    Args:
        space_group_number: 1 to 230.

    Returns:
        The vectors as columns, shape (3, 3), in units of the conventional edges.

    Source: Togo et al. 2024 (spglib).
    """
    centring = CENTRINGS[symmetry_tables().centring[space_group_number - 1]]
    return PRIMITIVE_VECTORS[centring]
