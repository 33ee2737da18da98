"""Numbers on a circle."""

import math
from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows import circular
from symmbfn.flows.message_schedule import MessageSchedule
from symmbfn.flows.sampler_config import Step
from symmbfn.model.beliefs.variable import Variable, expand
from symmbfn.model.variables import Given


@dataclass(frozen=True, kw_only=True)
class Circular(Variable):
    """Fractions of a turn; the belief is a von Mises distribution, carried as its vector.

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
        """What the loss is divided by: sites."""
        return self.places(given).sum(-1)

    def flow(
        self, x: Float[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X 2"]:
        """Beliefs at time t about known data."""
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
        """The likeliest data, in [0, 1)."""
        return circular.mean(belief) / (2 * math.pi) % 1.0

    def informed(self, belief: Float[Tensor, "B *X 2"], given: Given) -> Float[Tensor, "B *X 2"]:
        """The beliefs: a model with these coordinates cannot be given parts of a crystal."""
        return belief

    def read(
        self, belief: Float[Tensor, "B *X 2"], given: Given, t: Float[Tensor, "B"]
    ) -> tuple[Tensor, ...]:
        """What the network is told beside the mean's phases: how certain the belief is."""
        return (circular.certainty(belief, self.schedule.final),)

    def estimate(
        self, output: Tensor, belief: Float[Tensor, "B *X 2"], given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *X"]:
        """The data as the network's output says, which is the step from the mean, in radians."""
        return (self.best(belief) + output / (2 * math.pi)) % 1.0 * self.is_real(given)

    def loss(
        self, x: Float[Tensor, "B *X"], x_hat: Tensor, given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Nats of each crystal at time t: n times those of the message that is next."""
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
        """Beliefs at the end of a step of the sampler; arguments as of `Continuous.step`.

        The messages of the step are about the estimate; with `eta` 1 all earlier ones are too.
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
