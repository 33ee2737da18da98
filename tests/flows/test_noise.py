"""Noise as a function: the right distributions, independence, and no memory of the batch."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from symmbfn.flows.noise import STREAMS_PER_STEP, Draws, _mix, _mix_number, normal, uniform

N = 40_000
SEVERAL = torch.arange(N)
ONE = torch.tensor([7])

# the same number of draws along each argument, the others held
ALONG = {
    "places": lambda f: f(3, ONE, 5, (N,)).flatten(),
    "indices": lambda f: f(3, SEVERAL, 5, ()).flatten(),
    "streams": lambda f: torch.cat([f(3, ONE, stream, ()) for stream in range(1000)]),
    "seeds": lambda f: torch.cat([f(seed, ONE, 5, ()) for seed in range(1000)]),
}


@pytest.mark.parametrize("along", ALONG)
def test_uniform_draws_are_uniform(along: str) -> None:
    u = ALONG[along](uniform)
    assert u.dtype == torch.float64
    assert (u > 0).all() and (u < 1).all()
    assert stats.kstest(u.numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("along", ALONG)
def test_normal_draws_are_normal(along: str) -> None:
    z = ALONG[along](normal)
    assert z.dtype == torch.float32
    assert stats.kstest(z.double().numpy(), "norm").pvalue > 1e-3


def test_tails_reach_as_far_as_they_should() -> None:
    z = normal(0, torch.arange(1000), 1, (1000,)).double()
    expected = 2 * stats.norm.sf(4) * 1e6
    assert int((z.abs() > 4).sum()) == pytest.approx(expected, abs=5 * math.sqrt(expected))


@pytest.mark.parametrize("draw", [uniform, normal])
def test_neighbours_in_every_argument_are_uncorrelated(draw) -> None:
    base = draw(3, SEVERAL, 5, (2,)).double()
    neighbours = {
        "place": base[:, 1],
        "index": draw(3, SEVERAL + 1, 5, ()).double(),
        "stream": draw(3, SEVERAL, 6, ()).double(),
        "far stream": draw(3, SEVERAL, 5 + 16, ()).double(),
        "seed": draw(4, SEVERAL, 5, ()).double(),
        "no stream": draw(3, SEVERAL, -1, ()).double(),
    }
    for name, other in neighbours.items():
        for power in (1, 2):
            r = np.corrcoef(base[:, 0].numpy() ** power, other.numpy() ** power)[0, 1]
            assert abs(r) < 4.5 / math.sqrt(N), (name, power)


def test_the_two_normals_of_one_word_are_independent() -> None:
    """Box and Muller give angle and radius: pairs fill quadrants and rings evenly."""
    pair = normal(1, SEVERAL, 2, (2,)).double().numpy()
    angle = np.arctan2(pair[:, 1], pair[:, 0]) / (2 * np.pi) + 0.5
    radius = np.exp(-0.5 * (pair**2).sum(-1))
    counts, _, _ = np.histogram2d(angle, radius, bins=8, range=[[0, 1], [0, 1]])
    assert stats.chisquare(counts.ravel()).pvalue > 1e-3


def test_no_two_draws_are_alike() -> None:
    words = torch.cat([uniform(s, torch.arange(200), k, (50,)) for s in (0, 1) for k in range(10)])
    assert len(words.unique()) == words.numel()


def test_the_mixer_is_splitmix64() -> None:
    # first outputs of the published generator for the state 1234567
    golden = 0x9E3779B97F4A7C15
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for i, value in enumerate(expected):
        state = (1234567 + (i + 1) * golden) % 2**64
        signed = state - 2**64 if state >= 2**63 else state
        assert int(_mix(torch.tensor(signed))) % 2**64 == value
        assert _mix_number(signed) % 2**64 == _mix_number(signed + 2**64) % 2**64 == value


@pytest.mark.parametrize("draw", [uniform, normal])
def test_a_draw_depends_on_its_own_numbers_only(draw) -> None:
    index = torch.tensor([5, 0, 12, 7])
    whole = draw(3, index, 2, (6, 4))
    order = torch.tensor([2, 0, 3])
    torch.testing.assert_close(draw(3, index[order], 2, (6, 4)), whole[order], rtol=0, atol=0)
    for i in range(4):
        torch.testing.assert_close(
            draw(3, index[i : i + 1], 2, (6, 4)), whole[i : i + 1], rtol=0, atol=0
        )
    # fewer or more sites: what both have is the same, an odd number of entries too
    torch.testing.assert_close(draw(3, index, 2, (9, 4))[:, :6], whole, rtol=0, atol=0)
    torch.testing.assert_close(draw(3, index, 2, (5,)), whole.flatten(1)[:, :5], rtol=0, atol=0)


def test_no_global_state_is_read_or_left() -> None:
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = normal(0, ONE, 0, (10,))
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(normal(0, ONE, 0, (10,)), first)


@pytest.mark.parametrize("seed", [0, 1, 2**63 - 1])
def test_every_seed_that_fits_works(seed: int) -> None:
    z = normal(seed, torch.tensor([0, 2**40]), 10**9, (1000,))
    assert z.isfinite().all()
    assert z.std().item() == pytest.approx(1, abs=0.1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_a_gpu_draws_the_same() -> None:
    index = torch.arange(100)
    on_gpu = uniform(3, index.cuda(), 5, (100,)).cpu()
    assert torch.equal(on_gpu, uniform(3, index, 5, (100,)))
    # logarithm and cosine may differ in the last bit
    on_gpu = normal(3, index.cuda(), 5, (100,)).cpu()
    torch.testing.assert_close(on_gpu, normal(3, index, 5, (100,)), rtol=1e-6, atol=1e-6)


def test_variables_and_steps_have_streams_of_their_own() -> None:
    """Five variables: the first two are numbers and draw no class."""
    index = torch.arange(3)
    streams = [Draws(1, index, step, place) for step in (0, 1, 7) for place in range(5)]
    found = [draws.normal((4,)).tolist() for draws in streams]
    assert all(a != b for i, a in enumerate(found) for b in found[:i])
    for draws in streams:
        first = draws.step * STREAMS_PER_STEP
        assert torch.equal(draws.normal((2,)), normal(1, index, first + draws.place, (2,)))
        assert torch.equal(draws.uniform(()), uniform(1, index, first + 6 + draws.place, ()))
    # the bits of no normal draw serve a class again
    numbers = {draws.step * STREAMS_PER_STEP + draws.place for draws in streams}
    classes = {
        draws.step * STREAMS_PER_STEP + 6 + draws.place for draws in streams if draws.place > 1
    }
    assert not numbers & classes


def test_no_number_is_copied_to_the_device_of_a_draw(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU would be waited for: numbers enter kernels as arguments, not as tensors there."""
    real = torch.tensor

    def on_the_host(*args, **kwargs):
        assert "device" not in kwargs
        return real(*args, **kwargs)

    expected = uniform(3, ONE, 5, (4,))
    monkeypatch.setattr(torch, "tensor", on_the_host)
    assert torch.equal(uniform(3, ONE, 5, (4,)), expected)
