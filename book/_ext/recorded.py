"""Numbers from results/ in the book's pages.

{claim}`encode.round_trip` is one value with its unit; a `claims` directive is the table of all
claims whose names match its pattern. A name that nobody recorded is a warning, which fails the
build.
"""

import re

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole

from symmbfn.claims.store import claim, claims

COLUMNS = "name value unit n interval aim met"


def shown(value: object) -> str:
    """A cell's text: at most four significant digits, nothing for null."""
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return " to ".join(shown(item) for item in value)
    return str(value)


def breakable(text: str) -> list[nodes.Node]:
    """A dotted name that may go on in the next line after a dot or an underscore."""
    pieces: list[nodes.Node] = []
    for part in re.split(r"(?<=[._])", text):
        pieces += [nodes.Text(part), nodes.raw("", "<wbr>", format="html")]
    return pieces[:-1]


class ClaimRole(SphinxRole):
    """{claim}`name`"""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        try:
            entry = claim(self.text)
        except ValueError as error:
            message = self.inliner.reporter.warning(str(error), line=self.lineno)
            return [nodes.literal(text=self.text)], [message]
        text = " ".join(part for part in (shown(entry["value"]), entry["unit"]) if part)
        return [nodes.Text(text)], []


class ClaimsTable(SphinxDirective):
    """Table of the claims that match a pattern, one row each."""

    required_arguments = 1
    option_spec = {"columns": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        columns = self.options.get("columns", COLUMNS).split()
        entries = claims(self.arguments[0])
        if not entries:
            text = f"Not measured yet: {self.arguments[0]}."
            return [nodes.paragraph(text=text)]
        table = nodes.table(classes=["claims"])
        group = nodes.tgroup(cols=len(columns))
        group += [nodes.colspec(colwidth=1) for _ in columns]
        group += nodes.thead("", nodes.row("", *(self._entry(name, name) for name in columns)))
        rows = (
            nodes.row("", *(self._entry(name, shown(entry[name])) for name in columns))
            for entry in entries
        )
        group += nodes.tbody("", *rows)
        table += group
        return [table]

    def _entry(self, column: str, text: str) -> nodes.entry:
        pieces = breakable(text) if column == "name" else [nodes.Text(text)]
        return nodes.entry("", nodes.paragraph("", "", *pieces), classes=[column])


def setup(app: Sphinx) -> dict:
    app.add_role("claim", ClaimRole())
    app.add_directive("claims", ClaimsTable)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
