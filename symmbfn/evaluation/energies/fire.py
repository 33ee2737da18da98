"""Downhill in positions and cell: FIRE over the coordinates of a Frechet cell filter.

Many crystals move at once, in flat arrays, and each has its own time step and mixing.
"""

from collections.abc import Sequence

import numpy as np
from scipy.linalg import expm

from symmbfn._shapes import Float, Int
from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.potentials import SinglePoint

# ASE's own settings of FIRE
TIME_STEP, MAX_TIME_STEP = 0.1, 1.0
MAX_MOVE = 0.2  # angstrom, the norm over all coordinates of a crystal
WAIT, GROW, SHRINK = 5, 1.1, 0.5
MIXING, MIXING_DECAY = 0.1, 0.99


class Descent:
    """Several crystals on their way to a minimum of the energy.

    The coordinates of a crystal of A atoms with the lattice L are A + 3 rows: its Cartesian
    positions in the cell it started with, and A log F, where F deforms that cell, L = L_0 F^T.

    Args:
        cells: where they start.

    Attributes:
        coordinates: crystal after crystal the atoms, then crystal after crystal the three rows
            of the cell, shape (R, 3), angstrom.
        owner: crystal of each row, shape (R,).

    Source: Larsen et al. 2017 (ASE): FrechetCellFilter and FIRE; Bitzek et al. 2006 (FIRE).
    """

    def __init__(self, cells: Sequence[Cell]):
        self._start = list(cells)
        self._lattice = np.stack([cell.lattice_matrix for cell in cells])
        self._n_atoms = np.array([len(cell) for cell in cells])
        self._first = np.append(0, np.cumsum(self._n_atoms))
        n = len(cells)
        crystals = np.arange(n)
        self.owner = np.concatenate([np.repeat(crystals, self._n_atoms), np.repeat(crystals, 3)])
        atoms = [cell.fractional_coords @ cell.lattice_matrix for cell in cells]
        self.coordinates = np.concatenate([*atoms, np.zeros((3 * n, 3))])
        self._velocity = np.zeros_like(self.coordinates)
        self._time_step, self._mixing = np.full(n, TIME_STEP), np.full(n, MIXING)
        self._n_downhill, self._has_moved = np.zeros(n, dtype=int), False

    def volume_change(self) -> Float[np.ndarray, "B"]:
        """Volume of each crystal over the one it started with, shape (B,)."""
        trace = np.trace(self._log_deformation(), axis1=1, axis2=2)
        return np.exp(np.clip(trace, -50, 50))

    def cells(self, which: Int[np.ndarray, "S"]) -> list[Cell]:
        """Some crystals as they are now."""
        deformation = expm(self._log_deformation()[which])
        cells = []
        for crystal, f in zip(which, deformation, strict=True):
            rows = slice(self._first[crystal], self._first[crystal + 1])
            # the deformation takes the positions along with the cell
            coords = np.linalg.solve(self._lattice[crystal].T, self.coordinates[rows].T).T
            lattice = self._lattice[crystal] @ f.T
            cells.append(Cell(lattice, self._start[crystal].atomic_numbers, coords))
        return cells

    def forces(
        self, which: Int[np.ndarray, "S"], points: Sequence[SinglePoint]
    ) -> Float[np.ndarray, "R 3"]:
        """Negative slopes of the energy in the coordinates, zero for crystals left out.

        With F = exp(U) and the virial W = -V stress, the force on U is the adjoint of exp's
        derivative applied to W F^-T: the upper right block of exp [[U^T, W F^-T], [0, U^T]].

        Args:
            which: crystals that have a point.
            points: one each, of the cells as they are now.

        Returns:
            Shape (R, 3), eV/angstrom.
        """
        u = self._log_deformation()[which]
        deformation = expm(u)
        volume = np.abs(np.linalg.det(self._lattice[which] @ deformation.mT))
        virial = -volume[:, None, None] * np.stack([point.stress for point in points])
        block = np.zeros((len(which), 6, 6))
        block[:, :3, :3] = block[:, 3:, 3:] = u.mT
        block[:, :3, 3:] = virial @ expm(-u.mT)
        on_cell = expm(block)[:, :3, 3:] / self._n_atoms[which, None, None]
        forces = np.zeros_like(self.coordinates)
        self._of_cells(forces)[which] = on_cell
        for crystal, point, f in zip(which, points, deformation, strict=True):
            forces[self._first[crystal] : self._first[crystal + 1]] = point.forces @ f
        return forces

    def largest(self, forces: Float[np.ndarray, "R 3"]) -> Float[np.ndarray, "B"]:
        """Norm of the longest row of each crystal, which ASE compares with fmax, shape (B,)."""
        largest = np.zeros(len(self._start))
        np.maximum.at(largest, self.owner, np.linalg.norm(forces, axis=1))
        return largest

    def step(self, forces: Float[np.ndarray, "R 3"], which: Int[np.ndarray, "S"]) -> None:
        """One step of FIRE for some crystals; the others stay where they are."""
        velocity = self._velocity
        if self._has_moved:
            velocity = self._steer(forces)
        self._has_moved = True
        time_step = self._time_step[self.owner, None]
        self._velocity = velocity + time_step * forces
        move = time_step * self._velocity
        length = np.sqrt(self._dot(move, move))
        move *= (MAX_MOVE / np.maximum(length, MAX_MOVE))[self.owner, None]
        goes = np.isin(self.owner, which)[:, None]
        self.coordinates = self.coordinates + np.where(goes, move, 0)

    def _steer(self, forces: np.ndarray) -> np.ndarray:
        """Turn velocities towards the forces where they go downhill, and stop them elsewhere."""
        velocity, mixing = self._velocity, self._mixing
        is_downhill = self._dot(forces, velocity) > 0
        speed, force = self._dot(velocity, velocity), self._dot(forces, forces)
        ratio = np.sqrt(speed / np.where(is_downhill, force, 1))
        kept, added = np.where(is_downhill, [1 - mixing, mixing * ratio], 0)
        grows = is_downhill & (self._n_downhill > WAIT)
        grown = np.minimum(self._time_step * GROW, MAX_TIME_STEP)
        self._time_step = np.where(
            grows, grown, np.where(is_downhill, self._time_step, self._time_step * SHRINK)
        )
        self._mixing = np.where(grows, mixing * MIXING_DECAY, np.where(is_downhill, mixing, MIXING))
        self._n_downhill = np.where(is_downhill, self._n_downhill + 1, 0)
        return kept[self.owner, None] * velocity + added[self.owner, None] * forces

    def _log_deformation(self) -> np.ndarray:
        return self._of_cells(self.coordinates) / self._n_atoms[:, None, None]

    def _of_cells(self, rows: np.ndarray) -> np.ndarray:
        """The part of flat rows that belongs to the cells, a view of shape (B, 3, 3)."""
        return rows[self._first[-1] :].reshape(-1, 3, 3)

    def _dot(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.bincount(self.owner, (a * b).sum(axis=1), minlength=len(self._start))
