"""Files of requests: what is read is what was asked for, and every mistake names its line."""

import json
import pickle
from pathlib import Path

import pytest

from symmbfn.conditions.request import Request
from symmbfn.conditions.request_files import FIELDS, read_requests

ROWS = [
    {},
    {"n": 3, "space_group_number": "225,cubic"},
    {"elements": "Li,Fe,P,O", "n": 10, "exclude": "H"},
    {"composition": "LiFePO4", "atoms": 28},
    {"template": "221: Sr 1a, Ti 1b, O 3c"},
    {"lattice": "4 4 4 90 90 90", "require": "Na"},
    {"properties": ["band_gap=1..2", "e_above_hull=0"], "guidance": 2.5, "only": "O,Ti"},
]
FIRST, SEED = 100, 3


def expected() -> list[Request]:
    requests, start = [], FIRST
    for row in ROWS:
        requests.append(Request.of(**{"n": 1, **row}, first=start, seed=SEED))
        start += requests[-1].n
    return requests


def json_lines(rows: list[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: list[dict], names: list[str], end: str = "\n") -> str:
    """Quoted cells, as a spreadsheet writes them."""
    lines = [",".join(names)]
    for row in rows:
        cells = (row.get(name, "") for name in names)
        cells = (";".join(cell) if isinstance(cell, list) else cell for cell in cells)
        lines.append(",".join(f'"{cell}"' for cell in cells))
    return "".join(line + end for line in lines)


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_lines_of_json_are_requests_numbered_through(tmp_path: Path) -> None:
    found = read_requests(written(tmp_path, "a.jsonl", json_lines(ROWS)), first=FIRST, seed=SEED)
    assert list(found.requests) == expected()
    assert found.lines == tuple(range(1, 8))


def test_a_table_says_the_same(tmp_path: Path) -> None:
    names = [name for name in FIELDS if name != "keep"]
    # a row of nothing but empty cells is a blank one
    rows = [{"n": 1}, *ROWS[1:]]
    found = read_requests(written(tmp_path, "a.csv", table(rows, names)), first=FIRST, seed=SEED)
    assert list(found.requests) == expected()
    assert found.lines == tuple(range(2, 9))


def test_names_of_options_are_names_of_fields(tmp_path: Path) -> None:
    text = "n, space-group, property\n2,225,band_gap=1..2; e_above_hull=0 ;\n"
    (one,) = read_requests(written(tmp_path, "a.csv", text)).requests
    wanted = {"space_group": 225, "property": {"band_gap": [1, 2], "e_above_hull": 0}, "n": 2}
    assert read_requests(written(tmp_path, "a.jsonl", json.dumps(wanted))).requests == (one,)
    assert one == Request.of(
        n=2, space_group_number=225, properties=["band_gap=1..2", "e_above_hull=0"]
    )


def test_json_types_are_taken_as_in_python(tmp_path: Path) -> None:
    row = {
        "elements": ["Sr", 22, "O"],
        "lattice": [4, 4, 4, 90, 90, 90.0],
        "composition": {"Sr": 1, "Ti": 1, "O": 3},
        "atoms": None,
        "space_group_number": [221, "Fm-3m"],
    }
    (one,) = read_requests(written(tmp_path, "a.jsonl", json.dumps(row))).requests
    assert one == Request.of(n=1, **row)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: "\ufeff" + text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: "\ufeff\r\n" + text.replace("\n", "\r\n \r\n") + "\r\n\r\n",
        lambda text: text.rstrip("\n"),
    ],
    ids=["BOM", "Windows", "all with blank lines", "no last end"],
)
def test_marks_blank_lines_and_line_ends_change_nothing(form: str, change, tmp_path: Path) -> None:
    rows = [{"n": 2}, {"n": 3, "elements": "Li,O"}]
    text = json_lines(rows) if form == "jsonl" else table(rows, ["n", "elements"])
    plain = read_requests(written(tmp_path, f"plain.{form}", text))
    found = read_requests(written(tmp_path, f"changed.{form}", change(text)))
    assert found.requests == plain.requests
    assert [request.n for request in found.requests] == [2, 3]


def test_blank_lines_count_in_the_numbers_of_lines(tmp_path: Path) -> None:
    found = read_requests(written(tmp_path, "a.jsonl", '\n{"n": 1}\n\n\n{"n": 2}\n'))
    assert found.lines == (2, 5)
    found = read_requests(written(tmp_path, "a.csv", 'n,only\n\n1,"Li,\nO"\n,\n2,O\n'))
    assert found.lines == (3, 6), "a cell may have two lines; the first of them counts"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"n": 1}\n{"n": 0}', "line 2: n must .* got 0"),
        ('{"n": 1}\n{"n": 2.0}', r"line 2: n must .* got 2\.0"),
        ('{"n": true}', "line 1: n must .* got True"),
        ('{"n": "5"}', "line 1: n must .* got '5'"),
        ('{"n": 1, "n": 2}', "line 1: 'n' is there twice"),
        ('{"space_group": 1, "space-group": 2}', "line 1: 'space-group' is there twice"),
        ('{"property": {"band_gap": 1, "band_gap": 2}}', "line 1: 'band_gap' is there twice"),
        ('\n{"elments": "Li"}', "line 2: no field 'elments': there are atoms, .*elements"),
        ('{"first": 3}', "line 1: first is one for the whole file"),
        ('{"seed": 3}', "line 1: seed is one for the whole file"),
        ('{"chemistry": {"elements": "Li"}}', "line 1: no field 'chemistry'"),
        ('{"elements": "Li,Qq"}', "line 1: elements: 'Qq' is no element"),
        ('{"guidance": NaN}', "line 1: NaN is no number"),
        ('{"guidance": "2"}', "line 1: guidance must .* got '2'"),
        ('{"properties": {"band_gap": [1, 2, 3]}}', r"line 1: .*band_gap.*\[1, 2, 3\]"),
        ('{"template": 5}', "line 1: template must be a CIF or a crystal, got 5"),
        ('{"template": "no.cif"}', "line 1: template 'no.cif'"),
        ('{"n": 1}\n[1, 2]', r"line 2: a request is an object .* got '\[1, 2\]'"),
        ('{"n": 1}\n{"n": 1', "line 2: column .* is no JSON"),
        ("n,elements\n1,Li", "line 1: column 1 is no JSON.*'n,elements'"),
        ('{"n": 1}{"n": 2}', "line 1: column 9 is no JSON"),
        ("[" * 100_000, "line 1: "),
        ("", "has no requests"),
        ("\ufeff \n\n", "has no requests"),
    ],
)
def test_mistakes_in_json_name_the_line_and_the_value(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", text)
    with pytest.raises(ValueError, match=said) as caught:
        read_requests(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("n,elements\n1,Li\n0,Li", "line 3: n must .* got 0"),
        ("n\n2.5", r"line 2: n must .* got '2\.5'"),
        ("n\n1_0", "line 2: n must .* got '1_0'"),
        ("n\nmany", "line 2: n must .* got 'many'"),
        ("n,guidance\n1,strong", "line 2: guidance must .* got 'strong'"),
        ("n,guidance\n1,nan", "line 2: guidance must .* got nan"),
        ("composition,atoms\nLiFePO4,8", "line 2: atoms 8 "),
        ("n,property\n1,band_gap", "line 2: property 'band_gap' must be"),
        ("n,property\n1,band_gap=1;band_gap=2", "line 2: property band_gap is asked for twice"),
        ("n,elements\n1,Li,O", "line 2: 3 cells for 2 columns"),
        ("n,elements\n1", "line 2: 1 cells for 2 columns"),
        ("n;elements\n1;Li", "line 1: no field 'n;elements'"),
        ("n,n\n1,1", "line 1: 'n' is there twice"),
        ("n,space_group,space_group_number\n1,1,1", "line 1: 'space_group_number' is there twice"),
        ("n,\n1,1", "line 1: no field ''"),
        ("n,seed\n1,1", "line 1: seed is one for the whole file"),
        ("1,Li\n2,O", "line 1: no field '1'"),
        ('n,elements\n1,"Li', "line 2: "),
        ("n,elements\n", "has no requests"),
        ("n,elements\n,\n", "has no requests"),
        ("", "has no requests"),
    ],
)
def test_mistakes_in_tables_name_the_line_and_the_value(
    text: str, said: str, tmp_path: Path
) -> None:
    path = written(tmp_path, "a.csv", text)
    with pytest.raises(ValueError, match=said) as caught:
        read_requests(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_beyond_64_bits_are_refused_where_they_arise(tmp_path: Path) -> None:
    path = written(tmp_path, "a.jsonl", '{"n": 2}\n{"n": 2}')
    with pytest.raises(ValueError, match=r"line 2: first \+ n must be at most 2\^63"):
        read_requests(path, first=2**63 - 3)
    for name in ("first", "seed"):
        with pytest.raises(ValueError, match=f"^{name} must .* got -1"):
            read_requests(path, **{name: -1})


def test_other_files_are_refused(tmp_path: Path) -> None:
    for name in ("a.json", "a.txt", "a"):
        with pytest.raises(ValueError, match=r"\.csv or a \.jsonl file, got .*a"):
            read_requests(written(tmp_path, name, "{}"))
    for form in ("csv", "jsonl"):
        pickled = written(tmp_path, f"pickled.{form}", pickle.dumps({"n": 1}))
        with pytest.raises(ValueError, match="pickled.* is no UTF-8 text"):
            read_requests(pickled)
        with pytest.raises(OSError, match="nowhere"):
            read_requests(tmp_path / f"nowhere.{form}")
