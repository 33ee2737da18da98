"""Wyckoff positions as sets of points: the nearest point, its distance, and the orbit.

Operation m of a position maps its free parameters u to R_m u + t_m. The image of all u, repeated by
every lattice translation, is a point, a line, a plane or all of space: the m-th *locus* of the
position. The first operation is a projection, so the parameters can be the point on the first locus
itself, the representative. All functions work on many sites at once, by a look-up in the tables and
products of 3 x 3 matrices.
"""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np
import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.symmetry import symmetry_tables

NEIGHBOUR_SHIFTS = torch.tensor(list(product((-1.0, 0.0, 1.0), repeat=3)), dtype=torch.float64)
# distances closer than this, in square angstrom or square lattice units, count as a tie
TIE_DECIMALS = 8


@dataclass(frozen=True)
class Loci:
    """The Wyckoff tables as tensors on one device, float64 and int64.

    A *row* is a Wyckoff position (1,731 of them), an *operation* a row of the orbits (14,433).

    Attributes:
        position_start: first row of each group; group G has rows start[G - 1] to start[G] - 1.
        degrees_of_freedom: free coordinates of each position, 0 to 3.
        multiplicity: atoms of each position in the conventional cell.
        orbit_start: first operation of each position.
        rotations, translations: the operations, fractional.
        row_of_operation: position that each operation belongs to.
        bases: in the first columns a basis of the directions of each locus, 0 in the others.
        spare: 1 on the diagonal for the columns of `bases` that are 0.
        complements: takes the part of a displacement that leaves the locus, fractional metric.
        shifts: the 27 lattice translations around the origin.

    Source: book, method-projection.
    """

    position_start: Int[Tensor, "231"]
    degrees_of_freedom: Int[Tensor, "positions"]
    multiplicity: Int[Tensor, "positions"]
    orbit_start: Int[Tensor, "positions_plus_1"]
    rotations: Float[Tensor, "operations 3 3"]
    translations: Float[Tensor, "operations 3"]
    row_of_operation: Int[Tensor, "operations"]
    bases: Float[Tensor, "operations 3 3"]
    spare: Float[Tensor, "positions 3 3"]
    complements: Float[Tensor, "operations 3 3"]
    shifts: Float[Tensor, "27 3"]


@cache
def loci(device: torch.device) -> Loci:
    """Put the tables on a device, once.

    Args:
        device: where the sites are.

    Returns:
        The tables, shared: do not write into them.

    Source: book, method-projection.
    """
    tables = symmetry_tables()
    row_of_operation = np.repeat(np.arange(len(tables.letter)), np.diff(tables.orbit_start))
    first = tables.orbit_rotations[tables.orbit_start[:-1]]
    # R_m R_0 = R_m: a basis of the first locus, rotated, is a basis of every other
    bases = tables.orbit_rotations @ _column_bases(first)[row_of_operation]
    spare = np.eye(3) * (np.arange(3) >= tables.degrees_of_freedom[:, None, None])
    coefficients = np.linalg.pinv(bases)

    def put(array: np.ndarray, dtype: torch.dtype) -> Tensor:
        return torch.tensor(array, dtype=dtype, device=device)

    return Loci(
        position_start=put(tables.position_start, torch.int64),
        degrees_of_freedom=put(tables.degrees_of_freedom, torch.int64),
        multiplicity=put(tables.multiplicity, torch.int64),
        orbit_start=put(tables.orbit_start, torch.int64),
        rotations=put(tables.orbit_rotations, torch.float64),
        translations=put(tables.orbit_translations, torch.float64),
        row_of_operation=put(row_of_operation, torch.int64),
        bases=put(bases, torch.float64),
        spare=put(spare, torch.float64),
        complements=put(np.eye(3) - bases @ coefficients, torch.float64),
        shifts=NEIGHBOUR_SHIFTS.to(device),
    )


def position_row(
    space_group_number: Int[Tensor, "*#X"], wyckoff_position: Int[Tensor, "*X"]
) -> Int[Tensor, "*X"]:
    """Return the table rows of Wyckoff positions that are counted within their groups.

    Args:
        space_group_number: 1 to 230, of a shape that broadcasts to that of the positions.
        wyckoff_position: index within the group, 0 is the general position.

    Returns:
        Row in the table of all 1,731 positions, shape of `wyckoff_position`.

    Source: ours.
    """
    start = loci(wyckoff_position.device).position_start
    return start[space_group_number - 1] + wyckoff_position


def project(
    coords: Float[Tensor, "S 3"], operation: Int[Tensor, "S"], lattice: Float[Tensor, "S 3 3"]
) -> tuple[Float[Tensor, "S 3"], Float[Tensor, "S 3"]]:
    """Return the nearest point of a locus, as the representative of its orbit.

    Args:
        coords: fractional coordinates, shape (S, 3), float64.
        operation: operation whose locus is meant, shape (S,).
        lattice: rows a, b, c, shape (S, 3, 3), angstrom: "nearest" is in space.

    Returns:
        The point of the first locus that the operation sends next to `coords`, and what
        separates `coords` from the locus, both fractional, shape (S, 3).

    Source: book, method-eq-nearest-space.
    """
    tables = loci(coords.device)
    row = tables.row_of_operation[operation]
    basis = tables.bases[operation]
    basis_in_metric = basis.mT @ (lattice @ lattice.mT)
    coefficients = inverse_3x3(basis_in_metric @ basis + tables.spare[row]) @ basis_in_metric
    complement = torch.eye(3, dtype=coords.dtype, device=coords.device) - basis @ coefficients

    offset = coords - tables.translations[operation]
    offset = offset - offset.round()
    to_space = lattice.mT @ complement
    misses = to_space @ offset.unsqueeze(-1) - to_space @ tables.shifts.mT
    nearest = misses.square().sum(-2).round(decimals=TIE_DECIMALS).argmin(-1)
    offset = (offset - tables.shifts[nearest]).unsqueeze(-1)

    first = tables.orbit_start[row]
    representative = tables.bases[first] @ (coefficients @ offset)
    return (
        representative.squeeze(-1) + tables.translations[first],
        (complement @ offset).squeeze(-1),
    )


def squared_distance(
    coords: Float[Tensor, "S 3"], operation: Int[Tensor, "S"]
) -> Float[Tensor, "S"]:
    """Squared distance to a locus, modulo lattice translations.

    Args:
        coords: fractional coordinates, shape (S, 3), float64.
        operation: operation whose locus is meant, shape (S,).

    Returns:
        Squared fractional distances, shape (S,).

    Source: book, method-eq-nearest.
    """
    tables = loci(coords.device)
    offset = coords - tables.translations[operation]
    offset = offset - offset.round()
    complement = tables.complements[operation]
    misses = complement @ offset.unsqueeze(-1) - complement @ tables.shifts.mT
    return misses.square().sum(-2).amin(-1).round(decimals=TIE_DECIMALS)


def expand_orbits(
    representatives: Float[Tensor, "S 3"], row: Int[Tensor, "S"]
) -> tuple[Float[Tensor, "A 3"], Int[Tensor, "A"]]:
    """Return every atom of every orbit: {R_m u + t_m mod 1}.

    Args:
        representatives: a point on the first locus of each position, shape (S, 3).
        row: Wyckoff position as a row of the tables, shape (S,).

    Returns:
        Fractional coordinates in [0, 1), shape (A, 3), orbit after orbit with the
        representative first, and the site of each atom, shape (A,).

    Source: book, method-projection.
    """
    tables = loci(representatives.device)
    site, operation = ranges(tables.orbit_start[row], tables.multiplicity[row])
    atoms = (tables.rotations[operation] @ representatives[site].unsqueeze(-1)).squeeze(-1)
    return wrap(atoms + tables.translations[operation]), site


def wrap(coords: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """Map coordinates to [0, 1); what rounding leaves just below 1 becomes 0.

    Args:
        coords: fractional coordinates, shape (..., 3).

    Returns:
        Coordinates in [0, 1), shape (..., 3).

    Source: ours.
    """
    wrapped = coords - coords.floor()
    return torch.where(wrapped > 1 - 1e-12, 0.0, wrapped)


def ranges(
    start: Int[Tensor, "S"], length: Int[Tensor, "S"]
) -> tuple[Int[Tensor, "A"], Int[Tensor, "A"]]:
    """Concatenate the integers start[i], ..., start[i] + length[i] - 1 for all i.

    Args:
        start: first entry of each range, shape (S,).
        length: number of its entries, at least 0, shape (S,).

    Returns:
        The i of each entry, and the entry, both of shape (sum of lengths,).

    Source: ours.
    """
    owner = torch.arange(len(start), device=start.device).repeat_interleave(length)
    before = length.cumsum(0) - length
    return owner, torch.arange(len(owner), device=start.device) + (start - before)[owner]


def inverse_3x3(matrix: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Invert matrices by their cofactors: for many small matrices much faster than a factorisation.

    Args:
        matrix: of non-zero determinant, shape (..., 3, 3).

    Returns:
        Inverses, shape (..., 3, 3); not finite where the determinant is 0.

    Source: ours: Cramer's rule.
    """
    a, b, c = matrix.unbind(-2)
    cofactors = torch.stack(
        [torch.linalg.cross(b, c), torch.linalg.cross(c, a), torch.linalg.cross(a, b)], dim=-1
    )
    determinant = (a * cofactors[..., 0]).sum(-1)
    return cofactors / determinant[..., None, None]


def _column_bases(projectors: Float[np.ndarray, "n 3 3"]) -> Float[np.ndarray, "n 3 3"]:
    """Return independent columns of each matrix, moved to the left; the rest is 0."""
    bases = np.zeros_like(projectors)
    for basis, projector in zip(bases, projectors, strict=True):
        rank = 0
        for column in projector.T:
            basis[:, rank] = column
            if np.linalg.matrix_rank(basis) > rank:
                rank += 1
                if rank == 3:
                    break
            else:
                basis[:, rank] = 0
    return bases


def nearest_point(coords: Float[Tensor, "S 3"], row: Int[Tensor, "S"]) -> Float[Tensor, "S 3"]:
    """Return the nearest point of each position's first locus in the fractional metric.

    Unlike `project` it keeps the lattice translation: the point is the one next to `coords`.

    Args:
        coords: fractional coordinates, shape (S, 3), float64.
        row: Wyckoff position as a row of the tables, shape (S,).

    Returns:
        Points on the loci, fractional, shape (S, 3).

    Source: book, method-eq-nearest.
    """
    tables = loci(coords.device)
    first = tables.orbit_start[row]
    offset = coords - tables.translations[first]
    whole = offset.round()
    complement = tables.complements[first]
    misses = complement @ (offset - whole).unsqueeze(-1) - complement @ tables.shifts.mT
    nearest = misses.square().sum(-2).round(decimals=TIE_DECIMALS).argmin(-1, keepdim=True)
    miss = misses.gather(-1, nearest[:, None].expand(-1, 3, 1)).squeeze(-1)
    return coords - miss
