"""Beliefs about classes: elements, pointers, Wyckoff letters, site-symmetry axes."""

import math
from dataclasses import dataclass

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.flows import categorical, solvers
from symmbfn.flows.sampler_config import Step
from symmbfn.flows.schedules import CategoricalSchedule
from symmbfn.model.beliefs.belief import Belief, expand
from symmbfn.model.variables import Conditions

IMPOSSIBLE = -1e3  # log-probability of the classes that a fixed one is not: no site outweighs it


@dataclass(frozen=True, kw_only=True)
class Categorical(Belief):
    """A distribution over K classes, carried as its logits.

    Attributes:
        schedule: accuracy of the messages.
        n_classes: number of classes K.
        is_preconditioned: the network's output is added to the belief's logits, and the network
            reads these logits and its previous estimate (book, method-preconditioning).
        log_prior: log frequency of the classes in training, shape (K,); None for alike.
    """

    schedule: CategoricalSchedule
    n_classes: int
    is_preconditioned: bool
    log_prior: Tensor | None = None

    def shape(self, conditions: Conditions) -> tuple[int, ...]:
        """Shape of the beliefs of a batch, classes last."""
        return (*super().shape(conditions), self.n_classes)

    def size(self, conditions: Conditions) -> Int[Tensor, "B"]:
        """How many entries a crystal has."""
        return math.prod(self.entries) * self.places(conditions).sum(-1)

    def allowed(self, conditions: Conditions) -> Bool[Tensor, "B #P K"] | None:
        """Which classes are possible for each crystal; None for all."""
        return None

    def log_frequencies(self, conditions: Conditions, log_prior: Tensor) -> Tensor:
        """Log frequency of each class, broadcastable against the beliefs."""
        return log_prior

    def frequencies(
        self, conditions: Conditions, like: Float[Tensor, "B *X K"]
    ) -> Float[Tensor, "B *X K"]:
        """Training frequency of each class, in the shape of the beliefs."""
        logits = torch.zeros_like(like)
        if self.log_prior is not None:
            logits = logits + self.log_frequencies(conditions, self.log_prior.to(like))
        return categorical.masked_log_softmax(logits, self.allowed(conditions)).exp()

    def flow(
        self,
        index: Int[Tensor, "B *X"],
        conditions: Conditions,
        t: Float[Tensor, "B"],
        noise: Tensor,
    ) -> Float[Tensor, "B *X K"]:
        """One draw of the logits at time t: beta (K e - 1) + sqrt(K beta) noise."""
        one_hot = nn.functional.one_hot(index, self.n_classes).float()
        beta = expand(self.schedule(t)[0], one_hot)
        return categorical.bayesian_flow(one_hot, beta, noise)

    def prior(
        self, conditions: Conditions, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X K"]
    ) -> Float[Tensor, "B *X K"]:
        """One draw of the logits at time t, about the frequencies in training."""
        beta = expand(self.schedule(t)[0], noise)
        return categorical.bayesian_flow(self.frequencies(conditions, noise), beta, noise)

    def certain(self, index: Int[Tensor, "B *X"]) -> Float[Tensor, "B *X K"]:
        """The logits of classes that are known: those at t = 1 without noise."""
        one_hot = nn.functional.one_hot(index, self.n_classes).float()
        beta = self.schedule(torch.ones(1, device=index.device))[0]
        return beta * (self.n_classes * one_hot - 1)

    def with_fixed(
        self, logits: Float[Tensor, "B *X K"], conditions: Conditions
    ) -> Float[Tensor, "B *X K"]:
        """Beliefs that are certain in the places that are fixed."""
        index = self.fixed_values(conditions)
        return logits if index is None else self.replaced(logits, self.certain(index), conditions)

    def read(
        self,
        logits: Float[Tensor, "B *X K"],
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Float[Tensor, "B *X K"] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Probabilities; and, preconditioned, bounded logits and the previous estimate.

        Args:
            logits, conditions, t: as in `Belief.read`.
            previous: log-probabilities of an earlier estimate; None for none.

        Returns:
            Probabilities, 0 on padding; bounded logits and earlier probabilities, or zeros.
        """
        logits, allowed = logits.float(), self.allowed(conditions)
        theta = categorical.masked_log_softmax(logits, allowed).exp()
        state = earlier = torch.zeros_like(logits)
        if self.is_preconditioned:
            beta, last = (expand(self.schedule(u)[0], logits) for u in (t, torch.ones_like(t)))
            state = categorical.bounded_state(logits, self.replaced(beta, last, conditions))
            state = state if allowed is None else state * allowed
            if previous is not None:
                earlier = previous.exp()
        return theta * self.is_real(conditions)[..., None], state, earlier

    def estimate(
        self, output: Tensor, logits: Float[Tensor, "B *X K"], conditions: Conditions, t: Tensor
    ) -> Float[Tensor, "B *X K"]:
        """Log-probabilities of the classes that are possible, one of them where it is fixed."""
        output = output.float()
        if self.is_preconditioned:
            output = output + logits
        log_p = categorical.masked_log_softmax(output, self.allowed(conditions))
        index = self.fixed_values(conditions)
        if index is None:
            return log_p
        one_hot = nn.functional.one_hot(index, self.n_classes).to(log_p)
        return self.replaced(log_p, IMPOSSIBLE * (1 - one_hot), conditions)

    def loss(
        self,
        index: Int[Tensor, "B *X"],
        log_p: Tensor,
        conditions: Conditions,
        t: Float[Tensor, "B"],
    ) -> Float[Tensor, "B"]:
        """(K / 2) (d beta / dt) |e - p|^2, summed over the entries of a crystal."""
        rate = expand(self.schedule(t)[1], index)
        is_learnt = self.is_learnt(conditions).expand_as(index)
        return (categorical.loss_nats(index, log_p.exp(), rate) * is_learnt).flatten(1).sum(-1)

    def cross_entropy(
        self, index: Int[Tensor, "B *X"], log_p: Float[Tensor, "B *X K"], conditions: Conditions
    ) -> Float[Tensor, "B"]:
        """Mean of -ln p of the true classes of each crystal."""
        is_learnt = self.is_learnt(conditions).expand_as(index)
        ce = -log_p.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        count = is_learnt.flatten(1).sum(-1).clamp_min(1)
        return ce.masked_fill(~is_learnt, 0).flatten(1).sum(-1) / count

    def step(
        self,
        logits: Float[Tensor, "B *X K"],
        log_p: Float[Tensor, "B *X K"],
        previous: Float[Tensor, "B *X K"] | None,
        conditions: Conditions,
        step: Step,
    ) -> Float[Tensor, "B *X K"]:
        """The logits at the end of a step about classes drawn from the estimate."""
        log_p = step.sampler.tempered(self.name, log_p)
        if step.sampler.has_expected_classes:
            e = log_p.exp()
        else:
            e = categorical.sample_one_hot(log_p, step.draws.uniform(tuple(log_p.shape[1:-1])))
        beta_s, beta_t = (self.schedule(u)[0].reshape(1) for u in step.instants[1:])
        eta = step.sampler.noise_share(beta_s, beta_t)
        # times are float64; an array of classes is not to become so
        beta_s, beta_t, eta = (value.to(logits) for value in (beta_s, beta_t, eta))
        return solvers.categorical_step(logits, e, beta_s, beta_t, eta, step.noise(logits))


@dataclass(frozen=True, kw_only=True)
class Elements(Categorical):
    """Which element a slot or a site holds."""

    def allowed(self, conditions: Conditions) -> Bool[Tensor, "B #P K"] | None:
        """The elements that the crystal may have; None for all."""
        return None if conditions.is_element is None else conditions.is_element[:, None]


@dataclass(frozen=True, kw_only=True)
class Pointers(Categorical):
    """Which of the crystal's element slots a site points to."""

    def allowed(self, conditions: Conditions) -> Bool[Tensor, "B #P K"]:
        """The slots that the crystal has."""
        return conditions.is_slot[:, None]


@dataclass(frozen=True, kw_only=True)
class Letters(Categorical):
    """Wyckoff letters: positions of the group; `log_prior` is that of all 1,731 positions."""

    def allowed(self, conditions: Conditions) -> Bool[Tensor, "B #P K"]:
        """The positions that the group has."""
        return conditions.is_position[:, None]

    def log_frequencies(self, conditions: Conditions, log_prior: Tensor) -> Tensor:
        """Log frequency of each position of the group."""
        return log_prior[conditions.rows][:, None]
