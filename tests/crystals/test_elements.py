"""The frozen element numbers against ASE and pymatgen."""

import ase.data
import numpy as np
import pytest
from pymatgen.core import Element

from symmbfn.crystals.elements import (
    ATOMIC_MASS,
    COVALENT_RADIUS,
    MENDELEEV_NUMBER,
    SYMBOLS,
    element_number,
)


def test_symbols_and_radii_are_those_of_ase() -> None:
    assert list(SYMBOLS[1:]) == ase.data.chemical_symbols[1:119]
    np.testing.assert_array_equal(COVALENT_RADIUS[1:], ase.data.covalent_radii[1:119])


def test_masses_and_mendeleev_numbers_are_those_of_pymatgen() -> None:
    elements = [Element(symbol) for symbol in SYMBOLS[1:]]
    np.testing.assert_allclose(ATOMIC_MASS[1:], [float(e.atomic_mass) for e in elements])
    numbered = MENDELEEV_NUMBER[1:104]
    assert numbered.tolist() == [int(e.mendeleev_no) for e in elements[:103]]
    assert sorted(numbered) == list(range(1, 104))
    assert (MENDELEEV_NUMBER[104:] == 0).all()


def test_element_number() -> None:
    assert [element_number(s) for s in ("H", "Fe", "Og")] == [1, 26, 118]
    for wrong in ("", "Xx", "fe"):
        with pytest.raises(ValueError, match=repr(wrong)):
            element_number(wrong)
