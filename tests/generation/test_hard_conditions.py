"""Hard conditions are met exactly, or the record says that they are not."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from scripts.conditioning.hard import outcomes, possible_sets, refusal
from scripts.conditioning.independent import misses
from scripts.conditioning.sets import conditions_of, impossible
from symmbfn.conditions.check import STATUS, checked
from symmbfn.conditions.request import Request
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from tests.models import fresh_model, units


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return load_model("default")


def crystal_of(place: int) -> Crystal:
    """One of the units as the record of a request."""
    batch = AsymmetricUnitBatch.stack([units()[place]], torch.float64)
    return reconstruct(batch, merge=False)[0]


def test_sets_of_all_kinds_are_met_by_an_independent_check(model: SymmBFN) -> None:
    sets, _ = possible_sets(model, units() * 3, 30)
    kinds = Counter(kind for one in sets for kind in one)
    assert len(sets) == 30 and len(kinds) == 10, "a kind of condition is missing"
    n_structures = 0
    for settings, crystal, missed in outcomes(model, sets, n=2, n_steps=2):
        n_structures += crystal.has_structure
        assert not missed, (settings, crystal.reason)
        assert crystal.status != STATUS, (settings, crystal.reason)
    assert n_structures > len(sets)


def test_the_check_of_the_package_agrees_with_the_independent_one() -> None:
    """On real crystals and the conditions of others, so that both find misses."""
    rng = np.random.default_rng(1)
    found: Counter[bool] = Counter()
    for place, unit in enumerate(units()):
        for other in (unit, units()[place - 1], units()[place - 2]):
            settings = conditions_of(other, rng)
            request = Request.of(n=1, **settings)
            crystal = crystal_of(place)
            status = checked(request, crystal).status
            missed = misses(settings, crystal.to_pymatgen(), crystal.space_group_number)
            assert (status == STATUS) == bool(missed), (settings, missed)
            found[bool(missed)] += 1
    assert min(found[True], found[False]) > 10


def test_what_is_missed_is_said_before_any_guard() -> None:
    salt = replace(crystal_of(0), status="invalid_geometry", reason="atoms too close")
    said = checked(Request.of(n=1, elements="Na,O"), salt)
    assert said.status == STATUS and "NaCl" in said.reason
    assert checked(Request.of(n=1, elements="Na,Cl"), salt) == salt
    nothing = Crystal.failed(0, 0, "reconstruction_failed", "no sites", 225)
    assert checked(Request.of(n=1, elements="Na,O"), nothing) == nothing


@pytest.mark.parametrize("one", impossible(units()[0]), ids=lambda one: one.why)
def test_impossible_sets_are_refused_in_one_line(model: SymmBFN, one) -> None:
    error = refusal(model, one.settings)
    assert 0 < len(error) < 300 and "\n" not in error


def test_a_model_of_all_atoms_is_asked_for_a_group_alone() -> None:
    """Its records keep the group, though their atoms are sites of P1."""
    model = fresh_model("full_cell")
    crystals = generate(n=3, weights=model, n_steps=1, space_group_number=225)
    assert {crystal.space_group_number for crystal in crystals} == {225}
    assert STATUS not in {crystal.status for crystal in crystals}
    for settings in ({"only": "Na,Cl"}, {"composition": "NaCl"}, {"template": "225: Na 4a, Cl 4b"}):
        with pytest.raises(ValueError, match="space group alone"):
            generate(n=1, weights=model, n_steps=1, **settings)


def test_a_crystal_of_which_all_is_kept_comes_back(model: SymmBFN) -> None:
    """Zinc blende: both sites, the cell, and no atoms beside them."""
    blende = crystal_of(2)
    settings = {"keep": (blende, [1, 2]), "lattice": blende, "composition": "ZnS", "atoms": 2}
    (crystal,) = generate(n=1, weights=model, n_steps=2, **settings)
    assert crystal.status == "ok"
    np.testing.assert_allclose(crystal.lattice_matrix, blende.lattice_matrix, atol=1e-5)
    assert np.array_equal(crystal.atomic_numbers, blende.atomic_numbers)
    np.testing.assert_allclose(crystal.fractional_coords, blende.fractional_coords, atol=1e-5)


def test_new_sites_come_beside_kept_ones(model: SymmBFN) -> None:
    """Sites that are kept, and elements that need more: no crystal has fewer sites."""
    blende = crystal_of(2)
    crystals = generate(n=4, weights=model, n_steps=2, keep=(blende, [1]), elements="Zn,S,O")
    for crystal in crystals:
        assert crystal.unit is None or len(crystal.unit) >= 3
        assert crystal.status != STATUS


def test_a_given_letter_outweighs_every_distance() -> None:
    """An untrained network puts all sites anywhere; the letters of a template stay."""
    settings = {"template": "2: Na a, Cl h, O b, O c", "has_projection": False, "clearance": 0.0}
    for crystal in generate(n=8, weights=fresh_model(), n_steps=1, **settings):
        assert sorted(crystal.letters) == ["a", "b", "c", "h"]
