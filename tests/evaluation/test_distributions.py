"""Distances between crowds: solved by hand, against SciPy and pymatgen, and their floors."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.datasets.cache import EncodedDataset, flat
from symmbfn.evaluation.distributions import (
    ALL_DISTANCES,
    DISTANCES,
    UNITS,
    all_distances,
    angle_distance,
    compare,
    composition_distance,
    density_distance,
    distances,
    drawn_distances,
    drawn_thousands,
    elements_distance,
    group_distance,
    group_shares,
    jensen_shannon_distance,
    length_distance,
    letter_distance,
    noise_floor,
    volume_distance,
)
from symmbfn.evaluation.observables import (
    LETTERS,
    Observables,
    dataset_observables,
    judged_observables,
)
from symmbfn.evaluation.validity import Judgement, judge
from tests.crystals.samples import prototypes


def crowd(density: list[float], n_elements: list[int], groups: list[int]) -> Observables:
    return Observables(np.array(density, dtype=float), np.array(n_elements), np.array(groups))


def random_crowd(n: int, seed: int, shift: float = 0.0) -> Observables:
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, 231)
    groups = rng.choice(np.arange(1, 231), n, p=weights / weights.sum())
    return Observables(rng.gamma(6, 1, n) + shift, rng.integers(1, 6, n), groups)


def full_crowd(n: int, seed: int, shift: float = 0.0) -> Observables:
    rng = np.random.default_rng(seed)
    return replace(
        random_crowd(n, seed, shift),
        volume_per_atom=rng.gamma(9, 2, n) + shift,
        lattice_parameters=rng.uniform(3, 9, (n, 6)) + shift,
        letter_counts=rng.poisson(1.0, (n, 27)),
        element_shares=rng.dirichlet(np.linspace(0.1, 2, 119) ** (1 + shift), n),
    )


def test_distances_by_hand() -> None:
    a = crowd([1.0, 2.0], [1, 4], [1, 230])
    b = crowd([2.0, 3.0, 2.0, 3.0], [2, 2, 2, 2], [1, 1, 230, 230])
    assert density_distance(a, b) == pytest.approx(1.0)  # every half moves by one
    assert elements_distance(a, b) == pytest.approx((1 + 2) / 2)
    assert group_distance(a, b) == pytest.approx(0.0)  # the same shares
    # shares (1, 0) and (1/2, 1/2): m = (3/4, 1/4), half of ln 4/3 and of (ln 2/3 + ln 2) / 2
    c = crowd([1.0], [1], [1])
    nats = (np.log(4 / 3) + (np.log(2 / 3) + np.log(2)) / 2) / 2
    assert group_distance(c, b) == pytest.approx(np.sqrt(nats))


def test_wasserstein_is_the_mean_gap_of_sorted_samples() -> None:
    a, b = random_crowd(500, 0), random_crowd(500, 1)
    gap = np.abs(np.sort(a.density) - np.sort(b.density)).mean()
    assert density_distance(a, b) == pytest.approx(gap)
    assert density_distance(random_crowd(500, 0, 0.7), a) == pytest.approx(0.7)


def test_jensen_shannon_agrees_with_scipy_and_has_its_bounds() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        p, q = rng.dirichlet(np.full(230, 0.1), size=2)
        assert jensen_shannon_distance(p, q) == pytest.approx(jensenshannon(p, q), abs=1e-12)
        assert jensen_shannon_distance(p, q) == jensen_shannon_distance(q, p)
    first, last = np.eye(230)[[0, 229]]
    assert jensen_shannon_distance(first, last) == pytest.approx(np.sqrt(np.log(2)))
    assert jensen_shannon_distance(first, first) == 0


def test_every_space_group_has_its_own_bin() -> None:
    """Histograms by bin edges merge the last two groups, and may lose the first."""
    shares = group_shares(np.arange(1, 231))
    assert shares.shape == (230,) and (shares == 1 / 230).all()
    assert group_distance(crowd([1], [1], [229]), crowd([1], [1], [230])) > 0.8
    assert group_distance(crowd([1], [1], [1]), crowd([1], [1], [2])) > 0.8


def test_observables_of_a_dataset_are_those_of_the_raw_structures() -> None:
    structures, units = prototypes()
    dataset = EncodedDataset(**flat(units), properties=torch.zeros(len(units), 0))
    found = dataset_observables(dataset)
    density = [structure.density for structure in structures]
    np.testing.assert_allclose(found.density, density, rtol=2e-3)
    n_elements = [len(structure.composition.elements) for structure in structures]
    assert found.n_elements.tolist() == n_elements
    groups = [structure.get_space_group_info(symprec=0.1)[1] for structure in structures]
    assert found.space_group_number.tolist() == groups


def test_a_crowd_is_at_no_distance_from_itself() -> None:
    a = random_crowd(300, 0)
    np.testing.assert_allclose(distances(a, a), 0, atol=1e-7)
    assert list(DISTANCES) == ["d_rho", "d_elem", "d_g"]


def test_floor_falls_with_the_size_of_a_draw_and_other_crowds_lie_above() -> None:
    pool, reference = random_crowd(20_000, 0), random_crowd(5_000, 1)
    few, many = (
        noise_floor(pool, reference, size=size, n_draws=40, seed=0) for size in (100, 1600)
    )
    # the noise of a share or a mean falls with the root of the size: four times here
    assert (many.mean(axis=0) < 0.6 * few.mean(axis=0)).all()
    limit = many.mean(axis=0) + 2 * many.std(axis=0)
    assert (distances(random_crowd(1600, 2), reference) < limit).all()
    assert distances(random_crowd(1600, 2, shift=0.5), reference)[0] > limit[0]


def test_floor_draws_without_replacement_and_by_seed() -> None:
    pool = random_crowd(50, 0)
    whole = noise_floor(pool, pool, size=50, n_draws=3, seed=0)
    np.testing.assert_allclose(whole, 0, atol=1e-7)
    once, again, other = (
        noise_floor(pool, pool, size=20, n_draws=3, seed=seed) for seed in (0, 0, 1)
    )
    assert (once == again).all() and (once != other).any()
    with pytest.raises(ValueError, match="1..50, got 51"):
        noise_floor(pool, pool, size=51, n_draws=1, seed=0)


def counted(letters: list[str], elements: list[dict[int, float]]) -> Observables:
    shares = np.zeros((len(elements), 119))
    for row, share in zip(shares, elements, strict=True):
        row[list(share)] = list(share.values())
    n = len(letters)
    return replace(
        crowd([1.0] * n, [1] * n, [1] * n),
        letter_counts=np.array([[text.count(letter) for letter in LETTERS] for text in letters]),
        element_shares=shares,
    )


def test_letters_and_elements_by_hand() -> None:
    """The shares (3/4, 1/4) and (1/4, 3/4): m = (1/2, 1/2), ln 3/2 and ln 1/2 on either side."""
    nats = 3 / 4 * np.log(3 / 2) + 1 / 4 * np.log(1 / 2)
    # by sites: a crystal of three counts three times
    a, b = counted(["aa", "aA"], [{}, {}]), counted(["A", "aAA"], [{}, {}])
    assert letter_distance(a, b) == pytest.approx(np.sqrt(nats))
    # by crystals: one half of each, however many atoms it has
    a = counted(["", ""], [{11: 1.0}, {11: 0.5, 17: 0.5}])
    b = counted(["", ""], [{17: 1.0}, {11: 0.5, 17: 0.5}])
    assert composition_distance(a, b) == pytest.approx(np.sqrt(nats))
    assert letter_distance(counted(["A"], [{}]), counted(["z"], [{}])) > 0.8


def test_volumes_and_lattices_by_hand() -> None:
    cubes = np.array([[3.0, 3.0, 3.0, 90, 90, 90], [5.0, 5.0, 5.0, 90, 90, 90]])
    a = replace(full_crowd(2, 0), volume_per_atom=np.array([10.0, 20.0]), lattice_parameters=cubes)
    longer, slanted = cubes.copy(), cubes.copy()
    longer[:, 2] += 6.0
    slanted[1, 5] = 120.0
    b = replace(a, volume_per_atom=np.array([21.0, 13.0]), lattice_parameters=longer)
    assert volume_distance(a, b) == pytest.approx((3 + 1) / 2)  # sorted: 10 to 13, 20 to 21
    assert length_distance(a, b) == pytest.approx(6 / 3)
    assert angle_distance(a, b) == 0
    # one crystal of two, one angle of three, by 30 degrees
    assert angle_distance(a, replace(a, lattice_parameters=slanted)) == pytest.approx(30 / 2 / 3)


def test_judged_crystals_have_the_observables_of_their_dataset() -> None:
    """Two ways to one crowd: from the tables of the encoding, and from the finished atoms."""
    units = prototypes()[1]
    dataset = EncodedDataset(**flat(units), properties=torch.zeros(len(units), 0))
    real = dataset_observables(dataset)
    judged = [judge(crystal) for crystal in reconstruct(AsymmetricUnitBatch.stack(units))]
    found = judged_observables(judged)
    agree = found.space_group_number == real.space_group_number
    assert agree.mean() > 0.99
    for field in fields(Observables):
        ours, theirs = getattr(found, field.name)[agree], getattr(real, field.name)[agree]
        off = np.abs(ours - theirs).reshape(len(ours), -1).max(axis=1) > 5e-3
        assert off.mean() < 0.02, field.name
    np.testing.assert_allclose(found.element_shares.sum(axis=1), 1)


def test_what_was_left_out_has_no_distance() -> None:
    with pytest.raises(ValueError, match="observables without letter_counts"):
        all_distances(random_crowd(5, 0), full_crowd(5, 0))


def test_comparison_holds_value_deviation_and_floor() -> None:
    pool, reference = full_crowd(3000, 0), full_crowd(1000, 1)
    near, far = full_crowd(400, 2), full_crowd(400, 3, shift=1.0)
    table = compare(near, reference, pool=pool, n_draws=12, seed=5)
    assert list(table) == list(ALL_DISTANCES) == list(UNITS)
    floor = drawn_distances(pool, reference, size=400, n_draws=12, seed=5)
    far_table = compare(far, reference, pool=pool, n_draws=12, seed=5)
    for i, (name, row) in enumerate(table.items()):
        assert row["value"] == ALL_DISTANCES[name](near, reference)
        assert row["floor_mean"] == pytest.approx(floor[:, i].mean())
        assert row["floor_sd"] == pytest.approx(floor[:, i].std(ddof=1))
        # a crowd from the same source lies within the floor, and its deviation is the floor's
        assert abs(row["value"] - row["floor_mean"]) < 5 * row["floor_sd"], name
        assert 0.2 < row["deviation"] / row["floor_sd"] < 5, name
    for name in ("d_rho", "d_volume", "d_length", "d_angle", "d_composition"):
        assert far_table[name]["value"] > table[name]["floor_mean"] + 5 * table[name]["floor_sd"]
    same = compare(reference, reference, pool=pool, n_draws=2)
    np.testing.assert_allclose([row["value"] for row in same.values()], 0, atol=1e-7)
    with pytest.raises(ValueError, match="1..300, got 400"):
        compare(near, reference, pool=full_crowd(300, 0))


def judged_row(index: int, density: float, is_valid: bool) -> Judgement:
    return Judgement(
        index=index,
        status="ok",
        reason="",
        formula="NaCl",
        n_atoms=8,
        n_elements=2,
        density=density,
        volume_per_atom=22.4,
        space_group_number=225,
        found_group=225,
        default_group=225,
        symmetry="kept",
        sharp_symmetry="kept",
        is_structurally_valid=True,
        has_good_contacts=True,
        is_smact_valid=is_valid,
        letters="ab",
        lattice_parameters=(5.64, 5.64, 5.64, 90.0, 90.0, 90.0),
        minimum_distance=2.82,
        contact_ratio=1.05,
    )


def test_thousands_are_drawn_from_the_valid_and_from_all() -> None:
    """Valid ones have density 2, the others 6, one in four of all; the reference has 2."""
    rows = [judged_row(i, 6.0 if i % 4 == 0 else 2.0, i % 4 != 0) for i in range(400)]
    failed = replace(judged_row(400, np.nan, False), found_group=None, letters="", formula="")
    reference = judged_observables(rows[1:2])
    table = drawn_thousands([*rows, failed], reference, size=100, n_draws=50, seed=0)
    assert table["valid"]["d_rho"] == (0.0, 0.0)
    mean, deviation = table["all"]["d_rho"]
    # the number of the others in a draw is hypergeometric
    expected = 4 * np.sqrt(0.25 * 0.75 / 100 * 300 / 399)
    assert mean == pytest.approx(4 * 0.25, abs=0.1)
    assert deviation == pytest.approx(expected, rel=0.3)
    assert table["all"]["d_g"][0] == pytest.approx(0, abs=1e-7)
    with pytest.raises(ValueError, match="1..300, got 301"):
        drawn_thousands(rows, reference, size=301)
