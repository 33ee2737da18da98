"""The periodic table has each element in its place, coloured beyond chance alone."""

from xml.etree import ElementTree

import numpy as np
import pytest
from pymatgen.core import Element

from symmbfn.figures.periodic_table import element_map, place_of, shade


@pytest.mark.parametrize("number", range(1, 119))
def test_elements_stand_where_pymatgen_puts_them(number: int) -> None:
    row, column = place_of(number)
    element = Element.from_Z(number)
    if element.is_lanthanoid or element.is_actinoid:
        first = 57 if element.is_lanthanoid else 89
        assert (row, column) == (7.4 + element.is_actinoid, 2 + number - first)
    else:
        assert (row + 1, column + 1) == (element.row, element.group)


def test_elements_are_coloured_only_beyond_chance() -> None:
    generated, real = np.zeros(119, dtype=np.int64), np.zeros(119, dtype=np.int64)
    generated[[8, 26, 11]] = 90, 10, 30
    real[[8, 26, 11, 3]] = 300, 500, 310, 10
    root = ElementTree.fromstring(element_map(generated, 100, real, 1000))
    fills = {
        group[0].text.split(":")[0]: group[1].attrib["fill"] for group in root if group.tag == "g"
    }
    blue, red = ([int(fills[s][i : i + 2], 16) for i in (1, 3, 5)] for s in ("O", "Fe"))
    assert blue[2] > blue[0] and red[0] > red[2]
    assert fills["Na"] == fills["Li"] != fills["U"] == "#ffffff"
    # one crystal of many with an element that no real one has is no difference
    one = np.eye(119, dtype=np.int64)[36]
    assert "real crystals: none; more seldom: none" in element_map(one, 10_000, 0 * one, 9_000)
    assert shade(1.0) == "#0072b2" and shade(-1.0) == "#d55e00"
    assert "more often than in real crystals: O; more seldom: Fe" in root.attrib["aria-label"]
