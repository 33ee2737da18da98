"""Corrections of 2020 against the published table, added up by hand."""

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.corrections import mp2020_correction


def rock_salt(*symbols: str) -> Structure:
    places = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup("Fm-3m", Lattice.cubic(4.5), symbols, places)


RUTILE = [[0, 0, 0], [0.305, 0.305, 0]]


@pytest.mark.parametrize(
    "structure, per_atom",
    [
        (rock_salt("Na", "Cl"), -0.614 / 2),
        # iron has a U with oxygen, and none with sulphur
        (rock_salt("Fe", "O"), (-0.687 - 2.256) / 2),
        (rock_salt("Fe", "S"), -0.503 / 2),
        # titanium has none anywhere
        (
            Structure.from_spacegroup(
                "P4_2/mnm", Lattice.tetragonal(4.6, 2.95), ["Ti", "O"], RUTILE
            ),
            -0.687 * 2 / 3,
        ),
        (
            Structure.from_spacegroup(
                "P4_2/mnm", Lattice.tetragonal(4.65, 3.05), ["Ni", "F"], RUTILE
            ),
            (-0.462 * 2 - 2.541) / 3,
        ),
        # oxygen atoms 1.5 angstrom apart are a peroxide
        (
            Structure(
                Lattice.hexagonal(3.2, 7.6),
                ["Li"] * 4 + ["O"] * 4,
                [
                    *([0, 0, 0], [0, 0, 0.5], [1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]),
                    *([1 / 3, 2 / 3, 0.65], [2 / 3, 1 / 3, 0.35]),
                    *([2 / 3, 1 / 3, 0.15], [1 / 3, 2 / 3, 0.85]),
                ],
            ),
            -0.465 / 2,
        ),
        (Structure(Lattice.cubic(2.87), ["Fe"], [[0, 0, 0]]), 0.0),
        (rock_salt("Cu", "Au"), 0.0),
    ],
)
def test_corrections_are_those_of_the_table(structure: Structure, per_atom: float) -> None:
    """Wang et al. 2021, Table 1: per atom of the anion, and per atom of metals with a U."""
    assert mp2020_correction(Cell.from_pymatgen(structure)) == pytest.approx(per_atom, abs=1e-6)
