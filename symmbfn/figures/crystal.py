"""The unit cell of a crystal with its atoms, drawn with matplotlib or as SVG."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from markupsafe import Markup

from symmbfn._shapes import Float, Int
from symmbfn.crystals.elements import COVALENT_RADIUS, SYMBOLS
from symmbfn.figures.rendering import render_figure

ATOM_SCALE = 0.5  # of the covalent radius: bonds stay open, cells stay legible
ON_FACE = 0.01  # fractional: an atom this close to a face is drawn on the opposite one as well
AZIMUTH, ELEVATION = 25.0, 14.0  # degrees: viewing direction, from a towards b and upwards
TALL = 1.6  # ratio of height to width above which a cell is turned on its side
SAMPLES = 96  # points along an edge that are tested for being hidden by an atom
EDGE_COLOUR = "#3a3f47"
RINGS = 16  # discs, each smaller and lighter than the one before, that shade a ball

_CORNERS = np.array([[i, j, k] for i in (0.0, 1.0) for j in (0.0, 1.0) for k in (0.0, 1.0)])
_EDGES = np.array([(p, q) for p in range(8) for q in range(p) if (p ^ q) in (1, 2, 4)])

Cell = tuple[Float[np.ndarray, "3 3"], Int[np.ndarray, "A"], Float[np.ndarray, "A 3"]]


@dataclass(frozen=True)
class Scene:
    """The projection of a cell on the plane of the picture, in angstrom, y upwards.

    Args:
        atomic_numbers: of the atoms, the farthest from the viewer first, shape (A,).
        centres: shape (A, 2).
        radii: shape (A,).
        edges: ends of the visible pieces of the cell's edges, shape (E, 2, 2).
    """

    atomic_numbers: Int[np.ndarray, "A"]
    centres: Float[np.ndarray, "A 2"]
    radii: Float[np.ndarray, "A"]
    edges: Float[np.ndarray, "E 2 2"]

    @property
    def bounds(self) -> tuple[Float[np.ndarray, "2"], Float[np.ndarray, "2"]]:
        """Lower left and upper right corner of atoms and edges."""
        low = np.vstack([self.centres - self.radii[:, None], self.edges.reshape(-1, 2)])
        high = np.vstack([self.centres + self.radii[:, None], self.edges.reshape(-1, 2)])
        return low.min(0), high.max(0)


def cell_of(structure: Any) -> Cell:
    """Lattice matrix, atomic numbers and fractional coordinates in [0, 1) of a structure.

    Args:
        structure: a Crystal, a pymatgen Structure or ASE Atoms.

    Raises:
        ValueError: anything else, or a record without structure.
    """
    if hasattr(structure, "get_scaled_positions"):
        cell = structure.cell.array, structure.numbers, structure.get_scaled_positions()
    elif hasattr(structure, "frac_coords"):
        numbers = np.array(structure.atomic_numbers)
        cell = structure.lattice.matrix, numbers, structure.frac_coords
    elif getattr(structure, "lattice_matrix", None) is not None:
        cell = structure.lattice_matrix, structure.atomic_numbers, structure.fractional_coords
    else:
        raise ValueError(f"no structure to draw in {type(structure).__name__} {structure!r:.60}")
    lattice, numbers, coords = cell
    return np.asarray(lattice), np.asarray(numbers, dtype=np.int64), np.round(coords, 9) % 1


def posed(
    structure: Any,
) -> tuple[Int[np.ndarray, "A"], Float[np.ndarray, "A 3"], Float[np.ndarray, "3 3"]]:
    """Rotate a structure for a picture: x to the right, y upwards, z towards the viewer.

    c points upwards, b to the right, a towards the viewer; a tall cell is turned on its side.

    Returns:
        Atomic numbers and positions in angstrom of the atoms of the cell, those on its faces on
        both sides, and the lattice matrix.
    """
    lattice, numbers, coords = cell_of(structure)
    numbers, coords = with_faces(numbers, coords)
    lattice = lattice @ _camera().T
    corners = _CORNERS @ lattice
    width, height = np.ptp(corners[:, :2], axis=0)
    if height > TALL * width:
        lattice = lattice @ np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    return numbers, coords @ lattice, lattice


def scene(structure: Any) -> Scene:
    """Project the cell of a structure; see `posed` for the direction."""
    numbers, atoms, lattice = posed(structure)
    radii = ATOM_SCALE * COVALENT_RADIUS[numbers]
    order = np.argsort(atoms[:, 2], kind="stable")
    ends = (_CORNERS @ lattice)[_EDGES]
    pieces = [_visible_pieces(start, end, atoms, radii) for start, end in ends]
    edges = np.array([piece for part in pieces for piece in part]).reshape(-1, 2, 2)
    return Scene(numbers[order], atoms[order, :2], radii[order], edges)


def with_faces(
    numbers: Int[np.ndarray, "A"], coords: Float[np.ndarray, "A 3"]
) -> tuple[Int[np.ndarray, "F"], Float[np.ndarray, "F 3"]]:
    """Add the copies of atoms on a face, an edge or a corner of the cell that lie opposite."""
    for axis in range(3):
        shift = np.eye(3)[axis]
        low, high = coords[:, axis] < ON_FACE, coords[:, axis] > 1 - ON_FACE
        numbers = np.concatenate([numbers, numbers[low], numbers[high]])
        coords = np.concatenate([coords, coords[low] + shift, coords[high] - shift])
    return numbers, coords


def element_colour(atomic_number: int) -> Float[np.ndarray, "3"]:
    """Red, green and blue in [0, 1], as Jmol colours elements."""
    from ase.data.colors import jmol_colors

    return np.array(jmol_colors[atomic_number] if atomic_number < len(jmol_colors) else [0.6] * 3)


def hex_colour(rgb: Float[np.ndarray, "3"]) -> str:
    """Write a colour as "#rrggbb"."""
    return "#" + "".join(f"{round(255 * float(value)):02x}" for value in np.clip(rgb, 0, 1))


@cache
def ball_shades(atomic_number: int) -> tuple[str, str, str]:
    """Light, middle and rim of a ball, as "#rrggbb"."""
    colour = element_colour(atomic_number)
    return hex_colour(0.35 * colour + 0.65), hex_colour(colour), hex_colour(0.55 * colour)


def draw_crystal(axes: Any, structure: Any) -> None:
    """Draw the cell of a structure into matplotlib axes, to scale, without a frame."""
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.colors import to_rgb

    view = scene(structure)
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=-1)
    discs, colours = [], []
    for number, centre, radius in zip(view.atomic_numbers, view.centres, view.radii, strict=True):
        light, middle, rim = (np.array(to_rgb(shade)) for shade in ball_shades(int(number)))
        discs.append(centre + 1.04 * radius * circle)
        colours.append(0.6 * rim)
        for ring in range(RINGS):
            s = ring / (RINGS - 1)
            discs.append(centre + radius * (s * np.array([-0.3, 0.33]) + (1 - 0.93 * s) * circle))
            shades = (rim, middle) if s < 0.5 else (middle, light)
            mix = 2 * s - (s >= 0.5)
            colours.append((1 - mix) * shades[0] + mix * shades[1])
    axes.add_collection(PolyCollection(discs, facecolors=colours, edgecolors="none", zorder=1))
    axes.add_collection(
        LineCollection(list(view.edges), colors=EDGE_COLOUR, linewidths=0.8, zorder=2)
    )
    low, high = view.bounds
    margin = 0.04 * (high - low).max()
    axes.set(xlim=(low[0] - margin, high[0] + margin), ylim=(low[1] - margin, high[1] + margin))
    axes.set_aspect("equal")
    axes.axis("off")


def svg(structure: Any, size: int, *, height: int | None = None) -> Markup:
    """Draw the cell of a structure as SVG; the page must hold its `svg_gradients`, too.

    Args:
        structure: see `cell_of`.
        size: width and height of the view box.
        height: in pixels, of a picture beside which the page has a description; None leaves the
            size to the page.
    """
    view = scene(structure)
    low, high = view.bounds
    scale = 0.94 * size / (high - low).max()
    middle = (low + high) / 2

    def place(points: np.ndarray) -> np.ndarray:
        return size / 2 + scale * (points - middle) * [1, -1]

    places = zip(view.atomic_numbers, place(view.centres), scale * view.radii, strict=True)
    return render_figure(
        "crystal.svg",
        size=size,
        height=height,
        balls=[(SYMBOLS[number], x, y, radius) for number, (x, y), radius in places],
        edges=place(view.edges),
        edge_colour=EDGE_COLOUR,
    )


def svg_gradients(atomic_numbers: set[int]) -> Markup:
    """Fills of the balls of elements, as an SVG without extent; a page needs it once."""
    shades = [
        (SYMBOLS[number], *ball_shades(number), hex_colour(0.3 * element_colour(number)))
        for number in sorted(atomic_numbers)
    ]
    return render_figure("gradients.svg", shades=shades)


def _camera() -> Float[np.ndarray, "3 3"]:
    """Unit vectors as rows: to the right, upwards, towards the viewer."""
    azimuth, elevation = np.deg2rad([AZIMUTH, ELEVATION])
    ground = np.array([np.cos(azimuth), np.sin(azimuth), 0.0])
    eye = np.cos(elevation) * ground + np.sin(elevation) * np.array([0.0, 0.0, 1.0])
    right = np.array([-np.sin(azimuth), np.cos(azimuth), 0.0])
    return np.stack([right, np.cross(eye, right), eye])


def _visible_pieces(
    start: Float[np.ndarray, "3"],
    end: Float[np.ndarray, "3"],
    atoms: Float[np.ndarray, "A 3"],
    radii: Float[np.ndarray, "A"],
) -> list[Float[np.ndarray, "2 2"]]:
    """The pieces of an edge that no atom hides, as their two ends in the picture."""
    s = (np.arange(SAMPLES) + 0.5) / SAMPLES
    points = start + s[:, None] * (end - start)
    gap = radii**2 - np.square(points[:, None, :2] - atoms[:, :2]).sum(-1)
    front = atoms[:, 2] + np.sqrt(np.clip(gap, 0, None))
    is_hidden = ((gap > 0) & (points[:, None, 2] < front)).any(1)
    is_seen = np.concatenate([[False], ~is_hidden, [False]])
    turns = np.flatnonzero(is_seen[1:] != is_seen[:-1]) / SAMPLES
    return [
        np.stack([start + a * (end - start), start + b * (end - start)])[:, :2]
        for a, b in zip(turns[::2], turns[1::2], strict=True)
    ]
