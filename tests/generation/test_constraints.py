"""Estimates that are moved apart: by what is missing, and nothing that keeps its distance."""

from dataclasses import replace

import pytest
import torch

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.distances import MINIMUM_DISTANCE
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.lattice import metric_to_k
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.constraints import move_apart
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, FixedParts, Variables
from tests.models import batch, fresh_model, perfect_predictor

EDGE, H, HE, LI, NA, CL = 6.0, 1, 2, 3, 11, 17


def estimates_of(model: SymmBFN, units: AsymmetricUnitBatch) -> tuple[Variables, Conditions]:
    """Certain and right in everything."""
    data, conditions = model.encode(units)
    return perfect_predictor(model, data)(None, None, None, None), conditions


def pair(
    model: SymmBFN, distance: float, elements: tuple[int, int] = (NA, CL)
) -> tuple[Variables, Conditions]:
    """Two atoms in a cube without symmetry, so far apart along x, in angstrom."""
    x = torch.full((1, 2, 3), 0.45)
    x[0, 0, 0], x[0, 1, 0] = 0.45 - distance / 2 / EDGE, 0.45 + distance / 2 / EDGE
    metric = EDGE**2 * torch.eye(3, dtype=torch.float64)[None]
    ones = torch.ones(1, 2, dtype=torch.long)
    units = AsymmetricUnitBatch(
        torch.ones(1, dtype=torch.long),
        metric_to_k(metric).float(),
        torch.tensor([elements]),
        0 * ones,
        x,
        ones.bool(),
    )
    return estimates_of(model, units)


def moved(
    model: SymmBFN, estimates: Variables, conditions: Conditions, clearance: float
) -> torch.Tensor:
    return model.fractional(
        move_apart(model, estimates, conditions, clearance).continuous["coords"]
    )


def test_two_sites_that_are_too_close_each_go_half_the_way() -> None:
    model = fresh_model()
    estimates, conditions = pair(model, 1.2)
    x = moved(model, estimates, conditions, 0.8)
    wanted = 0.8 * (COVALENT_RADIUS[NA] + COVALENT_RADIUS[CL])
    assert EDGE * float(x[0, 1, 0] - x[0, 0, 0]) == pytest.approx(wanted, abs=1e-3)
    assert float(x[0, :, 0].mean()) == pytest.approx(0.45, abs=1e-5)
    torch.testing.assert_close(x[0, :, 1:], torch.full((2, 2), 0.45), rtol=0, atol=1e-5)


@pytest.mark.parametrize("elements", [(H, H), (HE, HE), (H, LI)])
def test_atoms_however_small_end_as_far_apart_as_a_valid_crystal_needs(
    elements: tuple[int, int],
) -> None:
    model = load_model("default")
    estimates, conditions = pair(model, 0.2, elements)
    x = moved(model, estimates, conditions, 0.75)
    distance = EDGE * float(x[0, 1, 0] - x[0, 0, 0])
    assert distance > 1.05 * MINIMUM_DISTANCE
    # and no farther than their radii ask
    asked = 0.75 * float(COVALENT_RADIUS[list(elements)].sum())
    assert distance == pytest.approx(max(asked, 0.55), abs=1e-3)


def test_a_site_whose_letter_is_open_stays_and_moves_nothing() -> None:
    model = fresh_model()
    estimates, conditions = pair(model, 1.2)
    estimates.categorical["letters"][0, 1] = 0.85 * torch.eye(27)[0].log().clamp_min(-9.0)
    estimates.categorical["letters"][0, 1, 0] = torch.tensor(0.85).log()
    found = move_apart(model, estimates, conditions, 0.8).continuous["coords"]
    assert torch.equal(found, estimates.continuous["coords"])


def test_a_site_that_is_given_stays_and_moves_others() -> None:
    model = fresh_model()
    estimates, conditions = pair(model, 1.2)
    where = {"coords": torch.tensor([[True, False]])}
    conditions = replace(conditions, fixed=FixedParts(estimates, where))
    change = moved(model, estimates, conditions, 0.8) - model.fractional(
        estimates.continuous["coords"]
    )
    lacking = 0.8 * (COVALENT_RADIUS[NA] + COVALENT_RADIUS[CL]) - 1.2
    assert EDGE * change[0, :, 0] == pytest.approx([0, lacking / 2], abs=1e-3)


def test_what_keeps_its_distance_stays_where_it_is() -> None:
    model = fresh_model()
    estimates, conditions = pair(model, 2.5)
    found = move_apart(model, estimates, conditions, 0.8).continuous["coords"]
    torch.testing.assert_close(found, estimates.continuous["coords"], rtol=0, atol=1e-6)


def test_only_crystals_with_short_contacts_are_changed() -> None:
    model, units = fresh_model(), batch()
    estimates, conditions = estimates_of(model, units)
    change = moved(model, estimates, conditions, 0.5) - model.fractional(
        estimates.continuous["coords"]
    )
    is_changed = (change.abs() * conditions.is_site[..., None]).amax((1, 2)) > 1e-5
    is_short = [crystal.contact_ratio < 0.5 for crystal in reconstruct(units)]
    assert is_changed.tolist() == is_short
    assert 0 < sum(is_short) < len(is_short) / 2


def test_the_sampler_applies_it() -> None:
    model = fresh_model()
    estimates, conditions = pair(model, 1.2)
    distance = {}
    for clearance in (0.0, 0.8):
        sampler = preset_sampler(model, n_steps=2, clearance=clearance)
        index = torch.arange(1)
        last = sample(model, conditions, sampler, seed=0, index=index, predict=lambda *_: estimates)
        x = model.fractional(last.continuous["coords"])
        distance[clearance] = EDGE * float(x[0, 1, 0] - x[0, 0, 0])
    assert distance[0.0] == pytest.approx(1.2, abs=1e-3)
    assert distance[0.8] > 2.1


@pytest.mark.parametrize(("preset", "changes"), [("paper", {}), ("default", {"images": None})])
def test_sites_without_letters_or_images_have_none(preset: str, changes: dict) -> None:
    model = fresh_model(preset, **changes)
    assert preset_sampler(model).clearance == 0
    with pytest.raises(ValueError, match="clearance must be 0 .*letters or images, got 0.5"):
        preset_sampler(model, clearance=0.5)


@pytest.mark.parametrize("clearance", [-0.1, 1.0, float("nan")])
def test_an_impossible_clearance_is_named(clearance: float) -> None:
    with pytest.raises(ValueError, match=f"clearance must .*got {clearance}"):
        SamplerConfig(clearance=clearance)
