"""Distances between crowds of crystals, and what crowds of real crystals would score.

The paper compares densities, numbers of elements and space groups. Those can all be right while
sites, chemistry or cells are wrong, so letters, elements, volumes and lattices are compared too.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.stats import wasserstein_distance

from symmbfn._shapes import Float, Int
from symmbfn.evaluation.observables import Observables, judged_observables
from symmbfn.evaluation.validity import Judgement
from symmbfn.intervals import bootstrap_deviation

N_GROUPS = 230


def group_shares(space_group_number: Int[np.ndarray, "n"]) -> Float[np.ndarray, "G"]:
    """Share of each of the 230 space groups, group 1 first, shape (230,)."""
    counts = np.bincount(space_group_number, minlength=N_GROUPS + 1)[1:]
    return counts / counts.sum()


def jensen_shannon_distance(p: Float[np.ndarray, "G"], q: Float[np.ndarray, "G"]) -> float:
    """Square root of the Jensen-Shannon divergence in nats; at most sqrt(ln 2) = 0.833.

    Source: Methods, "Evaluation metrics"; book, method-eq-distances.
    """
    m = (p + q) / 2

    def divergence(a: Float[np.ndarray, "G"]) -> float:
        present = a > 0
        return float((a[present] * np.log(a[present] / m[present])).sum())

    return float(np.sqrt(max(0.0, (divergence(p) + divergence(q)) / 2)))


def density_distance(generated: Observables, reference: Observables) -> float:
    """d_rho: Wasserstein-1 distance between the densities, g/cm3.

    Source: book, method-distances.
    """
    return float(wasserstein_distance(generated.density, reference.density))


def elements_distance(generated: Observables, reference: Observables) -> float:
    """d_elem: Wasserstein-1 distance between the numbers of elements.

    Source: book, method-distances.
    """
    return float(wasserstein_distance(generated.n_elements, reference.n_elements))


def group_distance(generated: Observables, reference: Observables) -> float:
    """d_G: Jensen-Shannon distance between the space groups.

    Source: book, method-distances.
    """
    return jensen_shannon_distance(
        group_shares(generated.space_group_number), group_shares(reference.space_group_number)
    )


def volume_distance(generated: Observables, reference: Observables) -> float:
    """d_volume: Wasserstein-1 distance between volumes per atom, cubic angstrom. Source: ours."""
    volumes = (_given(crowd, "volume_per_atom") for crowd in (generated, reference))
    return float(wasserstein_distance(*volumes))


def length_distance(generated: Observables, reference: Observables) -> float:
    """d_length: Wasserstein-1 distance, mean over a, b and c, angstrom. Source: ours."""
    return _lattice_distance(generated, reference, slice(0, 3))


def angle_distance(generated: Observables, reference: Observables) -> float:
    """d_angle: Wasserstein-1 distance, mean over alpha, beta, gamma, degrees. Source: ours."""
    return _lattice_distance(generated, reference, slice(3, 6))


def _lattice_distance(generated: Observables, reference: Observables, columns: slice) -> float:
    ours, theirs = (
        _given(crowd, "lattice_parameters")[:, columns].T for crowd in (generated, reference)
    )
    return float(np.mean([wasserstein_distance(*pair) for pair in zip(ours, theirs, strict=True)]))


def letter_distance(generated: Observables, reference: Observables) -> float:
    """d_letter: Jensen-Shannon distance between Wyckoff letters, each site counted once.

    Source: ours.
    """
    ours, theirs = (_given(crowd, "letter_counts").sum(axis=0) for crowd in (generated, reference))
    return jensen_shannon_distance(ours / ours.sum(), theirs / theirs.sum())


def composition_distance(generated: Observables, reference: Observables) -> float:
    """d_composition: Jensen-Shannon distance between elements, each crystal counted once.

    The share of an element is the mean of its shares in the crystals, so that a crystal counts
    the same in whichever cell, with however many atoms.

    Source: ours.
    """
    ours, theirs = (
        _given(crowd, "element_shares").mean(axis=0) for crowd in (generated, reference)
    )
    return jensen_shannon_distance(ours, theirs)


def _given(crowd: Observables, name: str) -> np.ndarray:
    values = getattr(crowd, name)
    if values is None:
        raise ValueError(f"observables without {name}")
    return values


Distance = Callable[[Observables, Observables], float]
# those of the paper
DISTANCES: dict[str, Distance] = {
    "d_rho": density_distance,
    "d_elem": elements_distance,
    "d_g": group_distance,
}
ALL_DISTANCES: dict[str, Distance] = DISTANCES | {
    "d_letter": letter_distance,
    "d_composition": composition_distance,
    "d_volume": volume_distance,
    "d_length": length_distance,
    "d_angle": angle_distance,
}
UNITS = {
    "d_rho": "g/cm3",
    "d_elem": "elements",
    "d_g": "",
    "d_letter": "",
    "d_composition": "",
    "d_volume": "A3/atom",
    "d_length": "A",
    "d_angle": "degrees",
}


def distances(generated: Observables, reference: Observables) -> Float[np.ndarray, "3"]:
    """d_rho, d_elem and d_G, in the order of `DISTANCES`."""
    return np.array([distance(generated, reference) for distance in DISTANCES.values()])


def all_distances(generated: Observables, reference: Observables) -> Float[np.ndarray, "8"]:
    """Every distance, in the order of `ALL_DISTANCES`.

    Raises:
        ValueError: observables of which something was left out.
    """
    return np.array([distance(generated, reference) for distance in ALL_DISTANCES.values()])


def drawn_distances(
    pool: Observables,
    reference: Observables,
    *,
    size: int,
    n_draws: int,
    seed: int,
    figure: Callable[[Observables, Observables], np.ndarray] = all_distances,
) -> Float[np.ndarray, "draws F"]:
    """Distances of draws from a crowd.

    Args:
        pool: crystals to draw from, without replacement within a draw.
        reference: crystals to compare with.
        size: crystals in one draw.
        n_draws: number of draws.
        seed: of the draws.
        figure: `all_distances`, or `distances`.

    Returns:
        The distances of every draw, shape (n_draws, F).

    Raises:
        ValueError: fewer crystals in the pool than in one draw.
    """
    if not 1 <= size <= len(pool):
        raise ValueError(f"size must lie in 1..{len(pool)}, got {size}")
    rng = np.random.default_rng(seed)
    draws = (rng.choice(len(pool), size, replace=False) for _ in range(n_draws))
    return np.array([figure(pool[rows], reference) for rows in draws])


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
    return drawn_distances(pool, reference, size=size, n_draws=n_draws, seed=seed, figure=distances)


def compare(
    generated: Observables,
    reference: Observables,
    *,
    pool: Observables,
    n_draws: int = 20,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Every distance of a crowd beside the floor of as many real crystals.

    Args:
        generated: n crystals.
        reference: real crystals to compare with: a split.
        pool: real crystals the floor is drawn from, at least n: the training set.
        n_draws: resamples for the deviation, and draws for the floor.
        seed: of both.

    Returns:
        For each name of `ALL_DISTANCES` its `value`, its standard `deviation` by the bootstrap,
        and `floor_mean` and `floor_sd` over the draws.

    Raises:
        ValueError: fewer crystals in the pool than generated ones.
    """
    n = len(generated)
    floor = drawn_distances(pool, reference, size=n, n_draws=n_draws, seed=seed)
    deviations = bootstrap_deviation(
        lambda rows: all_distances(generated[rows], reference), n, n_resamples=n_draws, seed=seed
    )
    columns = (
        all_distances(generated, reference),
        deviations,
        floor.mean(axis=0),
        floor.std(axis=0, ddof=1),
    )
    labels = ("value", "deviation", "floor_mean", "floor_sd")
    return {
        name: dict(zip(labels, map(float, row), strict=True))
        for name, *row in zip(ALL_DISTANCES, *columns, strict=True)
    }


def drawn_thousands(
    judged: Sequence[Judgement],
    reference: Observables,
    *,
    size: int = 1000,
    n_draws: int = 20,
    seed: int = 0,
) -> dict[str, dict[str, tuple[float, float]]]:
    """Distances by the two conventions of the published tables, which draw 1,000 of many more.

    Args:
        judged: all that were requested.
        reference: real crystals to compare with.
        size: crystals in one draw.
        n_draws: number of draws.
        seed: of the draws.

    Returns:
        For "valid", drawn from those valid by structure and composition, and "all", drawn from
        those that have a structure: mean and standard deviation over the draws of each distance.

    Raises:
        ValueError: fewer crystals than in one draw.

    Source: book, method-draws.
    """
    crowds = {
        "valid": judged_observables(row for row in judged if row.is_valid),
        "all": judged_observables(judged),
    }
    result = {}
    for name, crowd in crowds.items():
        draws = drawn_distances(crowd, reference, size=size, n_draws=n_draws, seed=seed)
        mean, deviation = draws.mean(axis=0), draws.std(axis=0, ddof=1)
        result[name] = {
            key: (float(mean[i]), float(deviation[i])) for i, key in enumerate(ALL_DISTANCES)
        }
    return result
