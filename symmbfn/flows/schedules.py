"""Accuracy schedules: how accurate the messages up to time t are together, and at what rate."""

import math
from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Tensor


@dataclass(frozen=True)
class ContinuousSchedule:
    """beta(t) = sigma1^(-2t) - 1, so that the precision 1 + beta grows exponentially to sigma1^-2.

    Args:
        sigma1: standard deviation of the belief at t = 1, in units of the data, in (0, 1).

    Raises:
        ValueError: sigma1 outside (0, 1).

    Source: Methods, "Bayesian flow for continuous variables": accuracy schedule.
    """

    sigma1: float

    def __post_init__(self):
        if not 0 < self.sigma1 < 1:
            raise ValueError(f"sigma1 must lie in (0, 1), got {self.sigma1}")

    def __call__(self, t: Float[Tensor, "*T"]) -> tuple[Float[Tensor, "*T"], Float[Tensor, "*T"]]:
        """Accuracy and its rate.

        Args:
            t: times in [0, 1], any shape.

        Returns:
            beta(t) and d beta / dt, shape of `t`.
        """
        growth = -2 * math.log(self.sigma1)
        return torch.expm1(growth * t), growth * torch.exp(growth * t)

    def gamma(self, t: Float[Tensor, "*T"]) -> Float[Tensor, "*T"]:
        """Share of the data in the flow's mean: beta / (1 + beta) = 1 - sigma1^(2t).

        Args:
            t: times in [0, 1], any shape.

        Returns:
            gamma(t) in [0, 1), shape of `t`.
        """
        return -torch.expm1(2 * math.log(self.sigma1) * t)

    def half_log_snr(self, t: Float[Tensor, "*T"]) -> Float[Tensor, "*T"]:
        """lambda = (1/2) ln beta(t), half the logarithm of the signal-to-noise ratio.

        Args:
            t: times in (0, 1], any shape.

        Returns:
            lambda, shape of `t`; -inf at t = 0.
        """
        return 0.5 * torch.log(self(t)[0])

    def time(self, half_log_snr: Float[Tensor, "*T"]) -> Float[Tensor, "*T"]:
        """The time at which (1/2) ln beta(t) has a value: the inverse of `half_log_snr`.

        Args:
            half_log_snr: lambda, any shape.

        Returns:
            t, shape of `half_log_snr`.
        """
        return torch.log1p(torch.exp(2 * half_log_snr)) / (-2 * math.log(self.sigma1))


@dataclass(frozen=True)
class CategoricalSchedule:
    """beta(t) = beta1 t^2.

    Args:
        beta1: accuracy at t = 1, above 0; with 32 / K the right one of K classes leads by four
            standard deviations.

    Raises:
        ValueError: beta1 not positive.

    Source: Methods, "Atom types": accuracy schedule; book, method-beta1.
    """

    beta1: float

    def __post_init__(self):
        if not self.beta1 > 0:
            raise ValueError(f"beta1 must be positive, got {self.beta1}")

    def __call__(self, t: Float[Tensor, "*T"]) -> tuple[Float[Tensor, "*T"], Float[Tensor, "*T"]]:
        """Accuracy and its rate.

        Args:
            t: times in [0, 1], any shape.

        Returns:
            beta(t) and d beta / dt, shape of `t`.
        """
        return self.beta1 * t**2, 2 * self.beta1 * t


def uniform_grid(n_steps: int, start: float = 0.0) -> Float[Tensor, "S"]:
    """Times from `start` to 1, equally spaced.

    Args:
        n_steps: number of steps, at least 1.
        start: first time, in [0, 1).

    Returns:
        n_steps + 1 times, float64.

    Raises:
        ValueError: n_steps below 1.

    Source: Methods, "Sampling": with start = 0.
    """
    if n_steps < 1:
        raise ValueError(f"n_steps must be at least 1, got {n_steps}")
    return torch.linspace(start, 1.0, n_steps + 1, dtype=torch.float64)


def log_snr_grid(
    n_steps: int, schedule: ContinuousSchedule, start: float = 0.005
) -> Float[Tensor, "S"]:
    """Times from `start` to 1, equally spaced in the half log-SNR.

    Args:
        n_steps: number of steps, at least 1.
        schedule: of the variable whose signal-to-noise ratio counts.
        start: first time, in (0, 1).

    Returns:
        n_steps + 1 times, float64.

    Raises:
        ValueError: n_steps below 1.

    Source: book, method-grids.
    """
    ends = schedule.half_log_snr(uniform_grid(1, start))
    inner = torch.linspace(ends[0].item(), ends[1].item(), n_steps + 1, dtype=torch.float64)
    return schedule.time(inner).clamp(start, 1.0)
