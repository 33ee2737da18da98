"""What the runs of `ablations.py` say, as claims."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
from scipy.stats import t as student

from scripts.comparisons.variants import LONGER, SAMPLERS, SHORTER, VARIANTS
from symmbfn.claims.store import Claim
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.distributions import DISTANCES, UNITS
from symmbfn.intervals import wilson_interval

SEEDS = (0, 1)
WORK = cache_folder() / "ablations"
PRESET = "preset"  # the sampler that the others are compared with
COST = "python -m scripts.comparisons.ablations cost"
RATES = ("validity_structural", "contacts", "validity_smact", "group_kept", "p1", "p1_or_none")
DISTANCE_UNITS = {name: UNITS[name] for name in DISTANCES}
LOSSES = dict.fromkeys(
    ("bound", "lattice", "coords", "elements", "pointers", "letters", "axes"), "nats"
)
TESTED = ("bound", *RATES[:4], *DISTANCES)  # of which it is said whether they differ
LENGTHS = {"shorter": SHORTER, "base": 1.0, "longer": LONGER}  # of training the base

Runs = Mapping[int, dict[str, Any]]  # outcomes by seed

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


@dataclass(frozen=True)
class Change:
    """By how much a variant differs from the one that it is compared with.

    Attributes:
        value: mean over the seeds that both have.
        half: of its 95 % interval.
        p: probability of a difference as large by chance.
        seeds: that both have.
    """

    value: float
    half: float
    p: float
    seeds: list[int]


def outcomes_of(name: str) -> dict[int, dict[str, Any]]:
    """What the runs of a variant that are done gave, by seed."""
    paths = {seed: folder_of(name, seed) / "outcome.json" for seed in SEEDS}
    return {seed: json.loads(path.read_text()) for seed, path in paths.items() if path.is_file()}


def claims_of(crowd: Mapping[str, Runs], kind: str = "ablation") -> Iterator[Claim]:
    """Claims `<kind>.<name>.*` of variants of the model that are compared with each other.

    Args:
        crowd: runs by variant.
        kind: "ablation", or "representation" for the small ones that bring a preset each.
    """
    against = {name: VARIANTS[name].against for name in crowd}
    found = changes_of(crowd, against)
    sure = differing(found)
    for name, runs in crowd.items():
        crystals = next(iter(runs.values()))["crystals"]
        note = f"{crystals:,} crystals seen by each seed; against {against[name]}."
        command = f"python -m scripts.comparisons.ablations queue {name}"
        about = Claim(f"{kind}.{name}", 0.0, command, note=note)
        yield from figures(about, runs)
        yield from change_claims(about, found[name], sure[name])
        yield expected(about, VARIANTS[name])
        yield from cost_claims(about, found[name].get("bound"))


def sampler_claims(crowd: Mapping[str, Runs], versions: dict[str, str]) -> Iterator[Claim]:
    """Claims `sampler.<name>.*` of changes to the sampler of the shipped weights.

    Args:
        crowd: what each sampler generated.
        versions: digest of the weights.
    """
    found = changes_of(crowd, dict.fromkeys(crowd, PRESET))
    sure = differing(found)
    for name, runs in crowd.items():
        note, command = (
            f"Shipped weights; against {PRESET}.",
            "python -m scripts.comparisons.ablations sample",
        )
        about = Claim(f"sampler.{name}", 0.0, f"{command} {name}", note=note, versions=versions)
        yield from figures(about, runs)
        yield from change_claims(about, found[name], sure[name])
        yield expected(about, SAMPLERS[name])


def metrics_of(run: dict[str, Any]) -> dict[str, float]:
    """Figures of one run: rates of all requests in %, distances, losses in nats."""
    made, losses = run["generated"], run.get("val", {})
    rates = {name: 100 * made[name] / made["n"] for name in RATES if name in made}
    rest = {name: made[name] for name in DISTANCES}
    return rates | rest | {name: losses[name] for name in LOSSES if name in losses}


def changes_of(
    crowd: Mapping[str, Runs], against: Mapping[str, str]
) -> dict[str, dict[str, Change]]:
    """Differences of every metric, by variant; bounds only where the variables are the same."""
    values = {
        name: {seed: metrics_of(run) for seed, run in runs.items()} for name, runs in crowd.items()
    }
    variables = {name: set(next(iter(v.values()))) & set(LOSSES) for name, v in values.items()}
    found: dict[str, dict[str, Change]] = {name: {} for name in crowd}
    for metric in (*RATES, *DISTANCES, *LOSSES):
        of = {
            name: {seed: row[metric] for seed, row in rows.items() if metric in row}
            for name, rows in values.items()
        }
        for name, change in changes(of, against).items():
            if metric != "bound" or variables[name] == variables[against[name]]:
                found[name][metric] = change
    return found


def changes(
    values: Mapping[str, Mapping[int, float]], against: Mapping[str, str]
) -> dict[str, Change]:
    """Differences of one metric, with what chance does to them.

    A seed is that of training and of the requests, and is the same for all variants: what it does
    to all of them alike cancels in a difference. What is left is read off the variants that have
    two seeds, from how much the difference between the two varies from one to the next.

    Args:
        values: variant -> seed -> value.
        against: variant -> the one that it is compared with.

    Returns:
        Of every variant that shares a seed with its other; none where fewer than three variants
        have two seeds, or chance does nothing.

    Source: ours: two-way analysis of variance, without interaction.
    """
    between = [v[SEEDS[1]] - v[SEEDS[0]] for v in values.values() if len(v) == len(SEEDS)]
    degrees = len(between) - 1
    if degrees < 2 or not (spread := stdev(between)):
        return {}
    found = {}
    for name, mine in values.items():
        other = values.get(against[name], {})
        seeds = sorted(mine.keys() & other.keys())
        if name != against[name] and seeds:
            value = fmean(mine[seed] - other[seed] for seed in seeds)
            error = spread / math.sqrt(len(seeds))
            p = 2 * student.sf(abs(value) / error, degrees)
            found[name] = Change(value, student.ppf(0.975, degrees) * error, float(p), seeds)
    return found


def differing(found: Mapping[str, Mapping[str, Change]]) -> dict[str, list[str]]:
    """Metrics in which a variant differs, with 95 % confidence of all variants together.

    Source: Holm 1979: among the variants of each metric.
    """
    sure: dict[str, list[str]] = {name: [] for name in found}
    for metric in TESTED:
        rows = {name: row[metric].p for name, row in found.items() if metric in row}
        for rank, name in enumerate(sorted(rows, key=rows.__getitem__)):
            if rows[name] > 0.05 / (len(rows) - rank):
                break
            sure[name].append(metric)
    return sure


def change_claims(about: Claim, found: Mapping[str, Change], sure: list[str]) -> Iterator[Claim]:
    """Claims `<about>.change.<metric>`, and `<about>.differs`: in which metrics."""
    for metric, change in found.items():
        ends = round(change.value - change.half, 4), round(change.value + change.half, 4)
        yield replace(
            about,
            name=f"{about.name}.change.{metric}",
            value=round(change.value, 4),
            unit="points" if metric in RATES else {**DISTANCE_UNITS, **LOSSES}[metric],
            n=len(change.seeds),
            seed=change.seeds,
            interval=ends,
            note=f"Mean over the seeds that both have; n counts them. {about.note}",
        )
    if found:
        note = f"With 95 % confidence of all variants together. {about.note}"
        yield replace(
            about, name=f"{about.name}.differs", value=", ".join(sure) or "nothing", note=note
        )


def expected(about: Claim, variant: Any) -> Claim:
    """The prediction, and in its note the metrics that it speaks of."""
    note = f"About {', '.join(variant.about)}. {about.note}"
    return replace(about, name=f"{about.name}.expected", value=variant.prediction, note=note)


def figures(about: Claim, runs: Runs) -> Iterator[Claim]:
    """Rates over all seeds; losses and distances as means over them.

    Args:
        about: prefix of the names, command, note and versions that all share.
        runs: outcomes of the seeds.
    """
    rows = [metrics_of(run) for run in runs.values()]
    made = [run["generated"] for run in runs.values()]
    n_requests = sum(row["n"] for row in made)
    n_valid = sum(row["validity_structural"] for row in made)
    for metric in dict.fromkeys(metric for row in rows for metric in row):
        if not all(metric in row for row in rows):
            continue
        value, ends = fmean(row[metric] for row in rows), None
        unit, n, what = LOSSES.get(metric, ""), len(runs), "All of val; n counts the runs."
        if metric in RATES:
            low, high = wilson_interval(sum(row[metric] for row in made), n_requests)
            ends = round(100 * low, 4), round(100 * high, 4)
            unit, n, what = "%", n_requests, "Of all requests, those without a structure too."
        elif metric in DISTANCES:
            unit, n = DISTANCE_UNITS[metric], n_valid
            what = "Mean over the seeds; n counts valid structures."
        yield replace(
            about,
            name=f"{about.name}.{metric}",
            value=round(value, 4),
            unit=unit,
            n=n,
            seed=[*runs],
            interval=ends,
            note=f"{what} {about.note}",
        )


def cost_claims(about: Claim, change: Change | None) -> Iterator[Claim]:
    """Claims `<about>.cost`, and `.equal_time` where the base was trained about as long."""
    name = about.name.split(".")[1]
    path = WORK / f"{name}-cost.json"
    if not path.is_file():
        return
    found = json.loads(path.read_text())
    cost, ends = round(found["ratio"], 4), tuple(round(end, 4) for end in found["interval"])
    cost_claim = replace(about, command=f"{COST} {name}", unit="times", n=found["rounds"], seed=0)
    note = f"Median, lowest and highest of the rounds. {about.note}"
    yield replace(cost_claim, name=f"{about.name}.cost", value=cost, interval=ends, note=note)
    bounds = {times: outcomes_of(base) for base, times in LENGTHS.items()}
    seeds = set.intersection(*(set(runs) for runs in bounds.values()))
    if change is None or not seeds or not SHORTER <= cost <= LONGER:
        return
    curve = {t: fmean(runs[s]["val"]["bound"] for s in seeds) for t, runs in bounds.items()}
    value, *spread = (change.value - gained(times, curve) for times in (cost, *ends))
    note = f"Bound less that of the base trained {cost:.2f} times as long, for the same time: read "
    note += "between the base's with three numbers of epochs. The interval is that of the cost, "
    note += f"within those. {about.note}"
    yield replace(
        about,
        name=f"{about.name}.equal_time",
        value=round(value, 4),
        unit="nats",
        n=len(change.seeds),
        seed=change.seeds,
        interval=(round(min(spread), 4), round(max(spread), 4)),
        note=note,
    )


def gained(times: float, curve: Mapping[float, float]) -> float:
    """How the base's bound changes if it is trained so many times as long, nats.

    Linear in the logarithm between the lengths of `curve`, and no further than these.
    """
    lengths = sorted(curve)
    logs, bounds = np.log(lengths), [curve[length] for length in lengths]
    return float(np.interp(math.log(times), logs, bounds) - curve[1.0])


def cited(claims: list[Claim]) -> Iterator[Claim]:
    """P1 share (no group at all included) and d_g of the representations under short names."""
    by_name = {claim.name: claim for claim in claims}
    for short, variant in CITED.items():
        for metric, as_cited in (("p1_or_none", "p1_share"), ("d_g", "d_g")):
            if claim := by_name.get(f"representation.{variant}.{metric}"):
                yield replace(claim, name=f"{short}.{as_cited}")
