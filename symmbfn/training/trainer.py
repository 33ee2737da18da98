"""The training loop, for every preset and device, on one rank or several, resumed exactly."""

import time
from pathlib import Path
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.datasets.batches import BucketedBatches
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.compilation import compiled, mapped, onednn_products
from symmbfn.runtime.devices import autocast
from symmbfn.runtime.distributed import Ranks
from symmbfn.runtime.signals import noted_signals
from symmbfn.training.budget import is_validation_affordable, warmup_advance
from symmbfn.training.checkpoint import (
    Checkpoint,
    check_identity,
    checkpoints_in,
    newest_checkpoint,
    read_checkpoint,
    run_identity,
    write_checkpoint,
)
from symmbfn.training.config import TrainingConfig
from symmbfn.training.draws import BatchDraws
from symmbfn.training.logs import Logs, mean_values, open_logs, trim_log
from symmbfn.training.steps import batch_loss, learning_rate_factor
from symmbfn.training.updates import Updates
from symmbfn.training.validation import VALIDATION_TIMES, validate

MAX_NON_FINITE = 10  # steps without effect in a row
LOG_EVERY = 100  # steps
COUNTERS = ("step", "crystals", "warmed", "elapsed", "validated")


class Trainer:
    """One run: the loop, and its position in data, schedule and time.

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
        n_extra: how many of the last crystals of the training set are extra ones, which are always
            conditioned on their energy above the hull.

    Attributes:
        updates: the weights, their average and the optimiser.
        batches: the order of the data.
        draws: what is drawn for each batch.
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
        n_extra: int = 0,
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
        self.dataset = dataset.to(self.device)
        self.validation = validation.to(self.device) if validation else None
        self.names = ("loss", *model.continuous, *model.categorical)
        self.updates = Updates(model, config.optimiser, len(self.names))
        self.draws = BatchDraws(model, self.dataset, config, n_extra)
        self.loss = lambda *batch: batch_loss(model, *batch)
        if config.is_compiled:
            self.loss = compiled(self.loss, self.device)
        self.logs = Logs([])
        self.step = self.crystals = 0
        self.warmed = self.elapsed = self.validated = 0.0
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.ranks.first_alone():
            if newest := newest_checkpoint(self.folder):
                self._continue_from(*newest)
            if self.ranks.is_first:
                trim_log(self.folder, self.step)

    @property
    def average(self) -> SymmBFN:
        """The model with averaged weights, which is the one to sample with."""
        return self.updates.average

    @property
    def skipped(self) -> int:
        """Steps without effect, since a loss or a gradient was not finite; waits for a GPU."""
        return self.updates.skipped

    @property
    def progress(self) -> float:
        """Share of the run that is done, in [0, 1]."""
        if self.config.minutes is not None:
            return min(1.0, self.elapsed / (60 * self.config.minutes))
        return min(1.0, self.crystals / (self.config.epochs * len(self.dataset)))

    @property
    def epochs(self) -> float:
        """Crystals seen in units of the training set."""
        return self.crystals / len(self.dataset)

    def train_step(self, index: Int[Tensor, "B"]) -> dict[str, Float[Tensor, ""]]:
        """One optimiser step on a batch, without effect where it is not finite.

        On a GPU nothing here waits for it: `MAX_NON_FINITE` such steps in a row are noticed when
        the log is written, up to `LOG_EVERY` steps late.

        Args:
            index: crystals of the batch, shape (B,), on the host.

        Returns:
            Mean loss, gradient norm and mean nats by variable, on the device.

        Raises:
            FloatingPointError: too many steps in a row had no effect.
        """
        updates = self.updates
        updates.sums.zero_()
        batch, has_previous = self.draws.batch(index)
        self._add_gradients(batch, has_previous, len(index))
        self.ranks.add_(updates.sums)
        step = self.step if self.config.minutes is None else self.warmed
        factor = learning_rate_factor(step, self.progress, self.config.optimiser)
        norm = updates.apply(self.step, factor)
        if self.device.type == "cpu" or (self.step + 1) % LOG_EVERY == 0:
            self._check_finite()
        self.step += 1
        self.crystals += len(index)
        values = dict(zip(self.names, updates.values.clone(), strict=True))
        return {"loss": values.pop("loss"), "gradient": norm, **values}

    def _add_gradients(self, batch: list[Any], has_previous: bool, n: int) -> None:
        """Add this rank's part of the gradients and values, as means over all n crystals."""
        mine = self.ranks.share
        if not len(range(n)[mine]):
            return
        part = mapped(lambda tensor: tensor[mine], batch)
        with onednn_products(self.device):
            with autocast(self.device, self.config.dtype):
                losses, nats = self.loss(*part, has_previous)
            (losses.sum() / n).backward()
        rows = torch.stack([losses, *(nats[name] for name in self.names[1:])])
        self.updates.values.copy_(rows.detach().sum(-1) / n)

    def _check_finite(self) -> None:
        """Raise FloatingPointError if too many steps in a row had no effect."""
        if (n := self.updates.skipped_in_a_row) >= MAX_NON_FINITE:
            raise FloatingPointError(f"{n} non-finite losses in a row at step {self.step}")

    def run(self) -> SymmBFN:
        """Train to the end of the budget, or to a signal.

        Returns:
            The averaged model.

        Raises:
            FloatingPointError: too many steps in a row, or all steps, had no effect.
            KeyboardInterrupt: after a signal, when the state is on the disk.
        """
        recent: list[dict[str, Tensor]] = []
        reporting, warmup_steps = self.config.reporting, self.config.optimiser.warmup_steps
        if self.ranks.is_first:
            self.logs = open_logs(self.folder, reporting, self.step, self.progress)
        saved = time.monotonic()
        began = saved - self.elapsed
        with noted_signals() as signals, self.logs:
            while self.progress < 1:
                recent.append(self.train_step(next(self.batches)))
                now = time.monotonic()
                # the same on all ranks, which part ways nowhere below
                elapsed, since_saved, n_signals = self.ranks.largest(
                    now - began, now - saved, len(signals)
                )
                before, self.elapsed = self.progress, elapsed
                self.warmed += warmup_advance(self.progress - before, warmup_steps)
                self.logs.advance(self.progress)
                if self.step % LOG_EVERY == 0:
                    self._report_means(recent)
                if n_signals:
                    self.save()
                    self.ranks.wait()
                    raise KeyboardInterrupt(f"stopped at step {self.step}; the same call resumes")
                if self._is_validation_due:
                    self._validate()
                if since_saved > 60 * reporting.save_every:
                    self._check_finite()
                    self.save()
                    saved = time.monotonic()
                (self.elapsed,) = self.ranks.largest(time.monotonic() - began)
            self._report_means(recent)
            self._check_some_effect()
            if self.validated < self.epochs:
                self._validate()
            (self.elapsed,) = self.ranks.largest(time.monotonic() - began)
        self.save()
        self.ranks.wait()
        return self.average

    def _check_some_effect(self) -> None:
        """Raise FloatingPointError if no step of the run had an effect."""
        if self.step and self.skipped == self.step:
            raise FloatingPointError(
                f"no weights: the loss or its gradient was not finite in all {self.step} steps"
            )

    @property
    def _is_validation_due(self) -> bool:
        """Whether it is time, and in a time budget whether that takes little of it."""
        reporting = self.config.reporting
        since = self.crystals - self.validated * len(self.dataset)
        if since < reporting.validate_every * len(self.dataset):
            return False
        if self.config.minutes is None or self.validation is None:
            return True
        n = min(len(self.validation), reporting.validation_crystals or len(self.validation))
        # the other ranks wait
        return is_validation_affordable(n * VALIDATION_TIMES * self.ranks.size, since)

    def _validate(self) -> None:
        """Report the losses of the averaged model on the validation set, if there is one."""
        self.validated = self.epochs
        if self.validation is not None and self.ranks.is_first:
            n = self.config.reporting.validation_crystals
            self._report("validation", validate(self.average, self.validation, n_crystals=n))

    def _report(self, kind: str, values: dict[str, float]) -> None:
        state = {
            "step": self.step,
            "epoch": round(self.epochs, 4),
            "crystals": self.crystals,
            "skipped": self.skipped,
            "seconds": round(self.elapsed, 2),
        }
        self.logs.write(kind, state, values)

    def _report_means(self, recent: list[dict[str, Tensor]]) -> None:
        """Report the means over the steps since the last report, and forget these steps."""
        if recent:
            self._report("train", mean_values(recent))
            recent.clear()

    def checkpoints(self) -> list[Path]:
        """Checkpoints of the folder, oldest first."""
        return checkpoints_in(self.folder)

    def save(self) -> None:
        """Write a checkpoint and keep the last two; on the first rank alone."""
        if not self.ranks.is_first:
            return
        order = self.batches.state_dict()
        tensors = {
            **self.updates.state_dict(),
            **self.draws.state_dict(),
            "order": order.pop("generator"),
        }
        counters = {name: getattr(self, name) for name in COUNTERS}
        write_checkpoint(self.folder, Checkpoint(tensors, counters, order, self._identity()))

    def load(self, path: Path) -> None:
        """Continue exactly where a checkpoint was written.

        Raises:
            DamagedCheckpointError: if it cannot be read.
            ValueError: if it belongs to another run.
        """
        self._continue_from(path, read_checkpoint(path))

    def _continue_from(self, path: Path, checkpoint: Checkpoint) -> None:
        check_identity(checkpoint, self._identity(), path)
        for name in COUNTERS:
            setattr(self, name, checkpoint.counters[name])
        tensors = checkpoint.tensors
        self.updates.load_state_dict(tensors)
        self.draws.load_state_dict(tensors)
        self.batches.load_state_dict({**checkpoint.order, "generator": tensors["order"]})

    def _identity(self) -> dict[str, Any]:
        return run_identity(self.model.config, self.config, self.dataset.digest, self.device)
