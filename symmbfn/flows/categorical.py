"""The Bayesian flow of classes: elements, letters, site-symmetry axes.

Beliefs are carried as logits z with theta = softmax(z), so Bayes' rule is an addition.
"""

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor


def bayesian_update(
    logits: Float[Tensor, "*X K"], y: Float[Tensor, "*X K"]
) -> Float[Tensor, "*X K"]:
    """Condition class beliefs on one sender sample: z' = z + y.

    Args:
        logits: log of the input distribution theta up to a constant, shape (..., K).
        y: sender sample, shape (..., K), unitless.

    Returns:
        Logits of the posterior, shape (..., K): Bayes' rule is an addition here.

    Source: Methods, "Atom types": update function above Eq. 7.
    """
    return logits + y


def sender_mean(
    probabilities: Float[Tensor, "*X K"], accuracy: Float[Tensor, "*#X 1"]
) -> Float[Tensor, "*X K"]:
    """Mean of a message, which is added to the logits: accuracy (K e - 1).

    Args:
        probabilities: e, one-hot rows or their expectation, shape (..., K), in [0, 1].
        accuracy: alpha of one message or beta(t) of all up to t, shape (..., 1), at least 0.

    Returns:
        Mean of one message, or of the logits at t, shape (..., K).

    Source: Methods, "Atom types", Eq. 6: with the vector of ones in place of the identity.
    """
    n_classes = probabilities.shape[-1]
    return accuracy * (n_classes * probabilities - 1)


def bayesian_flow(
    one_hot: Float[Tensor, "*X K"],
    accuracy: Float[Tensor, "*#X 1"],
    noise: Float[Tensor, "*X K"],
) -> Float[Tensor, "*X K"]:
    """Logits at time t: beta (K e - 1) + sqrt(K beta) noise, all sender samples up to t at once.

    Args:
        one_hot: e, the classes or their expectation, shape (..., K).
        accuracy: beta(t), shape (..., 1), at least 0.
        noise: standard normal draw, shape (..., K).

    Returns:
        Logits z of the input distribution softmax(z), shape (..., K).

    Source: Methods, "Atom types": Bayesian flow distribution.
    """
    n_classes = one_hot.shape[-1]
    return sender_mean(one_hot, accuracy) + torch.sqrt(n_classes * accuracy) * noise


def flow_noise(
    logits: Float[Tensor, "*X K"], one_hot: Float[Tensor, "*X K"], accuracy: Float[Tensor, "*#X 1"]
) -> Float[Tensor, "*X K"]:
    """The noise that leads from the class to these logits: the inverse of `bayesian_flow`.

    Args:
        logits: z at time t, shape (..., K).
        one_hot: e, the classes or their expectation, shape (..., K).
        accuracy: beta(t), shape (..., 1), above 0.

    Returns:
        (z - beta (K e - 1)) / sqrt(K beta), shape (..., K).

    Source: book, method-eq-flow-classes: solved for the noise.
    """
    n_classes = logits.shape[-1]
    return (logits - sender_mean(one_hot, accuracy)) / torch.sqrt(n_classes * accuracy)


def bounded_state(
    logits: Float[Tensor, "*X K"], accuracy: Float[Tensor, "*#X 1"]
) -> Float[Tensor, "*X K"]:
    """z / sqrt(0.05 + K beta): logits scaled to order one at all times.

    At small t the probabilities are all close to 1 / K although the logits already carry evidence.
    This input shows the evidence to the network.

    Args:
        logits: z at time t, shape (..., K).
        accuracy: beta(t), shape (..., 1), at least 0.

    Returns:
        The scaled logits, shape (..., K), unitless.

    Source: book, method-beliefs.
    """
    return logits / torch.sqrt(0.05 + logits.shape[-1] * accuracy)


def masked_log_softmax(
    logits: Float[Tensor, "*X K"], is_allowed: Bool[Tensor, "*#X K"] | None = None
) -> Float[Tensor, "*X K"]:
    """Log-probabilities of the classes that are allowed.

    Args:
        logits: shape (..., K), of any precision.
        is_allowed: possible classes, shape (..., K) or broadcastable; None allows all.

    Returns:
        Log-probabilities in float32, shape (..., K), -inf where a class is not allowed.

    Source: ours.
    """
    logits = logits.float()
    if is_allowed is not None:
        logits = logits.masked_fill(~is_allowed, -torch.inf)
    return torch.log_softmax(logits, dim=-1)


def loss_nats(
    classes: Int[Tensor, "*X"], probabilities: Float[Tensor, "*X K"], rate: Float[Tensor, "*#X"]
) -> Float[Tensor, "*X"]:
    """Continuous-time loss per variable: (K/2) (d beta / dt) ||e - p||^2.

    With beta = beta1 t^2 this is K beta1 t ||e - p||^2.

    Args:
        classes: index of the true class, shape (...), 0 to K - 1.
        probabilities: p, the network's estimate, shape (..., K).
        rate: d beta / dt at t, shape (...) or broadcastable.

    Returns:
        Loss in nats, shape (...).

    Source: Methods, "Atom types", Eq. 10: t multiplies the norm.
    """
    n_classes = probabilities.shape[-1]
    true = probabilities.gather(-1, classes.unsqueeze(-1)).squeeze(-1)
    distance = probabilities.square().sum(-1) - 2 * true + 1
    return 0.5 * n_classes * rate * distance


def sample_one_hot(
    log_probabilities: Float[Tensor, "*X K"], uniform: Float[Tensor, "*X"]
) -> Float[Tensor, "*X K"]:
    """Draw classes by inverting their cumulative sum.

    Args:
        log_probabilities: shape (..., K), -inf where a class is not possible.
        uniform: one number in [0, 1) for each draw, shape (...).

    Returns:
        One-hot rows in the precision of `log_probabilities`, shape (..., K); never a class
        of probability 0.

    Source: ours: inverse transform sampling.
    """
    cumulative = log_probabilities.double().exp().cumsum(-1)
    total = cumulative[..., -1:]
    # below the total even where the product rounds up: the class that reaches it is possible
    level = torch.minimum(uniform.double().unsqueeze(-1) * total, total.nextafter(-total))
    index = (cumulative <= level).sum(-1, keepdim=True)
    place = torch.arange(log_probabilities.shape[-1], device=log_probabilities.device)
    return (place == index).to(log_probabilities)
