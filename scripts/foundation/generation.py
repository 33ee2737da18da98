"""Claims about generated crystals, and the floors that real ones set."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch

from scripts.foundation.claims import Options, rate
from scripts.foundation.data import code_digest, lines, read
from symmbfn.claims.store import Claim, claim
from symmbfn.conditions.request import Request
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry_search import DEFAULT_SYMPREC, is_group_kept
from symmbfn.evaluation.distributions import DISTANCES, UNITS, distances, noise_floor
from symmbfn.evaluation.observables import NO_GROUP, Observables, dataset_observables
from symmbfn.evaluation.oxidation import OXIDATION_SET
from symmbfn.evaluation.validity import judge
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler
from symmbfn.intervals import bootstrap_deviation
from symmbfn.model.checkpoints import WEIGHTS_FILE, load_model, weights_folder
from symmbfn.runtime.files import file_digest
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

FLOOR_DRAWS, FLOOR_SIZE, N_REAL = 200, 1000, 3000
CHUNK = 250  # requests between two writes
JUDGE_SECONDS = 300.0


def reference_of(options: Options) -> Observables:
    """Observables of the split that generated crystals are compared with."""
    return dataset_observables(read("mp_20", options.reference)[1])


def floor_draws(options: Options) -> np.ndarray:
    """d_rho, d_elem and d_G of 200 draws of 1,000 train crystals, (200, 3)."""
    pool = dataset_observables(read("mp_20", "train")[1])
    return noise_floor(
        pool, reference_of(options), size=FLOOR_SIZE, n_draws=FLOOR_DRAWS, seed=options.seed
    )


def suffix_of(options: Options) -> str:
    """What tells claims against the test set from those against val, on which choices are made."""
    return "" if options.reference == "val" else f".{options.reference}"


def real_rates(options: Options) -> Iterator[Claim]:
    """Shares of real crystals that pass the tests of the generated ones."""
    _, encoded = read("mp_20", options.reference)
    generator = torch.Generator().manual_seed(options.seed)
    rows = torch.randperm(len(encoded), generator=generator)[:N_REAL]
    judged = [judge(crystal) for crystal in reconstruct(encoded.batch(rows, torch.float64))]
    for name, key in (("contacts", "has_good_contacts"), ("validity_smact", "is_smact_valid")):
        yield rate(
            f"real{suffix_of(options)}.{name}",
            sum(getattr(row, key) for row in judged),
            len(judged),
            options,
            note=f"Random crystals of mp_20 {options.reference}, rebuilt from their encoding.",
        )


def floors(options: Options) -> Iterator[Claim]:
    """What a perfect generator would score with as many crystals, and what real crystals do."""
    yield from real_rates(options)
    draws = floor_draws(options)
    for name, values in zip(DISTANCES, draws.T, strict=True):
        low, high = np.quantile(values, [0.025, 0.975])
        yield Claim(
            f"floor{suffix_of(options)}.{name}",
            round(float(values.mean()), 4),
            options.command,
            unit=UNITS[name],
            n=FLOOR_DRAWS,
            seed=options.seed,
            interval=(round(float(low), 4), round(float(high), 4)),
            note=f"Mean over draws of {FLOOR_SIZE} MP-20 train crystals against mp_20 "
            f"{options.reference} (all rows at hand); standard deviation {values.std(ddof=1):.4f}; "
            "the interval holds 95 % of the draws.",
        )


def generate(options: Options) -> Iterator[Claim]:
    """Rates and distances of one model with one sampler, over all seeds."""
    folder = weights_folder(options.weights)
    preset, digest = folder.name, file_digest(folder / WEIGHTS_FILE)
    model = load_model(folder)
    asked = {"solver": options.solver, "n_steps": options.steps}
    sampler = preset_sampler(model, **{k: v for k, v in asked.items() if v is not None})
    label = f"{sampler.solver}_{sampler.n_steps}"
    code = code_digest(__file__)
    rows = []
    for seed in options.seeds:
        name = f"{digest[:12]}-{sampler_digest(sampler)}-{code}-seed{seed}.jsonl"
        path = options.work / "generate" / name
        rows.append(requests(model, sampler, path, seed, options.n))
    is_own = sampler == preset_sampler(model)
    prefix = f"generate.{preset}" + ("" if is_own else f".{label}")
    shared = {"options": options, "seed": [*options.seeds]}
    shared |= {"versions": {f"weights/{preset}": digest}}
    has_aims = preset == "default" and is_own
    if options.reference == "val":  # rates have no reference
        yield from rates(prefix, [row for seed in rows for row in seed], shared, has_aims, label)
    prefix += suffix_of(options)
    yield from distances_of(prefix, rows, options, shared["versions"], has_aims)


def sampler_digest(sampler: SamplerConfig) -> str:
    """Short hash of all settings: what one sampler drew is not another's."""
    return sha256(json.dumps(asdict(sampler)).encode()).hexdigest()[:12]


def requests(model, sampler, path: Path, seed: int, n: int) -> list[dict]:
    """Judgements of requests 0 to n - 1; those on disk are not made again."""
    done = {row["index"]: row for row in lines(path)}
    missing = torch.tensor([i for i in range(n) if i not in done], dtype=torch.long)
    request = Request(n=n, seed=seed)
    bar = progress(total=n, done=n - len(missing), label=path.stem)
    with path.open("a") as file:
        for part in missing.split(CHUNK):
            crystals = [c for b in generate_batches(model, request, sampler, index=part) for c in b]
            for outcome in run_killable(judge, crystals, workers=1, time_limit=JUDGE_SECONDS):
                crystal = crystals[outcome.index]
                row = unjudged(crystal, outcome.reason) if outcome.reason else outcome.value
                row = row if isinstance(row, dict) else asdict(row)
                done[row["index"]] = row
                file.write(json.dumps(row) + "\n")
                bar.update()
            file.flush()
    return [done[i] for i in range(n)]


def unjudged(crystal, reason: str) -> dict:
    """The row of a crystal on which a library hung or died: a failure of the crystal."""
    status = "timeout" if reason.startswith("timeout") else "worker_lost"
    lost = type(crystal).failed(crystal.index, crystal.seed, status, reason, 1)
    return asdict(judge(lost)) | {"space_group_number": crystal.space_group_number}


def rates(prefix, rows: list[dict], shared: dict, has_aims: bool, label: str) -> Iterator[Claim]:
    """Shares of all requests; whatever failed is in the denominator."""
    n = len(rows)
    each = f"Sampler {label}; denominator: all requests of all seeds"

    def share(name: str, counted, aim: float | None = None, note: str = "") -> Claim:
        count = sum(map(counted, rows))
        return rate(
            f"{prefix}.{name}",
            count,
            n,
            aim=aim if has_aims else None,
            note=f"{each}. {note}".strip(),
            **shared,
        )

    status = Counter(row["status"] for row in rows)
    yield share(
        "validity_structural",
        lambda row: row["is_structurally_valid"],
        99,
        "No pair within 0.5 angstrom, volume above 0.1 cubic angstrom, no guard of the "
        f"reconstruction broken. Statuses: {dict(status)}.",
    )
    yield share(
        "contacts",
        lambda row: row["has_good_contacts"],
        95,
        "A valid structure with no pair closer than 0.7 of the sum of covalent radii; of real "
        "crystals `real.contacts`.",
    )
    yield share(
        "validity_smact",
        lambda row: row["is_smact_valid"],
        round(claim("real.validity_smact")["value"] - 3, 1),
        f"SMACT charge neutrality and Pauling test, oxidation states {OXIDATION_SET}; elements "
        "and alloys are valid. The aim is that of real crystals less 3.",
    )
    yield share(
        "validity",
        lambda row: row["is_smact_valid"] and row["is_structurally_valid"],
        None,
        "Valid by structure and by composition.",
    )
    yield from symmetry_rates(share, rows)


def symmetry_rates(share: Callable[..., Claim], rows: list[dict]) -> Iterator[Claim]:
    """Shares of requests whose space group is found again in a valid structure."""
    valid = [row for row in rows if row["status"] == "ok"]
    for name, key, symprec in (
        ("group_kept", "symmetry", "0.1"),
        ("group_kept_sharp", "sharp_symmetry", "0.001"),
    ):
        found = Counter(row[key] for row in valid)
        yield share(
            name,
            lambda row, key=key: row["status"] == "ok" and row[key] == "kept",
            98 if key == "symmetry" else None,
            f"A valid structure, asked group found at symprec {symprec}. Apart from these: proper "
            f"supergroup {found['supergroup']}, lost {found['lost']}, none found {found['none']}, "
            f"no valid structure {len(rows) - len(valid)}.",
        )
        yield share(
            name.replace("kept", "supergroup"),
            lambda row, key=key: row["status"] == "ok" and row[key] == "supergroup",
            None,
            f"A valid structure, a proper supergroup of the group found at symprec {symprec}.",
        )
    yield share(
        "group_kept_default",
        lambda row: is_group_kept(row["status"], row["space_group_number"], row["default_group"]),
        None,
        f"As group_kept, at pymatgen's default symprec {DEFAULT_SYMPREC}.",
    )


def observables(rows: list[dict]) -> Observables:
    """Density, elements and found group of rows with a structure."""
    rows = [row for row in rows if math.isfinite(row["density"])]
    return Observables(
        np.array([row["density"] for row in rows], dtype=float),
        np.array([row["n_elements"] for row in rows], dtype=int),
        np.array([row["found_group"] or NO_GROUP for row in rows], dtype=int),
    )


def distances_of(
    prefix: str, seeds: list[list[dict]], options: Options, versions: dict, has_aims: bool
) -> Iterator[Claim]:
    """Mean distances over the seeds, for all crystals and for the valid ones."""
    reference, draws = reference_of(options), floor_draws(options)
    limits = draws.mean(axis=0) + 2 * draws.std(axis=0, ddof=1)
    kinds = {
        "": ("is_structurally_valid",),
        "_all": (),
        "_valid": ("is_structurally_valid", "is_smact_valid"),
    }
    meaning = {
        "": "structurally valid crystals",
        "_all": "all crystals that have a structure",
        "_valid": "crystals valid by structure and composition",
    }
    for suffix, keys in kinds.items():
        crowds = [observables([r for r in rows if all(r[k] for k in keys)]) for rows in seeds]
        values = np.array([distances(crowd, reference) for crowd in crowds])
        spread = np.array(
            [
                bootstrap_deviation(partial(resampled, crowd, reference), len(crowd))
                for crowd in crowds
            ]
        )
        error = np.sqrt((spread**2).mean(axis=0) / len(seeds))
        for i, name in enumerate(DISTANCES):
            mean = float(values[:, i].mean())
            sizes = ", ".join(str(len(crowd)) for crowd in crowds)
            by_seed = ", ".join(f"{value:.4f}" for value in values[:, i])
            is_judged = has_aims and not suffix
            yield Claim(
                f"{prefix}.{name}{suffix}",
                round(mean, 4),
                options.command,
                unit=UNITS[name],
                n=sum(map(len, crowds)),
                seed=[*options.seeds],
                interval=(
                    round(float(max(0.0, mean - 1.96 * error[i])), 4),
                    round(float(mean + 1.96 * error[i]), 4),
                ),
                aim=f"inside floor mean + 2 sd, {limits[i]:.4f}" if is_judged else None,
                met=bool(mean <= limits[i]) if is_judged else None,
                note=f"Mean over seeds of {meaning[suffix]} ({sizes} of {len(seeds[0])} requests "
                f"each) against mp_20 {options.reference} (all rows at hand): {by_seed}; interval "
                f"from the bootstrap deviation. Floor {draws[:, i].mean():.4f}, sd "
                f"{draws[:, i].std(ddof=1):.4f}.",
                versions=versions,
            )


def resampled(crowd: Observables, reference: Observables, rows: np.ndarray) -> np.ndarray:
    """Distances of some rows of a crowd."""
    return distances(crowd[rows], reference)
