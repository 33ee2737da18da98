"""Configurations of lattice and coordinates, each of which builds what it describes.

A variable may have one of several forms, such as coordinates on a line or on a circle. Each form
is a class of its own, with the settings that it has and no others; `kind` is its name in
`config.json`.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.flows.continuous import TARGETS, Target
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.schedules import ContinuousSchedule
from symmbfn.model.beliefs.circular import Circular
from symmbfn.model.beliefs.continuous import Continuous
from symmbfn.runtime.checks import one_of

WIDEST = 0.5  # largest sigma1 of standardised coordinates, for data that hardly vary

Number = Continuous | Circular


@dataclass(frozen=True, kw_only=True)
class LatticeConfig:
    """The six lattice coefficients, standardised.

    Attributes:
        sigma1: deviation of the beliefs at t = 1, in units of the data's.
        target: what the network predicts, see `continuous.estimate`.
        weight: in the training loss.
    """

    sigma1: float = 0.04
    target: Target = "v"
    weight: float = 0.5

    def __post_init__(self):
        one_of("target", self.target, TARGETS)

    def belief(self) -> Continuous:
        """The belief about the components that the crystal family leaves free."""
        return Continuous(
            name="lattice",
            where="lattice_free",
            weight=self.weight,
            is_accuracy_read=False,
            schedule=ContinuousSchedule(self.sigma1),
            target=self.target,
        )


@dataclass(frozen=True, kw_only=True)
class EuclideanCoordsConfig:
    """Fractional coordinates as numbers on a line.

    Attributes:
        sigma1: deviation of the beliefs at t = 1, fractional units.
        target, weight: as in `LatticeConfig`.
        is_standardised: mean and deviation of the training set are taken out, and coordinates
            live on the chart [-0.06, 0.94). Otherwise they are raw in [0, 1), and the sampler
            wraps them after every call (in the loss a wrap would punish -0.01 for 0 as an error
            of 0.99).
    """

    kind: ClassVar[str] = "euclidean"
    is_periodic: ClassVar[bool] = False
    n_read: ClassVar[int] = 2  # numbers that a belief's `read` gives of a coordinate
    sigma1: float = 0.02
    target: Target = "v"
    weight: float = 1.0
    is_standardised: bool = True

    def __post_init__(self):
        one_of("target", self.target, TARGETS)

    def belief(self, deviation: Float[Tensor, "3"]) -> Continuous:
        """The belief; `deviation` is that of the coordinates as they are standardised."""
        sigma1 = min(self.sigma1 / float(deviation.mean()), WIDEST)
        return Continuous(
            name="coords",
            where="is_site",
            entries=(3,),
            weight=self.weight,
            schedule=ContinuousSchedule(sigma1),
            target=self.target,
        )

    def moments(self, x: Float[Tensor, "S 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """Mean and deviation by which the coordinates of these sites are standardised."""
        if self.is_standardised:
            return x.mean(0), x.std(0, correction=0)
        return torch.zeros(3), torch.ones(3)


@dataclass(frozen=True, kw_only=True)
class CircularCoordsConfig:
    """Fractional coordinates as angles, about which messages come one by one.

    Attributes:
        n_messages: between t = 0 and 1.
        beta1: concentration of the beliefs after all of them.
        weight: in the training loss.

    Source: Wu et al. 2025 (CrysBFN).
    """

    kind: ClassVar[str] = "circular"
    is_periodic: ClassVar[bool] = True
    is_standardised: ClassVar[bool] = False
    n_read: ClassVar[int] = 1
    n_messages: int = 100
    beta1: float = 1e3
    weight: float = 1.0

    def belief(self, deviation: Float[Tensor, "3"]) -> Circular:
        """The belief; angles are not standardised."""
        return Circular(
            name="coords",
            where="is_site",
            entries=(3,),
            weight=self.weight,
            schedule=MessageSchedule(self.n_messages, self.beta1),
        )

    def moments(self, x: Float[Tensor, "S 3"]) -> tuple[Float[Tensor, "3"], Float[Tensor, "3"]]:
        """Mean 0 and deviation 1, whatever the coordinates are."""
        return torch.zeros(3), torch.ones(3)
