"""Beliefs keep their precision through the steps of the sampler."""

import pytest
import torch

from symmbfn.flows.sampler_config import SOLVERS
from symmbfn.generation.sampler import preset_sampler, sample
from tests.models import batch, shaken_model


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("preset", ["default", "paper"])
def test_beliefs_stay_in_single_precision(preset: str, solver: str) -> None:
    """Times are float64; beliefs that became so would make every call of the network slower."""
    model = shaken_model(preset)
    _, conditions = model.encode(batch(0, 9))
    seen: list[torch.dtype] = []

    def watched(beliefs, conditions, t, previous):
        seen.extend(beliefs[name].dtype for name in model.variables)
        return model(beliefs, conditions, t, previous)

    sampler = preset_sampler(model, n_steps=3, solver=solver)
    sample(model, conditions, sampler, seed=0, index=torch.arange(2), predict=watched)
    assert len(seen) > 3 * len(model.variables) - 1 and set(seen) == {torch.float32}
