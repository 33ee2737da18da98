"""The von Mises distribution against SciPy, torch.distributions and its own integral."""

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.distributions import VonMises

from symmbfn.flows import von_mises
from symmbfn.flows.noise import normal

CONCENTRATIONS = (1e-7, 0.01, 0.5, 2.0, 10.0, 75.0, 1000.0)


def double(value) -> torch.Tensor:
    return torch.as_tensor(value, dtype=torch.float64)


def cdf(angle: float, c: float) -> float:
    """By quadrature: SciPy's own is a normal's for large concentrations."""
    scale = 2 * math.pi * special.i0e(c)
    value, _ = integrate.quad(
        lambda y: math.exp(c * (math.cos(y) - 1)) / scale, -math.pi, angle, points=[0.0], limit=200
    )
    return value


@pytest.mark.parametrize("c", CONCENTRATIONS)
def test_entropy_and_resultant_are_the_integrals(c: float) -> None:
    y = np.linspace(-np.pi, np.pi, 200_001)[:-1]
    density = np.exp(c * (np.cos(y) - 1))
    density /= density.sum()
    assert von_mises.mean_resultant(double(c)).item() == pytest.approx((density * np.cos(y)).sum())
    width = 2 * np.pi / len(y)
    known = density > 0
    expected = -(density[known] * np.log(density[known] / width)).sum()
    assert von_mises.entropy(double(c)).item() == pytest.approx(expected, abs=1e-8)
    assert von_mises.entropy(double(c)).item() == pytest.approx(stats.vonmises.entropy(c), abs=1e-9)


def test_entropy_begins_with_the_uniform_and_ends_with_the_normal_one() -> None:
    assert von_mises.entropy(double(0.0)).item() == pytest.approx(math.log(2 * math.pi))
    end = 0.5 * math.log(2 * math.pi * math.e / 1e5)
    assert von_mises.entropy(double(1e5)).item() == pytest.approx(end, abs=1e-4)


@pytest.mark.parametrize("c", CONCENTRATIONS)
def test_the_angle_has_the_distribution_function_of_the_normal_number(c: float) -> None:
    z = double([-3.3, -1.0, -0.2, 0.0, 0.4, 2.0, 4.0])
    for number, angle in zip(z.tolist(), von_mises.from_normal(z, double(c)).tolist(), strict=True):
        assert cdf(angle, c) == pytest.approx(stats.norm.cdf(number), rel=1e-8)


def test_the_angle_is_odd_and_rises_up_to_half_a_turn() -> None:
    z = torch.linspace(-7, 7, 141, dtype=torch.float64)
    for c in CONCENTRATIONS:
        angle = von_mises.from_normal(z, double(c))
        torch.testing.assert_close(angle, -angle.flip(0), rtol=0, atol=1e-12)
        assert (angle.diff() > 0).all() and angle[-1] <= math.pi
    # no message at all: uniform
    uniform = 2 * math.pi * (torch.special.ndtr(z) - 0.5)
    torch.testing.assert_close(von_mises.from_normal(z, double(0.0)), uniform, rtol=0, atol=1e-12)


@pytest.mark.parametrize("c", CONCENTRATIONS)
def test_draws_have_the_moments_of_another_sampler(c: float) -> None:
    n = 100_000
    ours = von_mises.from_table(
        von_mises.table_of(double([c])), normal(3, torch.arange(n), 5, (1,))
    )[:, 0].double()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = VonMises(double(0.0), double(c)).sample((n,))
    for function in (torch.cos, torch.sin, torch.square, lambda y: torch.cos(2 * y)):
        a, b = function(ours), function(theirs)
        error = math.sqrt((a.var() + b.var()).item() / n)
        assert a.mean().item() == pytest.approx(b.mean().item(), abs=4.5 * error + 1e-9)
    # a normal of the same variance is told apart where the circle counts
    assert stats.ks_2samp(ours.numpy(), theirs.numpy()).pvalue > 1e-4
    if c == 2.0:
        wrapped = (torch.randn(n, generator=torch.Generator().manual_seed(1)) * 0.85).numpy()
        wrapped = (wrapped + np.pi) % (2 * np.pi) - np.pi
        assert stats.ks_2samp(wrapped, theirs.numpy()).pvalue < 1e-4


def test_tables_are_the_function_to_single_precision() -> None:
    c = double(CONCENTRATIONS)
    table = von_mises.table_of(c).float()
    z = torch.linspace(-6.8, 6.8, 4001)[:, None].expand(-1, len(c))
    angle = von_mises.from_table(table, z)
    assert angle.dtype == torch.float32
    torch.testing.assert_close(angle.double(), von_mises.from_normal(z, c), rtol=0, atol=2e-6)
    # rows are those of the last axis
    one = von_mises.from_table(table[3:5], z[:, 3:5])
    torch.testing.assert_close(one, angle[:, 3:5], rtol=0, atol=0)
