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


def test_without_structure_there_is_no_cell() -> None:
    with pytest.raises(ValueError, match="crystal 3 has no structure: too small"):
        Cell.of(Crystal.failed(3, 0, "invalid_geometry", "too small", 225))
