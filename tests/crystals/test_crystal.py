"""A crystal's outward forms: other programs read the same crystal, and the same group."""

import io
from functools import cache

import ase.io
import gemmi
import numpy as np
import pytest
import spglib
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Composition, Structure, SymmOp

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.centring import PRIMITIVE_VECTORS
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.file_formats import hermann_mauguin_symbol, operation_texts
from symmbfn.crystals.lattice import cell_parameters
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import CENTRINGS, operations_of, symmetry_tables
from tests.crystals.samples import generic_crystal, one_crystal, prototypes


@cache
def crystals() -> list[Crystal]:
    return reconstruct(AsymmetricUnitBatch.stack(prototypes()[1]))


@cache
def one_of_each_group() -> list[Crystal]:
    """Prototypes where there is one, generic crystals for the other groups."""
    rng = np.random.default_rng(0)
    units = {unit.space_group_number: unit for unit in prototypes()[1]}
    units = [units.get(group) or generic_crystal(group, rng) for group in range(1, 231)]
    return reconstruct(AsymmetricUnitBatch.stack(units), merge=False)


def assert_same_atoms(
    crystal: Crystal, lattice: np.ndarray, numbers: np.ndarray, coords: np.ndarray
) -> None:
    """Equal cell, and equal atoms up to order and whole cells."""
    assert len(numbers) == len(crystal)
    # readers may turn the cell in space
    assert np.allclose(cell_parameters(np.asarray(lattice)), crystal.lattice_parameters, atol=1e-6)
    gap = coords[:, None] - crystal.fractional_coords
    gap = np.abs(gap - np.rint(gap)).max(-1)
    gap[np.asarray(numbers)[:, None] != crystal.atomic_numbers] = 1
    assert gap.min(0).max() < 1e-6
    assert gap.min(1).max() < 1e-6


def test_cif_gives_pymatgen_and_ase_the_full_crystal_in_every_group() -> None:
    for crystal in one_of_each_group():
        text = crystal.to_cif()
        structure = Structure.from_str(text, fmt="cif")
        numbers = np.array(structure.atomic_numbers)
        assert_same_atoms(crystal, structure.lattice.matrix, numbers, structure.frac_coords)
        atoms = ase.io.read(io.StringIO(text), format="cif")
        assert_same_atoms(crystal, atoms.cell.array, atoms.numbers, atoms.get_scaled_positions())
        found = spglib.get_symmetry_dataset(
            (structure.lattice.matrix, structure.frac_coords, numbers), symprec=1e-4
        )
        assert found.number == crystal.space_group_number
        assert atoms.info["spacegroup"].no == crystal.space_group_number


def test_cif_lists_one_atom_per_orbit_and_says_what_it_is() -> None:
    halite = one_crystal(225, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))], edge=5.64)
    (crystal,) = reconstruct(AsymmetricUnitBatch.stack([halite]))
    text = crystal.to_cif()
    assert text == crystal.to_cif()
    for line in (
        "data_NaCl",
        "_cell_length_c 5.64000000",
        "_cell_angle_gamma 90.00000000",
        "_symmetry_space_group_name_H-M 'F m -3 m'",
        "_symmetry_Int_Tables_number 225",
        "_chemical_formula_sum 'Cl4 Na4'",
        "1 'x,y,z'",
        "Na1 Na 4 a 0.0000000000 0.0000000000 0.0000000000 1",
        "Cl1 Cl 4 b 0.5000000000 0.5000000000 0.5000000000 1",
    ):
        assert line in text.splitlines(), line
    assert sum("'" in line and line[0].isdigit() for line in text.splitlines()) == 192
    assert sum(line.startswith(("Na", "Cl")) for line in text.splitlines()) == 2


def test_a_lost_operation_is_a_different_crystal() -> None:
    """Negative control: the readers do use the operations."""
    crystal = next(c for c in one_of_each_group() if c.space_group_number == 19)
    lines = [line for line in crystal.to_cif().splitlines() if not line.startswith("3 '")]
    assert len(Structure.from_str("\n".join(lines), fmt="cif")) < len(crystal)


def test_operations_read_back_as_the_tables() -> None:
    for group in range(1, 231):
        rotations, translations = operations_of(group)
        for text, rotation, translation in zip(
            operation_texts(group), rotations, translations, strict=True
        ):
            read = SymmOp.from_xyz_str(text)
            assert np.array_equal(read.rotation_matrix, rotation)
            assert np.allclose(read.translation_vector, translation)


def test_symbols_are_those_of_the_group() -> None:
    for crystal in one_of_each_group():
        line = next(
            line for line in crystal.to_cif().splitlines() if line.startswith("_symmetry_space")
        )
        symbol = line.split("'")[1]
        letters = symmetry_tables().hermann_mauguin[crystal.space_group_number - 1]
        assert symbol.replace(" ", "") == letters.replace("_", "")
    spaced = {
        c.space_group_number: hermann_mauguin_symbol(c.space_group_number)
        for c in one_of_each_group()
    }
    assert spaced[14] == "P 21/c"
    assert spaced[19] == "P 21 21 21"
    assert spaced[194] == "P 63/m m c"
    assert spaced[148] == "R -3"
    assert spaced[220] == "I -4 3 d"


def test_primitive_cells_hold_the_same_crystal() -> None:
    matcher = StructureMatcher(primitive_cell=False, attempt_supercell=False)
    for crystal in one_of_each_group():
        lattice, numbers, coords = crystal.primitive_cell()
        centring = CENTRINGS[symmetry_tables().centring[crystal.space_group_number - 1]]
        n_copies = {"P": 1, "I": 2, "A": 2, "B": 2, "C": 2, "R": 3, "F": 4}[centring]
        assert len(numbers) * n_copies == len(crystal)
        assert np.linalg.det(lattice) * n_copies == pytest.approx(crystal.volume)
        # each atom of the conventional cell lies on the primitive lattice of an equal one
        to_primitive = np.linalg.inv(PRIMITIVE_VECTORS[centring]).T
        gap = (crystal.fractional_coords @ to_primitive)[:, None] - coords
        gap = np.abs(gap - np.rint(gap)).max(-1)
        gap[crystal.atomic_numbers[:, None] != numbers] = 1
        assert gap.min(1).max() < 1e-9
    for crystal in crystals()[::8]:
        reference = crystal.to_pymatgen().get_primitive_structure(tolerance=1e-3)
        ours = crystal.to_pymatgen(primitive=True)
        assert len(ours) == len(reference)
        assert matcher.fit(ours, reference)


def test_primitive_cif_gives_pymatgen_and_ase_the_primitive_cell_in_every_group() -> None:
    uncentred = one_of_each_group()[61]
    assert uncentred.to_cif(primitive=True) == uncentred.to_cif()
    for crystal in one_of_each_group():
        if symmetry_tables().centring[crystal.space_group_number - 1] == 0:
            continue
        lattice, numbers, coords = crystal.primitive_cell()
        text = crystal.to_cif(primitive=True)
        structure = Structure.from_str(text, fmt="cif")
        atoms = ase.io.read(io.StringIO(text), format="cif")
        for read, theirs, cell in (
            (structure.frac_coords, np.array(structure.atomic_numbers), structure.lattice.matrix),
            (atoms.get_scaled_positions(), atoms.numbers, atoms.cell.array),
        ):
            assert len(theirs) == len(numbers), crystal.space_group_number
            assert np.allclose(cell_parameters(np.asarray(cell)), cell_parameters(lattice))
            gap = read[:, None] - coords
            gap = np.abs(gap - np.rint(gap)).max(-1)
            gap[theirs[:, None] != numbers] = 1
            assert gap.min(0).max() < 1e-6
        found = spglib.get_symmetry_dataset((lattice, coords, numbers), symprec=1e-4)
        assert found.number == crystal.space_group_number
        # as many operations as the group has per primitive cell
        assert text.count("'") // 2 - 1 == len(found.rotations)
        for cif, n_atoms in ((text, len(numbers)), (crystal.to_cif(), len(crystal))):
            stated = (
                gemmi.cif.read_string(cif)
                .sole_block()
                .find_values("_atom_site_symmetry_multiplicity")
            )
            assert sum(map(int, stated)) == n_atoms, "multiplicities are of the cell as written"


def test_poscar_and_ase_hold_the_same_crystal() -> None:
    for crystal in crystals()[::4]:
        for primitive in (False, True):
            ours = crystal.to_pymatgen(primitive=primitive)
            read = Structure.from_str(crystal.to_poscar(primitive=primitive), fmt="poscar")
            atoms = crystal.to_ase(primitive=primitive)
            assert atoms.pbc.all()
            assert np.allclose(atoms.cell.array, ours.lattice.matrix)
            assert np.allclose(read.lattice.matrix, ours.lattice.matrix, atol=1e-7)
            assert np.array_equal(atoms.numbers, ours.atomic_numbers)
            assert sorted(read.atomic_numbers) == sorted(ours.atomic_numbers)
            gap = read.frac_coords[:, None] - ours.frac_coords
            gap = np.abs(gap - np.rint(gap)).max(-1)
            gap[np.array(read.atomic_numbers)[:, None] != ours.atomic_numbers] = 1
            assert gap.min(1).max() < 1e-7


def test_formula_volume_and_density_agree_with_pymatgen() -> None:
    for crystal in crystals():
        structure = crystal.to_pymatgen()
        assert Structure.from_str(crystal.to_cif(), fmt="cif").composition == structure.composition
        from_formula = Composition(crystal.formula)
        assert from_formula.fractional_composition == structure.composition.fractional_composition
        assert np.gcd.reduce([int(amount) for amount in from_formula.values()]) == 1
        assert crystal.volume == pytest.approx(structure.volume)
        assert crystal.density == pytest.approx(structure.density, rel=1e-6)


def test_formula_by_hand() -> None:
    sites = [(8, "c", (0.5, 0, 0.5)), (22, "b", (0.5, 0.5, 0.5)), (20, "a", (0, 0, 0))]
    (crystal,) = reconstruct(AsymmetricUnitBatch.stack([one_crystal(221, sites, edge=3.9)]))
    assert crystal.formula == "CaTiO3"
    assert crystal.letters == ("c", "b", "a")
    assert np.bincount(crystal.orbit).tolist() == [3, 1, 1]
    # 135.94 u in 59.319 cubic angstrom
    assert crystal.density == pytest.approx(135.9432 * 1.66054 / 3.9**3, rel=1e-4)
    assert crystal.minimum_distance == pytest.approx(3.9 / 2)
    # titanium 1.60, oxygen 0.66
    assert crystal.contact_ratio == pytest.approx(1.95 / 2.26)


def test_a_crystal_without_structure_says_why() -> None:
    crystal = Crystal.failed(7, None, "reconstruction_failed", "lattice is not finite", 14)
    assert not crystal.has_structure
    assert crystal.formula == ""
    assert np.isnan(crystal.volume)
    assert np.isnan(crystal.density)
    for form in ("to_pymatgen", "to_ase", "to_poscar", "to_cif", "primitive_cell"):
        with pytest.raises(ValueError, match="crystal 7 has no structure: lattice is not finite"):
            getattr(crystal, form)()
