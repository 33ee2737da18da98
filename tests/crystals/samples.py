"""Crystals for the tests: real ones that need no data folder, and generic ones of any group."""

from functools import cache

import numpy as np
import torch
from pymatgen.core import Structure

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.symmetry import positions_of, symmetry_tables


@cache
def prototypes() -> tuple[list[Structure], list[AsymmetricUnit]]:
    """The AFLOW prototypes as they come, and their asymmetric units."""
    from symmbfn.crystals.structure import asymmetric_unit, parse_cif
    from symmbfn.datasets.registry import load_dataset

    structures = [parse_cif(text) for text in load_dataset("prototypes").cif]
    return structures, [asymmetric_unit(structure) for structure in structures]


def random_lattice_k(
    space_group_number: int, rng: np.random.Generator, volume: float = 1000.0
) -> np.ndarray:
    """A cell of the group's family, of random shape."""
    free, fixed = lattice_constraints(torch.tensor([space_group_number]))
    k = np.append(0.15 * rng.standard_normal(5), np.log(volume) / 3)
    return np.where(free[0].numpy(), k, fixed[0].numpy())


def generic_crystal(space_group_number: int, rng: np.random.Generator) -> AsymmetricUnit:
    """Three elements on general positions: nothing but the group itself keeps it in place."""
    multiplicity = symmetry_tables().multiplicity[positions_of(space_group_number).start]
    return AsymmetricUnit(
        space_group_number=space_group_number,
        lattice_k=random_lattice_k(space_group_number, rng, volume=3 * 40.0 * multiplicity),
        atomic_numbers=np.array([11, 17, 8]),
        wyckoff_positions=np.zeros(3, dtype=np.int64),
        fractional_coords=rng.random((3, 3)) - 0.06,
    )


def one_crystal(
    space_group_number: int,
    sites: list[tuple[int, str, tuple[float, float, float]]],
    edge: float = 6.0,
) -> AsymmetricUnit:
    """A crystal from (atomic number, letter, coordinates); the cell has the volume edge^3."""
    letters = symmetry_tables().letter[positions_of(space_group_number)].tolist()
    _, fixed = lattice_constraints(torch.tensor([space_group_number]))
    k = fixed[0].numpy().copy()
    k[5] = np.log(edge)
    return AsymmetricUnit(
        space_group_number=space_group_number,
        lattice_k=k,
        atomic_numbers=np.array([number for number, _, _ in sites]),
        wyckoff_positions=np.array([letters.index(letter) for _, letter, _ in sites]),
        fractional_coords=np.array([xyz for _, _, xyz in sites], dtype=float),
    )
