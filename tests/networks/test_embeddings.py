"""Features of coordinates and neighbours against direct formulas and a search over images."""

import numpy as np
import pytest
import torch

from symmbfn.crystals.lattice import parameters_to_metric
from symmbfn.crystals.symmetry import operations_of
from symmbfn.networks.embeddings import (
    CONTACT_CENTRES,
    IMAGE_CENTRES,
    RESOLUTION,
    gaussian_basis,
    image_features,
    n_image_features,
    pair_phases,
    phases,
    time_features,
)

SHIFTS = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
# group and cell: orthogonal, hexagonal, rhombohedral, monoclinic, triclinic (reduced)
CELLS = [
    (225, (5.0, 5.0, 5.0, 90, 90, 90)),
    (62, (4.0, 9.0, 6.0, 90, 90, 90)),
    (194, (3.0, 3.0, 9.0, 90, 90, 120)),
    (166, (4.0, 4.0, 20.0, 90, 90, 120)),
    (14, (5.0, 6.0, 7.0, 90, 105, 90)),
    (15, (12.0, 4.0, 6.0, 90, 102, 90)),
    (2, (5.0, 6.0, 7.0, 80, 75, 70)),
    (1, (5.0, 5.0, 5.0, 100, 110, 118)),
]
SKEWED = (2, (4.0, 6.0, 9.0, 90, 130, 90))


def metric_of(cell) -> np.ndarray:
    return parameters_to_metric(torch.tensor(cell, dtype=torch.float64)).numpy()


def sites(n: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, 3)) - 0.06


def radii(n: int) -> np.ndarray:
    return 0.6 + 0.1 * np.arange(n)


def features(x: np.ndarray, group: int, cell, padding: int = 0) -> np.ndarray:
    """`image_features` of one crystal, (N, N, 76)."""
    rotations, translations = operations_of(group)
    count = len(rotations)
    padded_r = np.zeros((count + padding, 3, 3))
    padded_t = np.full((count + padding, 3), 0.3)
    padded_r[:count], padded_t[:count] = rotations, translations
    return image_features(
        torch.tensor(x, dtype=torch.float32)[None],
        torch.tensor(metric_of(cell), dtype=torch.float32)[None],
        torch.tensor(padded_r, dtype=torch.float32)[None],
        torch.tensor(padded_t, dtype=torch.float32)[None],
        (torch.arange(count + padding) < count)[None],
        torch.tensor(radii(len(x)), dtype=torch.float32)[None],
    )[0].numpy()


def brute_force(x: np.ndarray, group: int, cell) -> tuple[np.ndarray, np.ndarray]:
    """Shortest vector from site i to each image g x_j over 125 lattice shifts: (N, N, O)."""
    rotations, translations = operations_of(group)
    metric = metric_of(cell)
    images = np.einsum("oxy,jy->jox", rotations, x) + translations
    v = images[None] - x[:, None, None]
    v = (v - np.round(v))[..., None, :] + SHIFTS
    length = np.sqrt(np.einsum("...x,xy,...y->...", v, metric, v))
    best = length.argmin(-1)[..., None]
    own = np.eye(len(x), dtype=bool)
    distance = np.take_along_axis(length, best, -1)[..., 0]
    distance[own, 0] = np.inf  # the identity takes a site to itself
    return distance, np.take_along_axis(v, best[..., None], -2)[..., 0, :]


def lengths(vectors: np.ndarray, cell) -> np.ndarray:
    return np.sqrt(np.einsum("...x,xy,...y->...", vectors, metric_of(cell), vectors))


@pytest.mark.parametrize(("group", "cell"), CELLS)
def test_the_two_nearest_images_are_those_of_a_search(group: int, cell) -> None:
    x = sites()
    found = features(x, group, cell)
    distance, vector = brute_force(x, group, cell)
    order = distance.argsort(-1)[..., :2]
    n_images = order.shape[-1]  # a group without operations has one image of each other site
    expected = np.take_along_axis(distance, order, -1)
    is_pair = np.isfinite(expected)
    got = found[..., :6].reshape(len(x), len(x), 2, 3)[..., :n_images, :]
    np.testing.assert_allclose(lengths(got, cell)[is_pair], expected[is_pair], atol=RESOLUTION)
    # between different sites in general places no two images are equally far: vectors agree too
    different = ~np.eye(len(x), dtype=bool)
    expected_vectors = np.take_along_axis(vector, order[..., None], -2)
    np.testing.assert_allclose(got[different], expected_vectors[different], atol=1e-5)


@pytest.mark.parametrize(("group", "cell"), CELLS)
def test_radial_features_follow_from_the_distances(group: int, cell) -> None:
    x = sites()
    found = features(x, group, cell)
    distance, _ = brute_force(x, group, cell)
    nearest = np.sort(distance, -1)[..., :2]
    n_images = nearest.shape[-1]
    scale = (radii(4)[:, None] + radii(4))[..., None]

    def basis(d: np.ndarray, centres: torch.Tensor) -> np.ndarray:
        c = centres.double().numpy()
        return np.exp(-0.5 * ((d[..., None] - c) / (c[1] - c[0])) ** 2)

    radial = found[..., 12:40].reshape(4, 4, 2, 14)[..., :n_images, :]
    contact = found[..., 40:64].reshape(4, 4, 2, 12)[..., :n_images, :]
    pooled = np.log1p(basis(distance / scale, CONTACT_CENTRES).sum(-2))
    # the second nearest may be one that is as near within the resolution
    np.testing.assert_allclose(radial, basis(nearest, IMAGE_CENTRES), atol=2 * RESOLUTION)
    np.testing.assert_allclose(contact, basis(nearest / scale, CONTACT_CENTRES), atol=1e-2)
    np.testing.assert_allclose(found[..., 64:], pooled, atol=1e-4)
    assert found.shape[-1] == n_image_features(2)


def test_an_atom_counts_as_often_as_operations_lead_to_it() -> None:
    """Summed over operations, against the distinct atoms of the cell times their stabilisers."""
    group, cell = CELLS[0]
    x = np.array([[0, 0, 0], [0.25, 0.25, 0.25], [0.13, 0.13, 0.13], [0.11, 0.07, 0.31]])
    rotations, translations = operations_of(group)
    orbits = []
    for site in x:
        atoms = rotations @ site + translations
        orbits.append(np.unique(np.round((atoms + 1e-9) % 1, 6) % 1, axis=0))
    n_stabilising = len(rotations) // np.array([len(orbit) for orbit in orbits])
    assert n_stabilising.tolist() == [48, 24, 6, 1]
    found = features(x, group, cell)
    c = CONTACT_CENTRES.double().numpy()
    for i, j in ((0, 1), (0, 2), (1, 0), (3, 2), (2, 3)):
        v = orbits[j] - x[i]
        d = lengths(v - np.round(v), cell) / (radii(4)[i] + radii(4)[j])
        basis = np.exp(-0.5 * ((d[:, None] - c) / (c[1] - c[0])) ** 2).sum(0)
        np.testing.assert_allclose(found[i, j, 64:], np.log1p(n_stabilising[j] * basis), atol=1e-4)


def test_in_a_strongly_skewed_cell_distances_are_upper_bounds() -> None:
    # one flip along one axis is not the whole search: never too short, and rarely too long
    group, cell = SKEWED
    x = sites(6)
    got = lengths(features(x, group, cell)[..., :6].reshape(6, 6, 2, 3), cell)
    expected = np.sort(brute_force(x, group, cell)[0], -1)[..., :2]
    is_pair = np.isfinite(expected)
    assert (got >= expected - 1e-4)[is_pair].all()
    assert (np.abs(got - expected) < 1e-4)[is_pair].mean() > 0.7


def test_the_set_of_images_does_not_know_which_member_stands_for_an_orbit() -> None:
    """Site j replaced by g x_j + n: what other sites see of it stays the same."""
    group, cell = 14, (5.0, 6.0, 7.0, 90, 105, 90)
    x = sites()
    rotations, translations = operations_of(group)
    moved = x.copy()
    moved[2] = rotations[3] @ x[2] + translations[3] + [1, 0, -2]
    before, after = features(x, group, cell), features(moved, group, cell)
    others = [0, 1, 3]
    np.testing.assert_allclose(after[others], before[others], atol=2e-4)
    # from the moved site everything is turned: distances stay, vectors do not
    np.testing.assert_allclose(after[2][:, 12:], before[2][:, 12:], atol=2e-4)
    assert np.abs(after[2][:, :6] - before[2][:, :6]).max() > 0.1


def test_lattice_shifts_of_the_whole_crystal_change_nothing() -> None:
    group, cell = CELLS[2]
    x = sites()
    np.testing.assert_allclose(
        features(x + [1, -1, 2], group, cell), features(x, group, cell), atol=2e-4
    )


@pytest.mark.parametrize(("group", "cell"), CELLS)
def test_padded_operations_change_nothing(group: int, cell) -> None:
    x = sites()
    padded, plain = features(x, group, cell, 7), features(x, group, cell)
    np.testing.assert_array_equal(padded[..., :64], plain[..., :64])
    # sums over more zeros may be taken in another order: the last bit, and buckets fix it
    np.testing.assert_allclose(padded[..., 64:], plain[..., 64:], rtol=3e-7)


@pytest.mark.parametrize(
    ("group", "cell", "x"),
    [
        (221, CELLS[0][1], [[0, 0, 0], [0.5, 0.5, 0.5], [0, 0.5, 0.5]]),
        (194, CELLS[2][1], [[0, 0, 0], [1 / 3, 2 / 3, 0.25], [1 / 3, 2 / 3, 0.58]]),
        (62, CELLS[1][1], [[0, 0, 0], [0, 0, 0.5], [0.1, 0.25, 0.3]]),
    ],
)
def test_rounding_errors_do_not_exchange_equally_near_images(group: int, cell, x) -> None:
    """Around a special position many images are equally far: which is first must not be chance."""
    rng = np.random.default_rng(0)
    before = features(np.array(x), group, cell)
    for _ in range(5):
        after = features(x + 1e-7 * rng.standard_normal((3, 3)), group, cell)
        np.testing.assert_allclose(after, before, atol=1e-2)


def test_operations_of_another_group_give_other_neighbours() -> None:
    # the negative control
    x = sites()
    cell = (5.0, 6.0, 7.0, 90, 90, 90)
    assert np.abs(features(x, 62, cell) - features(x, 33, cell)).max() > 0.1


def test_pair_phases_are_the_phases_of_the_differences() -> None:
    x = torch.tensor(sites(), dtype=torch.float64)[None]
    sin, cos = phases(x, 24)
    difference = x[:, None] - x[:, :, None]  # (1, i, j, 3): x_j - x_i
    expected = torch.cat(phases(difference, 24), dim=-1)
    torch.testing.assert_close(pair_phases(sin, cos), expected, rtol=0, atol=1e-12)


def test_phases_are_periodic_harmonics() -> None:
    x = torch.tensor([[0.1, 0.3, -0.2]], dtype=torch.float64)
    sin, cos = phases(x, 3)
    k = np.arange(1, 4)
    angle = (2 * np.pi * x.numpy()[0][:, None] * k).ravel()
    np.testing.assert_allclose(sin[0].numpy(), np.sin(angle), atol=1e-12)
    np.testing.assert_allclose(cos[0].numpy(), np.cos(angle), atol=1e-12)
    shifted = phases(x + torch.tensor([1.0, -2.0, 3.0]), 3)
    torch.testing.assert_close(shifted[0], sin, rtol=0, atol=1e-12)


def test_time_features_tell_times_apart() -> None:
    t = torch.linspace(0, 1, 1001)
    features_of_t = time_features(t)
    assert features_of_t.shape == (1001, 33)
    assert (features_of_t.diff(dim=0).norm(dim=-1) > 1e-3).all()
    np.testing.assert_allclose(features_of_t[:, 0], t)
    np.testing.assert_allclose(features_of_t[:, 3], np.sin(3 * np.pi * t.numpy()), atol=1e-5)


def test_the_radial_basis_peaks_at_its_centres() -> None:
    values = gaussian_basis(IMAGE_CENTRES.clone(), IMAGE_CENTRES)
    torch.testing.assert_close(values.diagonal(), torch.ones(14))
    # one spacing away a function has fallen to exp(-1/2)
    torch.testing.assert_close(values.diagonal(1), torch.full((13,), np.exp(-0.5).item()))


def test_autocast_does_not_coarsen_the_geometry() -> None:
    x = sites()
    plain = features(x, *CELLS[2])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        np.testing.assert_array_equal(features(x, *CELLS[2]), plain)
