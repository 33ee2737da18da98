"""The table of all crystals is of the relaxed ones where there are any; phases are read exactly."""

import json

import numpy as np
import pandas as pd

from symmbfn.pages.crystal_rows import crystal_rows, decomposition


def table_of(**columns: list) -> pd.DataFrame:
    """A relaxed crystal that lost its group and is known, a failure, and one not relaxed."""
    rows = {
        "index": [0, 1, 2],
        "name": ["0", "1", "2"],
        "formula": ["NaCl", "Fe", "NaCl"],
        "n_atoms": [8, 2, 8],
        "status": ["ok", "ok", "ok"],
        "found_group": [225, 229, 225],
        "is_novel": [True, True, True],
        "duplicate_of": [0, 1, 0],
        "relax_status": ["ok", "relaxation_diverged", None],
        "relaxed_group": [123, None, None],
        "relaxed_is_novel": [False, None, None],
        "relaxed_duplicate_of": [0, None, None],
        "e_above_hull": [-0.01234, np.nan, np.nan],
    }
    answers = ("is_novel", "relaxed_is_novel")
    whole = ("relaxed_group", "duplicate_of", "relaxed_duplicate_of")
    types = dict.fromkeys(answers, "boolean") | dict.fromkeys(whole, "Int64")
    return pd.DataFrame(rows | columns).astype(types)


def test_rows_are_of_the_relaxed_crystals_where_there_are_any() -> None:
    found = crystal_rows(table_of(), {0: "relaxed/0.cif"})
    assert [column["name"] for column in found["columns"]] == [
        *("no.", "formula", "space group", "atoms", "E above hull / (eV/atom)"),
        *("status", "new", "copy of"),
    ]
    assert found["rows"] == [
        [0, "NaCl", 123, 8, -0.0123, "ok", "no", None, "relaxed/0.cif"],
        [1, "Fe", None, 2, None, "relaxation diverged", None, None, None],
        [2, "NaCl", 225, 8, None, "ok, not relaxed", "yes", "no. 0", None],
    ]
    assert found["symbols"] == {123: "P4/mmm", 225: "Fm-3m"}
    assert json.loads(json.dumps(found, allow_nan=False))["rows"] == found["rows"]


def test_columns_that_a_table_has_are_shown() -> None:
    energies = {"second_e_above_hull": [0.5, np.nan, np.nan], "name": ["a.cif", "1", "2"]}
    found = crystal_rows(table_of(**energies), {})
    names = [column["name"] for column in found["columns"]]
    first = dict(zip(names, found["rows"][0], strict=False))
    assert first["the same, second judge"] == 0.5 and first["name"] == "a.cif"
    plain = table_of().drop(columns="e_above_hull")
    plain = plain.drop(columns=[name for name in plain if name.startswith("relax")])
    found = crystal_rows(plain, {})
    assert [row[4:] for row in found["rows"]] == [
        ["ok", "yes", None, None],
        ["ok", "yes", None, None],
        ["ok", "yes", "no. 0", None],
    ]


def test_phases_have_name_share_and_source() -> None:
    text = "mp-149 0.600 DFT; hull of mp-1 0.250 CHGNet 0.3.0; Na 0.150 DFT"
    assert decomposition(text) == [
        {"name": "mp-149", "share": "0.600", "source": "DFT"},
        {"name": "hull of mp-1", "share": "0.250", "source": "CHGNet 0.3.0"},
        {"name": "Na", "share": "0.150", "source": "DFT"},
    ]
    for unknown in (None, np.nan, ""):
        assert decomposition(unknown) == []
