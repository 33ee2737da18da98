"""A finished crystal: its record, whatever became of it, and its forms in other programs."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.composition import density_of, reduced_formula
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.lattice import cell_parameters

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


@dataclass
class Crystal:
    """One crystal in its conventional cell, or the reason why there is none.

    Args:
        index: number of the crystal in its run.
        seed: seed of the run, None when there was none.
        status: "ok", "invalid_geometry", "reconstruction_failed", ...
        reason: one line, empty when the status is "ok".
        space_group_number: the requested group, 1 to 230.
        lattice_matrix: rows a, b, c of the conventional cell, angstrom; None without structure.
        atomic_numbers: element of each atom of the cell, shape (A,).
        fractional_coords: in [0, 1), orbit after orbit, representative first, shape (A, 3).
        orbit: site of each atom, shape (A,).
        letters: Wyckoff letter of each site.
        unit: the asymmetric unit on its loci; None without structure. Of a crystal whose atoms
            were all made one by one, each is a site, in P1 whatever group was requested.
        residual: how far each site was moved onto its locus, angstrom, shape (D,).
        minimum_distance: shortest distance between two atoms, images included, angstrom.
        contact_ratio: smallest distance over the sum of the two covalent radii.
        found_space_group_number: the group that the structure has within a tolerance; None
            where it was not looked for or none was found.
        n_merged: sites that cleaning moved onto a more special position, because atoms of
            their orbit were less than 0.6 angstrom apart.
        n_dropped: sites that cleaning left out, because a more probable one lies there
            (0.05 angstrom); with the sites that are there they add up to the request.
        request: which of the requests of its run this answers, from 0.

    A record without structure has empty arrays and NaN distances.
    """

    index: int
    seed: int | None
    status: str
    reason: str
    space_group_number: int
    lattice_matrix: Float[np.ndarray, "3 3"] | None
    atomic_numbers: Int[np.ndarray, "A"]
    fractional_coords: Float[np.ndarray, "A 3"]
    orbit: Int[np.ndarray, "A"]
    letters: tuple[str, ...]
    unit: AsymmetricUnit | None
    residual: Float[np.ndarray, "D"]
    minimum_distance: float
    contact_ratio: float
    found_space_group_number: int | None = None
    n_merged: int = 0
    n_dropped: int = 0
    request: int = 0

    @classmethod
    def failed(
        cls,
        index: int,
        seed: int | None,
        status: str,
        reason: str,
        space_group_number: int,
        request: int = 0,
    ) -> "Crystal":
        """The record of a crystal that has no structure.

        Args:
            index: number of the crystal in its run.
            seed: seed of the run, or None.
            status: anything but "ok".
            reason: one line.
            space_group_number: the requested group, 1 to 230.
            request: which of the requests of its run this answers, from 0.

        Returns:
            A crystal with empty arrays and NaN distances.
        """
        return cls(
            index=index,
            seed=seed,
            status=status,
            reason=reason,
            space_group_number=space_group_number,
            lattice_matrix=None,
            atomic_numbers=np.zeros(0, dtype=np.int64),
            fractional_coords=np.zeros((0, 3)),
            orbit=np.zeros(0, dtype=np.int64),
            letters=(),
            unit=None,
            residual=np.zeros(0),
            minimum_distance=float("nan"),
            contact_ratio=float("nan"),
            request=request,
        )

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    @property
    def has_structure(self) -> bool:
        """Whether there is a cell with atoms, valid or not."""
        return self.lattice_matrix is not None

    @property
    def group_of_sites(self) -> int:
        """The group that fills the cell from the unit's sites: the requested one, or 1."""
        return self.space_group_number if self.unit is None else self.unit.space_group_number

    @property
    def formula(self) -> str:
        """Composition in smallest whole numbers, elements by Mendeleev number: "NaCl"."""
        return reduced_formula(self.atomic_numbers)

    @property
    def volume(self) -> float:
        """Volume of the conventional cell, cubic angstrom; NaN without structure."""
        if self.lattice_matrix is None:
            return float("nan")
        return float(abs(np.linalg.det(self.lattice_matrix)))

    @property
    def density(self) -> float:
        """Mass density, g/cm3; NaN without structure."""
        return density_of(self.atomic_numbers, self.volume)

    @property
    def lattice_parameters(self) -> Float[np.ndarray, "6"]:
        """a, b, c in angstrom and alpha, beta, gamma in degrees of the conventional cell.

        Raises:
            ValueError: there is no structure.
        """
        return cell_parameters(self._lattice())

    def primitive_cell(
        self,
    ) -> tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, "P"], Float[np.ndarray, "P 3"]]:
        """A primitive cell: that of the space group's centring, so it keeps every operation.

        A structure with hidden translations may have a smaller one.

        Returns:
            Lattice matrix (rows, angstrom), shape (3, 3); atomic numbers, shape (P,); fractional
            coordinates in [0, 1), shape (P, 3).

        Raises:
            ValueError: there is no structure.
        """
        lattice, vectors = self._lattice(), primitive_vectors(self.group_of_sites)
        n_copies = round(1 / np.linalg.det(vectors))
        # the tables list each orbit centring after centring: the first part is one of each
        sizes = np.bincount(self.orbit)
        rank = np.arange(len(self)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        chosen = rank < (sizes // n_copies)[self.orbit]
        coords = self.fractional_coords[chosen] @ np.linalg.inv(vectors).T
        coords = np.round(coords - np.floor(coords), 12) % 1
        return vectors.T @ lattice, self.atomic_numbers[chosen], coords

    def arrays(
        self, primitive: bool = False
    ) -> tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, "X"], Float[np.ndarray, "X 3"]]:
        """Lattice matrix, atomic numbers and fractional coordinates of a cell.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Returns:
            Rows in angstrom, shape (3, 3); shape (X,); in [0, 1), shape (X, 3).

        Raises:
            ValueError: there is no structure.
        """
        if primitive:
            return self.primitive_cell()
        return self._lattice(), self.atomic_numbers, self.fractional_coords

    def to_pymatgen(self, primitive: bool = False) -> "Structure":
        """Return a pymatgen Structure.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from pymatgen.core import Structure

        lattice, numbers, coords = self.arrays(primitive)
        return Structure(lattice, [SYMBOLS[number] for number in numbers], coords)

    def to_ase(self, primitive: bool = False) -> "Atoms":
        """Return ASE Atoms, periodic in three directions.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from ase import Atoms

        lattice, numbers, coords = self.arrays(primitive)
        return Atoms(numbers=numbers, scaled_positions=coords, cell=lattice, pbc=True)

    def to_poscar(self, primitive: bool = False) -> str:
        """Return the text of a VASP 5 POSCAR file, atoms grouped by element.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from symmbfn.crystals.file_formats import poscar_text

        return poscar_text(self, primitive)

    def to_cif(self, primitive: bool = False) -> str:
        """Return CIF text: the true space group, its operations, and one atom per orbit.

        Any reader that applies the operations gets the full cell back. The text depends on
        the crystal alone. Of a primitive cell the operations are written in its own basis,
        and the symbol, which names a conventional cell, is left out.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from symmbfn.crystals.file_formats import cif_text

        return cif_text(self, primitive)

    def _lattice(self) -> Float[np.ndarray, "3 3"]:
        if self.lattice_matrix is None:
            raise ValueError(f"crystal {self.index} has no structure: {self.reason}")
        return self.lattice_matrix
