"""Beliefs about numbers on a circle: periodic coordinates."""

import math
from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows import circular
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.sampler_config import Step
from symmbfn.model.beliefs.belief import Belief, expand
from symmbfn.model.variables import Conditions


@dataclass(frozen=True, kw_only=True)
class Circular(Belief):
    """A von Mises belief about fractions of a turn, carried as its vector c (cos m, sin m).

    Attributes:
        schedule: when messages come, and how accurate they are.
    """

    schedule: MessageSchedule

    def shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Shape of the beliefs of a batch, the vectors' components last."""
        return (*super().shape(conditions), 2)

    def noise_shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Shape of the noise that makes the beliefs of a batch, the messages last."""
        return (*super().shape(conditions), self.schedule.n_messages + 1)

    def size(self, conditions: Conditions) -> Int[Tensor, "B"]:
        """The number of sites."""
        return self.places(conditions).sum(-1)

    def flow(
        self, x: Float[Tensor, "B *X"], conditions: Conditions, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X 2"]:
        """The sum of the messages that have come by time t."""
        number = torch.arange(noise.shape[-1], device=noise.device)
        has_come = number <= expand(self.schedule.received(t), noise)
        deviations = self.schedule.deviations(noise, first=0)
        accuracies = self.schedule.accuracies * has_come
        belief = circular.bayesian_flow(2 * math.pi * x, accuracies, deviations)
        return belief * self.is_real(conditions)[..., None]

    def prior(
        self, conditions: Conditions, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X M"]
    ) -> Float[Tensor, "B *X 2"]:
        """Beliefs before the first message: a random direction."""
        return self.flow(torch.zeros_like(noise[..., 0]), conditions, torch.zeros_like(t), noise)

    def best(self, belief: Float[Tensor, "B *X 2"]) -> Float[Tensor, "B *X"]:
        """The most likely fractions, in [0, 1)."""
        return circular.mean(belief) / (2 * math.pi) % 1.0

    def with_fixed(
        self, belief: Float[Tensor, "B *X 2"], conditions: Conditions
    ) -> Float[Tensor, "B *X 2"]:
        """The belief as it is: a model with these coordinates has no fixed parts."""
        return belief

    def read(
        self, belief: Float[Tensor, "B *X 2"], conditions: Conditions, t: Float[Tensor, "B"]
    ) -> tuple[Tensor, ...]:
        """How certain the belief is, in [0, 1]; its mean enters by its phases."""
        return (circular.certainty(belief, self.schedule.final),)

    def estimate(
        self,
        output: Tensor,
        belief: Float[Tensor, "B *X 2"],
        conditions: Conditions,
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "B *X"]:
        """The belief's mean, moved by the network's output, which is an angle in radians."""
        return (self.best(belief) + output / (2 * math.pi)) % 1.0 * self.is_real(conditions)

    def loss(
        self, x: Float[Tensor, "B *X"], x_hat: Tensor, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """n times the divergence of the next message, summed over the entries of a crystal."""
        turn, coming = 2 * math.pi, expand(self.schedule(t)[1], x)
        loss = self.schedule.n_messages * circular.loss_nats(turn * x, turn * x_hat, coming)
        return (loss * self.is_real(conditions)).flatten(1).sum(-1)

    def step(
        self,
        belief: Float[Tensor, "B *X 2"],
        x_hat: Float[Tensor, "B *X"],
        previous: Float[Tensor, "B *X"] | None,
        conditions: Conditions,
        step: Step,
    ) -> Float[Tensor, "B *X 2"]:
        """The belief with the messages of the step, which are about the estimate.

        With `eta` 1 all earlier messages are drawn again, about the estimate too.
        """
        before, now = (int(self.schedule.received(u)) for u in step.instants[1:])
        is_redrawn = step.sampler.eta == 1
        numbers = slice(0 if is_redrawn else before + 1, now + 1)
        accuracies = self.schedule.accuracies[numbers]
        noise = step.draws.normal((*x_hat.shape[1:], len(accuracies)))
        deviations = self.schedule.deviations(noise, numbers.start)
        new = circular.bayesian_flow(2 * math.pi * x_hat, accuracies, deviations)
        new = new if is_redrawn else belief + new
        return new * self.is_real(conditions)[..., None]
