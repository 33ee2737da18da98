"""One step of every sampler: from the beliefs at s and an estimate of the data to the beliefs at t.

The share eta of fresh noise names the sampler: sqrt(1 - beta_s / beta_t) is the ancestral BFN
sampler, 0 the probability-flow ODE, 1 a redraw from the flow ("end-back", biased).

Source: Methods, "Sampling"; Xue et al. 2024 (BFN-Solver); Qu et al. 2024 (MolCRAFT);
book, method-solvers: the common form.
"""

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.flows import categorical, continuous


def ancestral_eta(
    accuracy_s: Float[Tensor, "*T"], accuracy_t: Float[Tensor, "*T"]
) -> Float[Tensor, "*T"]:
    """Share of fresh noise that makes a step equal to one sender sample and Bayes' update.

    Args:
        accuracy_s: beta at the start of the step, any shape, at least 0.
        accuracy_t: beta at its end, same shape, above accuracy_s.

    Returns:
        eta = sqrt(1 - beta_s / beta_t) in (0, 1], shape of the accuracies.

    Source: book, method-solvers: the sampler of the Methods with the same random numbers.
    """
    return torch.sqrt(1 - accuracy_s / accuracy_t)


def continuous_step(
    mean: Float[Tensor, "*X"],
    x_hat: Float[Tensor, "*X"],
    gamma_s: Float[Tensor, "*#X"],
    gamma_t: Float[Tensor, "*#X"],
    eta: Float[Tensor, "*#X"],
    noise: Float[Tensor, "*X"],
) -> Float[Tensor, "*X"]:
    """mu_t = gamma_t x_hat + sqrt(gamma_t (1 - gamma_t)) (sqrt(1 - eta^2) eps_hat + eta noise).

    Args:
        mean: mu_s, mean of the input distribution at s, any shape, standardised.
        x_hat: estimate of the data at s, shape of `mean`.
        gamma_s: beta / (1 + beta) at s, broadcastable, in (0, 1).
        gamma_t: the same at t.
        eta: share of fresh noise, broadcastable, in [0, 1].
        noise: standard normal draw, shape of `mean`.

    Returns:
        mu_t, shape of `mean`.

    Source: book, method-eq-family: eps_hat is `continuous.flow_noise`.
    """
    kept = continuous.flow_noise(mean, x_hat, gamma_s)
    return continuous.bayesian_flow(x_hat, gamma_t, torch.sqrt(1 - eta**2) * kept + eta * noise)


def continuous_step_second_order(
    mean: Float[Tensor, "*X"],
    x_hat: Float[Tensor, "*X"],
    x_hat_previous: Float[Tensor, "*X"] | None,
    gammas: tuple[Float[Tensor, "*#X"], Float[Tensor, "*#X"], Float[Tensor, "*#X"]],
    noise: Float[Tensor, "*X"] | None = None,
) -> Float[Tensor, "*X"]:
    """Multistep step in the half log-SNR lambda; first order without a previous estimate.

    With h = lambda_t - lambda_s, sigma = sqrt(gamma (1 - gamma)) and D the estimate extrapolated
    to the middle of the step,

        mu_t = sigma_t / sigma_s mu_s + gamma_t (1 - e^-h) D                 along the flow's ODE,
        mu_t = sigma_t / sigma_s e^-h mu_s + gamma_t (1 - e^-2h) D
               + sigma_t sqrt(1 - e^-2h) noise                               with noise.

    The noisy form with D = x_hat is the ancestral step of the paper.

    Args:
        mean: mean of the input distribution at s, any shape, standardised.
        x_hat: estimate at s, shape of `mean`.
        x_hat_previous: estimate at the grid point before s, or None.
        gammas: gamma at (the point before s, s, t), broadcastable, in (0, 1).
        noise: standard normal draw, shape of `mean`; None takes the ODE.

    Returns:
        Mean at t, shape of `mean`.

    Source: Lu et al. 2022 (DPM-Solver++): its two-step integrators of ODE and SDE;
    book, method-eq-second-order: in the form for a BFN.
    """
    gamma_r, gamma_s, gamma_t = gammas
    lam_r, lam_s, lam_t = (0.5 * torch.logit(g) for g in gammas)
    step = lam_t - lam_s
    if x_hat_previous is not None:
        ratio = (lam_s - lam_r) / step
        x_hat = x_hat + (x_hat - x_hat_previous) / (2 * ratio)
    sigma_s, sigma_t = (torch.sqrt(g * (1 - g)) for g in (gamma_s, gamma_t))
    if noise is None:
        return sigma_t / sigma_s * mean - gamma_t * torch.expm1(-step) * x_hat
    renewed = -torch.expm1(-2 * step)  # variance that fresh noise replaces
    kept = sigma_t / sigma_s * torch.exp(-step) * mean
    return kept + gamma_t * renewed * x_hat + sigma_t * torch.sqrt(renewed) * noise


def categorical_step(
    logits: Float[Tensor, "*X K"],
    e_hat: Float[Tensor, "*X K"],
    accuracy_s: Float[Tensor, "*#X 1"],
    accuracy_t: Float[Tensor, "*#X 1"],
    eta: Float[Tensor, "*#X 1"],
    noise: Float[Tensor, "*X K"],
) -> Float[Tensor, "*X K"]:
    """z_t = beta_t (K e - 1) + sqrt(K beta_t) (sqrt(1 - eta^2) eps_hat + eta noise).

    Args:
        logits: z_s, shape (..., K).
        e_hat: e, drawn one-hot rows or probabilities at s, shape (..., K).
        accuracy_s: beta at s, shape (..., 1), above 0.
        accuracy_t: beta at t, shape (..., 1).
        eta: share of fresh noise, shape (..., 1), in [0, 1].
        noise: standard normal draw, shape (..., K).

    Returns:
        z_t, shape (..., K).

    Source: book, method-eq-family: eps_hat is `categorical.flow_noise`.
    """
    kept = categorical.flow_noise(logits, e_hat, accuracy_s)
    return categorical.bayesian_flow(e_hat, accuracy_t, torch.sqrt(1 - eta**2) * kept + eta * noise)
