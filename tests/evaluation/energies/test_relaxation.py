"""Relaxation against finite differences, ASE's own FIRE, and everything that can go wrong."""

import json
import math
import pickle
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
import spglib
import torch
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from ase.stress import full_3x3_to_voigt_6_stress, voigt_6_to_full_3x3_stress

from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.evaluation.energies import relaxation
from symmbfn.evaluation.energies.fire import Descent
from symmbfn.evaluation.energies.judge import chgnet_judge
from symmbfn.evaluation.energies.potentials import AsePotential, Chgnet, SinglePoint
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed, relax, relax_all
from symmbfn.evaluation.energies.symmetriser import Symmetriser
from symmbfn.runtime.workers import Outcome
from tests.crystals.samples import one_crystal, prototypes
from tests.evaluation.energies.test_potentials import rattled

SHARP = RelaxationConfig(fmax=0.02)
COPPER = Cell.from_ase(bulk("Cu", cubic=True))
SILICON = Cell.from_ase(bulk("Si", cubic=True))
ROCK_SALT = Cell.from_ase(bulk("NaCl", "rocksalt", a=5.6, cubic=True))


def lennard_jones() -> LennardJones:
    return LennardJones(sigma=2.2, epsilon=0.3, rc=6.0, smooth=True)


def real_crystals() -> list[Crystal]:
    """One small prototype of every crystal system but the triclinic, and several centrings."""
    crystals = reconstruct(AsymmetricUnitBatch.stack(prototypes()[1]))
    small = [c for c in crystals if c.status == "ok" and 3 <= len(c.primitive_cell()[1]) <= 8]
    systems: dict[str, Crystal] = {}
    for crystal in small:
        number = crystal.space_group_number
        bounds = (2, 15, 74, 142, 167, 194, 230)
        systems.setdefault(str(sum(number > bound for bound in bounds)), crystal)
    return list(systems.values())


def rock_salt() -> Crystal:
    sites = [(11, "a", (0.0, 0.0, 0.0)), (17, "b", (0.5, 0.5, 0.5))]
    return reconstruct(AsymmetricUnitBatch.stack([one_crystal(225, sites, 5.6)]))[0]


def group_of(cell: Cell, symprec: float) -> int:
    found = spglib.get_symmetry_dataset(
        (cell.lattice_matrix, cell.fractional_coords, cell.atomic_numbers), symprec=symprec
    )
    return int(found.number)


REAL = real_crystals()


class Lopsided:
    """A potential that pulls a little in directions that no symmetry knows."""

    def __init__(self, size: float):
        self.potential, self.size = AsePotential(lennard_jones()), size

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        return [self._bend(point) for point in self.potential(cells)]

    def _bend(self, point: SinglePoint) -> SinglePoint:
        noise = np.random.default_rng(len(point.forces)).normal(size=(len(point.forces) + 3, 3))
        stress = 1e-2 * self.size * (noise[-3:] + noise[-3:].T)
        pull = self.size * (noise[:-3] - noise[:-3].mean(axis=0))
        return replace(point, forces=point.forces + pull, stress=point.stress + stress)


class Broken:
    """A potential that says something impossible at one of its calls."""

    def __init__(self, point: SinglePoint, at: int):
        self.point, self.at, self.n_calls = point, at, 0

    def __call__(self, cells: Sequence[Cell]) -> list[SinglePoint]:
        self.n_calls += 1
        good = AsePotential(lennard_jones())(cells)
        return [self.point] if self.n_calls > self.at else good


def test_forces_are_slopes_of_the_energy() -> None:
    """All coordinates, cell rows too, far from the start, where exp is no straight line."""
    potential = AsePotential(lennard_jones())
    cells = [rattled(COPPER, seed=3, size=0.1), rattled(SILICON, seed=4, size=0.1)]
    descent, both, h = Descent(cells), np.arange(2), 1e-5
    rng = np.random.default_rng(0)
    descent.coordinates = descent.coordinates + 0.3 * rng.normal(size=descent.coordinates.shape)

    def energies() -> np.ndarray:
        found = descent.cells(both)
        points = potential(found)
        return np.array([len(c) * p.energy_per_atom for c, p in zip(found, points, strict=True)])

    forces = descent.forces(both, potential(descent.cells(both)))
    start = descent.coordinates
    for row in (0, 5, 11, 12, 13, 14, 15, 16, 17):
        for axis in range(3):
            step = np.zeros_like(start)
            step[row, axis] = h
            descent.coordinates = start + step
            above = energies()
            descent.coordinates = start - step
            slope = (energies() - above) / (2 * h)
            assert slope[descent.owner[row]] == pytest.approx(forces[row, axis], abs=2e-4)
            assert slope[1 - descent.owner[row]] == 0
    assert np.abs(forces[12:]).max() > 0.1  # the check would not see zeros


@pytest.mark.parametrize("steps", [1, 7, 30])
def test_the_path_is_that_of_ase(steps: int) -> None:
    cell, potential = rattled(COPPER, seed=1, size=0.1), AsePotential(EMT())
    ours = relax([cell], potential, RelaxationConfig(fmax=1e-3, max_steps=steps))[0]
    start = relax([cell], potential, RelaxationConfig(fmax=1e-3, max_steps=0))[0].cell
    assert start and ours.cell and ours.n_steps == steps and not ours.is_converged
    atoms = start.to_ase()
    atoms.calc = EMT()
    moving = FrechetCellFilter(atoms)
    FIRE(moving, logfile=None).run(fmax=1e-3, steps=steps)
    np.testing.assert_allclose(ours.cell.to_ase().positions, atoms.positions, atol=1e-7)
    np.testing.assert_allclose(ours.cell.lattice_matrix, atoms.cell.array, atol=1e-7)
    largest = np.linalg.norm(moving.get_forces(), axis=1).max()
    assert ours.max_force == pytest.approx(largest, rel=1e-5)


@pytest.mark.parametrize("ideal", [ROCK_SALT, SILICON], ids=["NaCl", "Si"])
def test_rattled_crystals_relax_as_with_ase(ideal: Cell) -> None:
    from chgnet.model.dynamics import CHGNetCalculator

    cell = rattled(ideal, seed=2)
    potential = Chgnet()
    ours, perfect = relax([cell, ideal], potential, SHARP)
    atoms = cell.to_ase()
    with redirect_stdout(StringIO()):
        atoms.calc = CHGNetCalculator(potential.model, use_device="cpu")
    FIRE(FrechetCellFilter(atoms), logfile=None).run(fmax=0.02, steps=500)
    assert ours.is_converged and ours.status == "ok"
    theirs = atoms.get_potential_energy() / len(atoms)
    assert ours.energy_per_atom == pytest.approx(theirs, abs=5e-4)
    assert ours.energy_per_atom == pytest.approx(perfect.energy_per_atom, abs=2e-3)
    assert ours.energy_per_atom < ours.initial_energy_per_atom
    assert ours.cell and len(ours.cell) == 8 and perfect.cell and len(perfect.cell) == 2
    assert ours.volume_change == pytest.approx(ours.cell.volume / cell.volume)


def test_a_batch_is_its_members() -> None:
    """Side by side, each with steps and an end of its own, and one that never starts."""
    cells = [rattled(COPPER, 5), SILICON, rattled(ROCK_SALT, 6), replace_lattice(COPPER, np.nan)]
    potential = AsePotential(lennard_jones())
    config = RelaxationConfig(fmax=0.01, max_steps=60)
    together = relax(cells, potential, config)
    alone = [relax([cell], potential, config)[0] for cell in cells]
    assert len({row.n_steps for row in together}) > 2
    for a, b in zip(together, alone, strict=True):
        first, second = a.to_record(), b.to_record()
        assert first.pop("seconds") >= 0 and second.pop("seconds") >= 0
        first_cell, second_cell = first.pop("cell"), second.pop("cell")
        assert first.keys() == second.keys()
        for name, value in first.items():
            is_number = isinstance(value, float)
            assert value == (pytest.approx(second[name], rel=1e-9) if is_number else second[name])
        if first_cell:
            np.testing.assert_allclose(
                first_cell["lattice_matrix"], second_cell["lattice_matrix"], rtol=1e-9
            )
    assert relax([], potential) == []


def random_point(n_atoms: int) -> SinglePoint:
    rng = np.random.default_rng(0)
    stress = rng.normal(size=(3, 3))
    return SinglePoint(-1.0, rng.normal(size=(n_atoms, 3)), stress + stress.T)


@pytest.mark.parametrize("crystal", REAL, ids=lambda c: str(c.space_group_number))
def test_symmetrised_as_by_ase(crystal: Crystal) -> None:
    """Operations of our tables and operations found: both average as ASE does."""
    cell = Cell.of(crystal, primitive=True)
    point, atoms = random_point(len(cell)), cell.to_ase()
    fixed = FixSymmetry(atoms, symprec=1e-3)
    forces, stress = point.forces.copy(), full_3x3_to_voigt_6_stress(point.stress)
    fixed.adjust_forces(atoms, forces)
    fixed.adjust_stress(atoms, stress)
    for symmetriser in (Symmetriser.of(cell, crystal), Symmetriser.of(cell)):
        assert len(symmetriser.rotations) == len(fixed.rotations)
        ours = symmetriser.point(point, cell.lattice_matrix)
        # ASE drops what is left of a force below a tolerance of its own
        np.testing.assert_allclose(ours.forces, forces, atol=1e-9)
        np.testing.assert_allclose(ours.stress, voigt_6_to_full_3x3_stress(stress), atol=1e-9)
        again = symmetriser.point(ours, cell.lattice_matrix)
        np.testing.assert_allclose(again.forces, ours.forces, atol=1e-12)


@pytest.mark.parametrize("crystal", REAL, ids=lambda c: str(c.space_group_number))
def test_a_noisy_cell_gets_its_symmetry_back(crystal: Crystal) -> None:
    cell = Cell.of(crystal, primitive=True)
    noisy = rattled(cell, seed=0, size=3e-4)
    lattice = cell.lattice_matrix + 3e-4 * np.random.default_rng(1).normal(size=(3, 3))
    noisy = Cell(lattice, cell.atomic_numbers, noisy.fractional_coords)
    exact = Symmetriser.of(noisy).cell(noisy)
    assert group_of(noisy, 1e-6) < group_of(exact, 1e-6) == group_of(cell, 1e-3)
    np.testing.assert_allclose(exact.lattice_matrix, lattice, atol=2e-3)
    moved = (exact.fractional_coords - noisy.fractional_coords) @ lattice
    assert np.abs(moved).max() < 2e-3


@pytest.mark.parametrize("origin", ["crystal", "cell"])
def test_the_space_group_is_kept(origin: str) -> None:
    """Under a potential that knows no symmetry only the symmetrised relaxation keeps it."""
    crystal = rock_salt()
    given = crystal if origin == "crystal" else Cell.of(crystal)
    potential = Lopsided(0.3)
    config = RelaxationConfig(fmax=0.01, max_steps=40, keeps_space_group=True)
    kept = relax([given], potential, config)[0]
    free = relax([given], potential, replace(config, keeps_space_group=False))[0]
    assert kept.cell and free.cell
    assert group_of(kept.cell, 1e-8) == 225
    assert group_of(free.cell, 1e-2) < 225
    assert kept.volume_change != pytest.approx(1, abs=1e-3)  # it did relax


def replace_lattice(cell: Cell, factor: float) -> Cell:
    return Cell(factor * cell.lattice_matrix, cell.atomic_numbers, cell.fractional_coords)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (replace_lattice(COPPER, np.nan), "not finite"),
        (replace_lattice(COPPER, 0.5), "1.47 cubic angstrom per atom, not 3 to 200"),
        (replace_lattice(COPPER, 3.0), "318 cubic angstrom per atom"),
        (Cell(4 * np.eye(3), np.array([1, 1]), np.array([[0, 0, 0], [0, 0, 0.9]])), "0.400 angs"),
        (Cell(4 * np.eye(3), np.zeros(0, dtype=np.int64), np.zeros((0, 3))), "no atoms"),
        (Cell(5.8 * np.eye(3), np.array([18]), np.zeros((1, 3))), ""),
    ],
)
def test_geometries_not_worth_a_call(cell: Cell, reason: str) -> None:
    def refuses(cells: Sequence[Cell]) -> list[SinglePoint]:
        raise AssertionError("called")

    if not reason:
        with pytest.raises(AssertionError):
            relax([cell], refuses)
        return
    row = relax([cell], refuses)[0]
    assert row.status == "invalid_geometry" and reason in row.reason
    assert math.isnan(row.energy_per_atom) and row.cell is None


def test_a_lone_atom_is_a_row() -> None:
    alone = Cell.from_ase(bulk("Ar", "fcc", a=9.2))  # neighbours 6.5 apart
    rows = relax([alone, SILICON], Chgnet(), RelaxationConfig(max_steps=2))
    assert rows[0].status == "invalid_geometry" and "alone within 6 angstrom" in rows[0].reason
    assert rows[1].status == "ok"


def bad(energy: float = -1.0, force: float = 0.0) -> SinglePoint:
    return SinglePoint(energy, np.full((1, 3), force), np.zeros((3, 3)))


@pytest.mark.parametrize(
    ("point", "reason"),
    [
        (bad(energy=np.nan), "not finite"),
        (bad(force=np.inf), "not finite"),
        (bad(force=1001.0), "a force of 1e+03 eV/angstrom"),
        (replace(bad(), stress=1e4 * np.eye(3)), "the volume times 0"),
        (replace(bad(), stress=-1e4 * np.eye(3)), "the volume times"),
    ],
)
@pytest.mark.parametrize("at", [0, 3])
def test_blow_ups_are_stopped(point: SinglePoint, reason: str, at: int) -> None:
    cell = rattled(COPPER.primitive(), seed=0)
    row = relax([cell], Broken(point, at), RelaxationConfig(fmax=1e-6, max_steps=400))[0]
    assert row.status == "relaxation_diverged" and reason in row.reason
    assert not row.is_converged and row.cell is None and math.isnan(row.energy_per_atom)
    assert math.isfinite(row.initial_energy_per_atom) == (at > 0 or "volume" in reason)


def test_a_relaxation_without_end_keeps_what_it_has() -> None:
    row = relax(
        [rattled(COPPER, 0)], AsePotential(EMT()), RelaxationConfig(fmax=1e-9, max_steps=5)
    )[0]
    assert row.status == "ok" and not row.is_converged and row.n_steps == 5
    assert row.energy_per_atom < row.initial_energy_per_atom and row.cell


def test_a_request_without_structure_is_a_row() -> None:
    crystal = Crystal.failed(3, None, "reconstruction_failed", "no letter left", 12)
    row = relax([crystal], AsePotential(EMT()))[0]
    assert row.status == "invalid_geometry" and row.reason == "no letter left"


def test_records_are_exact() -> None:
    rows = relax([rattled(COPPER, 0), replace_lattice(COPPER, 9.0)], AsePotential(EMT()))
    for row in rows:
        line = json.dumps({"index": 3} | row.to_record(), allow_nan=False)
        for back in (Relaxed.from_record(json.loads(line)), pickle.loads(pickle.dumps(row))):
            assert back.to_record() == row.to_record()
            assert (back.cell is None) == (row.cell is None)
    assert rows[0].cell and back.status == "invalid_geometry"


def test_processes_return_rows_in_any_case() -> None:
    cells = [rattled(SILICON, 0), replace_lattice(COPPER, 0.1), rattled(ROCK_SALT, 1)]
    rows = dict(relax_all(cells, workers=1, time_limit=60.0))
    assert [rows[i].status for i in range(3)] == ["ok", "invalid_geometry", "ok"]
    here = relax(cells, Chgnet())
    for i in (0, 2):
        assert rows[i].energy_per_atom == pytest.approx(here[i].energy_per_atom, abs=1e-6)
        assert rows[i].n_steps == here[i].n_steps
    late = dict(relax_all([rattled(ROCK_SALT, 1)], workers=1, time_limit=1e-3))
    assert late[0].status == "timeout" and "0.001 s" in late[0].reason


@pytest.mark.parametrize("status", ["worker_lost", "out_of_memory", ""])
def test_why_a_process_gave_nothing(status: str, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = Outcome(0, None, "why", math.nan, status)
    monkeypatch.setattr(relaxation, "run_killable", lambda *_, **__: [outcome])
    ((_, row),) = relax_all([COPPER])
    assert (row.status, row.reason) == (status or "relaxation_diverged", "why")


def test_batches_halve_when_memory_ends() -> None:
    """A potential with room for two crystals, of at most four atoms each."""
    calls: list[int] = []

    def narrow(cells: Sequence[Cell]) -> list[SinglePoint]:
        calls.append(len(cells))
        if len(cells) > 2 or max(map(len, cells)) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate")
        return AsePotential(EMT())(cells)

    judge = replace(chgnet_judge(), make=lambda: narrow, device="cuda")
    double = Cell.from_ase(rattled(COPPER, 9).to_ase() * (2, 1, 1))
    double = rattled(double, 1)
    cells = [rattled(COPPER, seed) for seed in range(5)] + [double]
    rows = dict(relax_all(cells, judge=judge))
    assert [rows[i].status for i in range(6)] == ["ok"] * 5 + ["out_of_memory"]
    assert rows[5].reason == "CUDA out of memory. Tried"
    assert calls[0] == 6
    apart = relax(cells[:5], AsePotential(EMT()))
    for i, row in enumerate(apart):
        assert rows[i].energy_per_atom == pytest.approx(row.energy_per_atom, abs=1e-9)


def test_settings_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="fmax must be positive, got 0.0"):
        RelaxationConfig(fmax=0.0)
    with pytest.raises(ValueError, match="max_steps must not be negative, got -1"):
        RelaxationConfig(max_steps=-1)
    with pytest.raises(ValueError, match="workers 0 and time_limit 900"):
        next(relax_all([COPPER], workers=0))
