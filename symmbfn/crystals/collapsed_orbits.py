"""Sites of many crystals on their loci: collapsed orbits, coinciding sites, closest contacts."""

from dataclasses import dataclass, fields, replace
from itertools import pairwise

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.distances import PairDistances
from symmbfn.crystals.elements import COVALENT_RADIUS, SYMBOLS
from symmbfn.crystals.loci import expand_orbits, inverse_3x3, loci, project, ranges

FAR_FROM_LOCUS = 0.15  # fractional: beyond it, the other loci of the position are tried
MERGE_DISTANCE = 0.6  # angstrom: atoms of one orbit closer than this are one atom
DUPLICATE_DISTANCE = 0.05  # angstrom: two orbits closer than this are one orbit
CHUNK_PAIRS = 1_000_000


@dataclass(frozen=True)
class Sites:
    """The sites of all crystals in one list, crystal after crystal.

    Attributes:
        crystal: which crystal each site belongs to, shape (S,), ascending.
        group: space group number, shape (S,).
        atomic_number: element, shape (S,).
        row: row in the table of Wyckoff positions, shape (S,).
        coords: fractional, shape (S, 3); once projected, on the first locus of `row`.
        confidence: log P of the position, shape (S,): of two sites in one place the more probable
            one stays.
        residual: how far the site was moved, shape (S,), angstrom.
        is_merged: moved to a more special position than the predicted one, shape (S,).

    Source: ours.
    """

    crystal: Int[Tensor, "S"]
    group: Int[Tensor, "S"]
    atomic_number: Int[Tensor, "S"]
    row: Int[Tensor, "S"]
    coords: Float[Tensor, "S 3"]
    confidence: Float[Tensor, "S"]
    residual: Float[Tensor, "S"]
    is_merged: Bool[Tensor, "S"]

    def __getitem__(self, mask: Tensor) -> "Sites":
        return Sites(*(getattr(self, field.name)[mask] for field in fields(self)))


def put_on_loci(sites: Sites, lattice: Float[Tensor, "B 3 3"]) -> Sites:
    """Move every site onto the first locus of its position, or onto any if the first is far.

    Args:
        sites: S sites with coordinates anywhere.
        lattice: rows a, b, c of each crystal, shape (B, 3, 3), angstrom.

    Returns:
        The sites with coordinates on their first loci and their residuals.

    Source: book, method-projection.
    """
    tables = loci(sites.coords.device)
    cell = lattice[sites.crystal]
    coords, miss = project(sites.coords, tables.orbit_start[sites.row], cell)
    is_far = miss.square().sum(-1) > FAR_FROM_LOCUS**2
    residual = _length(miss, cell)
    if is_far.any():
        far = is_far.nonzero().squeeze(-1)
        row = sites.row[far]
        owner, operation = ranges(tables.orbit_start[row], tables.multiplicity[row])
        coords[far], residual[far], _ = _nearest_locus(
            sites.coords[far], cell[far], owner, operation
        )
    return replace(sites, coords=coords, residual=residual)


def _nearest_locus(
    coords: Float[Tensor, "S 3"],
    lattice: Float[Tensor, "S 3 3"],
    owner: Int[Tensor, "T"],
    operation: Int[Tensor, "T"],
) -> tuple[Float[Tensor, "S 3"], Float[Tensor, "S"], Int[Tensor, "S"]]:
    """Project each site onto the nearest of the loci tried for it; the first one wins a tie.

    Returns:
        Representatives, distances in angstrom, and the operation of the nearest locus.
    """
    tried, miss = project(coords[owner], operation, lattice[owner])
    distance = _length(miss, lattice[owner]).round(decimals=6)
    least = distance.new_full((len(coords),), torch.inf)
    least = least.scatter_reduce(0, owner, distance, "amin")
    entry = torch.arange(len(owner), device=owner.device)
    entry = entry.masked_fill(distance > least[owner], len(owner))
    best = entry.new_full((len(coords),), len(owner)).scatter_reduce(0, owner, entry, "amin")
    return tried[best], distance[best], operation[best]


def _length(fractional: Float[Tensor, "S 3"], lattice: Float[Tensor, "S 3 3"]) -> Tensor:
    return (fractional.unsqueeze(-2) @ lattice).squeeze(-2).square().sum(-1).sqrt()


def _to_reduced(lattice: Tensor, reduced: Tensor) -> Float[Tensor, "B 3 3"]:
    """Return T with (row of fractional coordinates) T = coordinates in the reduced basis."""
    return (lattice @ inverse_3x3(reduced)).round()


def merge_collapsed(
    sites: Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"]
) -> Sites:
    """Move sites whose own images are too close onto the special position between them.

    Of all positions of smaller multiplicity the nearest one is taken, if it is near enough. The
    multiplicity falls each time, so the loop ends.

    Args:
        sites: on their loci.
        lattice: rows a, b, c of each crystal, shape (B, 3, 3), angstrom.
        reduced: reduced basis of the same lattices, see `reduce_lattice`.

    Returns:
        As many sites; those that moved have another row and `is_merged` set.

    Source: book, method-cleaning: rule 1.
    """
    tables = loci(sites.coords.device)
    todo = (tables.degrees_of_freedom[sites.row] > 0).nonzero().squeeze(-1)
    while len(todo):
        crowded = _closest_own_image(sites[todo], lattice, reduced) < MERGE_DISTANCE
        todo = todo[crowded]
        first = tables.position_start[sites.group[todo] - 1]
        last = tables.position_start[sites.group[todo]]
        length = tables.orbit_start[last] - tables.orbit_start[first]
        owner, operation = ranges(tables.orbit_start[first], length)
        multiplicity = tables.multiplicity[sites.row[todo]]
        is_smaller = tables.multiplicity[tables.row_of_operation[operation]] < multiplicity[owner]
        owner, operation = owner[is_smaller], operation[is_smaller]
        has_any = torch.zeros_like(todo, dtype=torch.bool)
        has_any[owner] = True
        owner = (has_any.cumsum(0) - 1)[owner]
        todo = todo[has_any]
        if len(todo) == 0:
            break
        coords, distance, operation = _nearest_locus(
            sites.coords[todo], lattice[sites.crystal[todo]], owner, operation
        )
        # images can also be close because the cell is tiny: then there is nothing to merge
        near = distance < MERGE_DISTANCE
        todo = todo[near]
        sites = replace(
            sites,
            coords=sites.coords.index_copy(0, todo, coords[near]),
            row=sites.row.index_copy(0, todo, tables.row_of_operation[operation[near]]),
            residual=sites.residual.index_add(0, todo, distance[near]),
            is_merged=sites.is_merged.index_fill(0, todo, True),
        )
        todo = todo[tables.degrees_of_freedom[sites.row[todo]] > 0]
    return sites


def _closest_own_image(
    sites: Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"]
) -> Float[Tensor, "S"]:
    """Return the distance from each site to the nearest other atom of its orbit, in angstrom.

    Exact below the merging distance, an upper bound above it.
    """
    atoms, site = expand_orbits(sites.coords, sites.row)
    change = _to_reduced(lattice, reduced)
    coords = (atoms.unsqueeze(-2) @ change[sites.crystal[site]]).squeeze(-2)
    size = loci(atoms.device).multiplicity[sites.row]
    start = size.cumsum(0) - size
    second = torch.arange(len(atoms), device=atoms.device)
    is_image = second != start[site]
    second, owner = second[is_image], site[is_image]
    pairs = PairDistances(coords, start[owner], second, reduced, sites.crystal[owner])
    distance = pairs.refine(pairs.lower < MERGE_DISTANCE)
    return distance.new_full((len(size),), torch.inf).scatter_reduce(0, owner, distance, "amin")


@dataclass(frozen=True)
class Geometry:
    """The sites that remain, their atoms, and the distance guards of every crystal.

    Attributes:
        sites: those that were kept.
        atoms: fractional coordinates in [0, 1), orbit after orbit, shape (A, 3).
        site_of_atom: shape (A,).
        minimum_distance: shortest distance in each crystal, shape (B,), angstrom.
        contact_ratio: smallest distance over the sum of the two covalent radii, shape (B,).
        overlaps: crystal -> report of a pair of different elements that coincide.
        duplicates: crystal -> report of a pair of one element that coincide.

    Source: book, method-cleaning: rule 2; book, method-validity: contacts.
    """

    sites: Sites
    atoms: Float[Tensor, "A 3"]
    site_of_atom: Int[Tensor, "A"]
    minimum_distance: Float[Tensor, "B"]
    contact_ratio: Float[Tensor, "B"]
    overlaps: dict[int, str]
    duplicates: dict[int, str]


def measure(
    sites: Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"], merge: bool
) -> Geometry:
    """Fill the cells, drop sites that coincide, and measure the closest contacts.

    By symmetry the distances from the representatives to all atoms are all distances that occur.

    Args:
        sites: on their loci.
        lattice: rows a, b, c of each crystal, shape (B, 3, 3), angstrom.
        reduced: reduced basis of the same lattices, see `reduce_lattice`.
        merge: drop sites that coincide; otherwise they are reported and stay.

    Returns:
        Sites, atoms, distances and reports.

    Source: book, method-cleaning: rule 2; book, method-validity: contacts.
    """
    atoms, site_of_atom = expand_orbits(sites.coords, sites.row)
    tables = loci(atoms.device)
    change = _to_reduced(lattice, reduced)
    coords = (atoms.unsqueeze(-2) @ change[sites.crystal[site_of_atom]]).squeeze(-2)
    size = tables.multiplicity[sites.row]
    start = size.cumsum(0) - size
    n_atoms = torch.bincount(sites.crystal[site_of_atom], minlength=len(lattice))
    # from each representative to the later atoms of its orbit and to all later orbits
    n_later = n_atoms.cumsum(0)[sites.crystal] - start - 1

    radius = torch.tensor(COVALENT_RADIUS, device=atoms.device)[sites.atomic_number]
    minimum, contact = _to_next_cell(sites.crystal, radius, reduced)
    keep = torch.ones_like(sites.crystal, dtype=torch.bool)
    overlaps: dict[int, str] = {}
    duplicates: dict[int, str] = {}
    for part in _split(n_later, sites.crystal):
        first, second = ranges(start[part] + 1, n_later[part])
        first = first + part.start
        other = site_of_atom[second]
        crystal = sites.crystal[first]
        pairs = PairDistances(coords, start[first], second, reduced, crystal)
        distance = pairs.refine(pairs.lower < DUPLICATE_DISTANCE)
        coincide = (distance < DUPLICATE_DISTANCE) & (first != other)
        if coincide.any():
            links = torch.stack([first[coincide], other[coincide]], dim=-1)
            _drop_coinciding(links, sites, keep, overlaps, duplicates)
        alive = keep[first] & keep[other]
        radii = radius[first] + radius[other]
        bound = torch.where(alive, distance, torch.inf)
        minimum = minimum.scatter_reduce(0, crystal, bound, "amin")
        contact = contact.scatter_reduce(0, crystal, bound / radii, "amin")
        close = (pairs.lower <= minimum[crystal]) | (pairs.lower <= contact[crystal] * radii)
        distance = torch.where(alive, pairs.refine(close & alive), torch.inf)
        minimum = minimum.scatter_reduce(0, crystal, distance, "amin")
        contact = contact.scatter_reduce(0, crystal, distance / radii, "amin")

    if merge and not keep.all():
        is_kept_atom = keep[site_of_atom]
        site_of_atom = (keep.cumsum(0) - 1)[site_of_atom[is_kept_atom]]
        sites, atoms = sites[keep], atoms[is_kept_atom]
    return Geometry(sites, atoms, site_of_atom, minimum, contact, overlaps, duplicates)


def _to_next_cell(
    crystal: Int[Tensor, "S"], radius: Float[Tensor, "S"], reduced: Float[Tensor, "B 3 3"]
) -> tuple[Float[Tensor, "B"], Float[Tensor, "B"]]:
    """Distance of an atom to itself in the next cell, and over twice the largest radius."""
    shortest = reduced[:, 0].square().sum(-1).sqrt()
    largest = radius.new_zeros(len(reduced)).scatter_reduce(0, crystal, radius, "amax")
    return shortest, shortest / (2 * largest)


def _split(n_pairs: Int[Tensor, "S"], crystal: Int[Tensor, "S"]) -> list[slice]:
    """Cut the sites, between crystals, into runs of bounded work."""
    if len(crystal) == 0:
        return []
    total = torch.zeros(int(crystal[-1]) + 1, dtype=n_pairs.dtype, device=n_pairs.device)
    total = total.index_add(0, crystal, n_pairs).cumsum(0)
    block = (total // CHUNK_PAIRS)[crystal]
    cuts = (block[1:] != block[:-1]).nonzero().squeeze(-1) + 1
    return [slice(i, j) for i, j in pairwise([0, *cuts.tolist(), len(crystal)])]


def _drop_coinciding(
    links: Int[Tensor, "L 2"],
    sites: Sites,
    keep: Bool[Tensor, "S"],
    overlaps: dict[int, str],
    duplicates: dict[int, str],
) -> None:
    """Of two sites in one place keep the more confident, the first one in a tie."""
    for first, other in links.unique(dim=0).tolist():
        if not (keep[first] and keep[other]):
            continue
        crystal = int(sites.crystal[first])
        one, two = (SYMBOLS[int(sites.atomic_number[site])] for site in (first, other))
        report = duplicates if one == two else overlaps
        report.setdefault(crystal, f"sites of {one} and {two} coincide")
        weaker = other if sites.confidence[first] >= sites.confidence[other] else first
        keep[weaker] = False
