"""How far each crystal lies from the nearest one of the training set, without any threshold.

The average minimum distances (AMD) of a crystal are the distances of its atoms to their first,
second, ... neighbours, averaged over the atoms. They depend on no choice of cell or origin, and
moving every atom by at most e moves none of them by more than 2 e, where a matcher jumps from
"same" to "new". They do not see which element an atom is: crystals are compared within a formula.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from math import gcd
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from scipy.spatial import KDTree
from scipy.spatial.distance import cdist

from symmbfn._shapes import Float, Int
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.distances import MINIMUM_VOLUME, reduce_lattice
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.progress import progress

N_NEIGHBOURS = 100
MAX_POINTS = 2_000_000  # of the piece of crystal in which neighbours are looked for
MARGIN = 1.3  # the first guess of the radius, over that of a sphere with just enough atoms
CHUNK = 256  # crystals compared at a time


@dataclass(frozen=True)
class Neighbourhoods:
    """What is compared of many crystals.

    Args:
        distances: AMD of each crystal, angstrom, NaN without structure, shape (n, 100).
        length: (volume per atom)^(1/3), angstrom, NaN without structure, shape (n,).
        formula: reduced formula, "" without structure.
        anonymous: counts of the elements in it, smallest first: (1, 2) for TiO2.
    """

    distances: Float[np.ndarray, "n 100"]
    length: Float[np.ndarray, "n"]
    formula: tuple[str, ...]
    anonymous: tuple[tuple[int, ...], ...]

    def __len__(self) -> int:
        return len(self.length)

    def save(self, path: Path) -> None:
        """Write them as a `.npz` file, which `load` reads."""
        anonymous = [" ".join(map(str, counts)) for counts in self.anonymous]
        with whole_file(path) as part, part.open("wb") as file:
            np.savez(
                file,
                distances=self.distances,
                length=self.length,
                formula=np.array(self.formula, "U"),
                anonymous=np.array(anonymous, "U"),
            )

    @classmethod
    def load(cls, path: Path) -> "Neighbourhoods":
        """Read what `save` wrote.

        Raises:
            OSError: there is no such file.
            ValueError: it is damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as stored:
                anonymous = [tuple(map(int, text.split())) for text in stored["anonymous"]]
                formula = tuple(stored["formula"].tolist())
                return cls(stored["distances"], stored["length"], formula, tuple(anonymous))
        except (LookupError, BadZipFile, EOFError) as error:
            raise ValueError(f"{path.name} is damaged: {error}") from None


@dataclass(frozen=True)
class Nearest:
    """Distance of each crystal to the nearest one of a reference.

    Infinite where the reference has no such formula, NaN without structure.

    Args:
        same_formula: to the nearest crystal of the same reduced formula, angstrom, shape (n,).
        same_prototype: to the nearest one whose elements have the same counts, both at one atom
            per unit volume, shape (n,).
    """

    same_formula: Float[np.ndarray, "n"]
    same_prototype: Float[np.ndarray, "n"]


def average_minimum_distances(cell: Cell) -> Float[np.ndarray, "100"]:
    """Distance to the first, ..., 100th neighbour, each averaged over the atoms of the cell.

    Args:
        cell: any cell of the crystal; the result is the same for all, best for a small one.

    Returns:
        Distances in rising order, angstrom, shape (100,).

    Raises:
        ValueError: no atoms, coordinates that are not finite, no volume, or a cell so flat that
            its neighbours are too many to look at.

    Source: Widdowson et al. 2022 (AMD).
    """
    if not len(cell):
        raise ValueError("a cell without atoms has no distances")
    finite = np.isfinite(cell.lattice_matrix).all() and np.isfinite(cell.fractional_coords).all()
    if not (finite and cell.volume > MINIMUM_VOLUME):
        raise ValueError(f"cell of {cell.volume:g} cubic angstrom has no distances")
    lattice = reduce_lattice(torch.as_tensor(cell.lattice_matrix).double()[None])[0].numpy()
    coords = cell.fractional_coords @ cell.lattice_matrix @ np.linalg.inv(lattice)
    coords -= np.floor(coords)
    atoms = coords @ lattice
    volume = (N_NEIGHBOURS + 1) * cell.volume / len(cell)
    radius = MARGIN * (3 * volume / (4 * np.pi)) ** (1 / 3)
    while True:
        points = _points_around(coords, lattice, radius)
        if len(points) > N_NEIGHBOURS:
            # the atom itself is the first
            found = KDTree(points).query(atoms, N_NEIGHBOURS + 1)[0][:, 1:]
            # all that lies within the radius of an atom is there, and nothing beyond is sure
            if found.max() <= radius:
                return found.mean(0)
        radius *= MARGIN


def _points_around(
    coords: Float[np.ndarray, "A 3"], lattice: Float[np.ndarray, "3 3"], radius: float
) -> Float[np.ndarray, "X 3"]:
    """Atoms of the infinite crystal, with all that lie within a radius of those given.

    Args:
        coords: fractional, in [0, 1), shape (A, 3).
        lattice: rows a, b, c, shape (3, 3), angstrom.
        radius: angstrom.
    """
    reach = radius * np.linalg.norm(np.linalg.inv(lattice), axis=0)  # in cells along each axis
    sides = [np.arange(np.floor(-r), np.ceil(r) + 1) for r in reach]
    if np.prod([float(len(side)) for side in sides]) * len(coords) > MAX_POINTS:
        raise ValueError(f"cell with edges {np.linalg.norm(lattice, axis=1)} is too flat")
    shifts = np.stack(np.meshgrid(*sides, indexing="ij"), axis=-1).reshape(-1, 3)
    images = (coords + shifts[:, None]).reshape(-1, 3)
    low, high = coords.min(0) - reach, coords.max(0) + reach
    return images[((images >= low) & (images <= high)).all(-1)] @ lattice


def neighbourhoods(cells: Sequence[Cell | None]) -> Neighbourhoods:
    """AMD and formulas of many crystals.

    Args:
        cells: one a crystal, None where there is no structure.

    Returns:
        One row a crystal, NaN where there is none, or its cell has no distances.
    """
    distances = np.full((len(cells), N_NEIGHBOURS), np.nan)
    length = np.full(len(cells), np.nan)
    formulas = [""] * len(cells)
    anonymous: list[tuple[int, ...]] = [()] * len(cells)
    for row, cell in enumerate(progress(cells, label="neighbours of each atom")):
        if cell is None:
            continue
        try:
            distances[row] = average_minimum_distances(cell)
        except ValueError:  # the row stays NaN
            continue
        length[row] = (cell.volume / len(cell)) ** (1 / 3)
        formulas[row], anonymous[row] = cell.formula, _anonymous(cell.atomic_numbers)
    return Neighbourhoods(distances, length, tuple(formulas), tuple(anonymous))


def _anonymous(atomic_numbers: Int[np.ndarray, "A"]) -> tuple[int, ...]:
    counts = Counter(atomic_numbers.tolist()).values()
    divisor = reduce(gcd, counts, 0)
    return tuple(sorted(count // divisor for count in counts))


def nearest(crystals: Neighbourhoods, reference: Neighbourhoods) -> Nearest:
    """Distance of each crystal to the nearest of a reference.

    The distance of two crystals is the largest difference of their AMD.

    Args:
        crystals: those to judge.
        reference: those that are known, such as the training set.
    """
    return Nearest(
        _nearest(crystals.distances, crystals.formula, reference.distances, reference.formula),
        _nearest(
            crystals.distances / crystals.length[:, None],
            crystals.anonymous,
            reference.distances / reference.length[:, None],
            reference.anonymous,
        ),
    )


def _nearest(
    mine: Float[np.ndarray, "n 100"],
    my_keys: Sequence[object],
    theirs: Float[np.ndarray, "m 100"],
    their_keys: Sequence[object],
) -> Float[np.ndarray, "n"]:
    known: dict[object, list[int]] = defaultdict(list)
    for row in np.flatnonzero(np.isfinite(theirs).all(1)).tolist():
        known[their_keys[row]].append(row)
    has_row = np.isfinite(mine).all(1)
    wanted: dict[object, list[int]] = defaultdict(list)
    for row in np.flatnonzero(has_row).tolist():
        wanted[my_keys[row]].append(row)
    smallest = np.where(has_row, np.inf, np.nan)
    for key, rows in wanted.items():
        others = theirs[known.get(key, [])]
        for start in range(0, len(rows) if len(others) else 0, CHUNK):
            part = rows[start : start + CHUNK]
            smallest[part] = cdist(mine[part], others, "chebyshev").min(1)
    return smallest


def shares_within(
    distance: Float[np.ndarray, "n"], limits: Float[np.ndarray, "x"]
) -> Float[np.ndarray, "x"]:
    """Share of crystals whose nearest known one lies within each limit, shape (x,).

    Args:
        distance: from `nearest`, shape (n,); a crystal without structure counts and is in none.
        limits: in the unit of the distance, shape (x,).

    Raises:
        ValueError: no crystals.
    """
    if not len(distance):
        raise ValueError("no crystals, no shares")
    return (distance[:, None] <= limits).mean(0)
