"""Training: one loop for every preset and device, on one rank or several, resumed exactly."""

import copy
import json
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.conditions.training_draw import with_conditions
from symmbfn.datasets.batches import BucketedBatches
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.flows.schedules import ContinuousSchedule
from symmbfn.model.config import ModelConfig
from symmbfn.model.symmbfn import Given, SymmBFN, Variables
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.compilation import compiled, leaves, mapped, onednn_products
from symmbfn.runtime.distributed import Ranks
from symmbfn.runtime.files import whole_file, write_whole
from symmbfn.runtime.run_folder import differences

MAX_NON_FINITE = 10
LOG = "log.jsonl"
LOG_EVERY = 100  # steps
# what a run reports and how often, not what comes out of it
INCIDENTAL = ("validate_every", "save_every", "validation_crystals")
COUNTERS = ("step", "crystals", "skipped", "non_finite", "warmed", "elapsed", "validated")
VALIDATION_TIMES = 8
# of a time budget
WARMUP_SHARE = 0.1
LEAST_WARMUP = 20  # steps
VALIDATION_SHARE = 0.1


class DamagedCheckpointError(ValueError):
    """A checkpoint cannot be read; the one before it may be whole."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        epochs: passes over the training set, if `minutes` is not given.
        minutes: time budget with all validations but the last; the learning-rate schedule then
            follows the clock, and neither the warm-up nor the validations take more than about a
            tenth of it.
        batch_size: crystals a step, within one size bucket.
        learning_rate: peak of AdamW.
        weight_decay: on matrices only.
        warmup_steps: linear rise of the learning rate.
        decay_fraction: last share of the run, in which it falls linearly to zero.
        clip: largest gradient norm.
        ema_decay: of the averaged weights, which are the ones to sample with.
        dtype: "float32" or "bf16" (autocast, float32 master weights).
        is_compiled: compile the loss, which differs by rounding then; for long runs, since every
            call compiles for minutes first, and they count as time.
        seed: of initial noise and batch order.
        validate_every, save_every: in epochs and in minutes.
        validation_crystals: how many crystals the regular validation uses; None for all.
    """

    epochs: float = 100.0
    minutes: float | None = None
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_steps: int = 500
    decay_fraction: float = 0.4
    clip: float = 1.0
    ema_decay: float = 0.999
    dtype: str = "float32"
    is_compiled: bool = False
    seed: int = 0
    validate_every: float = 5.0
    save_every: float = 5.0
    validation_crystals: int | None = 2048

    def __post_init__(self):
        if self.dtype not in ("float32", "bf16"):
            raise ValueError(f"dtype must be 'float32' or 'bf16', got {self.dtype!r}")
        given = {name: value for name, value in asdict(self).items() if value is not None}
        for name in ("epochs", "minutes", "learning_rate", "clip", "validate_every"):
            if not 0 < given.get(name, 1) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {given[name]}")
        for name in ("weight_decay", "save_every"):
            if not 0 <= given[name] < math.inf:
                raise ValueError(f"{name} must be finite and at least 0, got {given[name]}")
        for name in ("decay_fraction", "ema_decay"):
            if not 0 <= given[name] <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {given[name]}")
        for name, least in (("batch_size", 1), ("warmup_steps", 0), ("validation_crystals", 1)):
            whole_number(name, given.get(name, least), least=least)


def learning_rate_factor(step: int | float, progress: float, config: TrainingConfig) -> float:
    """Share of the peak learning rate: warm-up, constant, linear decay to zero at progress 1."""
    warmup = min(1.0, (step + 1) / max(1, config.warmup_steps))
    decay = (1 - progress) / config.decay_fraction if config.decay_fraction else 1.0
    return warmup * min(1.0, max(0.0, decay))


def stratified_times(
    n: int, min_t: float, generator: torch.Generator, device: torch.device
) -> Float[Tensor, "B"]:
    """One time in each of n equal parts of (min_t, 1), in random order: low variance over a batch.

    The order matters: a batch that mixes sizes is sorted by them.
    """
    u = torch.rand(n, generator=generator, device=device)
    part = torch.randperm(n, generator=generator, device=device)
    return min_t + (1 - min_t) * (part + u) / n


def draw_noise(
    model: SymmBFN, given: Given, generator: torch.Generator, device: torch.device
) -> Variables:
    """Standard normal noise, as much as the beliefs about every variable take."""
    return model.each(
        lambda v: torch.randn(v.noise_shape(given), generator=generator, device=device)
    )


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """bf16 products where asked for; the flows and losses have none and stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16")


class Trainer:
    """State of one run: model, averaged weights, optimiser, generators, position in the data.

    On several ranks each step's batch is drawn, with its times and noise, by every rank alike and
    divided among them; gradients are summed. So the run is the same for any number of ranks, but
    for the order of that sum, and may be resumed with another number.

    Args:
        model: the model to train, on its device.
        dataset: the training set; a copy is held on that device.
        validation: crystals for the validation losses, or None.
        config: the run.
        folder: for `log.jsonl` and checkpoints, written by the first rank; resumed from if it
            holds one.
        ranks: the processes that train together.

    Attributes:
        step, crystals: optimiser steps so far, those without effect included; crystals they saw.
        warmed: the same steps as the warm-up counts them, which is faster in a short time budget.
        elapsed: seconds of the run, validations and checkpoints included.
        validated: epoch of the last validation.

    Raises:
        ValueError: if the folder holds a checkpoint of another run, or damaged ones only.
    """

    def __init__(
        self,
        model: SymmBFN,
        dataset: EncodedDataset,
        validation: EncodedDataset | None,
        config: TrainingConfig,
        folder: str | Path,
        ranks: Ranks | None = None,
    ):
        self.device = next(model.parameters()).device
        self.model, self.config, self.folder = model, config, Path(folder)
        self.ranks = ranks or Ranks()
        self.batches = BucketedBatches(
            dataset.n_sites,
            dataset.space_group_number,
            batch_size=config.batch_size,
            generator=torch.Generator().manual_seed(config.seed),
        )
        self.properties = dataset.values_of(model.config.properties).to(self.device)
        self.dataset = dataset.to(self.device)
        self.validation = validation.to(self.device) if validation else None
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.parameters: list[Tensor] = list(model.parameters())
        self.names = ("loss", *model.continuous, *model.categorical)
        # all gradients and the step's values in one piece: one sum over ranks, one norm
        sizes = [parameter.numel() for parameter in self.parameters]
        self.sums = torch.zeros(sum(sizes) + len(self.names), device=self.device)
        self.gradient, self.values = self.sums.split([sum(sizes), len(self.names)])
        for parameter, part in zip(self.parameters, self.gradient.split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        matrices = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.loss: Callable = self.batch_loss
        if config.is_compiled:
            self.loss = compiled(self.batch_loss, self.device)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.coin = torch.Generator().manual_seed(config.seed)
        self.without_effect = torch.zeros(2, dtype=torch.long, device=self.device)
        self.step = self.crystals = 0
        self.warmed = self.elapsed = self.validated = 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.ranks.first_alone():
            self._resume()

    # ---- one step -------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        if self.config.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.config.minutes))
        return min(1.0, self.crystals / (self.config.epochs * len(self.dataset)))

    @property
    def skipped(self) -> int:
        """Steps without effect, since a loss or a gradient was not finite; waits for a GPU."""
        return int(self.without_effect[0])

    @skipped.setter
    def skipped(self, n: int) -> None:
        self.without_effect[0] = n

    @property
    def non_finite(self) -> int:
        """Steps without effect in a row, up to the last one; waits for a GPU."""
        return int(self.without_effect[1])

    @non_finite.setter
    def non_finite(self, n: int) -> None:
        self.without_effect[1] = n

    def batch_loss(
        self,
        data: Variables,
        given: Given,
        t: Float[Tensor, "B"],
        noise: Variables,
        has_previous: bool,
    ) -> tuple[Float[Tensor, "B"], dict[str, Float[Tensor, "B"]]]:
        """Weighted loss and nats by variable of each crystal, at the times and noise given.

        Args:
            has_previous: whether the network reads an estimate of its own.
        """
        model = self.model
        beliefs = model.flow(data, given, t, noise)
        previous = None
        if has_previous:
            with torch.no_grad():
                previous = model(beliefs, given, t)
        estimates = model(beliefs, given, t, previous)
        nats, cross_entropy = model.losses(data, estimates, given, t)
        return model.training_loss(nats, cross_entropy, given), nats

    def train_step(self, index: Int[Tensor, "B"]) -> dict[str, Float[Tensor, ""]]:
        """One optimiser step on a batch, without effect where it is not finite.

        On a GPU nothing here waits for it: `MAX_NON_FINITE` such steps in a row are noticed when
        the log is written, up to `LOG_EVERY` steps late.

        Returns:
            Mean loss, gradient norm and mean nats by variable, on the device.

        Raises:
            FloatingPointError: too many steps in a row had no effect.
        """
        if self.device.type == "cuda":
            index = index.pin_memory()  # or its copies would wait for all that is queued
        data, given = self._encode(index)
        properties = self.properties[index.to(self.device, non_blocking=True)]
        given = with_conditions(self.model, data, given, properties, self.generator)
        t = stratified_times(len(index), self.model.config.min_t, self.generator, self.device)
        noise = draw_noise(self.model, given, self.generator, self.device)
        has_previous = self.model.config.has_self_conditioning and (
            torch.rand((), generator=self.coin).item() < 0.5
        )
        self.sums.zero_()
        mine = self.ranks.share
        if len(t[mine]):
            batch = mapped(lambda tensor: tensor[mine], [data, given, t, noise])
            with onednn_products(self.device):
                with autocast(self.device, self.config.dtype):
                    losses, nats = self.loss(*batch, has_previous)
                (losses.sum() / len(index)).backward()
            rows = torch.stack([losses, *(nats[name] for name in self.names[1:])])
            self.values.copy_(rows.detach().sum(-1) / len(index))
        self.ranks.add_(self.sums)
        norm = self._update()
        if self.device.type == "cpu" or (self.step + 1) % LOG_EVERY == 0:
            self._check_finite()
        self.step += 1
        self.crystals += len(index)
        values = dict(zip(self.names, self.values.clone(), strict=True))
        return {"loss": values.pop("loss"), "gradient": norm, **values}

    def _encode(self, index: Int[Tensor, "B"]) -> tuple[Variables, Given]:
        """A batch's variables; on a GPU beside the step before, whose end nothing here awaits."""
        if self.stream is None:
            return self.model.encode(self.dataset.batch(index))
        ours = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            encoded = self.model.encode(self.dataset.batch(index))
        ours.wait_stream(self.stream)
        for tensor in leaves(encoded):
            tensor.record_stream(ours)  # its memory is not given away before it is read
        return encoded

    @torch.no_grad()
    def _update(self) -> Float[Tensor, ""]:
        """Clip, step and average if all is finite, decided on the device; returns the norm."""
        config, norm = self.config, self.gradient.norm()
        is_bad = ~(self.values[0].isfinite() & norm.isfinite())
        self.without_effect += is_bad
        self.without_effect[1] *= is_bad
        self.gradient *= (config.clip / (norm + 1e-6)).clamp(max=1.0)
        step = self.step if config.minutes is None else self.warmed
        factor = learning_rate_factor(step, self.progress, config)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * factor
        # as torch.amp.GradScaler tells a fused optimiser that a step is to have no effect
        self.optimiser.found_inf = is_bad.float()  # type: ignore[attr-defined]
        self.optimiser.step()
        decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
        averages: list[Tensor] = list(self.average.parameters())
        change = torch._foreach_sub(self.parameters, averages)
        torch._foreach_mul_(change, (1 - decay) * ~is_bad)
        torch._foreach_add_(averages, list(change))
        return norm

    def _check_finite(self) -> None:
        """Raise FloatingPointError if too many steps in a row had no effect."""
        if (n := self.non_finite) >= MAX_NON_FINITE:
            raise FloatingPointError(f"{n} non-finite losses in a row at step {self.step}")

    # ---- the run --------------------------------------------------------------------------

    def run(self) -> SymmBFN:
        """Train to the end of the budget, or to a signal; returns the averaged model."""
        recent: list[dict[str, Tensor]] = []
        saved = time.monotonic()
        began = saved - self.elapsed
        with _stop_on_signal() as stopped, self._bar() as bar:
            while self.progress < 1:
                recent.append(self.train_step(next(self.batches)))
                now = time.monotonic()
                # the same on all ranks, which part ways nowhere below
                elapsed, since_saved, n_signals = self.ranks.largest(
                    now - began, now - saved, len(stopped)
                )
                self._pass(elapsed)
                bar.update(int(1000 * self.progress) - bar.n)
                if self.step % LOG_EVERY == 0:
                    self.log("train", _means(recent))
                    recent.clear()
                if n_signals:
                    self.save()
                    self.ranks.wait()
                    raise KeyboardInterrupt(f"stopped at step {self.step}; the same call resumes")
                if self._is_validation_due:
                    self._validate()
                if since_saved > 60 * self.config.save_every:
                    self._check_finite()
                    self.save()
                    saved = time.monotonic()
                (self.elapsed,) = self.ranks.largest(time.monotonic() - began)
            if recent:
                self.log("train", _means(recent))
            if self.validated < self.epochs:
                self._validate()
            (self.elapsed,) = self.ranks.largest(time.monotonic() - began)
        self.save()
        self.ranks.wait()
        return self.average

    def _pass(self, elapsed: float) -> None:
        """Let a step end at this time, and count it as a step of the warm-up.

        In a time budget the warm-up ends with `WARMUP_SHARE` of it, so a step of long duration
        counts as several; but it has `LEAST_WARMUP` steps, since a step that takes a minute
        because something is compiled is still one.
        """
        before, self.elapsed = self.progress, elapsed
        share = min((self.progress - before) / WARMUP_SHARE, 1 / LEAST_WARMUP)
        self.warmed += max(1.0, share * self.config.warmup_steps)

    def _bar(self) -> tqdm:
        done = int(1000 * self.progress)
        is_off = None if self.ranks.is_first else True
        return tqdm(total=1000, initial=done, unit="‰", disable=is_off, desc="training")

    @property
    def _is_validation_due(self) -> bool:
        """Whether it is time, and in a time budget whether that takes little of it.

        A step goes forward and back, which takes as long as three times forward.
        """
        since = self.crystals - self.validated * len(self.dataset)
        if since < self.config.validate_every * len(self.dataset):
            return False
        if self.config.minutes is None or self.validation is None:
            return True
        n = min(len(self.validation), self.config.validation_crystals or len(self.validation))
        forward = n * VALIDATION_TIMES * self.ranks.size  # the others wait
        return forward <= VALIDATION_SHARE * 3 * since

    def _validate(self) -> None:
        """Log the losses of the averaged model on the validation set, if there is one."""
        self.validated = self.epochs
        if self.validation is not None and self.ranks.is_first:
            n = self.config.validation_crystals
            self.log("validation", validate(self.average, self.validation, n_crystals=n))

    @property
    def epochs(self) -> float:
        """Crystals seen in units of the training set."""
        return self.crystals / len(self.dataset)

    def log(self, kind: str, values: dict[str, float]) -> None:
        """Append one JSON line, on the first rank."""
        if not self.ranks.is_first:
            return
        line = {
            "kind": kind,
            "step": self.step,
            "epoch": round(self.epochs, 4),
            "crystals": self.crystals,
            "skipped": self.skipped,
            "seconds": round(self.elapsed, 2),
            **{name: round(value, 6) for name, value in values.items()},
        }
        with (self.folder / LOG).open("a") as file:
            file.write(json.dumps(line) + "\n")

    # ---- checkpoints ----------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """Checkpoints of the folder, oldest first."""
        return sorted(self.folder.glob("step-*.safetensors"))

    def identity(self) -> dict[str, Any]:
        """What must agree for a checkpoint to be continued: model, run, data, kind of device."""
        run = {k: v for k, v in asdict(self.config).items() if k not in INCIDENTAL}
        place = {"data": self.dataset.digest, "device": self.device.type}
        # through JSON, so that a tuple equals the list it is stored as
        return json.loads(json.dumps({**asdict(self.model.config), **run, **place}))

    def save(self) -> Path:
        """Write a checkpoint in one step and keep the last two; on the first rank alone."""
        path = self.folder / f"step-{self.step:09d}.safetensors"
        if not self.ranks.is_first:
            return path
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                tensors[f"optimiser.{key}.{name}"] = torch.as_tensor(value)
        tensors["generator"] = self.generator.get_state()
        tensors["coin"] = self.coin.get_state()
        order = self.batches.state_dict()
        tensors["order"] = order.pop("generator")
        counters = {name: getattr(self, name) for name in COUNTERS}
        metadata = {
            "state": json.dumps(counters),
            "order": json.dumps(order),
            "run": json.dumps(self.identity()),
        }
        with whole_file(path) as part:
            save_file(
                {k: v.detach().cpu().contiguous() for k, v in tensors.items()}, part, metadata
            )
        for old in self.checkpoints()[:-2]:
            old.unlink()
        return path

    def _resume(self) -> None:
        """Continue from the newest checkpoint that is whole, if there is any; set others aside."""
        paths = self.checkpoints()
        for path in reversed(paths):
            try:
                self.load(path)
                break
            except DamagedCheckpointError as error:
                if path == paths[0]:
                    raise
                print(f"{error}; taking the one before it", file=sys.stderr)
                path.rename(path.with_suffix(".damaged"))
        if self.ranks.is_first:
            self._trim_log()

    def _trim_log(self) -> None:
        """Take out what a kill has cut off, and the steps that will be done again."""
        path = self.folder / LOG
        if path.is_file():
            lines = path.read_text().splitlines()
            kept = [line + "\n" for line in lines if _is_up_to(line, self.step)]
            write_whole(path, "".join(kept))

    def load(self, path: Path) -> None:
        """Continue exactly where a checkpoint was written.

        Raises:
            DamagedCheckpointError: if it cannot be read.
            ValueError: if it belongs to another run.
        """
        try:
            with safe_open(path, "pt") as file:
                metadata = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            run, state, order = (json.loads(metadata[name]) for name in ("run", "state", "order"))
        except (OSError, SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise DamagedCheckpointError(
                f"checkpoint {str(path)!r} is unreadable: {error}"
            ) from error
        # a setting that came later had its default
        known = {field.name: field.default for field in fields(ModelConfig)}
        run = {**{k: v for k, v in known.items() if v is not MISSING}, **run}
        if different := differences(run, self.identity()):
            raise ValueError(f"{str(path)!r} belongs to another run: {', '.join(different)}")
        for name, value in state.items():
            setattr(self, name, value)
        self.generator.set_state(tensors["generator"])
        self.coin.set_state(tensors["coin"])
        self.batches.load_state_dict({**order, "generator": tensors["order"]})
        for module, prefix in ((self.model, "model."), (self.average, "average.")):
            module.load_state_dict(
                {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            )
        for name, parameter in self.model.named_parameters():
            for key in ("step", "exp_avg", "exp_avg_sq"):
                value = tensors.get(f"optimiser.{key}.{name}")
                if value is not None:
                    self.optimiser.state[parameter][key] = value.to(self.device)


@torch.no_grad()
def validate(
    model: SymmBFN,
    dataset: EncodedDataset,
    *,
    n_times: int = VALIDATION_TIMES,
    batch_size: int = 256,
    seed: int = 0,
    n_crystals: int | None = None,
) -> dict[str, float]:
    """Losses at fixed times with fixed noise, float32, without self-conditioning.

    Args:
        model: in evaluation mode.
        dataset: real crystals.
        n_times: midpoints of this many equal parts of (0, 1).
        batch_size: most crystals in a batch.
        seed: of the noise.
        n_crystals: only the first so many; None for all.

    Returns:
        Per variable the mean nats per crystal over the times (the variational bound but for the
        reconstruction term), their sum `bound`, the cross-entropies `ce_*` and `coords_late`,
        the mean squared v-error of Euclidean coordinates at t > 0.8 per component (with few times
        there is none).
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    batches = BucketedBatches(
        dataset.n_sites[:n_crystals].cpu(),
        dataset.space_group_number[:n_crystals].cpu(),
        batch_size=batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    sums: dict[str, Tensor] = {}
    late = components = torch.zeros((), dtype=torch.double, device=device)
    schedule = model.numbers["coords"].schedule
    for _ in range(len(batches)):
        index = next(batches)
        data, given = model.encode(dataset.batch(index).to(device))
        for time_ in ((i + 0.5) / n_times for i in range(n_times)):
            t = torch.full((len(index),), time_, device=device)
            noise = draw_noise(model, given, generator, device)
            estimates = model(model.flow(data, given, t, noise), given, t)
            nats, cross_entropy = model.losses(data, estimates, given, t)
            for name, value in cross_entropy.items():
                nats[f"ce_{name}"] = value
            for name, value in nats.items():
                sums[name] = sums.get(name, 0.0) + value.double().sum()
            if time_ > 0.8 and isinstance(schedule, ContinuousSchedule):
                late = late + nats["coords"].double().sum() / -math.log(schedule.sigma1)
                components = components + 3 * given.is_site.sum()
    n = len(batches.n_sites) * n_times
    means = {name: value.item() / n for name, value in sums.items()}
    means["bound"] = sum(v for k, v in means.items() if not k.startswith("ce_"))
    if components:
        means["coords_late"] = (late / components).item()
    return means


def _means(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the steps that had an effect; none where there was no such step."""
    table = torch.stack([torch.stack(list(row.values())) for row in rows]).double().cpu()
    taken = table[table.isfinite().all(-1)]
    return dict(zip(rows[0], taken.mean(0).tolist(), strict=True)) if len(taken) else {}


def _is_up_to(line: str, step: int) -> bool:
    """Whether a line of the log is whole and belongs to no later step; its head has none."""
    try:
        return json.loads(line).get("step", 0) <= step
    except json.JSONDecodeError:
        return False


@contextmanager
def _stop_on_signal() -> Iterator[list[int]]:
    """A list that SIGINT and SIGTERM fill, so that the running step can finish first."""
    received: list[int] = []
    old = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, lambda signum, frame: received.append(signum))
    except ValueError:  # not the main thread: signals stay with their owner
        pass
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
