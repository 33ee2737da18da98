"""Pages from templates, each one file that needs no network."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from symmbfn.figures.rendering import template_environment
from symmbfn.pages import formats


def render_page(name: str, /, **values: Any) -> str:
    """Render a template of `symmbfn/pages/templates`.

    Args:
        name: of the file, without ".j2".
        values: what the template prints; text is escaped.
    """
    return _environment().get_template(f"{name}.j2").render(values)


@cache
def _environment() -> Environment:
    environment = template_environment("symmbfn.pages")
    environment.globals["static"] = _static
    environment.filters |= {
        "percent": formats.percent,
        "interval": formats.interval,
        "three_figures": formats.three_figures,
        "seconds": formats.seconds,
        "file_name": formats.file_name,
        "formula": formats.formula_html,
        "space_group": formats.space_group_html,
        "count": "{:,}".format,
        "fixed": lambda value, decimals: f"{value:.{decimals}f}",
        "signed": lambda value, decimals: f"{value:+.{decimals}f}".replace("-", "−"),
    }
    return environment


def _static(name: str) -> Markup:
    """Text of a style or script of ours; nothing in it ends the element that it stands in."""
    text = (files("symmbfn.pages") / "static" / name).read_text(encoding="utf-8")
    return Markup(text.replace("</script", "<\\/script") if name.endswith(".js") else text)
