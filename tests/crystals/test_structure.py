"""From CIF text to asymmetric unit: real crystals survive, bad files are refused with a reason."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Lattice, Structure
from pymatgen.io.cif import CifWriter

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.lattice import k_to_parameters, lattice_constraints, parameters_to_matrix
from symmbfn.crystals.structure import asymmetric_unit, check_structure, parse_cif
from symmbfn.crystals.symmetry import orbit_of, positions_of, symmetry_tables
from tests.crystals.samples import prototypes

ROCK_SALT = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(5.64), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)
RUTILE = Structure.from_spacegroup(
    "P4_2/mnm", Lattice.tetragonal(4.594, 2.959), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
)


def expand(unit: AsymmetricUnit) -> Structure:
    """Fill the cell from the tables."""
    parameters = k_to_parameters(torch.tensor(unit.lattice_k), unit.space_group_number)
    species, coords = [], []
    for z, w, x in zip(
        unit.atomic_numbers, unit.wyckoff_positions, unit.fractional_coords, strict=True
    ):
        rotations, translations = orbit_of(unit.space_group_number, int(w))
        coords.extend(rotations @ x + translations)
        species.extend([int(z)] * len(rotations))
    lattice = Lattice(parameters_to_matrix(parameters).numpy())
    return Structure(lattice, species, coords, to_unit_cell=True)


def scrambled(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal in another cell, orientation, origin and order of atoms."""
    cell = np.eye(3, dtype=int)
    for _ in range(4):
        i, j = rng.choice(3, 2, replace=False)
        shear = np.eye(3, dtype=int)
        shear[i, j] = rng.integers(-1, 2)
        cell = shear @ cell
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    coords = (structure.frac_coords + rng.random(3)) @ np.linalg.inv(cell)
    order = rng.permutation(len(structure))
    return Structure(
        Lattice(cell @ structure.lattice.matrix @ rotation),
        [structure[i].specie for i in order],
        coords[order],
        to_unit_cell=True,
    )


def letters(unit: AsymmetricUnit) -> list[tuple[int, str]]:
    names = symmetry_tables().letter[positions_of(unit.space_group_number)]
    sites = zip(unit.atomic_numbers, unit.wyckoff_positions, strict=True)
    return [(int(z), str(names[w])) for z, w in sites]


def assert_well_formed(unit: AsymmetricUnit) -> None:
    number = unit.space_group_number
    for w, x in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
        rotations, translations = orbit_of(number, int(w))
        step = rotations[0] @ x + translations[0] - x
        assert np.abs(step - np.rint(step)).max() < 1e-12  # exactly on the first locus
    assert ((unit.fractional_coords >= -0.06) & (unit.fractional_coords < 0.94)).all()
    free, fixed = lattice_constraints(torch.tensor(number))
    np.testing.assert_allclose(np.where(free, 0, unit.lattice_k), fixed, atol=1e-12)


def test_rock_salt_and_rutile() -> None:
    unit = asymmetric_unit(ROCK_SALT.get_primitive_structure())
    assert unit.space_group_number == 225
    assert letters(unit) == [(11, "a"), (17, "b")]  # the lighter element takes the first letter
    unit = asymmetric_unit(RUTILE)
    assert unit.space_group_number == 136
    assert letters(unit) == [(22, "a"), (8, "f")]
    assert k_to_parameters(torch.tensor(unit.lattice_k), 136).tolist() == pytest.approx(
        [4.594, 4.594, 2.959, 90, 90, 90]
    )


def test_origin_choice_two() -> None:
    """Diamond sits at (1/8, 1/8, 1/8), not at the origin."""
    diamond = Structure.from_spacegroup("Fd-3m", Lattice.cubic(3.567), ["C"], [[0, 0, 0]])
    unit = asymmetric_unit(diamond)
    assert letters(unit) == [(6, "a")]
    np.testing.assert_array_equal(unit.fractional_coords, [[0.125] * 3])


def test_prototypes_survive() -> None:
    """Expanding the asymmetric unit gives the crystal back, exactly on symmetry."""
    structures, units = prototypes()
    matcher = StructureMatcher()
    chosen = range(0, len(structures), 5)
    for i in chosen:
        assert_well_formed(units[i])
        rms = matcher.get_rms_dist(structures[i], expand(units[i]))
        assert rms is not None and rms[0] < 0.01, i


def test_canonical_form_is_invariant_on_real_crystals() -> None:
    structures, units = prototypes()
    rng = np.random.default_rng(0)
    chosen = range(0, len(structures), 3)
    n_same = 0
    for i in chosen:
        other = asymmetric_unit(scrambled(structures[i], rng))
        n_same += (
            other.space_group_number == units[i].space_group_number
            and letters(other) == letters(units[i])
            and np.allclose(other.fractional_coords, units[i].fractional_coords, atol=3e-3)
            and np.allclose(other.lattice_k, units[i].lattice_k, atol=2e-3)
        )
    assert n_same >= 0.99 * len(chosen)


def test_orbits_average_out_the_noise_of_the_input() -> None:
    """Noise within symprec leaves a crystal on exact symmetry, whichever atom comes first."""
    rng = np.random.default_rng(1)
    noisy = RUTILE.copy()
    noisy.perturb(0.02)
    unit = asymmetric_unit(noisy)
    assert unit.space_group_number == 136
    assert_well_formed(unit)
    other = asymmetric_unit(scrambled(noisy, rng))
    np.testing.assert_allclose(other.fractional_coords, unit.fractional_coords, atol=1e-6)


def test_raw_form_and_centre_rule_are_the_same_crystal() -> None:
    structures, _ = prototypes()
    matcher = StructureMatcher()
    for structure in structures[::40]:
        raw = asymmetric_unit(structure, form="raw")
        assert matcher.fit(structure, expand(raw))
        centre = asymmetric_unit(structure, representative="centre")
        canonical = asymmetric_unit(structure)
        np.testing.assert_array_equal(centre.lattice_k, canonical.lattice_k)
        assert letters(centre) == letters(canonical)


def test_symprec_decides_the_group() -> None:
    distorted = ROCK_SALT.copy()
    distorted.apply_strain([0.01, 0, 0])
    assert asymmetric_unit(distorted, symprec=0.1).space_group_number == 225
    assert asymmetric_unit(distorted, symprec=0.01).space_group_number == 139


def test_cif_with_symmetry_operations() -> None:
    text = str(CifWriter(RUTILE, symprec=0.01))
    assert text.count("\n  O  ") < 2  # not written out in P1
    structure = parse_cif(text)
    assert structure.composition == RUTILE.composition
    assert asymmetric_unit(structure).space_group_number == 136


def test_three_digits_of_a_special_position_are_one_site() -> None:
    sites = [[0, 0, 0], [1 / 3, 2 / 3, 0.249]]
    lattice = Lattice.hexagonal(4.24, 6.84)
    iodide = Structure.from_spacegroup("P-3m1", lattice, ["Cd", "I"], sites)
    text = str(CifWriter(iodide, symprec=0.01))
    old = re.sub(r"(0\.333|0\.666)\d+", lambda digits: f"{float(digits[0]):.3f}", text)
    assert old != text and len(parse_cif(text)) == len(parse_cif(old)) == 3
    exact, found = asymmetric_unit(iodide), asymmetric_unit(parse_cif(old))
    assert letters(found) == letters(exact)
    np.testing.assert_allclose(found.fractional_coords, exact.fractional_coords, atol=1e-9)


CIF = str(CifWriter(RUTILE))
ROW = next(line for line in CIF.splitlines() if line.startswith("  O  "))


def with_cell(tag: str, value: str) -> str:
    return re.sub(rf"(_cell_{tag}\s+)\S+", rf"\g<1>{value}", CIF)


def with_row(pattern: str, replacement: str) -> str:
    return CIF.replace(ROW, re.sub(pattern, replacement, ROW))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("not a CIF", "line 1: expected block header.*it begins 'not a CIF'"),
        ("data_nothing", "no cell and no atoms, it begins 'data_nothing'"),
        ("\0\1\2" * 100, "unreadable"),
        (re.sub("_cell_length_a.*", "", CIF), "no _cell_length_a"),
        (CIF[: len(CIF) // 2], "unreadable"),
        (CIF + "#" * 10_000_000, "characters"),
        (with_cell("length_a", "nan"), "not finite"),
        (with_cell("length_b", "inf"), "not finite"),
        (with_cell("length_a", "0.0"), "impossible cell"),
        (with_cell("length_c", "-3.0"), "impossible cell"),
        (with_cell("length_a", "?"), "_cell_length_a is '\\?'"),
        (with_cell("angle_gamma", "180"), "impossible cell"),
        (with_cell("angle_gamma", "0.0001"), "cell volume"),
        (with_row(r"0\.305\S*", "nan"), "unreadable.*coordinate x of site O2 is nan"),
        (with_row(r"1(\.0)?$", "0.5"), "partly occupied"),
        (
            CIF.replace(ROW, ROW + "\n" + ROW.replace("O  ", "F  ", 1)),
            r"disordered: sites O2 \(O\) and O2 \(F\) lie in one place",
        ),
        (with_row(r"0\.305\S*", "0.010"), "overlapping sites"),
        (CIF.replace(ROW, ROW + "\n" + ROW.replace("0.305", "0.306")), "overlapping sites"),
        (with_row(r"^  O  O", "  Qq  Qq"), "site Qq2: 'Qq' is no element"),
        (CIF.replace(ROW + "\n", ""), "do not make up the formula Ti2 O4: they are Ti2 O3"),
        (re.sub(r"\n  O  .*", "", CIF), "do not make up the formula Ti2 O4: they are Ti2"),
    ],
)
def test_bad_cifs_are_refused_with_a_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_cif(text)


@pytest.mark.parametrize(
    "first",
    [
        CIF,
        CIF.replace("data_", "DATA_"),
        with_row(r"0\.305\S*", "nan"),
        re.sub("_cell_.*", "", CIF),
        re.sub("(?s)loop_.*", "", CIF),
    ],
    ids=["whole", "capitals", "no coordinates", "no cell", "no atoms"],
)
def test_a_second_structure_is_never_taken_for_the_first(first: str) -> None:
    with pytest.raises(ValueError, match="2 structures, expected one"):
        parse_cif(first + "\n" + str(CifWriter(ROCK_SALT)))


def test_a_block_without_structure_is_no_obstacle() -> None:
    text = "data_global\n_journal_year 2026\n_atom_sites_solution_primary direct\n" + CIF
    assert parse_cif(text).composition == RUTILE.composition


def test_bad_structures_are_refused_with_a_reason() -> None:
    cubic = Lattice.cubic(4)
    with pytest.raises(ValueError, match="partly occupied"):
        check_structure(Structure(cubic, [{"Na": 0.5}], [[0, 0, 0]]))
    with pytest.raises(ValueError, match="0 atoms"):
        check_structure(Structure(cubic, [], []))
    with pytest.raises(ValueError, match="not finite"):
        check_structure(Structure(cubic, ["Na"], [[np.nan, 0, 0]]))
    with pytest.raises(ValueError, match="cell volume"):
        check_structure(Structure(Lattice.cubic(0.9), ["H"], [[0, 0, 0]]))
    with pytest.raises(ValueError, match="2197 atoms"):
        check_structure(Structure(cubic, ["H"], [[0, 0, 0]]) * (13, 13, 13))
    check_structure(Structure(cubic, ["Na+"], [[0, 0, 0]]))  # oxidation states are no obstacle


def test_rows_of_mp_20_survive(data_folder) -> None:
    rows = pd.read_csv(data_folder / "mp_20_mini_train512.csv.gz", keep_default_na=False)
    matcher = StructureMatcher()
    for text, number in zip(rows.cif[:40], rows["spacegroup.number"][:40], strict=True):
        structure = parse_cif(text)
        unit = asymmetric_unit(structure)
        assert unit.space_group_number == number
        assert_well_formed(unit)
        assert matcher.fit(structure, expand(unit))
