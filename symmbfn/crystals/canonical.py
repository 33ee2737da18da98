"""The canonical form: which atom represents an orbit, and which setting a crystal is written in.

A space group leaves its setting open: the origin of Pnma can lie in eight places, and along a
polar axis anywhere. These choices form the Euclidean normaliser of the group. The canonical form
takes one of them by a rule that depends on the crystal alone, so that equal crystals are written
equally. A cell that happens to be more symmetric than its group has further settings with the same
metric; they take part as well (see `settings`). Where the normaliser holds a mirror, a crystal and
its mirror image have the same canonical form.
"""

from dataclasses import replace
from functools import cache
from typing import Literal

import numpy as np
import torch

from symmbfn._shapes import Float, Int
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, to_chart
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.crystals.settings import (
    EXACT,
    GENERIC,
    is_on_locus,
    moved_k,
    settings_of,
    special_cosets,
)
from symmbfn.crystals.symmetry import operations_of, orbit_of, symmetry_tables

Representative = Literal["locus", "centre"]

TIE = 1e-4
# a fixed vector without symmetry decides between orbit members equally far from the centre
CENTRE = np.array([0.5 + 1.0e-4, 0.5 + 1.7e-4, 0.5 + 2.3e-4])
# the point around which settings are compared; it lies on no symmetry element
BEACON = np.array([0.2713, 0.1837, 0.3971])
BEACON_CONCENTRATION = 1.0


def project_onto_locus(
    space_group_number: int,
    wyckoff_position: int,
    fractional_coords: Float[np.ndarray, "n 3"],
) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n"]]:
    """Project points onto the first locus of a Wyckoff position.

    The first operation u -> R u + t of a position is a projection with R R = R and R t = 0. So a
    point x lies on the locus, up to a lattice translation n, exactly when (I - R) x - t = n.

    Args:
        space_group_number: 1 to 230.
        wyckoff_position: index within the group, 0 is the general position.
        fractional_coords: n points, shape (n, 3).

    Returns:
        Points on the locus, shape (n, 3), not reduced to one cell; and the largest difference of a
        fractional coordinate from the locus, shape (n,).

    Raises:
        ValueError: the group has no such position.

    Source: book, method-eq-locus.
    """
    rotations, translations = orbit_of(space_group_number, wyckoff_position)
    rotation, translation = rotations[0], translations[0]
    offset = fractional_coords @ (np.eye(3) - rotation).T - translation
    cells = np.rint(offset)
    projected = (fractional_coords - cells) @ rotation.T + translation
    return projected, np.abs(offset - cells).max(axis=-1)


def move_onto_locus(
    space_group_number: int, wyckoff_position: int, fractional_coords: Float[np.ndarray, "3"]
) -> tuple[Float[np.ndarray, "3"], float]:
    """Replace a site by the equivalent point on the first locus of its position.

    Args:
        space_group_number: 1 to 230.
        wyckoff_position: index within the group, 0 is the general position.
        fractional_coords: of the site, shape (3,).

    Returns:
        The image of the site nearest to the locus, projected onto it, shape (3,); and the largest
        difference of a fractional coordinate from the locus.

    Raises:
        ValueError: the group has no such position.

    Source: book, method-representative.
    """
    rotations, translations = operations_of(space_group_number)
    images = rotations @ fractional_coords + translations
    projected, residual = project_onto_locus(space_group_number, wyckoff_position, images)
    best = int(residual.argmin())
    return projected[best], float(residual[best])


def representative_of(
    space_group_number: int,
    wyckoff_position: int,
    fractional_coords: Float[np.ndarray, "3"],
    rule: Representative = "locus",
) -> Float[np.ndarray, "3"]:
    """Choose the orbit member that stands for a site.

    Args:
        space_group_number: 1 to 230.
        wyckoff_position: index within the group.
        fractional_coords: a point on the representative locus.
        rule: "locus" keeps to members on the representative locus, and takes the one nearest
            the cell's centre, ties to the lexicographically smallest; "centre" takes the
            member nearest the centre wherever it lies.

    Returns:
        Coordinates in the chart [-0.06, 0.94), exactly on the locus of that member.

    Source: book, method-representative.
    """
    return representatives_of(space_group_number, wyckoff_position, fractional_coords[None], rule)[
        0
    ]


def representatives_of(
    space_group_number: int,
    wyckoff_position: int,
    fractional_coords: Float[np.ndarray, "n 3"],
    rule: Representative = "locus",
) -> Float[np.ndarray, "n 3"]:
    """Apply `representative_of` to many sites of one Wyckoff position.

    Args:
        space_group_number: 1 to 230.
        wyckoff_position: index within the group.
        fractional_coords: points on the first locus, shape (n, 3).
        rule: as in `representative_of`.

    Returns:
        Coordinates in the chart [-0.06, 0.94), shape (n, 3).

    Source: book, method-representative.
    """
    on_grid = to_chart(fractional_coords)
    snapped = project_onto_locus(space_group_number, wyckoff_position, on_grid)[0]
    is_centre = rule == "centre"
    rotations, translations = (orbit_of if is_centre else _siblings)(
        space_group_number, wyckoff_position
    )
    members = _wrap((rotations @ snapped[:, None, :, None])[..., 0] + translations)
    if is_centre:
        chosen = np.linalg.norm(members - CENTRE, axis=-1).argmin(axis=1)
    else:
        distance = np.linalg.norm(members - 0.5, axis=-1)
        alive = np.ones(distance.shape, dtype=bool)
        for column in (distance, *np.moveaxis(members, -1, 0)):
            least = np.where(alive, column, np.inf).min(axis=1, keepdims=True)
            alive &= column <= least + TIE
        chosen = alive.argmax(axis=1)
    return to_chart(members[np.arange(len(members)), chosen], tolerance=EXACT)


def canonical_form(
    unit: AsymmetricUnit, representative: Representative = "locus"
) -> AsymmetricUnit:
    """Rewrite a crystal in the one setting of its space group that a rule chooses.

    The settings are the cosets of the Euclidean normaliser. Along polar axes every shift is tried
    that puts an atom of the first orbit at 0; "first" means lowest atomic number, then earliest
    letter. The setting with the smallest sorted list of (atomic number, letter) wins. Ties go to
    the setting whose atoms lie closest around a fixed point, the beacon. This score is a continuous
    function of the coordinates and needs no tolerance, so noise hardly ever changes the choice.

    Args:
        unit: in any setting that has the tables' axes.
        representative: rule for the representatives, see `representative_of`.

    Returns:
        The same crystal, its sites sorted as in `arranged`.

    Source: book, method-canonical.
    """
    number = unit.space_group_number
    metric = k_to_metric(torch.from_numpy(unit.lattice_k)).numpy()
    settings = settings_of(number, special_cosets(number, metric))
    positions = np.asarray(unit.wyckoff_positions)
    located = np.array(
        [
            move_onto_locus(number, int(position), coords)[0]
            for position, coords in zip(positions, unit.fractional_coords, strict=True)
        ]
    )
    images = settings.image[:, positions]
    # letters count backwards from the last table row, which is a
    codes = np.asarray(unit.atomic_numbers) * 32 + (settings.image.shape[1] - 1 - images)
    sorted_codes = np.sort(codes, axis=1)
    smallest = min(map(tuple, sorted_codes))
    cosets = np.flatnonzero((sorted_codes == smallest).all(axis=1))

    coords = np.einsum("cdij,dj->cdi", settings.image_rotations[cosets][:, positions], located)
    coords += settings.image_translations[cosets][:, positions]
    cosets, coords = _shift_polar(number, codes, cosets, coords)
    chosen = _nearest_to_beacon(number, codes[cosets], images[cosets], coords)
    moved = replace(
        unit,
        lattice_k=moved_k(unit.lattice_k, metric, number, settings.rotations[cosets[chosen]]),
        wyckoff_positions=images[cosets[chosen]],
        fractional_coords=coords[chosen],
    )
    return arranged(moved, representative)


def arranged(unit: AsymmetricUnit, representative: Representative = "locus") -> AsymmetricUnit:
    """Choose the representatives and sort the sites, in the setting that the crystal has.

    Args:
        unit: sites on the first loci of their positions.
        representative: rule for the representatives, see `representative_of`.

    Returns:
        The crystal with its sites sorted: letter a first, then by atomic number, then by x, y, z.

    Source: book, method-canonical.
    """
    number = unit.space_group_number
    coords = np.array(
        [
            representative_of(number, int(position), x, representative)
            for position, x in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True)
        ]
    )
    order = np.lexsort((*coords.T[::-1], unit.atomic_numbers, -unit.wyckoff_positions))
    return replace(
        unit,
        atomic_numbers=np.asarray(unit.atomic_numbers)[order],
        wyckoff_positions=np.asarray(unit.wyckoff_positions)[order],
        fractional_coords=coords[order],
    )


def _shift_polar(
    number: int,
    codes: Int[np.ndarray, "cosets D"],
    cosets: Int[np.ndarray, "C"],
    coords: Float[np.ndarray, "C D 3"],
) -> tuple[Int[np.ndarray, "candidates"], Float[np.ndarray, "candidates D 3"]]:
    """Put each atom of the first orbit class at zero along the polar axes, in turn."""
    polar = symmetry_tables().polar_axes[number - 1]
    if not polar.any():
        return cosets, coords
    is_anchor = codes[cosets] == codes[cosets].min()
    row, site = is_anchor.nonzero()
    shifts = _polar_shifts(number)[:, None] - np.where(polar, coords[row, site], 0)
    candidates = coords[row] + shifts[:, :, None]
    return np.tile(cosets[row], len(shifts)), candidates.reshape(-1, *coords.shape[1:])


def _nearest_to_beacon(
    number: int,
    codes: Int[np.ndarray, "C D"],
    images: Int[np.ndarray, "C D"],
    coords: Float[np.ndarray, "C D 3"],
) -> int:
    """Return the candidate whose atoms lie closest around the beacon.

    An orbit with members x_m scores mean_m exp(sum_j kappa (cos 2 pi (x_mj - p_j) - 1)); the
    class of rank r, in the order of (atomic number, letter), counts with weight 1 / (1 + r).
    """
    if len(codes) == 1:
        return 0
    total = np.zeros(len(codes))
    for rank, code in enumerate(np.unique(codes[0])):
        row, site = (codes == code).nonzero()
        rotations, translations = orbit_of(number, int(images[row[0], site[0]]))
        members = np.einsum("mij,nj->nmi", rotations, coords[row, site]) + translations
        cosines = np.cos(2 * np.pi * (members - BEACON)).sum(axis=-1)
        score = np.exp(BEACON_CONCENTRATION * (cosines - 3)).mean(axis=-1)
        total += score.reshape(len(codes), -1).sum(axis=-1) / (1 + rank)
    return int(total.argmax())


def _wrap(coords: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
    """Map coordinates to [0, 1), with 1 - 1e-16 counted as 0."""
    wrapped = coords - np.floor(coords + EXACT)
    return np.maximum(wrapped, 0.0)


@cache
def _siblings(number: int, position: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the maps of the representative locus onto itself, to the orbit members on it."""
    rotations, translations = orbit_of(number, position)
    points = rotations @ (rotations[0] @ GENERIC + translations[0]) + translations
    is_hit = is_on_locus(rotations[0], translations[0], points)
    return rotations[is_hit], translations[is_hit]


@cache
def _polar_shifts(number: int) -> np.ndarray:
    """Return the distinct polar parts of the operations' translations, shape (K, 3)."""
    polar = symmetry_tables().polar_axes[number - 1]
    return np.unique(np.where(polar, operations_of(number)[1], 0), axis=0)
