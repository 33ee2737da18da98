"""Noise as a function of (seed, crystal, stream): without state, so that crystals are independent.

A counter-based generator: the finaliser of splitmix64 over seed, index, stream and position, in
torch integers, on any device. Positions count from a fixed origin per site and class, so padding a
batch changes nothing.
"""

import math
from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Int, Tensor

STREAMS_PER_STEP = 16
CLASSES = 6  # streams from the noise of a variable to the draw of its class

_GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15 as a signed 64-bit integer
_MIX_1 = -4658895280553007687  # 0xBF58476D1CE4E5B9
_MIX_2 = -7723592293110705685  # 0x94D049BB133111EB
_WORDS = 2**64


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: the arithmetic one with the sign's copies masked off."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _mix(x: Tensor) -> Tensor:
    """splitmix64's finaliser; integer products wrap. Source: Steele et al. 2014."""
    x = (x ^ _shift_right(x, 30)) * _MIX_1
    x = (x ^ _shift_right(x, 27)) * _MIX_2
    return x ^ _shift_right(x, 31)


def _mix_number(x: int) -> int:
    """The same of one number: in tensors it would take as long as a draw, and wait for a GPU."""
    x %= _WORDS
    x = (x ^ x >> 30) * (_MIX_1 % _WORDS) % _WORDS
    x = (x ^ x >> 27) * (_MIX_2 % _WORDS) % _WORDS
    x ^= x >> 31
    return x - _WORDS if x >= _WORDS // 2 else x


def _bits(seed: int, index: Int[Tensor, "B"], stream: int, n: int) -> Int[Tensor, "B n"]:
    """n words of 64 random bits for each crystal."""
    of_seed, of_stream = _mix_number(seed * _GOLDEN + _GOLDEN), _mix_number(stream + _GOLDEN)
    key = _mix(_mix(index.long() * _GOLDEN + of_seed) ^ of_stream)
    place = torch.arange(1, n + 1, device=index.device)
    return _mix(key[:, None] + place * _GOLDEN)


def uniform(
    seed: int, index: Int[Tensor, "B"], stream: int, shape: tuple[int, ...]
) -> Float[Tensor, "B *shape"]:
    """Uniform draws in (0, 1).

    Args:
        seed: of the whole request.
        index: number of each crystal in the request, shape (B,).
        stream: which draw of the crystal this is (variable and step).
        shape: trailing shape; an entry depends on its place counted along the last axis
            first, so a longer first axis keeps the earlier entries.

    Returns:
        Draws, shape (B, *shape), float64.

    Source: Steele et al. 2014: splitmix64.
    """
    bits = _bits(seed, index, stream, math.prod(shape))
    # 52 bits and a half fit a double exactly: 53 would round up to 1
    return ((_shift_right(bits, 12).double() + 0.5) * 2.0**-52).reshape(len(index), *shape)


def normal(
    seed: int, index: Int[Tensor, "B"], stream: int, shape: tuple[int, ...]
) -> Float[Tensor, "B *shape"]:
    """Standard normal draws.

    Args:
        seed, index, stream, shape: as in `uniform`.

    Returns:
        Draws, shape (B, *shape), float32.

    Source: Box and Muller 1958: two draws from each word.
    """
    n = math.prod(shape)
    bits = _bits(seed, index, stream, (n + 1) // 2)
    # float32 keeps the small values of u, on which the tails depend; close to 1 it may round up
    u = ((_shift_right(bits, 32).float() + 0.5) * 2.0**-32).clamp_max(1 - 2.0**-24)
    angle = (bits & 0xFFFFFFFF).float() * (2 * math.pi * 2.0**-32)
    radius = torch.sqrt(-2 * torch.log(u))
    pair = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1)
    return pair.flatten(1)[:, :n].reshape(len(index), *shape)


@dataclass(frozen=True)
class Draws:
    """The random numbers of one variable in one step of the sampler, for a batch of crystals.

    Attributes:
        seed: of the whole request.
        index: number of each crystal in the request, shape (B,).
        step: number of the step.
        place: which of the model's variables it is, from 0.
    """

    seed: int
    index: Int[Tensor, "B"]
    step: int
    place: int

    def normal(self, shape: tuple[int, ...]) -> Float[Tensor, "B *shape"]:
        """Standard normal draws.

        Args:
            shape: trailing shape.

        Returns:
            Draws, shape (B, *shape), float32.
        """
        return normal(self.seed, self.index, self.step * STREAMS_PER_STEP + self.place, shape)

    def uniform(self, shape: tuple[int, ...]) -> Float[Tensor, "B *shape"]:
        """Uniform draws in (0, 1), independent of the normal ones.

        Args:
            shape: trailing shape.

        Returns:
            Draws, shape (B, *shape), float64.
        """
        stream = self.step * STREAMS_PER_STEP + CLASSES + self.place
        return uniform(self.seed, self.index, stream, shape)
