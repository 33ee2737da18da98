"""Figures of the book: its style, crystals in 3-D, plotly figures, charts."""

import base64
import hashlib
import io
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.elements import COVALENT_RADIUS, SYMBOLS
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.figures.crystal import (
    ATOM_SCALE,
    EDGE_COLOUR,
    cell_of,
    draw_crystal,
    element_colour,
    hex_colour,
    posed,
    svg,
    svg_gradients,
)
from symmbfn.figures.rendering import render_figure

__all__ = [
    "COLOURS",
    "Figure",
    "crystal_view",
    "draw_crystal",
    "draw_loops",
    "formula_mathtext",
    "plotly_figure",
    "probability_map",
    "space_group_mathtext",
    "use_style",
]

EDGE_WIDTH = 0.003  # radius of the lines along a cell's edges, as a share of the picture's size
PLOTLY_HEIGHT = 420  # pixels
MOST_ROWS = 8  # classes that a map of probabilities shows
# Okabe and Ito 2008: told apart by colour-blind readers
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "sky": "#56B4E9",
    "pink": "#CC79A7",
    "black": "#000000",
}

# the chart of `draw_loops`, in inches: name -> (x, y, colour, text)
BOX = (1.16, 0.68)
BOXES = {
    "crystal": (0.62, 4.15, "green", "crystal\n$G, D$\n$k, x, a, S$"),
    "flow": (1.93, 4.15, "blue", "beliefs\n$\\theta \\sim p_F(\\cdot\\,; t)$\n$t \\sim U(0, 1)$"),
    "trained": (3.24, 4.15, "orange", "network\n$\\theta, t, G, D$"),
    "guessed": (4.55, 4.15, "blue", "estimates\n$\\hat k, \\hat x, p_a, p_S$"),
    "loss": (5.86, 4.15, "black", "loss\n$L_k + L_x$\n$+ L_a + L_S$"),
    "given": (0.62, 2.45, "green", "draw $G, D$\nas in the data"),
    "prior": (1.93, 2.45, "blue", "prior $\\theta_0$\nof $D$ sites"),
    "network": (3.24, 2.45, "orange", "network\n$\\theta_{i-1}, t_{i-1},$\n$G, D$"),
    "estimates": (4.55, 2.45, "blue", "estimates\n$\\hat k, \\hat x, p_a, p_S$"),
    "decode": (5.86, 2.45, "orange", "decode,\nproject,\nreplicate"),
    "update": (3.24, 1.25, "blue", "update\n$\\theta_i =$\n$h(\\theta_{i-1}, y, \\alpha_i)$"),
    "message": (4.55, 1.25, "black", "message $y$\naccuracy $\\alpha_i$"),
    "new": (5.86, 1.25, "green", "new crystal\nin group $G$"),
}
JOINED = (
    ("crystal", "flow", "trained", "guessed", "loss"),
    ("given", "prior", "network", "estimates", "decode", "new"),
    ("estimates", "message", "update", "network"),
)
LETTERS = """$k$ lattice, $x$ coordinates; $p_a$ and $p_S$ probabilities of classes
paper: $a$ an element for each site, $S$ its 15 axes
default: $a$ a list of slots for the crystal and a pointer for each site, $S$ a letter
for each site; the number of elements $M$ is drawn with $G$ and $D$"""


def use_style() -> None:
    """Use the book's style for all later matplotlib figures."""
    import matplotlib.pyplot as plt

    plt.style.use("symmbfn.figures.symmbfn")


class Figure:
    """A figure that a notebook shows in the form that fits: HTML on a page, PNG in print.

    Args:
        forms: MIME type -> content.
    """

    def __init__(self, forms: dict[str, Any]):
        self.forms = forms

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, Any]:
        return self.forms

    def __repr__(self) -> str:
        return self.forms["text/plain"]


def crystal_view(structure: Any, *, height: int = 340, zoom: float = 1.1, name: str = "") -> Figure:
    """Show a crystal that a reader can turn, on a static page, without a kernel or a network.

    The page brings 3Dmol.js. Until it is loaded, and in a browser without WebGL, a still picture
    of the same cell is shown. The HTML is the same for the same crystal.

    Args:
        structure: a Crystal, a pymatgen Structure or ASE Atoms; its cell is drawn.
        height: of the view in pixels.
        zoom: factor on the size that 3Dmol.js chooses.
        name: description for readers who do not see the picture; formula and number of atoms if
            empty.

    Raises:
        ValueError: `structure` holds no structure.
    """
    numbers, atoms, lattice = posed(structure)
    label = name or f"{_formula(structure)}, {len(cell_of(structure)[1])} atoms in the cell"
    symbols = [SYMBOLS[number] for number in numbers.tolist()]
    data = {
        "atoms": [[symbol, *row] for symbol, row in zip(symbols, rounded(atoms), strict=True)],
        "lattice": rounded(lattice),
        "edge": round(EDGE_WIDTH * float(np.ptp(atoms, axis=0).max() + 2), 4),
        "balls": balls(numbers),
    }
    html = render_figure(
        "crystal_view.html",
        key=_key("crystal", json.dumps(data, separators=(",", ":")) + label),
        label=label,
        height=height,
        zoom=zoom,
        gradients=svg_gradients(set(numbers.tolist())),
        picture=svg(structure, 320, height=height),
        data=data,
        edge_colour=EDGE_COLOUR,
    )
    return Figure(
        {"text/html": str(html), "image/png": _png(structure), "text/plain": f"<{label}>"}
    )


def plotly_figure(figure: Any, *, name: str = "plotly figure") -> Figure:
    """Show a plotly figure in the book's colours, on a static page, without a network.

    The book's pages bring plotly.js; a live notebook shows plotly's own form.

    Args:
        figure: a plotly Figure; it is not changed.
        name: description for readers who do not see the figure.
    """
    import plotly.graph_objects as go

    styled = go.Figure(figure).update_layout(
        template="plotly_white", colorway=list(COLOURS.values()), height=PLOTLY_HEIGHT
    )
    text = styled.to_json()
    content = json.loads(text)
    html = render_figure(
        "plotly_figure.html",
        key=_key("plotly", text),
        name=name,
        height=PLOTLY_HEIGHT,
        figure=content,
    )
    return Figure(
        {
            "text/html": str(html),
            "application/vnd.plotly.v1+json": content,
            "text/plain": f"<{name}>",
        }
    )


def draw_loops(axes: Any) -> None:
    """Draw how training and sampling meet in the network, as boxes and arrows.

    Args:
        axes: matplotlib axes of 6.5 by 5 inches; lettering that large fits the boxes.

    Source: Fig. 2: redrawn; ours: D and the meaning of the letters under the chart.
    """
    from matplotlib.patches import FancyBboxPatch

    (width, height), round_corner = BOX, "round,pad=0,rounding_size=0.08"
    for x, y, name, text in BOXES.values():
        colour = COLOURS[name]
        corner = x - width / 2, y - height / 2
        box = FancyBboxPatch(corner, width, height, boxstyle=round_corner)
        box.set(facecolor=f"{colour}1c", edgecolor=colour)
        axes.add_patch(box)
        axes.text(x, y, text, ha="center", va="center", size=8.5)
    for names in JOINED:
        for start, end in pairwise(np.array(BOXES[name][:2]) for name in names):
            reach = np.sign(end - start) * BOX / 2
            _arrow(axes, start + reach, end - reach)
    (left, top), (right, _) = BOXES["crystal"][:2], BOXES["loss"][:2]
    low = top - height / 2 - 0.25
    axes.plot([left, left, right], [top - height / 2, low, low], color=COLOURS["green"], lw=1)
    _arrow(axes, (right, low), (right, top - height / 2), COLOURS["green"])
    axes.text((left + right) / 2, low - 0.16, "the data, to compare with", ha="center", size=8.5)
    axes.text(3.9, 1.85, "$i = 1 \\ldots n$", ha="center", va="center", size=8.5)
    axes.text(5.2, 3.0, "after step $n$", ha="center", va="center", size=8.5)
    for y, title in ((4.72, "Training"), (3.0, "Sampling")):
        axes.text(0.04, y, title, weight="bold", va="center")
    axes.text(0.04, 0.75, LETTERS, va="top", size=8.5, linespacing=1.5)
    axes.set(xlim=(0, 6.5), ylim=(-0.1, 4.9))
    axes.axis("off")


def probability_map(
    axes: Any, probabilities: Float[np.ndarray, "T K"], names: Sequence[str]
) -> None:
    """Show probabilities of classes over time: time to the right, a row for each class.

    White is 0 and dark blue is 1. At most eight classes are shown: those whose largest
    probability over time is highest.

    Args:
        axes: of matplotlib.
        probabilities: of K classes at T times, shape (T, K); each row sums to 1.
        names: K labels of the classes.
    """
    rows = np.sort(np.argsort(-probabilities.max(0), kind="stable")[:MOST_ROWS]).tolist()
    axes.imshow(
        probabilities[:, rows].T,
        aspect="auto",
        cmap="Blues",
        vmin=0,
        vmax=1,
        interpolation="nearest",
    )
    axes.set_yticks(range(len(rows)), [names[row] for row in rows])
    axes.tick_params(axis="y", length=0)
    axes.grid(False)


def formula_mathtext(formula: str) -> str:
    """Write "Al2O3" with subscripts for matplotlib."""
    parts: list[str] = []
    for character in formula:
        if character.isdigit() and parts and parts[-1][-1].isdigit():
            parts[-1] += character
        else:
            parts.append(character)
    return "".join(f"$_{{{part}}}$" if part.isdigit() else part for part in parts)


def space_group_mathtext(number: int) -> str:
    """Write the symbol of a space group for matplotlib, with bars and screw axes as printed."""
    text = str(symmetry_tables().hermann_mauguin[number - 1])
    out, place = [], 0
    while place < len(text):
        if text[place] == "-":
            out.append(rf"\overline{{{text[place + 1]}}}")
            place += 2
        elif text[place] == "_":
            out.append(f"_{{{text[place + 1]}}}")
            place += 2
        else:
            is_letter = text[place].isalpha()
            out.append(text[place] if is_letter else rf"\mathrm{{{text[place]}}}")
            place += 1
    return f"${''.join(out)}$"


def balls(atomic_numbers: Int[np.ndarray, "A"]) -> dict[str, tuple[str, float]]:
    """Colour and radius in angstrom of the balls that stand for elements, by symbol."""
    return {
        SYMBOLS[number]: (
            hex_colour(element_colour(number)),
            round(float(ATOM_SCALE * COVALENT_RADIUS[number]), 3),
        )
        for number in sorted(set(atomic_numbers.tolist()))
    }


def rounded(values: np.ndarray) -> list:
    """Nested lists with three decimals: a thousandth of an angstrom is enough to look at."""
    return (np.round(values, 3) + 0.0).tolist()


def _key(kind: str, text: str) -> str:
    """A name for an element of a page that follows from its content."""
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _formula(structure: Any) -> str:
    formula = getattr(structure, "formula", "")
    if callable(getattr(structure, "get_chemical_formula", None)):
        formula = structure.get_chemical_formula()
    return formula.replace(" ", "")


def _arrow(axes: Any, start: Any, end: Any, colour: str = "0.3") -> None:
    look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", end, start, arrowprops=look)


def _png(structure: Any) -> str:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(3.2, 3.2), dpi=110)
    # the layout engine of the style would warn that it has nothing to arrange
    canvas.set_layout_engine("none")
    draw_crystal(canvas.add_axes((0, 0, 1, 1)), structure)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()
