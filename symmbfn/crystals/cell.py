"""A cell of a crystal: lattice and atoms, without symmetry."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.composition import density_of, reduced_formula
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.runtime.checks import real_number

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure


@dataclass(frozen=True, eq=False)
class Cell:
    """One periodic cell.

    Args:
        lattice_matrix: rows a, b, c, angstrom, shape (3, 3).
        atomic_numbers: 1 to 118, shape (A,).
        fractional_coords: shape (A, 3).
    """

    lattice_matrix: Float[np.ndarray, "3 3"]
    atomic_numbers: Int[np.ndarray, "A"]
    fractional_coords: Float[np.ndarray, "A 3"]

    @classmethod
    def of(cls, crystal: Crystal, *, primitive: bool = False) -> "Cell":
        """The conventional cell of a crystal, or the primitive cell of its space group.

        Args:
            crystal: a record with structure.
            primitive: take the primitive cell.

        Returns:
            The cell.

        Raises:
            ValueError: there is no structure.
        """
        if primitive:
            return cls(*crystal.primitive_cell())
        if crystal.lattice_matrix is None:
            raise ValueError(f"crystal {crystal.index} has no structure: {crystal.reason}")
        return cls(crystal.lattice_matrix, crystal.atomic_numbers, crystal.fractional_coords)

    @classmethod
    def from_pymatgen(cls, structure: "Structure") -> "Cell":
        """The cell of a pymatgen Structure.

        Args:
            structure: ordered, one element a site.

        Returns:
            The cell, atoms in the same order.
        """
        numbers = np.array([site.specie.Z for site in structure], dtype=np.int64)
        return cls(np.array(structure.lattice.matrix), numbers, np.array(structure.frac_coords))

    @classmethod
    def from_ase(cls, atoms: "Atoms") -> "Cell":
        """The cell of ASE Atoms.

        Args:
            atoms: periodic in three directions.

        Returns:
            The cell, atoms in the same order, coordinates not wrapped.
        """
        numbers = np.array(atoms.numbers, dtype=np.int64)
        return cls(np.array(atoms.cell.array), numbers, atoms.get_scaled_positions(wrap=False))

    def __len__(self) -> int:
        return len(self.atomic_numbers)

    @property
    def formula(self) -> str:
        """Composition in smallest whole numbers, elements by Mendeleev number: "NaCl"."""
        return reduced_formula(self.atomic_numbers)

    @property
    def composition(self) -> dict[str, int]:
        """Element symbol -> number of atoms, lightest element first."""
        numbers, counts = np.unique(self.atomic_numbers, return_counts=True)
        return {SYMBOLS[z]: int(n) for z, n in zip(numbers, counts, strict=True)}

    @property
    def volume(self) -> float:
        """Cubic angstrom."""
        return float(abs(np.linalg.det(self.lattice_matrix)))

    @property
    def density(self) -> float:
        """Mass density, g/cm3."""
        return density_of(self.atomic_numbers, self.volume)

    def primitive(self, symprec: float = 1e-3) -> "Cell":
        """The smallest cell of the same crystal, in the same orientation up to a rotation.

        Args:
            symprec: distance tolerance of the search for translations, angstrom; what is farther
                from a smaller cell, such as a chain that is nearly even, keeps all its atoms.

        Returns:
            What spglib finds, or this cell where it finds nothing.

        Raises:
            ValueError: the tolerance is no finite number above 0.
        """
        import spglib

        symprec = real_number("symprec", symprec, above=0.0)
        cell: Any = (self.lattice_matrix, self.fractional_coords, self.atomic_numbers)
        try:
            found = spglib.find_primitive(cell, symprec=symprec)
        except Exception:  # newer versions raise where older ones return None
            found = None
        if found is None:
            return self
        lattice, coords, numbers = found
        return Cell(np.asarray(lattice), np.asarray(numbers, dtype=np.int64), np.asarray(coords))

    def to_pymatgen(self) -> "Structure":
        """Return a pymatgen Structure."""
        from pymatgen.core import Structure

        symbols = [SYMBOLS[number] for number in self.atomic_numbers]
        return Structure(self.lattice_matrix, symbols, self.fractional_coords)

    def to_ase(self) -> "Atoms":
        """Return ASE Atoms, periodic in three directions."""
        from ase import Atoms

        return Atoms(
            numbers=self.atomic_numbers,
            scaled_positions=self.fractional_coords,
            cell=self.lattice_matrix,
            pbc=True,
        )
