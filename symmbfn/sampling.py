"""From the prior to final estimates: beliefs are sharpened step by step."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.compilation import compiled, onednn_products
from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.crystals.loci import nearest_point
from symmbfn.flows import categorical, solvers
from symmbfn.flows.schedules import (
    CategoricalSchedule,
    ContinuousSchedule,
    log_snr_grid,
    uniform_grid,
)
from symmbfn.model import Given, SymmBFN, Variables
from symmbfn.noise import normal, uniform

Predictor = Callable[[Variables, Given, Float[Tensor, "B"], Variables | None], Variables]

SOLVERS = ("bfn", "ode2", "sde2")
DTYPES = ("float32", "bf16")
STREAMS_PER_STEP = 16
PRIOR_STEP = 0
NARROWEST = 96  # width from which oneDNN takes every product, however few its rows
SETTLED = 0.9  # belief in a letter above which coordinates are projected onto its locus


@dataclass(frozen=True)
class SamplerConfig:
    """How beliefs are taken from t = 0 to t = 1.

    Attributes:
        solver: "bfn", first order on a uniform grid; "ode2" or "sde2", second order without and
            with noise for lattice and coordinates on a grid uniform in the half log-SNR.
        n_steps: number of steps; one more network call gives the final estimate.
        eta: share of fresh noise in a first-order step, in [0, 1]; 0 is the probability-flow ODE,
            1 redraws the beliefs from the flow. None: the ancestral share of the paper for
            "bfn" and "sde2", 0 for "ode2"; in these two it concerns the classes only.
        has_expected_classes: probabilities enter the update instead of one class drawn from them.
        start: first time; the model's average crystal stands for what came before.
        has_projection: coordinates of settled letters are moved onto their locus.
        is_drawn: final classes are drawn from their probabilities, as published, instead of
            the most likely ones.
    """

    solver: str = "bfn"
    n_steps: int = 31
    eta: float | None = None
    has_expected_classes: bool = False
    start: float = 0.005
    has_projection: bool = True
    is_drawn: bool = False

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}, got {self.solver!r}")
        if not (isinstance(self.n_steps, int) and self.n_steps >= 1):
            raise ValueError(f"steps must be a whole number of at least 1, got {self.n_steps!r}")
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        if not 0 < self.start < 1:
            raise ValueError(f"start must lie in (0, 1), got {self.start}")

    @property
    def is_noisy(self) -> bool:
        """Whether a step adds fresh noise."""
        return self.solver != "ode2" if self.eta is None else self.eta > 0

    def noise_share(self, accuracy_s: Tensor, accuracy_t: Tensor) -> Tensor:
        """Share of fresh noise in a step from one accuracy to the next."""
        if self.eta is None and self.solver != "ode2":
            return solvers.ancestral_eta(accuracy_s, accuracy_t)
        return torch.full_like(accuracy_t, self.eta or 0.0)


def preset_sampler(model: SymmBFN, **changes: Any) -> SamplerConfig:
    """The sampler that belongs to a model's preset: 31 ancestral steps, or the paper's 100.

    Chosen on MP-20 val (`scripts/few_steps.py`): with fewer than 32 network calls some figure
    falls out of the interval that 100 have. At equal cost noise-free steps leave more short
    contacts, and more noise than the ancestral share draws closer to the training set.
    """
    if model.config.is_standardised:
        return replace(SamplerConfig(), **changes)
    paper = SamplerConfig("bfn", 100, start=1e-4, has_projection=False, is_drawn=True)
    return replace(paper, **changes)


@torch.no_grad()
def sample(
    model: SymmBFN,
    given: Given,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
    predict: Predictor | None = None,
) -> Variables:
    """Final estimates of one batch.

    Args:
        model: for its flows; and its network, unless `predict` stands in for it.
        given: what the crystals are conditioned on.
        sampler: solver, steps and start.
        seed: of the request.
        index: number of each crystal in the request, shape (B,): its noise depends on this
            and the seed alone.
        predict: (beliefs, given, t, previous) -> estimates.

    Returns:
        Estimates of the continuous variables and log-probabilities of the classes at t = 1.

    Source: Methods, "Sampling"; the other solvers as in `flows.solvers`.
    """
    predict, device = predict or model, given.is_site.device
    times = time_grid(model, sampler).to(device)
    ones = torch.ones(len(index), device=device)

    def estimate(beliefs: Variables, t: Tensor, previous: Variables | None) -> Variables:
        estimates = confine(model, predict(beliefs, given, ones * t, previous), given)
        return project_settled(model, estimates, given) if sampler.has_projection else estimates

    is_wide = model.config.width >= NARROWEST
    with onednn_products(device) if is_wide else nullcontext():
        given = model.with_positions(given)
        noise = _noise(model, given, seed, index, PRIOR_STEP)
        beliefs = model.prior(given, float(times[0]), noise)
        previous: Variables | None = None
        for step in range(1, len(times)):
            instants = times[max(step - 2, 0)], times[step - 1], times[step]
            estimates = estimate(beliefs, instants[1], previous)
            noise = Variables({}, {})
            if sampler.is_noisy:
                noise = _noise(model, given, seed, index, step)
            mean, logits = {}, {}
            for name in model.continuous:
                mu = continuous_update(
                    model.schedules[name],
                    beliefs.continuous[name],
                    estimates.continuous[name],
                    None if previous is None else previous.continuous[name],
                    instants,
                    sampler,
                    noise.continuous.get(name),
                )
                mean[name] = mu * model.is_real(name, given)
            for stream, name in enumerate(model.categorical):
                log_p = estimates.categorical[name]
                if sampler.has_expected_classes:
                    e = log_p.exp()
                else:
                    u = uniform_like(log_p, seed, index, step, 8 + stream)
                    e = categorical.sample_one_hot(log_p, u)
                logits[name] = categorical_update(
                    model.schedules[name],
                    beliefs.categorical[name],
                    e,
                    instants[1:],
                    sampler,
                    noise.categorical.get(name),
                )
            beliefs, previous = Variables(mean, logits), estimates
        return estimate(beliefs, times[-1], previous)


def predictor(model: SymmBFN, *, is_compiled: bool = False, dtype: str = "float32") -> Predictor:
    """The network of a model in a faster form.

    Args:
        model: on its device.
        is_compiled: compile it, see `compilation.compiled`: a minute first, then faster calls.
        dtype: "float32" or "bf16", in which the matrix products are done.

    Raises:
        ValueError: another dtype.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {DTYPES}, got {dtype!r}")
    device = next(model.parameters()).device
    fast = compiled(model, device) if is_compiled else model
    has_previous = model.config.has_self_conditioning

    def predict(
        beliefs: Variables, given: Given, t: Float[Tensor, "B"], previous: Variables | None
    ) -> Variables:
        # the first call of a batch has no estimate to read: not worth a compilation of its own
        network = model if has_previous and previous is None else fast
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16"):
            return network(beliefs, given, t, previous if has_previous else None)

    return predict


def time_grid(model: SymmBFN, sampler: SamplerConfig) -> Float[Tensor, "S"]:
    """Times of the network calls, shape (n_steps + 1,), from the sampler's start to 1."""
    if sampler.solver != "bfn":
        return log_snr_grid(sampler.n_steps, model.schedules["coords"], sampler.start)
    return uniform_grid(sampler.n_steps).clamp_min(sampler.start)


def continuous_update(
    schedule: ContinuousSchedule,
    mu: Float[Tensor, "*X"],
    x_hat: Float[Tensor, "*X"],
    x_hat_previous: Float[Tensor, "*X"] | None,
    instants: tuple[Tensor, Tensor, Tensor],
    sampler: SamplerConfig,
    noise: Float[Tensor, "*X"] | None,
) -> Float[Tensor, "*X"]:
    """Mean of a continuous belief at the last of three instants.

    Args:
        schedule: of the variable.
        mu: mean at the second instant.
        x_hat, x_hat_previous: estimates at the second and, or None, at the first instant.
        instants: times of the previous call, of this one and of the next.
        sampler: solver and share of noise.
        noise: standard normal; None for a sampler without it.
    """
    gamma_r, gamma_s, gamma_t = (schedule.gamma(u) for u in instants)
    if sampler.solver != "bfn":
        gammas = (gamma_r, gamma_s, gamma_t)
        xi = noise if sampler.solver == "sde2" else None
        step = solvers.continuous_step_second_order
        return step(mu, x_hat, x_hat_previous, gammas, xi).float()
    eta = sampler.noise_share(*(schedule(u)[0] for u in instants[1:]))
    xi = torch.zeros_like(mu) if noise is None else noise
    return solvers.continuous_step(mu, x_hat, gamma_s, gamma_t, eta, xi).float()


def categorical_update(
    schedule: CategoricalSchedule,
    z: Float[Tensor, "*X K"],
    e: Float[Tensor, "*X K"],
    instants: tuple[Tensor, Tensor],
    sampler: SamplerConfig,
    noise: Float[Tensor, "*X K"] | None,
) -> Float[Tensor, "*X K"]:
    """Logits of a categorical belief at the second instant.

    Args:
        schedule: of the variable.
        z: logits at the first instant.
        e: the estimated class, one-hot, or the probabilities.
        instants: times of this call and of the next.
        sampler: share of noise.
        noise: standard normal; None for a sampler without it.
    """
    beta_s, beta_t = (schedule(u)[0].reshape(1) for u in instants)
    xi = torch.zeros_like(z) if noise is None else noise
    eta = sampler.noise_share(beta_s, beta_t)
    # times are float64; an array of classes is not to become so
    beta_s, beta_t, eta = (value.to(z) for value in (beta_s, beta_t, eta))
    return solvers.categorical_step(z, e, beta_s, beta_t, eta, xi)


def confine(model: SymmBFN, estimates: Variables, given: Given) -> Variables:
    """Keep estimated coordinates where data can be: clipped about the chart, or wrapped.

    Source: the wrap is the paper's, after every call; the clip ours (method.md 4.6).
    """
    x = model.fractional(estimates.continuous["coords"])
    x = x.clamp(CHART_END - 1.15, CHART_END + 0.15) if model.config.is_standardised else x % 1.0
    coords = (x - model.coords_mean) / model.coords_std * given.is_site[..., None]
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)


def project_settled(model: SymmBFN, estimates: Variables, given: Given) -> Variables:
    """Move the estimated coordinates of sites whose letter is settled onto its locus."""
    if "letters" not in estimates.categorical:
        return estimates
    belief, letter = estimates.categorical["letters"].max(-1)
    row = given.rows.gather(1, letter)
    x = model.fractional(estimates.continuous["coords"])
    on_locus = nearest_point(x.double().flatten(0, 1), row.flatten()).view_as(x).float()
    on_locus = (on_locus - model.coords_mean) / model.coords_std
    is_settled = (belief.exp() > SETTLED) & given.is_site
    coords = torch.where(is_settled[..., None], on_locus, estimates.continuous["coords"])
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)


def uniform_like(
    log_p: Tensor, seed: int, index: Int[Tensor, "B"], step: int, stream: int
) -> Tensor:
    """One uniform number for each variable that is to be drawn from its log-probabilities."""
    return uniform(seed, index, step * STREAMS_PER_STEP + stream, tuple(log_p.shape[1:-1]))


def _noise(
    model: SymmBFN,
    given: Given,
    seed: int,
    index: Int[Tensor, "B"],
    step: int,
) -> Variables:
    """Standard normal noise of one step."""
    names = [*model.continuous, *model.categorical]
    draws = {
        name: normal(seed, index, step * STREAMS_PER_STEP + stream, model.shape(name, given)[1:])
        for stream, name in enumerate(names)
    }
    return Variables(
        {name: draws[name] for name in model.continuous},
        {name: draws[name] for name in model.categorical},
    )
