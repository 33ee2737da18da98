"""The continuous flow against Bayes' rule, its own discrete form and torch.distributions."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import Normal, kl_divergence

from symmbfn.flows import continuous
from symmbfn.flows.schedules import ContinuousSchedule, uniform_grid

SCHEDULE = ContinuousSchedule(0.02)
N_DRAWS = 200_000


def normal(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_the_update_is_bayes_rule() -> None:
    # prior times likelihood on a grid, normalised numerically
    mean, precision, y, accuracy = 0.3, 1.7, -1.1, 0.8
    x = np.linspace(-8, 8, 20_001)
    density = stats.norm.pdf(x, mean, precision**-0.5) * stats.norm.pdf(y, x, accuracy**-0.5)
    density /= density.sum()
    expected_mean = (x * density).sum()
    expected_precision = 1 / ((x - expected_mean) ** 2 * density).sum()
    posterior = continuous.bayesian_update(
        *(torch.tensor([value], dtype=torch.float64) for value in (mean, precision, y, accuracy))
    )
    assert posterior[0].item() == pytest.approx(expected_mean, abs=1e-9)
    assert posterior[1].item() == pytest.approx(expected_precision, rel=1e-9)


def test_the_sender_is_a_normal_around_the_data() -> None:
    x = torch.full((20_000,), 0.4, dtype=torch.float64)
    y = continuous.sender_sample(x, torch.tensor(6.25, dtype=torch.float64), normal((20_000,)))
    assert stats.kstest(y.numpy(), stats.norm(0.4, 0.4).cdf).pvalue > 0.01


@pytest.mark.parametrize("n_steps", [5, 40])
def test_iterated_updates_have_the_moments_of_one_flow_draw(n_steps: int) -> None:
    x, beta = 0.7, SCHEDULE(uniform_grid(n_steps))[0]
    mean = torch.zeros(N_DRAWS, dtype=torch.float64)
    precision = torch.ones(N_DRAWS, dtype=torch.float64)
    for j in range(1, n_steps + 1):
        alpha = (beta[j] - beta[j - 1]).expand(N_DRAWS)
        y = continuous.sender_sample(torch.full_like(mean, x), alpha, normal((N_DRAWS,), j))
        mean, precision = continuous.bayesian_update(mean, precision, y, alpha)
        if j in (1, n_steps // 2, n_steps):
            gamma = SCHEDULE.gamma(torch.tensor(j / n_steps, dtype=torch.float64))
            draw = continuous.bayesian_flow(
                torch.full_like(mean, x), gamma, normal((N_DRAWS,), 1000 + j)
            )
            variance = float(gamma * (1 - gamma))
            error = 5 * math.sqrt(variance / N_DRAWS)
            for sample in (mean, draw):
                assert sample.mean().item() == pytest.approx(float(gamma) * x, abs=error)
                assert sample.var().item() == pytest.approx(variance, rel=0.015)
            assert precision[0].item() == pytest.approx(0.02 ** (-2 * j / n_steps), rel=1e-9)


def test_the_flow_noise_inverts_the_flow() -> None:
    x, eps = normal((50, 3), 1), normal((50, 3), 2)
    gamma = torch.linspace(0.01, 0.999, 50, dtype=torch.float64)[:, None]
    recovered = continuous.flow_noise(continuous.bayesian_flow(x, gamma, eps), x, gamma)
    torch.testing.assert_close(recovered, eps, rtol=1e-10, atol=1e-10)


def test_every_target_can_say_the_data_exactly() -> None:
    x, eps = normal((1000,), 1), normal((1000,), 2)
    gamma = torch.linspace(1e-3, 0.9996, 1000, dtype=torch.float64)
    mean = continuous.bayesian_flow(x, gamma, eps)
    outputs = {
        "noise": eps,
        # the v target written out independently of `estimate`
        "v": torch.sqrt(1 - gamma) * x - torch.sqrt(gamma) * eps,
        "data": x,
    }
    for target, output in outputs.items():
        x_hat = continuous.estimate(output, mean, gamma, target)
        torch.testing.assert_close(x_hat, x, rtol=0, atol=1e-12)
    with pytest.raises((ValueError, TypeError), match="velocity"):
        continuous.estimate(x, mean, gamma, "velocity")


def test_the_v_output_has_unit_variance_when_the_data_has() -> None:
    x, eps = normal((N_DRAWS,), 1), normal((N_DRAWS,), 2)
    for t in (0.01, 0.2, 0.9):
        gamma = SCHEDULE.gamma(torch.tensor(t, dtype=torch.float64))
        mean = continuous.bayesian_flow(x, gamma, eps)
        v = (x - mean) / torch.sqrt(1 - gamma)
        assert v.var().item() == pytest.approx(1, rel=0.015)


@pytest.mark.parametrize(
    ("target", "weight"),
    [
        ("v", lambda gamma: torch.ones_like(gamma)),
        ("noise", lambda gamma: 1 / gamma),
        ("data", lambda gamma: 1 / (1 - gamma)),
    ],
)
def test_the_loss_is_a_weighted_square_of_the_output(target: str, weight) -> None:
    # |ln sigma1| times the square, unweighted for v (book, method-targets)
    t = torch.linspace(0.01, 1, 500, dtype=torch.float64)
    gamma, rate = SCHEDULE.gamma(t), SCHEDULE(t)[1]
    x, eps, wrong = normal((500,), 1), normal((500,), 2), normal((500,), 3)
    mean = continuous.bayesian_flow(x, gamma, eps)
    right = {"v": (x - mean) / torch.sqrt(1 - gamma), "noise": eps, "data": x}[target]
    loss = continuous.loss_nats(x, continuous.estimate(wrong, mean, gamma, target), rate)
    expected = -math.log(0.02) * weight(gamma) * (right - wrong) ** 2
    torch.testing.assert_close(loss, expected, rtol=1e-9, atol=1e-12)


def discrete_bound(n_steps: int, scale: float, x: float) -> float:
    """Sum over n steps of KL(sender || receiver) for the estimator scale * mu, in closed form."""
    times = uniform_grid(n_steps)
    alpha = SCHEDULE(times)[0].diff()
    gamma = SCHEDULE.gamma(times[:-1])
    squared_error = (1 - scale * gamma) ** 2 * x**2 + scale**2 * gamma * (1 - gamma)
    sender = Normal(torch.zeros_like(alpha), alpha.rsqrt())
    receiver = Normal(squared_error.sqrt(), alpha.rsqrt())
    return float(kl_divergence(sender, receiver).sum())


def test_the_discrete_loss_becomes_the_continuous_one() -> None:
    scale, x = 0.9, 1.3
    t = (torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000
    gamma, rate = SCHEDULE.gamma(t), SCHEDULE(t)[1]
    squared_error = (1 - scale * gamma) ** 2 * x**2 + scale**2 * gamma * (1 - gamma)
    zero = torch.zeros_like(t)
    bound = continuous.loss_nats(zero, squared_error.sqrt(), rate).mean().item()
    errors = [abs(discrete_bound(n, scale, x) / bound - 1) for n in (10, 100, 1000)]
    assert errors[2] < 0.02
    assert errors[0] > errors[1] > errors[2]
