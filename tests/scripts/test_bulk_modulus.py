"""The bulk modulus that judges crystals made for one, of potentials whose modulus is known."""

from collections.abc import Sequence

import numpy as np
import pytest

from scripts.conditioning.bulk_modulus import GPA, bulk_modulus
from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.potentials import SinglePoint

MODULUS = 120.0  # GPa
VOLUME = 40.0  # cubic angstrom, where there is no pressure


def cell_of(volume: float) -> Cell:
    """A triclinic cell of one atom."""
    lattice = np.array([[1.0, 0.1, 0.0], [0.2, 1.1, 0.0], [0.0, 0.3, 0.9]])
    edge = (volume / np.linalg.det(lattice)) ** (1 / 3)
    return Cell(edge * lattice, np.array([29]), np.zeros((1, 3)))


def springs(cells: Sequence[Cell]) -> list[SinglePoint]:
    """P = -K ln(V / V0), and a shear that is no pressure."""
    found = []
    for cell in cells:
        pressure = -MODULUS * np.log(cell.volume / VOLUME)
        stress = -pressure * np.eye(3) + 7.0 * (np.ones((3, 3)) - np.eye(3))
        found.append(SinglePoint(0.0, np.zeros((1, 3)), stress / GPA))
    return found


@pytest.mark.parametrize("volume", [25.0, 38.0, 40.0, 60.0])
def test_the_modulus_does_not_depend_on_the_volume_it_came_in(volume: float) -> None:
    assert bulk_modulus(cell_of(volume), springs) == pytest.approx(MODULUS)


def test_a_stiffening_crystal_is_judged_near_its_own_volume() -> None:
    """Murnaghan: P = K / K' ((V0 / V)^K' - 1), so that K grows by K' P under a pressure P."""

    def murnaghan(cells: Sequence[Cell]) -> list[SinglePoint]:
        pressures = [MODULUS / 4 * ((VOLUME / cell.volume) ** 4 - 1) for cell in cells]
        return [SinglePoint(0.0, np.zeros((1, 3)), -p * np.eye(3) / GPA) for p in pressures]

    for volume in (30.0, 40.0, 50.0):
        assert bulk_modulus(cell_of(volume), murnaghan) == pytest.approx(MODULUS, rel=0.1)


def test_what_gives_way_has_no_modulus() -> None:
    def soft(cells: Sequence[Cell]) -> list[SinglePoint]:
        return [SinglePoint(0.0, np.zeros((1, 3)), -cell.volume * np.eye(3)) for cell in cells]

    def gas(cells: Sequence[Cell]) -> list[SinglePoint]:
        return [SinglePoint(0.0, np.zeros((1, 3)), -np.eye(3) / c.volume) for c in cells]

    with pytest.raises(ValueError, match=r"^bulk modulus -.* GPa"):
        bulk_modulus(cell_of(40.0), soft)
    with pytest.raises(ValueError, match="no volume without pressure within 8 steps"):
        bulk_modulus(cell_of(40.0), gas)
