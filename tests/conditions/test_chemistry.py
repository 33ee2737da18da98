"""Elements and compositions: every way to write one is the same value, and what is none is told."""

import numpy as np
import pytest
from pymatgen.core import Composition, Element

from symmbfn.conditions.chemistry import Chemistry, counts_of, formula_of, symbols_of


@pytest.mark.parametrize(
    "value",
    [
        "Li,Fe,P,O",
        "O-P-Fe-Li",
        " Fe Li\tP  O ",
        ["O", "Li", "Fe", "P", "Fe"],
        {"Li", "Fe", "P", "O"},
        (3, 26, 15, 8),
        np.array([8, 15, 26, 3]),
        np.array(["Li", "Fe", "P", "O"]),
        [Element("Li"), Element("Fe"), "P", 8],
    ],
    ids=lambda value: type(value).__name__,
)
def test_elements_are_read_in_every_form_along_the_mendeleev_scale(value: object) -> None:
    assert symbols_of("elements", value) == ("Li", "Fe", "P", "O")


@pytest.mark.parametrize(
    "value",
    [
        *("", " ", ",", "fe", "FE", "Fe2O3", "Fe;O", "Fe3+", "X", "x" * 100_000, b"Fe"),
        *([], [0], [119], [-1], [True], [26.0], ["Fe", None], {"Fe": 2}, 26, None, float("nan")),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_element_is_refused_in_one_short_line(value: object) -> None:
    with pytest.raises(ValueError, match="^elements") as error:
        symbols_of("elements", value)
    assert len(str(error.value)) < 150 and "\n" not in str(error.value)


def test_deuterium_and_tritium_are_hydrogen_as_in_cifs() -> None:
    assert symbols_of("only", "D,T,O") == symbols_of("only", "H,O")
    assert Chemistry(composition="D2O") == Chemistry(composition="H2O")


@pytest.mark.parametrize(
    "value",
    [
        *("Ca3(PO4)2", "P2Ca3O8", "Ca6P4O16", "Ca 3 P 2 O 8", Composition("Ca3(PO4)2")),
        *({"Ca": 3, "P": 2.0, "O": np.int64(8)}, {20: 3, Element("P"): 2, "O": 8}),
    ],
    ids=str,
)
def test_a_composition_is_its_smallest_formula_however_it_is_written(value: object) -> None:
    chemistry = Chemistry(composition=value)
    assert chemistry == Chemistry(composition="Ca3(PO4)2")
    assert hash(chemistry) == hash(Chemistry(composition="Ca3P2O8"))
    assert counts_of(value) == {"Ca": 3, "P": 2, "O": 8}
    assert Composition(formula_of(counts_of(value))) == Composition("Ca3(PO4)2")
    assert set(chemistry.exact or ()) == {"Ca", "P", "O"}


@pytest.mark.parametrize(
    "value",
    [
        *("", "fe", "Fe0.5O", "Fe3+", "Fe2O3·H2O", "Fe(", "Fe1000000O", "Fe2O3" * 100, b"Fe", 26),
        *(["Fe", "O"], {}, {"Fe": 0}, {"Fe": 1.5}, {"Fe": True}, {"Fe": "2"}, {"Q": 1}),
        *(Composition("Fe0.5O"), float("inf"), True),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_what_is_no_composition_is_refused_in_one_short_line(value: object) -> None:
    with pytest.raises(ValueError, match="composition") as error:
        Chemistry(composition=value)
    assert len(str(error.value)) < 200 and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"elements": "Li,O", "only": "Li"}, "elements has O, which are not in only Li"),
        ({"elements": "Li,O", "exclude": "O,S"}, "elements has O, and exclude has"),
        ({"require": "Li", "only": "Na,O"}, "require has Li"),
        ({"require": "Li", "exclude": "Li"}, "require has Li, and exclude has"),
        ({"elements": "Li,O", "require": "Fe"}, "require has Fe, which are not in elements"),
        ({"only": "Li,O", "exclude": "O,Li,S"}, "nothing is left of only Li,O"),
        ({"composition": "LiO", "elements": "Li"}, "elements Li are not those .* LiO"),
        ({"composition": "LiO", "only": "Li"}, "composition has O"),
        ({"composition": "LiO", "require": "Na"}, "require has Na"),
        ({"composition": "Fe2O3", "atoms": 6}, "atoms 6 are no multiple of the 5 of Fe2O3"),
        ({"composition": "Fe2O3", "atoms": 0}, "atoms must.*0"),
        ({"composition": "Fe2O3", "atoms": 5.0}, "atoms must.*5.0"),
        ({"atoms": 5}, "atoms 5 need a composition"),
    ],
    ids=str,
)
def test_conditions_that_exclude_each_other_are_refused_by_name(
    settings: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Chemistry(**settings)


def test_all_lists_hold_at_once() -> None:
    chemistry = Chemistry(only="Li,Na,K,O,S", require="O", exclude="K")
    assert chemistry.holds({"Li": 1, "O": 4})
    assert not chemistry.holds({"Li": 1, "S": 4}), "O is missing"
    assert not chemistry.holds({"K": 1, "O": 4}), "K is excluded"
    assert not chemistry.holds({"Fe": 1, "O": 4}), "Fe is not allowed"
    exact = Chemistry(composition="Fe2O3")
    assert exact.holds({"O": 6, "Fe": 4}) and not exact.holds({"O": 4, "Fe": 3})
    assert not Chemistry(elements="Fe,O").holds({"Fe": 2})
