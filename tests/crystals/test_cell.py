"""A cell without symmetry is the same crystal in every form."""

import numpy as np
import pytest
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal

ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def test_pymatgen_and_ase_give_the_cell_back() -> None:
    cell = Cell.from_pymatgen(ROCK_SALT)
    for again in (Cell.from_pymatgen(cell.to_pymatgen()), Cell.from_ase(cell.to_ase())):
        assert np.allclose(again.lattice_matrix, cell.lattice_matrix)
        assert np.array_equal(again.atomic_numbers, cell.atomic_numbers)
        assert np.allclose(again.fractional_coords, cell.fractional_coords)


def test_primitive_cell_is_the_same_crystal() -> None:
    cell = Cell.from_pymatgen(ROCK_SALT * (2, 1, 1))
    small = cell.primitive()
    assert (len(cell), len(small)) == (16, 2)
    assert (cell.composition, small.composition) == ({"Na": 8, "Cl": 8}, {"Na": 1, "Cl": 1})
    assert small.formula == cell.formula == "NaCl"
    assert small.density == pytest.approx(float(ROCK_SALT.density))
    assert StructureMatcher(scale=False).fit(small.to_pymatgen(), ROCK_SALT)


def test_a_chain_that_is_nearly_even_keeps_all_its_atoms() -> None:
    """A search for smaller cells must not undo a distortion, however little of the matcher's."""
    lattice = Lattice.hexagonal(4.3, 5.9)
    for shift, n_atoms in ((0.0, 1), (0.01, 3), (0.05, 3), (0.2, 3)):
        u = 1 / 3 - shift / 4.3
        helix = Structure(lattice, ["Te"] * 3, [[u, 0, 1 / 3], [0, u, 2 / 3], [-u, -u, 0]])
        cell = Cell.from_pymatgen(helix * (1, 2, 1)).primitive()
        assert len(cell) == n_atoms
        assert cell.volume == pytest.approx(helix.volume * n_atoms / 3)
        # the shortest distance is that of the atoms as they came
        distances = np.sort(cell.to_pymatgen().get_neighbor_list(6.0)[3])
        expected = np.sort(helix.get_neighbor_list(6.0)[3])
        assert distances[0] == pytest.approx(expected[0], abs=1e-4)


def test_without_structure_there_is_no_cell() -> None:
    with pytest.raises(ValueError, match="crystal 3 has no structure: too small"):
        Cell.of(Crystal.failed(3, 0, "invalid_geometry", "too small", 225))
