"""The settings of a training run: the optimiser, the conditions, what is reported."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from symmbfn.conditions.training_draw import ConditionRates
from symmbfn.runtime.checks import one_of, real_number, whole_number
from symmbfn.runtime.devices import DTYPES


@dataclass(frozen=True)
class OptimiserConfig:
    """AdamW, its learning rate over a run, and the average of the weights.

    Attributes:
        learning_rate: the largest one.
        weight_decay: on matrices only.
        warmup_steps: the learning rate rises linearly over these.
        decay_fraction: last share of the run, in which it falls linearly to zero.
        clip: largest norm of the gradient.
        ema_decay: of the averaged weights, which are the ones to sample with.
    """

    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 500
    decay_fraction: float = 0.4
    clip: float = 1.0
    ema_decay: float = 0.999

    def __post_init__(self):
        real_number("learning_rate", self.learning_rate, above=0.0)
        real_number("weight_decay", self.weight_decay, least=0.0)
        whole_number("warmup_steps", self.warmup_steps, least=0)
        real_number("decay_fraction", self.decay_fraction, least=0.0, most=1.0)
        real_number("clip", self.clip, above=0.0)
        real_number("ema_decay", self.ema_decay, least=0.0, most=1.0)


@dataclass(frozen=True)
class ReportingConfig:
    """What a run writes on its way; none of it changes the weights that a run in epochs ends with.

    Attributes:
        validate_every: epochs between validations.
        save_every: minutes between checkpoints.
        validation_crystals: how many crystals a validation uses; None for all.
        has_tensorboard: write TensorBoard's files beside the log.
    """

    validate_every: float = 5.0
    save_every: float = 5.0
    validation_crystals: int | None = 2048
    has_tensorboard: bool = False

    def __post_init__(self):
        real_number("validate_every", self.validate_every, above=0.0)
        real_number("save_every", self.save_every, least=0.0)
        if self.validation_crystals is not None:
            whole_number("validation_crystals", self.validation_crystals)


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        epochs: passes over the training set, if `minutes` is None.
        minutes: time budget with all validations but the last; the learning-rate schedule then
            follows the clock, and neither the warm-up nor the validations take more than about a
            tenth of it.
        batch_size: crystals a step, within one size bucket.
        optimiser: AdamW and its schedule.
        conditions: what each crystal is conditioned on, and how often.
        dtype: "float32" or "bf16" (autocast, float32 master weights).
        is_compiled: compile the loss, which differs by rounding then; for long runs, since every
            call compiles for minutes first, and they count as time.
        seed: of initial noise and batch order.
        reporting: what is written on the way.
    """

    epochs: float = 100.0
    minutes: float | None = None
    batch_size: int = 128
    optimiser: OptimiserConfig = field(default_factory=OptimiserConfig)
    conditions: ConditionRates = field(default_factory=ConditionRates)
    dtype: str = "float32"
    is_compiled: bool = False
    seed: int = 0
    reporting: ReportingConfig = field(default_factory=ReportingConfig)

    def __post_init__(self):
        real_number("epochs", self.epochs, above=0.0)
        if self.minutes is not None:
            real_number("minutes", self.minutes, above=0.0)
        whole_number("batch_size", self.batch_size)
        one_of("dtype", self.dtype, DTYPES)
        whole_number("seed", self.seed, least=0)

    def settings(self) -> dict[str, Any]:
        """What decides the weights of a run, by name: everything but the reporting."""
        own = asdict(self)
        del own["reporting"]
        optimiser, rates = own.pop("optimiser"), own.pop("conditions")
        return {**own, **optimiser, **{f"conditions.{name}": r for name, r in rates.items()}}

    def with_short_warmup(self, n_crystals: int) -> "TrainingConfig":
        """Shorten the warm-up to a tenth of a short run; in a time budget the trainer does.

        Args:
            n_crystals: size of the training set.
        """
        if self.minutes is not None:
            return self
        tenth = max(1, int(self.epochs * n_crystals / self.batch_size / 10))
        steps = min(self.optimiser.warmup_steps, tenth)
        return replace(self, optimiser=replace(self.optimiser, warmup_steps=steps))
