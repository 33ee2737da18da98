"""The pieces of a training step: learning rate, times, noise, loss."""

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.training.config import OptimiserConfig


def learning_rate_factor(step: int | float, progress: float, config: OptimiserConfig) -> float:
    """Share of the largest learning rate: it rises, stays, and falls to zero at progress 1.

    Args:
        step: optimiser steps so far.
        progress: share of the run that is done, in [0, 1].
        config: length of the rise and of the fall.
    """
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = (1 - progress) / config.decay_fraction if config.decay_fraction else 1.0
    return warmup * min(1.0, max(0.0, decay))


def stratified_times(
    n: int, min_t: float, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "B"]:
    """One time in each of n equal parts of (min_t, 1), in random order: low variance over a batch.

    The order matters: a batch that mixes sizes is sorted by them.
    """
    u = torch.rand(n, generator=generator, device=device)
    part = torch.randperm(n, generator=generator, device=device)
    return min_t + (1 - min_t) * (part + u) / n


def draw_noise(
    model: SymmBFN, conditions: Conditions, generator: torch.Generator, device: torch.device
) -> Variables:
    """Standard normal noise, as much as the beliefs about every variable take."""
    return model.each(
        lambda v: torch.randn(v.noise_shape(conditions), generator=generator, device=device)
    )


def batch_loss(
    model: SymmBFN,
    data: Variables,
    conditions: Conditions,
    t: Float[Tensor, "B"],
    noise: Variables,
    has_previous: bool,
) -> tuple[Float[Tensor, "B"], dict[str, Float[Tensor, "B"]]]:
    """Weighted loss and nats by variable of each crystal, at these times and with this noise.

    Args:
        model: the network and its flows.
        data: the crystals.
        conditions: what they are conditioned on.
        t: times, shape (B,).
        noise: of the beliefs.
        has_previous: whether the network reads an estimate of its own.

    Returns:
        Loss, shape (B,), and nats of each variable, shape (B,).
    """
    beliefs = model.flow(data, conditions, t, noise)
    previous = None
    if has_previous:
        with torch.no_grad():
            previous = model(beliefs, conditions, t)
    estimates = model(beliefs, conditions, t, previous)
    nats, cross_entropy = model.losses(data, estimates, conditions, t)
    return model.training_loss(nats, cross_entropy, conditions), nats
