"""Table 3 of the paper: time of a crystal in each representation, all in one alternating run.

    python -m scripts.comparisons.table3               width 512, depth 6 as published; half an hour
    python -m scripts.comparisons.table3 --device cuda  the same on a GPU, claims `gpu.table3.*`
    python -m scripts.comparisons.table3 --width 64 --rounds 1 --dry-run

Networks of equal width and depth, untrained, since their weights do not matter here; float32, not
compiled, batches as the generator forms them, filled up. For every bucket of sizes one network
call is timed, and all steps of the sampler with the network's answer given: the time of a crystal
is (steps + 1) calls and the steps, averaged over the buckets by how many crystals of MP-20 train
and MPTS-52 val are in each. 100 full-cell steps would take hours. Records
`results/comparisons.json`.
"""

import argparse
import gc
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.benchmark.bench import Bench, data_sets
from symmbfn.benchmark.timing import Sizes, now, one_thread, ratio, sizes_of
from symmbfn.claims.published import published_ratio, published_table
from symmbfn.claims.store import Claim, record
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES, edge_of, n_operations
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.full_cell import full_cells, primitive_cells
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.batching import rows_of_bucket
from symmbfn.generation.generate import model_conditions
from symmbfn.generation.sampler import predictor, preset_sampler, sample
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import (
    ModelConfig,
    circular_config,
    default_config,
    full_cell_config,
    paper_config,
)
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.compilation import onednn_products
from symmbfn.runtime.devices import pick_device

PUBLISHED_STEPS = 100
# slower over faster; the paper states the first and the second
RATIOS = (
    ("circular", "full_cell"),
    ("full_cell", "symmbfn"),
    ("circular_primitive", "full_cell"),
    ("circular_primitive", "symmbfn"),
    ("symmbfn", "default"),
)
Form = Callable[[EncodedDataset], EncodedDataset]


def as_it_is(dataset: EncodedDataset) -> EncodedDataset:
    """Asymmetric units stay what they are."""
    return dataset


def presets(width: int, depth: int) -> dict[str, tuple[ModelConfig, Form]]:
    """Name of the row -> its model, and how it sees the crystals."""
    same = {"width": width, "depth": depth}
    elements = load_model("default").config.elements
    return {
        "symmbfn": (paper_config(**same), as_it_is),
        "full_cell": (full_cell_config(**same), full_cells),
        "circular": (circular_config(**same), full_cells),
        "circular_primitive": (circular_config(**same), primitive_cells),
        "default": (default_config(elements, **same), as_it_is),
    }


def new_model(config: ModelConfig, device: torch.device) -> SymmBFN:
    """An untrained model with the statistics of the weights of its kind."""
    torch.manual_seed(0)
    statistics = load_model("default" if config.coords.is_standardised else "paper").statistics
    return SymmBFN(config, statistics).to(device).eval()


@dataclass(frozen=True)
class Bucket:
    """Crystals that share batches: one full batch of them, and their share among all."""

    rows: Int[Tensor, "B 3"]
    share: float


def buckets_of(sizes: Sizes, batch_size: int, *, by_operations: bool) -> list[Bucket]:
    """A full batch of every bucket of sites, and of operations where the model has images."""
    groups, n_sites, _ = sizes.conditions.unbind(-1)
    keys = [edge_of(n_sites, SITE_EDGES)]
    if by_operations:
        keys.append(edge_of(n_operations(groups), OPERATION_EDGES))
    key = torch.stack(keys, dim=-1)
    found = []
    for one in key.unique(dim=0):
        mine = (key == one).all(-1)
        part = Sizes(sizes.conditions[mine], sizes.count[mine])
        rows = part.draw(rows_of_bucket(int(one[0]), batch_size))
        found.append(Bucket(rows, float(part.count.sum() / sizes.count.sum())))
    return found


class Run:
    """One row at the sizes of one data set.

    Args:
        model: on its device.
        sampler: whose steps are counted.
        buckets: of the sizes.
    """

    def __init__(self, model: SymmBFN, sampler: SamplerConfig, buckets: Sequence[Bucket]):
        self.model, self.sampler, self.buckets = model, sampler, buckets
        self.device = next(model.parameters()).device
        self.predict = predictor(model)
        self.met = [self._meet(bucket.rows) for bucket in buckets]

    def _meet(self, rows: Tensor) -> tuple[tuple, Variables]:
        """Arguments of a network call as the sampler makes it, and the answer; warms up, too."""
        calls: list[tuple] = []
        answers: list[Variables] = []

        def network(
            beliefs: Variables, conditions: Conditions, t: Tensor, previous: Variables | None
        ):
            calls.append((beliefs, conditions, t, previous))
            if not answers:
                answers.append(self.predict(*calls[0]))
            return answers[0]

        self._sample(rows, network, preset_sampler(self.model, n_steps=1))
        return calls[-1], answers[0]

    def _sample(self, rows: Tensor, network: Callable, sampler: SamplerConfig) -> None:
        conditions, index = (
            model_conditions(self.model, rows),
            torch.arange(len(rows), device=self.device),
        )
        sample(self.model, conditions, sampler, seed=0, index=index, predict=network)

    @torch.no_grad()
    def seconds(self) -> tuple[float, float]:
        """Of all network calls and of all steps of the sampler, for the average crystal."""
        network = steps = 0.0
        for bucket, (call, answer) in zip(self.buckets, self.met, strict=True):
            gc.collect()
            weight = bucket.share / len(bucket.rows)
            begin = now(self.device)
            with onednn_products(self.device):
                self.predict(*call)
            middle = now(self.device)
            self._sample(bucket.rows, lambda *_, answer=answer: answer, self.sampler)
            steps += weight * (now(self.device) - middle)
            network += weight * (middle - begin) * (self.sampler.n_steps + 1)
        return network, steps


def sampler_of(name: str, model: SymmBFN) -> SamplerConfig:
    """The preset's sampler; with 100 steps, as published, but for our default."""
    return preset_sampler(model, **({} if name == "default" else {"n_steps": PUBLISHED_STEPS}))


def runs_of(bench: Bench, width: int, depth: int) -> dict[str, Run]:
    """All rows at the sizes of all data sets at hand, keyed "<row>.<data set>"."""
    found = {}
    for name, (config, form) in presets(width, depth).items():
        model = new_model(config, bench.device)
        for label, dataset in data_sets(bench).items():
            sizes = sizes_of(form(dataset), config.most_elements)
            buckets = buckets_of(sizes, bench.batch_size, by_operations=config.images is not None)
            found[f"{name}.{label}"] = Run(model, sampler_of(name, model), buckets)
            print(f"{name}.{label}: {len(buckets)} buckets", flush=True)
    return found


def claims_of(
    bench: Bench, seconds: dict[str, list[tuple[float, float]]], facts: dict[str, tuple[int, str]]
) -> Iterator[Claim]:
    """Milliseconds, scaling factors and ratios.

    Args:
        bench: the run.
        seconds: "<row>.<data set>" -> of every round, of the network and of the sampler.
        facts: the same key -> number of crystals, and what the reader must know.
    """
    ms = {key: [1e3 * sum(both) for both in rounds] for key, rounds in seconds.items()}
    labels = [*dict.fromkeys(key.split(".")[1] for key in ms)]
    names = [*dict.fromkeys(key.split(".")[0] for key in ms)]
    printed = {row.method: row for row in published_table(3).rows}
    for key, each in ms.items():
        name, label = key.split(".")
        network = median(1e3 * network for network, _ in seconds[key])
        n, note = facts[key]
        note = f"{note} Network {network:.4g} ms. {_paper(printed, name, label)}".strip()
        shared: dict[str, Any] = {"interval": (min(each), max(each)), "n": n, "note": note}
        for place in [f"table3.{key}.ms"] + [f"table3.{name}.ms"] * (label == "mp_20"):
            yield bench.claim(place, median(each), "ms", **shared)
    for name in names if {"mp_20", "mpts_52"} <= {*labels} else ():
        value, interval = ratio(ms[f"{name}.mpts_52"], ms[f"{name}.mp_20"])
        note = f"Time at MPTS-52's sizes over MP-20's. {_paper(printed, name, 'scaling')}"
        yield bench.claim(
            f"table3.{name}.scaling", value, "times", interval=interval, note=note.strip()
        )
    for slow, fast in RATIOS:
        for label in labels if {slow, fast} <= {*names} else ():
            value, interval = ratio(ms[f"{slow}.{label}"], ms[f"{fast}.{label}"])
            place = f"{slow}_over_{fast}"
            yield bench.claim(
                f"table3.ratio.{place}.{label}",
                value,
                "times",
                interval=interval,
                note=f"Time of {slow} over that of {fast}. {_said(place)}".strip(),
            )


def _paper(printed: dict, name: str, column: str) -> str:
    return f"The paper: {printed[name].printed[column]}." if name in printed else ""


def _said(place: str) -> str:
    with suppress(ValueError):
        return f"The paper: {published_ratio(place)[1]}."
    return ""


def facts_of(run: Run, rounds: int) -> tuple[int, str]:
    """How many crystals were timed, and how, in words."""
    c, n_steps = run.model.config.network, run.sampler.n_steps
    note = (
        f"Width {c.width}, depth {c.depth}, {n_steps} steps: {n_steps + 1} network calls, from "
        f"one timed in each of {len(run.buckets)} buckets of sizes, and the sampler's steps; "
        f"float32, not compiled, without decoding. Median of {rounds} rounds in turns, lowest to "
        "highest."
    )
    return sum(len(bucket.rows) for bucket in run.buckets), note


def measure(bench: Bench, width: int, depth: int, rounds: int) -> Iterator[Claim]:
    """Meet all shapes, then time all rows in turns."""
    runs = runs_of(bench, width, depth)
    seconds: dict[str, list[tuple[float, float]]] = {key: [] for key in runs}
    for number in range(rounds):
        for key, run in runs.items():
            seconds[key].append(run.seconds())
            network, steps = (1e3 * part for part in seconds[key][-1])
            print(f"round {number + 1}: {key} {network:.4g} + {steps:.4g} ms", flush=True)
    facts = {key: facts_of(run, rounds) for key, run in runs.items()}
    yield from claims_of(bench, seconds, facts)


def main() -> None:
    """Measure and record."""
    warnings.filterwarnings("ignore")
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")
    line.add_argument("--width", type=int, default=paper_config().network.width)
    line.add_argument("--depth", type=int, default=paper_config().network.depth)
    line.add_argument("--rounds", type=int, default=3)
    line.add_argument("--dry-run", action="store_true", help="record nothing")
    options = line.parse_args()
    device = pick_device(options.device)
    command = f"python -m scripts.comparisons.table3 --device {device.type} --width {options.width}"
    command += f" --depth {options.depth}"
    bench = Bench(command, device, prefix="gpu." if device.type == "cuda" else "")
    with one_thread():
        claims = [*measure(bench, options.width, options.depth, options.rounds)]
    for claim in claims:
        print(f"{claim.name} = {claim.value} {claim.interval} {claim.unit}", flush=True)
    if not options.dry_run:
        record("comparisons", claims)


if __name__ == "__main__":
    main()
