"""How far a measured figure may lie from the one that endless samples would give."""

from collections.abc import Callable

import numpy as np

from symmbfn._shapes import Float

CONFIDENCE = 0.95  # probability that an interval holds the true value
# quantile of the normal distribution at (1 + CONFIDENCE) / 2: scipy.stats takes 0.8 s to import
QUANTILE = 1.959963984540054


def wilson_interval(successes: int, n: int) -> tuple[float, float]:
    """Range of probabilities that a share of successes is compatible with, at 95 % confidence.

    Unlike share +- z sqrt(share (1 - share) / n) it stays in [0, 1] and keeps its width at the
    ends, where the rates of a good model lie.

    Args:
        successes: how many of n.
        n: independent trials, at least 1.

    Raises:
        ValueError: counts that no trial can give.

    Source: Wilson 1927.
    """
    if not (n >= 1 and 0 <= successes <= n):
        raise ValueError(f"successes must lie in 0..n with n >= 1, got {successes} of {n}")
    z = QUANTILE
    share = successes / n
    centre = share + z**2 / (2 * n)
    half = z * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    scale = 1 + z**2 / n
    # rounding must not push an end past the share it belongs to
    low, high = (centre - half) / scale, (centre + half) / scale
    return float(min(max(low, 0.0), share)), float(max(min(high, 1.0), share))


def newcombe_interval(successes: tuple[int, int], n: tuple[int, int]) -> tuple[float, float]:
    """Range of the difference of two probabilities, the first less the second, at 95 %.

    Args:
        successes: how many of each n.
        n: independent trials, at least 1 each.

    Raises:
        ValueError: counts that no trial can give.

    Source: Newcombe 1998: its tenth method, from Wilson's intervals.
    """
    (low, high), (low_other, high_other) = (
        wilson_interval(k, of) for k, of in zip(successes, n, strict=True)
    )
    share, other = successes[0] / n[0], successes[1] / n[1]
    difference = share - other
    down = np.hypot(share - low, high_other - other)
    up = np.hypot(high - share, other - low_other)
    return float(difference - down), float(difference + up)


def bootstrap_deviation(
    figure: Callable[[np.ndarray], Float[np.ndarray, "F"]],
    n: int,
    *,
    n_resamples: int = 200,
    seed: int = 0,
) -> Float[np.ndarray, "F"]:
    """Standard deviation of figures of a sample, from resamples with replacement.

    Only the deviation is taken from the resamples: a distance between distributions grows with
    the noise that resampling adds, so their mean and percentiles lie too high.

    Args:
        figure: maps row numbers of the sample, shape (n,), to figures, shape (F,).
        n: size of the sample.
        n_resamples: how many resamples.
        seed: of the choice of rows.

    Source: Efron 1979.
    """
    rng = np.random.default_rng(seed)
    return np.std([figure(rng.integers(n, size=n)) for _ in range(n_resamples)], axis=0, ddof=1)
