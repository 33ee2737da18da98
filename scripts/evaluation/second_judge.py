"""How far the second judge lies from DFT, and where both judges agree.

`fit` ties 7net-l3i5 to formation energies on crystals of MP-20 train and writes the element
references that the package ships. `claims` compares both judges on crystals of MP-20 val, as
they stand: their errors, how these go together, and the time of a point. `agree` counts the
crystals of a screening that both call stable.

Records `second_judge.*` in `results/evaluation.json`. Needs `pip install 'symmbfn[sevennet]'`.

Run: python -m scripts.evaluation.second_judge fit [--workers N]
     python -m scripts.evaluation.second_judge claims [--n 500] [--seed 1] [--workers N]
     python -m scripts.evaluation.second_judge agree --folder FOLDER
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import spearmanr

from scripts.evaluation.property_claims import mean_error, share, show_and_record
from symmbfn.claims.store import Claim
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.structure_texts import structure_of
from symmbfn.evaluation.energies import references as shipped
from symmbfn.evaluation.energies.fitting import (
    Labelled,
    fit_judge,
    fit_to,
    total_energies,
    train_sample,
)
from symmbfn.evaluation.energies.judge import Judge, chgnet_judge
from symmbfn.evaluation.energies.potentials import own_potential
from symmbfn.evaluation.energies.references import ElementReferences, residuals
from symmbfn.evaluation.energies.sevennet import SHIPPED, bare_sevennet, sevennet_judge
from symmbfn.evaluation.energies.stability import is_true
from symmbfn.evaluation.summary import STABLE
from symmbfn.runtime.run_folder import MANIFEST
from symmbfn.screening.screen import TABLE

N_TIMED = 40
DECIMALS = 6  # of a reference, eV
OF_VAL = "on random crystals of MP-20 val as they stand"
COMMAND = "python -m scripts.evaluation.second_judge"


def fit(workers: int) -> None:
    """Fit the references, print what they are worth on others, and write them."""
    found = fit_judge(bare_sevennet(), workers=workers).references
    energies = {symbol: round(mu, DECIMALS) for symbol, mu in found.energies.items()}
    path = Path(shipped.__file__).with_name(SHIPPED)
    replace(found, energies=energies).save(path)
    print(f"{1e3 * (found.held_out_mae or 0):.1f} meV/atom on {found.n_held_out} crystals: {path}")


def claims(n: int, seed: int, workers: int) -> Iterator[Claim]:
    """Both judges on the same crystals of val."""
    val = Labelled.load("val")
    val = val.take(np.random.default_rng(seed).permutation(len(val))[:n].tolist())
    facts = {"command": f"{COMMAND} claims --n {n} --seed {seed}", "seed": seed}
    facts["versions"] = {"sevenn": version("sevenn"), "chgnet": version("chgnet")}
    left = {}
    for name, judge in {"": sevennet_judge(), "chgnet_": chgnet_judge()}.items():
        energies = total_energies(judge, val, workers=workers)
        left[name] = errors(judge.references, val, energies)
        note = f"{judge.name} and its fitted references, {OF_VAL}; {bias(left[name])}"
        yield mean_size(f"second_judge.{name}mae_ev", left[name], note, facts)
        yield seconds(f"second_judge.{name}point_s", judge, val.take(range(N_TIMED)), facts)
    yield together(left[""], left["chgnet_"], facts)
    bare = replace(bare_sevennet(), correction=None)
    train = train_sample()
    references = fit_to(train, total_energies(bare, train, workers=workers))
    raw = errors(references, val, total_energies(bare, val, workers=workers))
    note = f"{bare.name} without corrections, references fitted anew, {OF_VAL}; {bias(raw)}"
    yield mean_size("second_judge.uncorrected_mae_ev", raw, note, facts)


def errors(references: ElementReferences, crystals: Labelled, energies: np.ndarray) -> np.ndarray:
    """Formation energies less the known ones, eV/atom."""
    known = crystals.formation_energy_per_atom
    return residuals(references, crystals.compositions, energies, known)


def bias(left: np.ndarray) -> str:
    """Mean error, and how many have none."""
    return f"bias {1e3 * np.nanmean(left):+.1f} meV/atom, {np.isnan(left).sum()} without energy"


def mean_size(name: str, left: np.ndarray, note: str, facts: dict[str, Any]) -> Claim:
    """Mean absolute error of those that have one."""
    sizes = np.abs(left[np.isfinite(left)])
    return mean_error(name, sizes, unit="eV/atom", note=note, **facts)


def together(ours: np.ndarray, theirs: np.ndarray, facts: dict[str, Any]) -> Claim:
    """Whether one judge errs where the other does: Pearson's r, its interval by Fisher's z."""
    is_both = np.isfinite(ours) & np.isfinite(theirs)
    n = int(is_both.sum())
    r = float(np.corrcoef(ours[is_both], theirs[is_both])[0, 1])
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(n - 3))
    interval = round(float(low), 3), round(float(high), 3)
    rank = float(spearmanr(ours[is_both], theirs[is_both]).statistic)
    note = f"Pearson's r of the errors of both judges, {OF_VAL}; of their ranks {rank:.2f}"
    name = "second_judge.error_correlation"
    return Claim(name, round(r, 3), n=n, interval=interval, note=note, **facts)


def seconds(name: str, judge: Judge, crystals: Labelled, facts: dict[str, Any]) -> Claim:
    """Processor time of energy, forces and stress of one crystal, one thread."""
    torch.set_num_threads(1)
    potential = own_potential(judge.make)
    cells = [Cell.from_pymatgen(structure_of(text)) for text in crystals.texts]
    potential(cells)  # compiles
    times = []
    for cell in cells:
        begin = time.process_time()
        potential([cell])
        times.append(time.process_time() - begin)
    atoms = np.mean([len(cell) for cell in cells])
    note = f"processor time of one point by {judge.name}, one thread, {atoms:.1f} atoms on average"
    return mean_error(name, np.array(times), unit="s", note=note, **facts)


def agree(folder: Path) -> Iterator[Claim]:
    """Where both judges call the same relaxed crystals stable."""
    table = pd.read_parquet(folder / TABLE)
    manifest = json.loads((folder / MANIFEST).read_text())
    relaxed = table[table["relax_status"].notna()]
    # crystals that were asked about whatever the first judge said of them
    first = manifest["second_first"]
    some = relaxed if first is None else relaxed[relaxed["index"] < first]
    heights = some[["e_above_hull", "second_e_above_hull"]].dropna()
    says = (heights <= STABLE).to_numpy()
    judges = f"{manifest['relaxation']['model']} and {manifest['second_judge']}"
    note = f"{judges}, of relaxed crystals of {Path(manifest['source_name']).name}"
    facts: dict[str, Any] = {"command": f"{COMMAND} agree --folder {folder.name}"}
    yield share("second_judge.agree_stable", says[:, 0] == says[:, 1], note=note, **facts)
    stable = says[says[:, 0], 1]
    about = f"{note}: of those that the first judge calls stable, those that the second one does"
    yield share("second_judge.confirms_stable", stable, note=about, **facts)
    is_both = is_true(relaxed["is_stable_by_both"]) & is_true(relaxed["relaxed_is_novel"])
    is_first = is_both & ~relaxed.where(is_both)["relaxed_duplicate_of"].duplicated()
    is_sun = is_first & relaxed["relaxed_duplicate_of"].notna()
    about = f"{note}: stable by both, unique and novel, of all that were sent to relaxation"
    yield share("second_judge.sun_both", is_sun.to_numpy(), note=about, **facts)


def main() -> None:
    """Fit, measure or count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("fit", "claims", "agree"))
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1, help="0 chose what the fit is measured on")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="of a screening with a second judge")
    options = parser.parse_args()
    if options.what == "fit":
        fit(options.workers)
    elif options.what == "claims":
        show_and_record(list(claims(options.n, options.seed, options.workers)))
    elif options.folder is None:
        parser.error("agree needs --folder")
    else:
        show_and_record(list(agree(options.folder)))


if __name__ == "__main__":
    main()
