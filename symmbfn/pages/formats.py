"""Numbers and names as pages print them."""

import re
from collections.abc import Sequence
from pathlib import Path

from markupsafe import Markup, escape

from symmbfn.crystals.symmetry import symmetry_tables

FINE = 1000  # number of crystals above which a hundredth of a percent means something


def percent(share: float, n: int) -> str:
    """A share in percent, with two decimals for more than 1,000 crystals and one for fewer.

    Args:
        share: in [0, 1].
        n: number of crystals of which it is a share.
    """
    return f"{100 * share:.{2 if n > FINE else 1}f}\u00a0%"


def interval(bounds: Sequence[float], n: int) -> str:
    """An interval of a share in percent: "1.2–3.4 %"; arguments as in `percent`."""
    low, high = bounds
    return f"{percent(low, n)[:-2]}–{percent(high, n)}"


def three_figures(value: float | None) -> str:
    """A number with three figures; "none" for None."""
    return "none" if value is None else f"{value:.3g}"


def seconds(value: float | None) -> str:
    """Seconds with three figures; None, the price at a rate of 0, is infinite."""
    if value is None:
        return "∞"
    return f"{value:.3g}" if value < 1000 else f"{value:,.0f}"


def file_name(path: str) -> str:
    """The last part of a path."""
    return Path(path).name or path


def formula_html(formula: str) -> Markup:
    """Write "Al2O3" with subscripts."""
    parts = re.split(r"(\d+)", formula)
    subscript = Markup("<sub>{}</sub>")
    return Markup("").join(subscript.format(p) if p.isdigit() else escape(p) for p in parts)


def space_group_html(number: int) -> Markup:
    """Write the symbol of a space group with bars and screw axes as printed.

    Args:
        number: 1 to 230.
    """
    text = str(symmetry_tables().hermann_mauguin[number - 1])
    text = re.sub(r"([A-Za-z])", r"<i>\1</i>", text)
    text = re.sub(r"-(\d)", r'<span class="bar">\1</span>', text)
    text = re.sub(r"_(\d)", r"<sub>\1</sub>", text)
    return Markup('<span class="symbol">{}</span>').format(Markup(text))
