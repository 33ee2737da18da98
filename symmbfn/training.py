"""Training: one loop for every preset, CPU or GPU, that can be stopped and resumed exactly."""

import copy
import json
import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from tqdm import tqdm

from symmbfn._files import whole_file, write_whole
from symmbfn._shapes import Float, Int, Tensor
from symmbfn.datasets.batches import BucketedBatches
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.manifests import differences
from symmbfn.model import Given, SymmBFN, Variables

MAX_NON_FINITE = 10
LOG = "log.jsonl"
LOG_EVERY = 100  # steps
# what a run reports and how often, not what comes out of it
INCIDENTAL = ("validate_every", "save_every", "validation_crystals")
COUNTERS = ("step", "crystals", "skipped", "non_finite", "elapsed", "validated")


class DamagedCheckpointError(ValueError):
    """A checkpoint cannot be read; the one before it may be whole."""


@dataclass(frozen=True)
class TrainingConfig:
    """One training run.

    Attributes:
        epochs: passes over the training set, if `minutes` is not given.
        minutes: time budget with all validations but the last; the learning-rate schedule then
            follows the clock.
        batch_size: crystals a step, within one size bucket.
        learning_rate: peak of AdamW.
        weight_decay: on matrices only.
        warmup_steps: linear rise of the learning rate.
        decay_fraction: last share of the run, in which it falls linearly to zero.
        clip: largest gradient norm.
        ema_decay: of the averaged weights, which are the ones to sample with.
        dtype: "float32" or "bf16" (autocast, float32 master weights).
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
    seed: int = 0
    validate_every: float = 5.0
    save_every: float = 5.0
    validation_crystals: int | None = 2048

    def __post_init__(self):
        if self.dtype not in ("float32", "bf16"):
            raise ValueError(f"dtype must be 'float32' or 'bf16', got {self.dtype!r}")
        for name in ("epochs", "batch_size", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes must be positive, got {self.minutes}")


def learning_rate_factor(step: int, progress: float, config: TrainingConfig) -> float:
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
    """Standard normal noise in the shape of every variable's beliefs."""

    def normal(name: str) -> Tensor:
        return torch.randn(model.shape(name, given), generator=generator, device=device)

    return Variables(
        {name: normal(name) for name in model.continuous},
        {name: normal(name) for name in model.categorical},
    )


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """bf16 autocast where asked for; the flows and losses stay in float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16")


class Trainer:
    """State of one run: model, averaged weights, optimiser, generators, position in the data.

    Args:
        model: the model to train, on its device.
        dataset: the training set.
        validation: crystals for the validation losses, or None.
        config: the run.
        folder: for `log.jsonl` and checkpoints; resumed from if it holds one.

    Attributes:
        step, crystals, skipped: optimiser steps so far, those without effect included; crystals
            they saw; steps without effect, since a loss or a gradient was not finite.
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
    ):
        self.device = next(model.parameters()).device
        self.model, self.config, self.folder = model, config, Path(folder)
        self.dataset, self.validation = dataset, validation
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        matrices = [p for p in model.parameters() if p.ndim > 1]
        others = [p for p in model.parameters() if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            foreach=True,
        )
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.coin = torch.Generator().manual_seed(config.seed)
        self.step = self.crystals = self.skipped = self.non_finite = 0
        self.elapsed = self.validated = 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        self.batches = BucketedBatches(
            dataset.n_sites,
            dataset.space_group_number,
            batch_size=config.batch_size,
            generator=torch.Generator().manual_seed(config.seed),
        )
        self._resume()

    # ---- one step -------------------------------------------------------------------------

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        if self.config.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.config.minutes))
        return min(1.0, self.crystals / (self.config.epochs * len(self.dataset)))

    def train_step(self, index: Int[Tensor, "B"]) -> dict[str, float]:
        """One optimiser step; returns mean nats by variable, gradient norm and loss."""
        model, config = self.model, self.config
        data, given = model.encode(self.dataset.batch(index).to(self.device))
        t = stratified_times(len(index), model.config.min_t, self.generator, self.device)
        noise = draw_noise(model, given, self.generator, self.device)
        beliefs = model.flow(data, given, t, noise)
        has_previous = model.config.has_self_conditioning and (
            torch.rand((), generator=self.coin).item() < 0.5
        )
        with autocast(self.device, config.dtype):
            previous = None
            if has_previous:
                with torch.no_grad():
                    previous = model(beliefs, given, t)
            estimates = model(beliefs, given, t, previous)
        nats, cross_entropy = model.losses(data, estimates, given, t)
        loss = model.training_loss(nats, cross_entropy, given).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(model.parameters(), config.clip)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            self.skipped += 1
            self.non_finite += 1
            if self.non_finite >= MAX_NON_FINITE:
                raise FloatingPointError(
                    f"{self.non_finite} non-finite losses in a row at step {self.step}"
                )
        else:
            self.non_finite = 0
            factor = learning_rate_factor(self.step, self.progress, config)
            for group in self.optimiser.param_groups:
                group["lr"] = config.learning_rate * factor
            self.optimiser.step()
            decay = min(config.ema_decay, (1 + self.step) / (10 + self.step))
            with torch.no_grad():
                torch._foreach_lerp_(
                    list(self.average.parameters()), list(model.parameters()), 1 - decay
                )
        self.step += 1
        self.crystals += len(index)
        values = {name: value.mean().item() for name, value in nats.items()}
        return {"loss": loss.item(), "gradient": norm.item(), **values}

    # ---- the run --------------------------------------------------------------------------

    def run(self) -> SymmBFN:
        """Train to the end of the budget, or to a signal; returns the averaged model."""
        recent: list[dict[str, float]] = []
        saved = time.monotonic()
        began = saved - self.elapsed
        with _stop_on_signal() as stopped, self._bar() as bar:
            while self.progress < 1:
                recent.append(self.train_step(next(self.batches)))
                self.elapsed = time.monotonic() - began
                bar.update(int(1000 * self.progress) - bar.n)
                if self.step % LOG_EVERY == 0:
                    self.log("train", _means(recent))
                    recent.clear()
                if stopped:
                    self.save()
                    raise KeyboardInterrupt(f"stopped at step {self.step}; the same call resumes")
                if self.epochs - self.validated >= self.config.validate_every:
                    self._validate()
                if time.monotonic() - saved > 60 * self.config.save_every:
                    self.save()
                    saved = time.monotonic()
                self.elapsed = time.monotonic() - began
            if recent:
                self.log("train", _means(recent))
            if self.validated < self.epochs:
                self._validate()
            self.elapsed = time.monotonic() - began
        self.save()
        return self.average

    def _bar(self) -> tqdm:
        done = int(1000 * self.progress)
        return tqdm(total=1000, initial=done, unit="‰", disable=None, desc="training")

    def _validate(self) -> None:
        """Log the losses of the averaged model on the validation set, if there is one."""
        self.validated = self.epochs
        if self.validation is not None:
            n = self.config.validation_crystals
            self.log("validation", validate(self.average, self.validation, n_crystals=n))

    @property
    def epochs(self) -> float:
        """Crystals seen in units of the training set."""
        return self.crystals / len(self.dataset)

    def log(self, kind: str, values: dict[str, float]) -> None:
        """Append one JSON line."""
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
        """Write a checkpoint in one step and keep the last two."""
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
        path = self.folder / f"step-{self.step:09d}.safetensors"
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
                    moved = value if key == "step" else value.to(self.device)
                    self.optimiser.state[parameter][key] = moved


@torch.no_grad()
def validate(
    model: SymmBFN,
    dataset: EncodedDataset,
    *,
    n_times: int = 8,
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
        the mean squared v-error of the coordinates at t > 0.8 per component (with few times there
        is none).
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    batches = BucketedBatches(
        dataset.n_sites[:n_crystals],
        dataset.space_group_number[:n_crystals],
        batch_size=batch_size,
        generator=torch.Generator().manual_seed(seed),
    )
    times = (torch.arange(n_times, device=device) + 0.5) / n_times
    sums: dict[str, float] = {}
    late = components = 0.0
    for _ in range(len(batches)):
        index = next(batches)
        data, given = model.encode(dataset.batch(index).to(device))
        for time_ in times:
            t = torch.full((len(index),), float(time_), device=device)
            noise = draw_noise(model, given, generator, device)
            estimates = model(model.flow(data, given, t, noise), given, t)
            nats, cross_entropy = model.losses(data, estimates, given, t)
            for name, value in nats.items():
                sums[name] = sums.get(name, 0.0) + value.sum().item()
            for name, value in cross_entropy.items():
                sums[f"ce_{name}"] = sums.get(f"ce_{name}", 0.0) + value.sum().item()
            if time_ > 0.8:
                growth = -math.log(model.schedules["coords"].sigma1)
                late += nats["coords"].sum().item() / growth
                components += 3 * given.is_site.sum().item()
    n = len(batches.n_sites) * n_times
    means = {name: value / n for name, value in sums.items()}
    means["bound"] = sum(v for k, v in means.items() if not k.startswith("ce_"))
    if components:
        means["coords_late"] = late / components
    return means


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Means over the steps that had an effect; none where there was no such step."""
    taken = [row for row in rows if all(map(math.isfinite, row.values()))]
    return {name: sum(row[name] for row in taken) / len(taken) for name in rows[0] if taken}


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
