"""Reconstruction: what goes in comes out, exactly symmetric, judged, and never lost."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from symmbfn.crystals import collapsed_orbits, reconstruction
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.elements import COVALENT_RADIUS
from symmbfn.crystals.lattice import metric_to_k
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import operations_of, orbit_of, positions_of, symmetry_tables
from symmbfn.crystals.symmetry_search import find_symmetry
from tests.crystals.samples import generic_crystal, one_crystal, prototypes


def noisy(batch: AsymmetricUnitBatch, scale: float, seed: int = 0) -> AsymmetricUnitBatch:
    noise = torch.randn(
        batch.fractional_coords.shape,
        generator=torch.Generator().manual_seed(seed),
        dtype=torch.float64,
    )
    coords = batch.fractional_coords + scale * noise * batch.is_site.unsqueeze(-1)
    return replace(batch, fractional_coords=coords)


def letters(batch: AsymmetricUnitBatch, confidence: float = 0.9) -> torch.Tensor:
    probs = torch.nn.functional.one_hot(batch.wyckoff_positions, 27).double()
    return (confidence * probs + (1 - confidence) / 27).log()


def build(*units: AsymmetricUnit, **options) -> list[reconstruction.Crystal]:
    return reconstruct(AsymmetricUnitBatch.stack(units), **options)


# --- real crystals ---------------------------------------------------------------------------


def test_real_crystals_come_back() -> None:
    structures, units = prototypes()
    crystals = build(*units)
    matcher = StructureMatcher()
    for structure, unit, crystal in zip(structures, units, crystals, strict=True):
        assert crystal.status == "ok", crystal.reason
        assert crystal.residual.max() < 1e-9
        assert crystal.n_merged == crystal.n_dropped == 0
        assert np.array_equal(crystal.unit.wyckoff_positions, unit.wyckoff_positions)
        assert matcher.fit(structure, crystal.to_pymatgen())


def test_noisy_real_crystals_come_back_and_wrong_letters_do_not() -> None:
    structures, units = prototypes()
    batch = AsymmetricUnitBatch.stack(units)
    matcher = StructureMatcher()

    def share(crystals) -> float:
        pairs = zip(structures, crystals, strict=True)
        return float(
            np.mean([c.has_structure and matcher.fit(s, c.to_pymatgen()) for s, c in pairs])
        )

    log_probs = letters(batch)
    assert share(reconstruct(noisy(batch, 0.01), wyckoff_log_probs=log_probs)) > 0.97
    starts = symmetry_tables().position_start.astype(int)
    n_positions = torch.tensor(np.diff(starts))[batch.space_group_number - 1].unsqueeze(-1)
    wrong = replace(batch, wyckoff_positions=(batch.wyckoff_positions - 1) % n_positions)
    assert share(reconstruct(noisy(wrong, 0.01), merge=False)) < 0.2


def test_the_asked_group_is_kept_at_loose_and_tight_tolerance() -> None:
    crystals = build(*prototypes()[1])
    for symprec in (0.1, 1e-3):
        found = [find_symmetry(crystal, symprec).space_group_number for crystal in crystals]
        asked = [crystal.space_group_number for crystal in crystals]
        assert np.mean([a == f for a, f in zip(asked, found, strict=True)]) > 0.99
        assert all(f is not None and f >= a for a, f in zip(asked, found, strict=True))


def test_generic_crystals_have_their_group_in_all_230() -> None:
    rng = np.random.default_rng(0)
    crystals = build(*(generic_crystal(group, rng) for group in range(1, 231)), merge=False)
    for crystal in crystals:
        assert crystal.has_structure
        assert find_symmetry(crystal, 1e-3).space_group_number == crystal.space_group_number
        rotations, translations = operations_of(crystal.space_group_number)
        x, z = crystal.fractional_coords, crystal.atomic_numbers
        for rotation, translation in zip(rotations[1:3], translations[1:3], strict=True):
            gap = (x @ rotation.T + translation)[:, None] - x
            gap = np.abs(gap - np.rint(gap)).max(-1)
            gap[z[:, None] != z] = 1
            assert gap.min(1).max() < 1e-9


def test_other_loci_of_a_position_are_tried_when_the_first_is_far() -> None:
    """A site on any atom of its orbit builds the same crystal, if that is not near the first."""
    structures, units = prototypes()
    rng, moved = np.random.default_rng(1), []
    for unit in units:
        coords = []
        for position, xyz in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
            rotations, translations = orbit_of(unit.space_group_number, int(position))
            pick = rng.integers(len(rotations))
            coords.append(rotations[pick] @ xyz + translations[pick] + rng.integers(-1, 2, 3))
        moved.append(replace(unit, fractional_coords=np.array(coords)))
    matcher = StructureMatcher()
    crystals = build(*moved)
    fits = [
        matcher.fit(structure, crystal.to_pymatgen())
        for structure, crystal in zip(structures, crystals, strict=True)
    ]
    assert np.mean(fits) >= 0.9


def test_distances_are_those_pymatgen_finds() -> None:
    crystals = build(*prototypes()[1])
    for crystal in crystals[::4]:
        structure = crystal.to_pymatgen()
        radius = COVALENT_RADIUS[crystal.atomic_numbers]
        first, second, _, distance = structure.get_neighbor_list(
            r=max(crystal.minimum_distance, 2 * crystal.contact_ratio * radius.max()) + 0.5
        )
        assert crystal.minimum_distance == pytest.approx(distance.min(), abs=1e-6)
        ratio = distance / (radius[first] + radius[second])
        assert crystal.contact_ratio == pytest.approx(ratio.min(), abs=1e-6)


def test_distances_hold_in_skewed_cells_and_to_a_cell_s_own_images() -> None:
    rng = np.random.default_rng(2)
    for group in (1, 2, 5, 15, 143, 166):
        units = [generic_crystal(group, rng) for _ in range(4)]
        units = [
            replace(unit, lattice_k=unit.lattice_k + [0.3, -0.4, 0.2, 0.4, -0.3, 0])
            for unit in units
        ]
        units += [one_crystal(1, [(6, "a", (0.1, 0.2, 0.3))], edge=3.0)]
        for crystal in build(*units, merge=False):
            neighbours = crystal.to_pymatgen().get_neighbor_list(r=crystal.minimum_distance + 1)
            assert crystal.minimum_distance == pytest.approx(neighbours[3].min(), abs=1e-6)


# --- cleaning --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("group", "letter", "xyz", "expected"),
    [
        (2, "i", (0.02, 0.01, 0.49), "b"),  # at an inversion centre
        (6, "c", (0.1, 0.03, 0.7), "a"),  # at a mirror
        (75, "d", (0.01, 0.02, 0.3), "a"),  # at a fourfold axis
        (143, "d", (0.34, 0.67, 0.3), "b"),  # at a threefold axis
        (225, "l", (0.24, 0.26, 0.25), "c"),  # at a tetrahedral centre of a large group
        (221, "m", (0.3, 0.31, 0.02), "i"),  # at the crossing of two mirrors
        (123, "u", (0.01, 0.3, 0.01), "l"),
    ],
)
def test_collapsed_orbits_become_the_special_position_between_them(
    group: int, letter: str, xyz: tuple, expected: str
) -> None:
    unit = one_crystal(group, [(14, letter, xyz)], edge=6.0)
    (merged,), (left,) = build(unit), build(unit, merge=False)
    assert merged.status == "ok"
    assert merged.minimum_distance > 0.6
    assert len(merged) < len(left)
    assert 0 < merged.residual[0] < 0.6
    assert merged.letters == (expected,)
    assert (merged.n_merged, merged.n_dropped) == (1, 0)
    assert (left.n_merged, left.n_dropped) == (0, 0)
    # the image it was merged into lies where the site was
    gap = merged.fractional_coords - np.array(xyz)
    gap = np.linalg.norm((gap - np.rint(gap)) @ merged.lattice_matrix, axis=-1)
    assert gap.min() < 0.4
    assert left.letters == (letter,)
    assert left.status == "invalid_geometry" or left.minimum_distance < 0.6


def test_orbits_that_are_far_enough_are_left_alone() -> None:
    (crystal,) = build(one_crystal(6, [(14, "c", (0.1, 0.06, 0.7))], edge=6.0))
    assert crystal.letters == ("c",)
    assert crystal.minimum_distance == pytest.approx(0.72, abs=1e-6)


def test_images_that_are_close_by_a_short_edge_are_not_merged_onto_a_far_position() -> None:
    """A screw axis halves an edge of 1.1 angstrom; the next inversion centre is 2 angstrom away."""
    unit = one_crystal(14, [(14, "e", (0.0, 0.1, 0.25))])
    metric = torch.tensor([8.0, 1.1, 8.0]).double().square().diag()
    (crystal,) = build(replace(unit, lattice_k=metric_to_k(metric).numpy()))
    assert crystal.minimum_distance == pytest.approx(0.55, abs=1e-6)
    assert (crystal.letters, len(crystal), crystal.n_merged) == (("e",), 4, 0)


def test_an_element_twice_in_one_place_is_there_once() -> None:
    sites = [(11, "e", (0.25, 0, 0)), (17, "b", (0, 0, 0)), (11, "e", (0.251, 0, 0))]
    unit = one_crystal(225, sites, edge=8.0)
    (crystal,) = build(unit)
    assert crystal.status == "ok"
    assert crystal.letters == ("e", "b")
    assert len(crystal) == 24 + 4
    assert crystal.orbit.max() == 1
    assert (crystal.n_merged, crystal.n_dropped) == (0, 1)
    (refused,) = build(unit, merge=False)
    assert refused.status == "reconstruction_failed"
    assert "Na and Na coincide" in refused.reason


def test_two_elements_in_one_place_are_invalid_and_the_surer_one_stays() -> None:
    sites = [(11, "e", (0.25, 0, 0)), (17, "e", (0.25, 0, 0)), (8, "b", (0, 0, 0))]
    unit = one_crystal(225, sites, edge=8.0)
    log_probs = letters(AsymmetricUnitBatch.stack([unit]), confidence=0.6)
    log_probs[0, 1] = letters(AsymmetricUnitBatch.stack([unit]), confidence=0.99)[0, 1]
    (crystal,) = build(unit, wyckoff_log_probs=log_probs)
    assert crystal.status == "invalid_geometry"
    assert "Na and Cl coincide" in crystal.reason
    assert crystal.unit.atomic_numbers.tolist() == [17, 8]
    assert crystal.n_dropped == 1
    (refused,) = build(unit, wyckoff_log_probs=log_probs, merge=False)
    assert refused.status == "reconstruction_failed"


def test_cleaning_is_counted_crystal_by_crystal() -> None:
    """Sites that remain and sites that were dropped add up to those that were given."""
    near_mirror, far = (0.1, 0.03, 0.7), (0.6, 0.3, 0.2)
    units = [
        one_crystal(6, [(14, "c", far)], edge=6.0),
        # merged onto the mirror, where they coincide
        one_crystal(6, [(14, "c", near_mirror), (8, "c", far), (14, "c", near_mirror)], edge=6.0),
        one_crystal(6, [(14, "c", far), (14, "c", far), (14, "c", far)], edge=6.0),
    ]
    crystals = build(*units)
    assert [crystal.status for crystal in crystals] == ["ok"] * 3
    assert [crystal.n_merged for crystal in crystals] == [0, 1, 0]
    assert [crystal.n_dropped for crystal in crystals] == [0, 1, 2]
    for unit, crystal in zip(units, crystals, strict=True):
        assert len(crystal.letters) + crystal.n_dropped == len(unit)


def test_two_sites_that_want_one_point_get_two_points() -> None:
    sites = [(11, "a", (0.01, 0, 0)), (17, "a", (0.02, 0.03, 0.01))]
    batch = AsymmetricUnitBatch.stack([one_crystal(225, sites, edge=5.6)])
    encoding = symmetry_tables().encoding[positions_of(225)][-1].astype(int)
    axes = torch.nn.functional.one_hot(torch.tensor(encoding), 13).double().log()
    (crystal,) = reconstruct(batch, axis_log_probs=axes.expand(1, 2, 15, 13))
    assert crystal.letters == ("a", "b")
    assert crystal.status == "ok"
    assert crystal.formula == "NaCl"
    # negative control: taken at their word, both fall into one place
    assert reconstruct(batch)[0].status == "invalid_geometry"


# --- guards ----------------------------------------------------------------------------------

SALT = [(11, "a", (0, 0, 0)), (17, "b", (0.5, 0.5, 0.5))]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({5: 0.1}, "implausible cell"),
        ({5: 3.6}, "implausible cell"),
        ({5: -2.0}, "implausible cell"),
        ({3: 2.0}, "implausible cell"),
        ({4: -1.5}, "implausible cell"),
        ({0: 3.0}, "implausible cell"),
        ({0: 1.2, 1: 1.0}, "implausible cell"),
    ],
)
def test_implausible_cells_are_invalid_but_kept(change: dict, reason: str) -> None:
    unit = one_crystal(1, [(6, "a", (0, 0, 0)), (8, "a", (0.5, 0.5, 0.5))], edge=5.0)
    for component, value in change.items():
        unit.lattice_k[component] = value
    (crystal,) = build(unit)
    assert crystal.status == "invalid_geometry"
    assert reason in crystal.reason
    assert crystal.has_structure


def test_atoms_closer_than_half_an_angstrom_are_invalid() -> None:
    for gap, status in ((0.45, "invalid_geometry"), (0.55, "ok")):
        sites = [(1, "a", (0, 0, 0)), (8, "a", (gap / 5, 0, 0))]
        (crystal,) = build(one_crystal(1, sites, edge=5.0))
        assert crystal.status == status
        assert crystal.minimum_distance == pytest.approx(gap, abs=1e-6)
        assert ("angstrom apart" in crystal.reason) == (status != "ok")


def _broken() -> list[tuple[str, AsymmetricUnit]]:
    salt = one_crystal(225, SALT, edge=5.6)
    bad_x, inf_x = salt.fractional_coords.copy(), salt.fractional_coords.copy()
    bad_x[1, 2], inf_x[0, 0] = np.nan, np.inf
    nan_k, huge_k = salt.lattice_k.copy(), salt.lattice_k.copy()
    nan_k[5], huge_k[5] = np.nan, 1e4
    return [
        ("coordinates", replace(salt, fractional_coords=bad_x)),
        ("coordinates", replace(salt, fractional_coords=inf_x)),
        ("lattice", replace(salt, lattice_k=nan_k)),
        ("cell", replace(salt, lattice_k=huge_k)),
        ("no sites", one_crystal(225, [(6, "a", (0, 0, 0))])),
    ]


def test_what_is_not_finite_fails_alone_with_a_reason() -> None:
    salt = one_crystal(225, SALT, edge=5.6)
    units = [salt]
    for _, unit in _broken():
        units += [unit, salt]
    batch = AsymmetricUnitBatch.stack(units)
    batch.is_site[9] = False
    crystals = reconstruct(batch, indices=range(100, 111), seed=7)
    assert [crystal.index for crystal in crystals] == list(range(100, 111))
    assert {crystal.seed for crystal in crystals} == {7}
    for crystal in crystals[::2]:
        assert crystal.status == "ok"
        assert crystal.to_cif() == crystals[0].to_cif()
    for crystal, (word, _) in zip(crystals[1::2], _broken(), strict=True):
        assert crystal.status == "reconstruction_failed"
        assert word in crystal.reason
        assert not crystal.has_structure
        assert len(crystal) == 0
        assert np.isnan(crystal.minimum_distance)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_probabilities_that_are_not_finite_fail(bad: float) -> None:
    batch = AsymmetricUnitBatch.stack([one_crystal(225, SALT, edge=5.6)] * 3)
    log_probs = letters(batch)
    log_probs[1, 0, 3] = bad
    statuses = [crystal.status for crystal in reconstruct(batch, wyckoff_log_probs=log_probs)]
    assert statuses == ["ok", "reconstruction_failed", "ok"]
    axes = torch.zeros(3, 2, 15, 13, dtype=torch.float64)
    axes[2, 1, 4, 4] = bad
    statuses = [crystal.status for crystal in reconstruct(batch, axis_log_probs=axes)]
    assert statuses[2] == "reconstruction_failed"
    assert "reconstruction_failed" not in statuses[:2]


def test_wild_but_finite_input_is_answered() -> None:
    rng = np.random.default_rng(3)
    units = []
    for _ in range(400):
        unit = generic_crystal(int(rng.integers(1, 231)), rng)
        units.append(
            replace(
                unit,
                lattice_k=rng.normal(0, 1.5, 6) + [0, 0, 0, 0, 0, 2],
                fractional_coords=rng.normal(0, 10.0 ** rng.integers(-2, 5), (3, 3)),
            )
        )
    batch = AsymmetricUnitBatch.stack(units)
    log_probs = torch.tensor(rng.normal(0, 5, (400, 3, 27)))
    crystals = reconstruct(batch, wyckoff_log_probs=log_probs)
    assert len(crystals) == 400
    for crystal in crystals:
        assert crystal.status in ("ok", "invalid_geometry", "reconstruction_failed")
        assert (crystal.status == "ok") == (crystal.reason == "")
        if crystal.status == "ok":
            assert crystal.minimum_distance > 0.5
            assert crystal.volume > 0.1


def test_bad_arguments_name_the_value() -> None:
    batch = AsymmetricUnitBatch.stack([one_crystal(225, SALT, edge=5.6)] * 2)
    for name, value, message in (
        ("space_group_number", 231, "231"),
        ("space_group_number", 0, "got 0"),
        ("atomic_numbers", 119, "119"),
        ("wyckoff_positions", 26, "225 has no Wyckoff position 26"),
    ):
        changed = getattr(batch, name).clone()
        changed[1] = value
        with pytest.raises(ValueError, match=message):
            reconstruct(replace(batch, **{name: changed}))
    with pytest.raises(ValueError, match="3 indices for 2 crystals"):
        reconstruct(batch, indices=[1, 2, 3])


# --- batches ---------------------------------------------------------------------------------


def test_company_chunks_and_precision_do_not_change_a_crystal(monkeypatch) -> None:
    units = prototypes()[1][:120]
    batch = noisy(AsymmetricUnitBatch.stack(units), 0.03)
    log_probs = letters(batch)
    together = reconstruct(batch, wyckoff_log_probs=log_probs)
    monkeypatch.setattr(reconstruction, "CHUNK_CRYSTALS", 7)
    monkeypatch.setattr(collapsed_orbits, "CHUNK_PAIRS", 50)
    apart = reconstruct(batch, wyckoff_log_probs=log_probs)
    single = replace(
        batch, lattice_k=batch.lattice_k.float(), fractional_coords=batch.fractional_coords.float()
    )
    rounded = reconstruct(single, wyckoff_log_probs=log_probs.float())
    for one, two, three in zip(together, apart, rounded, strict=True):
        assert one.to_cif() == two.to_cif()
        assert (one.index, one.status, one.reason) == (two.index, two.status, two.reason)
        assert one.minimum_distance == pytest.approx(two.minimum_distance, abs=1e-12)
        assert one.letters == three.letters
        assert np.allclose(one.lattice_matrix, three.lattice_matrix, atol=1e-4)


def test_the_unit_of_a_crystal_rebuilds_it() -> None:
    batch = noisy(AsymmetricUnitBatch.stack(prototypes()[1]), 0.02)
    crystals = reconstruct(batch, wyckoff_log_probs=letters(batch))
    again = build(*(crystal.unit for crystal in crystals))
    for one, two in zip(crystals, again, strict=True):
        assert one.letters == two.letters
        gap = one.fractional_coords - two.fractional_coords
        assert np.abs(gap - np.rint(gap)).max() < 1e-9
        assert np.array_equal(one.orbit, two.orbit)
        assert (one.unit.fractional_coords >= -0.06).all()
        assert (one.unit.fractional_coords < 0.94).all()
        multiplicity = [
            symmetry_tables().multiplicity[
                symmetry_tables().position_start[one.space_group_number - 1] + position
            ]
            for position in one.unit.wyckoff_positions
        ]
        assert np.bincount(one.orbit).tolist() == multiplicity


def test_an_empty_batch_has_no_crystals() -> None:
    batch = AsymmetricUnitBatch.stack([one_crystal(225, SALT)])
    assert reconstruct(batch[0:0]) == []


def test_a_batch_shares_its_cost() -> None:
    """A crystal costs 70 times less in a batch of 1,000 than alone; asked is a quarter of that.

    Both are measured in turn on one thread, so that the speed of the machine drops out.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    batch = noisy(AsymmetricUnitBatch.stack((prototypes()[1] * 4)[:1000]), 0.02)
    log_probs = letters(batch)
    ratios = []
    for start in range(0, 60, 15):
        begin = time.process_time()
        for index in range(start, start + 15):
            one = slice(index, index + 1)
            reconstruct(batch[one], wyckoff_log_probs=log_probs[one])
        between = time.process_time()
        reconstruct(batch, wyckoff_log_probs=log_probs)
        end = time.process_time()
        ratios.append((between - begin) / 15 / ((end - between) / len(batch)))
    torch.set_num_threads(n_threads)
    assert np.median(ratios) > 17, ratios
