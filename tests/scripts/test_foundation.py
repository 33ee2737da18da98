"""The script of the claims keeps per-crystal results for the code that found them, and no other."""

from pathlib import Path

import pytest

from symmbfn.datasets.registry import load_dataset


def test_the_digest_is_that_of_all_code_behind_a_script(tmp_path: Path) -> None:
    from scripts.foundation.data import code_digest

    contents = {
        "script.py": "from symmbfn.a import (\n    x,\n)\n",
        "symmbfn/a.py": "def x():\n    from symmbfn.b import y\n",
        "symmbfn/b/__init__.py": "",
        "symmbfn/b/c.py": "",
        "symmbfn/crystals/symmetry_tables.npz": "",
        "symmbfn/other.py": "",
    }
    for name, text in contents.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    script = str(tmp_path / "script.py")
    before = code_digest(script, tmp_path)
    for name, text in contents.items():
        (tmp_path / name).write_text(text + "# new")
        is_same = code_digest(script, tmp_path) == before
        assert is_same == (name == "symmbfn/other.py"), name
        (tmp_path / name).write_text(text)
    assert code_digest(script, tmp_path) == before


def test_a_round_trip_is_judged_again_by_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.foundation import data
    from scripts.foundation.claims import Options

    table = tmp_path / "two.csv"
    load_dataset("prototypes").head(2).to_csv(table, index=False)
    monkeypatch.setattr(data, "FILES", {"two": [(str(table), None)]})
    options = Options("command", tmp_path / "work")
    assert data.round_trip(options).value == 100
    monkeypatch.setattr(data, "comes_back", lambda *_: False)
    assert data.round_trip(options).value == 100
    monkeypatch.setattr(data, "code_digest", lambda _: "other")
    assert data.round_trip(options).value == 0


def test_generated_crystals_are_kept_by_code(
    tmp_path: Path, tiny_weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from scripts.foundation import generation
    from scripts.foundation.claims import Options

    places = []

    def note(model: object, sampler: object, path: Path, *_: object) -> list[dict]:
        places.append(path)
        return [{}]

    monkeypatch.setattr(generation, "requests", note)
    options = Options("command", tmp_path, n=1, weights=str(tiny_weights), seeds=(0,))
    for digest in ("one", "one", "other"):
        monkeypatch.setattr(generation, "code_digest", lambda _, d=digest: d)
        with pytest.raises(KeyError):  # rates of no judgements
            list(generation.generate(options))
    assert places[0] == places[1] != places[2]
