"""What is compared of crowds of crystals, real and generated."""

import re
import string
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.composition import GRAM_PER_CM3
from symmbfn.crystals.elements import ATOMIC_MASS, SYMBOLS, element_number
from symmbfn.crystals.lattice import k_to_parameters
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.evaluation.validity import Judgement

NO_GROUP = 1  # a crystal in which the symmetry search fails has no symmetry
LETTERS = string.ascii_lowercase + "A"  # group 47 has 27 positions


@dataclass(frozen=True)
class Observables:
    """What is compared of each crystal; the same for every choice of its cell.

    Args:
        density: g/cm3, shape (n,).
        n_elements: distinct elements, shape (n,).
        space_group_number: as found in the finished structure, 1 to 230, shape (n,).
        volume_per_atom: cubic angstrom, shape (n,).
        lattice_parameters: of the conventional cell in canonical form: a, b, c in angstrom and
            alpha, beta, gamma in degrees, shape (n, 6).
        letter_counts: sites on each Wyckoff letter a, ..., z, A in that form, shape (n, 27).
        element_shares: share of each atomic number among a crystal's atoms, shape (n, 119).

    The last four may be left out; then so are their distances.
    """

    density: Float[np.ndarray, "n"]
    n_elements: Int[np.ndarray, "n"]
    space_group_number: Int[np.ndarray, "n"]
    volume_per_atom: Float[np.ndarray, "n"] | None = None
    lattice_parameters: Float[np.ndarray, "n 6"] | None = None
    letter_counts: Int[np.ndarray, "n 27"] | None = None
    element_shares: Float[np.ndarray, "n 119"] | None = None

    def __len__(self) -> int:
        return len(self.density)

    def __getitem__(self, rows: np.ndarray) -> "Observables":
        chosen: dict[str, Any] = {
            name: None if value is None else value[rows] for name, value in vars(self).items()
        }
        return Observables(**chosen)


def dataset_observables(dataset: EncodedDataset) -> Observables:
    """Observables of real crystals, straight from their asymmetric units.

    The space group is the one found at the dataset's tolerance when it was encoded: 0.1
    angstrom for MP-20 and MPTS-52, as for generated crystals.

    Args:
        dataset: in canonical form; letters and lattices of another compare with nothing.
    """
    tables = symmetry_tables()
    n = len(dataset)
    crystal = np.repeat(np.arange(n), dataset.n_sites.numpy())
    group = dataset.space_group_number.long()
    row = position_row(group[crystal], dataset.wyckoff_positions.long()).numpy()
    numbers = dataset.atomic_numbers.numpy().astype(np.int64)
    multiplicity = tables.multiplicity[row]
    volume = np.exp(3 * dataset.lattice_k.numpy()[:, 5])
    n_atoms = np.bincount(crystal, multiplicity, n)
    mass = np.bincount(crystal, ATOMIC_MASS[numbers] * multiplicity, n)
    atoms = _table(crystal, numbers, len(SYMBOLS), n, multiplicity)
    letters = np.array([LETTERS.index(letter) for letter in tables.letter])[row]
    return Observables(
        density=mass * GRAM_PER_CM3 / volume,
        n_elements=(atoms > 0).sum(axis=1),
        space_group_number=group.numpy(),
        volume_per_atom=volume / n_atoms,
        lattice_parameters=k_to_parameters(dataset.lattice_k, group).numpy(),
        letter_counts=_table(crystal, letters, len(LETTERS), n, np.ones(len(row))).astype(int),
        element_shares=atoms / n_atoms[:, None],
    )


def judged_observables(judged: Iterable[Judgement]) -> Observables:
    """Observables of those judged crystals that have a structure, in their order."""
    rows = [row for row in judged if np.isfinite(row.density)]
    shares = np.zeros((len(rows), len(SYMBOLS)))
    for share, row in zip(shares, rows, strict=True):
        for symbol, count in re.findall(r"([A-Z][a-z]?)(\d*)", row.formula):
            share[element_number(symbol)] = int(count or 1)
    counts = [[row.letters.count(letter) for letter in LETTERS] for row in rows]
    return Observables(
        density=np.array([row.density for row in rows], dtype=float),
        n_elements=np.array([row.n_elements for row in rows], dtype=np.int64),
        space_group_number=np.array([row.found_group or NO_GROUP for row in rows], dtype=np.int64),
        volume_per_atom=np.array([row.volume_per_atom for row in rows], dtype=float),
        lattice_parameters=np.array([row.lattice_parameters for row in rows]).reshape(-1, 6),
        letter_counts=np.array(counts, dtype=np.int64).reshape(-1, len(LETTERS)),
        element_shares=shares / shares.sum(axis=1, keepdims=True),
    )


def _table(
    crystal: Int[np.ndarray, "S"],
    column: Int[np.ndarray, "S"],
    n_columns: int,
    n: int,
    weights: np.ndarray,
) -> Float[np.ndarray, "n C"]:
    """Weight of the sites of each crystal in each column."""
    cells = np.bincount(crystal * n_columns + column, weights, n * n_columns)
    return cells.reshape(n, n_columns)
