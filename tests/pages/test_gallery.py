"""The gallery shows the valid crystals of a run, and needs nothing from anywhere else."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.image
import pytest

from symmbfn.crystals.records import read_crystals
from symmbfn.generation.run import generate_run
from symmbfn.pages.contact_sheet import contact_sheet
from symmbfn.pages.gallery import PAGE, SHEET, gallery_page, write_gallery


@pytest.fixture(scope="module")
def run(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "run"
    generate_run(folder, n=30, n_steps=2, seed=1, weights=str(tiny_weights), device="cpu")
    write_gallery(folder)
    return folder


def shown(page: str) -> dict:
    text = re.search(r"^const run = (\{.*\});$", page, re.MULTILINE)
    assert text
    return json.loads(text[1])


class Addresses(HTMLParser):
    """What a page would load or link to."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.n_scripts = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("src", "href", "srcset")]
        self.n_scripts += tag == "script"


def test_the_page_is_self_contained(run: Path) -> None:
    page = (run / PAGE).read_text()
    parser = Addresses()
    parser.feed(page)
    assert parser.found == [] and parser.n_scripts == 2
    assert "@import" not in page and not re.search(r"url\((?!#)", page.split("<script>")[0])
    assert "3Dmol" in page and not re.search(r">(GRADIENTS|VIEWER|DATA)<", page)


def test_the_page_shows_every_valid_crystal(run: Path) -> None:
    data = shown((run / PAGE).read_text())
    valid = [crystal for crystal in read_crystals(run) if crystal.status == "ok"]
    assert len(valid) > 3
    for crystal, entry in zip(valid, data["crystals"], strict=True):
        assert entry["i"] == crystal.index and entry["f"] == crystal.formula
        assert entry["g"] == crystal.space_group_number
        assert entry["rho"] == pytest.approx(crystal.density, abs=1e-4)
        assert len(entry["atoms"]) == entry["n"] == len(crystal)
        assert (run / entry["cif"]).is_file()
        assert {atom[0] for atom in entry["atoms"]} <= data["balls"].keys()
        assert sum(int(re.match(r"\d+", site[1])[0]) for site in entry["sites"]) == len(crystal)
    assert f"{len(valid)} of 30" in data["subtitle"]


def test_the_sheet_is_a_picture(run: Path) -> None:
    pixels = matplotlib.image.imread(run / SHEET)
    assert pixels.shape[0] > 400 and pixels.shape[1] > 1000
    assert 0.4 < (pixels[..., :3].min(-1) > 0.99).mean() < 0.98


def test_it_is_made_again_where_it_is_missing_and_only_there(run: Path) -> None:
    page, written = (run / PAGE).read_text(), (run / SHEET).stat().st_mtime_ns
    (run / PAGE).unlink()
    write_gallery(run)
    assert (run / PAGE).read_text() == page
    assert (run / SHEET).stat().st_mtime_ns == written


def test_without_a_valid_crystal_it_says_so(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["statuses"] = {"invalid_geometry": 30}
    summary["rates"]["ok"]["count"] = 0
    data = shown(gallery_page([], summary))
    assert data["crystals"] == [] and "0 of 30" in data["subtitle"]
    assert "No valid crystal" in {text.get_text() for text in contact_sheet([]).texts}
