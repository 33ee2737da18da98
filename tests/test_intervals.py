"""Intervals: they hold the truth as often as they say."""

import numpy as np
import pytest
from scipy.stats import binomtest, norm

from symmbfn.intervals import (
    CONFIDENCE,
    QUANTILE,
    bootstrap_deviation,
    newcombe_interval,
    wilson_interval,
)


def test_the_quantile_is_that_of_the_confidence() -> None:
    assert norm.ppf((1 + CONFIDENCE) / 2) == QUANTILE


@pytest.mark.parametrize(("successes", "n"), [(0, 10), (3, 10), (10, 10), (970, 1000), (1, 3000)])
def test_wilson_agrees_with_scipy(successes: int, n: int) -> None:
    theirs = binomtest(successes, n).proportion_ci(0.95, method="wilson")
    ours = wilson_interval(successes, n)
    assert ours == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert ours[0] <= successes / n <= ours[1]


def test_wilson_holds_the_true_rate_in_95_of_100() -> None:
    """Near the ends too, where the usual interval collapses to a point."""
    rate, n = 0.98, 300
    counts = np.random.default_rng(0).binomial(n, rate, size=2000)
    intervals = [wilson_interval(int(count), n) for count in counts]
    covered = np.mean([low <= rate <= high for low, high in intervals])
    assert 0.93 < covered < 0.98


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match=f"got {successes} of {n}"):
        wilson_interval(successes, n)


@pytest.mark.parametrize(
    ("successes", "n", "expected"),
    [
        # table II of Newcombe 1998, method 10
        ((56, 48), (70, 80), (0.0524, 0.3339)),
        ((9, 3), (10, 10), (0.1705, 0.8090)),
        ((10, 0), (10, 20), (0.6791, 1.0)),
    ],
)
def test_newcombe_agrees_with_the_paper(
    successes: tuple[int, int], n: tuple[int, int], expected: tuple[float, float]
) -> None:
    assert newcombe_interval(successes, n) == pytest.approx(expected, abs=6e-5)
    low, high = newcombe_interval(successes[::-1], n[::-1])
    assert (-high, -low) == pytest.approx(expected, abs=6e-5)


def test_bootstrap_finds_the_standard_error_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(size=(400, 2)) * np.array([1.0, 3.0])
    found = bootstrap_deviation(lambda rows: values[rows].mean(axis=0), 400, n_resamples=800)
    np.testing.assert_allclose(found, values.std(axis=0) / np.sqrt(400), rtol=0.1)


def test_bootstrap_is_a_function_of_its_seed() -> None:
    values = np.arange(50.0)
    once, again, other = (
        bootstrap_deviation(lambda rows: values[rows].mean(keepdims=True), 50, seed=seed)
        for seed in (0, 0, 1)
    )
    assert once == again and once != other
