"""The processes of one training: which of them this one is, and what they exchange."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from symmbfn._shapes import Float, Tensor

# the first rank encodes and validates alone; should one die, torchrun ends the others at once
PATIENCE = timedelta(days=1)


@dataclass(frozen=True)
class Ranks:
    """One of the processes that train a model together; by default the only one.

    Attributes:
        rank: number of this process, from 0.
        size: number of processes.
    """

    rank: int = 0
    size: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process speaks and writes for all."""
        return self.rank == 0

    @property
    def share(self) -> slice:
        """Rows of a batch that are this rank's; none where the batch has too few."""
        return slice(self.rank, None, self.size)

    def add_(self, values: Float[Tensor, "n"]) -> None:
        """Put the sum over all ranks in place of the values, the same bits on every rank."""
        if self.size > 1:
            distributed.all_reduce(values)

    def largest(self, *values: float | int) -> list[float]:
        """The largest of each value over all ranks, so that all decide the same; waits for all.

        The numbers go from host to host: no GPU is waited for.
        """
        if self.size == 1:
            return [float(value) for value in values]
        shared = torch.tensor(values, dtype=torch.float64)
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return shared.tolist()

    def wait(self) -> None:
        """Go on when all ranks are here."""
        self.largest(0.0)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Let the first rank through before the others, who find on the disk what it has left.

        Raises:
            RuntimeError: on the others, if the first rank did not come through.
        """
        if not self.is_first and self.largest(0.0) != [0.0]:
            raise RuntimeError(f"rank {self.rank} ends with the first rank")
        has_failed = True
        try:
            yield
            has_failed = False
        finally:
            if self.is_first:
                self.largest(float(has_failed))


def is_first_process() -> bool:
    """Whether this is the process that speaks, also outside of `joined`."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Ranks, torch.device]]:
    """Join the processes that `torchrun` has started; alone without it.

    Gloo on the CPU, NCCL between GPUs, each rank on the GPU of its LOCAL_RANK. What ranks but
    the first print is not shown.

    Args:
        device: of the run; without a number for CUDA.

    Yields:
        This process's place, and its device.

    Raises:
        ValueError: fewer GPUs than ranks.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Ranks(), device
        return
    backend = "gloo"
    if device.type == "cuda":
        number = int(os.environ["LOCAL_RANK"])
        if number >= torch.cuda.device_count():
            raise ValueError(f"rank {number} has no GPU: there are {torch.cuda.device_count()}")
        device, backend = torch.device("cuda", number), "cpu:gloo,cuda:nccl"
        torch.cuda.set_device(device)
    distributed.init_process_group(backend, timeout=PATIENCE)
    ranks = Ranks(distributed.get_rank(), size)
    try:
        with redirect_stdout(sys.stdout if ranks.is_first else None):
            yield ranks, device
    finally:
        distributed.destroy_process_group()
