"""How often predicted structures are the right ones, as the field counts it.

    python -m scripts.prediction.run                       MP-20 val, 1,000 crystals
    python -m scripts.prediction.run --n 20 --draws 5      fewer, printed and not recorded
    python -m scripts.prediction.run --split test_open     once, for a table

Three modes: the group is unknown, it is given, or the whole template is. The number of atoms in the
primitive cell is always told. "Filtered" draws that fail SMACT or have atoms nearer than 0.5
angstrom count as misses. METRe looks for each crystal among the first draws of all crystals of its
composition, the j-th crystal of a composition taking the j-th draw; cRMSE averages the distance
with 0.5 for what has no match. Nothing is relaxed. Records `csp.mp_20.*` in `results/csp.json`.
"""

import argparse
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from scripts.evaluation.property_claims import counted, mean_error
from scripts.evaluation.run import weights_of_preset
from scripts.prediction.templates import DRAWS, first_match
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.chemistry import formula_of
from symmbfn.conditions.known_templates import KnownTemplates
from symmbfn.conditions.request import Request
from symmbfn.conditions.sites import template_of
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.evaluation.similarity.prediction import STOL, Match, match_pairs
from symmbfn.evaluation.validity import is_smact_valid, is_structurally_valid
from symmbfn.generation.structure_prediction import Draw, draws_of, structures_of, templates_of
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN

SEED, N = 0, 1000
COMMAND = "python -m scripts.prediction.run"
MODES = {
    "unknown_group": "space group unknown",
    "true_group": "true space group given",
    "true_template": "true Wyckoff positions given",
}
MOST_DRAWS = {"unknown_group": 20, "true_group": 5, "true_template": 5}
AIMS = {("unknown_group", 1): 66.0, ("unknown_group", 20): 85.0, ("true_group", 1): 72.0}


def main() -> None:
    """Predict, match and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("modes", nargs="*", help=f"of {', '.join(MODES)}; default: all")
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--draws", type=int, help="default: 20, 5 and 5")
    parser.add_argument("--split", default="val", choices=["val", "test_open"])
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if unknown := sorted(set(options.modes) - set(MODES)):
        parser.error(f"no mode {', '.join(unknown)}")
    torch.set_num_threads(1)
    judged, train = (encode_dataset("mp_20", split=split) for split in (options.split, "train"))
    rows = np.random.default_rng(SEED).permutation(len(judged))[: options.n].tolist()
    units = [judged.unit(row) for row in rows]
    known_formulas = {_formula(train.unit(row)) for row in range(len(train))}
    is_new = np.array([_formula(unit) not in known_formulas for unit in units])
    model, known = load_model("default"), templates_of("default")
    command = COMMAND + ("" if options.split == "val" else f" --split {options.split}")
    prefix = "csp.mp_20" if options.split == "val" else f"csp.mp_20.{options.split}"
    for mode in options.modes or MODES:
        n_draws = options.draws or MOST_DRAWS[mode]
        found = predicted(units, mode, n_draws, model, known)
        outcome = Outcome(units, found, workers=options.workers)
        about = f"MP-20 {options.split}, {MODES[mode]}, atoms of the primitive cell given."
        facts = {"command": command, "seed": SEED, "versions": weights_of_preset("default")}
        claims = list(claims_of(f"{prefix}.{mode}", mode, outcome, is_new, n_draws, about, facts))
        for claim in claims:
            print(f"{claim.name} = {claim.value} {claim.unit} {claim.interval} n {claim.n}")
        if (options.n, options.draws) == (N, None):
            record("csp", claims)


def _formula(unit: AsymmetricUnit) -> str:
    return formula_of(template_of(unit).atoms())


def predicted(
    units: Sequence[AsymmetricUnit],
    mode: str,
    n_draws: int,
    model: SymmBFN,
    known: KnownTemplates,
) -> list[list[Crystal]]:
    """Draws for the composition of each unit; none where the model refuses it."""
    planned: list[Draw] = []
    counts = []
    for unit in units:
        try:
            mine = _draws(unit, mode, n_draws, model, known)
        except ValueError as error:
            print(f"refused: {error}", flush=True)
            mine = []
        planned += mine
        counts.append(len(mine))
    crystals = iter(one.crystal for one in structures_of(planned, model))
    return [[next(crystals) for _ in range(count)] for count in counts]


def _draws(
    unit: AsymmetricUnit, mode: str, n_draws: int, model: SymmBFN, known: KnownTemplates
) -> list[Draw]:
    template, formula = template_of(unit), _formula(unit)
    if mode == "true_template":
        return [Draw(formula, Request(n=1, seed=SEED, template=template))] * n_draws
    group = template.space_group_number if mode == "true_group" else None
    atoms = template.n_primitive_atoms
    return draws_of(
        formula, model, known, atoms=atoms, space_group_number=group, draws=n_draws, seed=SEED
    )


class Outcome:
    """Which draws match.

    Args:
        units: the true crystals.
        found: draws for each.
        workers: processes that compare.

    Attributes:
        matches: of each draw with its own crystal.
        is_valid: whether each draw passes SMACT and has no atoms nearer than 0.5 angstrom.
        everyone: the best distance of each crystal to the draws of its composition; None without
            a match.
    """

    def __init__(
        self, units: Sequence[AsymmetricUnit], found: Sequence[Sequence[Crystal]], *, workers: int
    ):
        truth = reconstruct(AsymmetricUnitBatch.stack(units))
        true = [crystal.to_pymatgen(primitive=True) for crystal in truth]
        is_balanced = [is_smact_valid(Cell.of(c, primitive=True).atomic_numbers) for c in truth]
        owner = [place for place, mine in enumerate(found) for _ in mine]
        draws = [crystal for mine in found for crystal in mine]
        made = [c.to_pymatgen(primitive=True) if c.has_structure else None for c in draws]
        pairs = [(one, true[place]) for one, place in zip(made, owner, strict=True)]
        self.matches: list[list[Match]] = [[] for _ in units]
        self.is_valid: list[list[bool]] = [[] for _ in units]
        for place, crystal, match in zip(
            owner, draws, match_pairs(pairs, workers=workers), strict=True
        ):
            self.matches[place].append(match)
            is_whole = crystal.has_structure and is_structurally_valid(crystal)
            self.is_valid[place].append(is_whole and is_balanced[place])
        start = np.cumsum([0, *(len(mine) for mine in found)])
        groups: defaultdict[str, list[int]] = defaultdict(list)
        for place, unit in enumerate(units):
            groups[_formula(unit)].append(place)
        asked, pairs = [], []
        for places in groups.values():
            pool = [
                made[start[place] + number % len(found[place])]
                for number, place in enumerate(places)
                if found[place]
            ]
            for place in places:
                asked += [place] * len(pool)
                pairs += [(one, true[place]) for one in pool]
        self.everyone: list[float | None] = [None] * len(units)
        for place, match in zip(asked, match_pairs(pairs, workers=workers), strict=True):
            if match.distance is not None:
                best = self.everyone[place]
                self.everyone[place] = match.distance if best is None else min(best, match.distance)


def claims_of(
    label: str,
    mode: str,
    outcome: Outcome,
    is_new: np.ndarray,
    n_draws: int,
    about: str,
    facts: dict[str, Any],
) -> Iterator[Claim]:
    """Match rates, plain, filtered and of new formulas; distances; METRe.

    Args:
        label: beginning of the names.
        mode: of the prediction.
        outcome: of all draws.
        is_new: whether train lacks the formula of each crystal.
        n_draws: of each crystal.
        about: what was asked, for the notes.
        facts: of all claims.
    """
    places = np.array([first_match(mine) for mine in outcome.matches])
    filtered = np.array(
        [
            next((k for k, (m, v) in enumerate(zip(*both, strict=True)) if m.is_match and v), 10**6)
            for both in zip(outcome.matches, outcome.is_valid, strict=True)
        ]
    )
    for k in (k for k in DRAWS if k <= n_draws):
        aim = AIMS.get((mode, k))
        for name, chosen, note in (
            (f"match_{k}", places, ""),
            (f"filtered_{k}", filtered, " Draws that are not valid count as misses."),
            (f"new_formulas.match_{k}", places[is_new], " Only formulas that train lacks."),
        ):
            count, n = int((chosen < k).sum()), len(chosen)
            has_aim = aim is not None and name.startswith("match")
            yield counted(
                f"{label}.{name}",
                count,
                n,
                note=f"One of the first {k} draws matches (0.3, 0.5, 10 degrees). {about}{note}",
                aim=f"at least {aim:g} %" if has_aim else None,
                met=100 * count / n >= aim if has_aim else None,
                **facts,
            )
    firsts = [m[0].distance for m in outcome.matches if m and m[0].distance is not None]
    if len(firsts) > 1:
        note = f"Of the first draws that match. {about}"
        yield mean_error(f"{label}.rmse", np.array(firsts), note=note, **facts)
    everyone = [one for one in outcome.everyone if one is not None]
    note = f"The first draws of all crystals of a composition are looked through. {about}"
    n = len(outcome.everyone)
    yield counted(f"{label}.metre", len(everyone), n, note=note, **facts)
    distances = np.array([STOL if one is None else one for one in outcome.everyone])
    yield mean_error(f"{label}.crmse", distances, note=note, **facts)
    statuses = Counter(m.status for mine in outcome.matches for m in mine if m.status != "ok")
    if statuses:
        print(f"{label}: not compared: {dict(statuses)}", flush=True)


if __name__ == "__main__":
    main()
