"""From predicted asymmetric units to finished crystals, for whole batches at once.

Letters are decoded, every site is moved onto the locus of its Wyckoff position, collapsed orbits
are merged, and the cell is filled from the tables and checked. Each request gives one record with
a status, a reason, and the numbers of sites that were merged and dropped.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END, AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.collapsed_orbits import Geometry, Sites, measure, merge_collapsed, put_on_loci
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.decoding import decode_wyckoff
from symmbfn.crystals.distances import MINIMUM_DISTANCE, MINIMUM_VOLUME, reduce_lattice
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.lattice import (
    cell_parameters,
    is_plausible_lattice,
    k_to_parameters,
    lattice_constraints,
    parameters_to_matrix,
)
from symmbfn.crystals.loci import loci, position_row
from symmbfn.crystals.symmetry import symmetry_tables

__all__ = ["Crystal", "cells_as_they_are", "decode_wyckoff", "reconstruct"]

CHUNK_CRYSTALS = 1024
SAFE_K = (0.0, 0.0, 0.0, 0.0, 0.0, 2.0)


def reconstruct(
    batch: AsymmetricUnitBatch,
    *,
    wyckoff_log_probs: Float[Tensor, "B N 27"] | None = None,
    axis_log_probs: Float[Tensor, "B N 15 13"] | None = None,
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
        merge: clean up orbits that collapsed and sites that coincide, and count them in
            `n_merged` and `n_dropped`. Off where the composition or the positions are a
            condition: then coinciding sites fail.
        indices: number of each request, 0, 1, ... by default.
        seed: written into the records.

    Returns:
        One record per crystal of the batch, in order. Status "ok", "invalid_geometry"
        (a structure that breaks a guard) or "reconstruction_failed" (no structure).

    Raises:
        ValueError: a space group, element, position or option that does not exist.

    Source: book, method-decoding; book, method-projection; book, method-cleaning.
    """
    _check(batch)
    indices = range(len(batch)) if indices is None else indices
    if len(indices) != len(batch):
        raise ValueError(f"{len(indices)} indices for {len(batch)} crystals")
    crystals = []
    for start in range(0, len(batch), CHUNK_CRYSTALS):
        rows = slice(start, start + CHUNK_CRYSTALS)
        part, width = batch[rows], int(batch.n_sites[rows].max())
        built = _reconstruct_chunk(
            part,
            None if wyckoff_log_probs is None else wyckoff_log_probs[rows, :width],
            None if axis_log_probs is None else axis_log_probs[rows, :width],
            merge,
        )
        for index, crystal in zip(indices[rows], built, strict=True):
            crystal.index, crystal.seed = int(index), seed
            crystals.append(crystal)
    return crystals


def cells_as_they_are(
    batch: AsymmetricUnitBatch,
    *,
    indices: Sequence[int] | None = None,
    seed: int | None = None,
) -> list[Crystal]:
    """Build a full crystal from predictions of all its atoms, without moving or merging any.

    Args:
        batch: sites are the atoms of the cell; `lattice_k` need not obey the group.
        indices: number of each request, 0, 1, ... by default.
        seed: written into the records.

    Returns:
        One record per crystal as from `reconstruct`, with the lattice of the space group's family
        and the group of the request. Their units have one site per atom, in P1.

    Raises:
        ValueError: a space group or element that does not exist.

    Source: Methods, "Baseline"; book, method-full-cell.
    """
    _check(batch)
    alone = replace(
        batch,
        space_group_number=torch.ones_like(batch.space_group_number),
        lattice_k=_lattice_on_family(batch),
        wyckoff_positions=torch.zeros_like(batch.wyckoff_positions),
    )
    crystals = reconstruct(alone, merge=False, indices=indices, seed=seed)
    for crystal, number in zip(crystals, batch.space_group_number.tolist(), strict=True):
        crystal.space_group_number = number
    return crystals


def _check(batch: AsymmetricUnitBatch) -> None:
    """Refuse what no network can cause."""
    if not isinstance(batch, AsymmetricUnitBatch):
        raise ValueError(
            "expected an AsymmetricUnitBatch, such as AsymmetricUnitBatch.stack([unit]), "
            f"got {type(batch).__name__}"
        )
    wrong = (batch.space_group_number < 1) | (batch.space_group_number > 230)
    if wrong.any():
        number = int(batch.space_group_number[wrong][0])
        raise ValueError(f"space group number must be 1 to 230, got {number}")
    numbers = batch.atomic_numbers[batch.is_site]
    wrong = (numbers < 1) | (numbers >= len(SYMBOLS))
    if wrong.any():
        raise ValueError(f"no element has atomic number {int(numbers[wrong][0])}")
    starts = loci(batch.device).position_start
    n_positions = starts.diff()[batch.space_group_number - 1].unsqueeze(-1)
    wrong = (batch.wyckoff_positions < 0) | (batch.wyckoff_positions >= n_positions)
    if wrong.any():
        row, site = wrong.nonzero()[0].tolist()
        raise ValueError(
            f"space group {int(batch.space_group_number[row])} has no Wyckoff position "
            f"{int(batch.wyckoff_positions[row, site])}"
        )


def _reconstruct_chunk(
    batch: AsymmetricUnitBatch,
    wyckoff_log_probs: Tensor | None,
    axis_log_probs: Tensor | None,
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
        )

    lattice_k = _lattice_on_family(batch)
    parameters = k_to_parameters(lattice_k, batch.space_group_number)
    lattice = parameters_to_matrix(parameters)
    has_cell = lattice.flatten(1).isfinite().all(-1) & (lattice.flatten(1).abs().amax(-1) < 1e6)
    failures = np.where(~has_cell.cpu().numpy() & (failures == ""), "no finite cell", failures)
    has_volume = has_cell & (torch.linalg.det(lattice) > MINIMUM_VOLUME)
    # where the cell has no volume, atoms are placed all the same, measured in a cube instead
    ruler = torch.where(
        has_volume[:, None, None], lattice, 10 * torch.eye(3, dtype=lattice.dtype).to(lattice)
    )

    sites = _gather_sites(batch, positions, confidence)
    sites = put_on_loci(sites, ruler)
    reduced = reduce_lattice(ruler)
    if merge:
        sites = merge_collapsed(sites, ruler, reduced)
    geometry = measure(sites, ruler, reduced, merge)
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
    """Overwrite the lattice coefficients that the group fixes. Source: book, method-lattice."""
    free, fixed = lattice_constraints(batch.space_group_number)
    return torch.where(free, batch.lattice_k.double(), fixed.double())


def _gather_sites(batch: AsymmetricUnitBatch, positions: Tensor, confidence: Tensor) -> Sites:
    crystal = batch.is_site.nonzero()[:, 0]
    group = batch.space_group_number[crystal]
    return Sites(
        crystal=crystal,
        group=group,
        atomic_number=batch.atomic_numbers[batch.is_site],
        row=position_row(group, positions[batch.is_site]),
        coords=batch.fractional_coords[batch.is_site],
        confidence=confidence[batch.is_site],
        residual=confidence.new_zeros(len(crystal)),
        is_merged=torch.zeros_like(crystal, dtype=torch.bool),
    )


def _records(
    batch: AsymmetricUnitBatch,
    lattice_k: Float[Tensor, "B 6"],
    lattice: Float[Tensor, "B 3 3"],
    is_plausible: Bool[Tensor, "B"],
    geometry: Geometry,
    failures: np.ndarray,
    merge: bool,
) -> list[Crystal]:
    """Cut the flat arrays into one record per crystal and judge each."""
    arrays = _Arrays.of(batch, lattice_k, lattice, geometry)
    plausible, crystals = is_plausible.tolist(), []
    for row, number in enumerate(arrays.groups):
        failure = str(failures[row])
        if not failure and not merge:
            failure = geometry.overlaps.get(row) or geometry.duplicates.get(row, "")
        if failure:
            crystals.append(Crystal.failed(row, None, "reconstruction_failed", failure, number))
            continue
        overlap = geometry.overlaps.get(row, "")
        reason = _broken_guard(plausible[row], arrays.cells[row], arrays.minimum[row], overlap)
        crystals.append(arrays.crystal(row, reason))
    return crystals


@dataclass(frozen=True)
class _Arrays:
    """What the crystals of a chunk consist of, on the host, crystal after crystal.

    Attributes:
        groups, n_requested: space group and number of sites that came in, of each crystal.
        k, cells, minimum, contact: lattices and closest distances of each crystal.
        site_start, atom_start: where the sites and atoms of each crystal begin, and a last end.
        numbers, letters, positions, coords, residual, is_merged: of each site.
        atoms, site_of_atom: coordinates of each atom, and its site.
    """

    groups: list[int]
    n_requested: list[int]
    k: np.ndarray
    cells: np.ndarray
    minimum: list[float]
    contact: list[float]
    site_start: list[int]
    atom_start: list[int]
    numbers: np.ndarray
    letters: list[str]
    positions: np.ndarray
    coords: np.ndarray
    residual: np.ndarray
    is_merged: np.ndarray
    atoms: np.ndarray
    site_of_atom: np.ndarray

    @classmethod
    def of(
        cls,
        batch: AsymmetricUnitBatch,
        lattice_k: Float[Tensor, "B 6"],
        lattice: Float[Tensor, "B 3 3"],
        geometry: Geometry,
    ) -> "_Arrays":
        """Bring them to the host, all crystals at once."""
        sites, tables = geometry.sites, symmetry_tables()
        rows, coords = sites.row.cpu().numpy(), sites.coords.cpu().numpy()
        return cls(
            groups=batch.space_group_number.tolist(),
            n_requested=batch.n_sites.tolist(),
            k=lattice_k.cpu().numpy(),
            cells=lattice.cpu().numpy(),
            minimum=geometry.minimum_distance.tolist(),
            contact=geometry.contact_ratio.tolist(),
            site_start=_offsets(sites.crystal, len(batch)),
            atom_start=_offsets(sites.crystal[geometry.site_of_atom], len(batch)),
            numbers=sites.atomic_number.cpu().numpy(),
            letters=tables.letter[rows].tolist(),
            positions=rows - tables.position_start[sites.group.cpu().numpy() - 1],
            coords=coords - np.floor(coords - (CHART_END - 1)),
            residual=sites.residual.cpu().numpy(),
            is_merged=sites.is_merged.cpu().numpy(),
            atoms=geometry.atoms.cpu().numpy(),
            site_of_atom=geometry.site_of_atom.cpu().numpy(),
        )

    def crystal(self, row: int, reason: str) -> Crystal:
        """The record of one crystal; with a reason, one of invalid geometry."""
        own = slice(self.site_start[row], self.site_start[row + 1])
        atoms = slice(self.atom_start[row], self.atom_start[row + 1])
        sites = self.numbers[own], self.positions[own], self.coords[own]
        unit = AsymmetricUnit(self.groups[row], self.k[row], *sites)
        return Crystal(
            index=row,
            seed=None,
            status="invalid_geometry" if reason else "ok",
            reason=reason,
            space_group_number=self.groups[row],
            lattice_matrix=self.cells[row],
            atomic_numbers=self.numbers[self.site_of_atom[atoms]],
            fractional_coords=self.atoms[atoms],
            orbit=self.site_of_atom[atoms] - self.site_start[row],
            letters=tuple(self.letters[own]),
            unit=unit,
            residual=self.residual[own],
            minimum_distance=self.minimum[row],
            contact_ratio=self.contact[row],
            n_merged=int(self.is_merged[own].sum()),
            n_dropped=self.n_requested[row] - len(unit),
        )


def _offsets(crystal: Int[Tensor, "X"], n_crystals: int) -> list[int]:
    return [0, *torch.bincount(crystal, minlength=n_crystals).cumsum(0).tolist()]


def _broken_guard(
    is_plausible: bool, cell: np.ndarray, minimum_distance: float, overlap: str
) -> str:
    """Return why a structure is no valid geometry, or nothing. Source: book, method-guards."""
    if not is_plausible:
        parameters = " ".join(f"{value:.4g}" for value in cell_parameters(cell))
        return f"implausible cell {parameters}"
    if overlap:
        return overlap
    if not minimum_distance > MINIMUM_DISTANCE:
        return f"atoms {minimum_distance:.3f} angstrom apart"
    return ""
