"""The Bayesian flow of numbers: coordinates and lattice.

Every function is one equation. Times and accuracies broadcast against the variable.
"""

from typing import Literal, get_args

import torch

from symmbfn._shapes import Float, Tensor

Target = Literal["v", "noise", "data"]  # what a network may predict, see `estimate`
TARGETS: tuple[Target, ...] = get_args(Target)


def bayesian_update(
    mean: Float[Tensor, "*X"],
    precision: Float[Tensor, "*#X"],
    y: Float[Tensor, "*X"],
    accuracy: Float[Tensor, "*#X"],
) -> tuple[Float[Tensor, "*X"], Float[Tensor, "*#X"]]:
    """Condition a Gaussian belief on one sender sample y ~ N(x, 1 / accuracy).

    Args:
        mean: mu of the input distribution, any shape, in units of the standardised data.
        precision: rho of the input distribution, broadcastable, above 0.
        y: sender sample, shape of `mean`.
        accuracy: alpha of the sample, broadcastable, at least 0.

    Returns:
        Mean and precision of the posterior, shapes of `mean` and `precision`.

    Source: Methods, "Bayesian flow for continuous variables": update function.
    """
    posterior = precision + accuracy
    return (precision * mean + accuracy * y) / posterior, posterior


def sender_sample(
    x: Float[Tensor, "*X"], accuracy: Float[Tensor, "*#X"], noise: Float[Tensor, "*X"]
) -> Float[Tensor, "*X"]:
    """Draw one message of the sender: y ~ N(x, 1 / accuracy).

    Args:
        x: data, any shape, standardised.
        accuracy: alpha, broadcastable, above 0.
        noise: standard normal draw, shape of `x`.

    Returns:
        Sender sample y, shape of `x`.

    Source: Methods, "Bayesian flow for continuous variables": sender distribution.
    """
    return x + noise / torch.sqrt(accuracy)


def bayesian_flow(
    x: Float[Tensor, "*X"], gamma: Float[Tensor, "*#X"], noise: Float[Tensor, "*X"]
) -> Float[Tensor, "*X"]:
    """Mean of the input distribution at time t: gamma x + sqrt(gamma (1 - gamma)) noise.

    Args:
        x: data or an estimate of it, any shape, standardised.
        gamma: beta / (1 + beta) at t, broadcastable, in [0, 1).
        noise: standard normal draw, shape of `x`.

    Returns:
        Mean mu, shape of `x`: all updates up to t in one draw.

    Source: Methods, "Bayesian flow for continuous variables": flow distribution.
    """
    return gamma * x + torch.sqrt(gamma * (1 - gamma)) * noise


def flow_noise(
    mean: Float[Tensor, "*X"], x: Float[Tensor, "*X"], gamma: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X"]:
    """The noise that leads from x to this mean: the inverse of `bayesian_flow`.

    Args:
        mean: mu of the input distribution at t, any shape.
        x: data or an estimate of it, shape of `mean`.
        gamma: beta / (1 + beta) at t, broadcastable, in (0, 1).

    Returns:
        (mu - gamma x) / sqrt(gamma (1 - gamma)), shape of `mean`.

    Source: book, method-eq-flow-numbers: solved for the noise.
    """
    return (mean - gamma * x) / torch.sqrt(gamma * (1 - gamma))


def estimate(
    output: Float[Tensor, "*X"],
    mean: Float[Tensor, "*X"],
    gamma: Float[Tensor, "*#X"],
    target: Target,
) -> Float[Tensor, "*X"]:
    """Data estimate from the network's output.

    Args:
        output: of the network, shape of the variable.
        mean: of the input distribution, same shape, standardised.
        gamma: beta / (1 + beta), broadcastable, in (0, 1).
        target: "noise" (as published: the output is the flow's noise), "v" (the output is
            (x - mean) / sqrt(1 - gamma), of unit variance at all times if the data has it), or
            "data" (the output is x itself).

    Returns:
        Estimate of x, shape of `mean`, standardised.

    Raises:
        ValueError: another target.

    Source: Methods, "Bayesian flow for continuous variables", Eq. 4: "noise";
    Salimans and Ho 2022: "v"; book, method-targets.
    """
    if target == "noise":
        return (mean - torch.sqrt(gamma * (1 - gamma)) * output) / gamma
    if target == "v":
        return mean + torch.sqrt(1 - gamma) * output
    if target == "data":
        return output
    raise ValueError(f"target must be one of {TARGETS}, got {target!r}")


def loss_nats(
    x: Float[Tensor, "*X"], x_hat: Float[Tensor, "*X"], rate: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X"]:
    """Continuous-time loss per component: (1/2) (d beta / dt) (x - x_hat)^2.

    Its mean over t ~ U(0, 1) is -ln(sigma1) E (x - x_hat)^2 / sigma1^(2t).

    Args:
        x: data, any shape, standardised.
        x_hat: estimate at time t, shape of `x`.
        rate: d beta / dt at t, broadcastable.

    Returns:
        Loss in nats, shape of `x`.

    Source: Methods, "Bayesian flow for continuous variables", Eq. 5: with the squared error inside
    the expectation.
    """
    return 0.5 * rate * (x - x_hat) ** 2
