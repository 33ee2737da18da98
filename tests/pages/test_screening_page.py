"""The page of a screening says what its report says, and needs nothing from anywhere else."""

import json
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.evaluation.distributions import UNITS, compare
from symmbfn.evaluation.observables import Observables
from symmbfn.evaluation.summary import Judging, summarise
from symmbfn.pages.charts import (
    distance_dots,
)
from symmbfn.pages.formats import formula_html, percent, space_group_html
from symmbfn.pages.screening_page import report_page

# formula, group asked, group found, status, energy above the hull
MADE = [
    ("NaCl", 225, 225, "ok", -0.02),
    ("NaCl", 225, 225, "ok", -0.02),
    ("MgO", 225, 225, "ok", 0.0),
    ("TiO2", 136, 136, "ok", 0.1),
    ("KBr", 225, 225, "ok", 0.3),
    ("Fe", 229, 229, "ok", -0.1),
    ("", 14, None, "reconstruction_failed", None),
    ("CsI", 221, 221, "ok", 1.7),
]
JUDGE = "CHGNet 0.3.0"
KNOWN = {"MgO": "train", "CsI": "val"}


def table_of(*, relaxed: int = 8, foreign: bool = False) -> pd.DataFrame:
    """A screening of eight crystals, of which the first are relaxed."""
    rows = []
    for index, (formula, asked, found, status, energy) in enumerate(MADE):
        is_ok = status == "ok"
        first = [row[0] for row in MADE].index(formula)
        known = KNOWN.get(formula)
        compared = {
            "comparison": "ok" if is_ok else "no_structure",
            "duplicate_of": first if is_ok else None,
            "is_first": first == index if is_ok else None,
            "is_novel": known != "train" if is_ok else None,
            "is_novel_anywhere": known is None if is_ok else None,
            "known_split": known,
            "nearest_train": 0.05 if known == "train" else None,
        }
        row: dict[str, Any] = {
            "index": index,
            "name": f"<{index}>.cif",
            "status": status,
            "reason": "" if is_ok else "unreadable",
            "formula": formula,
            "n_elements": len(re.findall("[A-Z]", formula)),
            "density": 2.0 + index if is_ok else np.nan,
            "volume_per_atom": 20.0 + index if is_ok else np.nan,
            "space_group_number": None if foreign else asked,
            "found_group": found,
            "default_group": found,
            "symmetry": "unasked" if foreign else ("kept" if is_ok else "none"),
            "sharp_symmetry": "unasked" if foreign else ("kept" if is_ok else "none"),
            "is_structurally_valid": is_ok,
            "is_smact_valid": is_ok,
            "has_good_contacts": is_ok,
            **compared,
        }
        if relaxed:
            at = index < relaxed
            row |= {f"relaxed_{name}": value if at else None for name, value in compared.items()}
            row |= {
                "relax_status": status if at else None,
                "relaxed_group": found if at else None,
                "is_converged": is_ok if at else None,
                "is_covered": energy is not None if at else None,
                "knows_system": energy is not None if at else None,
                "n_steps": 30.0 if at and is_ok else np.nan,
                "relax_seconds": 2.0 if at and is_ok else np.nan,
                "initial_energy_per_atom": -3.0,
                "energy_per_atom": -3.2 if at and is_ok else np.nan,
                "e_above_hull": energy if at and energy is not None else np.nan,
            }
        rows.append(row)
    answers = [name for name in rows[0] if re.search("is_(first|novel|converged|covered)", name)]
    return pd.DataFrame(rows).astype(dict.fromkeys(answers, "boolean"))


def crowd(n: int) -> Observables:
    """Real crystals, as far as a test needs them: rock salts."""
    rng = np.random.default_rng(n)
    shares = np.zeros((n, len(SYMBOLS)))
    shares[:, [11, 17]] = 0.5
    return Observables(
        density=rng.normal(4.0, 1.0, n),
        n_elements=np.full(n, 2),
        space_group_number=np.full(n, 225),
        volume_per_atom=rng.normal(20.0, 3.0, n),
        lattice_parameters=rng.normal(6.0, 1.0, (n, 6)),
        letter_counts=rng.integers(0, 3, (n, 27)),
        element_shares=shares,
    )


def report_of(table: pd.DataFrame, source: str = "made/<b>here") -> dict[str, Any]:
    found = compare(crowd(8), crowd(50), pool=crowd(60), n_draws=3)
    return {
        "source": source,
        **summarise(table, seconds={"generation": 0.5}, judging=Judging("some energies", JUDGE)),
        "distances": {name: {**row, "unit": UNITS[name], "n": 8} for name, row in found.items()},
        "reference": {"name": "mp_20", "split": "val", "n": 50},
        "hull": "some energies (7 phases)" if "relax_status" in table else None,
        "hull_sources": ["DFT"],
        "judge": JUDGE if "relax_status" in table else None,
        "second_judge": None,
        "settings": {"source": "d1" * 32, "relax_first": None, "known": {"train": "a" * 64}},
        "source_facts": {"settings": {"seed": 5, "n_steps": 31}, "rebuilding_seconds": 0.1},
        "seed": 0,
        "versions": {"python": "3.11.7"},
    }


def rock_salt(formula: str = "NaCl", edge: float = 5.64) -> Cell:
    elements = [element_number(symbol) for symbol in re.findall("[A-Z][a-z]?", formula)]
    face = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    coords = np.concatenate([face, face + [0.5, 0, 0]])
    return Cell(edge * np.eye(3), np.repeat(elements, 4), coords)


def files_of(relaxed: dict[int, Cell]) -> dict[int, str]:
    return {index: f"relaxed/{index:05d}.cif" for index in relaxed}


CASES = {"relaxed": {}, "some relaxed": {"relaxed": 4}, "not relaxed": {"relaxed": 0},
         "foreign": {"foreign": True}}  # fmt: skip


def page_of(case: str) -> str:
    table = table_of(**CASES[case])
    relaxed = (
        {index: rock_salt(edge=5.64 + index / 10) for index in range(8)}
        if "relax_status" in table
        else {}
    )
    return report_page(report_of(table), table, crowd(50), relaxed, files_of(relaxed))


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {case: page_of(case) for case in CASES}


class Reader(HTMLParser):
    """Addresses and text of a page; every element that is opened must be closed."""

    VOID = ("meta", "br", "link", "img", "input")
    LEFT_OPEN = ("html",)

    def __init__(self, page: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.stack: list[str] = []
        self.tags: list[str] = []
        self.text = self.scripts = ""
        self.feed(page)
        assert self.stack in ([], ["html"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        loads = ("src", "href", "srcset", "xlink:href")
        self.addresses += [value or "" for name, value in attrs if name in loads]
        self.tags.append(tag)
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.stack:
            self.scripts += data
        elif "style" not in self.stack:
            self.text += f"{data} "


@pytest.mark.parametrize("case", CASES)
def test_page_is_whole_and_loads_nothing(pages: dict[str, str], case: str) -> None:
    reader = Reader(pages[case])
    ours = [address for address in reader.addresses if not address.startswith("#")]
    assert set(ours) <= {"candidates.csv", "candidates/"}
    parts = re.split("<script>.*?</script>", pages[case], flags=re.DOTALL)
    rest = "".join(parts)
    assert not re.search(r"url\((?!#)|@import|<link", rest)
    assert "<b>here" not in rest and "&lt;b&gt;here" in rest
    assert len(rest) < 3e6
    for anchor in re.findall('<a href="#([^"]+)"', rest):
        assert f'id="{anchor}"' in rest
    assert "nan" not in reader.text.lower().split() and "None " not in reader.text


@pytest.mark.parametrize("case", CASES)
def test_every_figure_is_drawn_and_described(pages: dict[str, str], case: str) -> None:
    page = re.sub("<script>.*?</script>", "", pages[case], flags=re.DOTALL)
    for figure in re.findall("<figure.*?</figure>", page, flags=re.DOTALL):
        svg = figure[figure.index("<svg") : figure.index("</svg>") + 6]
        root = ElementTree.fromstring(svg.replace("<svg ", '<svg xmlns:xlink="x" ', 1))
        assert len(root.attrib["aria-label"]) > 20 and root.attrib["role"] == "img"
        assert re.search(r"<figcaption>[^<]{20,}</figcaption>", figure)
        if "elements" not in root.attrib.get("class", ""):
            labels = [text.text or "" for text in root.iter() if text.tag.endswith("text")]
            axes = [label for label in labels if " / " in label]
            assert len(axes) >= 2 or "space groups" in figure or "Distances" in figure, labels
    assert len(re.findall("<figure", page)) >= 7


@pytest.mark.filterwarnings("error")
def test_distances_of_a_reference_without_differences_have_no_dots() -> None:
    distances = report_of(table_of())["distances"]
    found = {name: {**row, "floor_mean": 0.0} for name, row in distances.items()}
    assert "Real crystals do not differ in density," in distance_dots(found).caption


def test_page_is_the_same_again(pages: dict[str, str]) -> None:
    assert page_of("relaxed") == pages["relaxed"]
    ids = re.findall(r' id="([^"]+)"', re.sub("<script>.*?</script>", "", pages["relaxed"]))
    for name in set(ids) - {name for name in ids if name.startswith(("ball-", "crystal-"))}:
        assert ids.count(name) == 1, name


def test_headline_counts_are_the_reports(pages: dict[str, str]) -> None:
    text = " ".join(Reader(pages["relaxed"]).text.split())
    # NaCl, its copy and Fe are below the hull, MgO on it; MgO is known and a copy counts once
    assert "Of 8 crystals requested, 7 (87.5 %) are valid" in text
    assert "4 (50.0 %) of them lie on or below the convex hull" in text
    assert "2 (25.0 %) are stable, unique and new (95 % interval 7.1–59.1 %)" in text
    some = " ".join(Reader(pages["some relaxed"]).text.split())
    assert "The first 4 went to relaxation: 3 (75.0 %) of these 4 lie on" in some
    assert "7 of 8 requested" in some and "3 of 4 relaxed" in some, "each count says of what"


def test_tables_hold_every_convention_and_add_up(pages: dict[str, str]) -> None:
    table = pages["relaxed"].split('<table class="conventions">')[1].split("</table>")[0]
    rows = re.findall("<tr>.*?</tr>", table)[1:]
    report = report_of(table_of())
    # the table has no energies by the paper's rule
    names = ["ours", "mattergen", "lemat"]
    assert len(rows) == 6 and sum("stricter" in row for row in rows) == 3
    counts = {"ours": (4, 2, 5, 3), "mattergen": (4, 2), "lemat": (4, 2, 1, 1)}
    kinds = ["stable", "sun", "metastable", "msun"]
    for row in report["stability"]:
        if row["convention"] == "any" or row["figure"] not in kinds:
            continue
        place = kinds.index(row["figure"])
        assert row["count"] == counts[row["convention"]][place]
        cell = rows[names.index(row["convention"])].split("<td>")[1 + place]
        assert f"<b>{percent(row['rate'], 8)}</b>" in cell
        assert f"<small>{row['count']}</small></td>" in cell
    text = " ".join(Reader(pages["relaxed"]).text.split())
    assert "ok 7 87.5 % reconstruction failed 1 12.5 % all requests 8 100.0 %" in text
    assert "in train 1 1 in val 1 1" in text
    assert "in no split, first of its kind 4 4 in no split, a copy of another 1 1" in text
    assert "not compared 1 1 crystals 8 8" in text


def test_every_crystal_is_a_row_of_data(pages: dict[str, str]) -> None:
    data = re.search(r'id="crystals-data">(.*?)</script>', pages["some relaxed"], re.DOTALL)
    assert data is not None
    content = json.loads(data[1])
    names = [column["name"] for column in content["columns"]]
    assert len(content["rows"]) == len(MADE)
    for row, (index, made) in zip(content["rows"], enumerate(MADE), strict=True):
        found = dict(zip(names, row, strict=False))
        status = made[3].replace("_", " ") + ("" if index < 4 else ", not relaxed")
        assert (found["no."], found["formula"], found["status"]) == (index, made[0], status)
        assert found["name"] == f"<{index}>.cif"
        # the energy of a crystal that was not relaxed is not known
        energy = made[4] if index < 4 else None
        assert found["E above hull / (eV/atom)"] == energy
        assert row[-1] == (f"relaxed/{index:05d}.cif")
    assert "<0>" not in data[1], "texts of others are escaped"


def page_with(table: pd.DataFrame, **facts: Any) -> str:
    """Text of the page of a table, with facts of the report replaced."""
    relaxed = {index: rock_salt() for index in range(8)}
    report = report_of(table) | facts
    page = report_page(report, table, crowd(50), relaxed, files_of(relaxed))
    return " ".join(Reader(page).text.split())


def test_limits_follow_from_the_hull() -> None:
    """What is missing from a hull depends on the hull."""
    whole = {"hull": "whole MP energies (9 phases)", "hull_sources": ["CHGNet 0.3.0", "DFT"]}
    of_whole = page_with(table_of(), **whole)
    assert "every phase that the Materials Project had in its version v2025.02.12" in of_whole
    assert "that of CHGNet 0.3.0 stands in its place, off by 21 meV/atom" in of_whole
    assert "It is incomplete" not in of_whole
    of_open = page_with(table_of())
    assert "It is incomplete" in of_open and "v2025.02.12" not in of_open
    assert "not of DFT" not in of_open
    of_file = page_with(table_of(), hull="mine.parquet", hull_sources=["DFT", "Mine 1.0"])
    assert "It is incomplete" in of_file and "not of DFT but of Mine 1.0" in of_file


def test_a_candidate_says_what_it_rests_on() -> None:
    """NaCl and Fe are stable by the first judge, and TiO2 metastable."""
    table = table_of().assign(
        decomposition=["Na 0.500 DFT; mp-5 0.500 CHGNet 0.3.0", *[None] * 7],
        second_e_above_hull=[0.011, 0.011, 0.5, 0.2, 0.4, -0.222, np.nan, 2.0],
        e_above_hull_unfitted=[0.033] * 8,
        is_stable_by_both=[False, False, False, False, False, True, None, False],
    )
    table["knows_system"] = [True, True, True, False, True, True, None, True]
    text = page_with(table, second_judge="SevenNet 7net-l3i5")
    shown = [int(index) for index in re.findall(r"\(\d+\); crystal (\d)", text)]
    assert shown == [5, 0, 3], "what both judges call stable comes first"
    assert "−0.222 eV/atom by SevenNet 7net-l3i5: stable by both" in text
    assert text.count(": stable by both") == 1
    assert "Decomposes into 0.500 Na DFT 0.500 mp-5 CHGNet 0.3.0" in text
    assert text.count("No phase of all its elements is known") == 1
    assert text.count("+0.033 eV/atom by the paper's rule, nothing fitted") == 3
    plain = page_with(table_of())
    assert "by the paper's rule, nothing fitted" not in plain and "Decomposes" not in plain


def test_a_rate_of_other_requests_says_of_how_many() -> None:
    table = table_of().assign(
        second_status=["ok"] * 3 + [None] * 5, second_e_above_hull=[-0.1] * 3 + [np.nan] * 5
    )
    relaxed = {index: rock_salt() for index in range(8)}
    page = report_page(report_of(table), table, crowd(50), relaxed, files_of(relaxed))
    (line,) = re.findall("<tr><th[^>]*>Both judges.*?</tr>", page)
    assert "<small>3 of 3</small>" in line.replace("</b>", "")


def test_without_relaxation_nothing_is_said_of_stability(pages: dict[str, str]) -> None:
    page = pages["not relaxed"]
    assert "nothing is said of stability" in page and 'id="stability"' not in page
    assert "3Dmol" not in page and "CHGNet" not in page and "eV/atom" not in page
    assert "3Dmol" in pages["relaxed"] and "some energies (7 phases)" in pages["relaxed"]
    assert pages["relaxed"].count('class="symmbfn-crystal"') == 3  # NaCl, Fe and TiO2
    # data and script of the table and the switch of colours; then three views, the viewer
    # itself, and what lets a reader scroll over views
    n_scripts = [Reader(pages[case]).tags.count("script") for case in ("relaxed", "not relaxed")]
    assert n_scripts == [3 + 5, 3]
    assert len(Reader(pages["relaxed"]).scripts) > 400_000


def test_foreign_crystals_have_no_asked_group(pages: dict[str, str]) -> None:
    assert "Space group as asked" in pages["relaxed"]
    assert "Space group as asked" not in pages["foreign"]


HOSTILE = "</script><script>alert('a')</script><!-- \"&<b>"


def hostile_page(text: str) -> str:
    """A page with a text wherever one comes from a file."""
    table = table_of().assign(name=text, reason=text, decomposition=f"{text} 0.500 {text}")
    table = table.assign(second_e_above_hull=-0.1, relax_reason=text)
    table["known_split"] = table["known_split"].replace("train", text)
    report = report_of(table, source=f"made/{text}")
    report["statuses"] = {**report["statuses"], text: 1}
    report["relaxation"]["statuses"] = {text: 8}
    report["reference"] = {"name": text, "split": text, "n": 50}
    report["rates"][text] = report["rates"]["ok"]
    report |= {"hull": text, "versions": {text: text}, "left_out": {"paper_rule": text}}
    report |= {"judge": text, "second_judge": text, "hull_sources": ["DFT", text]}
    for row in report["stability"]:
        row |= {"references": text, "judge": text}
    report["source_facts"] = {"weights_name": text, "settings": {text: [text]}}
    relaxed = {index: rock_salt() for index in range(8)}
    return report_page(report, table, crowd(50), relaxed, files_of(relaxed))


def test_texts_of_others_stay_texts() -> None:
    page, plain = Reader(hostile_page(HOSTILE)), Reader(hostile_page("plain"))
    assert page.tags == plain.tags, "no element that was not there before"
    # title and heading show the last part of a path alone
    assert page.text.count(HOSTILE) == plain.text.count("plain") - 2 > 12
    assert "alert('a')" not in page.scripts


def test_a_formula_is_shown_as_it_is() -> None:
    assert formula_html("Al2O3") == "Al<sub>2</sub>O<sub>3</sub>"
    assert Reader(str(formula_html("<i>'2'"))).text.replace(" ", "") == "<i>'2'"


def test_draws_coverage_and_gaps_are_shown_where_they_are_known(pages: dict[str, str]) -> None:
    table = table_of().assign(band_gap=[1.25, np.nan, 0.0, 0.0, 2.0, 0.0, np.nan, 1.0])
    report = report_of(table)
    values = {name: (0.123, 0.045) for name in report["distances"]}
    report["distances_of_1000"] = {"valid": values, "all": values}
    report["coverage"] = {"n_reference": 50, "n_generated": 8, "n_recalled": 45, "n_precise": 6}
    report["coverage"] |= {"n_recalled_jointly": 40, "n_precise_jointly": 4}
    relaxed = {index: rock_salt() for index in range(8)}
    page = report_page(report, table, crowd(50), relaxed, files_of(relaxed))
    text = " ".join(Reader(page).text.split())
    assert text.count("0.123 ± 0.045") == 16
    assert "near a generated one 90.0 % 45 of 50 80.0 % 40 of 50" in text
    assert "near a real one 75.0 % 6 of 8 50.0 % 4 of 8" in text
    assert "band gap 1.2 eV, as predicted" in text and text.count("a metal, as predicted") == 2
    before = " ".join(Reader(pages["relaxed"]).text.split())
    assert "Coverage" not in before and "draws of 1,000" not in before and "predicted" not in before


def test_funnel_bars_are_as_long_as_their_counts() -> None:
    steps = [("requested", 8), ("valid", 6), ("unique", 2)]
    table = table_of(relaxed=0)
    report = report_of(table)
    report["funnel"] = [{"name": name, "count": count, "n": 8} for name, count in steps]
    page = report_page(report, table, crowd(50), {}, {})
    bars = page.split('<ol class="bars">')[1].split("</ol>")[0]
    widths = re.findall('class="full" width="([0-9.]+)"', bars)
    assert [float(width) for width in widths] == [100, 75, 25]


def test_symbols_are_written_as_printed() -> None:
    assert "<i>P</i>6<sub>3</sub>/<i>m</i><i>m</i><i>c</i>" in space_group_html(194)
    assert '<i>F</i><i>m</i><span class="bar">3</span><i>m</i>' in space_group_html(225)
