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

import numpy as np
from scipy import sparse
from scipy.optimize import linprog

from symmbfn._shapes import Float
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.registry import cache_folder, load_dataset
from symmbfn.evaluation.energies.entries import Amounts, composition_from_formula
from symmbfn.evaluation.energies.hull import fractions_row
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import own_potential
from symmbfn.evaluation.energies.references import ElementReferences, residuals
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

DATASET = "mp_20"
PER_ELEMENT = 40  # crystals of train that contain it, where there are so many
N_HELD_OUT = 500
TIME_LIMIT = 120.0  # seconds for one crystal
FEWEST = 3  # crystals of an element that has a reference
FIT = "least deviations"  # raise or rename it when the same energies give other references
LARGEST_ERROR = 0.2  # eV/atom, mean over the held-out crystals


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


def train_sample() -> Labelled:
    """The crystals of train that references are fitted to."""
    train = Labelled.load("train")
    return train.take(rows_of_all_elements(train.compositions, PER_ELEMENT))


def held_out() -> Labelled:
    """The crystals of val that references are measured on."""
    val = Labelled.load("val")
    return val.take(np.random.default_rng(0).permutation(len(val))[:N_HELD_OUT].tolist())


def fit_judge(judge: Judge, *, workers: int = 1) -> Judge:
    """Tie a potential to the scale of the hull: the same judge with references of its own.

    They are kept in `cache_folder()/evaluation/references`, and the next call finds them.

    Args:
        judge: whose references are replaced; its digest names what is kept.
        workers: processes of one thread each.

    Raises:
        ValueError: the potential fails on most of the crystals, or misses their known formation
            energies by more than 0.2 eV/atom; or as `Labelled.load`.
    """
    train, val = train_sample(), held_out()
    known = [some.formation_energy_per_atom.tolist() for some in (train, val)]
    used = [_points_digest(judge, some) for some in (train, val)]
    text = json.dumps([FIT, *used, known, judge.correction is not None])
    digest = hashlib.sha256(text.encode()).hexdigest()
    path = cache_folder() / "evaluation" / "references" / f"{digest[:16]}.json"
    if path.is_file():
        return replace(judge, references=ElementReferences.load(path))
    fitted = fit_to(train, total_energies(judge, train, workers=workers))
    fitted = replace(fitted, digest=digest, potential=judge.name)
    fitted = _measured(fitted, val, total_energies(judge, val, workers=workers))
    print(
        f"references of {judge.name}: fitted to {fitted.n_crystals} crystals, "
        f"{fitted.held_out_mae:.3f} eV/atom off on others",
        file=sys.stderr,
    )
    fitted.save(path)
    return replace(judge, references=fitted)


def total_energies(judge: Judge, crystals: Labelled, *, workers: int = 1) -> Float[np.ndarray, "n"]:
    """Energies of crystals as they stand, corrected, eV/atom, NaN where there is none; shape (n,).

    The answers are kept in `cache_folder()/evaluation/points`, so that the next call computes
    none and a stopped one goes on.

    Args:
        judge: whose potential is asked; its references do not matter.
        crystals: n of them.
        workers: processes.

    Raises:
        ValueError: most of them have none.
    """
    name = f"{_points_digest(judge, crystals)[:16]}.jsonl"
    journal = Journal(cache_folder() / "evaluation" / "points" / name)
    todo = [row for row in range(len(crystals)) if row not in journal]
    ask = partial(_energies, judge)
    texts = [crystals.texts[row] for row in todo]
    outcomes = run_killable(ask, texts, workers=workers, time_limit=TIME_LIMIT)
    for outcome in progress(outcomes, total=len(todo), label=f"energies by {judge.name}"):
        energies = outcome.value or dict.fromkeys(("energy_per_atom", "correction"))
        journal.add({"index": todo[outcome.index], **energies, "reason": outcome.reason})
    reasons = Counter(row["reason"] for row in journal if row["energy_per_atom"] is None)
    if 2 * sum(reasons.values()) > len(crystals):
        reason, count = reasons.most_common(1)[0]
        raise ValueError(
            f"{judge.name} fails on {sum(reasons.values())} of {len(crystals)} crystals of "
            f"{DATASET}, so no references can be fitted; {count} times: {reason}"
        )
    columns = ["energy_per_atom", *(["correction"] if judge.correction else [])]
    values = [[row[column] for column in columns] for row in journal]
    return np.array(values, dtype=float).sum(axis=1)


def _points_digest(judge: Judge, crystals: Labelled) -> str:
    """SHA-256 of what decides the energies of crystals by a potential."""
    text = json.dumps([judge.name, judge.digest, crystals.texts])
    return hashlib.sha256(text.encode()).hexdigest()


def _energies(judge: Judge, text: str) -> dict[str, float]:
    """What a worker returns."""
    from symmbfn.datasets.structure_texts import structure_of

    cell = Cell.from_pymatgen(structure_of(text))
    energy = own_potential(judge.make)([cell])[0].energy_per_atom
    return {"energy_per_atom": energy, "correction": judge.total_energy(cell, 0.0)}


def fit_to(crystals: Labelled, energies: Float[np.ndarray, "n"]) -> ElementReferences:
    """References of the elements that are in enough crystals which have an energy.

    Args:
        crystals: n of them.
        energies: total, eV/atom, NaN where there is none, shape (n,).
    """
    rows = np.flatnonzero(np.isfinite(energies)).tolist()
    while True:
        counts = Counter(symbol for row in rows for symbol in crystals.compositions[row])
        rare = {symbol for symbol, count in counts.items() if count < FEWEST}
        if not rare:
            break
        rows = [row for row in rows if rare.isdisjoint(crystals.compositions[row])]
    some, symbols = crystals.take(rows), sorted(counts)
    shares = np.array([fractions_row(c, symbols) for c in some.compositions])
    mu = least_deviations(shares, energies[rows] - some.formation_energy_per_atom)
    return ElementReferences(
        dict(zip(symbols, mu.tolist(), strict=True)),
        n_crystals=len(rows),
        n_by_element={symbol: counts[symbol] for symbol in symbols},
    )


def least_deviations(
    shares: Float[np.ndarray, "n E"], targets: Float[np.ndarray, "n"]
) -> Float[np.ndarray, "E"]:
    """The mu that minimises the sum of |shares @ mu - targets|, shape (E,).

    A class of crystals that a potential gets wrong by 0.5 eV/atom, such as plutonium's by
    7net-l3i5, would pull a fit of least squares along, and the references of other elements.

    Source: ours: the linear programme of least absolute deviations.
    """
    n, n_elements = shares.shape
    eye = sparse.eye(n, format="csr")
    cost = np.concatenate([np.zeros(n_elements), np.ones(2 * n)])
    bounds = [(None, None)] * n_elements + [(0, None)] * (2 * n)
    equations = sparse.hstack([sparse.csr_matrix(shares), eye, -eye])
    found = linprog(cost, A_eq=equations, b_eq=targets, bounds=bounds)
    if not found.success:
        raise ValueError(f"no references can be fitted: {found.message}")
    return found.x[:n_elements]


def _measured(
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
