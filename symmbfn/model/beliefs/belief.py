"""The contract of a belief: all that a model, its loss and its sampler ask of one variable.

A crystal is described by a few variables: lattice, coordinates, elements, symmetry. About each of
them the model holds a belief: a distribution over its possible values, of which a tensor carries
the parameters (the mean of a Gaussian, the logits of classes, the vector of a von Mises
distribution). At t = 0 the belief is the prior; messages about the crystal make it sharper until,
at t = 1, it is certain. In training the messages are about a crystal of the data (`flow`); in
sampling they are about the network's own estimate (`step`).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.sampler_config import Step
from symmbfn.flows.schedules import CategoricalSchedule, ContinuousSchedule
from symmbfn.model.variables import Conditions

Schedule = ContinuousSchedule | CategoricalSchedule | MessageSchedule


def expand(value: Tensor, like: Tensor) -> Tensor:
    """Append axes to a per-crystal value until it broadcasts against `like`."""
    return value.reshape(value.shape + (1,) * (like.ndim - value.ndim))


@dataclass(frozen=True, kw_only=True)
class Belief(ABC):
    """What is believed about one variable.

    A variable has a value in each of a crystal's *places*: its sites, its element slots, or the
    six components of its lattice. A value may have several *entries*, such as three coordinates.
    In shapes, X stands for places and entries together, and the parameters of the belief follow.

    Attributes:
        name: of the variable, as in `Variables`.
        where: name of the mask in `Conditions` that says which places exist: "lattice_free",
            "is_site" or "is_slot".
        schedule: `schedule(t)` is the accuracy of all messages up to time t, and its rate.
        weight: of the variable in the training loss.
        entries: shape of the value in one place.
        is_accuracy_read: the network reads the accuracy that the belief has at time t.
    """

    name: str
    where: str
    schedule: Schedule
    weight: float
    entries: tuple[int, ...] = ()
    is_accuracy_read: bool = True

    def places(self, conditions: Conditions) -> Bool[Tensor, "B P"]:
        """Which places have the variable."""
        return getattr(conditions, self.where)

    def is_real(self, conditions: Conditions) -> Bool[Tensor, "..."]:
        """Which entries exist, in the shape of the data but for axes of length 1."""
        places = self.places(conditions)
        return places.reshape(places.shape + (1,) * len(self.entries))

    def shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Shape of the beliefs of a batch."""
        return (*self.places(conditions).shape, *self.entries)

    def noise_shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Shape of the noise from which `flow` and `prior` make the beliefs of a batch."""
        return self.shape(conditions)

    @abstractmethod
    def size(self, conditions: Conditions) -> Int[Tensor, "B"]:
        """By what the training loss divides the nats of each crystal."""

    def where_fixed(self, conditions: Conditions) -> Bool[Tensor, "B P"] | None:
        """Which places are fixed; None where none can be."""
        return None if conditions.fixed is None else conditions.fixed.where.get(self.name)

    def is_learnt(self, conditions: Conditions) -> Bool[Tensor, "..."]:
        """Which entries exist and are not fixed: those that the network learns."""
        real, fixed = self.is_real(conditions), self.where_fixed(conditions)
        return real if fixed is None else real & ~fixed.reshape(real.shape)

    def fixed_values(self, conditions: Conditions) -> Tensor | None:
        """Data of the variable, of which some places are fixed; None where none can be."""
        if conditions.fixed is None or self.name not in conditions.fixed.where:
            return None
        return conditions.fixed.values[self.name]

    def replaced(self, value: Tensor, truth: Tensor, conditions: Conditions) -> Tensor:
        """A value, and what stands for the truth in the places that are fixed."""
        fixed = self.where_fixed(conditions)
        return value if fixed is None else torch.where(expand(fixed, value), truth, value)

    @abstractmethod
    def with_fixed(self, belief: Tensor, conditions: Conditions) -> Tensor:
        """The belief, certain of the truth in the places that are fixed."""

    @abstractmethod
    def flow(
        self, data: Tensor, conditions: Conditions, t: Float[Tensor, "B"], noise: Tensor
    ) -> Tensor:
        """Beliefs at time t about crystals that are known: one draw from the Bayesian flow.

        Args:
            data: values of the variable, shape (B, X).
            conditions: what the crystals are conditioned on.
            t: times in [0, 1], shape (B,).
            noise: standard normal draw of shape `noise_shape(conditions)`.

        Returns:
            Parameters of the beliefs, of shape `shape(conditions)`.
        """

    @abstractmethod
    def prior(self, conditions: Conditions, t: Float[Tensor, "B"], noise: Tensor) -> Tensor:
        """Beliefs at a small time t about the average crystal: where sampling starts.

        Args and Returns: as of `flow`, without data.
        """

    @abstractmethod
    def step(
        self,
        belief: Tensor,
        estimate: Tensor,
        previous: Tensor | None,
        conditions: Conditions,
        step: Step,
    ) -> Tensor:
        """Beliefs at the end of a step of the sampler.

        Args:
            belief: parameters at the start of the step.
            estimate: the network's estimate from these beliefs.
            previous: its estimate one step earlier, for steps of second order; None in the first.
            conditions: what the crystals are conditioned on.
            step: times, settings and random numbers.

        Returns:
            Parameters at the end of the step.
        """

    @abstractmethod
    def read(
        self, belief: Tensor, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> tuple[Tensor, ...]:
        """What the network reads of the belief, with values of order one.

        Returns:
            As many tensors as the kind of belief has to say, each of the shape of the data, with
            the classes last.
        """

    @abstractmethod
    def estimate(
        self, output: Tensor, belief: Tensor, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> Tensor:
        """The value of the variable as the network's output says.

        Args:
            output: of the network, shape (B, X), with the classes last.
            belief: what the network has read.
            conditions: what the crystals are conditioned on.
            t: time of the belief.

        Returns:
            Numbers, or log-probabilities of the classes.
        """

    @abstractmethod
    def loss(
        self, data: Tensor, estimate: Tensor, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Nats of each crystal at time t, over the entries that are not fixed.

        Their mean over t ~ U(0, 1) is the variable's part of the variational bound.
        """
