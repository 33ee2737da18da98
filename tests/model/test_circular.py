"""Coordinates on the circle: the baseline's flow of CrysBFN, in the model and in the sampler."""

import copy
import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from symmbfn.conditions.request import Request
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.flows import circular, von_mises
from symmbfn.flows.noise import Draws
from symmbfn.flows.sampler_config import SamplerConfig, Step
from symmbfn.generation.final_estimates import decode
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.config import circular_config, full_cell_config
from symmbfn.model.number_configs import CircularCoordsConfig
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from tests.models import (
    CPU,
    batch,
    beliefs_at,
    cells,
    fresh_model,
    perfect_predictor,
    shaken_model,
    units,
)

FEW = {"coords": CircularCoordsConfig(n_messages=12, beta1=200.0)}
ANCESTRAL = {"eta": None, "has_expected_classes": False}


@pytest.fixture
def model() -> SymmBFN:
    return shaken_model("circular", **FEW)


def turned(x: torch.Tensor) -> torch.Tensor:
    """The nearest image of a difference of fractions to 0."""
    return x - x.round()


# --- settings ------------------------------------------------------------------------------------


def test_only_the_flow_of_the_coordinates_differs_from_the_baseline() -> None:
    on_line = full_cell_config()
    assert replace(circular_config(), coords=on_line.coords) == on_line
    assert circular_config().coords == CircularCoordsConfig(n_messages=100, beta1=1e3)
    one, other = fresh_model("circular", **FEW), fresh_model("full_cell")
    ours, theirs = one.state_dict(), other.state_dict()
    assert ours.keys() == theirs.keys()
    # the network is told less of a site and of a pair: means and differences are periodic
    differing = {name for name in ours if ours[name].shape != theirs[name].shape}
    assert differing and all("site_in" in name or "edge" in name for name in differing)


@pytest.mark.parametrize("name", ["has_fixed_parts", "has_self_conditioning"])
def test_what_lives_on_a_line_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name}.*circular"):
        replace(circular_config(), **{name: True})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"solver": "ode2"}, "solver.*'ode2'"),
        ({"eta": 0.5}, "eta.*0.5"),
        ({"start": 0.09}, "start.*12 messages.*0.09"),
    ],
)
def test_samplers_that_the_circle_has_not_are_refused(
    model: SymmBFN, changes: dict, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        preset_sampler(model, **changes)
    _, conditions = model.encode(cells(0))
    sampler = replace(preset_sampler(model), **changes)
    with pytest.raises(ValueError, match=message):
        sample(model, conditions, sampler, seed=0, index=torch.arange(1))


def test_the_sampler_is_the_published_one_unless_another_is_asked_for(model: SymmBFN) -> None:
    sampler = preset_sampler(model)
    assert (sampler.solver, sampler.n_steps, sampler.eta) == ("bfn", 12, 1.0)
    assert sampler.has_expected_classes and sampler.is_drawn and not sampler.has_projection
    assert preset_sampler(model, **ANCESTRAL).eta is None


# --- beliefs and losses --------------------------------------------------------------------------


def test_beliefs_are_sums_of_the_messages_that_have_come(model: SymmBFN) -> None:
    """Written out for every site from the same noise; before the first there is no word of data."""
    coords, crystals = model.numbers["coords"], cells(15, 9)
    data, conditions = model.encode(crystals)
    shape = coords.noise_shape(conditions)
    assert shape == (*crystals.is_site.shape, 3, 13)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([5 / 12 + 0.01, 0.03])
    x = data.continuous["coords"]
    found = coords.flow(x, conditions, t, noise)
    accuracies = coords.schedule.accuracies
    deviation = von_mises.from_normal(noise.double(), accuracies.double())
    real = conditions.is_site
    for row, n_messages in enumerate((5, 0)):
        y = 2 * math.pi * x[row, ..., None].double() + deviation[row]
        parts = circular.vector(y, accuracies.double())[..., : n_messages + 1, :]
        expected = parts.sum(-2)[real[row]]
        torch.testing.assert_close(found[row][real[row]].double(), expected, rtol=0, atol=2e-4)
    assert (found[~real] == 0).all()
    start = coords.prior(conditions, t, noise)
    torch.testing.assert_close(
        circular.concentration(start)[real], torch.full_like(x[real], circular.NOTHING)
    )
    # a direction at random, which is not the data's
    direction = coords.best(start)[real]
    assert direction.std() > 0.2
    assert not torch.allclose(direction, coords.best(found)[real], atol=0.1)


def test_losses_are_divergences_written_out(model: SymmBFN) -> None:
    crystals = cells()
    time = torch.linspace(0.0, 0.99, len(crystals))
    data, beliefs, conditions, _ = beliefs_at(model, crystals, time)
    estimates = model(beliefs, conditions, time)
    nats, _ = model.losses(data, estimates, conditions, time)
    accuracies = model.numbers["coords"].schedule.accuracies.double()
    for row, n in enumerate(crystals.n_sites.tolist()):
        alpha = accuracies[int(time[row] * 12 + 1e-3) + 1]
        gap = 2 * math.pi * (data["coords"] - estimates["coords"])[row, :n].double()
        each = 12 * alpha * von_mises.mean_resultant(alpha) * (1 - gap.cos())
        assert nats["coords"][row].item() == pytest.approx(each.sum().item(), rel=1e-3)
    perfect = perfect_predictor(model, data)(beliefs, conditions, time, None)
    zero, _ = model.losses(data, perfect, conditions, time)
    assert all((value == 0).all() for value in zero.values())
    # an image of the estimate is as good as itself
    shifted = {**estimates.continuous, "coords": estimates["coords"] + 1.0}
    again, _ = model.losses(data, Variables(shifted, estimates.categorical), conditions, time)
    torch.testing.assert_close(again["coords"], nats["coords"], rtol=1e-3, atol=1e-3)


def test_a_fresh_model_answers_with_the_mean() -> None:
    model, crystals = fresh_model("circular", **FEW), cells(13)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.8)
    coords = model.numbers["coords"]
    found = model(beliefs, conditions, time).continuous["coords"]
    assert (found >= 0).all() and (found < 1).all()
    gap = turned(found - coords.best(beliefs["coords"]))
    assert gap.abs().max() < 1e-6


def test_the_schedule_moves_and_is_copied_with_the_model(model: SymmBFN) -> None:
    twin = copy.deepcopy(model).to("meta")
    schedule = twin.numbers["coords"].schedule
    assert schedule is twin.messages is not model.messages
    assert schedule.accuracies.device.type == schedule.table.device.type == "meta"
    assert model.messages.accuracies.device == CPU
    assert not [name for name in model.state_dict() if "messages" in name]


# --- the network ---------------------------------------------------------------------------------


def moved(value: Variables, change) -> Variables:
    numbers = {n: v if n == "lattice" else change(v) for n, v in value.continuous.items()}
    return Variables(numbers, {n: change(v) for n, v in value.categorical.items()})


def test_permuting_the_atoms_permutes_the_estimates(model: SymmBFN) -> None:
    crystals = cells(9, 13, 15)
    order = torch.randperm(crystals.is_site.shape[1], generator=torch.Generator().manual_seed(0))
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    first = model(beliefs, conditions, time)
    again_given = model.conditions(
        conditions.space_group_number, conditions.is_site[:, order], conditions.n_elements
    )
    again = model(moved(beliefs, lambda v: v[:, order]), again_given, time)
    real = again_given.is_site
    gap = turned(again["coords"] - first["coords"][:, order])[real]
    assert gap.abs().max() < 5e-5
    expected = first["elements"][:, order][real]
    torch.testing.assert_close(again["elements"][real], expected, rtol=0, atol=5e-4)
    # the negative control: atoms really differ
    assert turned(first["coords"][:, 0] - first["coords"][:, 1]).abs().max() > 1e-3


def test_padding_changes_nothing(model: SymmBFN) -> None:
    crystals = cells(9, 13, 15)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    together = model(beliefs, conditions, time)
    for row, n in enumerate(crystals.n_sites.tolist()):
        one = slice(row, row + 1)
        own = model.conditions(
            conditions.space_group_number[one],
            conditions.is_site[one, :n],
            conditions.n_elements[one],
        )
        cut = Variables(
            {"lattice": beliefs["lattice"][one], "coords": beliefs["coords"][one, :n]},
            {"elements": beliefs["elements"][one, :n]},
        )
        alone = model(cut, own, time[one])
        assert turned(alone["coords"] - together["coords"][one, :n]).abs().max() < 5e-4


def test_certainty_and_direction_of_a_belief_are_heard(model: SymmBFN) -> None:
    _, beliefs, conditions, time = beliefs_at(model, cells(13), 0.6)
    vectors = beliefs.continuous["coords"]
    before = model(beliefs, conditions, time)["elements"]
    for change in (vectors * 0.1, vectors.flip(-1)):
        other = Variables({**beliefs.continuous, "coords": change}, beliefs.categorical)
        assert (model(other, conditions, time)["elements"] - before).abs().max() > 1e-4


# --- the sampler ---------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, ANCESTRAL, {"n_steps": 5}, {"n_steps": 30, **ANCESTRAL}])
def test_a_perfect_predictor_returns_the_very_atoms(changes: dict) -> None:
    model = fresh_model("circular", **FEW)
    sampler = preset_sampler(model, **changes)
    data, conditions = model.encode(cells())
    index = torch.arange(len(units())) + 100
    predict = perfect_predictor(model, data)
    estimates = sample(model, conditions, sampler, seed=1, index=index, predict=predict)
    found = decode(model, estimates, conditions, sampler, seed=1, index=index)
    for crystal, expected in zip(found, reconstruct(batch(dtype=torch.float64)), strict=True):
        assert crystal.status == "ok", crystal.reason
        assert np.array_equal(crystal.atomic_numbers, expected.atomic_numbers)
        gap = crystal.fractional_coords - expected.fractional_coords
        assert np.abs(gap - np.rint(gap)).max() < 2e-6


@pytest.mark.parametrize("changes", [{}, ANCESTRAL], ids=["end-back", "ancestral"])
@pytest.mark.parametrize("n_steps", [4, 12, 20])
def test_beliefs_follow_the_flow_of_a_perfect_predictor(changes: dict, n_steps: int) -> None:
    """At every call: as many messages as in training, of the same mean and spread."""
    model = fresh_model("circular", **FEW)
    coords = model.numbers["coords"]
    n = 600
    data, conditions = model.encode(cells(13)[torch.zeros(n, dtype=torch.long)])
    perfect, seen = perfect_predictor(model, data), []

    def watched(beliefs, conditions, t, previous):
        seen.append((beliefs["coords"], t))
        return perfect(beliefs, conditions, t, previous)

    sampler = preset_sampler(model, n_steps=n_steps, **changes)
    sample(model, conditions, sampler, seed=0, index=torch.arange(n), predict=watched)
    assert len(seen) == n_steps + 1
    x, real = 2 * math.pi * data["coords"], conditions.is_site
    generator = torch.Generator().manual_seed(0)
    for found, t in seen:
        noise = torch.randn(coords.noise_shape(conditions), generator=generator)
        drawn = coords.flow(data["coords"], conditions, t, noise)
        for belief in (found, drawn):
            along = (belief * circular.vector(x, torch.ones(()))).sum(-1)[real]
            alphas = coords.schedule.accuracies[: int(coords.schedule.received(t)[0]) + 1]
            expected = (alphas * von_mises.mean_resultant(alphas)).sum()
            error = 4.5 * along.std() / math.sqrt(along.numel()) + 1e-6
            assert (along.mean() - expected).abs() < error
        ratio = (
            circular.concentration(found)[real].std() / circular.concentration(drawn)[real].std()
        )
        assert found[real].abs().max() < 1e-5 or ratio.item() == pytest.approx(1, abs=0.1)


def test_an_ancestral_step_adds_messages_and_end_back_forgets() -> None:
    model = fresh_model("circular", **FEW)
    coords = model.numbers["coords"]
    data, conditions = model.encode(cells(13))
    x, real = data["coords"], conditions.is_site
    wrong = circular.vector(2 * math.pi * (x + 0.5), torch.tensor(1e4)) * real[..., None, None]
    instants = (torch.tensor(0.0), torch.tensor(0.25), torch.tensor(0.5))
    for eta, is_kept in ((None, True), (1.0, False)):
        step = Step(instants, SamplerConfig(eta=eta), Draws(0, torch.arange(1), 3, 1))
        after = coords.best(coords.step(wrong, x, None, conditions, step))
        off = turned(after - x)[real].abs()
        assert (off > 0.4).all() if is_kept else (off < 0.4).float().mean() > 0.9
    # a step between two messages tells nothing
    instants = (torch.tensor(0.0), torch.tensor(0.26), torch.tensor(0.3))
    step = Step(instants, SamplerConfig(), Draws(0, torch.arange(1), 3, 1))
    assert torch.equal(coords.step(wrong, x, None, conditions, step), wrong)


def by_index(model: SymmBFN, index: torch.Tensor, batch_size: int) -> dict[int, Crystal]:
    request, sampler = Request(n=1000, seed=7), preset_sampler(model)
    parts = generate_batches(model, request, sampler, index=index, batch_size=batch_size)
    return {crystal.index: crystal for part in parts for crystal in part}


def test_crystal_i_is_the_same_in_every_batch_and_order() -> None:
    model = shaken_model("circular", scale=0.05, **FEW)
    whole = by_index(model, torch.arange(24), 128)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for other in map(partial(by_index, model), (torch.arange(24), order[:9]), (3, 128)):
        for i, crystal in other.items():
            assert (crystal.status, crystal.reason) == (whole[i].status, whole[i].reason)
            np.testing.assert_array_equal(
                crystal.fractional_coords, whole[i].fractional_coords, strict=True
            )
    assert len({crystal.formula for crystal in whole.values()}) > 3


def test_noise_follows_the_seed_alone() -> None:
    draws = Draws(3, torch.tensor([5, 9]), 2, 1)
    again = Draws(3, torch.tensor([9]), 2, 1)
    # more padding and another crystal beside it
    assert torch.equal(draws.normal((8, 3, 7))[1, :4], again.normal((4, 3, 7))[0])
    assert draws.normal((4, 3, 7)).device == CPU
