"""From predicted asymmetric units to finished crystals, for whole batches at once.

Letters are decoded, every site is moved onto the locus of its Wyckoff position, orbits
that collapsed are merged, the cell is filled from the tables and judged. Nothing is
dropped: each request is answered by one record with a status and a reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal, cell_parameters
from symmbfn.crystals.decoding import decode_wyckoff
from symmbfn.crystals.distances import PairDistances, reduce_lattice
from symmbfn.crystals.elements import COVALENT_RADIUS, SYMBOLS
from symmbfn.crystals.lattice import (
    is_plausible_lattice,
    k_to_parameters,
    lattice_constraints,
    parameters_to_matrix,
)
from symmbfn.crystals.loci import expand_orbits, inverse_3x3, loci, project, ranges
from symmbfn.crystals.symmetry import symmetry_tables

__all__ = ["Crystal", "decode_wyckoff", "reconstruct"]

FAR_FROM_LOCUS = 0.15  # fractional: beyond it, the other loci of the position are tried
MERGE_DISTANCE = 0.6  # angstrom: atoms of one orbit closer than this are one atom
DUPLICATE_DISTANCE = 0.05  # angstrom: two orbits closer than this are one orbit
MINIMUM_DISTANCE = 0.5  # angstrom
MINIMUM_VOLUME = 0.1  # cubic angstrom
CHUNK_CRYSTALS = 1024
CHUNK_PAIRS = 1_000_000
SAFE_K = (0.0, 0.0, 0.0, 0.0, 0.0, 2.0)


def reconstruct(
    batch: AsymmetricUnitBatch,
    *,
    wyckoff_log_probs: Float[Tensor, "B N 27"] | None = None,
    axis_log_probs: Float[Tensor, "B N 15 13"] | None = None,
    representative: str = "locus",
    merge: bool = True,
    indices: Sequence[int] | None = None,
    seed: int | None = None,
) -> list[Crystal]:
    """Build a full crystal from each predicted asymmetric unit.

    Args:
        batch: predictions; `lattice_k` and `fractional_coords` need not obey the group.
        wyckoff_log_probs: log P of each Wyckoff position, decoded by `decode_wyckoff`.
        axis_log_probs: log P of each axis symbol instead. With neither, the positions in
            the batch are taken as they are.
        representative: "locus" when sites were encoded on the first locus of their
            position, "centre" when they may lie on any of its loci (method 1.3).
        merge: clean up orbits that collapsed and sites that coincide. Off where the
            composition or the positions are a condition: then coinciding sites fail.
        indices: number of each request, 0, 1, ... by default.
        seed: written into the records.

    Returns:
        One record per crystal of the batch, in order. Status "ok", "invalid_geometry"
        (a structure that breaks a guard) or "reconstruction_failed" (no structure).

    Raises:
        ValueError: a space group, element, position or option that does not exist.

    Source: method 7.2-7.4, guards of 3.3 and 8.7.
    """
    _check(batch, representative)
    indices = range(len(batch)) if indices is None else indices
    if len(indices) != len(batch):
        raise ValueError(f"{len(indices)} indices for {len(batch)} crystals")
    crystals = []
    for start in range(0, len(batch), CHUNK_CRYSTALS):
        rows = slice(start, start + CHUNK_CRYSTALS)
        part, width = batch[rows], int(batch.n_sites[rows].max())
        probabilities = [
            None if values is None else values[rows, :width]
            for values in (wyckoff_log_probs, axis_log_probs)
        ]
        built = _reconstruct_chunk(part, *probabilities, representative, merge)
        for index, crystal in zip(indices[rows], built, strict=True):
            crystal.index, crystal.seed = int(index), seed
            crystals.append(crystal)
    return crystals


def _check(batch: AsymmetricUnitBatch, representative: str) -> None:
    """Refuse what no network can cause."""
    if representative not in ("locus", "centre"):
        raise ValueError(f"representative must be 'locus' or 'centre', got {representative!r}")
    wrong = (batch.space_group_number < 1) | (batch.space_group_number > 230)
    if wrong.any():
        number = int(batch.space_group_number[wrong][0])
        raise ValueError(f"space group number must be 1 to 230, got {number}")
    numbers = batch.atomic_numbers[batch.is_site]
    wrong = (numbers < 1) | (numbers >= len(SYMBOLS))
    if wrong.any():
        raise ValueError(f"no element has atomic number {int(numbers[wrong][0])}")
    starts = loci(batch.device).position_start
    n_positions = (starts[1:] - starts[:-1])[batch.space_group_number - 1].unsqueeze(-1)
    wrong = (batch.wyckoff_positions < 0) | (batch.wyckoff_positions >= n_positions)
    if wrong.any():
        row, site = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"space group {int(batch.space_group_number[row])} has no Wyckoff position "
            f"{int(batch.wyckoff_positions[row, site])}"
        )


@dataclass(frozen=True)
class _Sites:
    """The sites of all crystals in one row, crystal after crystal.

    `coords` is fractional and, once projected, on the first locus of `row`, a row of the
    table of Wyckoff positions; `residual` is in angstrom.
    """

    crystal: Int[Tensor, "S"]
    group: Int[Tensor, "S"]
    atomic_number: Int[Tensor, "S"]
    row: Int[Tensor, "S"]
    coords: Float[Tensor, "S 3"]
    confidence: Float[Tensor, "S"]
    residual: Float[Tensor, "S"]

    def __getitem__(self, mask: Tensor) -> "_Sites":
        return _Sites(*(getattr(self, field.name)[mask] for field in fields(self)))


def _reconstruct_chunk(
    batch: AsymmetricUnitBatch,
    wyckoff_log_probs: Tensor | None,
    axis_log_probs: Tensor | None,
    representative: str,
    merge: bool,
) -> list[Crystal]:
    batch, wyckoff_log_probs, axis_log_probs, failures = _without_nan(
        batch, wyckoff_log_probs, axis_log_probs
    )
    if wyckoff_log_probs is None and axis_log_probs is None:
        positions = batch.wyckoff_positions
        confidence = torch.zeros(positions.shape, dtype=torch.float64, device=batch.device)
    else:
        positions, confidence = decode_wyckoff(
            batch,
            wyckoff_log_probs=wyckoff_log_probs,
            axis_log_probs=axis_log_probs,
            representative=representative,
        )

    lattice_k = _lattice_on_family(batch)
    parameters = k_to_parameters(lattice_k, batch.space_group_number)
    lattice = parameters_to_matrix(parameters)
    has_cell = lattice.flatten(1).isfinite().all(-1) & (lattice.flatten(1).abs().amax(-1) < 1e6)
    failures = np.where(~has_cell.cpu().numpy() & (failures == ""), "no finite cell", failures)
    has_volume = has_cell & (torch.linalg.det(lattice) > MINIMUM_VOLUME)
    # a cell that is nowhere fit to measure in still gets its atoms placed
    ruler = torch.where(
        has_volume[:, None, None], lattice, 10 * torch.eye(3, dtype=lattice.dtype).to(lattice)
    )

    sites = _gather_sites(batch, positions, confidence)
    sites = _on_loci(sites, ruler, representative)
    reduced = reduce_lattice(ruler)
    if merge:
        sites = _merge_collapsed(sites, ruler, reduced)
    geometry = _measure(sites, ruler, reduced, merge)
    geometry.minimum_distance[~has_volume] = torch.nan
    geometry.contact_ratio[~has_volume] = torch.nan
    is_plausible = is_plausible_lattice(lattice_k, batch.space_group_number)
    return _records(batch, lattice_k, lattice, is_plausible, geometry, failures, merge)


def _without_nan(
    batch: AsymmetricUnitBatch, wyckoff_log_probs: Tensor | None, axis_log_probs: Tensor | None
) -> tuple[AsymmetricUnitBatch, Tensor | None, Tensor | None, np.ndarray]:
    """Replace what is not finite by harmless numbers; return the reason for each crystal."""
    is_site = batch.is_site
    finite_k = batch.lattice_k.isfinite().all(-1)
    finite_x = (batch.fractional_coords.isfinite().all(-1) | ~is_site).all(-1)
    reasons = np.where(finite_x.cpu().numpy(), "", "coordinates are not finite")
    reasons = np.where(finite_k.cpu().numpy(), reasons, "lattice is not finite")
    cleaned: list[Tensor | None] = []
    for values in (wyckoff_log_probs, axis_log_probs):
        if values is not None:
            # -inf is a probability of 0; NaN and +inf survive a sum
            total = values.flatten(2).sum(-1)
            is_bad = (total.isnan() | total.isposinf()) & is_site
            is_bad_crystal = is_bad.any(-1)
            reasons = np.where(
                is_bad_crystal.cpu().numpy(), "Wyckoff probabilities are not finite", reasons
            )
            if is_bad_crystal.any():
                values = values.masked_fill(is_bad[(...,) + (None,) * (values.ndim - 2)], 0.0)
        cleaned.append(values)
    reasons = np.where(is_site.any(-1).cpu().numpy(), reasons, "no sites")
    safe_k = torch.tensor(SAFE_K, dtype=torch.float64, device=batch.device)
    batch = replace(
        batch,
        lattice_k=torch.where(finite_k.unsqueeze(-1), batch.lattice_k.double(), safe_k),
        fractional_coords=batch.fractional_coords.double().nan_to_num(0.0, 0.0, 0.0),
    )
    return batch, cleaned[0], cleaned[1], reasons


def _lattice_on_family(batch: AsymmetricUnitBatch) -> Float[Tensor, "B 6"]:
    """Overwrite the lattice coefficients that the group fixes. Source: method 3.1."""
    free, fixed = lattice_constraints(batch.space_group_number)
    return torch.where(free, batch.lattice_k.double(), fixed.double())


def _gather_sites(batch: AsymmetricUnitBatch, positions: Tensor, confidence: Tensor) -> _Sites:
    crystal = batch.is_site.nonzero()[:, 0]
    group = batch.space_group_number[crystal]
    first_row = loci(batch.device).position_start[group - 1]
    return _Sites(
        crystal=crystal,
        group=group,
        atomic_number=batch.atomic_numbers[batch.is_site],
        row=first_row + positions[batch.is_site],
        coords=batch.fractional_coords[batch.is_site],
        confidence=confidence[batch.is_site],
        residual=confidence.new_zeros(len(crystal)),
    )


def _on_loci(sites: _Sites, lattice: Float[Tensor, "B 3 3"], representative: str) -> _Sites:
    """Move every site onto its locus: the first one, or any where that is far. Source: 7.3."""
    tables = loci(sites.coords.device)
    cell = lattice[sites.crystal]
    coords, miss = project(sites.coords, tables.orbit_start[sites.row], cell)
    is_far = miss.square().sum(-1) > FAR_FROM_LOCUS**2
    if representative == "centre":
        is_far = tables.multiplicity[sites.row] > 1
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


def _merge_collapsed(
    sites: _Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"]
) -> _Sites:
    """Move sites whose own images are too close onto the special position between them.

    The position has smaller multiplicity and is the nearest such; multiplicities fall, so
    this ends.

    Source: method 7.4, rule 1.
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
        )
        todo = todo[tables.degrees_of_freedom[sites.row[todo]] > 0]
    return sites


def _closest_own_image(
    sites: _Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"]
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
class _Geometry:
    """The sites that remain, their atoms, and the distance guards of every crystal."""

    sites: _Sites
    atoms: Float[Tensor, "A 3"]
    site_of_atom: Int[Tensor, "A"]
    minimum_distance: Float[Tensor, "B"]
    contact_ratio: Float[Tensor, "B"]
    overlaps: dict[int, str]
    duplicates: dict[int, str]


def _measure(
    sites: _Sites, lattice: Float[Tensor, "B 3 3"], reduced: Float[Tensor, "B 3 3"], merge: bool
) -> _Geometry:
    """Fill the cells, drop sites that coincide, and measure the closest contacts.

    By symmetry, representatives against all atoms see every distance.

    Source: method 7.4, rule 2; 8.7.
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

    shortest = reduced[:, 0].square().sum(-1).sqrt()
    radius = torch.tensor(COVALENT_RADIUS, device=atoms.device)[sites.atomic_number]
    largest = radius.new_zeros(len(lattice)).scatter_reduce(0, sites.crystal, radius, "amax")
    minimum, contact = shortest.clone(), shortest / (2 * largest)
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
    return _Geometry(sites, atoms, site_of_atom, minimum, contact, overlaps, duplicates)


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
    sites: _Sites,
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


def _records(
    batch: AsymmetricUnitBatch,
    lattice_k: Float[Tensor, "B 6"],
    lattice: Float[Tensor, "B 3 3"],
    is_plausible: Bool[Tensor, "B"],
    geometry: _Geometry,
    failures: np.ndarray,
    merge: bool,
) -> list[Crystal]:
    """Cut the flat arrays into one record per crystal and judge each."""
    sites, n_crystals = geometry.sites, len(batch)
    group = batch.space_group_number.tolist()
    tables = symmetry_tables()
    rows = sites.row.cpu().numpy()
    letters = tables.letter[rows].tolist()
    positions = rows - tables.position_start[sites.group.cpu().numpy() - 1]
    numbers = sites.atomic_number.cpu().numpy()
    coords = sites.coords.cpu().numpy()
    coords = coords - np.floor(coords - (CHART_END - 1))
    residual = sites.residual.cpu().numpy()
    site_of_atom = geometry.site_of_atom.cpu().numpy()
    atoms, atom_numbers = geometry.atoms.cpu().numpy(), numbers[site_of_atom]
    site_start = _offsets(sites.crystal, n_crystals)
    atom_start = _offsets(sites.crystal[geometry.site_of_atom], n_crystals)
    k, cells = lattice_k.cpu().numpy(), lattice.cpu().numpy()
    minimum, contact = geometry.minimum_distance.tolist(), geometry.contact_ratio.tolist()
    plausible = is_plausible.tolist()

    crystals = []
    for row, number in enumerate(group):
        failure = str(failures[row])
        if not failure and not merge:
            failure = geometry.overlaps.get(row) or geometry.duplicates.get(row, "")
        if failure:
            crystals.append(Crystal.failed(row, None, "reconstruction_failed", failure, number))
            continue
        reason = _broken_guard(
            plausible[row], cells[row], minimum[row], geometry.overlaps.get(row, "")
        )
        own = slice(site_start[row], site_start[row + 1])
        own_atoms = slice(atom_start[row], atom_start[row + 1])
        unit = AsymmetricUnit(number, k[row], numbers[own], positions[own], coords[own])
        crystals.append(
            Crystal(
                index=row,
                seed=None,
                status="invalid_geometry" if reason else "ok",
                reason=reason,
                space_group_number=number,
                lattice_matrix=cells[row],
                atomic_numbers=atom_numbers[own_atoms],
                fractional_coords=atoms[own_atoms],
                orbit=site_of_atom[own_atoms] - site_start[row],
                letters=tuple(letters[own]),
                unit=unit,
                residual=residual[own],
                minimum_distance=minimum[row],
                contact_ratio=contact[row],
            )
        )
    return crystals


def _offsets(crystal: Int[Tensor, "X"], n_crystals: int) -> list[int]:
    return [0, *torch.bincount(crystal, minlength=n_crystals).cumsum(0).tolist()]


def _broken_guard(
    is_plausible: bool, cell: np.ndarray, minimum_distance: float, overlap: str
) -> str:
    """Return why a structure is no valid geometry, or nothing. Source: method 3.3, 7.4, 8.7."""
    if not is_plausible:
        parameters = " ".join(f"{value:.4g}" for value in cell_parameters(cell))
        return f"implausible cell {parameters}"
    if overlap:
        return overlap
    if not minimum_distance > MINIMUM_DISTANCE:
        return f"atoms {minimum_distance:.3f} angstrom apart"
    return ""
