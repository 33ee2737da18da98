"""The operations of a space group in whatever setting a file uses: exact, in 24ths of a cell."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import gemmi
import numpy as np
import spglib

from symmbfn._shapes import Float, Int

GRID = gemmi.Op.DEN  # translations are whole multiples of 1 / GRID
METRIC_TOLERANCE = 2e-3  # of |a||b|: 0.1 per cent of a length, about 0.1 degree
MAX_ENTRY = 10  # of a rotation

# reflections that tell screw axes and glide planes apart, whichever the origin
_REFLECTIONS = np.array([[h, k, l] for h in range(-2, 3) for k in range(-2, 3) for l in range(3)])


@dataclass(frozen=True, eq=False)
class GroupOperations:
    """Operations x -> R x + t / 24 of one space group, centring translations included.

    Args:
        rotations: shape (n, 3, 3).
        translations: 24ths of a cell in 0..23, shape (n, 3).
    """

    rotations: Int[np.ndarray, "n 3 3"]
    translations: Int[np.ndarray, "n 3"]

    @classmethod
    def of(cls, operations: Iterable[gemmi.Op]) -> "GroupOperations":
        """Take gemmi's operations, in their order and without repeats.

        Raises:
            ValueError: an operation is no map of a lattice onto itself.
        """
        kept = {}
        for operation in operations:
            rotation, rest = np.divmod(np.array(operation.rot), GRID)
            is_whole = not rest.any() and np.abs(rotation).max() <= MAX_ENTRY
            if not is_whole or operation.det_rot() not in (GRID**3, -(GRID**3)):
                raise ValueError(f"{operation.triplet()} maps no lattice onto itself")
            translation = np.array(operation.tran) % GRID
            kept[_code(rotation, translation)] = (rotation, translation)
        rotations, translations = zip(*kept.values(), strict=True)
        return cls(np.array(rotations), np.array(translations))

    def __len__(self) -> int:
        return len(self.rotations)

    @cached_property
    def elements(self) -> frozenset[bytes]:
        """The operations as a set: equal for two groups with the same axes and origin."""
        return frozenset(map(_code, self.rotations, self.translations))

    @cached_property
    def absences(self) -> frozenset[bytes]:
        """What diffraction sees of the group: equal for two groups that differ in origin alone.

        Each operation counts by its rotation and by the phases it gives to the reflections
        that the rotation leaves as they are, which a shift of the origin does not change.

        Source: Aroyo 2016, Sec. 1.6.
        """
        rows = []
        for rotation, translation in zip(self.rotations, self.translations, strict=True):
            is_kept = (_REFLECTIONS @ rotation == _REFLECTIONS).all(axis=1)
            phases = np.where(is_kept, _REFLECTIONS @ translation % GRID, -1)
            rows.append(_code(rotation, phases))
        return frozenset(rows)

    @cached_property
    def is_closed(self) -> bool:
        """Whether the product of any two operations is one of them."""
        rotations = self.rotations[:, None] @ self.rotations[None]
        translations = self.rotations[:, None] @ self.translations[None, ..., None]
        translations = (translations[..., 0] + self.translations[:, None]) % GRID
        products = _numbered(rotations, translations)
        return bool(np.isin(products, _numbered(self.rotations, self.translations)).all())

    def first_breaking(self, metric: Float[np.ndarray, "3 3"]) -> str:
        """The first operation that changes lengths or angles of a cell, "" where none does.

        Args:
            metric: scalar products of the cell's edges, square angstrom, shape (3, 3).
        """
        moved = self.rotations.mT @ metric @ self.rotations
        size = np.sqrt(np.outer(metric.diagonal(), metric.diagonal()))
        is_broken = (np.abs(moved - metric) > METRIC_TOLERANCE * size).any(axis=(1, 2))
        return self.triplet(int(is_broken.argmax())) if is_broken.any() else ""

    def triplet(self, index: int) -> str:
        """One operation as text: "-x,y+1/2,-z"."""
        operation = gemmi.Op()
        operation.rot = (self.rotations[index] * GRID).tolist()
        operation.tran = self.translations[index].tolist()
        return operation.triplet()

    def number(self, lattice_matrix: Float[np.ndarray, "3 3"]) -> int:
        """The number of the space group, 1 to 230; 0 where it is none.

        Args:
            lattice_matrix: rows a, b, c of a cell that the operations keep, shape (3, 3).
        """
        if len(self) == 1:
            return 1
        try:
            found = spglib.get_spacegroup_type_from_symmetry(
                self.rotations, self.translations / GRID, lattice_matrix
            )
        except Exception:  # newer releases raise where older ones return None
            return 0
        return 0 if found is None else int(found.number)


def _code(rotation: Int[np.ndarray, "3 3"], values: Int[np.ndarray, "k"]) -> bytes:
    return np.concatenate([rotation.ravel(), values]).astype(np.int8).tobytes()


def _numbered(
    rotations: Int[np.ndarray, "*batch 3 3"], translations: Int[np.ndarray, "*batch 3"]
) -> Int[np.ndarray, "*batch"]:
    """A whole number for each operation, another one for each other operation."""
    base = 2 * MAX_ENTRY + 1
    entries = rotations.reshape(*rotations.shape[:-2], 9)
    return entries @ base ** np.arange(9) * GRID**3 + translations @ GRID ** np.arange(3)
