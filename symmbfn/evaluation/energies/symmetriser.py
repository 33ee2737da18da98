"""Forces and stresses that keep a space group: what is left of them under its operations."""

from dataclasses import dataclass

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry import operations_of
from symmbfn.crystals.symmetry_search import search_symmetry
from symmbfn.evaluation.energies.potentials import SinglePoint

FOUND_SYMPREC = 0.01  # angstrom, where the operations must be searched for
MAPPED = 0.1  # angstrom between an atom's image and the atom that stands there


@dataclass(frozen=True, eq=False)
class Symmetriser:
    """The operations of one cell and where they take its atoms.

    Args:
        rotations: in the basis of the cell, shape (n, 3, 3).
        translations: shape (n, 3).
        images: atom on which each operation puts each atom, shape (n, A).

    Source: Larsen et al. 2017 (ASE): the averages of FixSymmetry.
    """

    rotations: Int[np.ndarray, "n 3 3"]
    translations: Float[np.ndarray, "n 3"]
    images: Int[np.ndarray, "n A"]

    @classmethod
    def of(cls, cell: Cell, origin: Crystal | None = None) -> "Symmetriser":
        """The operations of a crystal's own group, or those that are found in a cell.

        Args:
            cell: the primitive cell of `origin`, or any cell.
            origin: where the group and its setting are known.

        Raises:
            ValueError: no symmetry is found, or an operation puts an atom where there is none.
        """
        rotations, translations = _found(cell) if origin is None else _primitive_operations(origin)
        images = np.stack(
            [_images(cell, *one) for one in zip(rotations, translations, strict=True)]
        )
        return cls(rotations, translations, images)

    def cell(self, cell: Cell) -> Cell:
        """The nearest cell that has the operations exactly."""
        # an operation f -> W f keeps lengths, f^T G f, where W^T G W = G
        metric = cell.lattice_matrix @ cell.lattice_matrix.T
        mean = (self.rotations.mT @ metric @ self.rotations).mean(axis=0)
        # of all lattices with this metric the one that is turned least
        root = np.linalg.cholesky(mean)
        u, _, vt = np.linalg.svd(root.T @ cell.lattice_matrix)
        lattice = root @ u @ vt
        coords, total = cell.fractional_coords, np.zeros((len(cell), 3))
        for rotation, translation, image in zip(
            self.rotations, self.translations, self.images, strict=True
        ):
            arrived = coords @ rotation.T + translation
            total[image] += arrived - np.rint(arrived - coords[image])
        return Cell(lattice, cell.atomic_numbers, total / len(self.rotations))

    def point(self, point: SinglePoint, lattice: Float[np.ndarray, "3 3"]) -> SinglePoint:
        """The mean of forces and stress over all operations.

        Args:
            point: of the cell.
            lattice: rows a, b, c of the cell as it is now, angstrom, shape (3, 3).
        """
        # columns: a vector v = L^T f, so an operation f -> W f turns v by L^T W L^-T
        inverse = np.linalg.inv(lattice.T)
        turns = lattice.T @ self.rotations @ inverse
        forces = np.zeros_like(point.forces)
        for turn, image in zip(turns, self.images, strict=True):
            forces[image] += point.forces @ turn.T
        stress = (turns @ point.stress @ turns.mT).mean(axis=0)
        return SinglePoint(point.energy_per_atom, forces / len(turns), (stress + stress.T) / 2)


def _primitive_operations(crystal: Crystal) -> tuple[np.ndarray, np.ndarray]:
    """The frozen operations of a group in its primitive basis, each once."""
    rotations, translations = operations_of(crystal.group_of_sites)
    vectors = primitive_vectors(crystal.group_of_sites)
    inverse = np.linalg.inv(vectors)
    rotations = np.rint(inverse @ rotations @ vectors).astype(np.int64)
    # all translations of the tables are multiples of 1/24; centrings become whole numbers
    steps = np.rint(24 * translations @ inverse.T).astype(np.int64) % 24
    rows = np.concatenate([rotations.reshape(-1, 9), steps], axis=1)
    rows = np.unique(rows, axis=0)
    return rows[:, :9].reshape(-1, 3, 3), rows[:, 9:] / 24


def _found(cell: Cell) -> tuple[np.ndarray, np.ndarray]:
    # from the tables of the group that was found, so that they close exactly
    found = search_symmetry(cell, FOUND_SYMPREC)
    if found is None:
        raise ValueError(f"no symmetry found in {cell.formula} at {FOUND_SYMPREC} angstrom")
    return found.rotations.astype(np.int64), found.translations


def _images(cell: Cell, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    arrived = cell.fractional_coords @ rotation.T + translation
    steps = arrived[:, None] - cell.fractional_coords[None]
    miss = np.linalg.norm((steps - np.rint(steps)) @ cell.lattice_matrix, axis=-1)
    miss[cell.atomic_numbers[:, None] != cell.atomic_numbers[None]] = np.inf
    image = miss.argmin(axis=1)
    if miss.min(axis=1).max() > MAPPED or len(np.unique(image)) < len(cell):
        raise ValueError(f"an operation does not map the atoms of {cell.formula} onto each other")
    return image
