"""The categorical flow against Bayes' rule, multivariate normals and exact frequencies."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from symmbfn.flows import categorical
from symmbfn.flows.schedules import CategoricalSchedule, uniform_grid

N_DRAWS = 200_000


def normal(shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def one_hot(index: int, n_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(index), n_classes).double()


def accuracy(value: float) -> torch.Tensor:
    return torch.tensor([value], dtype=torch.float64)


def test_the_update_is_bayes_rule() -> None:
    # theta times the density of y under each class, normalised
    n_classes, alpha = 5, 0.37
    z, y = normal((n_classes,), 1), normal((n_classes,), 2)
    theta = np.exp(z.numpy()) / np.exp(z.numpy()).sum()
    means = alpha * (n_classes * np.eye(n_classes) - 1)
    density = [stats.multivariate_normal.pdf(y, m, alpha * n_classes) for m in means]
    expected = theta * density / (theta * density).sum()
    posterior = categorical.bayesian_update(z, y).softmax(-1)
    np.testing.assert_allclose(posterior.numpy(), expected, rtol=1e-10)


def test_the_logits_of_the_flow_are_a_posterior_under_a_uniform_prior() -> None:
    n_classes, beta = 7, 0.4
    z = categorical.bayesian_flow(one_hot(3, n_classes), accuracy(beta), normal((n_classes,)))
    means = beta * (n_classes * np.eye(n_classes) - 1)
    density = np.array([stats.multivariate_normal.pdf(z, m, beta * n_classes) for m in means])
    np.testing.assert_allclose(z.softmax(-1).numpy(), density / density.sum(), rtol=1e-10)


def test_sender_samples_add_up_to_one_flow_draw() -> None:
    n_classes, n_steps = 4, 10
    alphas = CategoricalSchedule(1.5)(uniform_grid(n_steps))[0].diff()
    e = one_hot(1, n_classes)
    z = torch.zeros(N_DRAWS, n_classes, dtype=torch.float64)
    for step, alpha in enumerate(alphas):
        noise = normal((N_DRAWS, n_classes), step)
        y = categorical.sender_mean(e, alpha[None]) + torch.sqrt(n_classes * alpha) * noise
        z = categorical.bayesian_update(z, y)
    beta, noise = 1.5, normal((N_DRAWS, n_classes), 99)
    flow = categorical.bayesian_flow(e.expand_as(noise), accuracy(beta), noise)
    for sample in (z, flow):
        expected = beta * (n_classes * e - 1)
        error = 5 * math.sqrt(n_classes * beta / N_DRAWS)
        torch.testing.assert_close(sample.mean(0), expected, rtol=0, atol=error)
        covariance = torch.cov(sample.T)
        expected = n_classes * beta * torch.eye(n_classes, dtype=torch.float64)
        torch.testing.assert_close(covariance, expected, rtol=0, atol=0.015 * n_classes * beta)


def test_the_flow_noise_inverts_the_flow() -> None:
    eps = normal((20, 6))
    e = torch.nn.functional.one_hot(torch.arange(20) % 6, 6).double()
    beta = torch.linspace(0.01, 2, 20, dtype=torch.float64)[:, None]
    recovered = categorical.flow_noise(categorical.bayesian_flow(e, beta, eps), e, beta)
    torch.testing.assert_close(recovered, eps, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("n_classes", "beta1", "published"),
    [(94, 0.25, 0.984), (94, 0.34, 0.998), (13, 2.5, 0.9998), (27, 1.2, 0.9996)],
)
def test_certainty_at_the_end_is_as_the_rule_says(
    n_classes: int, beta1: float, published: float
) -> None:
    """Share of right argmax at t = 1 (book, method-beta1), and exactly by one integral."""
    n = 20_000
    flow = categorical.bayesian_flow(
        one_hot(0, n_classes).expand(n, -1), accuracy(beta1), normal((n, n_classes))
    )
    share = (flow.argmax(-1) == 0).double().mean().item()
    gap = math.sqrt(n_classes * beta1)
    exact, _ = integrate.quad(
        lambda u: stats.norm.pdf(u) * stats.norm.cdf(u + gap) ** (n_classes - 1), -9, 9
    )
    assert exact == pytest.approx(published, abs=6e-4)
    assert share == pytest.approx(exact, abs=4 * math.sqrt(exact * (1 - exact) / n))


def test_the_bounded_state_stays_of_order_one() -> None:
    schedule = CategoricalSchedule(0.36)
    e = one_hot(2, 89).expand(2000, -1)
    for t in (1e-3, 0.1, 0.5, 1.0):
        beta = schedule(accuracy(t))[0]
        z = categorical.bayesian_flow(e, beta, normal((2000, 89)))
        state = categorical.bounded_state(z, beta)
        assert state.abs().mean() < 1.2
        assert state[:, 2].mean() < math.sqrt(89 * 0.36) + 0.2


def test_log_probabilities_are_normalised_and_masked() -> None:
    logits = (20 * normal((6, 8))).float().requires_grad_()
    is_allowed = torch.rand(6, 8, generator=torch.Generator().manual_seed(0)) < 0.5
    is_allowed[:, 4] = True
    log_p = categorical.masked_log_softmax(logits, is_allowed)
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(6))
    assert (log_p[~is_allowed] == -torch.inf).all()
    expected = np.exp(logits.detach().double().numpy()) * is_allowed.numpy()
    expected /= expected.sum(-1, keepdims=True)
    np.testing.assert_allclose(log_p.exp().detach().numpy(), expected, atol=1e-6)
    # what is forbidden must not be able to put NaN into the weights
    (gradient,) = torch.autograd.grad(log_p.exp().square().sum(), logits)
    assert gradient.isfinite().all()
    assert (gradient[~is_allowed] == 0).all()


def test_half_precision_logits_are_normalised_in_single_precision() -> None:
    log_p = categorical.masked_log_softmax(normal((3, 90)).bfloat16())
    assert log_p.dtype == torch.float32
    torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(3))


def test_the_loss_is_half_k_rate_times_the_brier_score() -> None:
    p = normal((50, 6)).softmax(-1)
    classes = torch.arange(50) % 6
    rate = torch.linspace(0.1, 3, 50, dtype=torch.float64)
    brier = np.square(np.eye(6)[classes] - p.numpy()).sum(-1)
    loss = categorical.loss_nats(classes, p, rate)
    np.testing.assert_allclose(loss.numpy(), 3 * rate.numpy() * brier, rtol=1e-12)
    # with beta = beta1 t^2 this is K beta1 t ||e - p||^2, the form of the paper
    t = torch.linspace(0, 1, 50, dtype=torch.float64)
    loss = categorical.loss_nats(classes, p, CategoricalSchedule(0.8)(t)[1])
    np.testing.assert_allclose(loss.numpy(), 6 * 0.8 * t.numpy() * brier, rtol=1e-12)
    right = torch.nn.functional.one_hot(classes, 6).double()
    assert (categorical.loss_nats(classes, right, rate) == 0).all()


def test_the_loss_is_the_limit_of_the_divergence_of_sender_and_receiver() -> None:
    """KL(sender || mixture of senders) / alpha for a small alpha, by antithetic draws."""
    n_classes, alpha, true = 4, 0.003, 2
    p = torch.tensor([0.1, 0.5, 0.25, 0.15], dtype=torch.float64)
    means = alpha * (n_classes * torch.eye(n_classes, dtype=torch.float64) - 1)
    scale = math.sqrt(n_classes * alpha)
    eps = normal((N_DRAWS, n_classes))
    y = means[true] + scale * torch.cat([eps, -eps])
    sender = Independent(Normal(means[true], scale), 1)
    receiver = MixtureSameFamily(Categorical(p), Independent(Normal(means, scale), 1))
    divergence = (sender.log_prob(y) - receiver.log_prob(y)).mean().item()
    rate = torch.tensor(1.0, dtype=torch.float64)
    loss = categorical.loss_nats(torch.tensor(true), p, rate).item()
    assert divergence / alpha == pytest.approx(loss, rel=0.02)


def test_drawn_classes_have_their_probabilities() -> None:
    p = torch.tensor([0.0, 0.5, 0.2, 0.0, 0.299, 0.001, 0.0], dtype=torch.float64)
    u = (torch.arange(N_DRAWS, dtype=torch.float64) + 0.5) / N_DRAWS
    drawn = categorical.sample_one_hot(p.log().expand(N_DRAWS, -1), u)
    assert ((drawn == 0) | (drawn == 1)).all() and (drawn.sum(-1) == 1).all()
    # u on a regular grid: frequencies are exact up to one draw
    torch.testing.assert_close(drawn.mean(0), p, rtol=0, atol=1.5 / N_DRAWS)


def test_impossible_classes_are_never_drawn_at_either_end() -> None:
    log_p = torch.tensor([0.0, 1.0, 1.0, 0.0]).log().log_softmax(-1)
    ends = torch.tensor([0.0, 1e-300, 1 - 2**-53, 1.0], dtype=torch.float64)
    drawn = categorical.sample_one_hot(log_p.expand(4, -1), ends).argmax(-1)
    assert drawn.tolist() == [1, 1, 2, 2]
