"""How often geometry comes out right when the template is given, by number of free coordinates.

    python -m scripts.conditioning.templates              1,000 crystals of MP-20 val, one draw each
    python -m scripts.conditioning.templates --n 40       fewer

Each request gives the Wyckoff letters and elements of all sites of a real crystal; lattice and
coordinates are open. Records `template.match.*` in `results/conditioning.json`.
"""

import argparse
import warnings
from collections.abc import Iterator

import numpy as np
import torch

from scripts.evaluation.property_claims import counted, mean_error
from scripts.evaluation.run import weights_of_preset
from scripts.foundation.data import read, row_of
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.draw import draw
from symmbfn.conditions.request import Request
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.structure import parse_cif
from symmbfn.crystals.symmetry import CRYSTAL_SYSTEMS, symmetry_tables
from symmbfn.evaluation.similarity.prediction import Match, match_pairs
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN

SEED, N = 0, 1000
# first and last number of free coordinates
FREE = {
    "free_0": (0, 0),
    "free_1_2": (1, 2),
    "free_3_5": (3, 5),
    "free_6_11": (6, 11),
    "free_12": (12, 10**6),
}
AIMS = {"free_6_11": 70.0, "free_12": 45.0, "triclinic": 20.0}
COMMAND = "python -m scripts.conditioning.templates"


def main() -> None:
    """Predict, match and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of spglib
    torch.set_num_threads(1)
    model, (table, val) = load_model("default"), read("mp_20", "val")
    rows = np.random.default_rng(SEED).permutation(len(val))[: options.n].tolist()
    units = [val.unit(row) for row in rows]
    found = predictions(model, units)
    raw = row_of("mp_20", "val")
    truth = [parse_cif(table.cif[raw[row]]) for row in rows]
    pairs = [
        (crystal.to_pymatgen(primitive=True) if crystal and crystal.has_structure else None, true)
        for crystal, true in zip(found, truth, strict=True)
    ]
    matches = match_pairs(pairs, workers=options.workers)
    n_refused = sum(crystal is None for crystal in found)
    claims = list(claims_of(units, matches, n_refused))
    for claim in claims:
        print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval} n {claim.n}")
    record("conditioning", claims)


def predictions(model: SymmBFN, units: list[AsymmetricUnit]) -> list[Crystal | None]:
    """A crystal with the template of each unit; None where the model refuses it."""
    requests = [Request(n=1, seed=SEED, template=unit) for unit in units]
    known = [place for place, one in enumerate(requests) if _is_possible(model, one)]
    found: list[Crystal | None] = [None] * len(units)
    for crystal in generate([requests[place] for place in known], weights=model):
        found[known[crystal.request]] = crystal
    return found


def _is_possible(model: SymmBFN, request: Request) -> bool:
    try:
        draw(request, model.config, model.statistics)
    except ValueError as error:
        print(f"refused: {error}", flush=True)
        return False
    return True


def claims_of(units: list[AsymmetricUnit], matches: list[Match], n_refused: int) -> Iterator[Claim]:
    """Shares that match: of all, by number of free coordinates, and by crystal system.

    Args:
        units: that the templates are of.
        matches: of one crystal each.
        n_refused: templates that the model refuses, which are among the ones without a match.
    """
    facts = {"command": COMMAND, "seed": SEED, "versions": weights_of_preset("default")}
    is_match = np.array([match.is_match for match in matches])
    about = "Crystals of MP-20 val that match one draw with their template (StructureMatcher, "
    about += f"0.3, 0.5, 10 degrees; unrelaxed; {n_refused} templates refused count as none)."
    n_free = np.array([_n_free(unit) for unit in units])
    groups = np.array([unit.space_group_number for unit in units])
    parts = {"all": np.ones(len(units), dtype=bool)}
    parts |= {name: (n_free >= first) & (n_free <= last) for name, (first, last) in FREE.items()}
    parts |= {
        name: (groups >= first) & (groups <= last)
        for name, (first, last) in CRYSTAL_SYSTEMS.items()
    }
    for name, chosen in parts.items():
        count, n = int(is_match[chosen].sum()), int(chosen.sum())
        if n:
            aim = AIMS.get(name)
            yield counted(
                f"template.match.{name}",
                count,
                n,
                note=about,
                **facts,
                aim=None if aim is None else f"above {aim:g} %",
                met=None if aim is None else 100 * count / n > aim,
            )
    distances = np.array([match.distance for match in matches if match.distance is not None])
    yield mean_error(
        "template.match.rmse", distances, note=f"Of those that match. {about}", **facts
    )


def _n_free(unit: AsymmetricUnit) -> int:
    tables = symmetry_tables()
    start = tables.position_start[unit.space_group_number - 1]
    return int(tables.degrees_of_freedom[start + np.asarray(unit.wyckoff_positions)].sum())


if __name__ == "__main__":
    main()
