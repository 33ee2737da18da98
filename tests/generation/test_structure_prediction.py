"""A composition becomes structures: likely templates first, none twice, all atoms right."""

from pathlib import Path

import pytest

from symmbfn.conditions.known_templates import KnownTemplates
from symmbfn.conditions.sites import template_of
from symmbfn.generation.structure_prediction import (
    NETWORK,
    draws_of,
    predict_structures,
    templates_of,
)
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return load_model("default")


@pytest.fixture(scope="module")
def known() -> KnownTemplates:
    return templates_of("default")


def test_likely_templates_come_first_and_the_network_proposes_the_rest(
    model: SymmBFN, known: KnownTemplates
) -> None:
    draws = draws_of("TiO2", model, known, draws=10)
    assert [draw.source == NETWORK for draw in draws] == [False] * 8 + [True] * 2
    probabilities = [draw.probability for draw in draws[:8]]
    assert probabilities == sorted(probabilities, reverse=True) and probabilities[-1] > 0
    assert len({draw.request.template for draw in draws[:8]}) == 8
    assert all("mp-" in draw.source and "(" in draw.source for draw in draws[:8])
    assert {draw.request.chemistry.composition for draw in draws} == {"TiO2"}
    (one,) = draws_of("TiO2", model, known, draws=1)
    assert one == draws[0]


def test_numbers_of_atoms_and_groups_narrow_the_templates(
    model: SymmBFN, known: KnownTemplates
) -> None:
    draws = draws_of("TiO2", model, known, atoms=6, space_group_number="tetragonal", draws=5)
    assert str(draws[0].request.template) == "136: O 4f, Ti 2a"
    for draw in draws:
        template = draw.request.template
        assert template is None or template.n_primitive_atoms == 6
        assert all(75 <= group <= 142 for group in draw.request.possible_groups)


def test_no_known_crystal_has_as_many_atoms(model: SymmBFN, known: KnownTemplates) -> None:
    draws = draws_of("LiFePO4", model, known, atoms=28, draws=3)
    assert [draw.source for draw in draws] == [NETWORK] * 3


@pytest.mark.parametrize(
    ("formula", "settings", "says"),
    [
        ("Xx2O3", {}, "'Xx' is no element"),
        ("", {}, "is no formula"),
        ("NaCl", {"atoms": 500}, "500 atoms"),
        ("NaCl", {"atoms": 3}, "no multiple"),
        ("Fe0.5O", {}, "0.5 of Fe"),
        ("Og2O3", {}, "Og"),
        ("NaCl", {"space_group_number": 227, "atoms": 2}, "can hold"),
        ("NaCl", {"draws": 0}, "draws"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(formula: str, settings: dict, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        predict_structures(formula, **settings)
    assert "\n" not in str(caught.value) and repr(formula) in str(caught.value)


def test_several_compositions_share_a_call(model: SymmBFN) -> None:
    found = predict_structures(["NaCl", "BaTiO3"], draws=5, n_steps=2)
    assert [one.draw.formula for one in found] == ["NaCl"] * 5 + ["BaTiO3"] * 5
    for one in found:
        assert one.crystal.status != "condition_not_met"
        if one.crystal.has_structure:
            structure = one.crystal.to_pymatgen()
            assert structure.composition.reduced_formula == one.draw.formula
            if template := one.draw.request.template:
                assert template_of(one.crystal.unit).atoms() == template.atoms()


def test_weights_without_templates_say_so(tiny_weights: Path) -> None:
    with pytest.raises(ValueError, match=r"have no templates\.safetensors"):
        predict_structures("NaCl", weights=str(tiny_weights))
