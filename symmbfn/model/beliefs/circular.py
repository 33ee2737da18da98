"""Beliefs about numbers on a circle: periodic coordinates."""

import math
from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows import circular
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.sampler_config import Step
from symmbfn.model.beliefs.belief import Belief, expand
from symmbfn.model.variables import Given


@dataclass(frozen=True, kw_only=True)
class Circular(Belief):
    """A von Mises belief about fractions of a turn, carried as its vector c (cos m, sin m).

    Attributes:
        schedule: when messages come, and how accurate they are.
    """

    schedule: MessageSchedule

    def shape(self, given: Given) -> tuple[int, ...]:
        """Shape of the beliefs of a batch, the vectors' components last."""
        return (*super().shape(given), 2)

    def noise_shape(self, given: Given) -> tuple[int, ...]:
        """Shape of the noise that makes the beliefs of a batch, the messages last."""
        return (*super().shape(given), self.schedule.n_messages + 1)

    def size(self, given: Given) -> Int[Tensor, "B"]:
        """The number of sites."""
        return self.places(given).sum(-1)

    def flow(
        self, x: Float[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X 2"]:
        """The sum of the messages that have come by time t."""
        number = torch.arange(noise.shape[-1], device=noise.device)
        has_come = number <= expand(self.schedule.received(t), noise)
        deviations = self.schedule.deviations(noise, first=0)
        accuracies = self.schedule.accuracies * has_come
        belief = circular.bayesian_flow(2 * math.pi * x, accuracies, deviations)
        return belief * self.is_real(given)[..., None]

    def prior(
        self, given: Given, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X M"]
    ) -> Float[Tensor, "B *X 2"]:
        """Beliefs before the first message: a random direction."""
        return self.flow(torch.zeros_like(noise[..., 0]), given, torch.zeros_like(t), noise)

    def best(self, belief: Float[Tensor, "B *X 2"]) -> Float[Tensor, "B *X"]:
        """The most likely fractions, in [0, 1)."""
        return circular.mean(belief) / (2 * math.pi) % 1.0

    def informed(self, belief: Float[Tensor, "B *X 2"], given: Given) -> Float[Tensor, "B *X 2"]:
        """The belief as it is: a model with these coordinates has no fixed parts."""
        return belief

    def read(
        self, belief: Float[Tensor, "B *X 2"], given: Given, t: Float[Tensor, "B"]
    ) -> tuple[Tensor, ...]:
        """How certain the belief is, in [0, 1]; its mean enters by its phases."""
        return (circular.certainty(belief, self.schedule.final),)

    def estimate(
        self, output: Tensor, belief: Float[Tensor, "B *X 2"], given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *X"]:
        """The belief's mean, moved by the network's output, which is an angle in radians."""
        return (self.best(belief) + output / (2 * math.pi)) % 1.0 * self.is_real(given)

    def loss(
        self, x: Float[Tensor, "B *X"], x_hat: Tensor, given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """n times the divergence of the next message, summed over the entries of a crystal."""
        turn, coming = 2 * math.pi, expand(self.schedule(t)[1], x)
        loss = self.schedule.n_messages * circular.loss_nats(turn * x, turn * x_hat, coming)
        return (loss * self.is_real(given)).flatten(1).sum(-1)

    def step(
        self,
        belief: Float[Tensor, "B *X 2"],
        x_hat: Float[Tensor, "B *X"],
        previous: Float[Tensor, "B *X"] | None,
        given: Given,
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
        return new * self.is_real(given)[..., None]
