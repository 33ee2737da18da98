"""The sampler: from the prior to final estimates, step by step."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows.noise import Draws
from symmbfn.flows.sampler_config import SamplerConfig, Step
from symmbfn.flows.schedules import ContinuousSchedule, log_snr_grid, uniform_grid
from symmbfn.generation.constraints import can_keep_apart, confine, move_apart, project_settled
from symmbfn.model.beliefs.belief import Belief
from symmbfn.model.number_configs import CircularCoordsConfig
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.checks import one_of
from symmbfn.runtime.compilation import compiled, onednn_products
from symmbfn.runtime.devices import DTYPES, autocast

Predictor = Callable[[Variables, Conditions, Float[Tensor, "B"], Variables | None], Variables]

PRIOR_STEP = 0
NARROWEST = 96  # least width at which oneDNN computes every product, also those of few rows


def preset_sampler(model: SymmBFN, **changes: Any) -> SamplerConfig:
    """The sampler that belongs to a model's preset: 31 ancestral steps, or the paper's 100.

    Sites of a model with letters and images are kept apart, except by the paper's sampler. With
    circular coordinates the sampler is the one they were published with: beliefs are redrawn at
    every step, from probabilities in place of classes; `eta=None` makes it ancestral.

    Chosen on MP-20 val. With fewer than 32 network calls some figures leave the interval of those
    with 100, and at equal cost steps without noise leave more short contacts
    (`python -m scripts.engine.few_steps`). The clearance was chosen by
    `python -m scripts.comparisons.ablations sample`.

    Args:
        model: whose preset and variables decide.
        changes: fields of `SamplerConfig` to set otherwise.

    Raises:
        ValueError: for a setting that no sampler, or none of this model, can have, naming it.
    """
    c = model.config
    sampler = SamplerConfig()
    if not c.coords.is_standardised:
        sampler = SamplerConfig(n_steps=100, start=1e-4, has_projection=False, is_drawn=True)
    if not (c.coords.is_standardised and can_keep_apart(model)):
        sampler = replace(sampler, clearance=0.0)
    if isinstance(c.coords, CircularCoordsConfig):
        n_steps = c.coords.n_messages
        sampler = replace(sampler, n_steps=n_steps, eta=1.0, has_expected_classes=True)
    sampler = replace(sampler, **changes)
    check_sampler(model, sampler)
    return sampler


def check_sampler(model: SymmBFN, sampler: SamplerConfig) -> None:
    """Refuse what a model cannot do.

    Raises:
        ValueError: clearance without letters or images; of beliefs on the circle another solver
            than "bfn", a share of noise other than the ancestral or 1, or a start after the first
            message.
    """
    if sampler.clearance and not can_keep_apart(model):
        raise ValueError(
            "clearance must be 0 for a model without Wyckoff letters or images, "
            f"got {sampler.clearance}"
        )
    coords = model.config.coords
    if not isinstance(coords, CircularCoordsConfig):
        return
    if sampler.solver != "bfn":
        raise ValueError(f"solver must be 'bfn' for circular coordinates, got {sampler.solver!r}")
    if sampler.eta not in (None, 1):
        raise ValueError(f"eta must be None or 1 for circular coordinates, got {sampler.eta}")
    if sampler.start >= 1 / coords.n_messages:
        raise ValueError(
            f"start must lie before the first of {coords.n_messages} messages about "
            f"circular coordinates, got {sampler.start}"
        )


@torch.no_grad()
def sample(
    model: SymmBFN,
    conditions: Conditions,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
    predict: Predictor | None = None,
) -> Variables:
    """Final estimates of one batch.

    Args:
        model: its flows, and its network unless there is `predict`.
        conditions: what the crystals are conditioned on.
        sampler: solver, steps and more.
        seed: of the request.
        index: number of each crystal, shape (B,); its noise depends on this and the seed alone.
        predict: in place of the network: (beliefs, conditions, t, previous) -> estimates.

    Returns:
        Estimates of the continuous variables and log-probabilities of the classes at t = 1.

    Source: Methods, "Sampling"; book, method-sampler.
    """
    check_sampler(model, sampler)
    predict, device = predict or model, conditions.is_site.device
    times = time_grid(model, sampler).to(device)
    ones = torch.ones(len(index), device=device)
    places = {name: place for place, name in enumerate(model.variables)}

    def draws(number: int, name: str) -> Draws:
        return Draws(seed, index, number, places[name])

    def estimate(beliefs: Variables, t: Tensor, previous: Variables | None) -> Variables:
        estimates = confine(model, predict(beliefs, conditions, ones * t, previous), conditions)
        if sampler.has_projection:
            estimates = project_settled(model, estimates, conditions)
        if sampler.clearance:
            estimates = move_apart(model, estimates, conditions, sampler.clearance)
        return estimates

    is_wide = model.config.network.width >= NARROWEST
    with onednn_products(device) if is_wide else nullcontext():
        conditions = model.with_positions(conditions)
        noise = model.each(
            lambda v: draws(PRIOR_STEP, v.name).normal(v.noise_shape(conditions)[1:])
        )
        beliefs = model.prior(conditions, float(times[0]), noise)
        previous: Variables | None = None
        for number in range(1, len(times)):
            instants = times[max(number - 2, 0)], times[number - 1], times[number]
            estimates = estimate(beliefs, instants[1], previous)
            steps = {n: Step(instants, sampler, draws(number, n)) for n in model.variables}
            beliefs = sharpened(model, beliefs, estimates, previous, conditions, steps)
            previous = estimates
        return estimate(beliefs, times[-1], previous)


def sharpened(
    model: SymmBFN,
    beliefs: Variables,
    estimates: Variables,
    previous: Variables | None,
    conditions: Conditions,
    steps: dict[str, Step],
) -> Variables:
    """Beliefs at the end of a step, from those at its start and the estimates there."""

    def new(variable: Belief) -> Tensor:
        name = variable.name
        earlier = None if previous is None else previous[name]
        return variable.step(beliefs[name], estimates[name], earlier, conditions, steps[name])

    return model.each(new)


def predictor(model: SymmBFN, *, is_compiled: bool = False, dtype: str = "float32") -> Predictor:
    """The network of a model in a faster form.

    Args:
        model: on its device.
        is_compiled: compile it, see `compilation.compiled`: takes minutes, later calls are faster.
            It rounds otherwise, so that a crystal here and there becomes another.
        dtype: "float32" or "bf16", the precision of the matrix products.

    Raises:
        ValueError: another dtype.
    """
    one_of("dtype", dtype, DTYPES)
    device = next(model.parameters()).device
    fast = compiled(model, device) if is_compiled else model
    has_previous = model.config.has_self_conditioning

    def predict(
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None,
    ) -> Variables:
        # the first call of a batch has no previous estimate: it is not compiled for that alone
        network = model if has_previous and previous is None else fast
        with autocast(device, dtype):
            return network(beliefs, conditions, t, previous if has_previous else None)

    return predict


def time_grid(model: SymmBFN, sampler: SamplerConfig) -> Float[Tensor, "S"]:
    """Times of the network calls, shape (n_steps + 1,), from the sampler's start to 1."""
    schedule = model.numbers["coords"].schedule
    if sampler.solver != "bfn" and isinstance(schedule, ContinuousSchedule):
        return log_snr_grid(sampler.n_steps, schedule, sampler.start)
    if sampler.grid_power != 1:
        # equally spaced from the start on, so that no step lies before it
        root = uniform_grid(sampler.n_steps, sampler.start ** (1 / sampler.grid_power))
        return root**sampler.grid_power
    return uniform_grid(sampler.n_steps).clamp_min(sampler.start)
