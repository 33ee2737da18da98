"""Figures for HTML pages: SVG in the book's style, the same text for the same numbers."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 5.2  # inches: lettering stays readable where a page shows a figure 470 pixels wide


@dataclass(frozen=True)
class Picture:
    """A figure with its caption.

    Args:
        svg: the drawing without a size: the page chooses it.
        caption: what is counted, and of how many; text, not HTML.
    """

    svg: Markup
    caption: str


@contextmanager
def canvas(alt: str, *, height: float, width: float = WIDTH) -> Iterator[tuple[Any, list[Markup]]]:
    """Give axes in the book's style to draw on; the SVG is in the list afterwards.

    Args:
        alt: description for readers who do not see the figure. The identifiers inside the SVG
            depend on it, so that two figures of a page do not share one.
        height: inches.
        width: inches.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.style import context

    picture: list[Markup] = []
    own: Any = {"svg.fonttype": "none", "svg.hashsalt": alt}
    with context("symmbfn.figures.symmbfn"), rc_context(own):
        figure = Figure(figsize=(width, height))
        yield figure.add_subplot(), picture
        picture.append(_svg(figure, alt))


def _svg(figure: "Figure", alt: str) -> Markup:
    """The SVG of a figure without size, date and identifiers that two figures would share."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    # its rule would hold for the whole page, which has it for figures alone (report.css)
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    # matplotlib escapes the texts that it draws
    drawing = Markup(text[text.index(">") + 1 :].rstrip())
    return Markup('<svg {} role="img" aria-label="{}">').format(Markup(box[0]), alt) + drawing
