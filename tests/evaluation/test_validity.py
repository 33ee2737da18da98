"""Validity of one crystal: known compounds, geometry against pymatgen, negative controls."""

from dataclasses import replace

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import COVALENT_RADIUS, element_number
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.evaluation.validity import (
    find_symmetry,
    has_good_contacts,
    is_smact_valid,
    is_structurally_valid,
    judge,
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


def numbers(formula: dict[str, int]) -> np.ndarray:
    return np.repeat([element_number(s) for s in formula], list(formula.values()))


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ({"Na": 1, "Cl": 1}, True),
        ({"Na": 4, "Cl": 4}, True),  # a cell of four is the same compound
        ({"Ti": 1, "O": 2}, True),
        ({"Ca": 1, "Ti": 1, "O": 3}, True),
        ({"Fe": 2, "O": 3}, True),
        ({"Na": 1, "Cl": 3}, False),
        ({"Mg": 3, "O": 1}, False),
        ({"Cl": 1, "O": 8, "F": 1}, False),
        ({"Si": 8}, True),  # an element
        ({"Cu": 1, "Zn": 7}, True),  # an alloy
        ({"He": 1, "O": 1}, False),  # no oxidation state at all
    ],
)
def test_smact_on_known_compounds(formula: dict[str, int], expected: bool) -> None:
    pytest.importorskip("smact", reason="the extra 'metrics' is not installed")
    assert is_smact_valid(numbers(formula)) == expected


def test_smact_gives_up_where_combinations_explode() -> None:
    pytest.importorskip("smact", reason="the extra 'metrics' is not installed")
    twenty_elements = np.array([8, 16, 17, 34, *range(21, 31), *range(41, 48)])
    assert not is_smact_valid(twenty_elements)


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
    assert row.found_group == 221
    assert (row.symmetry, row.sharp_symmetry) == ("supergroup", "kept")
