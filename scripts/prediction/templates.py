"""How well the template of a composition is guessed, and what copies of known crystals reach.

    python -m scripts.prediction.templates           MP-20 val: templates of 3,000, copies of 1,000
    python -m scripts.prediction.templates --scan    only templates, for several settings

No network takes part. A copy is the known crystal itself with other elements in it: what a model
of structures should do better than. Its volume does not count, since the matcher scales volumes.
The number of atoms in the primitive cell is told, as it is in the field. Records
`csp.mp_20.templates.*` and `csp.mp_20.copies.*` in `results/csp.json`.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np
import torch

from scripts.evaluation.property_claims import counted, mean_error
from symmbfn.claims.store import Claim, record
from symmbfn.conditions import known_templates
from symmbfn.conditions.chemistry import formula_of
from symmbfn.conditions.known_templates import KnownTemplate, KnownTemplates
from symmbfn.conditions.sites import GivenSites, template_of
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.elements import element_number
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.evaluation.similarity.prediction import Match, match_pairs

SEED, N, N_COPIES = 0, 3000, 1000
DRAWS = (1, 3, 5, 20)
COMMAND = "python -m scripts.prediction.templates"
MODES = {"unknown_group": "space group unknown", "true_group": "true space group given"}


def main() -> None:
    """Guess, copy, match and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--copies", type=int, default=N_COPIES)
    parser.add_argument("--split", default="val", choices=["val", "test_open"])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--scan", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train = encode_dataset("mp_20", split="train")
    judged = encode_dataset("mp_20", split=options.split)
    rows = np.random.default_rng(SEED).permutation(len(judged))[: options.n].tolist()
    units = [judged.unit(row) for row in rows]
    if options.scan:
        for temperature in (0.2, 0.4, 0.8):
            for prior in (0.1, 0.3, 2.0):
                scanned(train, units, temperature, prior)
        return
    known = KnownTemplates.of_dataset(train)
    formulas = {formula_of(template_of(train.unit(row)).atoms()) for row in range(len(train))}
    is_new = np.array([formula_of(template_of(unit).atoms()) not in formulas for unit in units])
    claims: list[Claim] = []
    prefix = "csp.mp_20" if options.split == "val" else f"csp.mp_20.{options.split}"
    command = COMMAND + ("" if options.split == "val" else f" --split {options.split}")
    facts = {"command": command, "seed": SEED}
    for mode, meaning in MODES.items():
        found = [candidates(known, unit, has_group=mode == "true_group") for unit in units]
        ranks = np.array([rank_of(*pair) for pair in zip(units, found, strict=True)])
        about = f"MP-20 {options.split}, {meaning}, atoms of the primitive cell given."
        label = f"{prefix}.templates.{mode}"
        claims += shares(label, ranks, f"Its template is among the first. {about}", **facts)
        claims += shares(
            f"{label}.new_formulas",
            ranks[is_new],
            f"Its template is among the first. {about} Only formulas that train lacks.",
            **facts,
        )
        n = options.copies
        matches = matched_copies(train, units[:n], found[:n], workers=options.workers)
        label = f"{prefix}.copies.{mode}"
        firsts = np.array([first_match(of_one) for of_one in matches])
        about = f"A copy of a known crystal matches (0.3, 0.5, 10 degrees). {about}"
        claims += shares(label, firsts, about, **facts)
        about += " Only formulas that train lacks."
        claims += shares(f"{label}.new_formulas", firsts[is_new[:n]], about, **facts)
        distances = [one[0].distance for one in matches if one and one[0].distance is not None]
        note = "Of the first copies that match."
        claims.append(mean_error(f"{label}.rmse", np.array(distances), note=note, **facts))
    for claim in claims:
        print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval} n {claim.n}")
    record("csp", claims)


def scanned(
    train: EncodedDataset, units: Sequence[AsymmetricUnit], temperature: float, prior: float
) -> None:
    """Print how often the template is among the first, with other settings."""
    with mock.patch.multiple(known_templates, TEMPERATURE=temperature, PRIOR=prior):
        known = KnownTemplates.of_dataset(train)
        ranks = np.array([rank_of(unit, candidates(known, unit)) for unit in units])
    each = ", ".join(f"{100 * (ranks < k).mean():.1f} % in {k}" for k in DRAWS)
    print(f"temperature {temperature:g}, prior {prior:g}: {each}", flush=True)


def candidates(
    known: KnownTemplates, unit: AsymmetricUnit, *, has_group: bool = False
) -> list[KnownTemplate]:
    """The templates that known crystals offer for the composition of a unit."""
    own = template_of(unit)
    conventional = own.atoms()
    n_cells = sum(conventional.values()) // own.n_primitive_atoms
    atoms = {symbol: n // n_cells for symbol, n in conventional.items()}
    return known.candidates(atoms, groups=[own.space_group_number] if has_group else None)


def rank_of(unit: AsymmetricUnit, found: Sequence[KnownTemplate]) -> int:
    """Place of the true template among the candidates, from 0; a large number if it is not."""
    own = _sites(template_of(unit))
    return next((place for place, one in enumerate(found) if _sites(one.template) == own), 10**6)


def _sites(template: GivenSites) -> tuple[Any, ...]:
    sites = sorted(zip(template.elements, template.letters, strict=True))
    return template.space_group_number, *sites


def matched_copies(
    train: EncodedDataset,
    units: Sequence[AsymmetricUnit],
    found: Sequence[Sequence[KnownTemplate]],
    *,
    workers: int,
) -> list[list[Match]]:
    """Whether copies by the first candidates match each unit, in the order of the candidates."""
    place_of = {name: place for place, name in enumerate(train.identifiers)}
    truth = reconstruct(AsymmetricUnitBatch.stack(units))
    copies, owner = [], []
    for place, of_one in enumerate(found):
        for one in of_one[: max(DRAWS)]:
            copies.append(copy_of(train.unit(place_of[one.source]), one))
            owner.append(place)
    made = reconstruct(AsymmetricUnitBatch.stack(copies))
    true = [crystal.to_pymatgen(primitive=True) for crystal in truth]
    pairs = [
        (crystal.to_pymatgen(primitive=True) if crystal.has_structure else None, true[place])
        for crystal, place in zip(made, owner, strict=True)
    ]
    matches: list[list[Match]] = [[] for _ in units]
    for place, match in zip(owner, match_pairs(pairs, workers=workers), strict=True):
        matches[place].append(match)
    return matches


def copy_of(unit: AsymmetricUnit, candidate: KnownTemplate) -> AsymmetricUnit:
    """A known crystal with the elements of a candidate in it."""
    new = {element_number(a): element_number(b) for a, b in candidate.substitution}
    return replace(unit, atomic_numbers=np.array([new[int(z)] for z in unit.atomic_numbers]))


def first_match(matches: Sequence[Match]) -> int:
    """Place of the first that matches, from 0; a large number if none does."""
    return next((place for place, match in enumerate(matches) if match.is_match), 10**6)


def shares(label: str, places: np.ndarray, note: str, **facts: Any) -> Iterator[Claim]:
    """How many of all are right within 1, 3, 5 and 20."""
    for k in DRAWS:
        yield counted(
            f"{label}.match_{k}", int((places < k).sum()), len(places), note=note, **facts
        )


if __name__ == "__main__":
    main()
