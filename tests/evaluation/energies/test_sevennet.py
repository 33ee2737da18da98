"""The second judge, where its package is at hand."""

from importlib.util import find_spec

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies import sevennet
from symmbfn.evaluation.energies.judge import judge_of
from symmbfn.evaluation.energies.potentials import AsePotential
from symmbfn.evaluation.energies.references import chgnet_references
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, relax
from symmbfn.evaluation.energies.sevennet import SevenNet, sevennet_judge, sevennet_references
from tests.evaluation.energies.test_judge import SALT
from tests.evaluation.energies.test_potentials import rattled

needs_sevenn = pytest.mark.skipif(
    find_spec("sevenn") is None, reason="needs sevenn: pip install 'symmbfn[sevennet]'"
)


def test_references_are_tied_to_the_known_weights() -> None:
    references = sevennet_references()
    assert references.potential == f"SevenNet {sevennet.MODEL}"
    assert references.held_out_mae is not None and references.held_out_mae < 0.03
    assert references.n_held_out > 450
    # neon and argon are in no crystal of MP-20 train
    counts = chgnet_references().n_by_element
    assert references.energies.keys() == {symbol for symbol, n in counts.items() if n}


@needs_sevenn
def test_rock_salt_is_as_stable_as_everybody_says() -> None:
    judge = sevennet_judge()
    (row,) = relax([SALT], judge.make(), RelaxationConfig(fmax=0.05))
    assert row.cell is not None and row.is_converged
    # -2.11 eV/atom in the Materials Project
    assert judge.formation_energy(row.cell, row.energy_per_atom) == pytest.approx(-2.11, abs=0.03)


@needs_sevenn
def test_forces_are_the_slope_of_the_energy() -> None:
    moved = SALT.fractional_coords + [[0.0] * 3, [0.03, 0.01, -0.02]]
    cell = Cell(SALT.lattice_matrix, SALT.atomic_numbers, moved)
    step = 1e-2 * np.array([[0.0] * 3, [0.6, 0.0, 0.8]])
    ahead, behind = (
        Cell(
            cell.lattice_matrix,
            cell.atomic_numbers,
            moved + sign * step @ np.linalg.inv(cell.lattice_matrix),
        )
        for sign in (1, -1)
    )
    here, there, back = SevenNet()([cell, ahead, behind])
    slope = -2 * (there.energy_per_atom - back.energy_per_atom) / 2
    assert float((here.forces * step).sum()) == pytest.approx(slope, rel=0.02)


@needs_sevenn
def test_the_sum_over_neighbours_is_that_of_its_own_calculator() -> None:
    """Crystals without symmetry whose atoms have numbers of neighbours that differ."""
    from sevenn.calculator import SevenNetCalculator

    places = [[0.0] * 3, [0.305, 0.305, 0.0]]
    rutile = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.6, 2.95), ["Ti", "O"], places
    )
    cells = [rattled(SALT, 1), rattled(Cell.from_pymatgen(rutile), 2)]
    ours = SevenNet()(cells)
    theirs = AsePotential(SevenNetCalculator(sevennet.MODEL, device="cpu"))(cells)
    for one, other in zip(ours, theirs, strict=True):
        assert one.energy_per_atom == pytest.approx(other.energy_per_atom, abs=1e-5)
        assert one.forces == pytest.approx(other.forces, abs=1e-4)
        assert one.stress == pytest.approx(other.stress, abs=1e-5)
        assert np.abs(other.forces).max() > 0.01


@needs_sevenn
def test_an_atom_without_neighbours_is_an_atom() -> None:
    far, farther = (Cell(a * np.eye(3), np.array([18]), np.zeros((1, 3))) for a in (9.0, 12.0))
    here, there = SevenNet()([far, farther])
    assert here.energy_per_atom == there.energy_per_atom
    assert not here.forces.any() and not here.stress.any()


@needs_sevenn
def test_weights_of_others_are_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sevennet, "DIGEST", "0" * 64)
    with pytest.raises(ValueError, match="is not the file that is known"):
        SevenNet()


@needs_sevenn
def test_an_element_that_it_does_not_know_is_named() -> None:
    radium = Cell(4.0 * np.eye(3), np.array([88]), np.zeros((1, 3)))
    with pytest.raises(ValueError, match="88"):
        SevenNet()([radium])


def test_without_the_package_the_way_to_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sevennet, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"pip install 'symmbfn\[sevennet\]'"):
        judge_of("sevennet")
