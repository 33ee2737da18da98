"""The same crystals without their symmetry: one site for every atom of a cell."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.collapsed_orbits import Sites, put_on_loci
from symmbfn.crystals.lattice import k_to_parameters, metric_to_k, parameters_to_matrix
from symmbfn.crystals.loci import expand_orbits, position_row
from symmbfn.datasets.cache import EncodedDataset

CHUNK_SITES = 50_000  # bounds the memory


@dataclass(frozen=True)
class _Atoms:
    """All atoms of the conventional cells, orbit after orbit, in float64.

    Attributes:
        crystal, site: which each belongs to, shape (A,).
        number, coords: element and fractional coordinates, shape (A,) and (A, 3).
        lattice: rows a, b, c of each crystal, shape (n, 3, 3), angstrom.
    """

    crystal: Int[Tensor, "A"]
    site: Int[Tensor, "A"]
    number: Int[Tensor, "A"]
    coords: Float[Tensor, "A 3"]
    lattice: Float[Tensor, "n 3 3"]


def full_cells(dataset: EncodedDataset) -> EncodedDataset:
    """Write out all atoms of every crystal's conventional cell.

    Args:
        dataset: asymmetric units.

    Returns:
        The same crystals in the same order, with lattices, space groups, names and properties.
        Sites are atoms, orbit after orbit; their Wyckoff positions are 0 and mean nothing but
        that each is placed by itself. `settings["sites"]` is "atoms", and the digest is another.

    Raises:
        ValueError: the sites of the dataset are atoms already.

    Source: Methods, "Baseline"; book, method-full-cell.
    """
    atoms = _atoms_of(dataset)
    return _of_atoms(dataset, "full cells", atoms.crystal, atoms.number, atoms.coords)


def primitive_cells(dataset: EncodedDataset) -> EncodedDataset:
    """Write out all atoms of every crystal's Niggli-reduced primitive cell, in P1.

    Args:
        dataset: asymmetric units.

    Returns:
        The same crystals as from `full_cells`, but nothing of their symmetry is left: the space
        group is 1 for all and leaves every component of the lattice free.

    Raises:
        ValueError: the sites of the dataset are atoms already, or a cell cannot be reduced.

    Source: Jiao et al. 2023 (DiffCSP); Wu et al. 2025 (CrysBFN); book, method-primitive-cell.
    """
    atoms = _atoms_of(dataset)
    groups = dataset.space_group_number.tolist()
    vectors = np.stack([primitive_vectors(group) for group in groups])
    n_copies = torch.tensor(np.rint(1 / np.linalg.det(vectors))).long()
    # the tables list each orbit centring after centring: the first part is one of each
    size = torch.bincount(atoms.site)
    rank = torch.arange(len(atoms.site)) - (size.cumsum(0) - size)[atoms.site]
    is_mine = rank < size[atoms.site] // n_copies[atoms.crystal]
    crystal = atoms.crystal[is_mine]
    lattices, turns = [], []
    for vector, lattice in zip(vectors, atoms.lattice.numpy(), strict=True):
        reduced, change = _niggli(vector.T @ lattice)
        lattices.append(reduced)
        turns.append(np.linalg.inv(change @ vector.T))
    rows = torch.tensor(np.stack(lattices))
    coords = (atoms.coords[is_mine, None] @ torch.tensor(np.stack(turns))[crystal])[:, 0]
    cells = _of_atoms(dataset, "primitive cells", crystal, atoms.number[is_mine], coords)
    return replace(
        cells,
        space_group_number=torch.ones_like(dataset.space_group_number),
        lattice_k=metric_to_k(rows @ rows.mT).to(dataset.lattice_k),
    )


def _niggli(
    lattice: Float[np.ndarray, "3 3"],
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3 3"]]:
    """The Niggli-reduced lattice, right-handed as the given one, and its vectors in the given ones.

    Raises:
        ValueError: there is none.
    """
    import spglib

    try:
        reduced = spglib.niggli_reduce(lattice)
    except Exception:  # newer versions raise where older ones return None
        reduced = None
    if reduced is None:
        raise ValueError(f"lattice {lattice.round(4).tolist()} cannot be Niggli-reduced")
    change = np.rint(reduced @ np.linalg.inv(lattice))
    change *= np.sign(np.linalg.det(change))
    return change @ lattice, change


def _of_atoms(
    dataset: EncodedDataset,
    what: str,
    crystal: Int[Tensor, "A"],
    number: Int[Tensor, "A"],
    coords: Float[Tensor, "A 3"],
) -> EncodedDataset:
    """A dataset of the same crystals, whose sites are atoms, with a digest of its own."""
    n_atoms = torch.bincount(crystal, minlength=len(dataset))
    return dataset.derived(
        what,
        site_start=torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)]).to(dataset.site_start),
        atomic_numbers=number.to(dataset.atomic_numbers),
        wyckoff_positions=torch.zeros_like(number).to(dataset.wyckoff_positions),
        fractional_coords=(coords - (coords - (CHART_END - 1)).floor()).to(
            dataset.fractional_coords
        ),
        settings={**dataset.settings, "sites": "atoms"},
    )


def _atoms_of(dataset: EncodedDataset) -> _Atoms:
    """Fill the conventional cells from the tables."""
    if dataset.settings.get("sites") == "atoms":
        raise ValueError("the sites of this dataset are all atoms of the cell already")
    sites, lattice = _sites_of(dataset)
    coords, site = [], []
    for rows in torch.arange(len(sites.crystal), device=lattice.device).split(CHUNK_SITES):
        part = put_on_loci(sites[rows], lattice)
        atoms, place = expand_orbits(part.coords, part.row)
        coords.append(atoms)
        site.append(rows[place])
    of = torch.cat(site)
    return _Atoms(sites.crystal[of], of, sites.atomic_number[of], torch.cat(coords), lattice)


def _sites_of(dataset: EncodedDataset) -> tuple[Sites, Float[Tensor, "n 3 3"]]:
    """Sites as the reconstruction takes them, and the lattices, in float64."""
    group = dataset.space_group_number.long()
    crystal = torch.arange(len(dataset), device=group.device).repeat_interleave(dataset.n_sites)
    zero = torch.zeros(len(crystal), dtype=torch.float64, device=group.device)
    sites = Sites(
        crystal=crystal,
        group=group[crystal],
        atomic_number=dataset.atomic_numbers.long(),
        row=position_row(group[crystal], dataset.wyckoff_positions.long()),
        coords=dataset.fractional_coords.double(),
        confidence=zero,
        residual=zero,
        is_merged=torch.zeros_like(crystal, dtype=torch.bool),
    )
    return sites, parameters_to_matrix(k_to_parameters(dataset.lattice_k.double(), group))
