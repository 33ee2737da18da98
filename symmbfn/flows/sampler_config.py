"""Settings of the sampler, and what one of its steps means for one variable."""

from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.flows import categorical, solvers
from symmbfn.flows.noise import Draws
from symmbfn.runtime.checks import real_number, whole_number

SOLVERS = ("bfn", "ode2", "sde2")
TEMPERED = ("elements", "pointers")


@dataclass(frozen=True)
class SamplerConfig:
    """How beliefs are taken from t = 0 to t = 1.

    Attributes:
        solver: "bfn", first order on a uniform grid; "ode2" or "sde2", second order without and
            with noise for lattice and coordinates on a grid uniform in the half log-SNR.
        n_steps: number of steps; one more network call gives the final estimate.
        eta: share of fresh noise in a first-order step, in [0, 1]; 0 is the probability-flow ODE,
            1 redraws the beliefs from the flow. None: the ancestral share of the paper for
            "bfn" and "sde2", 0 for "ode2"; in these two it concerns the classes only.
        has_expected_classes: probabilities enter the update instead of one class drawn from them.
        start: first time, in (0, 1); the beliefs there are those about an average crystal.
        has_projection: coordinates of sites with a settled letter are moved onto their locus.
        is_drawn: final classes are drawn from their probabilities, as published, instead of
            the most likely ones.
        temperature: elements and pointers are drawn from p^(1 / temperature), at every step and
            at the end; below 1 likely ones become more likely.
        grid_power: q, for "bfn": the times to the power 1 / q are equally spaced; above 1 the first
            steps are shorter.
        clearance: least distance wanted between settled sites, in sums of covalent radii, in
            [0, 1). At every step closer ones are moved apart, though not always far enough; 0
            moves none.

    Raises:
        ValueError: a setting out of its range, or grid_power with another solver than "bfn".

    Source: book, method-sampler; book, method-solvers; book, method-grids.
    """

    solver: str = "bfn"
    n_steps: int = 31
    eta: float | None = None
    has_expected_classes: bool = False
    start: float = 0.005
    has_projection: bool = True
    is_drawn: bool = False
    temperature: float = 1.0
    grid_power: float = 1.0
    clearance: float = 0.75

    def __post_init__(self):
        if self.solver not in SOLVERS:
            raise ValueError(f"solver must be one of {SOLVERS}, got {self.solver!r}")
        object.__setattr__(self, "n_steps", whole_number("n_steps", self.n_steps))
        for name in ("eta", "start", "temperature", "grid_power", "clearance"):
            if (value := getattr(self, name)) is not None or name != "eta":
                object.__setattr__(self, name, real_number(name, value))
        if self.eta is not None and not 0 <= self.eta <= 1:
            raise ValueError(f"eta must lie in [0, 1], got {self.eta}")
        if not 0 < self.start < 1:
            raise ValueError(f"start must lie in (0, 1), got {self.start}")
        for name in ("temperature", "grid_power"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if not 0 <= self.clearance < 1:
            raise ValueError(f"clearance must lie in [0, 1), got {self.clearance}")
        if self.grid_power != 1 and self.solver != "bfn":
            raise ValueError(f"grid_power is for the solver 'bfn', got {self.solver!r}")

    def tempered(self, name: str, log_p: Float[Tensor, "*X K"]) -> Float[Tensor, "*X K"]:
        """Log-probabilities from which the classes of a variable are drawn.

        Args:
            name: of the variable; only elements and pointers have a temperature.
            log_p: estimated log-probabilities, shape (..., K).

        Returns:
            Normalised log-probabilities, shape (..., K).

        Source: book, method-temperature.
        """
        if name not in TEMPERED or self.temperature == 1:
            return log_p
        return categorical.masked_log_softmax(log_p / self.temperature)

    @property
    def is_noisy(self) -> bool:
        """Whether a step adds fresh noise."""
        return self.solver != "ode2" if self.eta is None else self.eta > 0

    def noise_share(self, accuracy_s: Tensor, accuracy_t: Tensor) -> Tensor:
        """Share eta of fresh noise in a step.

        Args:
            accuracy_s, accuracy_t: beta at the start and at the end of the step, any shape.

        Returns:
            eta in [0, 1], shape of the accuracies.
        """
        if self.eta is None and self.solver != "ode2":
            return solvers.ancestral_eta(accuracy_s, accuracy_t)
        return torch.full_like(accuracy_t, self.eta or 0.0)


@dataclass(frozen=True)
class Step:
    """One step of the sampler for one variable.

    Attributes:
        instants: times of the previous network call, of this one and of the next.
        sampler: the settings.
        draws: random numbers of this step and variable.
    """

    instants: tuple[Tensor, Tensor, Tensor]
    sampler: SamplerConfig
    draws: Draws

    def noise(self, like: Float[Tensor, "B *X"]) -> Float[Tensor, "B *X"]:
        """Standard normal noise for a belief.

        Args:
            like: a belief, shape (B, ...).

        Returns:
            Noise in the shape of the belief; zero for a sampler without noise.
        """
        if not self.sampler.is_noisy:
            return torch.zeros_like(like)
        return self.draws.normal(tuple(like.shape[1:]))
