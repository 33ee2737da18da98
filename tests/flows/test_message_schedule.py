"""The accuracies of messages: entropy falls linearly, as simulated messages of torch show."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch.distributions import VonMises

from symmbfn.flows import circular, von_mises
from symmbfn.flows.message_schedule import MessageSchedule, linear_entropy_accuracies

N_DRAWS = 20_000


@pytest.mark.parametrize(("n_messages", "final"), [(10, 1000.0), (100, 1000.0), (7, 3.0)])
def test_the_expected_entropy_falls_linearly(n_messages: int, final: float) -> None:
    accuracies = linear_entropy_accuracies(n_messages, final)
    ends = stats.vonmises.entropy(1e-9), stats.vonmises.entropy(final)
    belief = torch.zeros(N_DRAWS, 2, dtype=torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for i, alpha in enumerate(accuracies, start=1):
            alpha = torch.tensor(alpha, dtype=torch.float64)
            y = VonMises(torch.tensor(1.0, dtype=torch.float64), alpha).sample((N_DRAWS,))
            belief = circular.bayesian_update(belief, y, alpha)
            entropy = von_mises.entropy(circular.concentration(belief))
            error = entropy.std().item() / math.sqrt(N_DRAWS)
            expected = ends[0] + i / n_messages * (ends[1] - ends[0])
            assert entropy.mean().item() == pytest.approx(expected, abs=4.5 * error + 1e-7), i
    assert error < 0.01


def test_one_message_has_the_final_concentration_and_two_do_not_add_up() -> None:
    assert linear_entropy_accuracies(1, 50.0) == pytest.approx((50.0,), rel=1e-8)
    first, second = linear_entropy_accuracies(2, 50.0)
    assert first + second > 50.0
    # all that one message of concentration c can do, half-way
    middle = von_mises.entropy(torch.tensor([0.0, first, 50.0], dtype=torch.float64))
    assert middle[1].item() == pytest.approx((middle[0] + middle[2]).item() / 2, abs=1e-9)


@pytest.mark.parametrize(("n_messages", "final"), [(0, 10.0), (3, 0.0), (3, -1.0)])
def test_impossible_schedules_are_refused(n_messages: int, final: float) -> None:
    with pytest.raises(ValueError, match=f"{n_messages} messages.*{final}"):
        linear_entropy_accuracies(n_messages, final)


def test_messages_come_at_equal_intervals() -> None:
    schedule = MessageSchedule(20, 100.0)
    alphas = np.array(linear_entropy_accuracies(20, 100.0))
    for dtype in (torch.float32, torch.float64):
        grid = torch.linspace(0, 1, 21, dtype=dtype)
        # the last is heard by none
        assert schedule.received(grid).tolist() == [*range(20), 19]
        assert schedule.received(grid[:-1] + 0.04).tolist() == [*range(20)]
        assert schedule.received(grid[1:-1] - 0.01).tolist() == [*range(19)]
    heard, coming = schedule(torch.tensor([0.0, 0.26, 0.99]))
    np.testing.assert_allclose(
        heard, [0, alphas[:5].sum(), alphas[:19].sum()], rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(coming, alphas[[0, 5, 19]], rtol=1e-6)


def test_deviations_are_those_of_each_message() -> None:
    schedule = MessageSchedule(4, 100.0)
    z = torch.full((3, 2), 1.3)
    found = schedule.deviations(z, first=2)
    expected = von_mises.from_normal(z.double(), schedule.accuracies[2:4].double())
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=2e-6)
    every = schedule.deviations(torch.full((5,), 1.3), first=0)
    # before the first message nothing is known, and then ever more
    assert every[0].item() == pytest.approx(2 * math.pi * (stats.norm.cdf(1.3) - 0.5), abs=1e-6)
    assert (every.diff() < 0).all()


def test_a_schedule_is_the_same_whenever_it_is_made_and_no_weight() -> None:
    one, other = MessageSchedule(6, 40.0), MessageSchedule(6, 40.0)
    assert torch.equal(one.accuracies, other.accuracies)
    assert not one.state_dict()
