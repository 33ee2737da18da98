"""Figures as pages take them: SVG text, the same for the same numbers, in the book's style."""

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH = 5.2  # inches: lettering stays readable where a page shows a figure 470 pixels wide


@dataclass(frozen=True)
class Picture:
    """A figure as a page takes it.

    Args:
        svg: the drawing, whose size is the page's to choose.
        caption: what is counted, and of how many.
    """

    svg: str
    caption: str


@contextmanager
def canvas(alt: str, *, height: float, width: float = WIDTH) -> Iterator[tuple[Any, list[str]]]:
    """Axes in the book's style to draw on; the SVG is in the list afterwards.

    The names within are salted with the alternative text, so that no two figures share one.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure
    from matplotlib.style import context

    picture: list[str] = []
    own: Any = {"svg.fonttype": "none", "svg.hashsalt": alt}
    with context("symmbfn.figures.symmbfn"), rc_context(own):
        figure = Figure(figsize=(width, height))
        yield figure.add_subplot(), picture
        picture.append(_svg(figure, alt))


def _svg(figure: "Figure", alt: str) -> str:
    """SVG to stand inside HTML: no size, no date, no names that two figures would share."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg ") :]
    text = re.sub(r"<metadata>.*?</metadata>\s*", "", text, flags=re.DOTALL)
    text = re.sub(r' id="[A-Za-z0-9.]+_\d+"', "", text)
    # it would be a rule of the whole page; report.html has it for figures
    text = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>\s*", "", text, flags=re.DOTALL)
    box = re.search(r'viewBox="[^"]*"', text)
    assert box
    head = f'<svg {box[0]} role="img" aria-label="{escape(alt)}">'
    return head + text[text.index(">") + 1 :].rstrip()
