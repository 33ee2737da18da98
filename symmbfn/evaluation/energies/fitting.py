"""References for any potential, from crystals whose formation energies are known.

The crystals are some of MP-20 train, and what the references are worth is measured on some of
MP-20 val.
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from symmbfn._shapes import Float
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.evaluation.energies.entries import Amounts, composition_from_formula
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import own_potential
from symmbfn.evaluation.energies.references import ElementReferences, fit_references, residuals
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

DATASET = "mp_20"
PER_ELEMENT = 40  # crystals of train that contain it, where there are so many
N_HELD_OUT = 500
TIME_LIMIT = 120.0  # seconds for one crystal
FEWEST = 3  # crystals of an element that has a reference
LARGEST_ERROR = 0.2  # eV/atom, mean over the held-out crystals
# nothing is known of the elements on the scale of the potential: a fit that stays solvable
STRENGTH = 1e-6


@dataclass(frozen=True, eq=False)
class Labelled:
    """Crystals whose formation energies are known.

    Args:
        texts: their CIFs, n of them.
        compositions: element symbol -> amount.
        formation_energy_per_atom: eV/atom, shape (n,).
    """

    texts: list[str]
    compositions: list[Amounts]
    formation_energy_per_atom: Float[np.ndarray, "n"]

    @classmethod
    def load(cls, split: str) -> "Labelled":
        """All of a split of MP-20.

        Raises:
            ValueError, ConnectionError: the dataset is not at hand.
        """
        table = load_dataset(DATASET, split)
        table = table[np.isfinite(table["formation_energy_per_atom"])]
        return cls(
            table["cif"].tolist(),
            [composition_from_formula(formula) for formula in table["pretty_formula"]],
            table["formation_energy_per_atom"].to_numpy(float),
        )

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: Sequence[int]) -> "Labelled":
        """Some of them, by their places."""
        return Labelled(
            [self.texts[row] for row in rows],
            [self.compositions[row] for row in rows],
            self.formation_energy_per_atom[list(rows)],
        )


def rows_of_all_elements(compositions: Sequence[Amounts], per_element: int) -> list[int]:
    """Rows such that each element that occurs is in at least `per_element` of them, or in all.

    The order in which rows are tried is drawn once and for all.
    """
    counts: Counter[str] = Counter()
    chosen = []
    occurring = Counter(symbol for composition in compositions for symbol in composition)
    order = np.random.default_rng(0).permutation(len(compositions)).tolist()
    # the rarest elements first: their crystals count for the others too
    order.sort(key=lambda row: min(occurring[symbol] for symbol in compositions[row]))
    for row in order:
        if any(counts[symbol] < per_element for symbol in compositions[row]):
            chosen.append(row)
            counts.update(compositions[row].keys())
    return sorted(chosen)


def fit_judge(judge: Judge, *, workers: int = 1) -> Judge:
    """Tie a potential to the scale of the hull: the same judge with references of its own.

    The single points are kept in `cache_folder()/evaluation/references`, so that the next call
    computes none and a stopped one goes on.

    Args:
        judge: whose references are replaced; its digest names what is kept.
        workers: processes of one thread each.

    Raises:
        ValueError: the potential fails on most of the crystals, or misses their known formation
            energies by more than 0.2 eV/atom; or as `Labelled.load`.
    """
    train = Labelled.load("train")
    train = train.take(rows_of_all_elements(train.compositions, PER_ELEMENT))
    val = Labelled.load("val")
    chosen = np.random.default_rng(0).permutation(len(val))[:N_HELD_OUT]
    val = val.take(sorted(chosen.tolist()))
    known = [val.formation_energy_per_atom.tolist(), train.formation_energy_per_atom.tolist()]
    facts = [judge.name, judge.digest, judge.correction is not None, train.texts, val.texts, known]
    digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    stem = cache_folder() / "evaluation" / "references" / digest[:16]
    if (path := stem.with_suffix(".json")).is_file():
        return replace(judge, references=ElementReferences.load(path))
    energies = total_energies(judge, train, Path(f"{stem}-train.jsonl"), workers)
    fitted = replace(_fit(judge, train, energies), digest=digest, potential=judge.name)
    energies = total_energies(judge, val, Path(f"{stem}-val.jsonl"), workers)
    fitted = _measure(fitted, val, energies)
    print(
        f"references of {judge.name}: fitted to {fitted.n_crystals} crystals, "
        f"{fitted.held_out_mae:.3f} eV/atom off on others",
        file=sys.stderr,
    )
    fitted.save(path)
    return replace(judge, references=fitted)


def total_energies(
    judge: Judge, crystals: Labelled, path: Path, workers: int
) -> Float[np.ndarray, "n"]:
    """Energies of crystals as they stand, corrected, eV/atom, NaN where there is none; shape (n,).

    Args:
        judge: whose potential is asked; its references do not matter.
        crystals: n of them.
        path: of a journal; what it holds is not computed again.
        workers: processes.

    Raises:
        ValueError: most of them have none.
    """
    journal = Journal(path)
    todo = [row for row in range(len(crystals)) if row not in journal]
    ask = partial(_total_energy, judge)
    texts = [crystals.texts[row] for row in todo]
    outcomes = run_killable(ask, texts, workers=workers, time_limit=TIME_LIMIT)
    for outcome in progress(outcomes, total=len(todo), label=f"references of {judge.name}"):
        row = {"energy_per_atom": outcome.value, "reason": outcome.reason}
        journal.add({"index": todo[outcome.index], **row})
    energies = np.array([journal[row]["energy_per_atom"] for row in range(len(crystals))], float)
    reasons = Counter(row["reason"] for row in journal if row["energy_per_atom"] is None)
    if 2 * sum(reasons.values()) > len(crystals):
        reason, count = reasons.most_common(1)[0]
        raise ValueError(
            f"{judge.name} fails on {sum(reasons.values())} of {len(crystals)} crystals of "
            f"{DATASET}, so no references can be fitted; {count} times: {reason}"
        )
    return energies


def _total_energy(judge: Judge, text: str) -> float:
    """What a worker returns."""
    from symmbfn.datasets.structure_texts import structure_of

    cell = Cell.from_pymatgen(structure_of(text))
    return judge.total_energy(cell, own_potential(judge.make)([cell])[0].energy_per_atom)


def _fit(judge: Judge, crystals: Labelled, energies: Float[np.ndarray, "n"]) -> ElementReferences:
    """References of the elements that are in enough crystals which have an energy."""
    rows = np.flatnonzero(np.isfinite(energies)).tolist()
    while True:
        counts = Counter(symbol for row in rows for symbol in crystals.compositions[row])
        rare = {symbol for symbol, count in counts.items() if count < FEWEST}
        if not rare:
            break
        rows = [row for row in rows if rare.isdisjoint(crystals.compositions[row])]
    some = crystals.take(rows)
    return fit_references(
        some.compositions,
        energies[rows],
        some.formation_energy_per_atom,
        elemental=dict.fromkeys(counts, 0.0),
        strength=STRENGTH,
    )


def _measure(
    fitted: ElementReferences, crystals: Labelled, energies: Float[np.ndarray, "n"]
) -> ElementReferences:
    """The references with the mean error on crystals that they were not fitted to.

    Raises:
        ValueError: it is too large.
    """
    left = residuals(fitted, crystals.compositions, energies, crystals.formation_energy_per_atom)
    sizes = np.abs(left[np.isfinite(left)])
    error = float(sizes.mean()) if len(sizes) else float("inf")
    if not error <= LARGEST_ERROR:
        raise ValueError(
            f"formation energies by {fitted.potential} are {error:.3g} eV/atom off on "
            f"{len(sizes)} crystals of {DATASET}, more than {LARGEST_ERROR:g}: they cannot be "
            "compared with the hull"
        )
    return replace(fitted, held_out_mae=round(error, 5), n_held_out=len(sizes))
