"""Figures of the book: one style, crystals that turn, plotly without a CDN."""

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

EDGE_WIDTH = 0.003  # radius of the rods along a cell's edges, of the size of the picture
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
    """Draw every figure from here on in the book's style."""
    import matplotlib.pyplot as plt

    plt.style.use("symmbfn.figures.symmbfn")


class Figure:
    """Something a notebook shows, in several forms: a page takes HTML, paper takes the PNG.

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
    """Show a crystal that can be turned, on a static page, without a kernel or a network.

    Until 3Dmol.js is there (the book's pages bring it), and where there is no WebGL, the still
    picture of the same cell stands in its place. The HTML depends on the crystal alone.

    Args:
        structure: a Crystal, a pymatgen Structure or ASE Atoms; its cell is what is shown.
        height: of the view in pixels.
        zoom: over what 3Dmol takes for a fit.
        name: what a reader who cannot see the picture is told; the formula by default.

    Raises:
        ValueError: there is no structure in it.
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
    text = json.dumps(data, separators=(",", ":"))
    key = "crystal-" + hashlib.sha256((text + label).encode()).hexdigest()[:12]
    script = _VIEW
    for mark, value in (("KEY", key), ("EDGE", EDGE_COLOUR), ("ZOOM", zoom), ("DATA", text)):
        script = script.replace(mark, str(value))
    html = (
        f'<div class="symmbfn-crystal" id="{key}" role="img" aria-label="{label}" '
        f'style="position:relative;width:100%;height:{height}px;display:grid;place-items:center">'
        f"{svg_gradients(set(numbers.tolist()))}"
        f"{_sized(svg(structure, 320), height)}</div>"
        f"<script>{script}</script>"
    )
    return Figure({"text/html": html, "image/png": _png(structure), "text/plain": f"<{label}>"})


def plotly_figure(figure: Any, *, height: int = 420, name: str = "plotly figure") -> Figure:
    """Show a plotly figure, in the book's colours, on a static page without a CDN.

    The book's pages bring plotly.js; live notebooks take plotly's own form.

    Args:
        figure: a plotly Figure.
        height: in pixels.
        name: what a reader who cannot see the figure is told.
    """
    import plotly.graph_objects as go

    styled = go.Figure(figure).update_layout(
        template="plotly_white", colorway=list(COLOURS.values()), height=height
    )
    text = styled.to_json().replace("</", "<\\/")
    key = "plotly-" + hashlib.sha256(text.encode()).hexdigest()[:12]
    html = (
        f'<div class="symmbfn-plotly" id="{key}" role="img" aria-label="{name}" '
        f'style="width:100%;height:{height}px"></div>'
        f"<script>{_PLOT.replace('KEY', key).replace('DATA', text)}</script>"
    )
    return Figure(
        {
            "text/html": html,
            "application/vnd.plotly.v1+json": json.loads(text),
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
    axes: Any, probabilities: Float[np.ndarray, "T K"], names: Sequence[str], *, n_rows: int = 8
) -> None:
    """Paint how a choice falls: time to the right, white to blue, a row for each class in play.

    Args:
        axes: of matplotlib.
        probabilities: of K classes at T times, each row sums to 1.
        names: of the classes; they label the rows.
        n_rows: so many classes are shown at most, those that are the likeliest at some time.
    """
    rows = np.sort(np.argsort(-probabilities.max(0), kind="stable")[:n_rows]).tolist()
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


def _formula(structure: Any) -> str:
    formula = getattr(structure, "formula", "")
    if callable(getattr(structure, "get_chemical_formula", None)):
        formula = structure.get_chemical_formula()
    return formula.replace(" ", "")


def _arrow(axes: Any, start: Any, end: Any, colour: str = "0.3") -> None:
    look = {"arrowstyle": "-|>", "color": colour, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 8}
    axes.annotate("", end, start, arrowprops=look)


def _sized(picture: str, height: int) -> str:
    style = f"height:{height}px;max-width:100%"
    return picture.replace("<svg ", f'<svg style="{style}" aria-hidden="true" ', 1)


def _png(structure: Any) -> str:
    from matplotlib.figure import Figure as Canvas

    canvas = Canvas(figsize=(3.2, 3.2), dpi=110)
    # the style's layout engine has nothing to arrange here, and warns of it
    canvas.set_layout_engine("none")
    draw_crystal(canvas.add_axes((0, 0, 1, 1)), structure)
    buffer = io.BytesIO()
    canvas.savefig(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


# the page may bring the script after the figure: wait for it, and keep the still picture if
# the browser cannot draw in 3-D
_VIEW = """(function(){var d=DATA,n=0;function go(){
if(!window.$3Dmol){if(n++<200)setTimeout(go,50);return}
var box=document.getElementById("KEY"),still=box.innerHTML;
try{box.innerHTML="";
var v=$3Dmol.createViewer(box,{backgroundColor:"white",backgroundAlpha:0,disableFog:true});
if(!v)throw 0;
var m=v.addModel();m.addAtoms(d.atoms.map(function(a){return{elem:a[0],x:a[1],y:a[2],z:a[3]}}));
for(var e in d.balls)v.setStyle({elem:e},{sphere:{color:d.balls[e][0],radius:d.balls[e][1]}});
for(var i=0;i<8;i++)for(var k=0;k<3;k++)if(!(i>>k&1)){var p=[0,0,0],q=[0,0,0];
for(var j=0;j<3;j++)for(var x=0;x<3;x++){p[x]+=(i>>j&1)*d.lattice[j][x];
q[x]+=((i|1<<k)>>j&1)*d.lattice[j][x]}
v.addCylinder({start:{x:p[0],y:p[1],z:p[2]},end:{x:q[0],y:q[1],z:q[2]},radius:d.edge,
fromCap:1,toCap:1,color:"EDGE"})}
v.setProjection("orthographic");v.zoomTo();v.zoom(ZOOM);v.render()}
catch(error){box.innerHTML=still}}go()})();"""

_PLOT = """(function(){var f=DATA,n=0;function go(){
if(!window.Plotly){if(n++<200)setTimeout(go,50);return}
Plotly.newPlot("KEY",f.data,f.layout,{responsive:true,displaylogo:false})}go()})();"""
