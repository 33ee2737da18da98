"""The same crystals without their symmetry: one site for every atom of the conventional cell."""

import hashlib
import json
from dataclasses import replace

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.crystals.cleaning import Sites, put_on_loci
from symmbfn.crystals.lattice import k_to_parameters, parameters_to_matrix
from symmbfn.crystals.loci import expand_orbits, position_row
from symmbfn.datasets.cache import EncodedDataset

CHUNK_SITES = 50_000  # bounds the memory


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

    Source: the paper's "Baseline"; method.md 9.1.
    """
    if dataset.settings.get("sites") == "atoms":
        raise ValueError("the sites of this dataset are all atoms of the cell already")
    sites, lattice = _sites_of(dataset)
    representative = dataset.settings.get("representative", "locus")
    coords, numbers, n_atoms = [], [], torch.zeros_like(dataset.n_sites)
    for rows in torch.arange(len(sites.crystal), device=lattice.device).split(CHUNK_SITES):
        part = put_on_loci(sites[rows], lattice, representative)
        atoms, site = expand_orbits(part.coords, part.row)
        coords.append(atoms - (atoms - (CHART_END - 1)).floor())
        numbers.append(part.atomic_number[site])
        n_atoms += torch.bincount(part.crystal[site], minlength=len(dataset))
    atomic_numbers = torch.cat(numbers)
    text = json.dumps([dataset.digest, "full cells"])
    return replace(
        dataset,
        site_start=torch.cat([n_atoms.new_zeros(1), n_atoms.cumsum(0)]).to(dataset.site_start),
        atomic_numbers=atomic_numbers.to(dataset.atomic_numbers),
        wyckoff_positions=torch.zeros_like(atomic_numbers).to(dataset.wyckoff_positions),
        fractional_coords=torch.cat(coords).to(dataset.fractional_coords),
        settings={**dataset.settings, "sites": "atoms"},
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


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
