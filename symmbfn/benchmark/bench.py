"""How fast the engine is, and beside what: `symmbfn benchmark`.

Every comparison runs in turns in one process, on one thread of the CPU and charged by process
time, or on a GPU that is waited for. The baselines are the same models in PyTorch Geometric.
"""

import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from functools import cache
from statistics import median
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.benchmark.timing import Sizes, alternate, crystals_of, drawn_batches, ratio, sizes_of
from symmbfn.claims.store import Claim
from symmbfn.datasets.batches import BucketedBatches
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import dataset_splits
from symmbfn.generation.generate import model_conditions
from symmbfn.generation.sampler import Predictor, predictor, preset_sampler, sample
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import paper_config
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.networks.cspnet_pyg import with_pyg_network
from symmbfn.runtime.compilation import onednn_products, torch_defaults
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.trainer import Trainer

AIMS = {"mp_20": 4.0, "mpts_52": 6.0}
TRAINING_ROWS = {"mp_20": 128, "mpts_52": 32}  # crystals a step; large ones need the memory
# claim -> which run is compared with which
SPEEDUPS = {
    "": ("published_layers", "ours"),
    "same_function": ("same_function", "ours"),
    "as_published": ("as_published", "ours"),
    "with_onednn": ("published_layers-onednn", "ours"),
    "same_function_with_onednn": ("same_function-onednn", "ours"),
    "uncompiled": ("published_layers", "ours-uncompiled"),
    "bf16": ("published_layers-bf16", "ours-bf16"),
}


@dataclass(frozen=True)
class Bench:
    """What is measured, where and how long.

    Attributes:
        command: makes the figures again.
        device: where everything runs.
        dtypes: "float32" and "bf16", or one of them.
        is_quick: a minute in place of many: few crystals, MP-20's sizes only, nothing compiled.
        prefix: of the claims' names, such as "gpu.".
        weights: the model.
    """

    command: str = field(compare=False)
    device: torch.device = torch.device("cpu")
    dtypes: tuple[str, ...] = ("float32", "bf16")
    is_quick: bool = False
    prefix: str = ""
    weights: str = "default"

    @property
    def n(self) -> int:
        """Crystals of one run, about."""
        return 48 if self.is_quick else 1024 if self.device.type == "cpu" else 10_000

    @property
    def rounds(self) -> int:
        """How often each is run."""
        return 2 if self.is_quick else 3 if self.device.type == "cpu" else 5

    @property
    def batch_size(self) -> int:
        """Most crystals in a batch."""
        return 256 if self.device.type == "cpu" else 1024

    def claim(self, name: str, value: float, unit: str, **others: Any) -> Claim:
        """A figure of this run, rounded to four digits."""
        name = f"{self.prefix}{name}"
        value = float(f"{value:.4g}")
        if interval := others.pop("interval", None):
            others["interval"] = (float(f"{interval[0]:.4g}"), float(f"{interval[1]:.4g}"))
        if self.device.type == "cuda":
            others["device"] = torch.cuda.get_device_name(self.device)
        return Claim(name, value, self.command, unit=unit, seed=0, **others)


@cache
def models(bench: Bench) -> dict[str, SymmBFN]:
    """Ours and the baselines, of equal width, depth and elements."""
    ours = load_model(bench.weights, device=bench.device)
    c = ours.config
    same = {"width": c.network.width, "depth": c.network.depth}
    network = replace(c.network, edge_width=0, edge_layers=2, is_modulated=False)
    layers = replace(c, network=network, properties=())
    raw = replace(ours.statistics, coords_mean=torch.zeros(3), coords_std=torch.ones(3))
    published = paper_config(elements=c.elements, **same)
    torch.manual_seed(0)
    found = {
        "ours": ours,
        "same_function": with_pyg_network(ours),
        "published_layers": with_pyg_network(SymmBFN(layers, ours.statistics)),
        "as_published": with_pyg_network(SymmBFN(published, raw), is_published=True),
    }
    return {name: model.to(bench.device).eval() for name, model in found.items()}


@cache
def engine(bench: Bench, dtype: str) -> Predictor:
    """Our network as the engine runs it, compiled once for all groups of a run."""
    return predictor(models(bench)["ours"], is_compiled=not bench.is_quick, dtype=dtype)


def data_sets(bench: Bench) -> dict[str, EncodedDataset]:
    """Encoded crystals at hand, whose sizes are used; none in a quick run."""
    found: dict[str, EncodedDataset] = {}
    for name, split in {"mp_20": "train", "mpts_52": "val"}.items():
        if not bench.is_quick and split in dataset_splits(name):
            with suppress(OSError):  # neither here nor to be downloaded
                found[name] = encode_dataset(name, split=split)
    return found


def known_sizes(bench: Bench) -> dict[str, Sizes]:
    """Sizes in MP-20, which the weights know, and in MPTS-52 where it is at hand."""
    ours = models(bench)["ours"]
    found = {"mp_20": Sizes(ours.statistics.conditions, ours.statistics.condition_count)}
    for name, dataset in data_sets(bench).items():
        if name not in found:
            found[name] = sizes_of(dataset, ours.config.most_elements)
    return found


def products_of(name: str, device: torch.device) -> AbstractContextManager:
    """How a run multiplies: ours as its engine does, baselines as torch does unless said."""
    if name.endswith("-onednn"):
        return onednn_products(device)
    return nullcontext() if name.startswith("ours") else torch_defaults()


def sampling_run(
    model: SymmBFN, predict: Predictor, batches: list[Int[Tensor, "_ 3"]], n_steps: int
) -> Callable[[], None]:
    """Beliefs of all batches from the prior to the last estimate, by the preset's sampler."""
    sampler = preset_sampler(model, n_steps=n_steps)

    def run() -> None:
        for rows in batches:
            conditions = model_conditions(model, rows)
            index = torch.arange(len(rows), device=conditions.is_site.device)
            sample(model, conditions, sampler, seed=0, index=index, predict=predict)

    return run


def compare_sampling(bench: Bench) -> Iterator[Claim]:
    """A sampling step of the engine beside those of the baselines, by sizes."""
    # the engine's first call of a batch is not compiled: its runs have more steps
    n_ours, n_theirs = (2, 2) if bench.is_quick else (20, 3)
    for label, sizes in known_sizes(bench).items():
        count = bench.n if label == "mp_20" else bench.n // 2
        batches = drawn_batches(sizes, count, batch_size=bench.batch_size)
        n = sum(map(len, batches))
        runs, units = {}, {}
        for name in run_names(bench, is_compiled=not bench.is_quick):
            base, _, kind = name.partition("-")
            dtype = "bf16" if kind == "bf16" else "float32"
            model = models(bench)[base]
            is_engine = base == "ours" and kind != "uncompiled"
            predict = engine(bench, dtype) if is_engine else predictor(model, dtype=dtype)
            n_steps = n_ours if is_engine else n_theirs
            runs[name] = _within(name, bench, sampling_run(model, predict, batches, n_steps))
            units[name] = n * (n_steps + 1)
            begin = time.perf_counter()
            # shapes are met for the first time here; of baselines one batch warms up
            warm = batches if is_engine else batches[:1]
            _within(name, bench, sampling_run(model, predict, warm, 1))()
            if is_engine and label == "mp_20" and not bench.is_quick:
                took = time.perf_counter() - begin
                yield bench.claim(f"compile.sample.{dtype}", took, "s", note=COMPILING)
        seconds = alternate(runs, bench.rounds, bench.device)
        note = f"One network call with its part of the sampler; batches of {bench.batch_size}. "
        yield from speedup_claims(bench, "sample", label, seconds, units, n, note)


def compare_training(bench: Bench) -> Iterator[Claim]:
    """An optimiser step of the trainer beside the same trainer with the baselines' networks."""
    for label, sizes in known_sizes(bench).items():
        ours = models(bench)["ours"]
        rows = 16 if bench.is_quick else TRAINING_ROWS[label]
        dataset = crystals_of(sizes.draw(500 if bench.is_quick else 20_000), ours)
        batches = training_batches(dataset, rows, bench.n // (2 if label == "mp_20" else 4))
        n = sum(map(len, batches))
        with tempfile.TemporaryDirectory() as folder:
            runs: dict[str, Callable[[], None]] = {}
            is_compiled = bench.device.type == "cuda" and not bench.is_quick
            for name in run_names(bench, is_compiled=is_compiled):
                base, _, kind = name.partition("-")
                config = TrainingConfig(
                    batch_size=rows,
                    dtype="bf16" if kind == "bf16" else "float32",
                    is_compiled=is_compiled and name in ("ours", "ours-bf16"),
                    optimiser=OptimiserConfig(learning_rate=1e-6),
                )
                model = copy.deepcopy(models(bench)[base]).train().requires_grad_(True)
                trainer = Trainer(model, dataset, None, config, f"{folder}/{name}")
                runs[name] = _within(name, bench, training_run(trainer, batches))
                begin = time.perf_counter()
                warm = batches if config.is_compiled else batches[:1]
                _within(name, bench, training_run(trainer, warm))()
                if config.is_compiled and label == "mp_20":
                    took = time.perf_counter() - begin
                    yield bench.claim(f"compile.train.{config.dtype}", took, "s", note=COMPILING)
            seconds = alternate(runs, bench.rounds, bench.device)
        note = f"One step of AdamW, batches of {rows}, {'' if is_compiled else 'not '}compiled; "
        note += "every second one also makes the estimate that the network reads (not "
        note += "as_published). "
        units = dict.fromkeys(runs, n)
        yield from speedup_claims(bench, "train", label, seconds, units, n, note)


COMPILING = "Wall time until every shape has run compiled and been compared with the plain form."


def run_names(bench: Bench, *, is_compiled: bool) -> list[str]:
    """Runs of a comparison: a model, and what is special about it after a dash."""
    names = []
    if "float32" in bench.dtypes:
        names += ["ours", "same_function", "published_layers", "as_published"]
        names += ["ours-uncompiled"] if is_compiled else []
        if bench.device.type == "cpu":
            names += ["published_layers-onednn", "same_function-onednn"]
    if "bf16" in bench.dtypes:
        names += ["ours-bf16", "published_layers-bf16"]
    return names


def training_batches(dataset: EncodedDataset, rows: int, n: int) -> list[Int[Tensor, "_"]]:
    """About n crystals in the trainer's own batches, every k-th of an epoch in order of size."""
    batches = BucketedBatches(
        dataset.n_sites,
        dataset.space_group_number,
        batch_size=rows,
        generator=torch.Generator().manual_seed(0),
    )
    epoch = [next(batches) for _ in range(len(batches))]
    epoch.sort(key=lambda index: dataset.n_sites[index].double().mean().item())
    every = max(1, len(dataset) // n)
    return epoch[every // 2 :: every]


def training_run(trainer: Trainer, batches: list[Int[Tensor, "_"]]) -> Callable[[], None]:
    """Optimiser steps, with and without an estimate to read in equal parts."""

    def run() -> None:
        for place, index in enumerate(batches):
            # a seed whose first draw is above, or below, one half
            trainer.draws.coin.manual_seed(WITH_ESTIMATE if place % 2 else WITHOUT_ESTIMATE)
            trainer.train_step(index)

    return run


def _first_draw(is_small: bool) -> int:
    draws = ((s, torch.rand((), generator=torch.Generator().manual_seed(s))) for s in range(64))
    return next(seed for seed, u in draws if bool(u < 0.5) == is_small)


WITH_ESTIMATE, WITHOUT_ESTIMATE = _first_draw(True), _first_draw(False)


def _within(name: str, bench: Bench, run: Callable[[], None]) -> Callable[[], None]:
    def inside() -> None:
        with products_of(name, bench.device):
            run()

    return inside


def speedup_claims(
    bench: Bench,
    kind: str,
    label: str,
    seconds: dict[str, list[float]],
    units: dict[str, int],
    n: int,
    note: str,
) -> Iterator[Claim]:
    """Microseconds of every run, and the ratios of those that are compared.

    Args:
        bench: the run.
        kind, label: "sample" or "train", and whose sizes.
        seconds: of every round, by run, from one alternation.
        units: crystals times network calls (sample), or crystals (train), of a run.
        n: crystals.
        note: what one unit is.
    """
    each = {name: [t / units[name] for t in times] for name, times in seconds.items()}
    for name, times in each.items():
        value = 1e6 * median(times)
        yield bench.claim(f"{kind}.us.{label}.{name}", value, "us/crystal", n=n, note=note)
    for suffix, (slow, fast) in SPEEDUPS.items():
        if slow not in each or fast not in each:
            continue  # another dtype or device
        value, interval = ratio(each[slow], each[fast])
        is_main = not suffix and not bench.is_quick and not bench.prefix
        yield bench.claim(
            f"{kind}.speedup_vs_pyg.{label}{'.' * bool(suffix)}{suffix}",
            value,
            "times",
            n=n,
            interval=interval,
            aim=f"at least {AIMS[label]:g}" if is_main else None,
            met=value >= AIMS[label] if is_main else None,
            note=f"{note}{slow} over {fast}, median of {bench.rounds} rounds in turns; the "
            "interval is the lowest and the highest.",
        )
