"""The Bayesian flow on the circle: fractional coordinates as angles.

Beliefs are carried as the vector c (cos m, sin m) of their von Mises distribution vM(m, c), so
Bayes' rule is an addition. The length of the sum of two vectors is not the sum of their lengths,
so there is no formula for many messages at once: they are drawn one by one and added. All angles
are in radians.
"""

import math

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.flows import von_mises

NOTHING = 1e-7  # concentration of a belief before any message: a random direction, and no more


def bayesian_update(
    belief: Float[Tensor, "*X 2"], y: Float[Tensor, "*X"], accuracy: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X 2"]:
    """Condition a belief on one message y ~ vM(x, accuracy): vectors add.

    Args:
        belief: c (cos m, sin m), shape (..., 2).
        y: message, shape (...), radians.
        accuracy: alpha of the message, broadcastable, at least 0.

    Returns:
        Vector of the posterior, shape (..., 2).

    Source: Wu et al. 2025 (CrysBFN): Bayesian update of the von Mises distribution.
    """
    return belief + vector(y, accuracy)


def vector(angle: Float[Tensor, "*X"], length: Float[Tensor, "*#X"]) -> Float[Tensor, "*X 2"]:
    """The vector length (cos angle, sin angle): a belief from its mean and concentration.

    Args:
        angle: mean m, shape (...), radians.
        length: concentration c, broadcastable, at least 0.

    Returns:
        The vector, shape (..., 2).

    Source: book, method-circular.
    """
    return torch.stack([length * angle.cos(), length * angle.sin()], dim=-1)


def mean(belief: Float[Tensor, "*X 2"]) -> Float[Tensor, "*X"]:
    """Mean m of a belief.

    Args:
        belief: c (cos m, sin m), shape (..., 2).

    Returns:
        Radians in (-pi, pi], shape (...).

    Source: book, method-circular.
    """
    return torch.atan2(belief[..., 1], belief[..., 0])


def concentration(belief: Float[Tensor, "*X 2"]) -> Float[Tensor, "*X"]:
    """Concentration c of a belief.

    Args:
        belief: c (cos m, sin m), shape (..., 2).

    Returns:
        Length of the vector, at least 0, shape (...).

    Source: book, method-circular.
    """
    return torch.linalg.vector_norm(belief, dim=-1)


def certainty(belief: Float[Tensor, "*X 2"], final: float) -> Float[Tensor, "*X"]:
    """ln c of a belief, scaled to 0 before any message and about 1 after the last one.

    Args:
        belief: c (cos m, sin m), shape (..., 2).
        final: concentration that beliefs have at the end, about.

    Returns:
        (ln c - ln 1e-7) / (ln final - ln 1e-7), shape (...), at least 0.

    Source: Wu et al. 2025 (CrysBFN): entropy conditioning.
    """
    log_c = concentration(belief).clamp_min(NOTHING).log()
    return (log_c - math.log(NOTHING)) / (math.log(final) - math.log(NOTHING))


def bayesian_flow(
    x: Float[Tensor, "*X"], accuracies: Float[Tensor, "*#X M"], deviations: Float[Tensor, "*X M"]
) -> Float[Tensor, "*X 2"]:
    """All messages at once: the sum of alpha_j (cos(x + e_j), sin(x + e_j)).

    Args:
        x: data or an estimate of it, shape (...), radians.
        accuracies: alpha_j of the messages, 0 for one that has not come, shape (..., M).
        deviations: e_j ~ vM(0, alpha_j), shape (..., M), radians.

    Returns:
        Vector of the belief, shape (..., 2).

    Source: Wu et al. 2025 (CrysBFN): simulation of the flow distribution.
    """
    return vector(x[..., None] + deviations, accuracies).sum(-2)


def loss_nats(
    x: Float[Tensor, "*X"], x_hat: Float[Tensor, "*X"], accuracy: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X"]:
    """Divergence of the receiver from the sender of one message: alpha A(alpha) (1 - cos(x - x^)).

    Args:
        x: data, shape (...), radians.
        x_hat: estimate of it, shape (...).
        accuracy: alpha of the message, broadcastable, at least 0.

    Returns:
        Nats of the message, shape (...).

    Source: Wu et al. 2025 (CrysBFN): discrete-time loss; book, method-eq-loss-circle.
    """
    # 1 - cos keeps no digits of a small difference
    distance = 2 * torch.sin((x - x_hat) / 2) ** 2
    return accuracy * von_mises.mean_resultant(accuracy) * distance
