"""Recorded numbers in the book's pages, in a book of one page."""

import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from sphinx.application import Sphinx

from symmbfn.claims import store as results
from symmbfn.claims.store import Claim, record

EXTENSIONS = results.REPOSITORY / "book" / "_ext"
PAGE = """# Page

All but {claim}`x.rate` of them.

```{claims} x.*
:columns: name value met
```

```{claims} z.*
```
"""


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A results folder that the extension reads instead of the repository's."""
    monkeypatch.syspath_prepend(str(EXTENSIONS))
    folder = tmp_path / "results"
    monkeypatch.setattr(results, "RESULTS", folder)
    yield folder
    sys.modules.pop("recorded", None)


def build(tmp_path: Path, page: str) -> tuple[str, str]:
    """Return the page's HTML and the build's warnings."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "index.md").write_text(page)
    (source / "conf.py").write_text('extensions = ["myst_parser", "recorded"]\n')
    warnings = StringIO()
    out = tmp_path / "out"
    app = Sphinx(source, source, out, out, "html", status=None, warning=warnings)
    app.build()
    return (out / "index.html").read_text(), warnings.getvalue()


def test_values_and_tables_come_from_the_results(recorded: Path, tmp_path: Path) -> None:
    aim = {"aim": "all", "met": False}
    record("x", [Claim("x.rate", 0.98765, "make", unit="%", **aim)], recorded)
    record("x", [Claim("x.count", 3, "make")], recorded)
    html, warnings = build(tmp_path, PAGE)
    assert not warnings
    assert "All but 0.9877 % of them." in html
    # long names may break after a dot
    assert "<p>x.<wbr>rate</p>" in html
    cells = [part.split("</p>")[0].replace("<wbr>", "") for part in html.split("<p>")]
    assert cells[cells.index("x.rate") :][:3] == ["x.rate", "0.9877", "no"]
    assert cells[cells.index("x.count") :][:2] == ["x.count", "3"]
    assert "Not measured yet: z.*." in html


def test_a_number_that_nobody_recorded_is_a_warning(recorded: Path, tmp_path: Path) -> None:
    recorded.mkdir()
    _, warnings = build(tmp_path, "# Page\n\n{claim}`x.rate`\n")
    assert "x.rate" in warnings
