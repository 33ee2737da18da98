"""The periodic table, coloured by how often generated and real crystals hold each element."""

from typing import Any

import numpy as np
from markupsafe import Markup

from symmbfn._shapes import Int
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.figures.plots import COLOURS
from symmbfn.figures.rendering import render_figure
from symmbfn.intervals import newcombe_interval

CELL = 60  # units of the drawing
# atomic number of the last element of each period
PERIODS = (2, 10, 18, 36, 54, 86, 118)
F_BLOCKS = ((57, 71), (89, 103))
CLIP = 2.0  # logarithm to base 2 of the ratio at which the colour scale ends
MIDDLE = np.array([247, 247, 247])
NEUTRAL, ABSENT = "#e9ecf0", "#ffffff"


def place_of(atomic_number: int) -> tuple[float, int]:
    """Row and column of an element, from 0; lanthanides and actinides are below the other rows."""
    for block, (first, last) in enumerate(F_BLOCKS):
        if first <= atomic_number <= last:
            return 7.4 + block, 2 + atomic_number - first
    period = next(row for row, last in enumerate(PERIODS) if atomic_number <= last)
    before = 0 if period == 0 else PERIODS[period - 1]
    from_left = atomic_number - before - 1
    s_block = 1 if period == 0 else 2
    if from_left < s_block:
        return float(period), from_left
    return float(period), 17 - (PERIODS[period] - atomic_number)


def element_map(
    generated: Int[np.ndarray, "Z"], n: int, real: Int[np.ndarray, "Z"], n_real: int
) -> Markup:
    """Draw the table: blue where generated crystals hold an element more often, red more seldom.

    An element is coloured where the two shares differ by more than chance, at 95 %; the colour
    is their ratio, up to a factor of four.

    Args:
        generated: crystals that hold each element, by atomic number, shape (119,).
        n: generated crystals.
        real: the same of real crystals, shape (119,).
        n_real: real crystals.

    Returns:
        SVG, to be placed in a page.
    """
    elements: list[dict[str, Any]] = []
    more: list[str] = []
    fewer: list[str] = []
    for number in range(1, len(SYMBOLS)):
        count, known = int(generated[number]), int(real[number])
        row, column = place_of(number)
        fill, ratio = _fill(count, n, known, n_real)
        is_grey = fill in (NEUTRAL, ABSENT)
        if not is_grey:
            (more if ratio > 1 else fewer).append(SYMBOLS[number])
        elements.append(
            {
                "symbol": SYMBOLS[number],
                "row": row,
                "column": column,
                "share": f"{100 * count / n:.1f}" if count else "",
                "said": _said(number, count, n, known, n_real),
                "fill": fill,
                "edge": "#d5dae1" if is_grey else "#5a6372",
                "ink": _ink(fill, is_present=bool(count or known)),
            }
        )
    said = f"more often than in real crystals: {_names(more)}; more seldom: {_names(fewer)}"
    return render_figure(
        "periodic_table.svg",
        cell=CELL,
        label=f"Periodic table of the elements in the generated crystals; {said}.",
        elements=elements,
        blocks=[f"{first}–{last}" for first, last in F_BLOCKS],
        legend=_legend(),
    )


def _said(number: int, count: int, n: int, known: int, n_real: int) -> str:
    return (
        f"{SYMBOLS[number]}: in {count:,} of {n:,} generated crystals ({100 * count / n:.2f} %), "
        f"in {known:,} of {n_real:,} real ones ({100 * known / n_real:.2f} %)"
    )


def _fill(count: int, n: int, known: int, n_real: int) -> tuple[str, float]:
    """Colour of a cell, and generated over real."""
    if not count and not known:
        return ABSENT, 1.0
    ratio = count * n_real / (n * known) if known else np.inf
    low, high = newcombe_interval((count, known), (n, n_real))
    if low <= 0 <= high:
        return NEUTRAL, ratio
    with np.errstate(divide="ignore"):
        factor = float(np.clip(np.log2(ratio) / CLIP, -1, 1))
    return shade(factor), ratio


def shade(factor: float) -> str:
    """Colour between red at -1, nearly white at 0 and blue at 1."""
    end = COLOURS["blue"] if factor > 0 else COLOURS["red"]
    target = np.array([int(end[place : place + 2], 16) for place in (1, 3, 5)])
    # even the smallest significant difference must look different from grey
    weight = 0.18 + 0.82 * abs(factor)
    return "#" + "".join(f"{round(v):02x}" for v in MIDDLE + weight * (target - MIDDLE))


def _ink(fill: str, *, is_present: bool) -> str:
    if not is_present:
        return "#b3bac5"
    red, green, blue = (int(fill[place : place + 2], 16) for place in (1, 3, 5))
    return "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 130 else "#1d2430"


def _legend() -> list[tuple[str, str]]:
    """Colours from seldom to often, and the ratio that some of them stand for."""
    names = {0: "¼ or less", 2: "½", 4: "as real", 6: "2", 8: "4 or more"}
    return [
        (shade(factor) if factor else NEUTRAL, names.get(step, ""))
        for step, factor in enumerate(np.linspace(-1, 1, 9).tolist())
    ]


def _names(symbols: list[str]) -> str:
    return " ".join(symbols) or "none"
