"""Controls differ from real crystals in what their name says and in nothing else."""

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.structure import parse_cif
from symmbfn.datasets.registry import load_dataset


def compound(edge: float, *species: str) -> Structure:
    coords = [[0, 0, 0], [0.5, 0.5, 0.5], [0.5, 0.5, 0], [0.5, 0, 0.5], [0, 0.5, 0.5]]
    return Structure(Lattice.cubic(edge), species, coords[: len(species)])


def test_shuffled_crystals_keep_their_geometry_and_take_the_elements_of_another() -> None:
    from scripts.evaluation.controls import shuffled

    real = [
        compound(3.0, "Na", "Cl"),
        compound(4.0, "Ca", "Ti", "O", "O", "O"),
        compound(5.0, "Ti", "Ca", "Ca"),
        compound(6.0, "Mg", "Al", "F", "F", "F"),
        compound(7.0, "Po"),
    ]
    mixed = shuffled(real, np.random.default_rng(0))
    for before, after in zip(real, mixed, strict=True):
        assert np.array_equal(before.lattice.matrix, after.lattice.matrix)
        assert np.array_equal(before.frac_coords, after.frac_coords)
        pairs = {(a.specie, b.specie) for a, b in zip(before, after, strict=True)}
        # one for one: as many elements, each on the sites of one other
        assert len(pairs) == len(before.elements) == len(after.elements)
    by_number = {2: [0, 2], 3: [1, 3]}
    for first, second in by_number.values():
        assert set(mixed[first].elements) == set(real[second].elements)
        assert set(mixed[second].elements) == set(real[first].elements)
    assert mixed[4].formula == real[4].formula  # nobody to take from


def test_random_crystals_have_the_composition_and_can_be_made_again() -> None:
    pytest.importorskip("pyxtal")
    from scripts.evaluation.controls import random_crystal

    task = (225, {"Na": 4, "Cl": 4}, 7)
    text = random_crystal(task)
    assert parse_cif(text).composition.as_dict() == {"Na": 4, "Cl": 4}
    assert random_crystal(task) == text
    with pytest.raises(Exception, match="not compatible"):
        random_crystal((225, {"Na": 3, "Cl": 4}, 7))


def test_tables_are_datasets(tmp_path: Path) -> None:
    pytest.importorskip("pyxtal")
    from scripts.evaluation.controls import make

    source = tmp_path / "source"
    source.mkdir()
    compound(3.4, "Na", "Cl").to(str(source / "first.cif"), fmt="cif")
    compound(3.9, "Cs", "Br").to(str(source / "second.cif"), fmt="cif")
    compound(4.0, "Sr", "Ti", "O", "O", "O").to(str(source / "third.cif"), fmt="cif")
    facts = make(source, None, 9, tmp_path / "out", seed=0, workers=1)
    names = ["first", "second", "third"]
    tables = {
        name: load_dataset(tmp_path / "out" / f"{name}.csv.gz").set_index("material_id")["cif"]
        for name in ("real", "shuffled", "random")
    }
    assert tables["real"].to_dict() == {
        name: (source / f"{name}.cif").read_text() for name in names
    }
    first = parse_cif(tables["shuffled"]["shuffled-first"])
    assert (first.composition.reduced_formula, first.volume) == ("CsBr", pytest.approx(3.4**3))
    third = parse_cif(tables["random"]["random-third"])
    assert third.composition.reduced_formula == "SrTiO3"
    assert [facts[name]["n"] for name in tables] == [3, 3, 3]
    assert facts["random"]["failures"] == []
