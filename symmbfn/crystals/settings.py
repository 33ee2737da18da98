"""The settings that a space group leaves open, and how each changes positions and lattice.

A change of origin and axes that maps the group onto itself and keeps the metric belongs to the
Euclidean normaliser. A cell that is more symmetric than its group, such as Pmm2 with a = b, has
further such changes; they are called special here.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int
from symmbfn.crystals.lattice import constrain_k, metric_to_k
from symmbfn.crystals.symmetry import operations_of, positions_of, symmetry_tables

EXACT = 1e-9
METRIC_TOLERANCE = 2e-3  # relative change of a squared length
# a point of a locus that lies on no smaller locus
GENERIC = np.array([0.13719, 0.27183, 0.41421])


@dataclass(frozen=True)
class Settings:
    """How the C settings of one space group move its W Wyckoff positions.

    Attributes:
        rotations: what each setting does to the axes, shape (C, 3, 3).
        image: position that a setting sends each position to, index within the group, shape (C, W).
        image_rotations, image_translations: affine map from the first locus of a position to that
            of its image, up to lattice translations, shape (C, W, 3, 3) and (C, W, 3).
    """

    rotations: Float[np.ndarray, "C 3 3"]
    image: Int[np.ndarray, "C W"]
    image_rotations: Float[np.ndarray, "C W 3 3"]
    image_translations: Float[np.ndarray, "C W 3"]

    def __len__(self) -> int:
        return len(self.rotations)


def special_cosets(space_group_number: int, metric: Float[np.ndarray, "3 3"]) -> tuple[int, ...]:
    """Find the special settings of a group that keep the metric of a cell.

    Args:
        space_group_number: 1 to 230.
        metric: of the cell, shape (3, 3), square angstrom.

    Returns:
        Rows of `special_rotations` in the tables that change no squared length by more than 0.2 %.

    Source: book, method-canonical.
    """
    tables = symmetry_tables()
    number = space_group_number
    first, last = (int(row) for row in tables.special_start[number - 1 : number + 1])
    rotations = tables.special_rotations[first:last].astype(np.float64)
    lengths = np.sqrt(np.diag(metric))
    change = np.abs(rotations.mT @ metric @ rotations - metric) / np.outer(lengths, lengths)
    return tuple((first + np.flatnonzero(change.max(axis=(1, 2)) < METRIC_TOLERANCE)).tolist())


@cache
def settings_of(space_group_number: int, special: tuple[int, ...]) -> Settings:
    """Work out the settings of a group: the Euclidean cosets, and their products with special ones.

    Args:
        space_group_number: 1 to 230.
        special: rows that `special_cosets` found.

    Returns:
        The settings, the identity first.

    Raises:
        ValueError: a setting moves a position onto none of the group's: the tables are wrong.

    Source: book, method-canonical.
    """
    number = space_group_number
    tables, rows = symmetry_tables(), positions_of(number)
    euclidean = slice(*tables.normaliser_start[number - 1 : number + 1])
    w = e_w = tables.normaliser_rotations[euclidean].astype(np.float64)
    t = e_t = tables.normaliser_translations[euclidean]
    for row in special:
        s_w, s_t = tables.special_rotations[row], tables.special_translations[row]
        w = np.concatenate([w, s_w @ e_w])
        t = np.concatenate([t, e_t @ s_w.T + s_t])

    first = tables.orbit_start[rows]
    loci = tables.orbit_rotations[first], tables.orbit_translations[first]
    rank = list(zip(tables.multiplicity[rows], tables.degrees_of_freedom[rows], strict=True))
    operations = operations_of(number)
    n_cosets, n_positions = len(w), len(rank)
    image = np.zeros((n_cosets, n_positions), dtype=np.int64)
    image_rotations = np.zeros((n_cosets, n_positions, 3, 3))
    image_translations = np.zeros((n_cosets, n_positions, 3))
    for c, position in np.ndindex(n_cosets, n_positions):
        moved = w[c] @ (loci[0][position] @ GENERIC + loci[1][position]) + t[c]
        points = operations[0] @ moved + operations[1]
        for target in range(n_positions):
            if rank[target] != rank[position]:
                continue
            is_hit = is_on_locus(loci[0][target], loci[1][target], points)
            if is_hit.any():
                break
        else:
            raise ValueError(
                f"coset {c} of the normaliser of space group {number} moves Wyckoff position "
                f"{position} onto none of the group's"
            )
        op = int(is_hit.argmax())
        rotation, translation = operations[0][op], operations[1][op]
        image[c, position] = target
        image_rotations[c, position] = rotation @ w[c]
        image_translations[c, position] = rotation @ t[c] + translation
    return Settings(w, image, image_rotations, image_translations)


def moved_k(
    lattice_k: Float[np.ndarray, "*batch 6"],
    metric: Float[np.ndarray, "*batch 3 3"],
    space_group_number: int,
    rotation: Float[np.ndarray, "*batch 3 3"],
) -> Float[np.ndarray, "*batch 6"]:
    """Return k of the cell after a change of axes that takes a point x to W x.

    Args:
        lattice_k: of the old cell, shape (..., 6); returned as it is where W keeps the metric.
        metric: of the old cell, shape (..., 3, 3), square angstrom.
        space_group_number: one for all.
        rotation: W, shape (..., 3, 3).

    Returns:
        Lattice coefficients, shape (..., 6).

    Source: book, method-canonical.
    """
    inverse = np.linalg.inv(rotation)
    moved = inverse.mT @ metric @ inverse
    is_kept = np.abs(moved - metric).max(axis=(-2, -1)) < EXACT
    k = constrain_k(metric_to_k(torch.from_numpy(moved)), space_group_number).numpy()
    return np.where(is_kept[..., None], lattice_k, k)


def is_on_locus(
    projection: Float[np.ndarray, "3 3"],
    origin: Float[np.ndarray, "3"],
    points: Float[np.ndarray, "n 3"],
) -> Bool[np.ndarray, "n"]:
    """Tell which points lie on the locus of a projection u -> R u + t, up to lattice translations.

    Args:
        projection: R, shape (3, 3).
        origin: t, shape (3,).
        points: fractional coordinates, shape (n, 3).

    Returns:
        Mask, shape (n,).

    Source: book, method-eq-locus.
    """
    offset = points @ (np.eye(3) - projection).T - origin
    return np.abs(offset - np.rint(offset)).max(axis=-1) < EXACT
