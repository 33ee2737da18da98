"""What a structure is found to be, beside what was asked for: kept, above, or lost."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pymatgen.core import Lattice, Structure
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

import symmbfn
from symmbfn.crystals import symmetry_search
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.structure import asymmetric_unit
from symmbfn.crystals.symmetry_search import (
    DEFAULT_SYMPREC,
    check_symmetry,
    find_symmetry,
    is_group_kept,
    search_symmetry,
)
from tests.crystals.samples import generic_crystal, one_crystal, prototypes

PACKAGE = Path(symmbfn.__file__).parent


def built(unit) -> Crystal:
    return reconstruct(AsymmetricUnitBatch.stack([unit]))[0]


@pytest.mark.parametrize("group", [1, 5, 38, 62, 148, 166, 216, 227])
def test_a_generic_crystal_keeps_its_group(group: int) -> None:
    crystal = built(generic_crystal(group, np.random.default_rng(group)))
    found = find_symmetry(crystal)
    assert found.relation(group) == "kept" and found.keeps_operations
    checked = check_symmetry(crystal)
    assert checked.status == "ok" and checked.found_space_group_number == group


def test_a_supergroup_is_told_from_another_group() -> None:
    # rock salt written in F-43m: every operation of F-43m is still there, and more
    salt = built(one_crystal(216, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))]))
    found = find_symmetry(salt)
    assert found.space_group_number == 225
    assert found.relation(216) == "supergroup"
    checked = check_symmetry(salt)
    assert checked.status == "ok" and checked.found_space_group_number == 225
    # the same atoms, one of them moved: the operations of F-43m are gone
    coords = salt.fractional_coords.copy()
    coords[0] += 0.1
    broken = check_symmetry(replace(salt, fractional_coords=coords))
    assert broken.status == "symmetry_mismatch"
    assert broken.found_space_group_number != 216
    assert str(broken.found_space_group_number) in broken.reason


def test_within_the_tolerance_a_small_move_is_forgiven() -> None:
    salt = built(one_crystal(225, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))]))
    coords = salt.fractional_coords.copy()
    coords[0, 0] += 0.02 / np.linalg.norm(salt.lattice_matrix[0])
    moved = replace(salt, fractional_coords=coords)
    assert find_symmetry(moved, 0.1).relation(225) == "kept"
    assert find_symmetry(moved, 1e-3).relation(225) == "lost"


CUBES = {
    "rock salt": (225, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))], 225),
    "the same in F-43m": (216, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))], 225),
    "caesium chloride": (221, [(55, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))], 221),
    "zinc blende": (216, [(30, "a", (0, 0, 0)), (16, "c", (0.25, 0.25, 0.25))], 216),
    "fluorite": (225, [(20, "a", (0, 0, 0)), (9, "c", (0.25, 0.25, 0.25))], 225),
    "diamond": (227, [(6, "a", (0.125, 0.125, 0.125))], 227),
    "one element in a small cube": (225, [(11, "a", (0, 0, 0)), (11, "b", (0.5, 0.5, 0.5))], 221),
}


@pytest.mark.parametrize("name", CUBES)
def test_what_lies_on_eighths_of_a_cube_is_searched_once_and_found_as_by_spglib(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the edge, the elements and the order of the atoms; another group is still lost."""
    asked, sites, expected = CUBES[name]
    crystal, searches, real = built(one_crystal(asked, sites)), [], symmetry_search.search_symmetry
    symmetry_search._find_in_cube.cache_clear()

    def counting(cell: Cell, *arguments) -> object:
        searches.append(cell)
        return real(cell, *arguments)

    monkeypatch.setattr(symmetry_search, "search_symmetry", counting)
    order = np.random.default_rng(0).permutation(len(crystal))
    for edge in (2.5, 5.64, 30.0):
        other = replace(
            crystal,
            lattice_matrix=edge * np.eye(3),
            fractional_coords=crystal.fractional_coords[order],
            atomic_numbers=crystal.atomic_numbers[order] + 1,
        )
        found = find_symmetry(other)
        assert found == symmetry_search._find(Cell.of(other), asked, 0.1)
        assert found.space_group_number == expected
    assert len(searches) == 1 + 3
    for symprec in (1e-4, 1e-3, 0.01, 0.3):  # spglib finds nothing in a cell of 0.03 angstrom
        found = find_symmetry(crystal, symprec)
        assert found == symmetry_search._find(Cell.of(crystal), asked, symprec)
        assert found.space_group_number == expected
    assert not find_symmetry(replace(crystal, space_group_number=230)).keeps_operations


def test_what_is_no_cube_or_not_on_eighths_is_searched_itself() -> None:
    symmetry_search._find_in_cube.cache_clear()
    salt = built(one_crystal(225, [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))]))
    cube, coords = 5.64 * np.eye(3), salt.fractional_coords
    for matrix, x in (
        (np.diag([5.64, 5.64, 5.65]), coords),
        (cube, coords + [1e-9, 0, 0]),
        (2.3 * np.eye(3), coords),
        (cube, coords + [0.1, 0, 0]),
    ):
        found = find_symmetry(replace(salt, lattice_matrix=matrix, fractional_coords=x))
        assert found.space_group_number in (225, 139)
    assert symmetry_search._find_in_cube.cache_info().currsize == 0


def test_without_structure_nothing_is_found_and_nothing_changes() -> None:
    nothing = Crystal.failed(3, 0, "reconstruction_failed", "no letter", 225)
    assert find_symmetry(nothing).relation(225) == "none"
    assert check_symmetry(nothing) is nothing


def skewed(structure: Structure, degrees: float) -> Structure:
    """The same crystal with its first two axes a little farther apart."""
    *lengths, alpha, beta, gamma = structure.lattice.parameters
    lattice = Lattice.from_parameters(*lengths, alpha, beta, gamma + degrees)
    return Structure(lattice, structure.species, structure.frac_coords)


def test_datasets_and_checks_name_the_same_group() -> None:
    """In the cell as it comes, in the finished cell, by pymatgen at the same tolerances."""
    structures, units = prototypes()
    for structure, unit in list(zip(structures, units, strict=True))[::4]:
        found = find_symmetry(built(unit))
        assert found.space_group_number == unit.space_group_number
        theirs = SpacegroupAnalyzer(structure, symprec=0.1, angle_tolerance=5)
        assert theirs.get_space_group_number() == unit.space_group_number


def test_angles_are_forgiven_alike_everywhere() -> None:
    """A cube of 8 angstrom, 2 degrees off: more than 0.1 angstrom, but less than 5 degrees."""
    atoms = Structure(Lattice.cubic(8.0), ["Cs", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    for structure in (atoms, skewed(atoms, 2.0)):
        groups = [
            asymmetric_unit(structure).space_group_number,
            search_symmetry(Cell.from_pymatgen(structure)).number,
            SpacegroupAnalyzer(structure, symprec=0.1).get_space_group_number(),
        ]
        assert groups == [221] * 3
    ours = search_symmetry(Cell.from_pymatgen(skewed(atoms, 2.0)), DEFAULT_SYMPREC)
    theirs = SpacegroupAnalyzer(skewed(atoms, 2.0)).get_space_group_number()
    assert ours.number == theirs


def test_every_space_group_is_found_by_one_function() -> None:
    calls = re.compile(r"get_symmetry_dataset|get_spacegroup\(|SpacegroupAnalyzer|get_symmetry\(")
    users = {path.name for path in PACKAGE.rglob("*.py") if calls.search(path.read_text())}
    assert users == {"symmetry_search.py"}


def test_only_a_valid_structure_keeps_its_group() -> None:
    status = ["ok", "invalid_geometry", "ok", "ok"]
    asked, found = [225, 225, 225, 225], [225, 225, 221, None]
    expected = [True, False, False, False]
    assert [is_group_kept(*row) for row in zip(status, asked, found, strict=True)] == expected
    table = pd.DataFrame({"s": status, "a": asked, "f": pd.array(found, "Int64")})
    kept = is_group_kept(table["s"], table["a"], table["f"])
    assert kept.fillna(False).tolist() == expected
