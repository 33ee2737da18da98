"""How well properties steer: Fig. 1 of the paper, several properties at once, and low hulls.

    python -m scripts.conditioning.properties                  all cases: 1,000 made, 256 relaxed
    python -m scripts.conditioning.properties band_gap.wider --relax-first 1000      one of them

Each case is a run of the generator whose first crystals are relaxed by CHGNet and judged by
models that did not label the training data: formation energies by CHGNet with fitted references
and by M3GNet, band gaps by our regressor and by MEGNet (`make judges`). Records `property.*` and
`low_hull.*` in `results/conditioning.json`, and what the chapter plots in `results/`. Runs and
screenings lie in the cache and are resumed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from scripts.conditioning.ratios import ratio_interval
from scripts.evaluation.property_claims import counted, mean_error
from scripts.evaluation.run import weights_of_preset
from symmbfn.claims.store import RESULTS, Claim, record
from symmbfn.conditions.request import Request
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.evaluation.energies.stability import CONVENTIONS, figures_of, is_true
from symmbfn.evaluation.summary import METASTABLE, relaxed_rows
from symmbfn.generation.run import generate_run
from symmbfn.screening.screen import ScreeningConfig, screen

N, N_RELAXED, SEED = 1000, 256, 0
COMMAND = "python -m scripts.conditioning.properties"
ENERGY, GAP, HEIGHT = "formation_energy_per_atom", "band_gap", "e_above_hull"
TOLERANCE = {ENERGY: 0.5, GAP: 0.5}  # eV: within it the target is hit
OTHERS = {ENERGY: "m3gnet_formation_energy", GAP: "megnet_band_gap"}
# in train: the mode, the tenth percentile, beyond the first one; no gap, and two rare ones
TARGETS = {
    ENERGY: {"mode": -0.4, "tail": -2.78, "far": -4.0},
    GAP: {"none": 0.0, "wide": 2.0, "wider": 5.0},
}
GUIDANCE = 2.0
KEPT = ["index", "formula", "relax_status", "space_group_number", ENERGY, GAP, HEIGHT]
KEPT += [*OTHERS.values(), "relaxed_is_first", "relaxed_is_novel"]


@dataclass(frozen=True)
class Case:
    """Conditions, and the case without properties that they are held against.

    Args:
        targets: property -> value asked for.
        guidance: on the classes.
        base: name of the case with the same other conditions and no property.
        others: further fields of the request.
    """

    targets: dict[str, float] = field(default_factory=dict)
    guidance: float = 1.0
    base: str = "none"
    others: dict[str, Any] = field(default_factory=dict)

    def request(self, n: int) -> Request:
        """Its request for so many crystals."""
        return Request.of(
            n=n,
            seed=SEED,
            properties=self.targets or None,
            guidance=self.guidance,
            **self.others,
        )


def _cases() -> dict[str, Case]:
    cases = {"none": Case()}
    asked = {
        f"{name}.{label}": {name: value}
        for name, targets in TARGETS.items()
        for label, value in targets.items()
    }
    asked["both"] = {ENERGY: TARGETS[ENERGY]["tail"], GAP: TARGETS[GAP]["wide"]}
    asked["low_hull"] = {HEIGHT: 0.0}
    for name, targets in asked.items():
        cases[name] = Case(targets)
        cases[f"{name}.guided"] = Case(targets, GUIDANCE)
    oxides = {"space_group_number": 62, "require": "O"}
    cases["oxides"] = Case(others=oxides)
    wide = {GAP: TARGETS[GAP]["wide"]}
    cases["oxides.gap"] = Case(wide, base="oxides", others=oxides)
    cases["oxides.gap.guided"] = Case(wide, GUIDANCE, "oxides", oxides)
    return cases


CASES = _cases()


def main() -> None:
    """Make, judge and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CASES)}; default: all")
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--relax-first", type=int, default=N_RELAXED)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", type=Path, default=cache_folder() / "conditioning")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(CASES)):
        parser.error(f"no case {', '.join(unknown)}")
    names = options.names or list(CASES)
    tables = {}
    for name in dict.fromkeys([*(CASES[name].base for name in names), *names]):
        source, folder = options.work / name, options.work / "screened" / name
        generate_run(source, CASES[name].request(options.n), workers=options.workers)
        config = ScreeningConfig(relax="chgnet", relax_first=options.relax_first, has_judges=True)
        tables[name] = screen(source, folder, config, workers=options.workers)
        claims = [*claims_of(name, tables[name], tables[CASES[name].base])]
        record("conditioning", claims)
        for claim in claims:
            print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval}", flush=True)
    _keep_rows(tables)


def claims_of(name: str, table: pd.DataFrame, base: pd.DataFrame) -> Iterator[Claim]:
    """All figures of one case.

    Args:
        name: of the case.
        table: of its screening, one row a request.
        base: of the screening of the case that it is held against.
    """
    case = CASES[name]
    relaxed, others = relaxed_rows(table), relaxed_rows(base)
    prefix = name if name.startswith("low_hull") else f"property.{name}"
    for target, value in case.targets.items():
        if target in TOLERANCE:
            label = prefix if len(case.targets) == 1 else f"{prefix}.{target}"
            yield from _nearness(label, target, value, relaxed, others)
    note = f"Of the first {len(relaxed)} requests, by CHGNet and the whole hull."
    sides = [figures_of(rows, CONVENTIONS[0]) for rows in (relaxed, others)]
    for figure in ("stable", "metastable", "sun"):
        yield share(f"{prefix}.{figure}", sides[0][figure], note)
        if case.targets:
            yield _gain(f"{prefix}.{figure}_gain", *(side[figure] for side in sides))
    about = f"Of {len(table)} requests as they were made."
    is_unique = table["is_first"].eq(True) & table["status"].eq("ok")
    yield share(f"{prefix}.contacts", table["has_good_contacts"], about)
    yield share(f"{prefix}.smact", table["is_smact_valid"], about)
    yield share(f"{prefix}.unique", is_unique, about)
    yield share(f"{prefix}.novel", is_unique & table["is_novel"].eq(True), about)


def _nearness(
    label: str, target: str, value: float, relaxed: pd.DataFrame, base: pd.DataFrame
) -> Iterator[Claim]:
    """Errors and hits, by the first model and by another one, and among metastable crystals."""
    deviation = float(load_dataset("mp_20", "train")[target].std())
    is_low = relaxed[HEIGHT] <= METASTABLE
    for suffix, column, rows in (
        ("", target, relaxed),
        (".other", OTHERS[target], relaxed),
        (".kept", target, relaxed[is_low]),
    ):
        errors = (rows[column] - value).abs().dropna().to_numpy()
        if len(errors) < 2:
            continue
        note = f"{target} = {value:g} asked, {column} of {len(errors)} relaxed crystals"
        note += " that are metastable." if suffix == ".kept" else "."
        facts = _facts(note)
        yield mean_error(f"{label}.mae{suffix}", errors, unit="eV", **facts)
        if not suffix:
            facts = _facts(f"{note} Divided by the deviation in train, {deviation:.3f} eV.")
            yield mean_error(f"{label}.mae_over_sd", errors / deviation, **facts)
    hits = [(rows[target] - value).abs() <= TOLERANCE[target] for rows in (relaxed, base)]
    note = f"Within {TOLERANCE[target]:g} eV of {value:g} eV, of {{}} requests {{}}."
    yield share(f"{label}.hit", hits[0], note.format(len(relaxed), "with the condition"))
    yield share(f"{label}.base", hits[1], note.format(len(base), "without it"))
    yield _gain(f"{label}.lift", *hits)


def _gain(name: str, holds: pd.Series, others: pd.Series) -> Claim:
    """A share over that of the base."""
    counts = [int(is_true(side).sum()) for side in (holds, others)]
    n = [len(holds), len(others)]
    value, low, high = ratio_interval(counts, n)
    note = f"{counts[0]} of {n[0]} with the condition, {counts[1]} of {n[1]} without it."
    return Claim(name, value, n=n[0], interval=(low, high), **_facts(note))


def share(name: str, holds: pd.Series, note: str) -> Claim:
    """How many of all requests, in per cent."""
    return counted(name, int(is_true(holds).sum()), len(holds), **_facts(note))


def _facts(note: str) -> dict[str, Any]:
    versions = weights_of_preset("default")
    return {"command": COMMAND, "seed": SEED, "note": note, "versions": versions}


def _keep_rows(tables: dict[str, pd.DataFrame]) -> None:
    """What the chapter plots of each relaxed crystal, and of train."""
    parts = []
    for name, table in tables.items():
        rows = table.loc[table["relax_status"].notna(), KEPT]
        narrow = {c: "float32" for c in rows.select_dtypes("float64")}
        parts.append(rows.astype(narrow).assign(case=name))
    path = RESULTS / "conditioned.parquet"
    old = pd.read_parquet(path) if path.is_file() else pd.DataFrame(columns=["case"])
    kept = old[~old["case"].isin(list(tables))]
    pd.concat([*([kept] if len(kept) else []), *parts]).to_parquet(path, index=False)


if __name__ == "__main__":
    main()
