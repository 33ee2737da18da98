"""Kinds of variables: what is believed about one, and how that is drawn, judged and sharpened.

A model has one object for each of its variables, see `variables_of`. It knows the variable's
schedule, where it lives, and its flow; the network is the model's.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.symmetry import MAX_POSITIONS
from symmbfn.flows import categorical, continuous, solvers
from symmbfn.flows.schedules import CategoricalSchedule, ContinuousSchedule
from symmbfn.presets import ModelConfig
from symmbfn.steps import Step
from symmbfn.variables import Given, Statistics

IMPOSSIBLE = -100.0  # log-probability of the classes that a given one is not


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


@dataclass(frozen=True, kw_only=True)
class Continuous(Variable):
    """Numbers; the belief is a Gaussian, and its mean what is carried.

    Attributes:
        schedule: its accuracy.
        target: what the network predicts, see `continuous.estimate`.
    """

    schedule: ContinuousSchedule
    target: str

    def size(self, given: Given) -> Int[Tensor, "B"]:
        """What the loss is divided by: sites, or all components of a lattice, the fixed too."""
        places = self.places(given)
        count = places.sum(-1)
        return count if self.inner else torch.full_like(count, places.shape[-1])

    def flow(
        self, x: Float[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X"]:
        """Beliefs at time t about known data."""
        gamma = expand(self.schedule.gamma(t), x)
        return continuous.bayesian_flow(x, gamma, noise) * self.is_real(given)

    def prior(
        self, given: Given, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X"]
    ) -> Float[Tensor, "B *X"]:
        """Beliefs at time t about data of which the mean 0 and variance 1 is known."""
        return expand(self.schedule.gamma(t), noise).sqrt() * noise * self.is_real(given)

    def informed(self, mean: Float[Tensor, "B *X"], given: Given) -> Float[Tensor, "B *X"]:
        """Beliefs that are the truth in the places that are given."""
        x = self.known_values(given)
        return mean if x is None else self.replaced(mean, x, given)

    def scaled(
        self, mean: Float[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *X"]:
        """The belief's mean in a form that has unit variance at all times."""
        scaled = mean / expand(self.schedule.gamma(t), mean).sqrt().clamp_min(1e-2)
        return self.replaced(scaled, mean, given)

    def estimate(
        self, output: Tensor, mean: Float[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B *X"]:
        """The data as the network's output says."""
        gamma = expand(self.schedule.gamma(t), mean)
        x_hat = continuous.estimate(output, mean, gamma, self.target) * self.is_real(given)
        return self.informed(x_hat, given)

    def loss(
        self, x: Float[Tensor, "B *X"], x_hat: Tensor, given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Nats of each crystal at time t."""
        rate = expand(self.schedule(t)[1], x)
        return (continuous.loss_nats(x, x_hat, rate) * self.is_open(given)).flatten(1).sum(-1)

    def step(
        self,
        mean: Float[Tensor, "B *X"],
        x_hat: Float[Tensor, "B *X"],
        previous: Float[Tensor, "B *X"] | None,
        given: Given,
        step: Step,
    ) -> Float[Tensor, "B *X"]:
        """Beliefs at the end of a step of the sampler.

        Args:
            mean: of the beliefs at its start.
            x_hat, previous: estimates at its start and, or None, one step earlier.
            given: what the crystals are conditioned on.
            step: times, settings and noise.
        """
        sampler = step.sampler
        gamma_r, gamma_s, gamma_t = (self.schedule.gamma(u) for u in step.instants)
        if sampler.solver == "bfn":
            eta = sampler.noise_share(*(self.schedule(u)[0] for u in step.instants[1:]))
            new = solvers.continuous_step(mean, x_hat, gamma_s, gamma_t, eta, step.noise(mean))
        else:
            gammas = gamma_r, gamma_s, gamma_t
            xi = step.noise(mean) if sampler.solver == "sde2" and sampler.is_noisy else None
            new = solvers.continuous_step_second_order(mean, x_hat, previous, gammas, xi)
        return new.float() * self.is_real(given)


@dataclass(frozen=True, kw_only=True)
class Categorical(Variable):
    """Classes; the belief is a distribution over them, and its logits what is carried.

    Attributes:
        schedule: its accuracy.
        n_classes: number of classes K.
        log_prior: log frequency of the classes in training, shape (K,); None for alike.
        is_preconditioned: the network adds to the belief's logits (method.md 4.12).
        is_state_read: the network reads bounded logits and its previous estimate, too.
    """

    schedule: CategoricalSchedule
    n_classes: int
    log_prior: Tensor | None = None
    is_preconditioned: bool = True
    is_state_read: bool = True

    def shape(self, given: Given) -> tuple[int, ...]:
        """Shape of the beliefs of a batch, classes last."""
        return (*super().shape(given), self.n_classes)

    def size(self, given: Given) -> Int[Tensor, "B"]:
        """What the loss is divided by: how many of them a crystal has."""
        return math.prod(self.inner) * self.places(given).sum(-1)

    def allowed(self, given: Given) -> Bool[Tensor, "B #P K"] | None:
        """Which classes are possible for each crystal; None for all."""
        return None

    def log_frequencies(self, given: Given, log_prior: Tensor) -> Tensor:
        """Log frequency of each class, broadcastable against the beliefs."""
        return log_prior

    def frequencies(self, given: Given, like: Float[Tensor, "B *X K"]) -> Float[Tensor, "B *X K"]:
        """Train frequency of each class, in the shape of the beliefs."""
        logits = torch.zeros_like(like)
        if self.log_prior is not None:
            logits = logits + self.log_frequencies(given, self.log_prior.to(like))
        return categorical.masked_log_softmax(logits, self.allowed(given)).exp()

    def flow(
        self, index: Int[Tensor, "B *X"], given: Given, t: Float[Tensor, "B"], noise: Tensor
    ) -> Float[Tensor, "B *X K"]:
        """Beliefs at time t about known data."""
        one_hot = nn.functional.one_hot(index, self.n_classes).float()
        beta = expand(self.schedule(t)[0], one_hot)
        return categorical.bayesian_flow(one_hot, beta, noise)

    def prior(
        self, given: Given, t: Float[Tensor, "B"], noise: Float[Tensor, "B *X K"]
    ) -> Float[Tensor, "B *X K"]:
        """Beliefs at time t about data of which the frequencies are known."""
        beta = expand(self.schedule(t)[0], noise)
        return categorical.bayesian_flow(self.frequencies(given, noise), beta, noise)

    def certain(self, index: Int[Tensor, "B *X"]) -> Float[Tensor, "B *X K"]:
        """Logits that know the classes: those at t = 1 without noise."""
        one_hot = nn.functional.one_hot(index, self.n_classes).float()
        beta = self.schedule(torch.ones(1, device=index.device))[0]
        return beta * (self.n_classes * one_hot - 1)

    def informed(self, logits: Float[Tensor, "B *X K"], given: Given) -> Float[Tensor, "B *X K"]:
        """Beliefs that are certain in the places that are given."""
        index = self.known_values(given)
        return logits if index is None else self.replaced(logits, self.certain(index), given)

    def read(
        self,
        logits: Float[Tensor, "B *X K"],
        given: Given,
        t: Float[Tensor, "B"],
        previous: Float[Tensor, "B *X K"] | None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is told: probabilities, bounded logits, its previous estimate."""
        logits, allowed = logits.float(), self.allowed(given)
        theta = categorical.masked_log_softmax(logits, allowed).exp()
        state = earlier = torch.zeros_like(logits)
        if self.is_state_read:
            beta, last = (expand(self.schedule(u)[0], logits) for u in (t, torch.ones_like(t)))
            state = categorical.bounded_state(logits, self.replaced(beta, last, given))
            state = state if allowed is None else state * allowed
            if previous is not None:
                earlier = previous.exp()
        return theta * self.is_real(given)[..., None], state, earlier

    def estimate(
        self, output: Tensor, logits: Float[Tensor, "B *X K"], given: Given, t: Tensor
    ) -> Float[Tensor, "B *X K"]:
        """Log-probabilities as the network's output says."""
        output = output.float()
        if self.is_preconditioned:
            output = output + logits
        log_p = categorical.masked_log_softmax(output, self.allowed(given))
        index = self.known_values(given)
        if index is None:
            return log_p
        one_hot = nn.functional.one_hot(index, self.n_classes).to(log_p)
        return self.replaced(log_p, IMPOSSIBLE * (1 - one_hot), given)

    def loss(
        self, index: Int[Tensor, "B *X"], log_p: Tensor, given: Given, t: Float[Tensor, "B"]
    ) -> Float[Tensor, "B"]:
        """Nats of each crystal at time t."""
        rate = expand(self.schedule(t)[1], index)
        is_open = self.is_open(given).expand_as(index)
        return (categorical.loss_nats(index, log_p.exp(), rate) * is_open).flatten(1).sum(-1)

    def cross_entropy(
        self, index: Int[Tensor, "B *X"], log_p: Float[Tensor, "B *X K"], given: Given
    ) -> Float[Tensor, "B"]:
        """Mean of -ln p of the true classes of each crystal."""
        is_open = self.is_open(given).expand_as(index)
        ce = -log_p.gather(-1, index.unsqueeze(-1)).squeeze(-1)
        count = is_open.flatten(1).sum(-1).clamp_min(1)
        return ce.masked_fill(~is_open, 0).flatten(1).sum(-1) / count

    def step(
        self,
        logits: Float[Tensor, "B *X K"],
        log_p: Float[Tensor, "B *X K"],
        previous: Float[Tensor, "B *X K"] | None,
        given: Given,
        step: Step,
    ) -> Float[Tensor, "B *X K"]:
        """Beliefs at the end of a step of the sampler; arguments as of `Continuous.step`."""
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
class Pointers(Categorical):
    """Which of the crystal's elements a site holds; the others are no classes."""

    def allowed(self, given: Given) -> Bool[Tensor, "B #P K"]:
        """The slots that the crystal has."""
        return given.is_slot[:, None]


@dataclass(frozen=True, kw_only=True)
class Letters(Categorical):
    """Wyckoff letters; `log_prior` is that of all positions, each within its group."""

    def allowed(self, given: Given) -> Bool[Tensor, "B #P K"]:
        """The positions that the group has."""
        return given.is_position[:, None]

    def log_frequencies(self, given: Given, log_prior: Tensor) -> Tensor:
        """Log frequency of each position of the group."""
        return log_prior[given.rows][:, None]


@dataclass(frozen=True, kw_only=True)
class Axes(Categorical):
    """Site symmetry along each of 15 axes."""

    def allowed(self, given: Given) -> Bool[Tensor, "B #P 15 K"] | None:
        """What the group has along each axis, where the model is restricted to it."""
        return None if given.is_axis_class is None else given.is_axis_class[:, None]


Kind = Continuous | Categorical


def variables_of(
    config: ModelConfig, statistics: Statistics
) -> tuple[dict[str, Continuous], dict[str, Categorical]]:
    """The variables of a model: lattice and coordinates; elements and symmetry."""
    c = config
    sigma1 = min(c.sigma1_coords / float(statistics.coords_std.mean()), 0.5)
    lattice, coords = ContinuousSchedule(c.sigma1_lattice), ContinuousSchedule(sigma1)
    numbers = (
        Continuous("lattice", "lattice_free", is_told=False, schedule=lattice, target=c.target),
        Continuous("coords", "is_site", (3,), schedule=coords, target=c.target),
    )
    classes = [
        Categorical(
            "elements",
            "is_slot" if c.elements_as == "slots" else "is_site",
            schedule=CategoricalSchedule(c.beta1_elements, c.categorical_power),
            n_classes=len(c.elements),
            log_prior=statistics.element_log_prior,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
    ]
    if c.elements_as == "slots":
        pointers = Pointers(
            "pointers",
            "is_site",
            is_told=False,  # a multiple of the elements'
            schedule=CategoricalSchedule(c.beta1_pointers, c.categorical_power),
            n_classes=c.n_slots,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(pointers)
    symmetry = CategoricalSchedule(c.beta1_symmetry, c.categorical_power)
    if c.symmetry == "letters":
        letters = Letters(
            "letters",
            "is_site",
            schedule=symmetry,
            n_classes=MAX_POSITIONS,
            log_prior=statistics.position_log_prior,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(letters)
    elif c.symmetry == "axes":
        axes = Axes(
            "axes",
            "is_site",
            (15,),
            schedule=symmetry,
            n_classes=13,
            is_preconditioned=c.is_preconditioned,
            is_state_read=c.is_state_read,
        )
        classes.append(axes)
    return {v.name: v for v in numbers}, {v.name: v for v in classes}
