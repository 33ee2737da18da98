"""Schedules: rates are derivatives, accuracies of the steps add up, grids end where they should."""

import math

import numpy as np
import pytest
import torch

from symmbfn.flows.schedules import (
    CategoricalSchedule,
    ContinuousSchedule,
    log_snr_grid,
    uniform_grid,
)

SCHEDULES = (
    ContinuousSchedule(0.02),
    ContinuousSchedule(0.3),
    CategoricalSchedule(0.36),
)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=str)
def test_the_rate_is_the_derivative_of_the_accuracy(schedule) -> None:
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64, requires_grad=True)
    beta, rate = schedule(t)
    (derivative,) = torch.autograd.grad(beta.sum(), t)
    torch.testing.assert_close(rate.detach(), derivative, rtol=1e-12, atol=0)


@pytest.mark.parametrize("n", [1, 7, 100])
def test_the_accuracies_of_the_steps_sum_to_the_final_one(n: int) -> None:
    i = np.arange(1, n + 1)
    s1, beta1 = 0.02, 0.36
    # the closed forms of a single step, as printed, against differences of our schedule
    continuous = s1 ** (-2 * i / n) * (1 - s1 ** (2 / n))
    categorical = beta1 * (2 * i - 1) / n**2
    for schedule, alphas in (
        (ContinuousSchedule(s1), continuous),
        (CategoricalSchedule(beta1), categorical),
    ):
        beta = schedule(uniform_grid(n))[0]
        np.testing.assert_allclose(beta.diff().numpy(), alphas, rtol=1e-12)
        assert alphas.sum() == pytest.approx(float(beta[-1]), rel=1e-12)


def test_the_published_schedule_is_as_it_was_to_the_last_bit() -> None:
    t = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64):
        u = t.to(dtype)
        beta, rate = CategoricalSchedule(0.36)(u)
        assert torch.equal(beta, 0.36 * u**2) and torch.equal(rate, 2 * 0.36 * u)


def test_published_values_of_the_continuous_schedule() -> None:
    # in closed form: gamma at three times, precision at the end, sender's deviation at the start
    schedule = ContinuousSchedule(0.02)
    gamma = schedule.gamma(torch.tensor([0.1, 0.25, 0.5], dtype=torch.float64))
    np.testing.assert_allclose(gamma.numpy(), [0.543, 0.859, 0.980], atol=5e-4)
    beta = schedule(uniform_grid(100))[0]
    assert float(1 + beta[-1]) == pytest.approx(2500)
    assert float(beta[1] - beta[0]) ** -0.5 == pytest.approx(3.5, abs=0.02)
    assert float(beta[-1] - beta[-2]) == pytest.approx(188, abs=0.5)


def test_gamma_and_the_half_log_snr_follow_from_the_accuracy() -> None:
    schedule = ContinuousSchedule(0.07)
    t = torch.linspace(1e-3, 1, 200, dtype=torch.float64)
    beta, _ = schedule(t)
    torch.testing.assert_close(schedule.gamma(t), beta / (1 + beta), rtol=1e-12, atol=0)
    lam = schedule.half_log_snr(t)
    torch.testing.assert_close(lam, 0.5 * torch.logit(schedule.gamma(t)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(schedule.time(lam), t, rtol=1e-12, atol=0)


def test_small_times_keep_their_digits_in_single_precision() -> None:
    # exp(x) - 1 and 1 - exp(x) lose all digits at small x
    t = torch.tensor([1e-6], dtype=torch.float32)
    schedule = ContinuousSchedule(0.02)
    expected = -2 * math.log(0.02) * 1e-6
    assert schedule(t)[0].item() == pytest.approx(expected, rel=1e-5)
    assert schedule.gamma(t).item() == pytest.approx(expected, rel=1e-5)


def test_the_log_snr_grid_is_even_in_the_half_log_snr() -> None:
    schedule = ContinuousSchedule(0.07)
    grid = log_snr_grid(20, schedule, start=0.005)
    assert (grid[0].item(), grid[-1].item()) == (pytest.approx(0.005), 1.0)
    steps = schedule.half_log_snr(grid).diff()
    torch.testing.assert_close(steps, steps.mean().expand(20), rtol=1e-9, atol=0)


def test_the_uniform_grid_is_even_in_time() -> None:
    grid = uniform_grid(4, start=0.2)
    np.testing.assert_allclose(grid.numpy(), [0.2, 0.4, 0.6, 0.8, 1.0], rtol=1e-15)


def test_impossible_values_are_refused_by_name() -> None:
    for sigma1 in (0.0, 1.0, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"sigma1.*{sigma1}"):
            ContinuousSchedule(sigma1)
    for beta1 in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match=f"beta1.*{beta1}"):
            CategoricalSchedule(beta1)
    with pytest.raises(ValueError, match="n_steps.*0"):
        uniform_grid(0)
