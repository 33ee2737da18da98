"""How near crystals come to the property they are asked for, with and without its table.

    python -m scripts.conditioning.steering

The same seeds, by the shipped weights. Crystals stay as they are generated; formation energies
are CHGNet's at these geometries, band gaps those of the package's regressor.
"""

import argparse
from dataclasses import replace

import numpy as np
import pandas as pd

from scripts.evaluation.property_claims import mean_error
from scripts.evaluation.run import weights_of_preset
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.evaluation.energies.labels import describe_all, described_table, label
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import load_model

COMMAND = "python -m scripts.conditioning.steering"
TARGETS = {"formation_energy_per_atom": (-0.4, -2.78, -4.0), "band_gap": (0.0, 2.0, 5.0)}
N, SEED = 200, 0


def main() -> None:
    """Generate, label and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.parse_args()
    model = load_model("default")
    tables = model.statistics.property_tables
    for name, targets in TARGETS.items():
        for target in targets:
            for which in ("table", "no_table"):
                used = tables if which == "table" else {}
                model.statistics = replace(model.statistics, property_tables=used)
                request = Request(n=N, seed=SEED, properties={name: target})
                found = labelled(generate(request, weights=model))[name].dropna().to_numpy()
                one = claim_of(name, target, which, found)
                print(f"{one.name} = {one.value} {one.unit} {one.interval} n {one.n} {one.note}")
                record("conditioning", [one])


def labelled(crystals: list[Crystal]) -> pd.DataFrame:
    """Formation energies and band gaps of those that have a structure."""
    cells = [Cell.of(one, primitive=True) for one in crystals if one.status == "ok"]
    rows = sorted(describe_all(cells), key=lambda row: row[0])
    return label(described_table(row for _, row in rows))


def claim_of(name: str, target: float, which: str, found: np.ndarray) -> Claim:
    """Mean distance to the target."""
    place = f"{target:g}".replace(".", "_")
    how = "drawn given the value" if which == "table" else "as frequent as in training"
    return mean_error(
        f"steering.{name}.{place}.{which}.mae",
        np.abs(found - target),
        command=COMMAND,
        unit="eV" if name == "band_gap" else "eV/atom",
        seed=SEED,
        note=f"Mean {found.mean():.2f}. Space group, sites and number of elements {how}; "
        f"{N} requests.",
        versions=weights_of_preset("default"),
    )


if __name__ == "__main__":
    main()
