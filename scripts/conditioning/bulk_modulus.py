"""Bulk moduli by CHGNet: a column of data, and the judge of crystals that are made for it."""

import math
from functools import cache

import numpy as np

from symmbfn.crystals.cell import Cell
from symmbfn.datasets.structure_texts import structure_of
from symmbfn.evaluation.energies.potentials import Chgnet, Potential

GPA = 160.21766  # of 1 eV/cubic angstrom
HALF_STEP = 0.02  # in ln(volume), to both sides
NEAR = 0.02  # in ln(volume): so close to the volume without pressure the modulus is taken
LARGEST_MOVE, MOST_ROUNDS = 0.1, 8


def bulk_modulus(cell: Cell, potential: Potential) -> float:
    """Bulk modulus of a crystal at the volume where it has no pressure, GPa.

    The cell is scaled uniformly and atoms keep their fractional coordinates, so that where ions or
    the shape would give way the modulus is too large.

    Args:
        cell: the crystal, of any volume.
        potential: gives its stress.

    Returns:
        K = -dP/d ln V, from the pressures of two volumes 4 % apart.

    Raises:
        ValueError: it resists no pressure, or no volume without pressure was found; or what the
            potential raises.
    """
    shift = 0.0  # in ln(volume)
    for _ in range(MOST_ROUNDS):
        scaled = [_scaled(cell, shift + end) for end in (-HALF_STEP, HALF_STEP)]
        small, large = (_pressure(point.stress) for point in potential(scaled))
        modulus = (small - large) / (2 * HALF_STEP)
        if not modulus > 0:
            raise ValueError(f"bulk modulus {modulus:g} GPa at {shift:+.2f} in ln(volume)")
        move = (small + large) / 2 / modulus
        if abs(move) <= NEAR:
            return modulus
        shift += max(-LARGEST_MOVE, min(LARGEST_MOVE, move))
    raise ValueError(f"no volume without pressure within {MOST_ROUNDS} steps")


def modulus_of(crystal: Cell | str) -> float:
    """The same by CHGNet, of a cell or of the text of a CIF, as workers return it."""
    if isinstance(crystal, str):
        crystal = Cell.from_pymatgen(structure_of(crystal))
    return bulk_modulus(crystal.primitive(), _chgnet())


def _scaled(cell: Cell, shift: float) -> Cell:
    edge = math.exp(shift / 3)
    return Cell(cell.lattice_matrix * edge, cell.atomic_numbers, cell.fractional_coords)


def _pressure(stress: np.ndarray) -> float:
    return -float(np.trace(stress)) / 3 * GPA


@cache
def _chgnet() -> Chgnet:
    return Chgnet()
