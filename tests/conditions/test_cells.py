"""Cells: each form is read alike, and belongs to the families that it fits."""

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.conditions.cells import cell_of, groups_of_cell
from symmbfn.crystals.structure import asymmetric_unit
from tests.conditions.conftest import EDGE


def test_a_cell_is_the_same_from_numbers_text_file_and_crystal(salt: Structure, cif: Path) -> None:
    numbers = (EDGE, EDGE, EDGE, 90.0, 90.0, 90.0)
    text = " ".join(map(str, numbers))
    assert cell_of(numbers) == cell_of(list(numbers)) == cell_of(text) == numbers
    assert cell_of(text.replace(" ", ", ")) == numbers
    for form in (str(cif), cif, salt, salt.get_primitive_structure(), asymmetric_unit(salt)):
        assert cell_of(form) == pytest.approx(numbers)


@pytest.mark.parametrize(
    "value",
    [
        *("", "4 4 4", "4 4 4 90 90 x", "4 4 4 90 90 nan", "4 4 4 90 90 90 90", "/nowhere.cif"),
        *("-4 4 4 90 90 90", "0 4 4 90 90 90", "4 4 4 90 90 180", "4 4 4 170 10 90"),
        *("1 1 1 90 90 90", "500 5 5 90 90 90", "1e9 1e9 1e9 90 90 90", "1e-300 1 1 90 90 90"),
        *([4, 4, 4, 90, 90], [True] * 6, ["4"] * 6, [[4] * 6], None, 4, Lattice.cubic(4)),
    ],
    ids=str,
)
def test_what_is_no_cell_is_refused_in_one_short_line(value: object) -> None:
    with pytest.raises(ValueError, match="lattice") as error:
        cell_of(value)
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


def test_a_cell_belongs_to_its_family_and_to_all_of_less_symmetry() -> None:
    """Within 0.1 % and 0.05 degrees, as a file of few digits has it."""
    cubic = set(groups_of_cell((4.0, 4.0, 4.0, 90.0, 90.0, 90.0)))
    assert cubic == set(range(1, 143)) | set(range(195, 231)), "all but the hexagonal family"
    assert set(groups_of_cell((4.0, 4.0, 4.003, 90.0, 90.03, 90.0))) == cubic
    almost = set(groups_of_cell((4.0, 4.0, 4.02, 90.0, 90.0, 90.0)))
    assert almost == cubic - set(range(195, 231))
    assert set(groups_of_cell((4.0, 4.0, 6.0, 90.0, 90.0, 120.0))) == {1, 2, *range(143, 195)}
    assert set(groups_of_cell((4.0, 5.0, 6.0, 90.0, 100.0, 90.0))) == set(range(1, 16))
    assert set(groups_of_cell((4.0, 5.0, 6.0, 90.0, 90.0, 100.0))) == {1, 2}, "b is the unique axis"
