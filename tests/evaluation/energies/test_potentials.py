"""CHGNet through our own graphs against CHGNet's own converter and its ASE calculator."""

import contextlib
import io
from itertools import permutations

import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.units import GPa

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.evaluation.energies.potentials import AsePotential, Chgnet, Neighbours
from tests.crystals.samples import prototypes


def rattled(cell: Cell, seed: int, size: float = 0.05) -> Cell:
    """Atoms moved by normal steps and the cell strained, so that nothing is zero by symmetry."""
    rng = np.random.default_rng(seed)
    lattice = cell.lattice_matrix @ (np.eye(3) + 0.02 * rng.normal(size=(3, 3)))
    steps = size * rng.normal(size=(len(cell), 3)) @ np.linalg.inv(lattice)
    return Cell(lattice, cell.atomic_numbers, cell.fractional_coords + steps)


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    crystals = reconstruct(AsymmetricUnitBatch.stack(prototypes()[1][::8]))
    real = [Cell.of(crystal, primitive=True) for crystal in crystals if crystal.status == "ok"]
    return [rattled(cell, seed) for seed, cell in enumerate(real) if len(cell) <= 20][:8]


@pytest.fixture(scope="module")
def chgnet() -> Chgnet:
    return Chgnet()


def test_equal_to_the_package(cells: list[Cell], chgnet: Chgnet) -> None:
    assert len(cells) == 8
    for cell, point in zip(cells, chgnet(cells), strict=True):
        theirs = chgnet.model.predict_structure(cell.to_pymatgen(), task="efs")
        assert point.energy_per_atom == pytest.approx(float(theirs["e"]), abs=1e-5)
        np.testing.assert_allclose(point.forces, theirs["f"], atol=5e-4)
        np.testing.assert_allclose(point.stress, theirs["s"] * GPa, atol=2e-5)


def test_equal_to_its_calculator(cells: list[Cell], chgnet: Chgnet) -> None:
    from chgnet.model.dynamics import CHGNetCalculator

    with contextlib.redirect_stdout(io.StringIO()):
        theirs = AsePotential(CHGNetCalculator(chgnet.model, use_device="cpu"))
    for ours, ase in zip(chgnet(cells[:3]), theirs(cells[:3]), strict=True):
        assert ours.energy_per_atom == pytest.approx(ase.energy_per_atom, abs=1e-4)
        np.testing.assert_allclose(ours.forces, ase.forces, atol=1e-3)
        np.testing.assert_allclose(ours.stress, ase.stress, atol=2e-5)


def test_forces_and_stress_are_slopes_of_the_energy(cells: list[Cell], chgnet: Chgnet) -> None:
    """Central differences: a wrong sign or factor of the chain rule shows at once."""
    cell, h = cells[0], 2e-3
    point = chgnet([cell])[0]
    strain = np.array([[0.3, 0.2, 0.0], [0.2, -0.5, 0.4], [0.0, 0.4, 0.6]])
    moves = np.random.default_rng(5).normal(size=(len(cell), 3))

    def energy(t: float, *, strained: bool) -> float:
        lattice = cell.lattice_matrix @ (np.eye(3) + t * strain * strained)
        steps = t * (not strained) * moves @ np.linalg.inv(cell.lattice_matrix)
        moved = Cell(lattice, cell.atomic_numbers, cell.fractional_coords + steps)
        return len(cell) * chgnet([moved])[0].energy_per_atom

    for strained, slope in (
        (True, cell.volume * np.sum(point.stress * strain)),
        (False, -np.sum(point.forces * moves)),
    ):
        measured = (energy(h, strained=strained) - energy(-h, strained=strained)) / (2 * h)
        assert measured == pytest.approx(slope, rel=0.02, abs=0.02)


def test_the_graph_by_hand(chgnet: Chgnet) -> None:
    """A simple cubic atom, edge 2.9: 6 neighbours within 3, 6 + 12 + 8 + 6 within 6 angstrom."""
    cell = Cell(2.9 * np.eye(3), np.array([84]), np.zeros((1, 3)))
    found = Neighbours.of(cell, chgnet.model.graph_converter)
    assert found.n_isolated == 0
    assert len(found.pairs) == 6 + 12 + 8 + 6
    assert len(found.edge_of_bond) == len(found.pairs) // 2
    for bond in range(len(found.edge_of_bond)):
        there, back = found.images[found.bond_of_edge == bond]
        np.testing.assert_array_equal(there, -back)
    short = {tuple(image) for image in found.images if np.abs(image).sum() == 1}
    angles = {
        (tuple(found.images[first]), tuple(found.images[second]))
        for first, second in found.angles[:, [2, 4]]
    }
    assert angles == set(permutations(short, 2))
    assert len(found.angles) == 6 * 5


def test_the_choice_of_the_cell_changes_nothing(cells: list[Cell], chgnet: Chgnet) -> None:
    cell = cells[1]
    double = Cell(
        cell.lattice_matrix * np.array([[2.0], [1.0], [1.0]]),
        np.tile(cell.atomic_numbers, 2),
        np.concatenate([cell.fractional_coords, cell.fractional_coords + [1, 0, 0]])
        * np.array([0.5, 1.0, 1.0]),
    )
    energies, features = chgnet.describe([cell, double])
    assert energies[0] == pytest.approx(energies[1], abs=1e-5)
    np.testing.assert_allclose(features[0], features[1], atol=1e-3)
    points = chgnet([cell, double])
    assert [point.energy_per_atom for point in points] == pytest.approx(list(energies), abs=1e-6)
    np.testing.assert_allclose(points[0].stress, points[1].stress, atol=1e-5)


def test_a_batch_is_its_members(
    cells: list[Cell], chgnet: Chgnet, monkeypatch: pytest.MonkeyPatch
) -> None:
    singly = chgnet(cells)
    monkeypatch.setattr(chgnet, "_portions", lambda graphs: [graphs[:5], graphs[5:]])
    for alone, together in zip(singly, chgnet(cells), strict=True):
        assert alone.energy_per_atom == pytest.approx(together.energy_per_atom, abs=1e-5)
        np.testing.assert_allclose(alone.forces, together.forces, atol=1e-3)
        np.testing.assert_allclose(alone.stress, together.stress, atol=2e-5)


def test_what_it_cannot_take_is_named(cells: list[Cell], chgnet: Chgnet) -> None:
    lone = Cell(7.0 * np.eye(3), np.array([18]), np.zeros((1, 3)))
    heavy = Cell(4.0 * np.eye(3), np.array([95]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match=r"cells \[1\] have atoms alone within 6 angstrom"):
        chgnet([cells[0], lone])
    with pytest.raises(ValueError, match=r"cells \[0\] have elements past number 94"):
        chgnet.describe([heavy])


def test_loading_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    Chgnet(device=torch.device("cpu"))
    assert capfd.readouterr() == ("", "")


def test_any_calculator_of_ase() -> None:
    """EMT's energy of copper at its lattice constant is zero by its own definition."""
    copper = Cell.from_ase(bulk("Cu", a=3.59, cubic=True))
    point = AsePotential(EMT())([copper])[0]
    assert point.energy_per_atom == pytest.approx(0, abs=0.01)
    np.testing.assert_allclose(point.forces, 0, atol=1e-9)
    squeezed = Cell(0.98 * copper.lattice_matrix, copper.atomic_numbers, copper.fractional_coords)
    assert np.trace(AsePotential(EMT())([squeezed])[0].stress) < 0  # negative under pressure


def test_a_calculator_fails_in_the_same_way_twice() -> None:
    """ASE's own keep half of a calculation that failed."""
    silicon = Cell(5.4 * np.eye(3), np.array([14]), np.zeros((1, 3)))
    potential = AsePotential(EMT())
    for _ in range(2):
        with pytest.raises(NotImplementedError, match="No EMT-potential for Si"):
            potential([silicon])
