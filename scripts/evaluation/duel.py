"""Requests for single space groups: how often the right one comes, and how good the crystals are.

    python -m scripts.evaluation.duel            1,000 requests a group, the first 150 relaxed

The groups are those of which PLaID++ publishes counts. Its crystals were relaxed and judged by
another potential, so that stable, unique and new crystals of both can be set side by side but not
compared; the right group can. What is there already is not made again: runs and screenings lie in
the cache and are resumed.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from scripts.evaluation.property_claims import counted
from scripts.evaluation.run import weights_of_preset
from symmbfn.claims.published import published_duel
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.energies.stability import CONVENTIONS, figures_of, is_true
from symmbfn.evaluation.summary import relaxed_rows
from symmbfn.generation.run import generate_run
from symmbfn.screening.screen import ScreeningConfig, screen

N, N_RELAXED, SEED = 1000, 150, 0
COMMAND = "python -m scripts.evaluation.duel"


def main() -> None:
    """Make, judge and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--work", type=Path, default=cache_folder() / "evaluation" / "duel")
    options = parser.parse_args()
    config = ScreeningConfig(relax="chgnet", relax_first=N_RELAXED)
    for group in published_duel().rows:
        source, folder = options.work / f"group-{group}", options.work / "screened"
        request = Request(n=N, seed=SEED, space_group_number=group)
        generate_run(source, request, workers=options.workers)
        table = screen(source, folder / f"group-{group}", config, workers=options.workers)
        for claim in claims_of(group, table):
            print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval}", flush=True)
            record("evaluation", [claim])


def claims_of(group: int, table: pd.DataFrame) -> Iterator[Claim]:
    """Right group among all requests; stable, unique and new, alone and with the right group.

    Args:
        group: that was asked for.
        table: of a screening, one row a request.
    """
    theirs = published_duel()
    right, sun = theirs.rows[group]
    is_right = table["symmetry"].eq("kept") & table["is_structurally_valid"]
    published = f"{theirs.method} publishes {{}} of {theirs.n:,} ({theirs.source})."
    note = f"Group {group} found at 0.1 angstrom, before relaxation. {published.format(right)}"
    yield _share(f"duel.{group}.right", is_right, note)
    relaxed = relaxed_rows(table)
    is_sun = figures_of(relaxed, CONVENTIONS[0])["sun"]
    note = f"By CHGNet and the whole hull, of the first {len(relaxed)} requests."
    yield _share(f"duel.{group}.sun", is_sun, note)
    is_both = is_sun & relaxed["relaxed_group"].eq(group)
    note = (
        f"{note} Group {group} is found in the relaxed crystal too. {published.format(sun)} "
        "Its judge is eSEN: the two counts are of two judges."
    )
    yield _share(f"duel.{group}.both", is_both, note)


def _share(name: str, holds: pd.Series, note: str) -> Claim:
    count, versions = int(is_true(holds).sum()), weights_of_preset("default")
    facts = {"command": COMMAND, "seed": SEED, "versions": versions}
    return counted(name, count, len(holds), note=note, **facts)


if __name__ == "__main__":
    main()
