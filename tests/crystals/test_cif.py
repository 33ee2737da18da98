"""The symmetry of a CIF: read by each name that a file may give it, or refused with the reason."""

import json
from pathlib import Path

import pytest
from pymatgen.io.cif import CifWriter

from symmbfn.crystals.structure import asymmetric_unit, parse_cif
from tests.crystals.cif_samples import NACL, cif, shortest

CASES = Path(__file__).parent / "cif_cases"
RIGHT = json.loads((CASES / "right.json").read_text())


def operations(*triplets: str) -> str:
    return "\n".join(["loop_", "_symmetry_equiv_pos_as_xyz", *(f"'{t}'" for t in triplets)])


@pytest.mark.parametrize("case", RIGHT, ids=lambda case: case["file"])
def test_cases(case: dict) -> None:
    path, right = CASES / case["file"], case["right"]
    if right == "refused":
        with pytest.raises(ValueError, match=case["names"]):
            parse_cif(path)
        return
    structure = parse_cif(path)
    assert structure.composition.formula == right["formula"]
    assert asymmetric_unit(structure).space_group_number == right["space_group_number"]
    assert float(structure.density) == pytest.approx(right["density"], rel=0.02)
    assert shortest(structure) == pytest.approx(right["shortest_distance"], abs=0.01)


# crystals whose settings are related by hand: cell, sites, and what is right of all of them
ZIRCONIA_B1 = (
    (5.1454, 5.2075, 5.3107, 90, 99.23, 90),
    ("Zr1 Zr 0.2758 0.0411 0.2082", "O1 O 0.0703 0.3359 0.3406", "O2 O 0.4423 0.7549 0.4789"),
)
ZIRCONIA_C1 = (  # a', b', c' = c, a, b
    (5.3107, 5.1454, 5.2075, 90, 90, 99.23),
    ("Zr1 Zr 0.2082 0.2758 0.0411", "O1 O 0.3406 0.0703 0.3359", "O2 O 0.4789 0.4423 0.7549"),
)
ZIRCONIA = "Zr4 O8", 14, 5.83, 2.05
ANATASE = "Ti4 O8", 141, 3.89, 1.93
ANATASE_1 = (3.785, 3.785, 9.514, 90, 90, 90), ("Ti1 Ti 0 0 0", "O1 O 0 0 0.2081")
ANATASE_2 = (3.785, 3.785, 9.514, 90, 90, 90), ("Ti1 Ti 0 0.75 0.125", "O1 O 0 0.75 0.3331")
SPINEL = "Mg8 Al16 O32", 227, 3.58, 1.92
SPINEL_1 = (
    (8.0806, 8.0806, 8.0806, 90, 90, 90),
    ("Mg1 Mg 0 0 0", "Al1 Al 0.625 0.625 0.625", "O1 O 0.3873 0.3873 0.3873"),
)
SPINEL_2 = (
    (8.0806, 8.0806, 8.0806, 90, 90, 90),
    ("Mg1 Mg 0.125 0.125 0.125", "Al1 Al 0.5 0.5 0.5", "O1 O 0.2623 0.2623 0.2623"),
)
PEROVSKITE = "Ca4 Ti4 O12", 62, 4.04, 1.95
PNMA = (
    (5.4424, 7.6417, 5.3807, 90, 90, 90),
    (
        "Ca1 Ca 0.0356 0.25 -0.0068",
        "Ti1 Ti 0 0 0.5",
        "O1 O 0.4835 0.25 0.0714",
        "O2 O 0.2889 0.0373 0.7111",
    ),
)
PBNM = (  # a', b', c' = c, a, b
    (5.3807, 5.4424, 7.6417, 90, 90, 90),
    (
        "Ca1 Ca -0.0068 0.0356 0.25",
        "Ti1 Ti 0.5 0 0",
        "O1 O 0.0714 0.4835 0.25",
        "O2 O 0.7111 0.2889 0.0373",
    ),
)
CALCITE = "Ca6 C6 O18", 167, 2.71, 1.28
CALCITE_H = (
    (4.99, 4.99, 17.061, 90, 90, 120),
    ("Ca1 Ca 0 0 0", "C1 C 0 0 0.25", "O1 O 0.2568 0 0.25"),
)
MERCURY_H = (3.469, 3.469, 6.677, 90, 90, 120), ("Hg1 Hg 0 0 0",)
INDIUM_I = (3.2523, 3.2523, 4.9461, 90, 90, 90), ("In1 In 0 0 0",)
INDIUM_F = (4.5995, 4.5995, 4.9461, 90, 90, 90), ("In1 In 0 0 0",)
RUTILE_C = (6.4969, 6.4969, 2.959, 90, 90, 90), ("Ti1 Ti 0 0 0", "O1 O 0.305 0 0")
MATLOCKITE = (4.11, 4.11, 7.23, 90, 90, 90)


@pytest.mark.parametrize(
    ("symmetry", "crystal", "right"),
    [
        ("P 21/c", ZIRCONIA_B1, ZIRCONIA),
        ("P2_1/c", ZIRCONIA_B1, ZIRCONIA),
        ("P12(1)/c1", ZIRCONIA_B1, ZIRCONIA),
        ("P 1 21/c 1:b1", ZIRCONIA_B1, ZIRCONIA),
        ("_space_group_IT_number 14", ZIRCONIA_B1, ZIRCONIA),
        ("_symmetry_space_group_name_Hall '-P 2ybc'", ZIRCONIA_B1, ZIRCONIA),
        ("_space_group.name_H-M_alt P21/c\n_space_group.IT_number 14", ZIRCONIA_B1, ZIRCONIA),
        ("P 1 1 21/a", ZIRCONIA_C1, ZIRCONIA),
        ("P 21/a", ZIRCONIA_C1, ZIRCONIA),
        ("P21/c:c1", ZIRCONIA_C1, ZIRCONIA),
        (
            "_space_group_IT_number 14\n_space_group.IT_coordinate_system_code c1",
            ZIRCONIA_C1,
            ZIRCONIA,
        ),
        (operations("X,Y,Z", "-x,1/2+y,.5-z", "-x,-y,-z", "x,1/2-y,0.5+z"), ZIRCONIA_B1, ZIRCONIA),
        ("I 41/a m d:1", ANATASE_1, ANATASE),
        ("I 41/a m d :2", ANATASE_2, ANATASE),
        ("_space_group_name_Hall 'I 4bw 2bw -1bw'", ANATASE_1, ANATASE),
        ("_space_group_IT_number 141", ANATASE_2, ANATASE),
        ("F d -3 m:1", SPINEL_1, SPINEL),
        ("Fd3m:2", SPINEL_2, SPINEL),
        ("F 41/d -3 2/m:2", SPINEL_2, SPINEL),
        ("_space_group_name_Hall '-F 4vw 2vw 3'\n_space_group_IT_number 227", SPINEL_2, SPINEL),
        ("P n m a", PNMA, PEROVSKITE),
        ("P 21/n 21/m 21/a", PNMA, PEROVSKITE),
        ("Pbnm", PBNM, PEROVSKITE),
        ("P n m a:cab", PBNM, PEROVSKITE),
        ("_symmetry_space_group_name_H-M Pbnm\n_symmetry_Int_Tables_number 62", PBNM, PEROVSKITE),
        ("R -3 c", CALCITE_H, CALCITE),
        ("R-3cH", CALCITE_H, CALCITE),
        ("F d -3 m S", SPINEL_1, SPINEL),
        ("Fd-3mZ", SPINEL_2, SPINEL),
        (
            operations("x,\ty,z", "-X,.5+Y,0.5-Z", "-x,-y,-z", "x,1/2-y,+1/2+z"),
            ZIRCONIA_B1,
            ZIRCONIA,
        ),
        (
            operations("1 x,y,z", "2 -x,1/2+y,1/2-z", "3 -x,-y,-z", "4 x,1/2-y,1/2+z"),
            ZIRCONIA_B1,
            ZIRCONIA,
        ),
        ("R -3 2/c :H", CALCITE_H, CALCITE),
        ("_space_group_IT_number 167", CALCITE_H, CALCITE),
        ("R-3m", MERCURY_H, ("Hg3", 166, 14.36, 3.0)),
        ("I 4/m m m", INDIUM_I, ("In2", 139, 7.29, 3.25)),
        ("F 4/m m m", INDIUM_F, ("In4", 139, 7.29, 3.25)),
        ("_space_group_name_Hall '-F 4 2'", INDIUM_F, ("In4", 139, 7.29, 3.25)),
        ("C 4/m m m", (MATLOCKITE, ("Po1 Po 0 0 0",)), ("Po2", 123, 5.68, 2.906)),
        ("F m -3 m", NACL, ("Na4 Cl4", 225, 2.16, 2.82)),
        ("Fm3m", NACL, ("Na4 Cl4", 225, 2.16, 2.82)),
        ("F 4/m -3 2/m", NACL, ("Na4 Cl4", 225, 2.16, 2.82)),
    ],
)
def test_a_setting_is_read_by_each_of_its_names(
    symmetry: str, crystal: tuple, right: tuple[str, int, float, float]
) -> None:
    formula, number, density, distance = right
    structure = parse_cif(cif(symmetry, *crystal))
    assert structure.composition.formula == formula
    assert asymmetric_unit(structure).space_group_number == number
    assert float(structure.density) == pytest.approx(density, rel=0.02)
    assert shortest(structure) == pytest.approx(distance, abs=0.02)


CUBIC_P = operations("x,y,z", "-x,-y,z", "-x,y,-z", "x,-y,-z")


@pytest.mark.parametrize(
    ("symmetry", "crystal", "reason"),
    [
        ("F d -3 m", SPINEL_1, "leaves the setting open, F d -3 m:2, F d -3 m:1"),
        ("P 4/n m m", (MATLOCKITE, ("Po1 Po 0 0 0",)), "leaves the setting open"),
        ("F 41/d d m", (INDIUM_F[0], INDIUM_F[1]), "leaves the setting open"),
        ("P 21 1", ZIRCONIA_B1, "is no space group symbol"),
        ("P 3 2", CALCITE_H, "is no space group symbol"),
        ("F m 3 c d", NACL, "is no space group symbol"),
        ("P 21/c:7", ZIRCONIA_B1, "no setting '7'"),
        ("_space_group_name_Hall 'F 9 2'", NACL, "Hall symbol 'F 9 2' cannot be read"),
        ("_space_group_IT_number 0", NACL, "must be 1 to 230, got 0"),
        ("_space_group_IT_number 231", NACL, "got 231"),
        ("_space_group_name_H-M_alt ?", NACL, "all there is of it is _space_group_name_h-m_alt"),
        ("_space_group_name_Schoenflies Oh^5", NACL, "cannot be read"),
        ("_symmetry_cell_setting cubic", NACL, "cannot be read"),
        # cells
        ("F m -3 m", ((5.64, 5.64, 5.7, 90, 90, 90), NACL[1]), "does not fit the cell"),
        ("P 1 1 21/b", ZIRCONIA_B1, "does not fit the cell"),
        ("R -3 c:R", CALCITE_H, "does not fit the cell"),
        ("_space_group_name_Hall 'P 4'", ZIRCONIA_B1, "Hall symbol: .* changes"),
        (operations("x,y,z", "-x,-y,z"), ZIRCONIA_B1, "listed operations: -x,-y,z changes"),
        # two statements that differ
        (
            "_space_group_name_Hall '-P 2ybc'\n_symmetry_space_group_name_Hall '-P 2yn'",
            ZIRCONIA_B1,
            "two Hall symbols that differ",
        ),
        ("_space_group_name_H-M_alt Pnma\n_space_group_IT_number 14", PNMA, "Pnma, 14"),
        (
            "_space_group_name_H-M_alt 'P 1 21/n 1'\n_space_group_name_Hall '-P 2ybc'",
            ZIRCONIA_B1,
            "of another setting, but the file names space group P 1 21/n 1",
        ),
        (
            "_space_group_name_H-M_alt 'F d -3 m:1'\n_space_group_name_Hall '-F 4vw 2vw 3'",
            SPINEL_1,
            "of another setting, but the file names space group F d -3 m:1",
        ),
        (f"_space_group_IT_number 14\n{operations('x,y,z')}", ZIRCONIA_B1, "of space group 1, but"),
        (
            f"_space_group_name_H-M_alt 'C m x'\n{operations('x,y,z')}",
            NACL,
            "'C m x' is no space group",
        ),
        (f"_space_group_name_Hall '-P 2'\n{operations('x,y,z')}", NACL, "not those of the Hall"),
        (f"_symmetry_space_group_name_H-M Fm-3m\n{CUBIC_P}", NACL, "of space group 16, but"),
        (
            f"{operations('x,y,z')}\nloop_\n_space_group_symop_operation_xyz\nx,y,z\n-x,-y,-z",
            NACL,
            "two lists of operations that differ",
        ),
        # operations
        (operations("x,y,z", "-x,y+1/2,-z+1/2", "-x,-y,-z"), ZIRCONIA_B1, "3 .* are no group"),
        (
            "loop_\n_symmetry_equiv_pos_as_xyz\nx,y,z\n?\n.\n?",  # not P 1
            ZIRCONIA_B1,
            "3 of the listed operations are missing",
        ),
        (operations("x,y,z", "y,x"), NACL, "operation 'y,x' cannot be read"),
        (operations("x,y,z", "a,b,c"), NACL, "operation 'a,b,c' cannot be read"),
        (operations("x,y,z", "x,x,z"), NACL, "maps no lattice onto itself"),
        # other kinds of structure
        ("_space_group_magn.number_BNS 62.448", PNMA, "magnetic"),
        ("_cell_modulation_dimension 1\n_space_group_ssg_name 'Pnma(0b0)s00'", PNMA, "modulated"),
    ],
)
def test_open_and_contradictory_symmetry_is_refused(
    symmetry: str, crystal: tuple, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_cif(cif(symmetry, *crystal))


P21N = ("Zr1 Zr 0.7918 0.0411 0.0676", "O1 O 0.6594 0.3359 0.7297", "O2 O 0.5211 0.7549 0.9634")


def test_operations_may_be_of_a_cell_other_than_the_one_that_the_short_symbol_stands_for() -> None:
    """What pymatgen writes of a cell that it did not standardise: the symbol is the group's."""
    primitive = parse_cif(cif("F m -3 m")).get_primitive_structure()
    text = str(CifWriter(primitive, symprec=0.01, refine_struct=False))
    assert "Fm-3m" in text
    again = parse_cif(text)
    assert len(again) == 2 and asymmetric_unit(again).space_group_number == 225
    written = parse_cif(cif("P 1 21/n 1", (6.77589, 5.2075, 5.1454, 90, 129.3203, 90), P21N))
    text = str(CifWriter(written, symprec=0.01, refine_struct=False))
    assert "P2_1/c" in text
    assert shortest(parse_cif(text)) == pytest.approx(2.05, abs=0.02)
