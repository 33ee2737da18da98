"""Templates of known crystals go over to other compositions, the most similar crystals first."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from symmbfn.conditions.known_templates import TEMPLATES_FILE, KnownTemplates
from symmbfn.conditions.sites import template_of
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.elements import element_number
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.templates import canonical_positions
from symmbfn.datasets.encoding import encode_dataset

ROCK_SALT, CAESIUM, ZINC_BLENDE = "225: {} 4a, {} 4b", "221: {} 1a, {} 1b", "216: {} 4a, {} 4c"
PEROVSKITE = "221: {} 1a, {} 1b, {} 3c"


def known(*texts: str) -> KnownTemplates:
    sites = [template_of(text) for text in texts]
    return KnownTemplates(
        np.array([one.space_group_number for one in sites]),
        np.cumsum([0, *(len(one) for one in sites)]),
        np.array([element_number(symbol) for one in sites for symbol in one.elements]),
        np.array([position for one in sites for position in one.positions]),
        [f"k-{place}" for place in range(len(sites))],
    )


@pytest.fixture(scope="module")
def halides() -> KnownTemplates:
    """Na, K and Cl, Br stand in for each other in rock salt, Cs and Cl sit elsewhere."""
    salts = [("Na", "Cl"), ("K", "Cl"), ("Na", "Br"), ("K", "Br")]
    heavy = [("Cs", "I"), ("Rb", "I")]
    blendes = [("Zn", "S"), ("Cd", "S"), ("Zn", "Se")]
    return known(
        *(ROCK_SALT.format(*pair) for pair in salts),
        *(CAESIUM.format(*pair) for pair in heavy),
        *(ZINC_BLENDE.format(*pair) for pair in blendes),
    )


@pytest.mark.parametrize(
    ("atoms", "template"),
    [
        ({"K": 1, "Br": 1}, ROCK_SALT.format("K", "Br")),
        ({"Rb": 1, "I": 1}, CAESIUM.format("Rb", "I")),
        ({"Cd": 1, "Se": 1}, ZINC_BLENDE.format("Cd", "Se")),
    ],
)
def test_alike_elements_lend_their_template(
    halides: KnownTemplates, atoms: dict[str, int], template: str
) -> None:
    first, *others = halides.candidates(atoms)
    assert sites_of(first.template) == canonical(template_of(template))
    assert first.probability > 0.9
    assert sum(one.probability for one in (first, *others)) == pytest.approx(1)
    assert {one.template.space_group_number for one in others} <= {216, 221, 225}


def sites_of(sites) -> tuple:
    return sites.space_group_number, tuple(sorted(zip(sites.elements, sites.letters, strict=True)))


def canonical(sites) -> tuple:
    group = sites.space_group_number
    numbers = np.array([element_number(symbol) for symbol in sites.elements])
    found = canonical_positions(group, numbers, np.array(sites.positions))
    letters = symmetry_tables().letter[positions_of(group)][found].tolist()
    return group, tuple(sorted(zip(sites.elements, letters, strict=True)))


def test_no_template_comes_twice_however_its_origin_is_chosen() -> None:
    twice = known(ROCK_SALT.format("Na", "Cl"), ROCK_SALT.format("Cl", "Na"))
    (one,) = twice.candidates({"K": 1, "F": 1})
    assert one.probability == pytest.approx(1)


def test_every_arrangement_of_elements_with_equal_numbers_is_there() -> None:
    rows = known(PEROVSKITE.format("Ca", "Ti", "O"), PEROVSKITE.format("Sr", "Ti", "O"))
    found = {sites_of(one.template) for one in rows.candidates({"Ba": 1, "Zr": 1, "O": 3})}
    # oxygen has the lowest number, so it takes the earlier of its two letters
    pairs = ("Ba", "Zr"), ("Zr", "Ba")
    assert found == {sites_of(template_of(PEROVSKITE.format(*pair, "O"))) for pair in pairs}


def test_groups_and_numbers_of_formulas_are_chosen(halides: KnownTemplates) -> None:
    salt = {"K": 1, "Br": 1}
    assert {one.template.space_group_number for one in halides.candidates(salt, groups=[221])} == {
        221
    }
    assert halides.candidates(salt, groups=[1]) == []
    assert halides.candidates(salt, formulas=[2]) == []
    assert halides.candidates({"K": 1, "Br": 2}) == []
    with pytest.raises(ValueError, match="Xx"):
        halides.candidates({"Xx": 1})
    with pytest.raises(ValueError, match="counts"):
        halides.candidates({"K": 0})


def test_the_nearest_crystal_is_named(halides: KnownTemplates) -> None:
    first = halides.candidates({"K": 1, "Cl": 1})[0]
    assert (first.source, first.formula) == ("k-1", "KCl")
    assert dict(first.substitution) == {"K": "K", "Cl": "Cl"}
    other = known(ROCK_SALT.format("Na", "Br")).candidates({"K": 1, "Cl": 1})[0]
    assert dict(other.substitution) == {"Na": "K", "Br": "Cl"}


def test_saved_templates_come_back(halides: KnownTemplates, tmp_path: Path) -> None:
    halides.save(tmp_path)
    again = KnownTemplates.load(tmp_path)
    assert again.candidates({"K": 1, "Br": 1}) == halides.candidates({"K": 1, "Br": 1})
    assert len(again) == len(halides)


def test_any_name_comes_back(halides: KnownTemplates, tmp_path: Path) -> None:
    named = replace(halides, identifiers=['a\nb, "c"', *halides.identifiers[1:]])
    named.save(tmp_path)
    assert KnownTemplates.load(tmp_path).identifiers == named.identifiers


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("missing", "no templates"),
        ("text", "no templates"),
        ("short", "altered"),
        ("another letter", "altered"),
        ("another name", "altered"),
        ("no digest", "altered"),
        ("format", "another format"),
    ],
)
def test_damaged_files_are_refused(
    halides: KnownTemplates, tmp_path: Path, fault: str, says: str
) -> None:
    path = tmp_path / TEMPLATES_FILE
    if fault == "text":
        path.write_text("nothing of the kind")
    elif fault != "missing":
        halides.save(tmp_path)
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata())
        if fault == "short":
            tensors["atomic_numbers"] = tensors["atomic_numbers"][1:].clone()
        elif fault == "another letter":
            tensors["wyckoff_positions"][0] += 1
        elif fault == "another name":
            header["identifiers"] = header["identifiers"].replace("k-0", "k-9")
        elif fault == "no digest":
            del header["sha256"]
        else:
            header["format"] = "1"
        save_file(tensors, path, metadata=header)
    with pytest.raises(ValueError, match=says):
        KnownTemplates.load(tmp_path)


def test_real_crystals_have_their_own_template_among_the_first(data_folder: Path) -> None:
    """Each of 512 crystals by the templates of the others: for two thirds it is among five."""
    crystals = encode_dataset("mp_20_mini")
    n_first = 0
    for row in range(0, len(crystals), 8):
        unit = crystals.unit(row)
        rows = [other for other in range(len(crystals)) if other != row]
        others = crystals.subset(torch.tensor(rows))
        own = template_of(unit)
        n = own.n_primitive_atoms
        atoms = {s: c * n // sum(own.atoms().values()) for s, c in own.atoms().items()}
        found = KnownTemplates.of_dataset(others).candidates(atoms)
        n_first += sites_of(own) in [sites_of(one.template) for one in found[:5]]
    assert n_first >= 20  # of 64; a third of the crystals have a structure type of their own


def test_the_canonical_setting_is_that_of_the_canonical_form() -> None:
    """Rock salt has chlorine's or sodium's lattice at the origin; the lower number goes to a."""
    unit = AsymmetricUnit(
        225,
        np.array([0, 0, 0, 0, 0, 1.7]),
        np.array([17, 11]),
        np.array(template_of(ROCK_SALT.format("Cl", "Na")).positions),
        np.array([[0, 0, 0], [0.5, 0.5, 0.5]]),
    )
    found = canonical_positions(225, unit.atomic_numbers, unit.wyckoff_positions)
    letters = symmetry_tables().letter[positions_of(225)][found].tolist()
    assert letters == ["b", "a"]
