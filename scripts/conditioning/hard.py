"""Are hard conditions met exactly, or does the record say that they are not?

    python -m scripts.conditioning.hard            250 sets of conditions, 10 crystals each
    python -m scripts.conditioning.hard --refuse   only the sets that no crystal can meet

Each set is drawn from a crystal of MP-20 val that meets it, several kinds of conditions at once.
Whether the structures meet it is asked of pymatgen. Few steps are taken: hard conditions do not
rest on good geometry, and bad geometry tries them more.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch

from scripts.conditioning.independent import misses
from scripts.conditioning.sets import Impossible, Settings, conditions_of, impossible
from scripts.evaluation.property_claims import counted
from scripts.evaluation.run import weights_of_preset
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.check import STATUS
from symmbfn.conditions.draw import draw
from symmbfn.conditions.request import Request
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.crystal import Crystal
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN

SEED, N_SETS, N_EACH, N_STEPS = 0, 250, 10, 8
COMMAND = "python -m scripts.conditioning.hard"
MOST_CHARACTERS = 300  # of a refusal


def main() -> None:
    """Sample, check and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--refuse", action="store_true", help="only the impossible sets")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, val = load_model("default"), encode_dataset("mp_20", split="val")
    units = [val.unit(int(row)) for row in np.random.default_rng(SEED).permutation(len(val))]
    pair = next(unit for unit in units if len(set(unit.atomic_numbers.tolist())) == 2)
    found = list(claims_of_refusals(model, list(impossible(pair))))
    if not options.refuse:
        sets, n_refused = possible_sets(model, units, N_SETS)
        found += claims_of_kept(outcomes(model, sets), n_refused)
    for claim in found:
        print(f"{claim.name} = {claim.value} {claim.unit} n={claim.n}; {claim.note}", flush=True)
    record("conditioning", found)


def possible_sets(
    model: SymmBFN, units: Iterable[AsymmetricUnit], n: int
) -> tuple[list[Settings], int]:
    """Sets that crystals meet, and how many more were refused.

    A crystal may have elements, or as many sites, as no training crystal has; the model then
    refuses what it meets.
    """
    rng, sets, n_refused = np.random.default_rng(SEED), [], 0
    for unit in units:
        settings = conditions_of(unit, rng)
        try:
            draw(Request.of(n=N_EACH, seed=SEED, **settings), model.config, model.statistics)
        except ValueError as error:
            print(f"refused: {error}", flush=True)
            n_refused += 1
            continue
        sets.append(settings)
        if len(sets) == n:
            break
    return sets, n_refused


def outcomes(
    model: SymmBFN, sets: Iterable[Settings], n: int = N_EACH, n_steps: int = N_STEPS
) -> Iterator[tuple[Settings, Crystal, list[str]]]:
    """The set, the crystal, and the kinds of conditions that it misses, of every record."""
    sampler = preset_sampler(model, n_steps=n_steps)
    for settings in sets:
        request = Request.of(n=n, seed=SEED, **settings)
        for batch in generate_batches(model, request, sampler, has_full_rows=False):
            for crystal in batch:
                missed: list[str] = []
                if crystal.has_structure:
                    group, structure = crystal.space_group_number, crystal.to_pymatgen()
                    missed = misses(settings, structure, group)
                yield settings, crystal, missed


def claims_of_kept(
    found: Iterable[tuple[Settings, Crystal, list[str]]], n_refused: int
) -> list[Claim]:
    """Kept or said, truly kept, and truly kept of each kind."""
    n, n_met, n_said, n_silent, n_without = 0, 0, 0, 0, 0
    by_kind: defaultdict[str, Counter[bool]] = defaultdict(Counter)
    for settings, crystal, missed in found:
        if not crystal.has_structure:
            n_without += 1
            continue
        n += 1
        n_met += not missed
        n_said += crystal.status == STATUS
        n_silent += bool(missed) and crystal.status != STATUS
        if missed or crystal.status == STATUS:
            print(f"{crystal.index} {settings}: {missed}; {crystal.reason}", flush=True)
        for kind in settings:
            by_kind[kind][kind not in missed] += 1
    return [
        _share(
            "hard.kept",
            n - n_silent,
            n,
            f"Met, or the record says not. {n_said} records with the status {STATUS}; "
            f"{n_without} records without structure; {n_refused} sets refused, since no "
            f"training crystal has such elements or sizes. {N_STEPS} steps.",
            aim="100 %",
        ),
        _share("hard.met", n_met, n, "All conditions of the set are met, whatever the status."),
        *(
            _share(f"hard.met.{kind}", count[True], count.total(), "Sets with this condition.")
            for kind, count in sorted(by_kind.items())
        ),
    ]


def claims_of_refusals(model: SymmBFN, sets: list[Impossible]) -> Iterator[Claim]:
    """How many of the impossible sets are refused in one line, before anything is sampled."""
    right, why = 0, Counter(one.why for one in sets)
    for one in sets:
        error = refusal(model, one.settings)
        is_right = "\n" not in error and 0 < len(error) <= MOST_CHARACTERS
        right += is_right
        if not is_right:
            print(f"not refused: {one}: {error}", flush=True)
    reasons = "; ".join(f"{count} {text}" for text, count in why.items())
    yield _share("refuse.correct", right, len(sets), f"Impossible by: {reasons}.", aim="100 %")


def refusal(model: SymmBFN, settings: dict[str, Any]) -> str:
    """What is said against a request; empty if nothing is."""
    try:
        draw(Request.of(n=1, **settings), model.config, model.statistics)
    except ValueError as error:
        return str(error)
    return ""


def _share(name: str, count: int, n: int, note: str, aim: str | None = None) -> Claim:
    met, versions = None if aim is None else count == n, weights_of_preset("default")
    facts = {"command": COMMAND, "seed": SEED, "versions": versions}
    return counted(name, count, n, note=note, aim=aim, met=met, **facts)


if __name__ == "__main__":
    main()
