"""Whatever a `Source:` cites is there: a label of the book, a paper, a section of the paper."""

import ast
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
from pybtex.database import Entry, parse_file
from pybtex.richtext import Text

ROOT = Path(__file__).resolve().parents[1]
BOOK, SECTIONS = ROOT / "book", ROOT / "book" / "method" / "index.md"
CITING = sorted(path for room in ("symmbfn", "scripts") for path in (ROOT / room).rglob("*.py"))

OF_PAPER = re.compile(r'Methods, "(?P<section>[^"]+)"(?:, Eqs?\. (?P<equations>\d+(?: and \d+)*))?')
FLOAT = re.compile(r"(?:Table|Fig\.) \d+")
LABEL = re.compile(r"book, (?P<label>[a-z][a-z0-9:-]*)")
OTHER = re.compile(
    r"(?P<authors>[A-Z][^\d:;]*?) (?P<year>\d{4})(?: \((?P<name>[^)]+)\))?"
    r"(?:, (?:Eq|Sec|Alg|Table|Fig)\.? [\d.]+)?"
)


def sources(path: Path) -> Iterator[str]:
    """What follows each `Source:` in the docstrings and comments of a file, to the next gap."""
    for paragraph in re.split(r"\n\s*\n", "\n\n".join(texts(path))):
        for found in paragraph.split("Source:")[1:]:
            yield " ".join(found.split()).removesuffix(".")


def texts(path: Path) -> Iterator[str]:
    """Docstrings of a file, and its comments, those of neighbouring lines as one."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    block, last = [], 0
    with tokenize.open(path) as file:
        for token in tokenize.generate_tokens(file.readline):
            if token.type == tokenize.COMMENT:
                if token.start[0] > last + 1:
                    yield "\n".join(block)
                    block = []
                block.append(token.string.lstrip("# "))
                last = token.start[0]
    yield "\n".join(block)


@cache
def labels() -> set[str]:
    """Labels of sections and equations, of all pages and chapters."""
    pages = [*BOOK.rglob("*.md"), *(ROOT / "notebooks").glob("*.py")]
    found = (re.findall(r"^(?:# )?(?:\$\$ )?\(([^()]+)\)=?$", p.read_text(), re.M) for p in pages)
    return {label for of_page in found for label in of_page}


@cache
def paper() -> tuple[dict[str, set[str]], set[str]]:
    """The paper's sections with the numbers of their equations, and its tables and figures."""
    page = SECTIONS.read_text().split("(method-paper-sections)=")[1].split("\n(method-")[0]
    rows = re.findall(r'^\| Methods, "([^"]+)" \|([\d, ]*)\|$', page, re.M)
    equations = {section: set(re.findall(r"\d+", numbers)) for section, numbers in rows}
    return equations, set(FLOAT.findall(page))


@cache
def papers() -> dict[str, list[str]]:
    """Keys of the bibliography by authors and year, as `Ho and Salimans 2022`."""
    found: dict[str, list[str]] = {}
    for key, entry in parse_file(BOOK / "references.bib").entries.items():
        found.setdefault(f"{authors(entry)} {entry.fields['year']}", []).append(key)
    return found


def authors(entry: Entry) -> str:
    people = entry.persons.get("author") or entry.persons["editor"]
    names = [str(Text(" ").join(person.rich_last_names)) for person in people]
    return names[0] + " et al." if len(names) > 2 else " and ".join(names)


def problem(citation: str) -> str:
    """What is wrong with one citation; empty where nothing is."""
    cited = re.split(r": ", citation, maxsplit=1)[0]
    if cited == "ours":
        return ""
    if found := LABEL.fullmatch(cited):
        return "" if found["label"] in labels() else f"the book has no label {found['label']}"
    sections, floats = paper()
    if FLOAT.fullmatch(cited):
        return "" if cited in floats else f"{SECTIONS.name} lists no {cited}"
    if found := OF_PAPER.fullmatch(cited):
        missing = set(re.findall(r"\d+", found["equations"] or ""))
        missing -= sections.get(found["section"], set())
        is_there = found["section"] in sections and not missing
        return "" if is_there else f"{SECTIONS.name} lists no {cited}"
    if found := OTHER.fullmatch(cited):
        keys = papers().get(f"{found['authors']} {found['year']}", [])
        name = re.sub(r"\W", "", found["name"] or "").lower()
        return "" if any(name in key for key in keys) else f"references.bib has no {cited}"
    return f"no form of a citation: {citation!r}"


def problems(source: str) -> list[str]:
    return [found for citation in source.split("; ") if (found := problem(citation))]


def test_every_citation_is_found() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {source}": found
        for path in CITING
        for source in sources(path)
        if (found := problems(source))
    }
    assert not wrong


def test_citations_of_all_kinds_are_read() -> None:
    """A reader of docstrings that finds none would pass the test above."""
    found = [citation for path in CITING for s in sources(path) for citation in s.split("; ")]
    for form in (OF_PAPER, LABEL, OTHER, re.compile("ours")):
        assert sum(bool(form.match(citation)) for citation in found) > 10


@pytest.mark.parametrize(
    "right",
    [
        "ours",
        "ours: inverse transform sampling",
        "book, method-lattice",
        "book, method-eq-k; ours: the order of the sums",
        'Methods, "Atom types", Eqs. 6 and 10',
        "Table 2",
        "Wu et al. 2025 (CrysBFN), Eq. 5",
        "Ho and Salimans 2022",
        "Schütt et al. 2017 (SchNet): radial basis",
    ],
)
def test_right_citations_pass(right: str) -> None:
    assert not problems(right)


@pytest.mark.parametrize(
    "wrong",
    [
        "book, method-latice",
        "book, lattice",
        'Methods, "Atoms"',
        'Methods, "Atom types", Eq. 4',
        "Methods, sampling",
        "Table 9",
        "Wu et al. 2024 (CrysBFN)",
        "Jiao et al. 2024 (CrysBFN)",
        "Ho 2022",
        "ours, mostly",
        "method 3.1",
        "ours; a colleague",
    ],
)
def test_wrong_citations_are_found(wrong: str) -> None:
    assert problems(wrong)


def test_nothing_cites_a_text_that_is_not_here() -> None:
    foreign = re.compile(
        r"method\.md|\bmethod §?\d+\.\d|\bmethod,? (?:section|appendix)|\busers, \"", re.IGNORECASE
    )
    folders = ("symmbfn", "scripts", "tests", "notebooks", "book")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    files += ROOT.glob("*.md")
    read = [f for f in files if f.suffix in (".py", ".md", ".ipynb", ".json", ".bib")]
    assert not [
        f"{path.relative_to(ROOT)}: {line.strip()[:100]}"
        for path in read
        if path != Path(__file__).resolve()
        for line in path.read_text().splitlines()
        if foreign.search(line)
    ]
