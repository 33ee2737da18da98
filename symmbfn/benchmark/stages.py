"""Where the time of a crystal goes: stages, steps, batches, sizes, and the least it could take."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.benchmark.bench import (
    Bench,
    compare_sampling,
    compare_training,
    data_sets,
    engine,
    known_sizes,
    models,
    sampling_run,
)
from symmbfn.benchmark.cost_model import ceilings, stage_costs
from symmbfn.benchmark.timing import alternate, drawn_batches, now, peak_mib, ratio, sizes_of
from symmbfn.claims.store import Claim
from symmbfn.datasets.batches import edge_of
from symmbfn.datasets.full_cell import full_cells
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.batching import rows_of_bucket
from symmbfn.generation.final_estimates import FinalUnits, final_units, rebuild
from symmbfn.generation.generate import REBUILT_AT_ONCE, model_conditions
from symmbfn.generation.sampler import Predictor, predictor, preset_sampler, sample
from symmbfn.model.config import full_cell_config, paper_config
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.compilation import onednn_products

STAGES = ("network", "sampler", "decode", "rebuild")
STEPS = (1, 2, 5, 10, 20, 50, 100)
BATCHES = (1, 8, 64, 128, 512, 1024, 8192)
SITES = (1, 2, 4, 8, 16, 32, 64)
GROWTH_FROM = 8  # sites, above which pairs should count
GROWTH_GROUP = 62  # Pnma: eight operations
MOST_REBUILD = 0.05  # of ten steps
FULL_CELL_CRYSTALS = 256


@dataclass
class Spent:
    """Seconds of each stage, and what they were spent on."""

    seconds: dict[str, float]
    n_crystals: int = 0
    n_atoms: int = 0

    @property
    def total(self) -> float:
        """Seconds of all stages."""
        return sum(self.seconds.values())

    @property
    def ms(self) -> float:
        """Milliseconds per crystal."""
        return 1e3 * self.total / self.n_crystals


def spend(
    model: SymmBFN,
    predict: Predictor,
    batches: list[Int[Tensor, "_ 3"]],
    sampler: SamplerConfig,
) -> Spent:
    """Make crystals, from their conditions to the arrays of the full cells on the host.

    The same calls as `generate_batches`, with the clock read between the stages: all of a step
    that is not the network counts as the sampler's.
    """
    device = next(model.parameters()).device
    spent = Spent(dict.fromkeys(STAGES, 0.0))

    def network(
        beliefs: Variables,
        conditions: Conditions,
        t: Float[Tensor, "B"],
        previous: Variables | None,
    ) -> Variables:
        begin = now(device)
        estimates = predict(beliefs, conditions, t, previous)
        spent.seconds["network"] += now(device) - begin
        return estimates

    waiting: list[FinalUnits] = []
    for place, rows in enumerate(batches):
        begin, before = now(device), spent.seconds["network"]
        conditions = model_conditions(model, rows)
        index = spent.n_crystals + torch.arange(len(rows), device=device)
        estimates = sample(model, conditions, sampler, seed=0, index=index, predict=network)
        middle = now(device)
        spent.seconds["sampler"] += middle - begin - (spent.seconds["network"] - before)
        waiting.append(final_units(model, estimates, conditions, sampler, seed=0, index=index))
        spent.n_crystals += len(rows)
        end = now(device)
        spent.seconds["decode"] += end - middle
        if sum(map(len, waiting)) >= REBUILT_AT_ONCE or place == len(batches) - 1:
            spent.n_atoms += sum(len(crystal.atomic_numbers) for crystal in rebuild(waiting, 0))
            spent.seconds["rebuild"] += now(device) - end
            waiting = []
    return spent


def end_to_end(bench: Bench) -> Iterator[Claim]:
    """Time and memory of a crystal from request to full cell, by steps and by stage."""
    model, dtype = models(bench)["ours"], bench.dtypes[0]
    predict = engine(bench, dtype)
    batches = drawn_batches(known_sizes(bench)["mp_20"], bench.n, batch_size=bench.batch_size)
    n = sum(map(len, batches))
    spend(model, predict, batches, preset_sampler(model, n_steps=2))
    note = f"{dtype}, batches of {bench.batch_size}; MP-20's sizes, the preset's sampler. "
    most = 10 if bench.is_quick else 100
    for steps in (steps for steps in STEPS if steps <= most):
        # few crystals are enough where the network takes all the time
        chosen = batches if steps in (10, 100) else batches[::4]
        sampler = preset_sampler(model, n_steps=steps)
        rounds = bench.rounds if steps == 10 else 1
        runs = [spend(model, predict, chosen, sampler) for _ in range(rounds)]
        run = sorted(runs, key=lambda run: run.ms)[len(runs) // 2]
        yield bench.claim(
            f"end_to_end.steps_{steps}.ms", run.ms, "ms/crystal", n=run.n_crystals, note=note
        )
        if steps not in (10, 100):
            continue
        for stage, seconds in run.seconds.items():
            name = f"end_to_end.steps_{steps}.share.{stage}"
            yield bench.claim(name, seconds / run.total, "", n=run.n_crystals, note=note)
        if steps == 10:
            share = run.seconds["rebuild"] / run.total
            is_judged = not bench.is_quick and not bench.prefix
            yield bench.claim(
                "rebuild.share",
                share,
                "",
                n=n,
                aim=f"at most {MOST_REBUILD:g}" if is_judged else None,
                met=share <= MOST_REBUILD if is_judged else None,
                note="Of the time of a crystal at 10 steps. " + note,
            )
    sampler = preset_sampler(model, n_steps=2)
    peak = peak_mib(lambda: spend(model, predict, batches, sampler), bench.device)
    if peak is not None:
        what = "Beyond what the process held before. "
        yield bench.claim("memory.peak.mib", peak, "MiB", n=n, note=what + note)
    yield from by_batch(bench)
    yield from by_sites(bench)


def by_batch(bench: Bench) -> Iterator[Claim]:
    """A network call and its step by number of crystals in a batch, at the commonest sizes."""
    sizes = known_sizes(bench)["mp_20"]
    row = sizes.conditions[sizes.count.argmax()]
    most = 64 if bench.is_quick else 1024 if bench.device.type == "cpu" else BATCHES[-1]
    batches = {f"n_{b}": row.expand(b, 3) for b in BATCHES if b <= most}
    group, n_sites, n_elements = row.tolist()
    note = f"Space group {group}, {n_sites} sites, {n_elements} elements."
    for name, us in _step_us(bench, batches).items():
        yield bench.claim(f"batch.{name}.us", us, "us/crystal", n=len(batches[name]), note=note)


def by_sites(bench: Bench) -> Iterator[Claim]:
    """A network call and its step by number of sites, and the exponent of the growth."""
    most = 16 if bench.is_quick else SITES[-1]
    batches = {
        f"n_{n}": torch.tensor([GROWTH_GROUP, n, min(n, 4)]).expand(
            rows_of_bucket(int(edge_of(torch.tensor(n), SITES)), bench.batch_size), 3
        )
        for n in SITES
        if n <= most
    }
    us = _step_us(bench, batches)
    for name, value in us.items():
        note = f"Space group {GROWTH_GROUP}, batches of {len(batches[name])}."
        yield bench.claim(f"sites.{name}.us", value, "us/crystal", n=len(batches[name]), note=note)
    points = [(float(n), us[f"n_{n}"]) for n in SITES if GROWTH_FROM <= n <= most]
    yield bench.claim(
        "sites.exponent",
        fitted_exponent(points),
        "",
        note=f"Of time per crystal as a power of its sites, from {GROWTH_FROM} to {most}.",
    )


def fitted_exponent(points: Sequence[tuple[float, float]]) -> float:
    """Slope of log y over log x by least squares."""
    x, y = (torch.tensor([math.log(p[i]) for p in points], dtype=torch.float64) for i in (0, 1))
    x = x - x.mean()
    return float((x * (y - y.mean())).sum() / x.square().sum())


def _step_us(bench: Bench, batches: dict[str, Tensor]) -> dict[str, float]:
    """Microseconds per crystal of a compiled call and its step: long runs less short ones."""
    model, predict = models(bench)["ours"], engine(bench, bench.dtypes[0])
    runs: dict[str, Callable[[], None]] = {}
    for name, rows in batches.items():
        for n_steps in (2, 6):
            runs[f"{name}/{n_steps}"] = sampling_run(model, predict, [rows], n_steps)
        runs[f"{name}/2"]()
    seconds = alternate(runs, bench.rounds, bench.device)
    found = {}
    for name, rows in batches.items():
        gap = median(seconds[f"{name}/6"]) - median(seconds[f"{name}/2"])
        found[name] = 1e6 * max(gap, 1e-9) / 4 / len(rows)
    return found


def scaling(bench: Bench) -> Iterator[Claim]:
    """Growth from MP-20 to MPTS-52, for asymmetric units and for all atoms of the cell."""
    ours, data = models(bench)["ours"], data_sets(bench)
    if len(data) < 2:
        return
    c = ours.config
    same = {"width": c.network.width, "depth": c.network.depth}
    torch.manual_seed(0)
    found = {
        "symmbfn": ours,
        "paper": SymmBFN(paper_config(c.elements, **same), ours.statistics),
        "full_cell": SymmBFN(full_cell_config(c.elements, **same), ours.statistics),
    }
    runs, n = {}, {}
    for label, dataset in data.items():
        cells = full_cells(dataset)
        for name, model in found.items():
            is_full = name == "full_cell"
            sizes = sizes_of(cells if is_full else dataset, c.most_elements)
            count = FULL_CELL_CRYSTALS if is_full else bench.n
            batches = drawn_batches(sizes, count, batch_size=bench.batch_size)
            model = model.to(bench.device).eval()
            runs[f"{name}.{label}"] = sampling_run(model, predictor(model), batches, 1)
            n[f"{name}.{label}"] = sum(map(len, batches))
            sampling_run(model, predictor(model), batches[:1], 1)()
    with onednn_products(bench.device):
        seconds = alternate(runs, 2 if bench.device.type == "cpu" else 5, bench.device)
    each = {key: [t / n[key] / 2 for t in times] for key, times in seconds.items()}
    note = "One network call with its step, not compiled, of equal width and depth. "
    for key, times in each.items():
        yield bench.claim(
            f"scaling.us.{key}", 1e6 * median(times), "us/crystal", n=n[key], note=note
        )
    for name in found:
        value, interval = ratio(each[f"{name}.mpts_52"], each[f"{name}.mp_20"])
        yield bench.claim(
            f"scaling.{name}",
            value,
            "times",
            n=n[f"{name}.mpts_52"],
            interval=interval,
            note=note + "Time per crystal at MPTS-52's sizes over MP-20's (the paper: 1.14 for "
            "SymmBFN, 3.31 for the full cell); symmbfn is the default preset, paper and "
            "full_cell are the published network on sites and on all atoms.",
        )
    for label in data:
        value, interval = ratio(each[f"full_cell.{label}"], each[f"paper.{label}"])
        yield bench.claim(
            f"scaling.full_cell_over_sites.{label}",
            value,
            "times",
            n=n[f"full_cell.{label}"],
            interval=interval,
            note=note + "The published network on all atoms over the same on sites.",
        )


def floors(bench: Bench) -> Iterator[Claim]:
    """Least and reached time of each stage, and the rates that the least rests on."""
    rates = ceilings(bench.device)
    for name, rate in rates.items():
        unit = "GB/s" if name == "copy" else "GFLOP/s"
        yield bench.claim(f"ceiling.{name}", rate / 1e9, unit, note=CEILING)
    model, dtype, steps = models(bench)["ours"], bench.dtypes[0], 10
    predict = engine(bench, dtype)
    sampler = preset_sampler(model, n_steps=steps)
    batches = drawn_batches(known_sizes(bench)["mp_20"], bench.n, batch_size=bench.batch_size)
    spend(model, predict, batches, preset_sampler(model, n_steps=2))
    spent = spend(model, predict, batches, sampler)
    fastest = max(rates["float32_mkl"], rates["float32_onednn"])
    rate = rates["bf16"] if dtype == "bf16" else fastest
    rows = torch.cat(batches)
    operations = model.operations.count.cpu()[rows[:, 0] - 1]
    # atoms of the cells that were made, shared out by operations and sites
    weight = operations * rows[:, 1]
    n_atoms = spent.n_atoms * weight / weight.sum()
    least, counted = dict.fromkeys(STAGES, 0.0), dict.fromkeys(STAGES, 0.0)
    for (_, n, _), o, atoms in zip(
        rows.tolist(), operations.tolist(), n_atoms.tolist(), strict=True
    ):
        for stage, cost in stage_costs(model, n, o, atoms, bench.batch_size).items():
            least[stage] += cost.seconds(rate, rates["copy"]) / len(rows)
            counted[stage] += (cost.products + cost.others) / len(rows)
    calls = {"network": steps + 1, "sampler": steps, "decode": 1, "rebuild": 1}
    for stage in STAGES:
        reached = spent.seconds[stage] / spent.n_crystals / calls[stage]
        unit = "us/crystal/step" if stage in ("network", "sampler") else "us/crystal"
        note = f"{dtype}; {counted[stage]:.3g} operations counted from shapes. "
        n = spent.n_crystals
        yield bench.claim(f"floor.{stage}.us", 1e6 * least[stage], unit, n=n, note=note + FLOOR)
        yield bench.claim(f"reached.{stage}.us", 1e6 * reached, unit, n=n, note=note)
        share = least[stage] / reached
        yield bench.claim(f"floor.{stage}.share", share, "", n=n, note="Floor over reached.")


def report(title: str, claims: Sequence[Claim]) -> str:
    """A group's figures as a table: name, value, unit, and the range over the rounds."""
    lines = [title]
    for claim in claims:
        ends = claim.interval or ()
        spread = f"  [{' to '.join(f'{end:g}' for end in ends)}]" if ends else ""
        lines.append(f"  {claim.name:<52}{claim.value:>10g} {claim.unit}{spread}")
    return "\n".join(lines)


CEILING = "Measured in the same run: the best of several shapes, median of five; copies count what "
CEILING += "is read and what is written."
FLOOR = "Products at the rate of the fastest library, other operations at half of it, or the bytes "
FLOOR += "that must move at the rate of a copy, whichever is longer."

GROUPS: dict[str, Callable[[Bench], Iterator[Claim]]] = {
    "sample": compare_sampling,
    "train": compare_training,
    "scaling": scaling,
    "end_to_end": end_to_end,
    "floors": floors,
}
