"""A variable of a model: where it lives. Its kind knows the rest, see the other files."""

from dataclasses import dataclass

import torch

from symmbfn._shapes import Bool, Tensor
from symmbfn.model.variables import Given


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Append axes to a per-crystal value until it broadcasts against `like`."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


@dataclass(frozen=True)
class Variable:
    """One variable of the asymmetric unit: where it lives.

    Attributes:
        name: as in `Variables`.
        where: the mask in `Given` of the places that have one: "lattice_free", "is_site",
            "is_slot".
        inner: shape of what one place has.
        is_told: the network is told the accuracy of the beliefs.
    """

    name: str
    where: str
    inner: tuple[int, ...] = ()
    is_told: bool = True

    def places(self, given: Given) -> Bool[Tensor, "B P"]:
        """Which places have the variable."""
        return getattr(given, self.where)

    def is_real(self, given: Given) -> Bool[Tensor, "..."]:
        """Which entries exist, in the shape of the data but for axes of length 1."""
        places = self.places(given)
        return places.reshape(places.shape + (1,) * len(self.inner))

    def shape(self, given: Given) -> tuple[int, ...]:
        """Shape of the beliefs of a batch."""
        return (*self.places(given).shape, *self.inner)

    def noise_shape(self, given: Given) -> tuple[int, ...]:
        """Shape of the noise that makes the beliefs of a batch."""
        return self.shape(given)

    def where_known(self, given: Given) -> Bool[Tensor, "B P"] | None:
        """Which places are given; None where none can be."""
        return None if given.known is None else given.known.where.get(self.name)

    def is_open(self, given: Given) -> Bool[Tensor, "..."]:
        """Which entries exist and are not given: those that are learnt."""
        real, known = self.is_real(given), self.where_known(given)
        return real if known is None else real & ~known.reshape(real.shape)

    def known_values(self, given: Given) -> Tensor | None:
        """Data of the variable, of which some places are given; None where none can be."""
        if given.known is None or self.name not in given.known.where:
            return None
        return given.known.values[self.name]

    def replaced(self, value: Tensor, truth: Tensor, given: Given) -> Tensor:
        """A value with what stands for the truth in the places that are given."""
        known = self.where_known(given)
        return value if known is None else torch.where(expand(known, value), truth, value)
