"""HTML and SVG from templates: texts are escaped, and data for scripts cannot end the script."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def template_environment(package: str) -> Environment:
    """Make the environment in which templates are rendered.

    Everything that a template prints is escaped unless it is `Markup`. A name that a template
    does not get is an error. The filter `tojson` writes JSON without spaces, in which "<", ">",
    "&" and "'" are escaped, so that it may stand inside a script element.

    Args:
        package: its folder `templates` holds the templates.
    """
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {
        "ensure_ascii": False,
        "separators": (",", ":"),
        "allow_nan": False,
    }
    return environment


def render_figure(name: str, /, **values: Any) -> Markup:
    """Render a template of `symmbfn/figures/templates`.

    Args:
        name: of the file, without ".j2".
        values: what the template prints.

    Returns:
        Text that no page escapes again.
    """
    template = template_environment("symmbfn.figures").get_template(f"{name}.j2")
    return Markup(template.render(values))
