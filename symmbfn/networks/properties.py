"""Properties as conditions, as the network reads them; each may be left out."""

import math

import torch
from torch import nn

from symmbfn._shapes import Float, Tensor

N_OCTAVES = 8
FARTHEST = 6.0  # standard deviations; beyond, all values look alike
# a share of the crystals has exactly 0, the others a spread; with the scale of log(1 + x), eV
ZERO_INFLATED = {"band_gap": 1.0, "e_above_hull": 0.05}
NEARLY_ZERO = 1e-3  # eV


def zero_scales(names: tuple[str, ...]) -> Float[Tensor, "Q"]:
    """Scales of the properties that are exactly 0 for a share of the crystals.

    Args:
        names: of Q properties.

    Returns:
        Scales in the units of the data, 0 for the other properties, shape (Q,).

    Source: book, method-properties.
    """
    return torch.tensor([ZERO_INFLATED.get(name, 0.0) for name in names])


def standard_values(
    values: Float[Tensor, "*X Q"], zero_scale: Float[Tensor, "Q"]
) -> Float[Tensor, "*X Q"]:
    """Values on the scale that is standardised: log(1 + gap) for a band gap, others unchanged.

    Args:
        values: in the units of the data, NaN where not known, shape (..., Q).
        zero_scale: of `zero_scales`, shape (Q,).

    Returns:
        Values, shape (..., Q).

    Source: book, method-properties.
    """
    is_zero_inflated = zero_scale > 0
    scale = torch.where(is_zero_inflated, zero_scale, 1.0)
    return torch.where(is_zero_inflated, (values.clamp_min(0) / scale).log1p(), values)


class PropertyTokens(nn.Module):
    """One vector for all properties: the sum of what small networks, one for each, make of them.

    A property that is no condition gives its learned null vector.

    Args:
        names: of Q properties.
        mean, std: of the standard values in training, shape (Q,).
        width: of the vector.

    Source: book, method-properties; Ho and Salimans 2022: null vectors.
    """

    mean: Tensor
    std: Tensor
    zero_scale: Tensor

    def __init__(
        self,
        names: tuple[str, ...],
        mean: Float[Tensor, "Q"],
        std: Float[Tensor, "Q"],
        width: int = 64,
    ):
        super().__init__()
        self.width = width
        self.register_buffer("mean", mean, persistent=False)
        self.register_buffer("std", std, persistent=False)
        self.register_buffer("zero_scale", zero_scales(names), persistent=False)
        self.read = nn.ModuleList(
            nn.Sequential(nn.Linear(2 + 2 * N_OCTAVES, width), nn.SiLU(), nn.Linear(width, width))
            for _ in names
        )
        self.null = nn.Parameter(torch.zeros(len(names), width))

    def mute(self, first: int) -> None:
        """Let the properties from a place on add nothing, told or not, until they are learnt."""
        for read in self.read[first:]:
            for parameter in read.get_submodule("2").parameters():
                nn.init.zeros_(parameter)

    def forward(self, values: Float[Tensor, "B Q"]) -> Float[Tensor, "B W"]:
        """Compute the vector.

        Args:
            values: in the units of the data, NaN for a property that is no condition, shape (B, Q).

        Returns:
            Vectors, shape (B, W).
        """
        is_absent = values.isnan()
        present = values.masked_fill(is_absent, 0.0)
        scaled = (standard_values(present, self.zero_scale) - self.mean) / self.std
        scaled = scaled.clamp(-FARTHEST, FARTHEST)
        octave = torch.arange(N_OCTAVES, dtype=scaled.dtype, device=scaled.device)
        angle = scaled[..., None] * (math.pi / 4 * 2**octave)
        is_zero = (present < NEARLY_ZERO) & (self.zero_scale > 0)
        numbers = torch.stack([scaled, is_zero.to(scaled)], dim=-1)
        features = torch.cat([numbers, angle.sin(), angle.cos()], dim=-1)
        total = torch.zeros_like(self.null[0]).expand(len(values), -1)
        for i, read in enumerate(self.read):
            total = total + torch.where(is_absent[:, i, None], self.null[i], read(features[:, i]))
        return total
