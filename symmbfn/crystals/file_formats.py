"""Text of a crystal as CIF and as POSCAR."""

import re
from collections import Counter
from functools import cache
from math import gcd

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.lattice import cell_parameters
from symmbfn.crystals.symmetry import operations_of, symmetry_tables

SITE_COLUMNS = (
    "label",
    "type_symbol",
    "symmetry_multiplicity",
    "Wyckoff_symbol",
    "fract_x",
    "fract_y",
    "fract_z",
    "occupancy",
)


def poscar_text(crystal: Crystal, primitive: bool = False) -> str:
    """Return what `Crystal.to_poscar` describes."""
    lattice, numbers, coords = crystal.arrays(primitive)
    elements = list(dict.fromkeys(numbers.tolist()))
    number = crystal.group_of_sites
    lines = [f"{crystal.formula} {hermann_mauguin_symbol(number)} ({number})", "1.0"]
    lines += [" ".join(f"{_plus_zero(value):14.8f}" for value in row) for row in lattice]
    lines.append(" ".join(SYMBOLS[element] for element in elements))
    lines.append(" ".join(str(int((numbers == element).sum())) for element in elements))
    lines.append("Direct")
    for element in elements:
        for xyz in coords[numbers == element]:
            lines.append(f"{_coordinates(xyz)} {SYMBOLS[element]}")
    return "\n".join(lines) + "\n"


def cif_text(crystal: Crystal, primitive: bool = False) -> str:
    """Return what `Crystal.to_cif` describes."""
    number = crystal.group_of_sites
    vectors = primitive_vectors(number) if primitive else np.eye(3)
    n_copies = round(1 / np.linalg.det(vectors))
    lattice = vectors.T @ crystal.arrays()[0]
    lines = [f"data_{crystal.formula}", *_cell_lines(lattice)]
    lines += [
        f"_cell_volume {crystal.volume / n_copies:.8f}",
        f"_chemical_formula_sum '{_formula_sum(crystal.atomic_numbers, n_copies)}'",
    ]
    if n_copies == 1:
        lines.append(f"_symmetry_space_group_name_H-M '{hermann_mauguin_symbol(number)}'")
    lines += [
        f"_symmetry_Int_Tables_number {number}",
        "loop_",
        "_symmetry_equiv_pos_site_id",
        "_symmetry_equiv_pos_as_xyz",
    ]
    operations = operation_texts(number, primitive)
    lines += [f"{i} '{text}'" for i, text in enumerate(operations, start=1)]
    lines += ["loop_", *(f"_atom_site_{name}" for name in SITE_COLUMNS)]
    lines += _site_lines(crystal, vectors)
    return "\n".join(lines) + "\n"


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


def _cell_lines(lattice: Float[np.ndarray, "3 3"]) -> list[str]:
    names = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
    parameters = cell_parameters(lattice)
    return [f"_cell_{name} {value:.8f}" for name, value in zip(names, parameters, strict=True)]


def _site_lines(crystal: Crystal, vectors: Float[np.ndarray, "3 3"]) -> list[str]:
    """One line for each orbit, in the basis of the given vectors of the conventional cell."""
    first = np.unique(crystal.orbit, return_index=True)[1]
    coords = crystal.fractional_coords[first] @ np.linalg.inv(vectors).T
    multiplicities = np.bincount(crystal.orbit) // round(1 / np.linalg.det(vectors))
    seen: Counter[str] = Counter()
    lines = []
    for site, atom in enumerate(first):
        element = SYMBOLS[crystal.atomic_numbers[atom]]
        seen[element] += 1
        lines.append(
            f"{element}{seen[element]} {element} {multiplicities[site]} {crystal.letters[site]} "
            f"{_coordinates(coords[site])} 1"
        )
    return lines


def hermann_mauguin_symbol(space_group_number: int) -> str:
    """The Hermann-Mauguin symbol with its parts spaced: "F m -3 m"."""
    short = str(symmetry_tables().hermann_mauguin[space_group_number - 1])
    parts = re.findall(r"-?\d(?:_\d)?(?:/[a-z])?|[A-Za-z]", short)
    return " ".join(parts).replace("_", "")


def _formula_sum(atomic_numbers: Int[np.ndarray, "A"], n_copies: int) -> str:
    counts = Counter(SYMBOLS[number] for number in atomic_numbers.tolist())
    return " ".join(f"{symbol}{counts[symbol] // n_copies}" for symbol in sorted(counts))


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
