"""How many times as often something holds with a condition as without it."""

from collections.abc import Sequence

import numpy as np
from scipy.stats import norm

HALF = 0.5  # added to each count, so that none at all stays finite


def ratio_interval(counts: Sequence[int], n: Sequence[int]) -> tuple[float, float, float]:
    """Ratio of two shares and its 95 % interval, normal in the logarithm.

    Args:
        counts: how many hold, with and without the condition.
        n: of how many.

    Returns:
        Ratio, lowest and highest value, rounded to three decimals.

    Raises:
        ValueError: counts that no shares can have.

    Source: ours: the normal interval of a logarithm, with a half added to each count.
    """
    if any(not 0 <= count <= of or of < 1 for count, of in zip(counts, n, strict=True)):
        raise ValueError(f"counts must lie in 0..n with n >= 1, got {counts} of {n}")
    with_half = [(count + HALF, of + HALF) for count, of in zip(counts, n, strict=True)]
    (a, of_a), (b, of_b) = with_half
    log_ratio = np.log(a / of_a) - np.log(b / of_b)
    half = norm.ppf(0.975) * np.sqrt(1 / a - 1 / of_a + 1 / b - 1 / of_b)
    ends = np.exp([log_ratio, log_ratio - half, log_ratio + half])
    value, low, high = (round(float(end), 3) for end in ends)
    return value, low, high
