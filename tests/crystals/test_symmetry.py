"""The frozen tables against group theory, PyXtal and spglib."""

import runpy
import time
import warnings
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import spglib
import torch

from symmbfn.crystals.symmetry import (
    AXIS_CLASSES,
    CENTRINGS,
    MAX_POSITIONS,
    N_AXES,
    N_AXIS_CLASSES,
    operations_of,
    orbit_of,
    positions_of,
    space_group_numbers,
    symmetry_tables,
)

GROUPS = range(1, 231)
INJECTIVE = (
    "1 4 7 8 9 19 20 24 29 31 33 36 40 41 42 43 46 76 78 79 80 92 96 100 102 104 107 108 109 110 "
    "130 140 142 144 145 146 157 160 161 167 168 169 170 178 179 183 184 185 192 193 198 199 211 "
    "217 222 226 228 229 230"
)


def modulo_cells(difference: np.ndarray) -> np.ndarray:
    """Distance from the nearest lattice vector, worst component."""
    return np.abs(difference - np.rint(difference)).max(axis=-1)


def as_set(rotations: np.ndarray, translations: np.ndarray) -> set[tuple[int, ...]]:
    in_24ths = np.rint(24 * np.asarray(translations)).astype(int) % 24
    flat = np.concatenate([np.asarray(rotations).reshape(-1, 9), in_24ths], axis=1)
    return set(map(tuple, flat.astype(int).tolist()))


def test_sizes() -> None:
    tables = symmetry_tables()
    assert len(tables.letter) == 1731
    assert len(tables.orbit_rotations) == tables.multiplicity.sum() == 14433
    assert np.diff(tables.position_start).max() == MAX_POSITIONS
    assert tables.encoding.shape == (1731, N_AXES)
    assert (tables.encoding.min(), tables.encoding.max()) == (0, N_AXIS_CLASSES - 1)
    assert len(AXIS_CLASSES) == N_AXIS_CLASSES


def test_tables_load_in_milliseconds() -> None:
    symmetry_tables.cache_clear()
    start = time.process_time()
    symmetry_tables()
    assert time.process_time() - start < 0.1


def test_tables_cannot_be_overwritten() -> None:
    with pytest.raises(ValueError, match="read-only"):
        symmetry_tables().orbit_translations[0] = 1


@pytest.mark.slow
def test_script_makes_the_same_tables() -> None:
    script = Path(__file__).parents[2] / "scripts" / "symmetry_tables" / "make.py"
    made = runpy.run_path(str(script))["tabulate"]()
    with np.load(files("symmbfn.crystals") / "symmetry_tables.npz") as stored:
        assert set(made) == set(stored)
        for name in stored:
            np.testing.assert_array_equal(stored[name], made[name])


@pytest.mark.parametrize("number", GROUPS)
def test_operations_agree_with_spglib(number: int) -> None:
    tables = symmetry_tables()
    hall = int(tables.hall_number[number - 1])
    database = spglib.get_symmetry_from_database(hall)
    rotations, translations = operations_of(number)
    assert as_set(rotations, translations) == as_set(
        database["rotations"], database["translations"]
    )
    kind = spglib.get_spacegroup_type(hall)
    assert kind.number == number
    assert kind.international_short == tables.hermann_mauguin[number - 1]
    assert CENTRINGS[tables.centring[number - 1]] == kind.international_short[0]
    # two origins: the second; rhombohedral: hexagonal axes; monoclinic: b, first cell choice
    assert kind.choice in ("", "2", "H", "b", "b1")


@pytest.mark.parametrize("number", GROUPS)
def test_operations_form_a_group(number: int) -> None:
    rotations, translations = operations_of(number)
    assert (rotations[0] == np.eye(3)).all() and (translations[0] == 0).all()
    assert ((translations >= 0) & (translations < 1)).all()
    products = rotations[:, None] @ rotations[None]
    shifts = (rotations[:, None] @ translations[None, ..., None])[..., 0] + translations[:, None]
    members = as_set(rotations, translations)
    assert as_set(products, shifts.reshape(-1, 3)) == members
    assert len(members) == len(rotations)


@pytest.mark.parametrize("number", GROUPS)
def test_orbits(number: int) -> None:
    """Each orbit is closed, generated from its first member, and of the stated size and freedom."""
    tables = symmetry_tables()
    rotations, translations = operations_of(number)
    rows = positions_of(number)
    assert tables.letter[rows][-1] == "a" and tables.degrees_of_freedom[rows][0] == 3
    u = np.array([0.1372, 0.2718, 0.4142])
    for index in range(rows.stop - rows.start):
        orbit_rotations, orbit_translations = orbit_of(number, index)
        first, origin = orbit_rotations[0], orbit_translations[0]
        assert (first @ first == first).all() and (first @ origin == 0).all()
        dof = int(tables.degrees_of_freedom[rows][index])
        assert np.linalg.matrix_rank(first) == dof
        members = orbit_rotations @ u + orbit_translations
        multiplicity = int(tables.multiplicity[rows][index])
        assert len(members) == multiplicity
        apart = modulo_cells(members[:, None] - members[None]) + np.eye(multiplicity)
        assert apart.min() > 1e-3

        images = rotations @ members[0] + translations
        distances = modulo_cells(images[:, None] - members[None])
        assert (distances.min(axis=1) < 1e-9).all()  # closed under the group
        hits = distances < 1e-9
        assert (hits.sum(axis=0) == len(rotations) / multiplicity).all()  # |site group| x m = |G|


def test_letter_to_encoding_is_injective_in_59_groups() -> None:
    tables = symmetry_tables()
    distinct = [len(np.unique(tables.encoding[positions_of(g)], axis=0)) for g in GROUPS]
    sizes = np.diff(tables.position_start)
    injective = [g for g, n, size in zip(GROUPS, distinct, sizes, strict=True) if n == size]
    assert injective == [int(word) for word in INJECTIVE.split()]
    assert sum(distinct) == 1154


@pytest.mark.parametrize(
    ("number", "classes"),
    [
        (2, "abcdefgh"),
        (10, "abcdefgh mn ijkl"),
        (62, "ab"),
        (166, "ab de fg"),
        (188, "ace bdf ghi"),
        (194, "bcd ef"),
        (221, "ab cd ef ij kl"),
        (227, "ab cd"),
    ],
)
def test_letters_that_share_an_encoding(number: int, classes: str) -> None:
    """Classes of letters that only the coordinates tell apart."""
    tables, rows = symmetry_tables(), positions_of(number)
    by_encoding: dict[bytes, list[str]] = {}
    for letter, encoding in zip(tables.letter[rows], tables.encoding[rows], strict=True):
        by_encoding.setdefault(encoding.tobytes(), []).append(str(letter))
    shared = {"".join(sorted(letters)) for letters in by_encoding.values() if len(letters) > 1}
    assert shared == set(classes.split())


def test_encoding_of_rock_salt_and_a_mirror() -> None:
    tables = symmetry_tables()
    a_of_225 = tables.encoding[positions_of(225)][-1]
    assert [AXIS_CLASSES[c] for c in a_of_225[:9]] == ["4/m"] * 3 + ["-3"] * 4 + ["2/m"] * 2
    c_of_62 = tables.encoding[positions_of(62)][1]
    assert [AXIS_CLASSES[c] for c in c_of_62[:3]] == ["1", "m", "1"]
    a_of_2 = tables.encoding[positions_of(2)][-1]
    assert {AXIS_CLASSES[c] for c in a_of_2} == {"-1"}


def test_positions_agree_with_pyxtal() -> None:
    """Letters, sizes, loci, and which letters of a group share their oriented site symmetry."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyxtal.symmetry import Group

        tables = symmetry_tables()
        for number in GROUPS:
            rows = positions_of(number)
            theirs = list(Group(number))
            assert [wp.letter for wp in theirs] == tables.letter[rows].tolist()
            assert [wp.multiplicity for wp in theirs] == tables.multiplicity[rows].tolist()
            assert [wp.get_dof() for wp in theirs] == tables.degrees_of_freedom[rows].tolist()
            encodings = []
            for index, wp in enumerate(theirs):
                affine = np.array([op.affine_matrix for op in wp.ops])
                rotations, translations = orbit_of(number, index)
                np.testing.assert_allclose(rotations, affine[:, :3, :3], atol=1e-9)
                np.testing.assert_allclose(translations, affine[:, :3, 3], atol=1e-4)
                wp.get_site_symmetry()
                one_hot = np.asarray(wp.get_site_symmetry_object().to_one_hot())
                encodings.append(one_hot.argmax(axis=-1))
            ours = tables.encoding[rows]
            same_ours = (ours[:, None] == ours[None]).all(axis=-1)
            same_theirs = (np.array(encodings)[:, None] == np.array(encodings)[None]).all(axis=-1)
            assert (same_ours == same_theirs).all(), number


@pytest.mark.parametrize("number", GROUPS)
def test_normaliser_maps_the_group_onto_itself(number: int) -> None:
    tables = symmetry_tables()
    rotations, translations = operations_of(number)
    members = as_set(rotations, translations)
    for kind in ("normaliser", "special"):
        rows = slice(*getattr(tables, f"{kind}_start")[number - 1 : number + 1])
        matrices = getattr(tables, f"{kind}_rotations")[rows][:200]
        shifts = getattr(tables, f"{kind}_translations")[rows][:200]
        for w, t in zip(matrices, shifts, strict=True):
            assert (t[tables.polar_axes[number - 1]] == 0).all()
            conjugates = np.rint(w @ rotations @ np.linalg.inv(w)).astype(int)
            moved = translations @ w.T + t - conjugates @ t
            assert as_set(conjugates, moved) == members


def test_normaliser_sizes() -> None:
    """Number of cosets of the 162 groups without a polar axis."""
    tables = symmetry_tables()
    sizes = np.diff(tables.normaliser_start)
    non_polar = ~tables.polar_axes.any(axis=1)
    assert non_polar.sum() == 162
    values, counts = np.unique(sizes[non_polar], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {
        1: 2, 2: 33, 4: 64, 8: 50, 12: 4, 16: 7, 24: 2,
    }  # fmt: skip
    first = tables.normaliser_start[:-1]
    assert (tables.normaliser_rotations[first] == np.eye(3)).all()
    assert (tables.normaliser_translations[first] == 0).all()


@pytest.mark.parametrize("number", [2, 19, 62, 166, 225])
def test_normaliser_cosets_are_distinct(number: int) -> None:
    tables = symmetry_tables()
    rotations, translations = operations_of(number)
    rows = slice(*tables.normaliser_start[number - 1 : number + 1])
    cosets = [
        frozenset(as_set(w @ rotations, translations @ w.T + t))
        for w, t in zip(
            tables.normaliser_rotations[rows], tables.normaliser_translations[rows], strict=True
        )
    ]
    assert len(set(cosets)) == len(cosets)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (225, (225,)),
        ("225", (225,)),
        ("Fm-3m", (225,)),
        ("P2_1/c", (14,)),
        ("P21/c", (14,)),
        ("p 21/c", (14,)),
        ("Cmca", (64,)),
        ("Cmce", (64,)),
        ("triclinic", (1, 2)),
        ("225, Fm-3m,cubic", tuple(range(195, 231))),
        (["P1", 2, "cubic"], (1, 2, *range(195, 231))),
        ("trigonal,hexagonal", tuple(range(143, 195))),
        ({225, "P1"}, (1, 225)),
        (np.array([225, 2]), (2, 225)),
        (torch.tensor([225, 2]), (2, 225)),
        (np.array("225, 2"), (2, 225)),
        ((number for number in (3, 1)), (1, 3)),
    ],
)
def test_space_group_numbers(query: object, expected: tuple[int, ...]) -> None:
    assert space_group_numbers(query) == expected


def test_every_symbol_is_read_back() -> None:
    symbols = symmetry_tables().hermann_mauguin.tolist()
    assert [space_group_numbers(symbol) for symbol in symbols] == [(g,) for g in GROUPS]


@pytest.mark.parametrize(
    "query", ["0", 231, "-5", "Fm-3n", "cubical", "", "225,,Xx", [], "²", "--5", True, b"225"]
)
def test_unknown_space_groups_are_refused_by_name(query: object) -> None:
    with pytest.raises(ValueError, match=r"space group"):
        space_group_numbers(query)


@pytest.mark.parametrize(
    ("symbol", "number"),
    [
        ("P 1 21/c 1", 14),
        ("P21/n", 14),
        ("I 2/a", 15),
        ("P 21/n 21/m 21/a", 62),
        ("Pbnm", 62),
        ("R-3m:H", 166),
        ("R-3c:R", 167),
        ("Fd-3m:2", 227),
        ("F d 3 m", 227),
        ("Fm3m", 225),
        ("P6_{3}/mmc", 194),
        ("Cmca", 64),
        ("C m c e", 64),
        ("Aba2", 41),
        ("F 4/m m m", 139),
    ],
)
def test_a_symbol_of_any_setting_means_its_group(symbol: str, number: int) -> None:
    assert space_group_numbers(symbol) == (number,)
    assert space_group_numbers(f"{symbol}, P 1") == (1, number)


def test_an_unknown_symbol_is_answered_with_one_that_is_near() -> None:
    with pytest.raises(ValueError, match="'Pnmaa' is no space group.*; Pnma is near"):
        space_group_numbers("Pnmaa")


def test_positions_outside_a_group_are_refused() -> None:
    with pytest.raises(ValueError, match="225 has no Wyckoff position 12"):
        orbit_of(225, 12)
    with pytest.raises(ValueError, match="got 231"):
        positions_of(231)
