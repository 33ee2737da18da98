"""Accuracies of the messages about an angle, such that the expected entropy falls linearly.

How much a message sharpens a belief depends on the belief, so there is no formula for the
accuracies. But the concentration c of a belief is a Markov chain: the next message lies at an
angle y from the mean with density I0(|c + alpha e^iy|) / (2 pi I0(c) I0(alpha)), and the new
concentration is |c + alpha e^iy|. The distribution of c is computed on a grid, and each accuracy
is the root of one equation.
"""

import math
from functools import cache

import torch
from torch import nn

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows import circular, von_mises

GRID = 384  # values of log(1 + c)
ANGLES = 96  # of the message, in half a turn
ROUNDING = 1e-3  # of a step, so that the time k / n is that of k messages


class MessageSchedule(nn.Module):
    """n messages at equal intervals of time.

    A message number 0 of almost no accuracy comes before the others and gives beliefs a random
    direction. The last message, number n, is never received: the network is judged by its loss.

    Args:
        n_messages: n.
        final: concentration whose entropy is expected after n messages.

    Attributes:
        accuracies: alpha_0 (almost none) to alpha_n, shape (n + 1,).

    Source: Wu et al. 2025 (CrysBFN): linear entropy; book, method-linear-entropy.
    """

    accuracies: Tensor
    sums: Tensor
    table: Tensor

    def __init__(self, n_messages: int, final: float):
        super().__init__()
        self.n_messages, self.final = n_messages, final
        accuracies, table = _accuracies_and_table(n_messages, final)
        self.register_buffer("accuracies", accuracies.float(), persistent=False)
        self.register_buffer("sums", accuracies.cumsum(0).float(), persistent=False)
        self.register_buffer("table", table.float(), persistent=False)

    def received(self, t: Float[Tensor, "*T"]) -> Int[Tensor, "*T"]:
        """Number of messages received by time t, number 0 not counted.

        Args:
            t: times in [0, 1], any shape.

        Returns:
            0 to n - 1, shape of `t`.
        """
        return (t * self.n_messages + ROUNDING).long().clamp(0, self.n_messages - 1)

    def forward(self, t: Float[Tensor, "*T"]) -> tuple[Float[Tensor, "*T"], Float[Tensor, "*T"]]:
        """Accuracy received by time t, and the accuracy of the next message.

        Args:
            t: times in [0, 1], any shape.

        Returns:
            Sum of the accuracies of the messages received, and the accuracy of the next one, both
            of the shape of `t`.
        """
        received = self.received(t)
        return self.sums[received], self.accuracies[received + 1]

    def deviations(self, noise: Float[Tensor, "*X M"], first: int) -> Float[Tensor, "*X M"]:
        """How far messages lie from the data: e_j ~ vM(0, alpha_j).

        Args:
            noise: standard normal draws, shape (..., M).
            first: number of the first of the M messages.

        Returns:
            Radians, shape (..., M).
        """
        return von_mises.from_table(self.table[first : first + noise.shape[-1]], noise)


@cache
def _accuracies_and_table(n_messages: int, final: float) -> tuple[Tensor, Tensor]:
    """alpha_0 to alpha_n, and the draws from messages of these accuracies."""
    found = linear_entropy_accuracies(n_messages, final)
    accuracies = torch.tensor([circular.NOTHING, *found], dtype=torch.float64)
    return accuracies, von_mises.table_of(accuracies)


@cache
def linear_entropy_accuracies(n_messages: int, final: float) -> tuple[float, ...]:
    """Find alpha_1 to alpha_n with E H(c_i) = H(0) + i / n (H(final) - H(0)), H the entropy.

    Args:
        n_messages: n, at least 1.
        final: concentration, above 0.

    Returns:
        n accuracies.

    Raises:
        ValueError: an argument out of range.

    Source: book, method-eq-linear-entropy.
    """
    if n_messages < 1 or not final > 0:
        raise ValueError(f"no accuracies of {n_messages} messages up to concentration {final}")
    first, last = von_mises.entropy(torch.tensor([0.0, final], dtype=torch.float64)).tolist()
    targets = torch.linspace(first, last, n_messages + 1, dtype=torch.float64)[1:]
    grid = torch.linspace(0, math.log1p(4 * final), GRID, dtype=torch.float64)
    weight = torch.zeros_like(grid)
    weight[0] = 1.0
    found: list[float] = []
    guess = 2 * math.sqrt(first - targets[0].item())
    for target in targets.tolist():
        is_there = weight.abs() > 1e-14
        c, w = grid[is_there].expm1()[:, None], weight[is_there][:, None]
        guess = _root(c, w, target, guess)
        found.append(guess)
        weight = _spread(*_chain(c, w, guess), grid)
    return tuple(found)


def _chain(c: Tensor, weight: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    """Concentrations after a message at every angle, and their weights."""
    y = (torch.arange(ANGLES, dtype=torch.float64) + 0.5) * math.pi / ANGLES
    a = torch.tensor(alpha, dtype=torch.float64)
    new = ((c - a) ** 2 + 2 * c * a * (1 + y.cos())).clamp_min(0).sqrt()
    i0e = torch.special.i0e
    p = i0e(new) / (i0e(c) * i0e(a)) * torch.exp(new - c - a)
    return new, weight * p / p.sum(-1, keepdim=True)


def _root(c: Tensor, weight: Tensor, target: float, guess: float) -> float:
    """The accuracy after which the expected entropy has a value; secants in its logarithm."""

    def excess(log_alpha: float) -> float:
        new, p = _chain(c, weight, math.exp(log_alpha))
        return float((p * von_mises.entropy(new)).sum()) - target

    old, now = math.log(guess), math.log(guess) + 0.1
    f_old, f_now = excess(old), excess(now)
    for _ in range(50):
        if abs(f_now) < 1e-10 or f_now == f_old:
            break
        step = f_now * (now - old) / (f_now - f_old)
        old, f_old = now, f_now
        now -= max(-2.0, min(2.0, step))
        f_now = excess(now)
    return math.exp(now)


def _spread(c: Tensor, weight: Tensor, grid: Tensor) -> Tensor:
    """Give weights to the grid so that cubics in log(1 + c) keep their expectation."""
    place = (c.log1p() / grid[1]).flatten()
    cell = place.floor().clamp(1, len(grid) - 3)
    u = place - cell
    shares = (
        -u * (u - 1) * (u - 2) / 6,
        (u + 1) * (u - 1) * (u - 2) / 2,
        -(u + 1) * u * (u - 2) / 2,
        (u + 1) * u * (u - 1) / 6,
    )
    spread = torch.zeros_like(grid)
    for offset, share in enumerate(shares, start=-1):
        spread.index_add_(0, cell.long() + offset, share * weight.flatten())
    return spread
