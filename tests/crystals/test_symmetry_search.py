"""What a structure is found to be, beside what was asked for: kept, above, or lost."""

from dataclasses import replace

import numpy as np
import pytest

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry_search import check_symmetry, find_symmetry
from tests.crystals.samples import generic_crystal, one_crystal


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


def test_without_structure_nothing_is_found_and_nothing_changes() -> None:
    nothing = Crystal.failed(3, 0, "reconstruction_failed", "no letter", 225)
    assert find_symmetry(nothing).relation(225) == "none"
    assert check_symmetry(nothing) is nothing
