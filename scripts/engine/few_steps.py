"""How few network calls do: quality of the shipped weights against their number, on MP-20 val.

    python -m scripts.engine.few_steps       all solvers, all numbers of calls; a quarter of an hour
    python -m scripts.engine.few_steps --dry-run  prints only

The requests are those of one seed for every row, apart from the seeds of reported figures. The
fewest calls whose every figure lies inside the interval of the paper's sampler with the most
calls is `steps.default`. Records `results/engine.json`.
"""

import argparse
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch

from scripts.foundation.claims import Options, rate
from scripts.foundation.data import read
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.crystals.contacts import CONTACT_RATIO
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.loci import position_row
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.evaluation.distributions import (
    density_distance,
    elements_distance,
    jensen_shannon_distance,
)
from symmbfn.evaluation.observables import Observables, dataset_observables
from symmbfn.evaluation.oxidation import is_smact_valid
from symmbfn.flows.sampler_config import SOLVERS
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler
from symmbfn.intervals import bootstrap_deviation
from symmbfn.model.checkpoints import WEIGHTS_FILE, load_model, weights_folder
from symmbfn.runtime.files import file_digest
from symmbfn.runtime.progress import progress

EVALUATIONS = (4, 8, 16, 20, 32, 50, 64, 100)
REFERENCE = ("bfn", 100)
N, SEED = 2000, 100
N_POSITIONS = 1731
COMMAND = "python -m scripts.engine.few_steps"


@dataclass(frozen=True)
class Crowd:
    """What is compared of many crystals: those with a structure, and counts over all requests.

    Attributes:
        observables: density and elements, as in the distances of the foundation.
        positions: rows of the Wyckoff positions of the sites, one array a crystal.
        n_valid, n_contacts, n_smact, n: structurally valid, without short contact, with charges
            that balance, asked for.
    """

    observables: Observables
    positions: list[np.ndarray]
    n_valid: int
    n_contacts: int
    n_smact: int
    n: int


def crowd_of(crystals: list[Crystal]) -> Crowd:
    """Collect what is compared."""
    valid = [c for c in crystals if c.status == "ok"]
    rows = [
        position_row(
            torch.tensor(c.space_group_number), torch.tensor(c.unit.wyckoff_positions).long()
        ).numpy()
        for c in valid
    ]
    return Crowd(
        Observables(
            np.array([c.density for c in valid]),
            np.array([len(set(c.atomic_numbers.tolist())) for c in valid]),
            np.array([c.space_group_number for c in valid]),
        ),
        rows,
        len(valid),
        sum(c.contact_ratio >= CONTACT_RATIO for c in valid),
        sum(len(c) > 0 and is_smact_valid(c.atomic_numbers) for c in crystals),
        len(crystals),
    )


def real_positions(dataset: EncodedDataset) -> list[np.ndarray]:
    """Rows of the Wyckoff positions of real crystals, one array each."""
    crystal = torch.arange(len(dataset)).repeat_interleave(dataset.n_sites)
    group = dataset.space_group_number.long()[crystal]
    rows = position_row(group, dataset.wyckoff_positions.long())
    return [part.numpy() for part in rows.split(dataset.n_sites.tolist())]


def shares(positions: list[np.ndarray]) -> np.ndarray:
    """Share of each of the 1,731 Wyckoff positions among all sites."""
    counts = np.bincount(np.concatenate(positions), minlength=N_POSITIONS)
    return counts / counts.sum()


def distances_of(crowd: Crowd, real: Observables, real_shares: np.ndarray, rows=None) -> np.ndarray:
    """d_rho, d_elem, and the Jensen-Shannon distance of the Wyckoff positions."""
    rows = np.arange(len(crowd.positions)) if rows is None else rows
    part = crowd.observables[rows]
    return np.array(
        [
            density_distance(part, real),
            elements_distance(part, real),
            jensen_shannon_distance(shares([crowd.positions[i] for i in rows]), real_shares),
        ]
    )


DISTANCES = {"d_rho": "g/cm3", "d_elem": "elements", "d_letters": ""}


def claims_of(label: str, crowd: Crowd, real: Observables, real_shares: np.ndarray, options):
    """Rates and distances of one sampler."""
    prefix = f"steps.{label}"
    note = f"Shipped default weights, {label}; denominator: all requests."
    counts = {
        "validity_structural": crowd.n_valid,
        "contacts": crowd.n_contacts,
        "validity_smact": crowd.n_smact,
    }
    for name, count in counts.items():
        yield rate(f"{prefix}.{name}", count, crowd.n, options, note=note)
    values = distances_of(crowd, real, real_shares)
    figure = partial(distances_of, crowd, real, real_shares)
    spread = bootstrap_deviation(figure, len(crowd.positions), n_resamples=100)
    for name, unit, value, deviation in zip(
        DISTANCES, DISTANCES.values(), values, spread, strict=True
    ):
        ends = max(0.0, value - 1.96 * deviation), value + 1.96 * deviation
        yield Claim(
            f"{prefix}.{name}",
            round(float(value), 4),
            options.command,
            unit=unit,
            n=len(crowd.positions),
            seed=options.seed,
            interval=(round(float(ends[0]), 4), round(float(ends[1]), 4)),
            note="Structurally valid crystals against mp_20 val; interval from the bootstrap "
            "deviation." + (" Sites by space group and letter." if name == "d_letters" else ""),
        )


def is_inside(found: dict[str, Claim], reference: dict[str, Claim]) -> bool:
    """Whether no figure is worse than the reference's interval allows."""
    for name, claim in found.items():
        low, high = reference[name].interval
        if (claim.value > high) if name in DISTANCES else (claim.value < low):
            return False
    return True


def measure(options: Options) -> Iterator[Claim]:
    """All rows, and the fewest calls that do."""
    model = load_model("default")
    digest = {"weights/default": file_digest(weights_folder("default") / WEIGHTS_FILE)}
    _, val = read("mp_20", "val")
    real, real_shares = dataset_observables(val), shares(real_positions(val))
    found: dict[tuple[str, int], dict[str, Claim]] = {}
    cases = [(solver, evaluations) for evaluations in EVALUATIONS for solver in SOLVERS]
    for solver, evaluations in progress(cases, label="samplers", unit="sampler"):
        sampler = preset_sampler(model, solver=solver, n_steps=evaluations - 1)
        batches = generate_batches(model, Request(n=options.n, seed=options.seed), sampler)
        crowd = crowd_of([crystal for batch in batches for crystal in batch])
        label = f"{solver}_{evaluations}"
        rows = [
            replace(claim, versions=digest)
            for claim in claims_of(label, crowd, real, real_shares, options)
        ]
        found[solver, evaluations] = {claim.name.rsplit(".", 1)[1]: claim for claim in rows}
        yield from rows
    reference = found[REFERENCE]
    inside = [case for case in cases if is_inside(found[case], reference)]
    solver, evaluations = inside[0]
    others = ", ".join(f"{solver} {number}" for solver, number in inside[1:])
    yield Claim(
        "steps.default",
        evaluations,
        options.command,
        unit="evaluations",
        n=options.n,
        seed=options.seed,
        note=f"Solver {solver}: the fewest network calls with which validity, contacts, SMACT, "
        f"d_rho, d_elem and d_letters all lie inside the interval of {REFERENCE[0]} with "
        f"{REFERENCE[1]}, or are better. Others inside: {others}.",
        versions=digest,
    )


def main() -> None:
    """Measure and record."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--n", type=int, default=N)
    line.add_argument("--dry-run", action="store_true")
    given = line.parse_args()
    options = replace(Options(COMMAND, None, seed=SEED), n=given.n)
    for claim in measure(options):
        print(f"{claim.name} = {claim.value} {claim.interval or ''} {claim.unit}", flush=True)
        if not given.dry_run:
            record("engine", [claim])


if __name__ == "__main__":
    main()
