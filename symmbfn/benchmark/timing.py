"""Times of code that is compared: in turns, in one process, on batches of real sizes."""

import ctypes
import gc
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.generation.batching import size_batches
from symmbfn.model.symmbfn import SymmBFN

DRAWN = 20_000  # crystals, so that hardly a batch is left half empty
LEAST_BATCHES = 8
KIB = 1024


@dataclass(frozen=True)
class Sizes:
    """How often each (space group, sites, elements) occurs in a data set.

    Attributes:
        conditions: space group, number of sites, number of elements, shape (R, 3).
        count: how many crystals have them, shape (R,).
    """

    conditions: Int[Tensor, "R 3"]
    count: Int[Tensor, "R"]

    def draw(self, n: int, seed: int = 0) -> Int[Tensor, "n 3"]:
        """Conditions of n crystals, drawn by frequency."""
        generator = torch.Generator().manual_seed(seed)
        rows = torch.multinomial(self.count.double(), n, replacement=True, generator=generator)
        return self.conditions[rows]


def sizes_of(dataset: EncodedDataset, n_slots: int) -> Sizes:
    """Sizes of encoded crystals; more elements than a model has slots count as so many."""
    crystal = torch.arange(len(dataset)).repeat_interleave(dataset.n_sites)
    pairs = torch.stack([crystal, dataset.atomic_numbers.long()]).unique(dim=1)
    n_elements = torch.bincount(pairs[0], minlength=len(dataset)).clamp_max(n_slots)
    rows = torch.stack([dataset.space_group_number.long(), dataset.n_sites, n_elements], dim=-1)
    return Sizes(*rows.unique(dim=0, return_counts=True))


def drawn_batches(
    sizes: Sizes, n: int, *, batch_size: int = 128, seed: int = 0
) -> list[Int[Tensor, "_ 3"]]:
    """Conditions of about n crystals, in batches as the sampler forms them for a large request.

    Many more are drawn and sorted into batches. Of these, evenly spaced ones in order of size
    are taken, so that batches are full and small and large crystals have their shares; where n
    is less than a few batches each is cut.
    """
    conditions = sizes.draw(max(n, DRAWN), seed)
    order = sorted(
        size_batches(conditions, batch_size),
        key=lambda rows: conditions[rows, 1].double().mean().item(),
    )
    n_batches = min(len(order), max(LEAST_BATCHES, round(n * len(order) / len(conditions))))
    chosen = [order[int((i + 0.5) * len(order) / n_batches)] for i in range(n_batches)]
    share = min(1.0, n / sum(map(len, chosen)))
    cut = [rows[: math.ceil(share * len(rows))] for rows in chosen]
    return [conditions[rows] for rows in cut]


def crystals_of(conditions: Int[Tensor, "n 3"], model: SymmBFN) -> EncodedDataset:
    """Crystals with nothing but their sizes in common with real ones: to time training on.

    Args:
        conditions: space group, number of sites, number of elements.
        model: its elements and its mean lattice are used.
    """
    generator = torch.Generator().manual_seed(0)
    groups, n_sites, n_elements = conditions.unbind(-1)
    start = torch.cat([n_sites.new_zeros(1), n_sites.cumsum(0)])
    place = torch.arange(int(start[-1])) - start[:-1].repeat_interleave(n_sites)
    element = place % n_elements.minimum(n_sites).repeat_interleave(n_sites)
    coords = torch.rand(len(place), 3, generator=generator) + CHART_END - 1
    return EncodedDataset(
        space_group_number=groups.short(),
        site_start=start.int(),
        lattice_k=model.statistics.lattice_mean.double().expand(len(conditions), 6).clone(),
        atomic_numbers=torch.tensor(model.config.elements)[element].short(),
        wyckoff_positions=torch.zeros(len(place), dtype=torch.int8),
        fractional_coords=coords,
        properties=torch.zeros(len(conditions), 0),
        digest=f"sizes of {len(conditions)} crystals",
    )


def now(device: torch.device) -> float:
    """Seconds: of this process on the CPU, of the clock on a GPU that has finished its work."""
    if device.type == "cpu":
        return time.process_time()
    torch.cuda.synchronize(device)
    return time.perf_counter()


def alternate(
    actions: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device
) -> dict[str, list[float]]:
    """Run all in turns, again and again: whatever slows the machine down meets each of them.

    Args:
        actions: what is timed, by name; each should have run before.
        rounds: how often each runs.
        device: where they run.

    Returns:
        Seconds of each run, see `now`.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for _ in range(rounds):
        for name, action in actions.items():
            gc.collect()
            begin = now(device)
            action()
            seconds[name].append(now(device) - begin)
    return seconds


def ratio(slow: list[float], fast: list[float]) -> tuple[float, tuple[float, float]]:
    """How many times faster: median over the rounds of an alternation, lowest and highest."""
    each = [a / b for a, b in zip(slow, fast, strict=True)]
    return median(each), (min(each), max(each))


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch, so that process time is what the work takes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_mib(action: Callable[[], Any], device: torch.device) -> float | None:
    """Memory that an action needs at most beyond what was held before, in MiB.

    Allocated memory on a GPU, resident memory on the CPU; None where the system does not tell.
    """
    gc.collect()
    if device.type == "cuda":
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        action()
        return (torch.cuda.max_memory_allocated(device) - before) / KIB**2
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what was freed goes back, and is needed anew
    try:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts from here
        before = _status_kib("VmRSS")
        action()
        return (_status_kib("VmHWM") - before) / KIB
    except (OSError, KeyError):
        return None


def _status_kib(name: str) -> int:
    lines = Path(f"/proc/{os.getpid()}/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[name].split()[0])
