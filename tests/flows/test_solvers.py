"""Samplers on problems whose exact denoiser is known: consistency, order, and known biases."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance

from symmbfn.flows import categorical, continuous, solvers
from symmbfn.flows.schedules import (
    CategoricalSchedule,
    ContinuousSchedule,
    log_snr_grid,
    uniform_grid,
)

SCHEDULE = ContinuousSchedule(0.02)
START = 0.005


def normal(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def quantiles(n: int) -> torch.Tensor:
    """The standard normal as n points of equal weight, without sampling noise."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return torch.special.ndtri(u)


def bfn_step(mean, x_hat, s, t, noise):
    eta = solvers.ancestral_eta(SCHEDULE(s)[0], SCHEDULE(t)[0])
    return solvers.continuous_step(mean, x_hat, SCHEDULE.gamma(s), SCHEDULE.gamma(t), eta, noise)


# --- one step ------------------------------------------------------------------------------------


def test_the_ancestral_step_is_a_sender_sample_and_bayes_update() -> None:
    mean, x_hat, noise = normal((100,), 1), normal((100,), 2), normal((100,), 3)
    s, t = torch.tensor([0.3, 0.37], dtype=torch.float64)
    beta_s, beta_t = SCHEDULE(s)[0], SCHEDULE(t)[0]
    y = continuous.sender_sample(x_hat, beta_t - beta_s, noise)
    expected, precision = continuous.bayesian_update(
        mean, (1 + beta_s).expand(100), y, (beta_t - beta_s).expand(100)
    )
    torch.testing.assert_close(bfn_step(mean, x_hat, s, t, noise), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(precision, (1 + beta_t).expand(100), rtol=1e-12, atol=0)


def test_the_categorical_ancestral_step_is_a_sender_sample_and_an_addition() -> None:
    n_classes, schedule = 6, CategoricalSchedule(1.2)
    z, noise = normal((100, n_classes), 1), normal((100, n_classes), 2)
    e = torch.nn.functional.one_hot(torch.arange(100) % n_classes, n_classes).double()
    beta_s, beta_t = schedule(torch.tensor([[0.3], [0.37]], dtype=torch.float64))[0]
    y = categorical.bayesian_flow(e, beta_t - beta_s, noise)
    eta = solvers.ancestral_eta(beta_s, beta_t)
    step = solvers.categorical_step(z, e, beta_s, beta_t, eta, noise)
    expected = categorical.bayesian_update(z, y)
    torch.testing.assert_close(step, expected, rtol=0, atol=1e-12)


def test_without_a_previous_estimate_a_second_order_step_is_the_noise_free_one() -> None:
    mean, x_hat = normal((50,), 1), normal((50,), 2)
    gammas = SCHEDULE.gamma(torch.tensor([0.2, 0.2, 0.5], dtype=torch.float64)).unbind()
    zero = torch.zeros((), dtype=torch.float64)
    first = solvers.continuous_step(mean, x_hat, gammas[1], gammas[2], zero, torch.zeros(50))
    second = solvers.continuous_step_second_order(mean, x_hat, None, gammas)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)


def test_without_a_previous_estimate_a_noisy_second_order_step_is_the_ancestral_one() -> None:
    mean, x_hat, noise = normal((50,), 1), normal((50,), 2), normal((50,), 3)
    s, t = torch.tensor([0.2, 0.5], dtype=torch.float64)
    gammas = (SCHEDULE.gamma(s), SCHEDULE.gamma(s), SCHEDULE.gamma(t))
    second = solvers.continuous_step_second_order(mean, x_hat, None, gammas, noise)
    torch.testing.assert_close(second, bfn_step(mean, x_hat, s, t, noise), rtol=0, atol=1e-12)


def test_a_noisy_second_order_step_stays_on_the_flow() -> None:
    n, x = 100_000, torch.tensor(0.7, dtype=torch.float64)
    times = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64)
    gammas = SCHEDULE.gamma(times).unbind()
    mean = continuous.bayesian_flow(x.expand(n), gammas[1], normal((n,), 1))
    stepped = solvers.continuous_step_second_order(
        mean, x.expand(n), x.expand(n), gammas, normal((n,), 2)
    )
    variance = float(gammas[2] * (1 - gammas[2]))
    error = 5 * math.sqrt(variance / n)
    assert stepped.mean().item() == pytest.approx(float(gammas[2] * x), abs=error)
    assert stepped.var().item() == pytest.approx(variance, rel=0.02)


def test_a_step_stays_on_the_flow_when_the_estimate_is_right() -> None:
    """With x_hat = x the moments at t are the flow's, whatever the share of fresh noise."""
    n, x = 100_000, torch.tensor(0.7, dtype=torch.float64)
    s, t = torch.tensor([0.2, 0.3], dtype=torch.float64)
    mean = continuous.bayesian_flow(x.expand(n), SCHEDULE.gamma(s), normal((n,), 1))
    gamma = SCHEDULE.gamma(t)
    for eta in (0.0, 0.5, 1.0):
        stepped = solvers.continuous_step(
            mean, x.expand(n), SCHEDULE.gamma(s), gamma, torch.tensor(eta), normal((n,), 2)
        )
        variance = float(gamma * (1 - gamma))
        error = 5 * math.sqrt(variance / n)
        assert stepped.mean().item() == pytest.approx(float(gamma * x), abs=error)
        assert stepped.var().item() == pytest.approx(variance, rel=0.02)


@pytest.mark.parametrize("n_steps", [1, 3, 20])
@pytest.mark.parametrize("eta", ["ancestral", 0.0, 1.0, "second order"])
def test_a_perfect_predictor_ends_within_the_final_deviation(n_steps: int, eta) -> None:
    """At t = 1 the belief is the flow's: gamma x with noise of deviation about sigma1."""
    x, times = normal((5000,), 1), uniform_grid(n_steps, START)
    mean = continuous.bayesian_flow(x, SCHEDULE.gamma(times[0]), normal((5000,), 2))
    previous = None
    for step, (s, t) in enumerate(zip(times[:-1], times[1:], strict=True)):
        gamma_s, gamma_t = SCHEDULE.gamma(s), SCHEDULE.gamma(t)
        noise = normal((5000,), 3 + step)
        if eta == "second order":
            gammas = (SCHEDULE.gamma(times[max(step - 1, 0)]), gamma_s, gamma_t)
            mean = solvers.continuous_step_second_order(mean, x, previous, gammas)
            previous = x
        elif eta == "ancestral":
            mean = bfn_step(mean, x, s, t, noise)
        else:
            mean = solvers.continuous_step(mean, x, gamma_s, gamma_t, torch.tensor(eta), noise)
    gamma = SCHEDULE.gamma(times[-1])
    score = (mean - gamma * x) / torch.sqrt(gamma * (1 - gamma))
    assert score.abs().max() < 5
    assert score.std().item() == pytest.approx(1, rel=0.06)


# --- order of convergence ------------------------------------------------------------------------


def gaussian_error(n_steps: int, order: int) -> float:
    """Largest error at t = 1 for normal data, where the probability-flow ODE has a closed form."""
    m, s = 0.3, 0.5
    times = log_snr_grid(n_steps, SCHEDULE, START)
    gamma = SCHEDULE.gamma(times)
    variance = gamma * (1 - gamma) + gamma**2 * s**2
    start = gamma[0] * m + variance[0].sqrt() * quantiles(200)
    mean, previous = start, None
    for step in range(1, n_steps + 1):
        g = gamma[step - 1]
        x_hat = m + g * s**2 / variance[step - 1] * (mean - g * m)
        gammas = (gamma[max(step - 2, 0)], g, gamma[step])
        mean = solvers.continuous_step_second_order(
            mean, x_hat, previous if order == 2 else None, gammas
        )
        previous = x_hat
    exact = gamma[-1] * m + (variance[-1] / variance[0]).sqrt() * (start - gamma[0] * m)
    return (mean - exact).abs().max().item()


@pytest.mark.parametrize(("order", "low", "high"), [(1, 1.8, 2.3), (2, 3.5, 5.0)])
def test_halving_the_steps_size_divides_the_error_by_two_to_the_order(
    order: int, low: float, high: float
) -> None:
    errors = [gaussian_error(n, order) for n in (20, 40, 80, 160)]
    ratios = [a / b for a, b in zip(errors[:-1], errors[1:], strict=True)]
    assert all(low < ratio < high for ratio in ratios), ratios


# --- mixture of three normals --------------------------------------------------------------------

WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
MEANS = torch.tensor([-0.8, 0.1, 0.9], dtype=torch.float64)
STDS = torch.tensor([0.05, 0.1, 0.02], dtype=torch.float64)


def mixture_denoiser(mean: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """E[x | mu_t] of the mixture, by conjugacy of each component."""
    gamma = SCHEDULE.gamma(t)
    noise = gamma * (1 - gamma)
    variance = noise + gamma**2 * STDS**2
    off = mean[:, None] - gamma * MEANS
    log_weight = WEIGHTS.log() - 0.5 * variance.log() - 0.5 * off**2 / variance
    posterior = MEANS + gamma * STDS**2 / variance * off
    return (log_weight.softmax(-1) * posterior).sum(-1)


def mixture_start(draws: torch.Tensor) -> torch.Tensor:
    """mu at the start with the mean and variance of the data (book, method-start)."""
    gamma = SCHEDULE.gamma(torch.tensor(START, dtype=torch.float64))
    m = (WEIGHTS * MEANS).sum()
    second = (WEIGHTS * (MEANS**2 + STDS**2)).sum() - m**2
    return gamma * m + torch.sqrt(gamma * (1 - gamma) + gamma**2 * second) * draws


def mixture_distance(x: torch.Tensor) -> float:
    """Wasserstein-1 to the mixture, its truth as points of equal weight."""
    n = 100_000
    counts = (WEIGHTS * n).long().tolist()
    truth = torch.cat([m + s * quantiles(c) for m, s, c in zip(MEANS, STDS, counts, strict=True)])
    return wasserstein_distance(x.numpy(), truth.numpy())


def sample_mixture(n_draws: int, n_steps: int, solver: str) -> torch.Tensor:
    lambda_grid = solver in ("first order", "second order")
    times = log_snr_grid(n_steps, SCHEDULE, START) if lambda_grid else None
    times = uniform_grid(n_steps).clamp_min(START) if times is None else times
    draws = quantiles(n_draws) if lambda_grid else normal((n_draws,), 0)
    mean, previous = mixture_start(draws), None
    for step in range(1, n_steps + 1):
        s, t = times[step - 1], times[step]
        x_hat = mixture_denoiser(mean, s)
        gammas = tuple(SCHEDULE.gamma(u) for u in (times[max(step - 2, 0)], s, t))
        if solver == "second order":
            mean = solvers.continuous_step_second_order(mean, x_hat, previous, gammas)
            previous = x_hat
        elif solver == "first order":
            mean = solvers.continuous_step_second_order(mean, x_hat, None, gammas)
        elif solver == "bfn":
            mean = bfn_step(mean, x_hat, s, t, normal((n_draws,), step))
        else:  # end-back: redrawn from the flow at the estimate
            one = torch.ones((), dtype=torch.float64)
            noise = normal((n_draws,), step)
            mean = solvers.continuous_step(mean, x_hat, gammas[1], gammas[2], one, noise)
    return mixture_denoiser(mean, times[-1])


def test_twenty_second_order_steps_are_as_good_as_a_hundred_of_the_paper() -> None:
    second = mixture_distance(sample_mixture(20_000, 20, "second order"))
    first = mixture_distance(sample_mixture(20_000, 20, "first order"))
    bfn = mixture_distance(sample_mixture(50_000, 100, "bfn"))
    assert second < 0.008
    assert second < first / 2
    assert bfn < 0.012
    assert second < bfn


def test_redrawing_from_the_flow_is_biased_however_many_steps() -> None:
    # the negative control: a sampler that converges to something else
    few, many = (mixture_distance(sample_mixture(20_000, n, "end-back")) for n in (50, 100))
    assert few > 0.05 and many > 0.05


# --- one categorical variable --------------------------------------------------------------------


def sample_classes(
    prior: torch.Tensor, n_draws: int, n_steps: int, *, is_sampled: bool, has_noise: bool
) -> torch.Tensor:
    """Frequencies after noise-free steps with the exact denoiser softmax(z + log prior)."""
    n_classes = len(prior)
    schedule, times = CategoricalSchedule(2.5), uniform_grid(n_steps, START)
    beta = schedule(times)[0]
    noise = normal((n_draws, n_classes)) * has_noise
    z = categorical.bayesian_flow(prior.expand(n_draws, -1), beta[:1], noise)
    generator = torch.Generator().manual_seed(1)
    zero = torch.zeros((1,), dtype=torch.float64)
    for step in range(1, n_steps + 1):
        log_p = categorical.masked_log_softmax(z + prior.log()).double()
        e = log_p.exp()
        if is_sampled:
            e = categorical.sample_one_hot(
                log_p, torch.rand(n_draws, generator=generator, dtype=torch.float64)
            )
        z = solvers.categorical_step(
            z, e, beta[step - 1 : step], beta[step : step + 1], zero, torch.zeros_like(z)
        )
    final = (z + prior.log()).argmax(-1)
    return torch.bincount(final, minlength=n_classes).double() / n_draws


def test_sampled_classes_need_ten_noise_free_steps_and_a_noisy_start() -> None:
    rank = torch.arange(13, dtype=torch.float64)
    prior = (-0.35 * rank).softmax(-1)

    def total_variation(n_draws: int, **options: bool) -> float:
        frequencies = sample_classes(prior, n_draws, 10, **options)
        return 0.5 * (frequencies - prior).abs().sum().item()

    assert total_variation(100_000, is_sampled=True, has_noise=True) < 0.012
    # from z = 0 and without noise every crystal would go to the mode
    assert total_variation(1000, is_sampled=False, has_noise=False) > 0.5
