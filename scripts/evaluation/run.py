"""Judge what the shipped weights make, and the controls, and record what comes of it.

    python -m scripts.evaluation.run default --relax-first 3000    10,000 crystals, 3,000 relaxed
    python -m scripts.evaluation.run paper sg10              10,000 crystals each, 1,000 relaxed
    python -m scripts.evaluation.run no_clearance --n 1000 --relax-first 300    beside the default's
    python -m scripts.evaluation.run real shuffled random    controls of scripts.evaluation.controls
    python -m scripts.evaluation.run default --split test_open    distances once more, for a table

What is there already is not made again: runs and screenings lie in the cache and are resumed.
"""

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from symmbfn.claims.published import published_table
from symmbfn.claims.store import RESULTS, Claim, record
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.evaluation.summary import STABLE, summarise
from symmbfn.generation.run import generate_run
from symmbfn.intervals import wilson_interval
from symmbfn.model.checkpoints import WEIGHTS_FILE, weights_folder
from symmbfn.pages.screening_report import write_report
from symmbfn.runtime.files import file_digest, whole_file
from symmbfn.screening.screen import TABLE, ScreeningConfig, screen

N, N_RELAXED = 10_000, 1000
TEN_GROUPS = (2, 12, 14, 62, 63, 139, 166, 194, 221, 225)  # the paper's "10 SGs"
MODELS: dict[str, dict[str, Any]] = {
    "default": {"weights": "default"},
    "paper": {"weights": "paper"},
    "sg10": {"weights": "default", "space_group_number": TEN_GROUPS},
    "no_clearance": {"weights": "default", "clearance": 0.0},
}
CONTROLS = ("real", "shuffled", "random")
RATES = {
    "structurally_valid": "validity_structural",
    "compositionally_valid": "validity_smact",
    "no_short_contact": "contacts",
    "group_kept": "group_kept",
    "group_kept_default": "group_kept_default",
    "unique": "unique",
    "novel": "novel",
    "novel_anywhere": "novel_anywhere",
    "unique_and_novel": "unique_and_novel",
}
FIGURES = ("stable", "metastable", "sun", "msun")  # of each convention that has them
MEANING = {
    "ours": "Ours: formation energies with references fitted to DFT; stable at 0 eV/atom and less, "
    "metastable at 0.1 and less.",
    "paper_rule": "The paper's arithmetic: CHGNet's energies less the elements' energies in the "
    "Materials Project, nothing fitted; limits 0 and 0.1 eV/atom.",
    "mattergen": "MatterGen's limit: below 0.1 eV/atom. Its relaxer and matcher are others.",
    "lemat": "LeMat-GenBench's limits: stable at 0 eV/atom and less, metastable above 0 and at "
    "most 0.1. Its judges, matcher and novelty reference are others.",
}
STRICTER = {
    "known_system": "Only where the hull has a phase of exactly these elements. ",
    "novel_anywhere": "New against every split at hand, not train alone. ",
    "compounds": "Pure elements never count. ",
}
BEST_PUBLISHED = "CrysBFN"  # largest S.U.N. rate in Table 1 of the paper, for MP-20
ROW_COLUMNS = [
    *("index", "formula", "status", "relax_status", "space_group_number", "found_group"),
    *("relaxed_duplicate_of", "relaxed_is_novel_anywhere", "relax_seconds"),
    *("relaxed_group", "is_structurally_valid", "is_smact_valid", "contact_ratio", "n_atoms"),
    *("n_elements", "density", "volume_per_atom", "relaxed_is_first", "relaxed_is_novel"),
    *("nearest_train", "n_steps", "is_converged", "formation_energy_per_atom", "e_above_hull"),
    *("e_above_hull_unfitted", "has_predicted_phases", "knows_system"),
]
HULL_NOTE = "Hull: {hull}. Relaxed by {judge}, fmax 0.1 eV/angstrom."


def main() -> None:
    options = _options()
    for name in options.names:
        folder = options.work / "screened" / name
        if name in MODELS:
            source = options.work / name
            generate_run(source, n=options.n, seed=options.seed, workers=1, **MODELS[name])
        else:
            source = options.work / "controls" / f"{name}.csv.gz"
        relax_first = options.relax_first if name in MODELS else None
        config = ScreeningConfig(relax="chgnet", relax_first=relax_first)
        screen(source, folder, config, workers=options.workers)
        report = write_report(folder, split=options.split)
        command = f"python -m scripts.evaluation.run {name}"
        if (options.n, options.relax_first) != (N, N_RELAXED):
            command += f" --n {options.n} --relax-first {options.relax_first}"
        command += "" if options.split == "val" else f" --split {options.split}"
        table = pd.read_parquet(folder / TABLE)
        if options.split == "val":
            claims = [*_claims(name, report, table, command)]
        else:
            claims = [*_distances(f"{name}.{options.split}", report, command, weights_of(name))]
        record("evaluation", claims)
        if options.split == "val":
            _keep_rows(name, _without_own(table) if name == "real" else table)
        print(f"{name}: {len(claims)} figures")


def _keep_rows(name: str, table: pd.DataFrame) -> None:
    """Put what chapters plot of each relaxed crystal beside the claims."""
    rows = table.loc[table["relax_status"].notna(), ROW_COLUMNS]
    narrow = {c: "float32" for c in rows.select_dtypes("float64")}
    with whole_file(RESULTS / f"judged_{name}.parquet") as part:
        rows.astype(narrow).to_parquet(part, index=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=[*MODELS, *CONTROLS])
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--relax-first", type=int, default=N_RELAXED)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--split", default="val", choices=["val", "test_open"])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluation")
    return parser.parse_args()


def _claims(
    name: str, report: dict[str, Any], table: pd.DataFrame, command: str
) -> Iterator[Claim]:
    """All figures of one crowd."""
    prefix = name if name in MODELS else f"control.{name}"
    judging = {"hull": report["hull"], "judge": report["judge"]}
    shared = {"command": command, "seed": 0, "versions": weights_of(name) | judging}
    for key, label in RATES.items():
        if key in report["rates"]:
            yield _rate(f"{prefix}.{label}", report["rates"][key], **shared)
    note = HULL_NOTE.format(hull=report["hull"], judge=report["judge"])
    judged, about = report, note
    if name == "real":
        # a crystal of the data lies on the hull by its own entry, a new one has none there
        judged, about = summarise(_without_own(table)), f"Own entry of the hull left out. {note}"
        for row in report["stability"]:
            if row["convention"] == "ours" and row["figure"] in ("stable", "metastable"):
                own_in = f"{prefix}.{row['figure']}.ours.own_in"
                yield _row(own_in, pd.Series(row), f"Own entry in the hull. {note}", **shared)
    yield from stability_claims(prefix, judged, about, **shared)
    yield _rate(f"{prefix}.converged", report["relaxation"]["converged"], **shared)
    yield _rate(f"{prefix}.relaxed_group_kept", report["relaxation"]["group_kept"], **shared)
    if name in MODELS:
        yield from _distances(prefix, report, command, weights_of(name))
        yield from cost_claims(prefix, report, **shared)
    if name == "real":
        yield from _held_real(prefix, table, note, **shared)


def _without_own(table: pd.DataFrame) -> pd.DataFrame:
    """The same crystals, each against the hull without its own entry."""
    rise = table["e_above_hull_without_own"] - table["e_above_hull"]
    return table.assign(
        e_above_hull=table["e_above_hull_without_own"],
        e_above_hull_unfitted=table["e_above_hull_unfitted"] + rise,
    )


def stability_claims(
    prefix: str, report: dict[str, Any], note: str, **shared: Any
) -> Iterator[Claim]:
    """Rates of every convention, and ours with less benefit of the doubt."""
    for row in report["stability"]:
        convention, figure = row["convention"], row["figure"]
        if (convention, figure) == ("any", "unknown"):
            about = f"No failure, and no energy above the hull. {note}"
            yield _row(f"{prefix}.unknown", pd.Series(row), about, **shared)
        elif convention in MEANING and figure in FIGURES:
            name = f"{prefix}.{figure}.{convention}"
            claim = _row(name, pd.Series(row), f"{MEANING[convention]} {note}", **shared)
            yield _with_aim(claim, row) if prefix == "default" else claim
    for label, found in report["stricter"].items():
        for row in found:
            if row["convention"] == "ours":
                name = f"{prefix}.{row['figure']}.ours.{label}"
                yield _row(name, pd.Series(row), STRICTER[label] + note, **shared)


def _with_aim(claim: Claim, row: dict[str, Any]) -> Claim:
    """The claim, with what the default weights should reach, where something was stated."""
    if claim.name == "default.metastable.ours":
        return replace(claim, aim="at least 58 %", met=bool(row["rate"] >= 0.58))
    if claim.name != "default.sun.paper_rule":
        return claim
    theirs, n = published_table(1).of("mp_20")[BEST_PUBLISHED].value("sun"), 10_000
    assert theirs is not None
    pooled = (row["count"] + theirs / 100 * n) / (row["n"] + n)
    z = (row["rate"] - theirs / 100) / (pooled * (1 - pooled) * (1 / row["n"] + 1 / n)) ** 0.5
    aim = f"above {BEST_PUBLISHED}'s {theirs:g} % of {n} with z > 3"
    return replace(claim, aim=aim, met=bool(z > 3), note=f"{claim.note} z = {z:.1f}.")


def _rate(name: str, rate: dict[str, Any], **shared: Any) -> Claim:
    low, high = rate["interval"]
    return Claim(
        name,
        round(100 * rate["share"], 2),
        unit="%",
        n=rate["n"],
        interval=(round(100 * low, 2), round(100 * high, 2)),
        note=f"{rate['count']} of {rate['n']} requests.",
        **shared,
    )


def _row(name: str, row: pd.Series, note: str, **shared: Any) -> Claim:
    n, count = int(row["n"]), int(row["count"])
    rate = {"count": count, "n": n, "share": count / n, "interval": (row["low"], row["high"])}
    claim = _rate(name, rate, **shared)
    return replace(claim, note=f"{claim.note} {note}")


def _distances(
    prefix: str, report: dict[str, Any], command: str, versions: dict[str, str]
) -> Iterator[Claim]:
    """Distances of all crystals; of draws of 1,000 valid ones, as the tables print them."""
    split = report["reference"]["split"]
    for name, row in report["distances"].items():
        half = 1.96 * row["deviation"]
        yield Claim(
            f"{prefix}.{name}",
            round(row["value"], 4),
            command,
            unit=row["unit"],
            n=row["n"],
            seed=0,
            interval=(round(max(0.0, row["value"] - half), 4), round(row["value"] + half, 4)),
            note=f"Against {report['reference']['n']} crystals of mp_20 {split}; as many real ones "
            f"of train are at {row['floor_mean']:.4f} +- {row['floor_sd']:.4f}.",
            versions=versions,
        )
    for name, (mean, deviation) in report.get("distances_of_1000", {}).get("valid", {}).items():
        yield Claim(
            f"{prefix}.valid1000.{name}",
            round(mean, 4),
            command,
            unit=report["distances"][name]["unit"],
            n=1000,
            seed=0,
            interval=(
                round(max(0.0, mean - 1.96 * deviation), 4),
                round(mean + 1.96 * deviation, 4),
            ),
            note=f"Mean and spread of 20 draws of 1,000 valid crystals, against mp_20 {split}.",
            versions=versions,
        )


def cost_claims(prefix: str, report: dict[str, Any], **shared: Any) -> Iterator[Claim]:
    """Seconds for one crystal that counts: as the paper counts, and with relaxation."""
    stages = report["costs"]["seconds_per_sample"]
    spent = ", ".join(f"{stage} {1e3 * seconds:.1f} ms" for stage, seconds in stages.items())
    n = report["n_relaxed"]
    for figure in ("stable", "sun"):
        prices = report["costs"][figure]
        made = [prices[stage] for stage in ("generation", "rebuilding") if stage in prices]
        if any(price["seconds"] is None or None in price["interval"] for price in made):
            continue
        ends = zip(*(price["interval"] for price in made), strict=True)
        low, high = (round(sum(end), 4) for end in ends)
        yield Claim(
            f"{prefix}.cost_{figure}_s",
            round(sum(price["seconds"] for price in made), 4),
            unit="s",
            n=n,
            interval=(low, high),
            note=f"Generation and rebuilding, as the paper counts, one CPU thread; {spent} a "
            "crystal. The interval is that of the rate.",
            **shared,
        )
        total = prices["total"]
        yield Claim(
            f"{prefix}.cost_{figure}_relaxed_s",
            round(total["seconds"], 3),
            unit="s",
            n=n,
            interval=(round(total["interval"][0], 3), round(total["interval"][1], 3)),
            note="The same with the processor time of relaxation.",
            **shared,
        )


def _held_real(prefix: str, table: pd.DataFrame, note: str, **shared: Any) -> Iterator[Claim]:
    """How right "stable" is about real crystals whose official answer is known."""
    official = load_dataset("mp_20", "test_open").set_index("material_id")["e_above_hull"]
    truth = table["name"].map(official)
    for label, column in (("", "e_above_hull"), (".without_own", "e_above_hull_without_own")):
        found = table[column]
        is_known = truth.notna() & found.notna()
        says, true = found[is_known] <= STABLE, truth[is_known] <= 1e-6
        error = (found - truth)[is_known].abs()
        about = "own hull entry left out" if label else "own hull entry in"
        yield _share(f"{prefix}.precision{label}", true[says], f"{about}. {note}", shared)
        yield _share(f"{prefix}.recall{label}", says[true], f"{about}. {note}", shared)
        spread = 1.96 * error.std(ddof=1) / np.sqrt(len(error))
        yield Claim(
            f"{prefix}.hull_mae{label}",
            round(float(error.mean()), 4),
            unit="eV/atom",
            n=len(error),
            interval=(round(error.mean() - spread, 4), round(error.mean() + spread, 4)),
            note=f"After relaxation, against the official e_above_hull; {about}. {note}",
            **shared,
        )


def _share(name: str, holds: pd.Series, note: str, shared: dict[str, Any]) -> Claim:
    count, n = int(holds.sum()), len(holds)
    rate = {"count": count, "n": n, "share": count / n, "interval": wilson_interval(count, n)}
    return replace(_rate(name, rate, **shared), note=f"{count} of {n}. {note}")


def weights_of(name: str) -> dict[str, str]:
    """Weights of a crowd, as claims name them; none of a control."""
    return weights_of_preset(MODELS[name]["weights"]) if name in MODELS else {}


def weights_of_preset(preset: str) -> dict[str, str]:
    """Shipped weights as claims name them."""
    return {f"weights/{preset}": file_digest(weights_folder(preset) / WEIGHTS_FILE)}


if __name__ == "__main__":
    main()
