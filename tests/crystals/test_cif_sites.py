"""The sites and the syntax of a CIF: nothing is lost or renamed, what is legal is read."""

from pathlib import Path

import pytest

from symmbfn.crystals.structure import parse_cif
from tests.crystals.cif_samples import NACL, SITE_TAGS, cif, shortest

ONE = (4.2, 4.2, 4.2, 90, 90, 90)
LABEL = ("label", "fract_x", "fract_y", "fract_z")


@pytest.mark.parametrize(
    ("site", "element"),
    [
        ("X1 Fe", "Fe"),
        ("X1 Fe3+", "Fe"),
        ("X1 O2-", "O"),
        ("X1 Na+", "Na"),
        ("X1 Cl-1", "Cl"),
        ("X1 CL", "Cl"),
        ("X1 co2+", "Co"),
        ("X1 Fe1", "Fe"),
        ("Va Na", "Na"),
        ("D1 D", "H"),
        ("T1 T", "H"),
        ("D1 D1+", "H"),
    ],
)
def test_the_type_symbol_says_the_element(site: str, element: str) -> None:
    structure = parse_cif(cif("P m -3 m", ONE, (f"{site} 0 0 0",)))
    assert [atom.specie.symbol for atom in structure] == [element]


@pytest.mark.parametrize(
    ("site", "formula", "element"),
    [
        ("Fe1", "?", "Fe"),
        ("Fe(2)A", "?", "Fe"),
        ("O1'", "?", "O"),
        ("MG1", "?", "Mg"),
        ("D1", "?", "H"),
        ("CA1", "Ca", "Ca"),
        ("CA1", "C1", "C"),
        ("SiT", "Si", "Si"),
        ("OA1", "O2", "O"),
        ("OH", "O", "O"),
        ("OW1", "O2", "O"),
        ("T1", "'D1'", "H"),
        ("T1", "H", "H"),
    ],
)
def test_without_type_symbols_the_label_says_the_element_if_it_can(
    site: str, formula: str, element: str
) -> None:
    symmetry = f"_space_group_name_H-M_alt Pm-3m\n_chemical_formula_sum {formula}"
    structure = parse_cif(cif(symmetry, ONE, (f"{site} 0 0 0",), LABEL))
    assert [atom.specie.symbol for atom in structure] == [element]


@pytest.mark.parametrize(
    "site",
    ["OH1", "Oh", "OW1", "Wat", "NH4", "H2O", "Va", "Vac1", "VAC", "CA1", "HO1", "T1", "SiT", "Q1"]
    + ["1", "X", "Du", "M1", "NO3"],
)
def test_labels_that_name_no_element_for_certain_are_refused_by_name(site: str) -> None:
    with pytest.raises(ValueError, match=f"site '{site}' names no element for certain"):
        parse_cif(cif("P m -3 m", ONE, (f"{site} 0 0 0",), LABEL))


@pytest.mark.parametrize(
    "kind",
    ["OH", "O-H", "OH2", "Wat", "H2O", "NH4", "NO3", "CO3", "Va", "Vac", "?", ".", "X", "Q", "Du"]
    + ["'0.8Nb + 0.2Zr'", "Cval", "FeO"],
)
def test_types_that_are_no_element_are_refused_by_name(kind: str) -> None:
    with pytest.raises(ValueError, match="site Here1: .* is no element"):
        parse_cif(cif("P m -3 m", ONE, (f"Here1 {kind} 0 0 0",)))


@pytest.mark.parametrize(
    ("tag", "value", "reason"),
    [
        ("occupancy", "0.5", "Cl1 has occupancy 0.5"),
        ("occupancy", "0.99", "Cl1 has occupancy 0.99"),
        ("occupancy", "0", "Cl1 has occupancy 0"),
        ("occupancy", "2", "Cl1 has occupancy 2"),
        ("occupancy", "full", "occupancy of site Cl1 is 'full'"),
        ("attached_hydrogens", "2", "Cl1 has attached hydrogens"),
        ("calc_flag", "dum", "Cl1 is a dummy"),
        ("disorder_group", "1", "Cl1 is of disorder group 1"),
    ],
)
def test_sites_that_are_no_whole_atom_are_refused_by_name(
    tag: str, value: str, reason: str
) -> None:
    other = {"occupancy": "1", "attached_hydrogens": "0"}.get(tag, ".")
    sites = (f"{NACL[1][0]} {other}", f"{NACL[1][1]} {value}")
    with pytest.raises(ValueError, match=reason):
        parse_cif(cif("F m -3 m", sites=sites, tags=(*SITE_TAGS, tag)))


@pytest.mark.parametrize("site", ["OH O2-", "OW1 O", "Wat O", "Oh2 O", "NH4 N3-"])
def test_hydrogen_in_a_name_alone_is_missed_unless_the_formula_says_no(site: str) -> None:
    sites = "Cs1 Cs 0 0 0", f"{site} 0.5 0.5 0.5"
    with pytest.raises(ValueError, match="with hydrogen by its name"):
        parse_cif(cif("P m -3 m", ONE, sites))
    element = site.split()[1][0]
    formula = f"_space_group_name_H-M_alt Pm-3m\n_chemical_formula_sum 'Cs {element}'"
    assert len(parse_cif(cif(formula, ONE, sites))) == 2
    with_hydrogen = (*sites, "H1 H 0.5 0.5 0.72")
    assert len(parse_cif(cif("P m -3 m", ONE, with_hydrogen))) == 8


@pytest.mark.parametrize("label", ["O", "OH", "OW"])
def test_oxygen_named_by_its_hydrogen_is_read_where_the_formula_finds_that_too(label: str) -> None:
    """Brucite as mineral databases write it: no type symbols, and hydrogen is placed, or is not."""
    symmetry = "_space_group_name_H-M_alt 'P -3 m 1'\n_chemical_formula_sum 'Mg O2 H2'"
    cell = 3.1486, 3.1486, 4.7713, 90, 90, 120
    sites = "Mg 0 0 0", f"{label} 0.3333 0.6667 0.2203"
    placed = parse_cif(cif(symmetry, cell, (*sites, "H 0.3333 0.6667 0.43"), LABEL))
    assert placed.composition.formula == "Mg1 H2 O2"
    assert shortest(placed) == pytest.approx(1.0, abs=0.01)
    with pytest.raises(ValueError, match="sites do not make up the formula Mg1 O2 H2"):
        parse_cif(cif(symmetry, cell, sites, LABEL))


PLAIN = cif("F m -3 m")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("loop_", "LOOP_").replace("data_x", "DATA_X"),
        PLAIN.replace("_cell_length", "_CELL_LENGTH").replace(
            "_atom_site_fract", "_Atom_Site_Fract"
        ),
        PLAIN.replace("_cell_length_a ", "_cell_length_a\n"),
        PLAIN.replace("_cell_length_a 5.64", "_cell_length_a\n;5.64\n;"),
        PLAIN.replace("_cell_length_a 5.64", "loop_\n_cell_length_a\n5.64"),
        PLAIN.replace("5.64", "5.640(3)").replace(" 0 0 0", " 0.0(1) +0 -0.000"),
        PLAIN.replace("5.64", "'5.64'").replace("0.5", ".5"),
        PLAIN.replace("_atom_site_", "_atom_site."),
        PLAIN + "\x1a",
        PLAIN.replace("_cell_length_a ", "_cell_length_a\xa0"),  # as web pages give a space
        PLAIN + "_publ_author_name 'J. Müller'\n_note\n;\ndata_y\nloop_\n_cell_length_a 3\n;\n",
        "# a comment\n\ndata_global\n_journal_year 1913\n" + PLAIN,
        cif(
            "F m -3 m", sites=tuple(f"{s} 1.0001" for s in NACL[1]), tags=(*SITE_TAGS, "occupancy")
        ),
        cif("F m -3 m", sites=tuple(f"{s} 1(0)" for s in NACL[1]), tags=(*SITE_TAGS, "occupancy")),
        cif("F m -3 m", sites=tuple(f"{s} ?" for s in NACL[1]), tags=(*SITE_TAGS, "occupancy")),
        cif(
            "F m -3 m", sites=tuple(f"{s} ." for s in NACL[1]), tags=(*SITE_TAGS, "disorder_group")
        ),
        PLAIN + "_chemical_formula_sum 'Cl Na'\n",
        PLAIN + "_chemical_formula_structural 'rock salt'\n",
    ],
)
def test_legal_syntax_is_read(text: str) -> None:
    structure = parse_cif(text)
    assert structure.composition.formula == "Na4 Cl4"
    assert shortest(structure) == pytest.approx(2.82)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (PLAIN.replace("_cell_length_a 5.64", "_cell_length_a 5.64\n_cell_length_a 5.7"), "twice"),
        (PLAIN.replace("_cell_length_a 5.64", "loop_\n_cell_length_a\n5.64 5.7"), "several values"),
        (PLAIN.replace(" 0 0 0", " 0 0 ?"), "site Na1 has no coordinate z"),
        (PLAIN.replace(" 0 0 0", " 0 0 1/2"), "coordinate z of site Na1 is '1/2'"),
        (PLAIN.replace("_fract_", "_Cartn_"), "no fractional coordinates of atoms but Cartesian"),
        (PLAIN + "_chemical_formula_sum 'Na Cl2'\n", "do not make up the formula Na1 Cl2"),
        (PLAIN + "_chemical_formula_sum 'Na Cl D0.5'\n", "do not make up .* they are Na4 Cl4"),
        (PLAIN + "_chemical_formula_structural 'Na(ClO)2'\n", "do not make up the formula"),
        (PLAIN.replace("Cl1 Cl 0.5 0.5 0.5", "Cl1 Cl 0.5 0.5 0.5\nBr1 Br 0.5 0 0"), "one place"),
        (PLAIN.replace("Cl1 Cl", "Na2 Na 0.5 0.5 0\nCl1 Cl"), "the operations make too: .* Na2"),
        (PLAIN.replace("'F m -3 m'", "F m -3 m"), "line 8"),
    ],
)
def test_what_cannot_be_read_for_certain_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_cif(text)


def test_a_cif_comes_as_text_bytes_path_or_open_file(tmp_path: Path) -> None:
    path = tmp_path / "salt.cif"
    path.write_text(PLAIN)
    with path.open() as as_text, path.open("rb") as as_bytes:
        sources = [PLAIN, PLAIN.encode(), PLAIN.encode("utf-16"), path, as_text, as_bytes]
        assert all(parse_cif(source) == parse_cif(PLAIN) for source in sources)


def test_a_str_is_text_and_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of somebody else's must not make us read our files."""
    (tmp_path / "salt.cif").write_text(PLAIN)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="'salt.cif' is the name of a file: give it as a Path"):
        parse_cif("salt.cif")
