"""Switches of the model that ablations turn: what each changes, and that it changes that only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from symmbfn.model import Variables
from symmbfn.presets import default_config
from symmbfn.sampling import preset_sampler, sample
from tests.models import batch, beliefs_at, elements, fresh_model, perfect_predictor, shaken_model

ROWS = (13, 14, 15)


def one_hot(classes: torch.Tensor, n_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, n_classes).float()


# --- the accuracy of classes: beta1 t^p ----------------------------------------------------------


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_classes_are_told_and_weighed_as_the_power_says(power: float) -> None:
    model, crystals = shaken_model(categorical_power=power), batch()
    t = torch.linspace(1e-3, 1, len(crystals))
    data, beliefs, given, time = beliefs_at(model, crystals, t)
    estimates = model(beliefs, given, time)
    nats, _ = model.losses(data, estimates, given, time)
    k, beta1 = 27, model.config.beta1_symmetry
    p, e = estimates.categorical["letters"].exp(), one_hot(data.categorical["letters"], k)
    brier = ((e - p).square().sum(-1) * given.is_site).sum(-1)
    # (K / 2) (d beta / dt) ||e - p||^2: at power 1 the same weight at all times
    rate = {1.0: torch.ones(()), 2.0: 2 * t}[power] * beta1
    torch.testing.assert_close(nats["letters"], k / 2 * rate * brier, rtol=1e-4, atol=1e-5)


def test_the_sampler_follows_the_accuracies_of_the_model() -> None:
    model = fresh_model(categorical_power=1.0)
    data, given = model.encode(batch()[torch.full((300,), 15)])
    perfect = perfect_predictor(model, data)
    seen: list[tuple[Variables, float]] = []

    def watched(beliefs, given, t, previous):
        seen.append((beliefs, float(t[0])))
        return perfect(beliefs, given, t, previous)

    sampler = preset_sampler(model, n_steps=8)
    sample(model, given, sampler, seed=0, index=torch.arange(300), predict=watched)
    beta1 = {
        "elements": (len(elements()), model.config.beta1_elements),
        "pointers": (8, model.config.beta1_pointers),
        "letters": (27, model.config.beta1_symmetry),
    }
    for beliefs, t in seen[1:]:
        for name, (k, most) in beta1.items():
            e = one_hot(data.categorical[name], k)
            z, beta = beliefs.categorical[name], most * t
            score = (z - beta * (k * e - 1)) / np.sqrt(k * beta)
            real = given.is_slot if name == "elements" else given.is_site
            assert score[real].std().item() == pytest.approx(1, abs=0.12)
            assert score[real].mean().item() == pytest.approx(0, abs=0.12)


def test_a_rate_without_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"power.*0\.5"):
        default_config((8, 26), categorical_power=0.5)


# --- the number of elements, with sites ----------------------------------------------------------


@pytest.mark.parametrize("is_told", [True, False])
def test_the_number_of_elements_is_read_where_it_is_told(is_told: bool) -> None:
    model = shaken_model(elements_as="sites", is_told_n_elements=is_told)
    _, beliefs, given, time = beliefs_at(model, batch(*ROWS), 0.5)
    other = model(beliefs, replace(given, n_elements=given.n_elements + 1), time)
    first = model(beliefs, given, time)
    for kind in ("continuous", "categorical"):
        for name, value in getattr(first, kind).items():
            assert torch.equal(value, getattr(other, kind)[name]) != is_told, name
    # it is no new input: weights of one model fit the other
    plain = fresh_model(elements_as="sites")
    plain.load_state_dict(model.state_dict())


def test_with_slots_the_number_of_elements_cannot_be_withheld() -> None:
    with pytest.raises(ValueError, match="is_told_n_elements.*'slots'"):
        default_config((8, 26), is_told_n_elements=True)
