"""Count crystals that were relaxed before, against the hull at hand.

    python -m scripts.evaluation.rejudge default paper sg10 no_clearance shuffled random

`results/judged_NAME.parquet` keeps the formation energy of every relaxed crystal. With another hull
the energies stay and the distances change, so nothing has to be relaxed again. Distances from
real crystals and validity are not touched.
"""

import argparse
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from scripts.evaluation.run import (
    CONTROLS,
    HULL_NOTE,
    MODELS,
    cost_claims,
    stability_claims,
    weights_of,
)
from symmbfn.claims.store import RESULTS, Claim, claims, record
from symmbfn.evaluation.energies.entries import composition_from_formula
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import chgnet_judge
from symmbfn.evaluation.energies.mp_hulls import default_hull
from symmbfn.evaluation.energies.references import elemental_references
from symmbfn.evaluation.summary import summarise
from symmbfn.runtime.files import whole_file

COMMAND = "python -m scripts.evaluation.rejudge"
SECONDS = re.compile(r"(\w+) ([\d.]+) ms")  # of each stage, in the note of a cost


def main() -> None:
    """Count again and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="+", choices=[*MODELS, *CONTROLS])
    hull = default_hull()
    for name in parser.parse_args().names:
        path = RESULTS / f"judged_{name}.parquet"
        rows = judged_again(pd.read_parquet(path), hull)
        measured = [*_claims(name, rows, hull)]
        record("evaluation", measured)
        narrow = {column: "float32" for column in rows.select_dtypes("float64")}
        with whole_file(path) as part:
            rows.astype(narrow).to_parquet(part, index=False)
        print(f"{name}: {len(measured)} figures")


def judged_again(rows: pd.DataFrame, hull: Hull) -> pd.DataFrame:
    """The same crystals with their distances from a hull.

    Args:
        rows: of relaxed crystals, with formula and formation energy.
        hull: to be counted against.
    """
    fitted, own = chgnet_judge().references, elemental_references()
    found: dict[str, list[float | bool | None]] = {
        name: [] for name in ("e_above_hull", "e_above_hull_unfitted", "has_predicted_phases",
                              "knows_system")
    }  # fmt: skip
    for formula, energy in zip(rows["formula"], rows["formation_energy_per_atom"], strict=True):
        if not formula or np.isnan(energy):
            values = (np.nan, np.nan, None, None)
        else:
            composition = composition_from_formula(formula)
            # back to the total energy, and from there by the other references
            total = energy - fitted.formation_energy(composition, 0.0)
            unfitted = own.formation_energy(composition, total)
            point = hull.at(composition)
            values = (
                hull.e_above_hull(composition, energy),
                hull.e_above_hull(composition, unfitted),
                point.has_predicted_phases,
                point.knows_system,
            )
        for column, value in zip(found.values(), values, strict=True):
            column.append(value)
    types = {"has_predicted_phases": "boolean", "knows_system": "boolean"}
    return rows.assign(**found).astype(types)


def _claims(name: str, rows: pd.DataFrame, hull: Hull) -> Iterator[Claim]:
    judge = chgnet_judge().name
    prefix = name if name in MODELS else f"control.{name}"
    shared = {
        "command": f"{COMMAND} {name}",
        "seed": 0,
        "versions": weights_of(name) | {"hull": hull.name, "judge": judge},
    }
    report = summarise(as_screened(rows))
    note = HULL_NOTE.format(hull=hull.name, judge=judge)
    yield from stability_claims(prefix, report, note, **shared)
    if spent := claims(f"{prefix}.cost_stable_s"):
        seconds = {stage: float(ms) / 1e3 for stage, ms in SECONDS.findall(spent[0]["note"])}
        relaxing = seconds.pop("relaxation")
        table = as_screened(rows.assign(relax_seconds=relaxing))
        report = summarise(table, seconds=seconds)
        yield from cost_claims(prefix, report, **shared)


def as_screened(rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of a screening that stability is counted by.

    Nobody kept whether a relaxed crystal is in the other splits: what needs that is not counted.
    """
    first = rows[rows["relaxed_is_first"].eq(True)].drop_duplicates("formula")
    first = first.set_index("formula")["index"]
    copies = rows["formula"].map(first)
    own = rows["index"].where(rows["relaxed_is_first"].eq(True))
    is_compared = rows["relaxed_is_first"].notna()
    filled = {
        "relaxed_duplicate_of": own.fillna(copies.where(is_compared)),
        "relax_seconds": np.nan,
        "initial_energy_per_atom": np.nan,
        "energy_per_atom": np.nan,
        "is_covered": rows["e_above_hull"].notna(),
        "has_good_contacts": True,
        "is_novel": rows["relaxed_is_novel"],
        "is_first": rows["relaxed_is_first"],
        "is_novel_anywhere": rows["relaxed_is_novel"],
        "comparison": "ok",
        "symmetry": "unasked",
        "duplicate_of": own,
    }
    missing = {column: value for column, value in filled.items() if column not in rows}
    return rows.assign(**missing)


if __name__ == "__main__":
    main()
