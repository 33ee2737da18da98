"""A sheet of pictures of crystals, for a first look at a run."""

from typing import TYPE_CHECKING, Any

from symmbfn.crystals.crystal import Crystal
from symmbfn.figures.plots import (
    balls,
    draw_crystal,
    formula_mathtext,
    space_group_mathtext,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLUMNS, ROWS = 5, 4


def contact_sheet(crystals: list[Crystal], subtitle: str) -> "Figure":
    """Draw the cells of crystals with formula, space group and elements.

    Args:
        crystals: with a structure; 20 fill a sheet.
        subtitle: a line beside the title.
    """
    from matplotlib.figure import Figure

    n_rows = max(1, -(-len(crystals) // COLUMNS))
    height = 2.72 * n_rows + 0.75
    figure = Figure(figsize=(2.3 * COLUMNS + 0.5, height), facecolor="white")
    figure.set_layout_engine("none")  # every place is given, whatever style is in use
    top = 1 - 0.28 / height
    title = "New crystals" if crystals else "No valid structure"
    figure.text(0.022, top, title, size=16, weight="bold", va="center", color="#1d2430")
    figure.text(0.978, top, subtitle, size=9.5, va="center", ha="right", color="#667085")
    for place, crystal in enumerate(crystals):
        row, column = divmod(place, COLUMNS)
        left = (0.25 + 2.3 * column + 0.15) / (2.3 * COLUMNS + 0.5)
        bottom = 1 - (0.6 + 2.72 * row + 2.0) / height
        box = (left, bottom, 2.0 / (2.3 * COLUMNS + 0.5), 2.0 / height)
        draw_crystal(figure.add_axes(box), crystal)
        captions = figure.add_axes((box[0], bottom - 0.62 / height, box[2], 0.6 / height))
        captions.set(xlim=(-1, 1), ylim=(0, 0.6))
        captions.axis("off")
        _caption(captions, crystal)
    return figure


def _caption(axes: Any, crystal: Crystal) -> None:
    """Formula, space group, and a dot for each element."""
    number = crystal.space_group_number
    formula = formula_mathtext(crystal.formula)
    size = min(11.0, 11.0 * 16 / max(1, len(crystal.formula)))
    axes.text(0, 0.5, formula, ha="center", va="center", size=size, weight="bold", color="#1d2430")
    group = f"{space_group_mathtext(number)} ({number})"
    axes.text(0, 0.28, group, ha="center", va="center", size=9, color="#475067")
    shades = balls(crystal.atomic_numbers)
    step = min(0.42, 1.9 / len(shades))
    for place, (symbol, (colour, _)) in enumerate(shades.items()):
        x = step * (place - (len(shades) - 1) / 2)
        axes.plot(x - 0.07, 0.08, "o", color=colour, mec="#333", mew=0.5, ms=6)
        axes.text(x, 0.08, symbol, ha="left", va="center", size=8, color="#475067")
