"""Compare matgl's M3GNet and MEGNet with the values of MP-20 val (`make judges` first).

Records `judges.*` in `results/evaluation.json`: how far the formation energies and band gaps of
each model lie from those of MP-20, on random crystals whose values are known.

Run: python -m scripts.evaluation.judges [--n 500] [--seed 0]
"""

import argparse

import numpy as np

from scripts.evaluation.property_claims import mean_error, show_and_record
from symmbfn.claims.store import Claim
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.structure import parse_cif
from symmbfn.datasets.registry import load_dataset
from symmbfn.evaluation.energies.labels import METAL_GAP
from symmbfn.evaluation.energies.matgl import MODELS, MatglJudge, predict_matgl

SHORT = {
    "m3gnet_formation_energy": "m3gnet_eform",
    "megnet_formation_energy": "megnet_eform",
    "megnet_band_gap": "megnet_gap",
}
OLDER = "MP-20 has the Materials Project of 2021, the model an older one"


def claims(n: int, seed: int) -> list[Claim]:
    """Predict and compare."""
    table = load_dataset("mp_20", "val")
    table = table[table["formation_energy_per_atom"].notna() & table["band_gap"].notna()]
    table = table.iloc[np.random.default_rng(seed).permutation(len(table))[:n]]
    with MatglJudge() as judge:
        versions = judge.versions
    found = predict_matgl(Cell.from_pymatgen(parse_cif(text)) for text in table["cif"])
    shared = {
        "command": f"python -m scripts.evaluation.judges --n {n} --seed {seed}",
        "seed": seed,
        "versions": versions,
    }
    measured = []
    for column, short in SHORT.items():
        is_gap = "gap" in column
        true = table["band_gap" if is_gap else "formation_energy_per_atom"].to_numpy()
        done = found[column].notna().to_numpy()
        errors = np.abs(found[column].to_numpy() - true)
        shared |= {"unit": "eV" if is_gap else "eV/atom"}
        note = f"{MODELS[column]} on random crystals of MP-20 val, {(~done).sum()} without answer"
        name = f"judges.{short}.mae_ev"
        measured.append(mean_error(name, errors[done], note=f"{note}; {OLDER}", **shared))
        if is_gap:
            some = done & (true > METAL_GAP)
            note = f"{note}; those with a gap"
            measured.append(mean_error(f"{name}_nonmetals", errors[some], note=note, **shared))
    return measured


def main() -> None:
    """Measure and record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    show_and_record(claims(arguments.n, arguments.seed))


if __name__ == "__main__":
    main()
