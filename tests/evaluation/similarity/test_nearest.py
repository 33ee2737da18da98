"""Average minimum distances: known by hand, blind to the choice of cell, steady under noise."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure
from scipy.spatial.transform import Rotation

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.similarity.nearest import (
    Neighbourhoods,
    average_minimum_distances,
    nearest,
    neighbourhoods,
    shares_within,
)

QUARTZ = Structure.from_spacegroup(
    "P3_221", Lattice.hexagonal(4.91, 5.40), ["Si", "O"], [[0.470, 0, 2 / 3], [0.413, 0.267, 0.786]]
)


def cell_of(lattice: Lattice, species: list[str], coords: list[list[float]]) -> Cell:
    return Cell.from_pymatgen(Structure(lattice, species, coords))


def test_simple_cubic_lattice_by_hand() -> None:
    edge = 3.35
    cell = cell_of(Lattice.cubic(edge), ["Po"], [[0, 0, 0]])
    # squared distances of the shells of the cubic lattice, and how many points are on each
    shells = {1: 6, 2: 12, 3: 8, 4: 6, 5: 24, 6: 24, 8: 12, 9: 8}
    by_hand = edge * np.sqrt(np.repeat(list(shells), list(shells.values())))
    assert np.allclose(average_minimum_distances(cell), by_hand)


def test_it_is_an_average_over_the_atoms() -> None:
    # a chain of pairs, the next chains far away: one neighbour at 1, then 3, 4, 4, 5 ...
    cell = cell_of(Lattice.orthorhombic(4, 90, 90), ["H", "H"], [[0, 0, 0], [0.25, 0, 0]])
    assert np.allclose(average_minimum_distances(cell)[:4], [1, 3, 4, 4])
    # three atoms at 0, 1, 3 of 8: first neighbours at 1, 1, 2
    cell = cell_of(Lattice.orthorhombic(8, 90, 90), ["H"] * 3, [[x / 8, 0, 0] for x in (0, 1, 3)])
    assert np.allclose(average_minimum_distances(cell)[:1], [4 / 3])


def test_neighbours_are_those_of_pymatgen() -> None:
    distances = average_minimum_distances(Cell.from_pymatgen(QUARTZ))[:30]
    found = [
        sorted(neighbour.nn_distance for neighbour in neighbours)[:30]
        for neighbours in QUARTZ.get_all_neighbors(8.0)
    ]
    assert np.allclose(distances, np.mean(found, axis=0))


def test_choice_of_cell_changes_nothing() -> None:
    plain = average_minimum_distances(Cell.from_pymatgen(QUARTZ))
    rotation = Rotation.random(rng=np.random.default_rng(0)).as_matrix()
    cell = Cell.from_pymatgen(QUARTZ * [[1, 4, 0], [0, 1, 1], [0, 0, 2]])
    turned = Cell(
        cell.lattice_matrix @ rotation.T,
        cell.atomic_numbers,
        cell.fractional_coords + np.array([0.3, -1.7, 0.1]),
    )
    assert len(turned) == 2 * len(QUARTZ)
    assert np.allclose(average_minimum_distances(turned), plain)


@given(size=st.floats(1e-6, 0.3), seed=st.integers(0, 100))
def test_moving_atoms_by_e_moves_no_distance_by_more_than_2e(size: float, seed: int) -> None:
    cell = Cell.from_pymatgen(QUARTZ)
    steps = np.random.default_rng(seed).normal(size=(len(cell), 3))
    steps *= size / np.linalg.norm(steps, axis=1).max()
    coords = cell.fractional_coords + steps @ np.linalg.inv(cell.lattice_matrix)
    moved = Cell(cell.lattice_matrix, cell.atomic_numbers, coords)
    change = average_minimum_distances(moved) - average_minimum_distances(cell)
    assert 0 < np.abs(change).max() <= 2 * size + 1e-9


def test_cells_without_distances_are_refused() -> None:
    with pytest.raises(ValueError, match="without atoms"):
        average_minimum_distances(Cell(np.eye(3), np.zeros(0, dtype=np.int64), np.zeros((0, 3))))
    flat = Cell(np.diag([5.0, 5.0, 0.001]), np.array([1]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="of 0.025 cubic angstrom has no distances"):
        average_minimum_distances(flat)
    needle = Cell(np.diag([1e-4, 1e-4, 1e8]), np.array([1]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="too flat"):
        average_minimum_distances(needle)


def test_nearest_looks_within_the_formula_and_within_the_prototype() -> None:
    def caesium_type(metal: str, anion: str, edge: float) -> Cell:
        return cell_of(Lattice.cubic(edge), [metal, anion], [[0, 0, 0], [0.5, 0.5, 0.5]])

    reference = neighbourhoods(
        [caesium_type("Cs", "Cl", 4.1), caesium_type("Cs", "Cl", 4.4), caesium_type("Tl", "I", 4.2)]
    )
    cells = [
        caesium_type("Cs", "Cl", 4.2),
        caesium_type("Cs", "Br", 4.29),  # a new formula of a known prototype
        Cell.from_pymatgen(QUARTZ),
        None,
    ]
    found = nearest(neighbourhoods(cells), reference)
    # every distance is proportional to the edge: the largest of 100 differs most
    largest = average_minimum_distances(cells[0])[-1] / 4.2
    assert found.same_formula[0] == pytest.approx(0.1 * largest)
    assert np.isposinf(found.same_formula[1:3]).all()
    assert found.same_prototype[:2] == pytest.approx([0, 0], abs=1e-12)
    assert np.isposinf(found.same_prototype[2])
    assert np.isnan(found.same_formula[3]) and np.isnan(found.same_prototype[3])


def test_neighbourhoods_are_kept_exactly_and_a_damaged_file_is_none(tmp_path: Path) -> None:
    found, path = neighbourhoods([Cell.from_pymatgen(QUARTZ), None]), tmp_path / "of.npz"
    found.save(path)
    again = Neighbourhoods.load(path)
    assert np.array_equal(again.distances, found.distances, equal_nan=True)
    assert np.array_equal(again.length, found.length, equal_nan=True)
    assert (again.formula, again.anonymous) == (("SiO2", ""), ((1, 2), ()))
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"no archive"):
        path.write_bytes(damaged)
        with pytest.raises(ValueError):
            Neighbourhoods.load(path)


def test_shares_count_every_crystal() -> None:
    distance = np.array([0.0, 0.5, np.inf, np.nan])
    assert np.array_equal(
        shares_within(distance, np.array([0.0, 0.4, 0.5, 9.0])), [1, 1, 2, 2] / np.array(4)
    )
    with pytest.raises(ValueError, match="no crystals"):
        shares_within(np.zeros(0), np.array([1.0]))
