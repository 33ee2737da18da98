"""The shortest contacts of one cell."""

import torch

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.distances import PairDistances, reduce_lattice
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.loci import inverse_3x3

CONTACT_RATIO = 0.7  # of a distance and the sum of the two covalent radii, in real crystals


def closest_contacts(cell: Cell) -> tuple[float, float]:
    """Return the shortest distance, and the smallest distance in sums of covalent radii.

    The two may belong to different pairs. Images of an atom in neighbouring cells count.

    Args:
        cell: at least one atom, a volume above 0, all numbers finite.

    Returns:
        Distance in angstrom, and the smallest ratio of a distance to the sum of the two radii.

    Source: book, method-validity: equal to what `measure` finds for crystals built from sites.
    """
    lattice = torch.tensor(cell.lattice_matrix, dtype=torch.float64).unsqueeze(0)
    reduced = reduce_lattice(lattice)
    change = (lattice @ inverse_3x3(reduced)).round()[0]
    coords = torch.tensor(cell.fractional_coords, dtype=torch.float64) @ change
    radius = torch.tensor(COVALENT_RADIUS[cell.atomic_numbers])
    shortest = reduced[0, 0].norm()
    first, second = torch.triu_indices(len(cell), len(cell), offset=1)
    radii = radius[first] + radius[second]
    pairs = PairDistances(coords, first, second, reduced, torch.zeros_like(first))
    minimum = torch.cat([shortest[None], pairs.distance]).amin()
    ratio = torch.cat([shortest[None] / (2 * radius.amax()), pairs.distance / radii]).amin()
    close = (pairs.lower <= minimum) | (pairs.lower <= ratio * radii)
    distance = pairs.refine(close)
    minimum = torch.cat([minimum[None], distance]).amin()
    ratio = torch.cat([ratio[None], distance / radii]).amin()
    return float(minimum), float(ratio)
