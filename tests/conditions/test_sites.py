"""Templates, kept sites and cells: each form is read alike, and contradictions are refused."""

import math
from dataclasses import asdict
from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.conditions.cells import cell_of
from symmbfn.conditions.sites import GivenSites, kept_sites, template_of
from symmbfn.crystals.structure import asymmetric_unit


def test_a_template_is_the_same_from_text_file_and_crystal(salt: Structure, cif: Path) -> None:
    wanted = GivenSites(225, ("Na", "Cl"), ("a", "b"))
    primitive = salt.get_primitive_structure()
    forms = ["225: Na 4a, Cl 4b", "Fm-3m:Na a,Cl b", cif, str(cif), salt, primitive]
    forms += [primitive.to_ase_atoms(), asymmetric_unit(salt), wanted, asdict(wanted)]
    for form in forms:
        assert template_of(form) == wanted, form
    assert wanted.atoms() == {"Na": 4, "Cl": 4} and wanted.n_primitive_atoms == 2
    assert str(wanted) == "225: Na 4a, Cl 4b"
    assert template_of("225: 2 x O 192l").atoms() == {"O": 384}
    assert template_of("1: D 1a").elements == ("H",)


def test_other_settings_of_a_group_give_its_standard_letters() -> None:
    """Anatase wherever its origin lies is 141: Ti a or b, O e."""
    anatase = Structure.from_spacegroup(
        "I4_1/amd",
        Lattice.tetragonal(3.78, 9.51),
        ["Ti", "O"],
        [[0, 0, 0], [0, 0, 0.2081]],
    )
    moved = anatase.copy().translate_sites(range(len(anatase)), [0.1, 0.2, 0.3])
    for one in (anatase, moved, anatase.get_primitive_structure()):
        found = template_of(one)
        assert found.space_group_number == 141
        assert found.atoms() == {"Ti": 4, "O": 8}
        assert set(found.letters) in ({"a", "e"}, {"b", "e"})


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("225: Na 4z", "225 has no Wyckoff position 'z', only a to l"),
        ("225: Na 8a", "is 4a, not 8a"),
        ("225: Na 4A", "no Wyckoff position 'A'"),
        ("225: Na 4a, Cl 4a", "position a of space group 225 is a point, taken 2 times"),
        ("225: 2 x Na 4a", "taken 2 times"),
        ("225: 0 x Na 192l", "needs 1 to 200 sites"),
        ("225: 99999999999 x Na 192l", "needs 1 to 200 sites"),
        ("225: na 4a", "'na 4a' is no site"),
        ("225: Q 4a", "'Q'"),
        ("225:", "'' is no site"),
        ("225 Na 4a", "no file"),
        ("cubic: Na 4a", "needs one space group, not 36"),
        ("Q: Na 4a", "'Q' is no space group"),
        ("", "no file"),
        ("x" * 100_000, "no file"),
        ("/nowhere/at/all.cif", "no file"),
        (None, "template must be a CIF or a crystal, got None"),
        (225, "got 225"),
        ({"space_group_number": 225}, "must have the fields of sites"),
        ({"a": 1}, "must have the fields of sites"),
        (Structure(Lattice.cubic(4), [{"Na": 0.5, "K": 0.5}], [[0, 0, 0]]), "partly occupied"),
        (Lattice.cubic(4), "template"),
    ],
    ids=lambda value: repr(value)[:25],
)
def test_what_is_no_template_is_refused_in_one_short_line(value: object, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        template_of(value)
    assert len(str(error.value)) < 250 and "\n" not in str(error.value)


def test_files_that_are_no_crystal_are_refused(tmp_path: Path) -> None:
    for name, text in (("empty.cif", ""), ("text.cif", "hello")):
        (tmp_path / name).write_text(text)
        for read in (template_of, cell_of):
            with pytest.raises(ValueError, match="CIF"):
                read(str(tmp_path / name))
    with pytest.raises(ValueError, match="no file"):
        template_of(tmp_path)


def test_kept_sites_are_those_of_the_asymmetric_unit(salt: Structure, cif: Path) -> None:
    unit = asymmetric_unit(salt)
    for form in (f"{cif}:2", f"{cif}: 2", (cif, [2]), (salt, (2,)), (unit, {2}), (unit, [2, 2])):
        kept = kept_sites(form)
        assert kept.elements == ("Cl",) and kept.letters == ("b",)
        assert kept.coords == (tuple(unit.fractional_coords[1]),)
        assert kept_sites(asdict(kept)) == kept
    assert len(kept_sites(f"{cif}:2,1")) == 2


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("{cif}:0", r"keep \[0\]: the sites are 1 Na 4a, 2 Cl 4b"),
        ("{cif}:3", r"keep \[3\]: the sites are"),
        ("{cif}:99999999999999999999", "the sites are"),
        ("{cif}:1,", "keep must be FILE.cif:1,3"),
        ("{cif}", "keep must be FILE.cif:1,3"),
        ("/nowhere.cif:1", "no file"),
        (("{cif}", []), "the sites are"),
        (("{cif}", [1.5]), "keep must be"),
        (("{cif}", 1), "keep must be"),
        (("{cif}",), "keep must be"),
        (None, "keep must be"),
        (GivenSites(225, ("Na",), ("a",)), "need coordinates"),
    ],
    ids=str,
)
def test_sites_that_are_not_there_are_refused(value: object, message: str, cif: Path) -> None:
    def filled(one: object) -> object:
        return one.format(cif=cif) if isinstance(one, str) else one

    value = tuple(map(filled, value)) if isinstance(value, tuple) else filled(value)
    with pytest.raises(ValueError, match=message):
        kept_sites(value)


@pytest.mark.parametrize("coords", [[[0.3, 0.1, 0.0]], [[math.nan, 0, 0]], [[0, 0]], "x", []])
def test_kept_coordinates_must_lie_on_their_position(coords: object) -> None:
    fields = {"space_group_number": 225, "elements": ["Na"], "letters": ["a"]}
    with pytest.raises(ValueError, match=r"0.3 0.1 0 is not on position a|three coordinates"):
        kept_sites({**fields, "coords": coords})
    assert kept_sites({**fields, "coords": [[1.0, -2.0, 0.0]]}).coords == ((0.0, 0.0, 0.0),)
