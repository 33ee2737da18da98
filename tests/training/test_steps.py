"""What a step draws and how its loss comes about."""

from dataclasses import replace

import pytest
import torch

from symmbfn.conditions.training_draw import ConditionRates
from symmbfn.training.config import TrainingConfig
from symmbfn.training.draws import BatchDraws
from symmbfn.training.steps import batch_loss
from tests.models import CPU, batch, beliefs_at, dataset, draw_noise, shaken_model

EVERY_PROPERTY = ConditionRates(no_property=0.0, property_left_out=0.0)


@pytest.mark.parametrize("has_previous", [True, False])
def test_the_network_reads_its_own_estimate_which_is_not_learnt_through(
    has_previous: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = shaken_model()
    data, _, conditions, t = beliefs_at(model, batch(), 0.3)
    noise = draw_noise(model, conditions, torch.Generator().manual_seed(0), CPU)
    calls, forward = [], model.forward

    def watched(beliefs, conditions, t, previous=None):
        estimates = forward(beliefs, conditions, t, previous)
        calls.append((previous, estimates, torch.is_grad_enabled()))
        return estimates

    monkeypatch.setattr(model, "forward", watched)
    batch_loss(model, data, conditions, t, noise, has_previous)
    *first, (previous, _, has_gradient) = calls
    assert has_gradient and len(first) == has_previous
    if has_previous:
        ((before, estimates, has_gradient),) = first
        assert before is None and previous is estimates and not has_gradient
    else:
        assert previous is None


def test_half_of_the_steps_read_an_estimate_where_the_model_can() -> None:
    index = torch.arange(2)
    for preset, share in (("default", 0.5), ("paper", 0.0)):
        draws = BatchDraws(shaken_model(preset), dataset(), TrainingConfig())
        has_previous = [draws.batch(index)[1] for _ in range(200)]
        assert abs(sum(has_previous) / 200 - share) < 0.1 * (share > 0) + 1e-9


def test_each_crystal_has_its_own_properties() -> None:
    values = torch.arange(16.0)[:, None]
    crystals = replace(dataset(), properties=values, property_names=("gap",))
    run = TrainingConfig(conditions=EVERY_PROPERTY)
    index = torch.tensor([3, 15, 0])
    (_, conditions, t, _), _ = BatchDraws(shaken_model(properties=("gap",)), crystals, run).batch(
        index
    )
    assert torch.equal(conditions.properties, values[index])
    groups = crystals.space_group_number[index].long()
    assert torch.equal(conditions.space_group_number, groups) and len(t) == 3
