"""Validity of one crystal: known compounds, geometry against pymatgen, negative controls."""

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.contacts import closest_contacts
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.evaluation.validity import (
    find_symmetry,
    has_good_contacts,
    is_structurally_valid,
    judge,
    judge_cell,
)
from tests.crystals.samples import one_crystal, prototypes


def rock_salt(edge: float = 5.64) -> Crystal:
    sites = [(11, "a", (0.0, 0.0, 0.0)), (17, "b", (0.5, 0.5, 0.5))]
    return reconstruct(AsymmetricUnitBatch.stack([one_crystal(225, sites, edge)]))[0]


def test_real_crystals_are_valid_and_keep_their_group() -> None:
    rows = [judge(c) for c in reconstruct(AsymmetricUnitBatch.stack(prototypes()[1][::3]))]
    assert all(row.is_structurally_valid for row in rows)
    # hydrogen and phases of high pressure make the rest
    assert np.mean([row.has_good_contacts for row in rows]) > 0.9
    assert np.mean([row.symmetry == "kept" for row in rows]) > 0.99
    # built from the tables, a structure cannot lack an operation of its group
    assert {row.sharp_symmetry for row in rows} <= {"kept", "supergroup"}


@pytest.mark.parametrize(
    ("edge", "is_valid", "is_good"), [(5.64, True, True), (2.5, True, False), (0.99, False, False)]
)
def test_contacts_by_hand(edge: float, is_valid: bool, is_good: bool) -> None:
    """Rock salt: neighbours are half an edge apart; 0.7 (r_Na + r_Cl) = 1.88 angstrom."""
    crystal = rock_salt(edge)
    radii = COVALENT_RADIUS[11] + COVALENT_RADIUS[17]
    matrix = crystal.to_pymatgen().distance_matrix
    nearest = matrix[~np.eye(8, dtype=bool)].min()
    assert nearest == pytest.approx(edge / 2)
    assert crystal.contact_ratio == pytest.approx(nearest / radii)
    assert is_structurally_valid(crystal) == is_valid
    assert has_good_contacts(crystal) == is_good


def test_a_guard_that_was_broken_makes_a_crystal_invalid() -> None:
    crystal = rock_salt()
    assert is_structurally_valid(crystal)
    for change in ({"status": "invalid_geometry"}, {"minimum_distance": 0.49}):
        assert not is_structurally_valid(replace(crystal, **change))
    flat = crystal.lattice_matrix * np.array([[1e-3], [1e-3], [1e-3]])
    assert not is_structurally_valid(replace(crystal, lattice_matrix=flat))


def test_a_record_without_structure_is_judged_like_any_other() -> None:
    row = judge(Crystal.failed(7, 0, "reconstruction_failed", "not finite", 62))
    assert (row.index, row.status, row.symmetry, row.n_elements) == (
        7,
        "reconstruction_failed",
        "none",
        0,
    )
    assert not (row.is_structurally_valid or row.has_good_contacts or row.is_smact_valid)


def test_symmetry_found_kept_raised_and_lost() -> None:
    crystal = rock_salt()
    assert find_symmetry(crystal).relation(225) == "kept"
    # asked as P1 the same atoms are more symmetric than asked
    asked_less = replace(crystal, space_group_number=1)
    assert find_symmetry(asked_less).relation(1) == "supergroup"
    # one atom moved: its group is gone, and what is left does not hold the operations
    moved = crystal.fractional_coords.copy()
    moved[0] += 0.06
    lost = replace(crystal, fractional_coords=moved)
    assert find_symmetry(lost).relation(225) == "lost"
    # a larger number is no larger group: diamond's does not hold the operations of rock salt's
    assert find_symmetry(replace(crystal, space_group_number=227)).relation(227) == "lost"


def test_tolerance_decides_between_kept_and_raised() -> None:
    """0.03 angstrom off the cubic position: tetragonal at 1e-3, cubic at 0.1."""
    sites = [(56, "a", (0, 0, 0)), (22, "b", (0.5, 0.5, 0.5 + 0.03 / 4)), (8, "b", (0.5, 0.5, 0))]
    sites.append((8, "c", (0.5, 0.0, 0.5)))
    crystal = reconstruct(AsymmetricUnitBatch.stack([one_crystal(99, sites, 4.0)]))[0]
    row = judge(crystal)
    assert (row.found_group, row.default_group) == (221, 99)  # pymatgen's default is 0.01
    assert (row.symmetry, row.sharp_symmetry) == ("supergroup", "kept")


def test_a_cell_is_judged_as_the_crystal_is() -> None:
    """Whatever was asked and whichever cell: the facts of a crystal are in its atoms."""
    crystals = reconstruct(AsymmetricUnitBatch.stack(prototypes()[1][::9]))
    rng = np.random.default_rng(0)
    asked = {"index", "space_group_number", "symmetry", "sharp_symmetry", "n_atoms"}
    for crystal in crystals:
        primitive = Cell.of(crystal, primitive=True)
        order = rng.permutation(len(primitive))
        shift = rng.random(3)
        moved = Cell(
            primitive.lattice_matrix,
            primitive.atomic_numbers[order],
            primitive.fractional_coords[order] + shift,
        )
        one, two = asdict(judge(crystal)), asdict(judge_cell(moved, index=3))
        assert (two["index"], two["n_atoms"]) == (3, len(primitive))
        assert two["space_group_number"] is None and two["symmetry"] == "unasked"
        for name in one.keys() - asked:
            if isinstance(one[name], float | tuple):
                np.testing.assert_allclose(two[name], one[name], rtol=1e-4, err_msg=name)
            else:
                assert two[name] == one[name], (name, crystal.formula)


def test_letters_do_not_depend_on_the_origin() -> None:
    """Sodium or chlorine on the origin, primitive or not: a and b of group 225, one each."""
    for first, second in ((11, 17), (17, 11)):
        sites = [(first, "a", (0.0, 0.0, 0.0)), (second, "b", (0.5, 0.5, 0.5))]
        crystal = reconstruct(AsymmetricUnitBatch.stack([one_crystal(225, sites, 5.64)]))[0]
        for row in (judge(crystal), judge_cell(Cell.of(crystal, primitive=True))):
            assert (row.letters, row.found_group) == ("ab", 225)
            lattice = (5.64, 5.64, 5.64, 90, 90, 90)
            np.testing.assert_allclose(row.lattice_parameters, lattice, atol=1e-3)
            assert row.volume_per_atom == pytest.approx(5.64**3 / 8)


@pytest.mark.parametrize("cell", ["conventional", "primitive"])
def test_contacts_of_a_cell_are_those_of_pymatgen(cell: str) -> None:
    for crystal in reconstruct(AsymmetricUnitBatch.stack(prototypes()[1][::9])):
        one = Cell.of(crystal, primitive=cell == "primitive")
        structure = one.to_pymatgen()
        first, second, _, distance = structure.get_neighbor_list(8.0)
        radius = COVALENT_RADIUS[one.atomic_numbers]
        minimum, ratio = closest_contacts(one)
        assert minimum == pytest.approx(distance.min(), abs=1e-6)
        nearest = (distance / (radius[first] + radius[second])).min()
        assert ratio == pytest.approx(nearest, abs=1e-6)


def test_an_atom_alone_touches_its_own_images_in_a_slanted_cell() -> None:
    """Edges 9 and 3 angstrom, and b on a / 3 but for 1 angstrom: the images of b are nearest."""
    lattice = np.array([[9.0, 0.0, 0.0], [3.0, 1.0, 0.0], [0.0, 0.0, 9.0]])
    cell = Cell(lattice, np.array([26]), np.zeros((1, 3)))
    minimum, ratio = closest_contacts(cell)
    assert minimum == pytest.approx(np.sqrt(9**2 - 2 * 9 * 9 + 9**2 + 3**2))  # 3 b - a
    assert ratio == pytest.approx(minimum / (2 * COVALENT_RADIUS[26]))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"fractional_coords": np.array([[0, 0, 0], [0.05, 0, 0]])}, "0.282 angstrom apart"),
        ({"lattice_matrix": 5.64 * np.diag([1, 1, 1e-4])}, "0.0179 cubic angstrom"),
        ({"lattice_matrix": np.zeros((3, 3))}, "0 cubic angstrom"),
        ({"fractional_coords": np.full((2, 3), np.nan)}, "not finite"),
        ({"atomic_numbers": np.zeros(0, int), "fractional_coords": np.zeros((0, 3))}, "no atoms"),
    ],
)
def test_a_cell_that_can_be_none_is_a_row_with_a_reason(change: dict, reason: str) -> None:
    cell = Cell(5.64 * np.eye(3), np.array([55, 17]), np.array([[0, 0, 0], [0.5, 0.5, 0.5]]))
    assert judge_cell(cell).status == "ok" and judge_cell(cell).is_valid
    row = judge_cell(replace(cell, **change))
    assert row.status == "invalid_geometry" and reason in row.reason
    assert not (row.is_structurally_valid or row.has_good_contacts or row.is_valid)
    assert json.loads(json.dumps(asdict(row)))["status"] == row.status


def test_no_contact_is_good_in_a_crystal_that_is_not_valid() -> None:
    """Hydrogen is so small that 0.45 angstrom is more than 0.7 of two radii, yet too close."""
    pair = Cell(4.0 * np.eye(3), np.array([1, 1]), np.array([[0.0, 0, 0], [0.45 / 4, 0, 0]]))
    judged = judge_cell(pair)
    assert judged.contact_ratio > 0.7 and judged.status == "invalid_geometry"
    assert not judged.is_structurally_valid and not judged.has_good_contacts
