"""Switches of the model that ablations turn: what each changes, and that it changes that only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.variables import Variables
from symmbfn.networks.groups import axis_classes
from tests.models import (
    batch,
    beliefs_at,
    elements,
    fresh_model,
    perfect_predictor,
    shaken_model,
    sites,
    slots,
)

ROWS = (13, 14, 15)


def one_hot(classes: torch.Tensor, n_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, n_classes).float()


# --- the accuracy of classes: beta1 t^2 ----------------------------------------------------------


def test_the_loss_of_classes_is_weighed_by_the_rate_of_their_accuracy() -> None:
    model, crystals = shaken_model(), batch()
    t = torch.linspace(1e-3, 1, len(crystals))
    data, beliefs, conditions, time = beliefs_at(model, crystals, t)
    estimates = model(beliefs, conditions, time)
    nats, _ = model.losses(data, estimates, conditions, time)
    k, beta1 = 27, model.config.symmetry.beta1
    p, e = estimates.categorical["letters"].exp(), one_hot(data.categorical["letters"], k)
    brier = ((e - p).square().sum(-1) * conditions.is_site).sum(-1)
    # (K / 2) (d beta / dt) ||e - p||^2 with beta = beta1 t^2
    torch.testing.assert_close(nats["letters"], k * beta1 * t * brier, rtol=1e-4, atol=1e-5)


def test_the_sampler_follows_the_accuracies_of_the_model() -> None:
    model = fresh_model()
    data, conditions = model.encode(batch()[torch.full((300,), 15)])
    perfect = perfect_predictor(model, data)
    seen: list[tuple[Variables, float]] = []

    def watched(beliefs, conditions, t, previous):
        seen.append((beliefs, float(t[0])))
        return perfect(beliefs, conditions, t, previous)

    sampler = preset_sampler(model, n_steps=8)
    sample(model, conditions, sampler, seed=0, index=torch.arange(300), predict=watched)
    beta1 = {
        "elements": (len(elements()), model.config.composition.beta1),
        "pointers": (8, model.config.composition.pointer_beta1),
        "letters": (27, model.config.symmetry.beta1),
    }
    for beliefs, t in seen[1:]:
        for name, (k, most) in beta1.items():
            e = one_hot(data.categorical[name], k)
            z, beta = beliefs.categorical[name], most * t**2
            score = (z - beta * (k * e - 1)) / np.sqrt(k * beta)
            real = conditions.is_slot if name == "elements" else conditions.is_site
            assert score[real].std().item() == pytest.approx(1, abs=0.12)
            assert score[real].mean().item() == pytest.approx(0, abs=0.12)


# --- the number of elements ---------------------------------------------------------------------


@pytest.mark.parametrize("composition", [slots(8), sites()], ids=["slots", "sites"])
def test_the_number_of_elements_is_read_with_slots_only(composition) -> None:
    """The published model, whose elements are of sites, does not know how many there are."""
    model = shaken_model(composition=composition)
    _, beliefs, conditions, time = beliefs_at(model, batch(*ROWS), 0.5)
    first = model(beliefs, conditions, time)
    other = model(beliefs, replace(conditions, n_elements=conditions.n_elements + 1), time)
    for name in model.variables:
        assert torch.equal(first[name], other[name]) == (composition.kind == "sites"), name


# --- axes that the group has ---------------------------------------------------------------------


def test_the_classes_of_an_axis_are_those_of_the_positions() -> None:
    table, encoding = axis_classes().numpy(), symmetry_tables().encoding
    for number in (1, 2, 14, 62, 166, 225, 230):
        own = encoding[positions_of(number)]
        for axis in range(15):
            assert set(np.flatnonzero(table[number - 1, axis])) == set(own[:, axis])
    # 1.73 of 13 on average, one alone for 48 % of the axes
    count = table.sum(-1)
    assert count.mean() == pytest.approx(1.73, abs=0.005)
    assert (count == 1).mean() == pytest.approx(0.48, abs=0.005)


# --- preconditioning -----------------------------------------------------------------------------


@pytest.mark.parametrize("is_preconditioned", [True, False])
def test_preconditioning_reads_logits_and_adds_them_to_the_answer(is_preconditioned: bool) -> None:
    crystals = batch(*ROWS)
    # the output: a fresh model adds the beliefs, or says the frequencies whatever they are
    model = fresh_model(is_preconditioned=is_preconditioned)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    with torch.no_grad():
        log_p = model(beliefs, conditions, time).categorical["pointers"]
    expected = beliefs.categorical["pointers"] if is_preconditioned else torch.zeros_like(log_p)
    expected = expected.masked_fill(~conditions.is_slot[:, None], -torch.inf).log_softmax(-1)
    torch.testing.assert_close(log_p, expected)
    # the input: what the slots read beside probabilities
    model = shaken_model(is_preconditioned=is_preconditioned)
    seen = []
    model.elements.read_slot.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    first = model(beliefs, conditions, time)
    model(beliefs, conditions, time, first)
    k = len(elements())
    z, beta = beliefs.categorical["elements"], model.config.composition.beta1 * 0.25
    state = z / np.sqrt(0.05 + k * beta) * is_preconditioned
    earlier = first.categorical["elements"].exp() * is_preconditioned
    torch.testing.assert_close(seen[0][..., k : 2 * k], state)
    torch.testing.assert_close(seen[0][..., 2 * k : 3 * k], torch.zeros_like(state))
    torch.testing.assert_close(seen[1][..., 2 * k : 3 * k], earlier)
