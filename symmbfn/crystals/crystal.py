"""A finished crystal: the record of one request, and its forms in other programs."""

import re
from collections import Counter
from dataclasses import dataclass
from functools import cache, reduce
from math import gcd
from typing import TYPE_CHECKING

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.elements import ATOMIC_MASS, MENDELEEV_NUMBER, SYMBOLS
from symmbfn.crystals.symmetry import CENTRINGS, operations_of, symmetry_tables

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

GRAM_PER_CM3 = 1.66053906660  # one atomic mass unit per cubic angstrom

# columns are the primitive vectors in the conventional basis, as in spglib
PRIMITIVE_VECTORS = {
    "P": np.eye(3),
    "I": np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]]) / 2,
    "F": np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2,
    "A": np.array([[2, 0, 0], [0, 1, -1], [0, 1, 1]]) / 2,
    "B": np.array([[1, 0, -1], [0, 2, 0], [1, 0, 1]]) / 2,
    "C": np.array([[1, 1, 0], [-1, 1, 0], [0, 0, 2]]) / 2,
    "R": np.array([[2, -1, -1], [1, 1, -2], [1, 1, 1]]) / 3,
}


@dataclass
class Crystal:
    """One crystal in its conventional cell, or the reason why there is none.

    Args:
        index: which request this answers.
        seed: seed of the request, None when there was none.
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

    @classmethod
    def failed(
        cls, index: int, seed: int | None, status: str, reason: str, space_group_number: int
    ) -> "Crystal":
        """The record of a request that gave no structure.

        Args:
            index: which request this answers.
            seed: seed of the request, or None.
            status: anything but "ok".
            reason: one line.
            space_group_number: the requested group, 1 to 230.

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
        lattice, vectors = self._lattice(), self._primitive_vectors()
        n_copies = round(1 / np.linalg.det(vectors))
        # the tables list each orbit centring after centring: the first part is one of each
        sizes = np.bincount(self.orbit)
        rank = np.arange(len(self)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        chosen = rank < (sizes // n_copies)[self.orbit]
        coords = self.fractional_coords[chosen] @ np.linalg.inv(vectors).T
        coords = np.round(coords - np.floor(coords), 12) % 1
        return vectors.T @ lattice, self.atomic_numbers[chosen], coords

    def to_pymatgen(self, primitive: bool = False) -> "Structure":
        """Return a pymatgen Structure.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from pymatgen.core import Structure

        lattice, numbers, coords = self._cell(primitive)
        return Structure(lattice, [SYMBOLS[number] for number in numbers], coords)

    def to_ase(self, primitive: bool = False) -> "Atoms":
        """Return ASE Atoms, periodic in three directions.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        from ase import Atoms

        lattice, numbers, coords = self._cell(primitive)
        return Atoms(numbers=numbers, scaled_positions=coords, cell=lattice, pbc=True)

    def to_poscar(self, primitive: bool = False) -> str:
        """Return the text of a VASP 5 POSCAR file, atoms grouped by element.

        Args:
            primitive: of the primitive cell, else of the conventional one.

        Raises:
            ValueError: there is no structure.
        """
        lattice, numbers, coords = self._cell(primitive)
        elements = list(dict.fromkeys(numbers.tolist()))
        lines = [f"{self.formula} {self._symbol()} ({self.group_of_sites})", "1.0"]
        lines += [" ".join(f"{_plus_zero(value):14.8f}" for value in row) for row in lattice]
        lines.append(" ".join(SYMBOLS[element] for element in elements))
        lines.append(" ".join(str(int((numbers == element).sum())) for element in elements))
        lines.append("Direct")
        for element in elements:
            for xyz in coords[numbers == element]:
                lines.append(f"{_coordinates(xyz)} {SYMBOLS[element]}")
        return "\n".join(lines) + "\n"

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
        vectors = self._primitive_vectors() if primitive else np.eye(3)
        lattice = vectors.T @ self._lattice()
        lengths, angles = np.split(cell_parameters(lattice), 2)
        number, symbol = self.group_of_sites, self._symbol()
        operations = operation_texts(number, primitive)
        first = np.unique(self.orbit, return_index=True)[1]
        coords = self.fractional_coords[first] @ np.linalg.inv(vectors).T
        n_copies = round(1 / np.linalg.det(vectors))
        multiplicities = np.bincount(self.orbit) // n_copies
        is_standard = n_copies == 1
        lines = [f"data_{self.formula}"]
        lines += [
            f"_cell_length_{name} {value:.8f}" for name, value in zip("abc", lengths, strict=True)
        ]
        lines += [
            f"_cell_angle_{name} {value:.8f}"
            for name, value in zip(("alpha", "beta", "gamma"), angles, strict=True)
        ]
        lines += [
            f"_cell_volume {self.volume / n_copies:.8f}",
            f"_chemical_formula_sum '{self._formula_sum(n_copies)}'",
            *([f"_symmetry_space_group_name_H-M '{symbol}'"] if is_standard else []),
            f"_symmetry_Int_Tables_number {number}",
            "loop_",
            "_symmetry_equiv_pos_site_id",
            "_symmetry_equiv_pos_as_xyz",
        ]
        lines += [f"{i} '{text}'" for i, text in enumerate(operations, start=1)]
        lines += [
            "loop_",
            "_atom_site_label",
            "_atom_site_type_symbol",
            "_atom_site_symmetry_multiplicity",
            "_atom_site_Wyckoff_symbol",
            "_atom_site_fract_x",
            "_atom_site_fract_y",
            "_atom_site_fract_z",
            "_atom_site_occupancy",
        ]
        seen: Counter[str] = Counter()
        for site, atom in enumerate(first):
            element = SYMBOLS[self.atomic_numbers[atom]]
            seen[element] += 1
            lines.append(
                f"{element}{seen[element]} {element} {multiplicities[site]} {self.letters[site]} "
                f"{_coordinates(coords[site])} 1"
            )
        return "\n".join(lines) + "\n"

    def _lattice(self) -> Float[np.ndarray, "3 3"]:
        if self.lattice_matrix is None:
            raise ValueError(f"crystal {self.index} has no structure: {self.reason}")
        return self.lattice_matrix

    def _primitive_vectors(self) -> Float[np.ndarray, "3 3"]:
        return primitive_vectors(self.group_of_sites)

    def _cell(self, primitive: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        if primitive:
            return self.primitive_cell()
        return self._lattice(), self.atomic_numbers, self.fractional_coords

    def _symbol(self) -> str:
        """The Hermann-Mauguin symbol with its parts spaced: "F m -3 m"."""
        short = str(symmetry_tables().hermann_mauguin[self.group_of_sites - 1])
        parts = re.findall(r"-?\d(?:_\d)?(?:/[a-z])?|[A-Za-z]", short)
        return " ".join(parts).replace("_", "")

    def _formula_sum(self, n_copies: int) -> str:
        counts = Counter(SYMBOLS[number] for number in self.atomic_numbers.tolist())
        return " ".join(f"{symbol}{counts[symbol] // n_copies}" for symbol in sorted(counts))


def reduced_formula(atomic_numbers: Int[np.ndarray, "A"]) -> str:
    """Composition in smallest whole numbers, elements by Mendeleev number: "NaCl"."""
    counts = Counter(atomic_numbers.tolist())
    divisor = reduce(gcd, counts.values(), 0)
    parts = []
    for number in sorted(counts, key=lambda z: (MENDELEEV_NUMBER[z], z)):
        count = counts[number] // divisor
        parts.append(SYMBOLS[number] + (str(count) if count > 1 else ""))
    return "".join(parts)


def density_of(atomic_numbers: Int[np.ndarray, "A"], volume: float) -> float:
    """Mass density in g/cm3 of a cell of so many cubic angstrom."""
    return float(ATOMIC_MASS[atomic_numbers].sum() * GRAM_PER_CM3 / volume)


def cell_parameters(lattice_matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "6"]:
    """Edges and angles of a cell.

    Args:
        lattice_matrix: rows a, b, c, shape (3, 3), angstrom.

    Returns:
        a, b, c in angstrom and alpha, beta, gamma in degrees, shape (6,).
    """
    lengths = np.linalg.norm(lattice_matrix, axis=1)
    a, b, c = lattice_matrix / lengths[:, None]
    cosines = np.clip([b @ c, a @ c, a @ b], -1, 1)
    return np.concatenate([lengths, np.rad2deg(np.arccos(cosines))])


def primitive_vectors(space_group_number: int) -> Float[np.ndarray, "3 3"]:
    """Vectors of the primitive cell in the conventional basis.

    Args:
        space_group_number: 1 to 230.

    Returns:
        The vectors as columns, shape (3, 3), in units of the conventional edges.

    Source: Togo et al. 2024 (spglib).
    """
    centring = CENTRINGS[symmetry_tables().centring[space_group_number - 1]]
    return PRIMITIVE_VECTORS[centring]


@cache
def operation_texts(space_group_number: int, primitive: bool = False) -> tuple[str, ...]:
    """Operations of a group as CIF writes them, e.g. "-y,x-y,z+1/3".

    Args:
        space_group_number: 1 to 230.
        primitive: in the basis of the primitive cell, where the centring translations are
            lattice translations and drop out.

    Returns:
        One text for each operation, the identity first.
    """
    rotations, translations = operations_of(space_group_number)
    if primitive:
        vectors = primitive_vectors(space_group_number)
        inverse = np.linalg.inv(vectors)
        rotations = np.rint(inverse @ rotations @ vectors).astype(int)
        translations = np.rint(translations @ inverse.T * 24) % 24 / 24
    texts = (
        ",".join(_affine_text(row, shift) for row, shift in zip(rotation, translation, strict=True))
        for rotation, translation in zip(rotations.tolist(), translations, strict=True)
    )
    return tuple(dict.fromkeys(texts))


def _affine_text(row: list[int], shift: float) -> str:
    terms = "".join(
        ("+" if factor > 0 else "-") + name
        for name, factor in zip("xyz", row, strict=True)
        if factor
    )
    # every translation of the standard settings is a multiple of 1/24
    numerator, denominator = round(shift * 24), 24
    if numerator:
        common = gcd(numerator, denominator)
        terms += f"+{numerator // common}/{denominator // common}"
    return terms.removeprefix("+")


def _coordinates(xyz: Float[np.ndarray, "3"]) -> str:
    return " ".join(f"{value:.10f}" for value in np.round(xyz, 10) % 1)


def _plus_zero(value: float) -> float:
    """Print -0.0 as 0.0."""
    return value + 0.0 if abs(value) > 5e-9 else 0.0
