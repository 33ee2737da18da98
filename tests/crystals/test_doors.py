"""What a caller can get wrong about a crystal is answered in one line, never with a crash."""

import subprocess
import sys

import numpy as np
import pytest
from ase import Atoms
from ase.spacegroup import crystal

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.structure import asymmetric_unit
from symmbfn.crystals.symmetry_search import search_symmetry
from symmbfn.runtime.checks import real_number

SALT = crystal(
    ["Na", "Cl"], [(0, 0, 0), (0.5, 0.5, 0.5)], spacegroup=225, cellpar=[5.64] * 3 + [90] * 3
)


@pytest.mark.parametrize("symprec", [-1.0, -0.01, 0.0, float("nan"), float("inf"), -float("inf")])
def test_a_tolerance_that_crashes_spglib_never_reaches_it(symprec: float) -> None:
    cell = Cell.from_ase(SALT)
    for call in (
        lambda: asymmetric_unit(cell.to_pymatgen(), symprec=symprec),
        lambda: search_symmetry(cell, symprec),
        lambda: cell.primitive(symprec),
    ):
        with pytest.raises(ValueError, match="symprec must be a finite number above 0"):
            call()


@pytest.mark.parametrize("value", ["0.1", None, True, 1j, [0.1], np.array([0.1])])
def test_what_is_no_number_is_refused_by_name(value: object) -> None:
    with pytest.raises(ValueError, match="symprec must be a finite number above 0, got"):
        real_number("symprec", value, above=0.0)
    assert real_number("symprec", np.float32(0.5), above=0.0) == 0.5


def test_a_wide_tolerance_is_an_error_and_no_crash() -> None:
    with pytest.raises(ValueError, match="symmetry search failed at symprec 1"):
        asymmetric_unit(Cell.from_ase(SALT).to_pymatgen(), symprec=1e10)


# without the checks of types that the tests switch on
WRONG_TYPES = """
from symmbfn import asymmetric_unit, parse_cif, reconstruct
from symmbfn.crystals.cell import Cell
from tests.crystals.test_doors import SALT

structure = Cell.from_ase(SALT).to_pymatgen()
unit = asymmetric_unit(SALT)
assert unit.space_group_number == 225
for call, reason in (
    (lambda: parse_cif(None), "expected the text of a CIF, a Path or an open file, got NoneType"),
    (lambda: parse_cif(float("nan")), "got float"),
    (lambda: parse_cif(["data_x"]), "got list"),
    (lambda: asymmetric_unit("data_x"), "expected a pymatgen Structure or ASE Atoms"),
    (lambda: asymmetric_unit(None), "got NoneType"),
    (lambda: asymmetric_unit(structure, symprec="0.1"), "symprec must be a finite number"),
    (lambda: asymmetric_unit(structure, form="foo"), "form must be one of canonical, raw"),
    (lambda: asymmetric_unit(structure, representative="foo"), "representative must be one of"),
    (lambda: reconstruct(unit), "AsymmetricUnitBatch.stack([unit]), got AsymmetricUnit"),
):
    try:
        call()
    except ValueError as error:
        assert reason in str(error) and str(error).count("\\n") == 0, error
    else:
        raise AssertionError(reason)
"""


def test_wrong_types_are_refused_in_one_line() -> None:
    done = subprocess.run([sys.executable, "-c", WRONG_TYPES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_ase_atoms_are_the_crystal_they_are() -> None:
    unit = asymmetric_unit(SALT)
    other = asymmetric_unit(Cell.from_ase(SALT).to_pymatgen())
    assert unit.space_group_number == other.space_group_number == 225
    np.testing.assert_array_equal(unit.lattice_k, other.lattice_k)


def test_ase_atoms_without_a_crystal_are_refused() -> None:
    for atoms in (Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]]), Atoms("H", cell=[3, 3, 3])):
        with pytest.raises(ValueError, match="ASE Atoms without three lattice vectors"):
            asymmetric_unit(atoms)
