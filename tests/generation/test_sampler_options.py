"""Temperature and time grid of the sampler: what they change, and nothing where they are 1."""

import math

import numpy as np
import pytest
import torch

from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.final_estimates import final_units
from symmbfn.generation.sampler import preset_sampler, sample, time_grid
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from tests.models import batch, fresh_model, perfect_predictor, shaken_model

N = 4000
PEROVSKITE = 15  # of the units: five elements on six sites
PROBABILITIES = torch.tensor([0.6, 0.3, 0.1])


def undecided(model: SymmBFN, n: int = N) -> tuple[Conditions, Variables]:
    """Many crystals alike, and estimates that leave three classes of every variable open."""
    data, conditions = model.encode(batch()[torch.full((n,), PEROVSKITE)])
    estimates = perfect_predictor(model, data)(None, None, None, None)
    for name, log_p in estimates.categorical.items():
        p = torch.zeros_like(log_p)
        p[..., :3] = PROBABILITIES
        estimates.categorical[name] = p.log()
    return conditions, estimates


def frequencies(one_hot: torch.Tensor) -> np.ndarray:
    return one_hot.flatten(0, -2).float().mean(0)[:3].numpy()


def drawn_classes(sampler: SamplerConfig) -> dict[str, np.ndarray]:
    """Frequencies of the classes that the last step draws, read off its logits at t = 1."""
    model = fresh_model()
    conditions, estimates = undecided(model)
    seen: list[Variables] = []

    def predict(beliefs, conditions, t, previous):
        seen.append(beliefs)
        return estimates

    sample(model, conditions, sampler, seed=0, index=torch.arange(N), predict=predict)
    last = seen[-1].categorical
    real = {
        "elements": conditions.is_slot,
        "pointers": conditions.is_site,
        "letters": conditions.is_site,
    }
    found = {}
    for name, z in last.items():
        classes = z[real[name]].argmax(-1)
        found[name] = frequencies(torch.nn.functional.one_hot(classes, z.shape[-1]))
    return found


@pytest.mark.parametrize("temperature", [1.0, 0.5, 2.0])
def test_elements_and_pointers_are_drawn_from_a_power_of_their_probabilities(temperature) -> None:
    # one step redrawn from the flow at t = 1, where the class leads by four deviations
    sampler = SamplerConfig(n_steps=1, eta=1.0, has_projection=False, temperature=temperature)
    found = drawn_classes(sampler)
    power = PROBABILITIES.double().numpy() ** (1 / temperature)
    for name in ("elements", "pointers"):
        np.testing.assert_allclose(found[name], power / power.sum(), atol=0.015, err_msg=name)
    np.testing.assert_allclose(found["letters"], PROBABILITIES, atol=0.015)


def test_expected_classes_are_those_of_the_temperature() -> None:
    model = fresh_model()
    conditions, estimates = undecided(model, 500)
    seen = []

    def predict(beliefs, conditions, t, previous):
        seen.append(beliefs.categorical["pointers"])
        return estimates

    sampler = SamplerConfig(n_steps=1, eta=1.0, has_expected_classes=True, temperature=0.5)
    sample(model, conditions, sampler, seed=0, index=torch.arange(500), predict=predict)
    power = PROBABILITIES**2 / (PROBABILITIES**2).sum()
    pointers = model.config.composition
    beta, k = pointers.pointer_beta1, pointers.n_slots
    mean = seen[-1][conditions.is_site].mean(0)[:3]
    np.testing.assert_allclose(mean, beta * (k * power - 1), atol=0.5)


@pytest.mark.parametrize("temperature", [1.0, 0.25])
def test_final_classes_that_are_drawn_follow_it_too(temperature: float) -> None:
    model = fresh_model("paper")
    conditions, estimates = undecided(model)
    sampler = preset_sampler(model, temperature=temperature)
    final = final_units(model, estimates, conditions, sampler, seed=0, index=torch.arange(N))
    numbers = final.units.atomic_numbers[conditions.is_site]
    found = [(numbers == z).double().mean().item() for z in model.config.elements[:3]]
    power = PROBABILITIES.double().numpy() ** (1 / temperature)
    np.testing.assert_allclose(found, power / power.sum(), atol=0.015)
    assert final.axes is not None
    np.testing.assert_allclose(
        frequencies(final.axes[conditions.is_site] > -1), PROBABILITIES, atol=0.015
    )


@pytest.mark.parametrize("temperature", [0.1, 10.0])
def test_impossible_classes_stay_impossible_at_any_temperature(temperature: float) -> None:
    model = shaken_model(scale=0.3)
    _, conditions = model.encode(batch())
    index = torch.arange(len(batch()))
    seen = []

    def watched(beliefs, conditions, t, previous):
        seen.append(model(beliefs, conditions, t, previous))
        return seen[-1]

    sampler = SamplerConfig(n_steps=3, temperature=temperature)
    final = sample(model, conditions, sampler, seed=0, index=index, predict=watched)
    beyond = ~conditions.is_slot[:, None].expand_as(final.categorical["pointers"])
    assert (final.categorical["pointers"][beyond] == -torch.inf).all()
    assert all(v.isfinite().all() for e in seen for v in e.continuous.values())
    # what the network reads of itself and what comes out are its own estimates
    assert final.categorical is seen[-1].categorical


def test_the_grid_is_even_in_a_power_of_time() -> None:
    model = fresh_model()
    for power, start in ((2.0, 0.005), (0.5, 0.1), (1.5, 0.005)):
        times = time_grid(model, SamplerConfig(n_steps=20, grid_power=power, start=start))
        steps = (times ** (1 / power)).diff()
        torch.testing.assert_close(steps, steps.mean().expand(20), rtol=1e-9, atol=0)
        assert (times[0].item(), times[-1].item()) == (pytest.approx(start), 1.0)
        assert times.diff().min() > 0 and times.dtype == torch.float64
    first = [float(time_grid(model, SamplerConfig(grid_power=p)).diff()[0]) for p in (1.5, 0.5)]
    uniform = 1 / 31 - 0.005
    assert first[0] < uniform < first[1]


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_where_both_are_one_nothing_changes(preset: str) -> None:
    model = shaken_model(preset)
    _, conditions = model.encode(batch())
    index = torch.arange(len(batch()))
    times = time_grid(model, preset_sampler(model))
    n = len(times) - 1
    expected = torch.linspace(0.0, 1.0, n + 1, dtype=torch.float64)
    assert torch.equal(times, expected.clamp_min(preset_sampler(model).start))
    log_p = torch.randn(3, 5)
    assert SamplerConfig().tempered("elements", log_p) is log_p
    # the negative control
    plain, other = (
        sample(model, conditions, preset_sampler(model, n_steps=2, **c), seed=0, index=index)
        for c in ({}, {"temperature": 0.5})
    )
    assert not torch.equal(plain.continuous["coords"], other.continuous["coords"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperature": 0.0}, r"temperature.*0\.0"),
        ({"temperature": math.nan}, "temperature.*nan"),
        ({"grid_power": -1.0}, r"grid_power.*-1\.0"),
        ({"grid_power": 2.0, "solver": "ode2"}, "grid_power.*'ode2'"),
    ],
)
def test_impossible_options_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SamplerConfig(**changes)
