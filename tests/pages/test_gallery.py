"""The gallery shows the valid crystals of a run, and needs nothing from anywhere else."""

import json
import re
import shutil
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import matplotlib.image
import pytest

from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.records import read_crystals
from symmbfn.generation.run import generate_run
from symmbfn.generation.run_outputs import SUMMARY
from symmbfn.pages import gallery
from symmbfn.pages.contact_sheet import COLUMNS, contact_sheet
from symmbfn.pages.gallery import PAGE, SHEET, gallery_page, write_gallery


@pytest.fixture(scope="module")
def run(tiny_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gallery") / "run"
    generate_run(folder, n=30, n_steps=2, seed=1, weights=str(tiny_weights), device="cpu")
    write_gallery(folder)
    return folder


class Page(HTMLParser):
    """What a browser reads: elements with their attributes, visible text, text of scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        if self.inside == "script":
            self.scripts[-1] += data
        elif self.inside != "style":
            self.text += data

    @property
    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def shown(page: str) -> dict:
    """The data of the crystals: the script that is no script."""
    (content,) = [text for text in Page(page).scripts if text.startswith("{")]
    return json.loads(content)


def test_the_page_is_self_contained(run: Path) -> None:
    page = (run / PAGE).read_text()
    parser = Page(page)
    loads = {"src", "href", "srcset"}
    assert not any(loads & attributes.keys() for _, attributes in parser.elements)
    assert parser.tags.count("script") == 3
    assert "@import" not in page and not re.search(r"url\((?!#)", page.split("<script>")[0])
    assert "3Dmol" in parser.scripts[0] and "createViewer" in parser.scripts[2]


def test_the_page_shows_every_valid_crystal(run: Path) -> None:
    page = (run / PAGE).read_text()
    data = shown(page)
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
    assert f"{len(valid)} of 30 crystals have a valid structure" in Page(page).text


def test_the_sheet_is_a_picture(run: Path) -> None:
    pixels = matplotlib.image.imread(run / SHEET)
    assert pixels.shape[0] > 400 and pixels.shape[1] > 1000
    assert 0.4 < (pixels[..., :3].min(-1) > 0.99).mean() < 0.98


def test_the_sheet_holds_the_first_crystals(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum(crystal.status == "ok" for crystal in read_crystals(run)) > COLUMNS
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    (folder / SHEET).unlink()
    monkeypatch.setattr(gallery, "ROWS", 1)
    write_gallery(folder)
    # one row: 3.47 inches at 110 dots per inch
    assert matplotlib.image.imread(folder / SHEET).shape[0] == pytest.approx(381, abs=1)


def test_less_than_a_row_of_crystals_has_no_sheet(run: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(run, tmp_path / "run"))
    summary = json.loads((folder / SUMMARY).read_text())
    for n, has_sheet in ((COLUMNS - 1, False), (COLUMNS, True)):
        (folder / SUMMARY).write_text(json.dumps(summary | {"n": n}))
        (folder / SHEET).unlink(missing_ok=True)
        (folder / PAGE).unlink()
        write_gallery(folder)
        assert ((folder / PAGE).is_file(), (folder / SHEET).is_file()) == (True, has_sheet)


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
    page = gallery_page([], summary)
    assert shown(page)["crystals"] == [] and "0 of 30" in Page(page).text
    texts = {text.get_text() for text in contact_sheet([], "0 of 30").texts}
    assert texts == {"No valid structure", "0 of 30"}


def test_a_page_says_when_it_shows_only_the_first_crystals(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    crystals = [crystal for crystal in read_crystals(run) if crystal.status == "ok"]
    assert "are shown" not in Page(gallery_page(crystals, summary)).text
    assert "; the first 2 are shown." in Page(gallery_page(crystals[:2], summary)).text


class Hostile(Crystal):
    """A crystal whose name is made to break out of the script that it stands in."""

    formula = "</script><script>alert('a')</script><!-- & \u2028 \""  # type: ignore[assignment]


def test_texts_of_others_stay_texts(run: Path) -> None:
    """Records and summaries are files: whatever stands in them is shown, and never run."""
    summary = json.loads((run / "summary.json").read_text())
    crystal = next(crystal for crystal in read_crystals(run) if crystal.status == "ok")
    plain = Page(gallery_page([crystal], summary))
    summary["statuses"]["<script>alert(1)</script><!--"] = 1
    page = gallery_page([Hostile(**vars(crystal))], summary)
    found = Page(page)
    assert found.tags == plain.tags, "no element that was not there before"
    assert len(found.scripts) == 3 and "<!--" not in found.scripts[1]
    assert shown(page)["crystals"][0]["f"] == Hostile.formula
    assert "1 <script>alert(1)</script><!--" in found.text


def test_the_script_escapes_what_it_writes_as_html() -> None:
    """Texts of the data go into `innerHTML`: formula, symbols, letters."""
    script = (files("symmbfn.pages") / "static" / "gallery.js").read_text()
    assert "const text = s => String(s).replace(/[&<>\"']/g, c => ESCAPED[c]);" in script
    assert re.search(r"const subs = f => text\(f\)", script)
    assert not re.search(r"\$\{(e|w|s|c\.f|c\.sg|c\.foundsg)\}", script)
