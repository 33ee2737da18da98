"""What the runs of `ablations.py` say, as claims."""

import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablation_variants import EPOCHS, LONGER, SAMPLERS, VARIANTS

from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.distributions import DISTANCES, UNITS
from symmbfn.evaluation.intervals import wilson_interval
from symmbfn.results import Claim

SEEDS = (0, 1)
WORK = cache_folder() / "ablations"
PRESET = "preset"  # the sampler that the others are compared with
COST = "python scripts/ablations.py cost"
RATES = ("validity_structural", "contacts", "validity_smact", "group_kept", "p1")
DISTANCE_UNITS = {name: UNITS[name] for name in DISTANCES}
LOSSES = dict.fromkeys(
    ("bound", "lattice", "coords", "elements", "pointers", "letters", "axes"), "nats"
)

# rows of the comparison of representations, under the names that they are cited by
CITED = {
    "symmbfn": "as_sites",
    "full_cell": "as_full_cell",
    "circular": "as_circle",
    "circular_primitive": "as_circle_primitive",
}


def folder_of(name: str, seed: int) -> Path:
    """Where a run keeps its checkpoints, log, weights and outcome."""
    return WORK / f"{name}-{seed}"


def outcomes_of(name: str) -> list[dict[str, Any]]:
    """What the runs of a variant that are done gave, by seed."""
    paths = [folder_of(name, seed) / "outcome.json" for seed in SEEDS]
    return [json.loads(path.read_text()) for path in paths if path.is_file()]


def claims_of(name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> Iterator[Claim]:
    """Claims `ablation.<name>.*` of one variant of the model.

    Args:
        name: of the variant.
        runs, base: its runs that are done, and those that it is compared with.
    """
    variant = VARIANTS[name]
    seen = f"{runs[0]['crystals']:,} crystals seen by each seed"
    note = f"{seen}; against {variant.against}. Prediction: {variant.prediction}"
    command = f"python scripts/ablations.py queue {name}"
    other = base if variant.against != name else []
    yield from figures(Claim(f"ablation.{name}", 0.0, command, note=note), runs, other)
    path = WORK / f"{name}-cost.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    ends = tuple(round(end, 4) for end in found["interval"])
    cost = round(found["ratio"], 4)
    timed = f"{COST} {name}"
    yield Claim(f"ablation.{name}.cost", cost, timed, "times", found["rounds"], 0, ends, note=note)
    if longer := outcomes_of("longer"):
        means = [bound_of(crowd) for crowd in (runs, outcomes_of("base"), longer)]
        value, *spread = (round(means[0] - bound_at(c, *means[1:]), 4) for c in (cost, *ends))
        note = f"Bound less that of the base trained for the same time, {cost:.2f} times as long: "
        note += f"between its bounds after {EPOCHS:g} and {LONGER * EPOCHS:g} epochs, linear in "
        note += "the logarithm. The interval is that of the cost alone, not of the seeds."
        seeds, ends = [run["seed"] for run in runs], (min(spread), max(spread))
        yield Claim(
            f"ablation.{name}.equal_time", value, command, "nats", len(runs), seeds, ends, note=note
        )


def bound_of(runs: list[dict[str, Any]]) -> float:
    """Mean bound of a variant over its seeds, nats."""
    return statistics.fmean(run["val"]["bound"] for run in runs)


def bound_at(times: float, base: float, longer: float) -> float:
    """Bound of the base if trained so many times as long, from that of the longer run."""
    return base + (longer - base) * math.log(times) / math.log(LONGER)


def sampler_claims(
    name: str, runs: list[dict[str, Any]], base: list[dict[str, Any]], versions: dict[str, str]
) -> Iterator[Claim]:
    """Claims `sampler.<name>.*` of one change to the sampler of the shipped weights.

    Args:
        name: of the sampler.
        runs, base: what it and the preset's own sampler generated, by seed.
        versions: digest of the weights.
    """
    about = SAMPLERS[name]
    note = f"Shipped weights; against {PRESET}. Prediction: {about.prediction}"
    command = f"python scripts/ablations.py sample {name}"
    claim = Claim(f"sampler.{name}", 0.0, command, note=note, versions=versions)
    yield from figures(claim, runs, [] if name == PRESET else base)


def figures(
    about: Claim, runs: list[dict[str, Any]], base: list[dict[str, Any]]
) -> Iterator[Claim]:
    """Rates over all seeds, losses and distances as means over them, and the outcome in words.

    Args:
        about: prefix of the names, command, note and versions that all share.
        runs, base: outcomes of the seeds, and those that they are compared with.
    """
    seeds = [run["seed"] for run in runs]

    def claim(metric: str, value: float, unit: str, interval, n: int) -> Claim:
        ends = None if interval is None else tuple(round(float(end), 4) for end in interval)
        shared = {"unit": unit, "n": n, "seed": seeds, "interval": ends}
        return replace(about, name=f"{about.name}.{metric}", value=round(value, 4), **shared)

    for metric in RATES:
        count = sum(run["generated"][metric] for run in runs)
        n = sum(run["generated"]["n"] for run in runs)
        interval = [100 * end for end in wilson_interval(count, n)]
        found = claim(metric, 100 * count / n, "%", interval, n)
        yield replace(found, note=f"Of all requests, those without a structure too. {about.note}")
    for metric, unit in {**DISTANCE_UNITS, **LOSSES}.items():
        where = "val" if metric in LOSSES else "generated"
        values = [run[where][metric] for run in runs if metric in run.get(where, ())]
        if values:  # axes have no letters, samplers no losses
            ends = (min(values), max(values)) if len(values) > 1 else None
            n = len(values) if metric in LOSSES else sum(run["generated"]["n"] for run in runs)
            found = claim(metric, statistics.fmean(values), unit, ends, n)
            what = "All of val; n counts the runs." if metric in LOSSES else "Mean over the seeds."
            yield replace(found, note=f"{what} {about.note}")
    if base:
        yield replace(claim("outcome", 0.0, "", None, len(runs)), value=verdict(runs, base))


def verdict(runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> str:
    """How a variant compares with another, in words that follow from the figures alone."""
    parts = []
    for metric in RATES:
        counts = [sum(run["generated"][metric] for run in crowd) for crowd in (runs, base)]
        sizes = [sum(run["generated"]["n"] for run in crowd) for crowd in (runs, base)]
        low, high = difference_interval(*counts, *sizes)
        if low > 0 or high < 0:
            change = 100 * (counts[0] / sizes[0] - counts[1] / sizes[1])
            parts.append(f"{metric} {change:+.1f} points")
    return "; ".join(parts) or "no rate differs beyond its interval"


def difference_interval(a: int, b: int, n_a: int, n_b: int) -> tuple[float, float]:
    """95 % interval of the difference of two shares. Source: Newcombe 1998, method 10."""
    (low_a, high_a), (low_b, high_b) = wilson_interval(a, n_a), wilson_interval(b, n_b)
    p, q = a / n_a, b / n_b
    below = ((p - low_a) ** 2 + (high_b - q) ** 2) ** 0.5
    above = ((high_a - p) ** 2 + (q - low_b) ** 2) ** 0.5
    return p - q - below, p - q + above


def cited(claims: list[Claim]) -> Iterator[Claim]:
    """P1 share and d_g of the representations, once more under short names."""
    by_name = {claim.name: claim for claim in claims}
    for short, variant in CITED.items():
        for metric, as_cited in (("p1", "p1_share"), ("d_g", "d_g")):
            if claim := by_name.get(f"ablation.{variant}.{metric}"):
                yield replace(claim, name=f"{short}.{as_cited}")
