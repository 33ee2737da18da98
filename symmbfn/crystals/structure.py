"""From a CIF or a pymatgen structure to the asymmetric unit of the standardised crystal."""

import math
import re
import warnings
from typing import Literal

import numpy as np
import spglib
import torch
from pymatgen.core import Structure
from pymatgen.io.cif import CifParser

from symmbfn._shapes import Float, Int
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.canonical import (
    Representative,
    arranged,
    canonical_form,
    move_onto_locus,
)
from symmbfn.crystals.lattice import lattice_constraints, metric_to_k
from symmbfn.crystals.symmetry import positions_of, symmetry_tables

__all__ = ["asymmetric_unit", "canonical_form", "check_structure", "parse_cif"]

MAX_CIF_CHARACTERS = 2_000_000
MAX_ATOMS = 2_000
MINIMUM_LENGTH = 0.5  # angstrom, of a cell edge
MINIMUM_VOLUME_PER_ATOM = 1.0  # cubic angstrom
MINIMUM_DISTANCE = 0.5  # angstrom, between two atoms
ANGLE_TOLERANCE = 5.0  # degrees
LOCUS_TOLERANCE = 0.02  # fractional, between a symmetrised site and its locus

_CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def parse_cif(text: str) -> Structure:
    """Read the first structure of a CIF.

    The text is checked before any parser sees it, since a degenerate cell can keep a parser
    busy for ever.

    Raises:
        ValueError: the text is no CIF of an ordered, finite, non-overlapping crystal; the
            message says what is wrong.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError("empty CIF")
    if len(text) > MAX_CIF_CHARACTERS:
        raise ValueError(f"CIF of {len(text)} characters, more than {MAX_CIF_CHARACTERS}")
    _check_cell([_cell_value(text, tag) for tag in _CELL_TAGS])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            structure = CifParser.from_str(text).parse_structures(primitive=False)[0]
    except Exception as error:  # the parser raises whatever its parts raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"unreadable CIF: {reason}") from error
    check_structure(structure)
    return structure


def check_structure(structure: Structure) -> None:
    """Refuse what is no ordered, finite, non-overlapping crystal of known elements.

    Raises:
        ValueError: says what is wrong.
    """
    n_atoms = len(structure)
    if not 1 <= n_atoms <= MAX_ATOMS:
        raise ValueError(f"{n_atoms} atoms, expected 1 to {MAX_ATOMS}")
    _check_cell(list(structure.lattice.parameters), n_atoms)
    if not structure.is_ordered:
        raise ValueError("disordered or partly occupied sites")
    for site in structure:
        if not 1 <= getattr(site.specie, "Z", 0) <= 118:
            raise ValueError(f"unknown element {site.specie}")
    if not np.isfinite(structure.frac_coords).all():
        raise ValueError("coordinates that are not finite")
    distances = structure.distance_matrix + np.diag(np.full(n_atoms, np.inf))
    if distances.min() < MINIMUM_DISTANCE:
        raise ValueError(
            f"overlapping sites: {distances.min():.3f} angstrom apart, less than {MINIMUM_DISTANCE}"
        )


def asymmetric_unit(
    structure: Structure,
    *,
    symprec: float = 0.1,
    form: Literal["canonical", "raw"] = "canonical",
    representative: Representative = "locus",
    identifier: str = "",
) -> AsymmetricUnit:
    """Standardise a crystal and keep one site per Wyckoff orbit.

    Args:
        structure: any cell of the crystal.
        symprec: distance tolerance of the symmetry search, angstrom.
        form: "canonical" picks one setting among those the Euclidean normaliser relates;
            "raw" keeps the one the symmetry search happened to find.
        representative: which orbit member stands for an orbit, see `representative_of`.
        identifier: name carried along.

    Raises:
        ValueError: the structure is refused by `check_structure`, or its symmetry could not
            be determined consistently.

    Source: method 1.2-1.5.
    """
    check_structure(structure)
    cell = (
        structure.lattice.matrix,
        structure.frac_coords,
        [site.specie.Z for site in structure],
    )
    dataset = _symmetry_dataset(cell, symprec)
    positions, coords, atomic_numbers = _orbits(dataset)
    unit = AsymmetricUnit(
        space_group_number=int(dataset.number),
        lattice_k=_lattice_k(np.asarray(dataset.std_lattice), int(dataset.number)),
        atomic_numbers=atomic_numbers,
        wyckoff_positions=positions,
        fractional_coords=coords,
        identifier=identifier,
    )
    return (canonical_form if form == "canonical" else arranged)(unit, representative)


def _cell_value(text: str, tag: str) -> float:
    match = re.search(rf"^\s*_cell_{tag}[ \t]+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    if match is None:
        raise ValueError(f"unreadable CIF: no _cell_{tag}")
    number = match[1].split("(")[0].strip("'\"")
    try:
        return float(number)
    except ValueError:
        raise ValueError(f"unreadable CIF: _cell_{tag} is {match[1]!r}") from None


def _check_cell(parameters: list[float], n_atoms: int = 1) -> None:
    if not all(map(math.isfinite, parameters)):
        raise ValueError(f"cell parameters are not finite: {parameters}")
    lengths, angles = parameters[:3], parameters[3:]
    if min(lengths) < MINIMUM_LENGTH or not all(0 < angle < 180 for angle in angles):
        raise ValueError(f"impossible cell parameters {parameters}")
    cos = [math.cos(math.radians(angle)) for angle in angles]
    square = 1 - sum(c * c for c in cos) + 2 * math.prod(cos)
    volume = math.prod(lengths) * math.sqrt(max(square, 0))
    if volume < MINIMUM_VOLUME_PER_ATOM * n_atoms:
        raise ValueError(f"cell volume {volume:.3g} cubic angstrom for {n_atoms} atoms")


def _symmetry_dataset(cell: tuple, symprec: float):
    halls = symmetry_tables().hall_number
    dataset = _spglib_dataset(cell, symprec, 0)
    wanted = int(halls[dataset.number - 1])
    if dataset.hall_number != wanted:
        dataset = _spglib_dataset(cell, symprec, wanted)
    return dataset


def _spglib_dataset(cell: tuple, symprec: float, hall_number: int):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = spglib.get_symmetry_dataset(
                cell, symprec=symprec, angle_tolerance=ANGLE_TOLERANCE, hall_number=hall_number
            )
    except Exception as error:  # newer releases raise where older ones return None
        raise ValueError(f"symmetry search failed at symprec {symprec}: {error}") from error
    if dataset is None:
        raise ValueError(f"symmetry search failed at symprec {symprec}")
    return dataset


def _orbits(
    dataset,
) -> tuple[Int[np.ndarray, "D"], Float[np.ndarray, "D 3"], Int[np.ndarray, "D"]]:
    """Take one site of each orbit of the standardised cell, moved onto its locus."""
    input_of_primitive = np.zeros(max(dataset.mapping_to_primitive) + 1, dtype=np.int64)
    input_of_primitive[dataset.mapping_to_primitive] = np.arange(len(dataset.wyckoffs))
    input_atom = input_of_primitive[dataset.std_mapping_to_primitive]
    orbit = np.asarray(dataset.crystallographic_orbits)[input_atom]
    _, first, size = np.unique(orbit, return_index=True, return_counts=True)
    sites = [
        _identify(dataset.number, dataset.wyckoffs[input_atom[atom]], int(n), position)
        for atom, n, position in zip(first, size, dataset.std_positions[first], strict=True)
    ]
    positions, coords = zip(*sites, strict=True)
    atomic_numbers = np.asarray(dataset.std_types)[first].astype(np.int64)
    return np.array(positions), np.array(coords), atomic_numbers


def _identify(
    number: int, letter: str, orbit_size: int, coords: Float[np.ndarray, "3"]
) -> tuple[int, Float[np.ndarray, "3"]]:
    """Find the Wyckoff position of a site, trying the reported letter first."""
    tables, rows = symmetry_tables(), positions_of(number)
    candidates = np.flatnonzero(tables.multiplicity[rows] == orbit_size)
    candidates = sorted(candidates, key=lambda row: tables.letter[rows][row] != letter)
    residual = np.inf
    for position in candidates:
        point, residual = move_onto_locus(number, int(position), coords)
        if residual < LOCUS_TOLERANCE:
            return int(position), point
    raise ValueError(
        f"an orbit of {orbit_size} atoms fits no Wyckoff position of space group {number}"
    )


def _lattice_k(lattice_matrix: Float[np.ndarray, "3 3"], number: int) -> Float[np.ndarray, "6"]:
    matrix = torch.from_numpy(np.ascontiguousarray(lattice_matrix, dtype=np.float64))
    free, fixed = lattice_constraints(torch.tensor(number))
    return torch.where(free, metric_to_k(matrix @ matrix.mT), fixed).numpy()
