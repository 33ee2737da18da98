"""Where a run reports to: lines of JSON, the console, TensorBoard."""

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from symmbfn._shapes import Tensor
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.progress import progress
from symmbfn.training.config import ReportingConfig

LOG = "log.jsonl"


class LogSink(ABC):
    """One place that a run reports to."""

    def advance(self, progress: float) -> None:  # noqa: B027 - for most sinks there is nothing to do
        """Note how much of the run is done, in [0, 1]; after every step."""

    @abstractmethod
    def write(self, kind: str, state: dict[str, int | float], values: dict[str, float]) -> None:
        """Report losses.

        Args:
            kind: "train" or "validation".
            state: of the run: step, epoch, crystals, skipped steps, seconds.
            values: losses by name.
        """

    def close(self) -> None:  # noqa: B027
        """Nothing more is reported."""


class JsonLines(LogSink):
    """A file with one JSON object a line."""

    def __init__(self, path: Path):
        self.path = path

    def write(self, kind: str, state: dict[str, int | float], values: dict[str, float]) -> None:
        """Append a line."""
        rounded = {name: round(value, 6) for name, value in values.items()}
        with self.path.open("a") as file:
            file.write(json.dumps({"kind": kind, **state, **rounded}) + "\n")


class Console(LogSink):
    """A bar on a terminal; elsewhere at most a line a minute.

    Args:
        done: share of the run that was done before, in [0, 1].
    """

    def __init__(self, done: float):
        self.bar = progress(label="training", total=1000, done=int(1000 * done), unit="‰")

    def advance(self, progress: float) -> None:
        """Move the bar."""
        self.bar.update(int(1000 * progress) - self.bar.n)

    def write(self, kind: str, state: dict[str, int | float], values: dict[str, float]) -> None:
        """Show losses of the training beside the bar, or in the next line."""
        if kind == "train":
            loss = f", loss {values['loss']:.4g}" if "loss" in values else ""
            skipped = f", {state['skipped']} steps without effect" if state["skipped"] else ""
            news = f"at step {state['step']}, epoch {state['epoch']:g}{loss}{skipped}"
            self.bar.set_postfix_str(news, refresh=False)

    def close(self) -> None:
        """Leave the bar as it is."""
        self.bar.close()


class TensorBoard(LogSink):
    """TensorBoard's files.

    Args:
        folder: for the files.
        step: of the run; what a killed process wrote of later ones is not shown.

    Raises:
        ValueError: TensorBoard is not installed.
    """

    def __init__(self, folder: Path, step: int):
        self.writer = tensorboard_writer()(str(folder), purge_step=step + 1)

    def write(self, kind: str, state: dict[str, int | float], values: dict[str, float]) -> None:
        """Add a point to the curve of each value."""
        for name, value in values.items():
            self.writer.add_scalar(f"{kind}/{name}", value, state["step"])

    def close(self) -> None:
        """Write what is not on the disk yet."""
        self.writer.close()


class Logs:
    """Several sinks as one; a context that closes them."""

    def __init__(self, sinks: Sequence[LogSink]):
        self.sinks = sinks

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *_: object) -> None:
        for sink in self.sinks:
            sink.close()

    def advance(self, progress: float) -> None:
        """Note how much of the run is done, in [0, 1]."""
        for sink in self.sinks:
            sink.advance(progress)

    def write(self, kind: str, state: dict[str, int | float], values: dict[str, float]) -> None:
        """Report losses to all; arguments as in `LogSink.write`."""
        for sink in self.sinks:
            sink.write(kind, state, values)


def open_logs(folder: Path, reporting: ReportingConfig, step: int, done: float) -> Logs:
    """The sinks of a run that goes on from this step, with this share of it done."""
    sinks: list[LogSink] = [JsonLines(folder / LOG), Console(done)]
    if reporting.has_tensorboard:
        sinks.append(TensorBoard(folder / "tensorboard", step))
    return Logs(sinks)


def mean_values(rows: list[dict[str, Tensor]]) -> dict[str, float]:
    """Means over the steps that had an effect; none where there was no such step.

    Args:
        rows: for each step the same values by name, each of shape ().
    """
    table = torch.stack([torch.stack(list(row.values())) for row in rows]).double().cpu()
    taken = table[table.isfinite().all(-1)]
    return dict(zip(rows[0], taken.mean(0).tolist(), strict=True)) if len(taken) else {}


def tensorboard_writer() -> type:
    """TensorBoard's own writer.

    Raises:
        ValueError: it is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ValueError("tensorboard is not installed: pip install symmbfn[tensorboard]") from None
    return SummaryWriter


def start_log(folder: Path, facts: dict[str, Any]) -> None:
    """Begin the log with a line of kind "start", which says what the others belong to."""
    write_whole(folder / LOG, json.dumps({"kind": "start", **facts}) + "\n")


def read_log(folder: Path, kind: str) -> list[dict[str, Any]]:
    """The lines of one kind."""
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def trim_log(folder: Path, step: int) -> None:
    """Remove a line that a kill has cut off, and those of later steps, which are done again."""
    path = folder / LOG
    if path.is_file():
        lines = path.read_text().splitlines()
        write_whole(path, "".join(line + "\n" for line in lines if _is_up_to(line, step)))


def _is_up_to(line: str, step: int) -> bool:
    """Whether a line of the log is whole and belongs to no later step; its head has none."""
    try:
        return json.loads(line).get("step", 0) <= step
    except json.JSONDecodeError:
        return False
