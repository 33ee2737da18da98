"""Which elements crystals hold, on the periodic table, beside those of real crystals."""

from html import escape

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.figures.plots import COLOURS
from symmbfn.intervals import newcombe_interval

CELL = 60  # units of the drawing
# atomic number of the last element of each period
PERIODS = (2, 10, 18, 36, 54, 86, 118)
F_BLOCKS = ((57, 71), (89, 103))
CLIP = 2.0  # factors of two, at which the colours end
MIDDLE = np.array([247, 247, 247])
NEUTRAL, ABSENT = "#e9ecf0", "#ffffff"


def place_of(atomic_number: int) -> tuple[float, int]:
    """Row and column from 0, as printed: lanthanides and actinides stand below the rest."""
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
) -> str:
    """Draw the table: blue where generated crystals hold an element more often, red more seldom.

    An element is coloured where the two shares differ by more than chance, at 95 %; the colour
    is their ratio, up to a factor of four.

    Args:
        generated: crystals that hold each element, by atomic number, shape (119,).
        n: generated crystals.
        real: the same of real crystals, shape (119,).
        n_real: real crystals.

    Returns:
        SVG text.
    """
    cells = []
    more: list[str] = []
    fewer: list[str] = []
    for number in range(1, len(SYMBOLS)):
        count, known = int(generated[number]), int(real[number])
        row, column = place_of(number)
        fill, ratio = _fill(count, n, known, n_real)
        if fill not in (NEUTRAL, ABSENT):
            (more if ratio > 1 else fewer).append(SYMBOLS[number])
        cells.append(_cell(number, row, column, fill, _said(number, count, n, known, n_real)))
        share = f"{100 * count / n:.1f}" if count else ""
        tone = _ink(fill, is_present=bool(count or known))
        x, y = CELL * (column + 0.5), CELL * row
        symbol = _text("symbol-of", x, y + 31, SYMBOLS[number], tone)
        cells[-1] += f"{symbol}{_text('share-of', x, y + 49, share, tone)}</g>"
    for block, (first, last) in enumerate(F_BLOCKS):
        y = CELL * (5.5 + block) + 5
        cells.append(_text("share-of", CELL * 2.5, y, f"{first}–{last}", "#667085"))
    said = f"more often than in real crystals: {_names(more)}; more seldom: {_names(fewer)}"
    alt = f"Periodic table of the elements in the generated crystals; {said}."
    box = f'viewBox="0 0 {18 * CELL} {9.4 * CELL:g}"'
    return (
        f'<svg class="elements" {box} role="img" aria-label="{escape(alt)}">'
        f"{''.join(cells)}{_legend()}</svg>"
    )


def _cell(number: int, row: float, column: int, fill: str, said: str) -> str:
    edge = "#d5dae1" if fill in (NEUTRAL, ABSENT) else "#5a6372"
    return (
        f'<g><title>{said}</title><rect x="{CELL * column + 1.5:g}" y="{CELL * row + 1.5:g}" '
        f'width="{CELL - 3}" height="{CELL - 3}" rx="6" fill="{fill}" stroke="{edge}"/>'
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
    # the smallest difference that is coloured at all must be told from grey
    weight = 0.18 + 0.82 * abs(factor)
    return "#" + "".join(f"{round(v):02x}" for v in MIDDLE + weight * (target - MIDDLE))


def _ink(fill: str, *, is_present: bool) -> str:
    if not is_present:
        return "#b3bac5"
    red, green, blue = (int(fill[place : place + 2], 16) for place in (1, 3, 5))
    return "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 130 else "#1d2430"


def _legend() -> str:
    """In the gap above the transition metals."""
    steps = np.linspace(-1, 1, 9)
    x, y, width = 3.2 * CELL, 1.45 * CELL, 0.78 * CELL
    parts = [
        f'<rect x="{x + width * i:g}" y="{y:g}" width="{width:g}" height="{0.4 * CELL:g}" '
        f'fill="{shade(value) if value else NEUTRAL}"/>'
        for i, value in enumerate(steps)
    ]
    for i, label in ((0, "¼ or less"), (2, "½"), (4, "as real"), (6, "2"), (8, "4 or more")):
        parts.append(_text("key-of", x + width * (i + 0.5), y + 0.75 * CELL, label, "#475067"))
    title = "generated share / real share"
    return "".join(parts) + _text("key-of", x + 4.5 * width, y - 12, title, "#475067")


def _text(kind: str, x: float, y: float, content: str, colour: str) -> str:
    return f'<text class="{kind}" x="{x:g}" y="{y:g}" fill="{colour}">{content}</text>'


def _names(symbols: list[str]) -> str:
    return " ".join(symbols) or "none"
