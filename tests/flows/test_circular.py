"""The circular flow against Bayes' rule on a grid, an integral, and its own messages."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import VonMises, kl_divergence

from symmbfn.flows import circular, von_mises


def double(value) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def turned(angle: torch.Tensor) -> torch.Tensor:
    """The same angles, nearest to 0."""
    return angle - 2 * math.pi * (angle / (2 * math.pi)).round()


def test_a_vector_holds_mean_and_concentration() -> None:
    m, c = double([-3.0, 0.2, 3.1]), double([0.5, 7.0, 1e-7])
    belief = circular.vector(m, c)
    torch.testing.assert_close(circular.mean(belief), m)
    torch.testing.assert_close(circular.concentration(belief), c)


@pytest.mark.parametrize(("m", "c", "y", "alpha"), [(0.3, 2.0, -1.1, 3.0), (3.0, 0.7, -2.9, 5.0)])
def test_the_update_is_bayes_rule(m: float, c: float, y: float, alpha: float) -> None:
    """Prior times likelihood on a grid, also where the cut of the angles lies between."""
    x = np.linspace(-np.pi, np.pi, 100_001)[:-1]
    density = stats.vonmises.pdf(x, c, loc=m) * stats.vonmises.pdf(y, alpha, loc=x)
    density /= density.sum() * (x[1] - x[0])
    belief = circular.bayesian_update(
        circular.vector(double(m), double(c)), double(y), double(alpha)
    )
    mean, concentration = circular.mean(belief).item(), circular.concentration(belief).item()
    expected = stats.vonmises.pdf(x, concentration, loc=mean)
    np.testing.assert_allclose(expected, density, atol=1e-8 * density.max())
    # accuracies are not additive: only messages that agree add up
    assert concentration < c + alpha


def test_the_flow_is_a_message_after_the_other() -> None:
    generator = torch.Generator().manual_seed(0)
    accuracies = double([0.1, 0.7, 3.0, 20.0])
    z = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    deviations = von_mises.from_normal(z, accuracies)
    x = 6 * torch.rand(50, generator=generator, dtype=torch.float64) - 3
    belief = torch.zeros(50, 2, dtype=torch.float64)
    for j, alpha in enumerate(accuracies):
        belief = circular.bayesian_update(belief, x + deviations[:, j], alpha)
    torch.testing.assert_close(circular.bayesian_flow(x, accuracies, deviations), belief)
    # what has not come has accuracy 0
    some = circular.bayesian_flow(x, accuracies * double([1, 1, 0, 0]), deviations)
    two = circular.bayesian_flow(x, accuracies[:2], deviations[:, :2])
    torch.testing.assert_close(some, two)


def test_beliefs_gather_about_the_data_and_turn_with_it() -> None:
    generator = torch.Generator().manual_seed(0)
    accuracies = double([1.0, 2.0, 4.0])
    z = torch.randn(20_000, 3, generator=generator, dtype=torch.float64)
    deviations = von_mises.from_normal(z, accuracies)
    first, other = (
        circular.bayesian_flow(double(x).expand(20_000), accuracies, deviations)
        for x in (2.9, -2.1)
    )
    turn = circular.mean(other) - circular.mean(first)
    assert turned(turn - 1.2831853071795862).abs().max() < 1e-9
    torch.testing.assert_close(circular.concentration(first), circular.concentration(other))
    # given the belief, the data is where the belief says: cos(x - m) averages to A(c)
    agreement = torch.cos(2.9 - circular.mean(first))
    expected = von_mises.mean_resultant(circular.concentration(first))
    error = (agreement - expected).std().item() / math.sqrt(20_000)
    assert (agreement - expected).mean().item() == pytest.approx(0, abs=4 * error)


@pytest.mark.parametrize("alpha", [0.01, 1.0, 75.0, 540.0])
def test_the_loss_is_the_divergence_of_sender_and_receiver(alpha: float) -> None:
    x, x_hat = double([0.2, 3.0, 0.0]), double([0.5, -3.1, 1e-5])
    y = torch.linspace(-math.pi, math.pi, 200_001, dtype=torch.float64)[:-1]
    sender, receiver = (VonMises(double(value)[:, None], double(alpha)) for value in (x, x_hat))
    log_p, log_q = sender.log_prob(y), receiver.log_prob(y)
    expected = (log_p.exp() * (log_p - log_q)).sum(-1) * (y[1] - y[0])
    found = circular.loss_nats(x, x_hat, double(alpha))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-9)
    assert (circular.loss_nats(x, x, double(alpha)) == 0).all()
    whole_turn = circular.loss_nats(x, x + 2 * math.pi, double(alpha))
    assert whole_turn.abs().max() < 1e-12


def test_a_sharp_message_costs_what_a_normal_one_does() -> None:
    """For large accuracies the circle is a line: half of alpha times the squared error."""
    gap, alpha = double([0.01, -0.02]), 1e4
    senders = torch.distributions.Normal(double(0.0), alpha**-0.5)
    receivers = torch.distributions.Normal(gap, alpha**-0.5)
    found = circular.loss_nats(torch.zeros_like(gap), gap, double(alpha))
    torch.testing.assert_close(found, kl_divergence(senders, receivers), rtol=1e-3, atol=0)


def test_certainty_runs_from_nothing_to_the_end() -> None:
    c = double([0.0, circular.NOTHING, 1.0, 1000.0])
    found = circular.certainty(circular.vector(torch.zeros_like(c), c), 1000.0)
    assert found[[0, 1]].tolist() == pytest.approx([0, 0], abs=1e-12)
    assert found[3].item() == pytest.approx(1)
    assert found[2].item() == pytest.approx(math.log(1e7) / math.log(1e10))
