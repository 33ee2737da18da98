"""The book builds without a warning, holds every page and figure, and needs no network."""

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("book")
    program = Path(sys.executable).with_name("jupyter-book")
    command = [str(program), "build", "-n", "-W", "--keep-going"]
    done = subprocess.run(
        [*command, "--path-output", str(folder), "."], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return folder / "_build" / "html"


def pages_asked_for() -> list[str]:
    contents = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in contents["parts"] for chapter in part["chapters"]]
    pages = [contents["root"], *(chapter["file"] for chapter in chapters if "file" in chapter)]
    return pages + [f"notebooks/{path.stem}" for path in NOTEBOOKS]


def test_every_page_is_there(book: Path) -> None:
    missing = [page for page in pages_asked_for() if not (book / f"{page}.html").is_file()]
    assert not missing


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_figure_is_there(book: Path, path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    stored = [output.get("data", {}) for cell in cells for output in cell.get("outputs", [])]
    page = (book / "notebooks" / f"{path.stem}.html").read_text()
    # a figure that can be turned is kept as a picture too, and the page shows the former
    pictures = [data for data in stored if "image/png" in data and "text/html" not in data]
    images = re.findall(r'<img [^>]*src="(\.\./_images/[^"]+)"', page)
    assert len(images) >= len(pictures)
    assert all((book / "notebooks" / image).resolve().is_file() for image in images)
    viewers = re.findall(r'class="symmbfn-(crystal|plotly)"', str(stored))
    assert len(re.findall(r'<div class="symmbfn-(crystal|plotly)"', page)) == len(viewers)
    for kind, script in (("crystal", "3Dmol-min.js"), ("plotly", "plotly.min.js")):
        assert (script in page) == (kind in viewers)


def test_chapters_are_numbered_where_the_landing_page_says(book: Path) -> None:
    landing = (book / "book" / "intro.html").read_text()
    for number, path in enumerate(NOTEBOOKS, start=1):
        assert f">{number}. " in (book / "notebooks" / f"{path.stem}.html").read_text()
        assert re.search(rf'<p>{number} <a [^>]*href="../notebooks/{path.stem}.html"', landing)


def test_pages_load_nothing_from_elsewhere(book: Path) -> None:
    for page in pages_asked_for():
        text = (book / f"{page}.html").read_text()
        loaded = re.findall(r'<(?:script|img|iframe)[^>]* src="([^"]+)"', text)
        loaded += re.findall(r'<link[^>]* rel="stylesheet"[^>]* href="([^"]+)"', text)
        assert not [address for address in loaded if "//" in address], page
        local = [address.split("?")[0] for address in loaded if not address.startswith("data:")]
        folder = (book / f"{page}.html").parent
        assert all((folder / address).is_file() for address in local), page


def test_no_number_is_asked_for_that_nobody_recorded() -> None:
    """A {claim} role without its claim fails the build: here it is named."""
    from symmbfn.claims.store import claim

    for path in [*(ROOT / "book").glob("*.md"), *(ROOT / "notebooks").glob("*.py")]:
        for name in re.findall(r"\{claim\}`([^`]+)`", path.read_text()):
            assert claim(name)
