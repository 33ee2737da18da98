"""A drawn crystal keeps its distances, hides what lies behind, and shows faces from both sides."""

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest

from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.figures.crystal import (
    ATOM_SCALE,
    cell_of,
    draw_crystal,
    posed,
    scene,
    svg,
    svg_gradients,
    with_faces,
)
from tests.models import batch

CRYSTALS = reconstruct(batch())
SALT = CRYSTALS[0]


def test_pymatgen_ase_and_our_own_crystals_are_one_cell() -> None:
    for crystal in CRYSTALS[:8]:
        lattice, numbers, coords = cell_of(crystal)
        for other in (crystal.to_pymatgen(), crystal.to_ase()):
            theirs = cell_of(other)
            assert np.allclose(theirs[0], lattice)
            assert np.array_equal(theirs[1], numbers)
            assert np.allclose(theirs[2], coords, atol=1e-8)
    for nothing in (3, Crystal.failed(0, 0, "reconstruction_failed", "no letter", 1)):
        with pytest.raises(ValueError, match="no structure"):
            cell_of(nothing)


def test_atoms_on_faces_are_on_both() -> None:
    # rock salt: 8 corners, 6 faces of one kind; 12 edges and the centre of the other
    numbers, coords = with_faces(SALT.atomic_numbers, SALT.fractional_coords)
    assert sorted(numbers.tolist()) == [11] * 14 + [17] * 13
    assert len(np.unique(np.round(coords, 6), axis=0)) == 27
    inside = np.array([[0.3, 0.4, 0.5]])
    assert len(with_faces(np.array([6]), inside)[0]) == 1


def test_turning_keeps_every_distance() -> None:
    for crystal in CRYSTALS:
        _, atoms, lattice = posed(crystal)
        assert np.allclose(lattice @ lattice.T, crystal.lattice_matrix @ crystal.lattice_matrix.T)
        assert np.linalg.det(lattice) == pytest.approx(crystal.volume), "no mirror image"
        first = crystal.fractional_coords[0] % 1 @ lattice
        assert np.linalg.norm(atoms - first, axis=1).min() < 1e-6


def test_a_tall_cell_lies_down() -> None:
    tall = replace(SALT, lattice_matrix=SALT.lattice_matrix * [[1], [1], [4]])
    width, height = np.ptp(posed(tall)[1][:, :2], axis=0)
    assert width > height


def test_near_atoms_are_painted_last_and_hide_edges() -> None:
    numbers, atoms, lattice = posed(SALT)
    view = scene(SALT)
    by_depth = atoms[np.argsort(atoms[:, 2], kind="stable")]
    assert np.allclose(view.centres, by_depth[:, :2])
    # no visible piece runs through the ball that lies nearest to the eye
    nearest, radius = view.centres[-1], view.radii[-1]
    for start, end in view.edges:
        points = start + np.linspace(0.02, 0.98, 50)[:, None] * (end - start)
        assert np.linalg.norm(points - nearest, axis=1).min() > 0.9 * radius
    # without atoms in the way the twelve edges are whole
    tiny = replace(SALT, atomic_numbers=np.zeros_like(SALT.atomic_numbers))
    lengths = np.linalg.norm(np.diff(scene(tiny).edges, axis=1), axis=-1)
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]) @ lattice
    whole = 4 * np.linalg.norm((corners[1:] - corners[0])[:, :2], axis=1).sum()
    assert lengths.sum() == pytest.approx(whole, rel=1e-6)
    hidden = np.linalg.norm(np.diff(view.edges, axis=1), axis=-1).sum()
    assert hidden < 0.8 * whole


def test_svg_is_whole_and_inside_its_box() -> None:
    for crystal in CRYSTALS:
        picture = ElementTree.fromstring(svg(crystal, 100))
        circles = [node.attrib for node in picture if node.tag == "circle"]
        assert len(circles) == len(with_faces(*cell_of(crystal)[1:])[0])
        for circle in circles:
            x, y, r = (float(circle[name]) for name in ("cx", "cy", "r"))
            assert min(x - r, y - r) >= 0 and max(x + r, y + r) <= 100
        fills = {circle["fill"] for circle in circles}
        text = svg_gradients({int(number) for number in crystal.atomic_numbers})
        made = {f"url(#{node.attrib['id']})" for node in ElementTree.fromstring(text)[0]}
        assert fills == made


def test_svg_is_not_upside_down() -> None:
    """y of a scene points upwards, y of SVG downwards."""
    for crystal in CRYSTALS:
        picture = ElementTree.fromstring(svg(crystal, 100))
        drawn = np.array([float(node.attrib["cy"]) for node in picture if node.tag == "circle"])
        heights = scene(crystal).centres[:, 1]
        low, high = np.argmin(heights), np.argmax(heights)
        assert heights[high] - heights[low] > 1 and drawn[high] < drawn[low]


def test_matplotlib_draws_to_scale() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 2))
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    draw_crystal(axes, SALT)
    canvas.draw()
    assert axes.get_aspect() == 1
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].reshape(-1, 3)
    # chlorine is green and sodium violet, and the paper is white
    is_green = (pixels[:, 1] > 150) & (pixels[:, 0] < 120) & (pixels[:, 2] < 120)
    is_violet = (pixels[:, 2] > 180) & (pixels[:, 1] < 140)
    assert is_green.mean() > 0.01 and is_violet.mean() > 0.01
    assert (pixels == 255).all(1).mean() > 0.3
    assert scene(SALT).radii.max() == pytest.approx(ATOM_SCALE * 1.66)
