"""From a CIF or a pymatgen structure to the asymmetric unit of the standardised crystal."""

import math
import re
import warnings
from contextlib import suppress
from typing import Any, Literal

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
    project_onto_locus,
)
from symmbfn.crystals.distances import MINIMUM_DISTANCE, GeometryError
from symmbfn.crystals.lattice import constrain_k, metric_to_k
from symmbfn.crystals.symmetry import operations_of, positions_of, symmetry_tables

__all__ = ["asymmetric_unit", "canonical_form", "check_structure", "parse_cif"]

MAX_CIF_CHARACTERS = 2_000_000
MAX_ATOMS = 2_000
ROUNDING = 2e-3  # fractional, by which images differ where coordinates have three digits
MINIMUM_LENGTH = 0.5  # angstrom, of a cell edge
MINIMUM_VOLUME_PER_ATOM = 1.0  # cubic angstrom
ANGLE_TOLERANCE = 5.0  # degrees
LOCUS_TOLERANCE = 0.3  # angstrom, between a site and the images that should meet there

_HEADER = re.compile(r"^[^\S\n]*data_", re.IGNORECASE | re.MULTILINE)
_CELL_OR_ATOMS = re.compile(r"(?:^|\s)_(?:cell_length|atom_site)_", re.IGNORECASE)
# what the parser says of sites that do not make up the formula of the file
_LACKS_ATOMS = re.compile(r"Missing elements .* from PMG structure|Incorrect stoichiometry")
_CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def parse_cif(text: str) -> Structure:
    """Read the one structure of a CIF.

    The text is checked before any parser sees it, since a degenerate cell can keep a parser
    busy for ever.

    Raises:
        ValueError: the text is no CIF of one ordered, finite, non-overlapping crystal, or its
            sites do not make up the formula it states; the message says what is wrong.
    """
    if not isinstance(text, str) or not text.strip():
        raise ValueError("empty CIF")
    if len(text) > MAX_CIF_CHARACTERS:
        raise ValueError(f"CIF of more than {MAX_CIF_CHARACTERS} characters")
    _check_blocks(text)
    _check_cell([_cell_value(text, tag) for tag in _CELL_TAGS])
    try:
        return _parsed(text)
    except GeometryError:
        # of few digits, the images of a special position miss each other
        with suppress(ValueError):
            return _parsed(text, site_tolerance=ROUNDING)
        raise


def _parsed(text: str, site_tolerance: float = 1e-4) -> Structure:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            parser = CifParser.from_str(text, site_tolerance=site_tolerance)
            structure = parser.parse_structures(primitive=False)[0]
        except Exception as error:  # the parser raises whatever its parts raise
            reasons = [str(error) or type(error).__name__, *(str(w.message) for w in caught)]
            raise ValueError(f"unreadable CIF: {' '.join('; '.join(reasons).split())}") from error
    check_structure(structure)
    for reason in (str(warning.message) for warning in caught):
        if _LACKS_ATOMS.match(reason):
            raise ValueError(f"sites do not make up the formula: {' '.join(reason.split())}")
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
        raise GeometryError("coordinates that are not finite")
    distances = structure.distance_matrix + np.diag(np.full(n_atoms, np.inf))
    if distances.min() < MINIMUM_DISTANCE:
        raise GeometryError(
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

    Source: book, method-asymmetric-unit.
    """
    check_structure(structure)
    cell = (
        structure.lattice.matrix,
        structure.frac_coords,
        [site.specie.Z for site in structure],
    )
    dataset = _symmetry_dataset(cell, symprec)
    number = int(dataset.number)
    metric = _symmetrised_metric(dataset, structure.lattice.matrix)
    atomic_numbers, positions, coords = _symmetrised_orbits(dataset, cell, metric)
    unit = AsymmetricUnit(
        space_group_number=number,
        lattice_k=constrain_k(metric_to_k(torch.from_numpy(metric)), number).numpy(),
        atomic_numbers=atomic_numbers,
        wyckoff_positions=positions,
        fractional_coords=coords,
        identifier=identifier,
    )
    return (canonical_form if form == "canonical" else arranged)(unit, representative)


def _check_blocks(text: str) -> None:
    """Refuse a CIF of several structures, of which the parser would drop the broken ones.

    Blocks without cell and atoms, such as a publication's, are no structures.
    """
    n_structures = sum(bool(_CELL_OR_ATOMS.search(block)) for block in _HEADER.split(text))
    if n_structures == 0:
        start = text.strip().splitlines()[0][:80]
        raise ValueError(f"unreadable CIF: no cell and no atoms, it begins {start!r}")
    if n_structures > 1:
        raise ValueError(f"CIF of {n_structures} structures, expected one")


def _cell_value(text: str, tag: str) -> float:
    match = re.search(rf"^[^\S\n]*_cell_{tag}[ \t]+(\S+)", text, re.IGNORECASE | re.MULTILINE)
    if match is None:
        raise ValueError(f"unreadable CIF: no _cell_{tag}")
    number = match[1].split("(")[0].strip("'\"")
    try:
        return float(number)
    except ValueError:
        raise ValueError(f"unreadable CIF: _cell_{tag} is {match[1]!r}") from None


def _check_cell(parameters: list[float], n_atoms: int = 1) -> None:
    if not all(map(math.isfinite, parameters)):
        raise GeometryError(f"cell parameters are not finite: {parameters}")
    lengths, angles = parameters[:3], parameters[3:]
    if min(lengths) < MINIMUM_LENGTH or not all(0 < angle < 180 for angle in angles):
        raise GeometryError(f"impossible cell parameters {parameters}")
    cos = [math.cos(math.radians(angle)) for angle in angles]
    square = 1 - sum(c * c for c in cos) + 2 * math.prod(cos)
    volume = math.prod(lengths) * math.sqrt(max(square, 0))
    if volume < MINIMUM_VOLUME_PER_ATOM * n_atoms:
        raise GeometryError(f"cell volume {volume:.3g} cubic angstrom for {n_atoms} atoms")


def _symmetry_dataset(cell: tuple, symprec: float) -> Any:
    halls = symmetry_tables().hall_number
    dataset = _spglib_dataset(cell, symprec, 0)
    wanted = int(halls[dataset.number - 1])
    if dataset.hall_number != wanted:
        dataset = _spglib_dataset(cell, symprec, wanted)
    return dataset


def _spglib_dataset(cell: tuple, symprec: float, hall_number: int) -> Any:
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


def _symmetrised_metric(
    dataset: Any, lattice_matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the metric of the standard cell, averaged over the point group."""
    standard = np.linalg.inv(dataset.transformation_matrix).T @ lattice_matrix
    rotations = operations_of(int(dataset.number))[0].astype(np.float64)
    return (rotations.mT @ (standard @ standard.T) @ rotations).mean(axis=0)


def _symmetrised_orbits(
    dataset: Any, cell: tuple, metric: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, "D"], Int[np.ndarray, "D"], Float[np.ndarray, "D 3"]]:
    """Take one site of each orbit in the standard setting, averaged over the whole orbit.

    The search finds the origin from single operations, so it is off by as much as the
    tolerance; images of all atoms under all operations average to the symmetric crystal
    nearest to the input whichever atom comes first.
    """
    atoms = cell[1] @ dataset.transformation_matrix.T + dataset.origin_shift
    cells_per_standard = len(dataset.std_types) / len(atoms)
    sites = []
    for orbit in np.unique(dataset.crystallographic_orbits):
        members = np.flatnonzero(dataset.crystallographic_orbits == orbit)
        position, coords = _symmetrised_site(
            int(dataset.number),
            dataset.wyckoffs[members[0]],
            round(len(members) * cells_per_standard),
            atoms[members],
            metric,
        )
        sites.append((int(cell[2][members[0]]), position, coords))
    atomic_numbers, positions, points = zip(*sites, strict=True)
    return np.array(atomic_numbers), np.array(positions), np.array(points)


def _symmetrised_site(
    number: int,
    letter: str,
    multiplicity: int,
    atoms: Float[np.ndarray, "k 3"],
    metric: Float[np.ndarray, "3 3"],
) -> tuple[int, Float[np.ndarray, "3"]]:
    """Find the Wyckoff position of an orbit, and its average site on the locus."""
    tables, rows = symmetry_tables(), positions_of(number)
    rotations, translations = operations_of(number)
    images = (rotations[:, None] @ atoms[None, :, :, None])[..., 0] + translations[:, None]
    images = images.reshape(-1, 3)
    n_coinciding = len(images) // multiplicity
    # the reported letter comes first; others are for settings in which letters are permuted
    candidates = np.flatnonzero(tables.multiplicity[rows] == multiplicity)
    for position in sorted(candidates, key=lambda w: tables.letter[rows][w] != letter):
        start, _ = move_onto_locus(number, int(position), atoms[0])
        steps = images - start
        steps -= np.rint(steps)
        distances = np.sqrt(np.einsum("ni,ij,nj->n", steps, metric, steps))
        nearest = np.argsort(distances)[:n_coinciding]
        if distances[nearest[-1]] < LOCUS_TOLERANCE:
            average = start + steps[nearest].mean(axis=0)
            return int(position), project_onto_locus(number, int(position), average[None])[0][0]
    raise ValueError(
        f"an orbit of {multiplicity} atoms fits no Wyckoff position of space group {number}"
    )
