"""Distances between crowds of crystals: density, number of elements, space groups."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.stats import wasserstein_distance

from symmbfn._shapes import Float, Int
from symmbfn.crystals.crystal import GRAM_PER_CM3
from symmbfn.crystals.elements import ATOMIC_MASS
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.cache import EncodedDataset

N_GROUPS = 230
NO_GROUP = 1  # a crystal in which the symmetry search fails has no symmetry


@dataclass(frozen=True)
class Observables:
    """What is compared of each crystal; the same for every choice of its cell.

    Args:
        density: g/cm3, shape (n,).
        n_elements: distinct elements, shape (n,).
        space_group_number: as found in the finished structure, 1 to 230, shape (n,).
    """

    density: Float[np.ndarray, "n"]
    n_elements: Int[np.ndarray, "n"]
    space_group_number: Int[np.ndarray, "n"]

    def __len__(self) -> int:
        return len(self.density)

    def __getitem__(self, rows: np.ndarray) -> "Observables":
        return Observables(self.density[rows], self.n_elements[rows], self.space_group_number[rows])


def dataset_observables(dataset: EncodedDataset) -> Observables:
    """Observables of real crystals, straight from their asymmetric units.

    The space group is the one found at the dataset's tolerance when it was encoded: 0.1
    angstrom for MP-20 and MPTS-52, as for generated crystals.
    """
    tables = symmetry_tables()
    crystal = np.repeat(np.arange(len(dataset)), dataset.n_sites.numpy())
    group = dataset.space_group_number.long()
    row = position_row(group[crystal], dataset.wyckoff_positions.long()).numpy()
    numbers = dataset.atomic_numbers.numpy().astype(np.int64)
    mass = ATOMIC_MASS[numbers] * tables.multiplicity[row]
    volume = np.exp(3 * dataset.lattice_k.numpy()[:, 5])
    density = np.bincount(crystal, mass, len(dataset)) * GRAM_PER_CM3 / volume
    pairs = np.unique(np.stack([crystal, numbers]), axis=1)
    return Observables(density, np.bincount(pairs[0], minlength=len(dataset)), group.numpy())


def group_shares(space_group_number: Int[np.ndarray, "n"]) -> Float[np.ndarray, "G"]:
    """Share of each of the 230 space groups, group 1 first, shape (230,)."""
    counts = np.bincount(space_group_number, minlength=N_GROUPS + 1)[1:]
    return counts / counts.sum()


def jensen_shannon_distance(p: Float[np.ndarray, "G"], q: Float[np.ndarray, "G"]) -> float:
    """Square root of the Jensen-Shannon divergence in nats; at most sqrt(ln 2) = 0.833.

    Source: Methods, "Evaluation metrics"; method 8.2.
    """
    m = (p + q) / 2

    def divergence(a: Float[np.ndarray, "G"]) -> float:
        present = a > 0
        return float((a[present] * np.log(a[present] / m[present])).sum())

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))


def density_distance(generated: Observables, reference: Observables) -> float:
    """d_rho: Wasserstein-1 distance between the densities, g/cm3. Source: method 8.1."""
    return float(wasserstein_distance(generated.density, reference.density))


def elements_distance(generated: Observables, reference: Observables) -> float:
    """d_elem: Wasserstein-1 distance between the numbers of elements. Source: method 8.1."""
    return float(wasserstein_distance(generated.n_elements, reference.n_elements))


def group_distance(generated: Observables, reference: Observables) -> float:
    """d_G: Jensen-Shannon distance between the space groups. Source: method 8.2."""
    return jensen_shannon_distance(
        group_shares(generated.space_group_number), group_shares(reference.space_group_number)
    )


DISTANCES: dict[str, Callable[[Observables, Observables], float]] = {
    "d_rho": density_distance,
    "d_elem": elements_distance,
    "d_g": group_distance,
}


def distances(generated: Observables, reference: Observables) -> Float[np.ndarray, "3"]:
    """d_rho, d_elem and d_G, in the order of `DISTANCES`."""
    return np.array([distance(generated, reference) for distance in DISTANCES.values()])


def noise_floor(
    pool: Observables, reference: Observables, *, size: int, n_draws: int, seed: int
) -> Float[np.ndarray, "draws 3"]:
    """Distances of real crystals from real crystals: what a perfect generator would score.

    Args:
        pool: crystals to draw from, without replacement: the training set.
        reference: crystals to compare with.
        size: crystals in one draw.
        n_draws: number of draws.
        seed: of the draws.

    Returns:
        d_rho, d_elem and d_G of every draw, shape (n_draws, 3).

    Raises:
        ValueError: fewer crystals in the pool than in one draw.
    """
    if not 1 <= size <= len(pool):
        raise ValueError(f"size must lie in 1..{len(pool)}, got {size}")
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(pool), size, replace=False) for _ in range(n_draws))
    return np.array([distances(pool[rows], reference) for rows in draws])
