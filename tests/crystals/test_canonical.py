"""The canonical form must not depend on how the crystal was written down."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from symmbfn.crystals import settings
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, to_chart
from symmbfn.crystals.canonical import (
    arranged,
    canonical_form,
    move_onto_locus,
    project_onto_locus,
    representative_of,
)
from symmbfn.crystals.lattice import (
    constrain_k,
    k_to_metric,
    metric_to_k,
    parameters_to_metric,
)
from symmbfn.crystals.symmetry import operations_of, orbit_of, positions_of, symmetry_tables

GROUPS = range(1, 231)


def random_crystal(number: int, rng: np.random.Generator, n_sites: int = 4) -> AsymmetricUnit:
    """Sites on random Wyckoff positions of the group, all of one element but the last."""
    rows = positions_of(number)
    dof = symmetry_tables().degrees_of_freedom[rows]
    n_positions = rows.stop - rows.start
    movable = np.flatnonzero(dof > 0)
    positions = np.concatenate(
        [rng.integers(0, n_positions, 1), rng.choice(movable, n_sites - 2), [0]]
    )
    coords = [project_onto_locus(number, int(w), rng.random((1, 3)))[0][0] for w in positions]
    k = np.append(0.2 * rng.normal(size=5), 2.0)
    return AsymmetricUnit(
        space_group_number=number,
        lattice_k=constrain_k(torch.tensor(k), number).numpy(),
        atomic_numbers=np.array([8] * (n_sites - 1) + [26]),
        wyckoff_positions=positions.astype(np.int64),
        fractional_coords=to_chart(np.array(coords)),
    )


def identify(number: int, multiplicity: int, coords: np.ndarray) -> int:
    """The Wyckoff position of a point, by trying all loci of this multiplicity."""
    rows = positions_of(number)
    candidates = np.flatnonzero(symmetry_tables().multiplicity[rows] == multiplicity)
    residuals = [move_onto_locus(number, int(w), coords)[1] for w in candidates]
    assert min(residuals) < 1e-6
    return int(candidates[int(np.argmin(residuals))])


def rewritten(
    unit: AsymmetricUnit,
    rng: np.random.Generator,
    w: np.ndarray | None = None,
    t: np.ndarray | None = None,
) -> AsymmetricUnit:
    """The same crystal by another description: setting, orbit members, order of sites."""
    number, tables = unit.space_group_number, symmetry_tables()
    if w is None or t is None:
        first, last = tables.normaliser_start[number - 1 : number + 1]
        row = int(rng.integers(first, last))
        w, t = tables.normaliser_rotations[row], tables.normaliser_translations[row]
    shift = t + np.where(tables.polar_axes[number - 1], rng.random(3), 0)
    rotations, translations = operations_of(number)
    multiplicity = tables.multiplicity[positions_of(number)][unit.wyckoff_positions]
    coords, positions = [], []
    for m, x in zip(multiplicity, unit.fractional_coords, strict=True):
        op = rng.integers(len(rotations))
        point = rotations[op] @ (w @ x + shift) + translations[op] + rng.integers(-2, 3, 3)
        coords.append(point)
        positions.append(identify(number, int(m), point))
    inverse = np.linalg.inv(w)
    metric = inverse.T @ k_to_metric(torch.tensor(unit.lattice_k)).numpy() @ inverse
    order = rng.permutation(len(unit))
    return replace(
        unit,
        lattice_k=metric_to_k(torch.tensor(metric)).numpy(),
        atomic_numbers=unit.atomic_numbers[order],
        wyckoff_positions=np.array(positions)[order],
        fractional_coords=np.array(coords)[order],
    )


def assert_equal(left: AsymmetricUnit, right: AsymmetricUnit, tolerance: float = 1e-7) -> None:
    np.testing.assert_allclose(left.lattice_k, right.lattice_k, atol=tolerance)
    np.testing.assert_array_equal(left.atomic_numbers, right.atomic_numbers)
    np.testing.assert_array_equal(left.wyckoff_positions, right.wyckoff_positions)
    np.testing.assert_allclose(left.fractional_coords, right.fractional_coords, atol=tolerance)


def full_cell(unit: AsymmetricUnit) -> tuple[np.ndarray, np.ndarray]:
    """Fractional coordinates and elements of all atoms."""
    orbits = []
    for w, x in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
        rotations, translations = orbit_of(unit.space_group_number, int(w))
        orbits.append(rotations @ x + translations)
    counts = [len(orbit) for orbit in orbits]
    return np.concatenate(orbits), np.repeat(unit.atomic_numbers, counts)


def distances_from(unit: AsymmetricUnit, element: int) -> np.ndarray:
    """Sorted squared distances (27 images) from the atoms of an element to all atoms."""
    coords, elements = full_cell(unit)
    metric = k_to_metric(torch.tensor(unit.lattice_k)).numpy()
    steps = coords[elements == element][:, None] - coords[None]
    steps -= np.rint(steps)
    images = np.array(np.meshgrid(*[[-1, 0, 1]] * 3)).reshape(3, -1).T
    steps = steps[:, :, None] + images
    return np.sort(np.einsum("abni,ij,abnj->abn", steps, metric, steps).min(axis=-1).ravel())


@pytest.mark.parametrize("number", GROUPS)
def test_canonical_form_is_invariant(number: int) -> None:
    """Under origin, polar shift, choice of orbit members, setting, order, and itself."""
    rng = np.random.default_rng(number)
    unit = random_crystal(number, rng)
    canonical = canonical_form(unit)
    assert_equal(canonical_form(canonical), canonical)
    for _ in range(3):
        assert_equal(canonical_form(rewritten(unit, rng)), canonical)


@pytest.mark.parametrize("number", [2, 14, 33, 62, 136, 166, 225])
def test_canonical_form_is_the_same_crystal(number: int) -> None:
    rng = np.random.default_rng(number)
    unit = random_crystal(number, rng)
    np.testing.assert_allclose(
        distances_from(canonical_form(unit), 26), distances_from(unit, 26), atol=1e-6
    )


def test_without_it_descriptions_differ() -> None:
    """Negative control: arranging alone leaves most re-written crystals different."""
    rng = np.random.default_rng(0)
    n_equal = 0
    for _ in range(20):
        unit = random_crystal(62, rng)
        try:
            assert_equal(arranged(rewritten(unit, rng)), arranged(unit))
            n_equal += 1
        except AssertionError:
            pass
    assert n_equal < 10


def test_small_noise_does_not_change_the_choice() -> None:
    rng = np.random.default_rng(5)
    for number in (2, 4, 14, 33, 62, 166, 194):
        unit = random_crystal(number, rng)
        noisy = rewritten(unit, rng)
        noise = 1e-6 * rng.normal(size=noisy.fractional_coords.shape)
        noisy = replace(noisy, fractional_coords=noisy.fractional_coords + noise)
        assert_equal(canonical_form(noisy), canonical_form(unit), tolerance=2e-5)


def test_a_position_that_the_normaliser_moves_nowhere_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It cannot be with sound tables; taking the last position in silence would hide it."""
    monkeypatch.setattr(settings, "is_on_locus", lambda *_: np.zeros(1, dtype=bool))
    with pytest.raises(ValueError, match="space group 47 moves Wyckoff position 0"):
        settings.settings_of.__wrapped__(47, ())


def test_settings_of_a_cell_more_symmetric_than_its_group() -> None:
    """Pmm2 with a = b: exchanging a and b exchanges letters b and c, and is no Euclidean coset."""
    rng = np.random.default_rng(1)
    cell = torch.tensor([4.0, 4.0, 4.0, 90.0, 90.0, 90.0])
    swap = np.array([[0, 1, 0], [1, 0, 0], [0, 0, -1]])
    letters = symmetry_tables().letter[positions_of(25)].tolist()
    unit = AsymmetricUnit(
        space_group_number=25,
        lattice_k=metric_to_k(parameters_to_metric(cell)).numpy(),
        atomic_numbers=np.array([8, 22, 38]),
        wyckoff_positions=np.array([letters.index(letter) for letter in "bda"]),
        fractional_coords=np.array([[0, 0.5, 0.03], [0.5, 0.5, 0.52], [0, 0, 0.01]]),
    )
    other = rewritten(unit, rng, w=swap, t=np.zeros(3))
    assert sorted(letters[w] for w in other.wyckoff_positions) == ["a", "c", "d"]
    assert_equal(canonical_form(other), canonical_form(unit))

    uneven = metric_to_k(parameters_to_metric(cell + torch.tensor([0, 0.002, 0, 0, 0, 0])))
    unit = replace(unit, lattice_k=uneven.numpy())  # the lattice follows the axes
    other = rewritten(unit, rng, w=swap, t=np.zeros(3))
    assert_equal(canonical_form(other), canonical_form(unit))

    longer = metric_to_k(parameters_to_metric(cell + torch.tensor([0.5, 0, 0, 0, 0, 0])))
    unit = replace(unit, lattice_k=longer.numpy())
    other = rewritten(unit, rng, w=swap, t=np.zeros(3))  # now a < b, another cell
    assert not np.allclose(canonical_form(other).lattice_k, canonical_form(unit).lattice_k)


def test_mirror_twins_share_their_form() -> None:
    rng = np.random.default_rng(2)
    unit = random_crystal(19, rng)
    twin = rewritten(unit, rng, w=-np.eye(3), t=np.zeros(3))
    assert_equal(canonical_form(twin), canonical_form(unit))


@pytest.mark.parametrize("number", GROUPS)
def test_representatives(number: int) -> None:
    """Both rules return a member of the orbit; "locus" one on the first locus, by a fixed rule."""
    rng = np.random.default_rng(number)
    rotations, translations = operations_of(number)
    rows = positions_of(number)
    for position in range(rows.stop - rows.start):
        x = project_onto_locus(number, position, rng.random((1, 3)))[0][0]
        orbit_rotations, orbit_translations = orbit_of(number, position)
        members = orbit_rotations @ x + orbit_translations
        op = rng.integers(len(rotations))
        equivalent, residual = move_onto_locus(
            number, position, rotations[op] @ x + translations[op]
        )
        assert residual < 1e-9
        for rule in ("locus", "centre"):
            chosen = representative_of(number, position, x, rule)
            steps = members - chosen
            assert np.abs(steps - np.rint(steps)).max(axis=-1).min() < 2.1e-4  # snapped x, 2x
            again = representative_of(number, position, equivalent, rule)
            np.testing.assert_allclose(chosen, again, atol=1e-9)
        chosen = representative_of(number, position, x)
        assert project_onto_locus(number, position, chosen[None])[1][0] < 1e-12
        assert ((chosen >= -0.06) & (chosen < 0.94)).all()


def test_centre_rule_takes_the_member_nearest_the_centre() -> None:
    rng = np.random.default_rng(3)
    x = rng.random(3)
    chosen = representative_of(225, 0, x, "centre")
    rotations, translations = orbit_of(225, 0)
    members = (rotations @ x + translations) % 1
    nearest = np.linalg.norm(members - 0.5, axis=-1).min()
    assert np.linalg.norm(chosen % 1 - 0.5) == pytest.approx(nearest, abs=1e-3)


def test_projection_is_idempotent_and_leaves_the_locus_alone() -> None:
    rng = np.random.default_rng(4)
    for number, position in ((167, 1), (227, 2), (14, 4), (166, 1)):
        points = rng.random((50, 3))
        projected, residual = project_onto_locus(number, position, points)
        again, zero = project_onto_locus(number, position, projected)
        np.testing.assert_allclose(again, projected, atol=1e-12)
        assert zero.max() < 1e-12 and residual.max() > 0.01
