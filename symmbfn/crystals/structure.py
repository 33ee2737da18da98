"""From a CIF or a pymatgen structure to the asymmetric unit of the standardised crystal."""

import math
import warnings
from collections import Counter
from contextlib import suppress
from functools import cache
from os import PathLike
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from pymatgen.core import Element, IStructure, Lattice, Structure

from symmbfn._shapes import Float, Int
from symmbfn.crystals.asymmetric_unit import FORMS, REPRESENTATIVES, AsymmetricUnit
from symmbfn.crystals.canonical import (
    Representative,
    arranged,
    canonical_form,
    move_onto_locus,
    project_onto_locus,
)
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.cif.block import cell_parameters, read_block, read_text
from symmbfn.crystals.cif.formula import check_formula, stated_formula
from symmbfn.crystals.cif.sites import MAX_ATOMS, CifSites, images_of_sites, sites_of_cif
from symmbfn.crystals.cif.symmetry import operations_of_cif
from symmbfn.crystals.distances import MINIMUM_DISTANCE, GeometryError
from symmbfn.crystals.group_operations import GroupOperations
from symmbfn.crystals.lattice import constrain_k, metric_to_k
from symmbfn.crystals.symmetry import operations_of, positions_of, symmetry_tables
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.runtime.checks import one_of, real_number

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["asymmetric_unit", "canonical_form", "check_structure", "parse_cif"]

EXACT = 1e-4  # fractional, by which images of a special position differ
ROUNDING = 2e-3  # fractional, by which they differ where coordinates have three digits
MINIMUM_LENGTH = 0.5  # angstrom, of a cell edge
MINIMUM_VOLUME_PER_ATOM = 1.0  # cubic angstrom
LOCUS_TOLERANCE = 0.3  # angstrom, between a site and the images that should meet there


def parse_cif(source: str | bytes | PathLike[str] | IO[Any]) -> Structure:
    """Read the one structure of a CIF.

    What the file says of its symmetry must agree: operations come first, then the Hall symbol,
    the Hermann-Mauguin symbol, the number. A file that says nothing lists all its atoms. Elements
    come from the type symbols, without these from the labels; D and T are hydrogen.

    Args:
        source: the text of a CIF, its bytes, an open file, or the path of a file as a `Path`.

    Returns:
        The cell of the file with all its atoms, in order of electronegativity.

    Raises:
        ValueError: this is no CIF of one ordered, finite, non-overlapping crystal, its symmetry
            is left open or contradicts itself, a site is no whole atom of a known element, or
            the sites do not make up the formula; the message says what is wrong. A
            `GeometryError` carries the atoms that overlap.
    """
    block = read_block(read_text(source))
    parameters = cell_parameters(block)
    _check_cell(parameters)
    lattice = Lattice.from_parameters(*parameters)
    operations = operations_of_cif(block, lattice.matrix)
    formula = stated_formula(block)
    sites = sites_of_cif(block, formula)
    try:
        return _filled(lattice, sites, operations, formula, EXACT)
    except GeometryError as error:
        # of few digits, the images of a special position miss each other
        with suppress(ValueError):
            try:
                return _filled(lattice, sites, operations, formula, ROUNDING)
            except GeometryError as again:
                error.atoms = again.atoms
        raise


def _filled(
    lattice: Lattice,
    sites: CifSites,
    operations: GroupOperations,
    formula: dict[str, float],
    tolerance: float,
) -> Structure:
    """Fill the cell; images of a site that lie within the tolerance are one atom."""
    rows, coords = images_of_sites(sites, operations, tolerance)
    order = sorted(range(len(rows)), key=lambda i: _electronegativity(sites.symbols[rows[i]]))
    structure = Structure(
        lattice,
        [sites.symbols[rows[i]] for i in order],
        coords[order],
        labels=[sites.labels[rows[i]] for i in order],
    )
    try:
        check_structure(structure)
    except GeometryError as error:
        error.atoms = structure
        raise
    check_formula(formula, Counter(sites.symbols[row] for row in rows))
    return structure


def check_structure(structure: Structure) -> None:
    """Refuse what is no ordered, finite, non-overlapping crystal of known elements.

    Raises:
        ValueError: says what is wrong.
    """
    if not isinstance(structure, IStructure):
        raise ValueError(
            "expected a pymatgen Structure or ASE Atoms, such as parse_cif gives, "
            f"got {type(structure).__name__}"
        )
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
    structure: "Structure | Atoms",
    *,
    symprec: float = SYMPREC,
    form: Literal["canonical", "raw"] = "canonical",
    representative: Representative = "locus",
    identifier: str = "",
) -> AsymmetricUnit:
    """Standardise a crystal and keep one site per Wyckoff orbit.

    Args:
        structure: any cell of the crystal; ASE Atoms as well.
        symprec: distance tolerance of the symmetry search, angstrom, above 0.
        form: "canonical" picks one setting among those the Euclidean normaliser relates;
            "raw" keeps the one the symmetry search happened to find.
        representative: which orbit member stands for an orbit, see `representative_of`.
        identifier: name carried along.

    Raises:
        ValueError: an argument out of range, the structure is refused by `check_structure`, or
            its symmetry could not be determined consistently.

    Source: book, method-asymmetric-unit.
    """
    symprec = real_number("symprec", symprec, above=0.0)
    one_of("form", form, FORMS)
    one_of("representative", representative, REPRESENTATIVES)
    structure = _of_ase(structure)
    check_structure(structure)
    cell = Cell.from_pymatgen(structure)
    dataset = _symmetry_dataset(cell, symprec)
    number = int(dataset.number)
    metric = _symmetrised_metric(dataset, cell.lattice_matrix)
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


def _of_ase(structure: "Structure | Atoms") -> Structure:
    """The crystal of ASE Atoms, which may lack a cell; anything else as it is."""
    if isinstance(structure, IStructure) or not hasattr(structure, "get_scaled_positions"):
        return cast(Structure, structure)
    if structure.cell.rank < 3 or not structure.pbc.all():
        raise ValueError("ASE Atoms without three lattice vectors that all repeat")
    return Cell.from_ase(structure).to_pymatgen()


@cache
def _electronegativity(symbol: str) -> tuple[float, str]:
    """Rank of an element in pymatgen's order of sites; the light noble gases come last."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = float(Element(symbol).X)
    return (math.inf if math.isnan(x) else x, symbol)


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


def _symmetry_dataset(cell: Cell, symprec: float) -> Any:
    """What spglib finds, in the setting of our tables."""
    found = search_symmetry(cell, symprec)
    if found is not None:
        wanted = int(symmetry_tables().hall_number[found.number - 1])
        if found.hall_number != wanted:
            found = search_symmetry(cell, symprec, wanted)
    if found is None:
        raise ValueError(f"symmetry search failed at symprec {symprec}")
    return found


def _symmetrised_metric(
    dataset: Any, lattice_matrix: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "3 3"]:
    """Return the metric of the standard cell, averaged over the point group."""
    standard = np.linalg.inv(dataset.transformation_matrix).T @ lattice_matrix
    rotations = operations_of(int(dataset.number))[0].astype(np.float64)
    return (rotations.mT @ (standard @ standard.T) @ rotations).mean(axis=0)


def _symmetrised_orbits(
    dataset: Any, cell: Cell, metric: Float[np.ndarray, "3 3"]
) -> tuple[Int[np.ndarray, "D"], Int[np.ndarray, "D"], Float[np.ndarray, "D 3"]]:
    """Take one site of each orbit in the standard setting, averaged over the whole orbit.

    The search finds the origin from single operations, so it is off by as much as the
    tolerance; images of all atoms under all operations average to the symmetric crystal
    nearest to the input whichever atom comes first.
    """
    atoms = cell.fractional_coords @ dataset.transformation_matrix.T + dataset.origin_shift
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
        sites.append((int(cell.atomic_numbers[members[0]]), position, coords))
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
