"""Judge the judge: the convex hull and CHGNet's energies on crystals whose answers are known.

`fit` ties CHGNet's total energies to formation energies on MP-20 train and writes the element
references that the package ships. `claims` compares, on MP-20 val, energies above our hull with
the official ones: first with the official formation energies, which tests the hull alone, then
with CHGNet's; against the open hull and against the whole one. Hulls take their extra points from
train, so they know no answer of val.

CHGNet's energies are single-point energies of the raw crystals; the first call computes those
of a split, 10 ms a crystal, and later calls find them in the cache.

Run: python -m scripts.evaluation.hull {fit,claims,labels}
"""

import argparse
import os
import time
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from symmbfn.claims.store import Claim, record
from symmbfn.datasets import label_files
from symmbfn.datasets.registry import DATASETS
from symmbfn.evaluation.energies import references as shipped
from symmbfn.evaluation.energies.entries import (
    DFT,
    composition_from_formula,
    digest_of,
    read_columns,
    read_elemental_energies,
)
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.hull_labels import hull_labels
from symmbfn.evaluation.energies.labels import describe_dataset
from symmbfn.evaluation.energies.mp_hulls import open_hull, whole_hull, whole_phases
from symmbfn.evaluation.energies.potentials import CHGNET
from symmbfn.evaluation.energies.references import (
    ElementReferences,
    chgnet_references,
    fit_references,
    residuals,
)
from symmbfn.intervals import wilson_interval

ELEMENTAL = "mp_elemental_reference_entries_2023-02-07.json.gz"
ORIGIN = (
    "DFT with corrections: Materials Project of 2023-02-07, CC BY 4.0, Jain et al. 2013; "
    "file of janosh/matbench-discovery, MIT"
)
ON_THE_HULL = 1e-6  # eV/atom; the official values carry the rounding of their energies
SINGLE_POINTS = "CHGNet 0.3.0 single points on MP-20 val"
OPTIMISTIC = "CHGNet was trained on the Materials Project, and most likely on these crystals too"
COMMAND = "python -m scripts.evaluation.hull claims"


def data_path(name: str) -> Path:
    """A file of SYMMBFN_DATA."""
    return Path(os.environ["SYMMBFN_DATA"], name)


def known_rows(split: str, *columns: str) -> pd.DataFrame:
    """Rows of MP-20 where all these columns are known, with their compositions."""
    table = read_columns(data_path(DATASETS["mp_20"].local[split]))
    known = table[table[list(columns)].notna().all(axis=1)]
    compositions = [composition_from_formula(formula) for formula in known["formula"]]
    return known.assign(composition=compositions).reset_index(drop=True)


def with_energies(rows: pd.DataFrame, split: str) -> pd.DataFrame:
    """Add CHGNet's `energy_per_atom`; a crystal that it failed on goes, and is told of."""
    described = describe_dataset("mp_20", split)[["material_id", "energy_per_atom"]]
    joined = rows.merge(described.rename(columns={"material_id": "id"}), on="id", how="left")
    is_known = joined["energy_per_atom"].notna()
    print(f"{split}: {is_known.sum()} of {len(rows)} crystals have an energy of CHGNet")
    return joined[is_known].reset_index(drop=True)


def fit() -> None:
    """Fit the references on train, print what val says of them, and write them."""
    elements()
    train = with_energies(known_rows("train", "formation_energy_per_atom"), "train")
    elemental = read_elemental_energies(data_path(ELEMENTAL))
    columns = (list(train["composition"]), *energies_of(train))
    fitted = fit_references(*columns, elemental=elemental)
    crystals = data_path(DATASETS["mp_20"].local["train"])
    fitted = replace(
        fitted,
        energies={symbol: round(mu, 6) for symbol, mu in fitted.energies.items()},
        digest=digest_of([crystals, data_path(ELEMENTAL)]),
        potential=f"CHGNet 0.3.0 of chgnet {version('chgnet')}",
    )
    fitted.save(Path(shipped.__file__).with_name(shipped.SHIPPED))
    val = with_energies(known_rows("val", "formation_energy_per_atom"), "val")
    for name, references in (("entries", ElementReferences(elemental)), ("fitted", fitted)):
        left = residuals(references, list(val["composition"]), *energies_of(val))
        print(f"{name}: {1e3 * np.abs(left).mean():.2f} meV/atom on {len(left)} val crystals")


def elements() -> None:
    """Write the elements' own energies, which are facts of the Materials Project."""
    path = data_path(ELEMENTAL)
    energies = {symbol: round(mu, 8) for symbol, mu in read_elemental_energies(path).items()}
    references = ElementReferences(energies, digest=digest_of([path]), potential=ORIGIN)
    references.save(Path(shipped.__file__).with_name(shipped.ELEMENTAL))


def energies_of(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """CHGNet's total and the official formation energies, eV/atom."""
    columns = ("energy_per_atom", "formation_energy_per_atom")
    return rows[columns[0]].to_numpy(float), rows[columns[1]].to_numpy(float)


def distances(
    hull: Hull, rows: pd.DataFrame, formation: np.ndarray, *, own_entry: bool
) -> np.ndarray:
    """Energy above our hull of every row, with its own entry in the hull or without it."""
    triples = zip(rows["composition"], formation, rows["id"], strict=True)
    return np.array(
        [
            hull.e_above_hull(composition, float(energy), exclude=() if own_entry else [id_])
            for composition, energy, id_ in triples
        ]
    )


def mean_of(name: str, values: np.ndarray, unit: str, note: str) -> Claim:
    """A mean with its interval."""
    mean, half = float(values.mean()), float(1.96 * values.std(ddof=1) / np.sqrt(len(values)))
    interval = (round(mean - half, 5), round(mean + half, 5))
    return Claim(name, round(mean, 5), COMMAND, unit, len(values), interval=interval, note=note)


def mean_absolute(name: str, errors: np.ndarray, unit: str, note: str) -> Claim:
    """Mean absolute error."""
    return mean_of(name, np.abs(errors), unit, note)


def share(name: str, holds: np.ndarray, note: str) -> Claim:
    """A share in per cent with its Wilson interval."""
    count, n = int(holds.sum()), len(holds)
    low, high = (round(100 * end, 2) for end in wilson_interval(count, n))
    value = round(100 * count / n, 2)
    return Claim(name, value, COMMAND, unit="%", n=n, interval=(low, high), note=note)


def calls(prefix: str, said: np.ndarray, true: np.ndarray, suffix: str, note: str) -> list[Claim]:
    """Precision and recall of "stable"."""
    base = f"{note}; {100 * true.mean():.1f} % of these crystals are stable"
    return [
        share(f"{prefix}.precision{suffix}", true[said], f"of those called stable, {base}"),
        share(f"{prefix}.recall{suffix}", said[true], f"of the stable ones, {base}"),
    ]


def hull_claims(hull: Hull, rows: pd.DataFrame) -> list[Claim]:
    """The hull alone: official formation energies against official distances."""
    formation = rows["formation_energy_per_atom"].to_numpy(float)
    official = rows["e_above_hull"].to_numpy(float)
    start = time.process_time()
    ours = distances(hull, rows, formation, own_entry=True)
    ms = 1e3 * (time.process_time() - start) / len(rows)
    errors = ours - official
    said, true = ours <= ON_THE_HULL, official <= ON_THE_HULL
    against = f"{hull.name}, digest {hull.digest[:12]}, on MP-20 val with official energies"
    without = [
        hull.at(c, exclude=[i]) for c, i in zip(rows["composition"], rows["id"], strict=True)
    ]
    return [
        mean_absolute(
            "hull.mae_ev",
            errors,
            "eV/atom",
            f"energy above the hull, {against}; {ms:.1f} ms processor time a query",
        ),
        share("hull.within_10mev", np.abs(errors) <= 0.01, against),
        share(
            "hull.not_overestimated",
            errors <= ON_THE_HULL,
            f"{against}; largest excess {1e3 * errors.max():.3f} meV/atom",
        ),
        share("hull.agreement", said == true, f"on stable or not, {against}"),
        *calls("hull", said, true, "", against),
        share(
            "hull.covered",
            np.array([point.is_covered for point in without]),
            f"without the crystal's own entry the hull knows a compound of its system; {against}",
        ),
    ]


def whole_hull_claims(whole: Hull, opened: Hull, rows: pd.DataFrame) -> list[Claim]:
    """The whole hull beside the open one, with official formation energies."""
    formation = rows["formation_energy_per_atom"].to_numpy(float)
    official = rows["e_above_hull"].to_numpy(float)
    errors, stable, times = {}, {}, {}
    for hull in (whole, opened):
        start = time.process_time()
        errors[hull] = 1e3 * (distances(hull, rows, formation, own_entry=True) - official)
        times[hull] = 1e3 * (time.process_time() - start) / len(rows)
        stable[hull] = distances(hull, rows, formation, own_entry=False) <= ON_THE_HULL
    on = f"{whole.name}, digest {whole.digest[:12]}, on MP-20 val with official energies"
    own_in = f"energy above the hull less the official one, own entry in the hull; {on}"
    high = 100 * (errors[whole] > 25).mean()
    shares = {hull: 100 * is_stable.mean() for hull, is_stable in stable.items()}
    return [
        mean_of(
            "hull.full.bias_mev",
            errors[whole],
            "meV/atom",
            f"{own_in}; {errors[opened].mean():.2f} with the open hull",
        ),
        mean_absolute(
            "hull.full.mae_mev",
            errors[whole],
            "meV/atom",
            f"{own_in}; {np.abs(errors[opened]).mean():.2f} with the open hull; more than 25 too "
            f"high in {high:.1f} %; {times[whole]:.1f} ms processor time a query",
        ),
        share(
            "hull.full.stable_real",
            stable[whole],
            f"real crystals called stable, own entry left out; officially "
            f"{100 * (official <= ON_THE_HULL).mean():.1f} %, {shares[opened]:.1f} % with the open "
            f"hull; {on}",
        ),
    ]


def reference_claims(
    val: pd.DataFrame, fitted: ElementReferences, elemental: ElementReferences
) -> list[Claim]:
    """Formation energies from CHGNet's, with the shipped references and with the elements' own."""
    columns = (list(val["composition"]), *energies_of(val))
    wheres = {
        "references.residual_mev": (
            fitted,
            f"the shipped references, fitted on {fitted.n_crystals} MP-20 train crystals",
        ),
        "references.unfitted_residual_mev": (elemental, "the elements' own corrected energies"),
    }
    claims = []
    for name, (references, where) in wheres.items():
        left = 1e3 * residuals(references, *columns)
        note = (
            f"formation energy from {SINGLE_POINTS} and {where}; mean {left.mean():.1f}, "
            f"median size {np.median(np.abs(left)):.1f} meV/atom; {OPTIMISTIC}"
        )
        claims.append(mean_absolute(name, left, "meV/atom", note))
    return claims


def judge_claims(hull: Hull, references: ElementReferences, rows: pd.DataFrame) -> list[Claim]:
    """The judge: CHGNet's single-point energies, the references and the hull."""
    official = rows["e_above_hull"].to_numpy(float)
    formation = predicted_formation(references, rows)
    true = official <= ON_THE_HULL
    inside, outside = (
        distances(hull, rows, formation, own_entry=own_entry) for own_entry in (True, False)
    )
    unknown = int(np.isnan(outside).sum())
    error = inside - official
    return [
        mean_absolute(
            "judge.mae_ev",
            error,
            "eV/atom",
            f"energy above the hull from {SINGLE_POINTS}, own entry in the hull; mean "
            f"{1e3 * error.mean():.1f} meV/atom; {OPTIMISTIC}",
        ),
        *calls("judge", inside <= 0, true, ".own_in", f"{SINGLE_POINTS}, own entry in the hull"),
        *calls(
            "judge",
            outside <= 0,
            true,
            ".own_out",
            f"{SINGLE_POINTS}, own entry left out, {unknown} unknown ones not called stable",
        ),
    ]


def judge_of_whole_hull(hull: Hull, references: ElementReferences, rows: pd.DataFrame) -> Claim:
    """The judge with the whole hull."""
    hull.check_judge(CHGNET)
    ours = distances(hull, rows, predicted_formation(references, rows), own_entry=True)
    error = ours - rows["e_above_hull"].to_numpy(float)
    note = (
        f"energy above the hull from {SINGLE_POINTS}, own entry in the hull; mean "
        f"{1e3 * error.mean():.1f} meV/atom; {hull.name}; {OPTIMISTIC}"
    )
    return mean_absolute("judge.full.mae_ev", error, "eV/atom", note)


def predicted_formation(references: ElementReferences, rows: pd.DataFrame) -> np.ndarray:
    """Formation energies from CHGNet's total ones, eV/atom."""
    total, _ = energies_of(rows)
    pairs = zip(rows["composition"], total, strict=True)
    return np.array([references.formation_energy(c, float(energy)) for c, energy in pairs])


def claims() -> None:
    """Measure hull, references and judge, and record."""
    hull, whole = (make(points_from=("train",)) for make in (open_hull, whole_hull))
    known = known_rows("val", "formation_energy_per_atom", "e_above_hull")
    measured = hull_claims(hull, known) + whole_hull_claims(whole, hull, known)
    elemental = ElementReferences(read_elemental_energies(data_path(ELEMENTAL)))
    val = with_energies(known_rows("val", "formation_energy_per_atom"), "val")
    measured += reference_claims(val, chgnet_references(), elemental)
    judged = val[val["e_above_hull"].notna()].reset_index(drop=True)
    measured += judge_claims(hull, chgnet_references(), judged)
    measured.append(judge_of_whole_hull(whole, chgnet_references(), judged))
    for one in measured:
        print(f"{one.name:32} {one.value} {one.unit} {one.interval} n={one.n} ({one.note})")
    record("evaluation", measured)


def labels() -> None:
    """Write the labels that the package ships, and print how they compare with official ones."""
    hull, phases = whole_hull(), whole_phases(chgnet_references())
    for dataset, split in (("mp_20", "train"), ("mp_20", "val"), ("mp2025_other_le20", "train")):
        rows = read_columns(data_path(DATASETS[dataset].local[split]))
        table = hull_labels(hull, phases, list(rows["id"]))
        path = label_files.SHIPPED / f"{dataset}-{split}.parquet"
        label_files.write_labels(table, path, hull=hull.name, hull_digest=hull.digest)
        is_dft, is_stable = table["energy_source"] == DFT, table["e_above_hull"] == 0
        print(
            f"{path.name}: {len(table)} of {len(rows)} crystals, {is_dft.sum()} by DFT, "
            f"{is_stable.sum()} on the hull, digest {table.attrs['digest'][:12]}"
        )
        if "e_above_hull" in rows:
            both = table.merge(rows, left_on="material_id", right_on="id", suffixes=("", "_mp"))
            gap = 1e3 * (both["e_above_hull"] - both["e_above_hull_mp"]).dropna()
            print(
                f"  official: MAE {gap.abs().mean():.2f}, bias {gap.mean():.2f} meV, n {len(gap)}"
            )


def main() -> None:
    """Fit the references, measure, or write labels."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=("fit", "claims", "labels"))
    {"fit": fit, "claims": claims, "labels": labels}[parser.parse_args().task]()


if __name__ == "__main__":
    main()
