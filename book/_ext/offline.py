"""Put the viewers' scripts beside the pages, and on a page only where it uses them.

The book opens from a folder, without a server and without a network.
"""

import shutil
from importlib.resources import files
from pathlib import Path

from sphinx.application import Sphinx

# class of the element a figure draws into -> its script
SCRIPTS = {"symmbfn-plotly": "plotly.min.js", "symmbfn-crystal": "3Dmol-min.js"}


def add_used_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Link plotly.js or 3Dmol.js into pages that hold such a figure."""
    body = context.get("body", "")
    for element, script in SCRIPTS.items():
        if f'class="{element}"' in body:
            app.add_js_file(script)


def drop_repeated_scripts(
    app: Sphinx, pagename: str, templatename: str, context: dict, doctree: object
) -> None:
    """Keep inline scripts once: Jupyter Book's extensions add theirs twice, an error on load."""
    seen: set[str] = set()
    kept = []
    for script in context.get("script_files", []):
        body = (getattr(script, "attributes", None) or {}).get("body")
        if body is None or body not in seen:
            kept.append(script)
        if body is not None:
            seen.add(body)
    context["script_files"] = kept


def copy_scripts(app: Sphinx, error: Exception | None) -> None:
    """Copy the scripts from the packages that own them."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir) / "_static"
    static.mkdir(parents=True, exist_ok=True)
    plotly = files("plotly") / "package_data" / "plotly.min.js"
    viewer = files("symmbfn.pages") / "static"
    shutil.copyfile(str(plotly), static / "plotly.min.js")
    for name in ("3Dmol-min.js", "3Dmol-min.js.LICENSE.txt", "LICENSE.3Dmol"):
        shutil.copyfile(str(viewer / name), static / name)


def setup(app: Sphinx) -> dict:
    app.connect("html-page-context", add_used_scripts)
    app.connect("html-page-context", drop_repeated_scripts, priority=900)
    app.connect("build-finished", copy_scripts)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
