"""Metrics against what must come out, and real crystals by them: `results/evaluation.json`.

    python -m scripts.evaluation.identities floors    a set from itself, real draws from real sets
    python -m scripts.evaluation.identities validity  compositions by hand, all real crystals
    python -m scripts.evaluation.identities coverage  of real and generated crystals, 1,000 each
    python -m scripts.evaluation.identities all

Real crystals come from the folder SYMMBFN_DATA, generated ones from the runs in
`<cache>/evaluation/{default,paper,sg10}` (`symmbfn generate`). `--reference test_open` compares
with the test split instead of val, `--dry-run` prints only.
"""

import argparse
import json
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import torch

from scripts.foundation.claims import Options, rate
from symmbfn.claims.store import REPOSITORY, Claim, record
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import element_number
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.records import read_crystals
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.distributions import (
    ALL_DISTANCES,
    UNITS,
    all_distances,
    drawn_distances,
)
from symmbfn.evaluation.observables import dataset_observables
from symmbfn.evaluation.oxidation import OXIDATION_SET, is_smact_valid
from symmbfn.evaluation.similarity.coverage import (
    CUTOFFS,
    Coverage,
    Fingerprints,
    coverage,
    fingerprints,
)
from symmbfn.evaluation.validity import Judgement, judge
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

SIZES, N_DRAWS = (1000, 10_000), 200
N_COVERAGE = 1000
CLEARANCE = SamplerConfig().clearance
JUDGE_SECONDS = 300.0
RUNS = ("default", "paper", "sg10")
# floors that were stated before these were measured: draws of MP-20 train against test_open
STATED = {
    1000: {"d_rho": 0.140, "d_elem": 0.030, "d_g": 0.156},
    10_000: {"d_rho": 0.073, "d_g": 0.085},
}


def suffix_of(options: Options) -> str:
    """What tells claims against the test set from those against val."""
    return "" if options.reference == "val" else f".{options.reference}"


def floors(options: Options) -> Iterator[Claim]:
    """A set is at no distance from itself, and draws of real crystals at small ones from a set."""
    split = options.reference
    reference = dataset_observables(encode_dataset("mp_20", split=split))
    largest = float(all_distances(reference, reference).max())
    yield Claim(
        f"identity{suffix_of(options)}.self_distance",
        round(largest, 9),
        options.command,
        n=len(reference),
        aim="0 but for rounding, 1e-6",
        met=largest <= 1e-6,
        note=f"Largest of {', '.join(ALL_DISTANCES)} between mp_20 {split} and itself.",
    )
    pool = dataset_observables(encode_dataset("mp_20", split="train"))
    for size in SIZES:
        draws = drawn_distances(pool, reference, size=size, n_draws=N_DRAWS, seed=options.seed)
        for name, values in zip(ALL_DISTANCES, draws.T, strict=True):
            mean, deviation = float(values.mean()), float(values.std(ddof=1))
            low, high = np.quantile(values, [0.025, 0.975])
            stated = STATED[size].get(name) if split == "test_open" else None
            yield Claim(
                f"floor{suffix_of(options)}.n{size}.{name}",
                round(mean, 4),
                options.command,
                unit=UNITS[name],
                n=N_DRAWS,
                seed=options.seed,
                interval=(round(float(low), 4), round(float(high), 4)),
                aim=None if stated is None else f"{stated} within one standard deviation",
                met=None if stated is None else abs(mean - stated) <= deviation,
                note=f"Mean over draws of {size} MP-20 train crystals against mp_20 {split} "
                f"({len(reference)}); standard deviation {deviation:.4f}; the interval holds 95 % "
                "of the draws.",
            )


def validity(options: Options) -> Iterator[Claim]:
    """Compositions worked out by hand, and every real crystal."""
    if options.reference == "val":
        yield hand_checks(options)
    judged, lost = judge_all(real_crystals(options.reference))
    n = len(judged) + sum(lost.values())
    note = f"All crystals of mp_20 {options.reference} at hand, rebuilt from their encoding."
    if lost:
        note += f" Not judged, and counted as invalid: {dict(lost)}."
    kinds = {
        "structural": (lambda row: row.is_structurally_valid, ""),
        "smact": (lambda row: row.is_smact_valid, f" Oxidation states {OXIDATION_SET}."),
        "both": (lambda row: row.is_valid, " By structure and by composition."),
        "contacts": (lambda row: row.has_good_contacts, ""),
        "clearance": (
            lambda row: row.is_structurally_valid and row.contact_ratio >= CLEARANCE,
            f" No pair closer than {CLEARANCE} sums of radii, as the sampler has it.",
        ),
    }
    for name, (counts, more) in kinds.items():
        yield rate(
            f"validity.real{suffix_of(options)}.{name}",
            sum(map(counts, judged)),
            n,
            options,
            note=note + more,
        )


def hand_checks(options: Options) -> Claim:
    """How many of the compositions that the tests work out are judged as by hand."""
    sys.path.insert(0, str(REPOSITORY))
    from tests.evaluation.compositions import HAND_CHECKED

    right = 0
    for formula, expected, _ in HAND_CHECKED:
        numbers = np.repeat([element_number(s) for s in formula], list(formula.values()))
        right += is_smact_valid(numbers) == expected
    n = len(HAND_CHECKED)
    return Claim(
        "validity.hand_checks",
        right,
        options.command,
        n=n,
        aim=f"{n} of {n}",
        met=right == n,
        note="Charge balance and electronegativities worked out in tests/evaluation/"
        "compositions.py; compounds, elements, alloys, missing states, too many combinations.",
    )


def judge_all(crystals: list[Crystal]) -> tuple[list[Judgement], Counter[str]]:
    """Judgements, and reasons of crystals on which a library hung or died."""
    outcomes = run_killable(judge, crystals, workers=1, time_limit=JUDGE_SECONDS)
    outcomes = list(progress(outcomes, total=len(crystals), label="judge"))
    lost = Counter(outcome.reason.split(":")[0] for outcome in outcomes if outcome.reason)
    return [outcome.value for outcome in outcomes if not outcome.reason], lost


def real_crystals(split: str, rows: torch.Tensor | None = None) -> list[Crystal]:
    """Crystals of a split of MP-20, all without rows."""
    encoded = encode_dataset("mp_20", split=split)
    rows = torch.arange(len(encoded)) if rows is None else rows
    return reconstruct(encoded.batch(rows, torch.float64))


def cover(options: Options) -> Iterator[Claim]:
    """Coverage of real crystals by others, which no generator can pass by much, and by runs."""
    generator = torch.Generator().manual_seed(options.seed)
    n = len(encode_dataset("mp_20", split=options.reference))
    rows = torch.randperm(n, generator=generator)[: 2 * N_COVERAGE]
    reference, others = (
        of_crystals(real_crystals(options.reference, part)) for part in rows.split(N_COVERAGE)
    )
    prefix = f"coverage.real{suffix_of(options)}."
    yield from coverage_claims(prefix, others, reference, options, "as many others of them")
    for run in RUNS:
        folder = cache_folder() / "evaluation" / run
        if not folder.is_dir():
            print(f"no run {run} in {folder.parent}: left out", flush=True)
            continue
        manifest = json.loads((folder / "manifest.json").read_text())
        versions = {f"weights/{manifest['weights_name']}": manifest["settings"]["weights"]}
        generated = of_crystals(list(islice(read_crystals(folder), N_COVERAGE)))
        crowd = f"the first {N_COVERAGE} requests of run {run}"
        prefix = f"{run}{suffix_of(options)}.coverage_"
        yield from coverage_claims(prefix, generated, reference, options, crowd, versions)


def of_crystals(crystals: list[Crystal]) -> Fingerprints:
    """Fingerprints of primitive cells."""
    cells = [Cell.of(c, primitive=True) if c.has_structure else None for c in crystals]
    return fingerprints(cells)


def coverage_claims(
    prefix: str,
    generated: Fingerprints,
    reference: Fingerprints,
    options: Options,
    crowd: str,
    versions: dict[str, str] | None = None,
) -> Iterator[Claim]:
    """Recall and precision, with the stricter counts in the note."""
    found: Coverage = coverage(generated, reference, cutoffs=CUTOFFS["mp_20"])
    missing = [sum(map(bool, side.reasons)) for side in (generated, reference)]
    for name, count, jointly, n in (
        ("recall", found.n_recalled, found.n_recalled_jointly, found.n_reference),
        ("precision", found.n_precise, found.n_precise_jointly, found.n_generated),
    ):
        yield rate(
            f"{prefix}{name}",
            count,
            n,
            options,
            versions=versions,
            note=f"{found.n_reference} random crystals of mp_20 {options.reference} and {crowd}; "
            f"cutoffs {CUTOFFS['mp_20'][0]} and {CUTOFFS['mp_20'][1]}. By one crystal that is near "
            f"in structure and composition: {100 * jointly / n:.1f} %. Without fingerprints, and "
            f"counted as not covered: {missing[0]} of these, {missing[1]} of mp_20.",
        )


GROUPS: dict[str, Callable[[Options], Iterator[Claim]]] = {
    "floors": floors,
    "validity": validity,
    "coverage": cover,
}


def main() -> None:
    """Measure what the command line asks for."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("group", choices=[*GROUPS, "all"])
    line.add_argument("--reference", choices=["val", "test_open"], default="val")
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--dry-run", action="store_true", help="record nothing")
    given = line.parse_args()
    for group in GROUPS if given.group == "all" else [given.group]:
        command = f"python -m scripts.evaluation.identities {group}"
        command += "" if given.reference == "val" else f" --reference {given.reference}"
        options = Options(command, cache_folder(), seed=given.seed, reference=given.reference)
        for claim in GROUPS[group](options):
            judged = "" if claim.met is None else f"  {'met' if claim.met else 'FAILED'}"
            print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval or ''}{judged}")
            print(f"    {claim.note}", flush=True)
            if not given.dry_run:
                record("evaluation", [claim])


if __name__ == "__main__":
    main()
