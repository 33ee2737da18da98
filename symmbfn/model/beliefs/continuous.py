"""Beliefs about numbers on a line: lattice, and coordinates on their chart."""

from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.flows import continuous, solvers
from symmbfn.flows.continuous import Target
from symmbfn.flows.sampler_config import Step
from symmbfn.flows.schedules import ContinuousSchedule
from symmbfn.model.beliefs.belief import Belief, expand
from symmbfn.model.variables import Conditions


@dataclass(frozen=True, kw_only=True)
class Continuous(Belief):
    """A Gaussian belief about numbers of mean 0 and variance 1; its mean is carried.

    Attributes:
        schedule: accuracy of the messages.
        target: what the network predicts, see `continuous.estimate`.
    """

    schedule: ContinuousSchedule
    target: Target

    def size(self, conditions: Conditions) -> Int[Tensor, "B"]:
        """The number of sites, or of all six components of a lattice, the fixed ones included."""
        places = self.places(conditions)
        count = places.sum(-1)
        return count if self.entries else torch.full_like(count, places.shape[-1])

    def flow(
        self, x: Float[Tensor, "B *X"], conditions: Conditions, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X"]:
        """One draw of the mean at time t: gamma x + sqrt(gamma (1 - gamma)) noise."""
        gamma = expand(self.schedule.gamma(t), x)
        return continuous.bayesian_flow(x, gamma, noise) * self.is_real(conditions)

    def prior(
        self, conditions: Conditions, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X"]
    ) -> Float[Tensor, "B *X"]:
        """One draw of the mean at time t, over data of mean 0 and variance 1."""
        return expand(self.schedule.gamma(t), noise).sqrt() * noise * self.is_real(conditions)

    def best(self, mean: Float[Tensor, "B *X"]) -> Float[Tensor, "B *X"]:
        """The most likely numbers: the mean itself."""
        return mean

    def with_fixed(
        self, mean: Float[Tensor, "B *X"], conditions: Conditions
    ) -> Float[Tensor, "B *X"]:
        """The mean, and the truth in the places that are fixed."""
        x = self.fixed_values(conditions)
        return mean if x is None else self.replaced(mean, x, conditions)

    def read(
        self, mean: Float[Tensor, "B *X"], conditions: Conditions, t: Float[Tensor, "B"]
    ) -> tuple[Tensor, ...]:
        """The mean scaled to unit variance at all times, and the mean as it is."""
        scaled = mean / expand(self.schedule.gamma(t), mean).sqrt().clamp_min(1e-2)
        return self.replaced(scaled, mean, conditions), mean

    def estimate(
        self,
        output: Tensor,
        mean: Float[Tensor, "B *X"],
        conditions: Conditions,
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "B *X"]:
        """The numbers that the network's output stands for, see `continuous.estimate`."""
        gamma = expand(self.schedule.gamma(t), mean)
        x_hat = continuous.estimate(output, mean, gamma, self.target) * self.is_real(conditions)
        return self.with_fixed(x_hat, conditions)

    def loss(
        self, x: Float[Tensor, "B *X"], x_hat: Tensor, conditions: Conditions, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """(1/2) (d beta / dt) (x - x_hat)^2, summed over the entries of a crystal."""
        rate = expand(self.schedule(t)[1], x)
        return (
            (continuous.loss_nats(x, x_hat, rate) * self.is_learnt(conditions)).flatten(1).sum(-1)
        )

    def step(
        self,
        mean: Float[Tensor, "B *X"],
        x_hat: Float[Tensor, "B *X"],
        previous: Float[Tensor, "B *X"] | None,
        conditions: Conditions,
        step: Step,
    ) -> Float[Tensor, "B *X"]:
        """The mean at the end of a step: first order ("bfn"), or second order ("ode2", "sde2")."""
        sampler = step.sampler
        gamma_r, gamma_s, gamma_t = (self.schedule.gamma(u) for u in step.instants)
        if sampler.solver == "bfn":
            eta = sampler.noise_share(*(self.schedule(u)[0] for u in step.instants[1:]))
            new = solvers.continuous_step(mean, x_hat, gamma_s, gamma_t, eta, step.noise(mean))
        else:
            gammas = gamma_r, gamma_s, gamma_t
            xi = step.noise(mean) if sampler.solver == "sde2" and sampler.is_noisy else None
            new = solvers.continuous_step_second_order(mean, x_hat, previous, gammas, xi)
        return new.float() * self.is_real(conditions)
