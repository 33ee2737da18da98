"""Judges of another environment: right files, right numbers, and no crystal lost on the way."""

import hashlib
import json
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spglib

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies import matgl, matgl_process
from symmbfn.evaluation.energies.matgl import MatglJudge, judges_folder, predict_matgl
from symmbfn.evaluation.energies.matgl_process import KNOWN_CRYSTALS, KNOWN_VALUES, MODELS

ROOT = Path(__file__).resolve().parents[3]
# speaks the protocol: gold hangs, mercury dies, lead is refused; else the number of atoms
IMPOSTOR = """
    import json, os, sys, time
    print(json.dumps({"versions": {"matgl": "0"}}), flush=True)
    for line in sys.stdin:
        numbers = json.loads(line)["atomic_numbers"]
        if 79 in numbers:
            time.sleep(60)
        if 80 in numbers:
            os._exit(7)
        values = dict.fromkeys(%s, float(len(numbers)))
        print(json.dumps({"reason": "no lead"} if 82 in numbers else values), flush=True)
"""


def cell_of(*atomic_numbers: int) -> Cell:
    coords = np.arange(3.0 * len(atomic_numbers)).reshape(-1, 3) / 10
    return Cell(4 * np.eye(3), np.array(atomic_numbers), coords)


@pytest.fixture
def interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program in the place of the judges, which runs some code whatever it is asked."""
    monkeypatch.setenv("SYMMBFN_JUDGES", str(tmp_path))
    path = tmp_path / "python"
    monkeypatch.setattr(matgl, "PYTHON", path)

    def write(code: str) -> None:
        path.write_text(f"#!{sys.executable}\n{textwrap.dedent(code)}")
        path.chmod(0o755)

    return write


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models with random content and the list of their digests."""
    folder = tmp_path / "weights"
    lines = []
    for model in MODELS.values():
        for name in (*matgl_process.NEEDED, "README.md"):
            path = folder / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(os.urandom(40))
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            lines.append(f"{digest}  {model}/{name}\n")
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def test_every_crystal_has_a_row_whatever_the_process_does(
    interpreter: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    interpreter(IMPOSTOR % list(MODELS))
    monkeypatch.setattr(matgl, "TIME_LIMIT", 1.0)
    cells = [cell_of(1), cell_of(79), cell_of(1, 2), cell_of(80), cell_of(82), cell_of(3, 4, 5)]
    table = predict_matgl(cells)
    assert table["reason"].tolist() == [
        "",
        "timeout: more than 1 s",
        "",
        "worker_lost: exit code 7",
        "no lead",
        "",
    ]
    for name in MODELS:
        np.testing.assert_array_equal(table[name], [1, np.nan, 2, np.nan, np.nan, 3])


def test_no_crystals_are_an_empty_table(interpreter: Callable[[str], None]) -> None:
    interpreter(IMPOSTOR % list(MODELS))
    table = predict_matgl([])
    assert list(table.columns) == [*MODELS, "reason"] and not len(table)


def test_the_process_gets_the_crystal_as_it_is(interpreter: Callable[[str], None]) -> None:
    interpreter(
        """
        import json, sys
        print(json.dumps({"versions": {}}), flush=True)
        print(json.dumps({"reason": sys.stdin.readline()}), flush=True)
        """
    )
    cell = cell_of(11, 17)
    with MatglJudge() as judge:
        told = json.loads(judge.ask(cell)["reason"])
    for name in ("lattice_matrix", "atomic_numbers", "fractional_coords"):
        np.testing.assert_array_equal(told[name], getattr(cell, name))


def test_a_missing_environment_is_one_line_that_says_what_to_do(
    interpreter: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^no interpreter .*`make judges` builds it$"):
        predict_matgl([])
    interpreter("import sys; sys.exit(3)")
    with pytest.raises(ValueError, match=r"`make judges`.*exit code 3$"):
        predict_matgl([])
    # this interpreter is none of matgl's, and the models are no models
    monkeypatch.setattr(matgl, "PYTHON", Path(sys.executable))
    with pytest.raises(ValueError, match=r"`make judges`.*has no SHA256SUMS$"):
        predict_matgl([])


def test_the_folder_is_named_or_lies_beside_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    monkeypatch.delenv("SYMMBFN_JUDGES", raising=False)
    monkeypatch.delenv("SYMMBFN_DATA", raising=False)
    with pytest.raises(ValueError, match="SYMMBFN_JUDGES"):
        judges_folder()
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path / "data"))
    with pytest.raises(ValueError, match="no folder .*weights.*SYMMBFN_JUDGES"):
        judges_folder()
    (tmp_path / "weights").mkdir()
    assert judges_folder() == tmp_path / "weights"
    monkeypatch.setenv("SYMMBFN_JUDGES", str(tmp_path / "data"))
    assert judges_folder() == tmp_path / "data"


def test_an_altered_missing_or_unlisted_file_is_refused(models: Path) -> None:
    matgl_process.check_digests(models, MODELS.values())
    path = models / MODELS["megnet_band_gap"] / "state.pt"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=r"state\.pt is not the file that SHA256SUMS lists"):
        matgl_process.check_digests(models, MODELS.values())
    path.unlink()
    with pytest.raises(ValueError, match=r"state\.pt is not there"):
        matgl_process.check_digests(models, MODELS.values())
    path.write_bytes(content)
    listed = (models / "SHA256SUMS").read_text().splitlines()
    (models / "SHA256SUMS").write_text("\n".join(line for line in listed if "state" not in line))
    with pytest.raises(ValueError, match=r"does not list .*state\.pt"):
        matgl_process.check_digests(models, MODELS.values())


def test_nothing_is_loaded_from_an_altered_file(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMMBFN_JUDGES", str(models))
    monkeypatch.setattr(matgl, "PYTHON", Path(sys.executable))
    (models / MODELS["m3gnet_formation_energy"] / "README.md").write_text("altered")
    with pytest.raises(ValueError, match=r"README\.md is not the file"):
        MatglJudge()


def test_wrong_numbers_are_refused() -> None:
    """As of matgl 4, which loads and is wrong; 0.001 eV is allowed, 0.002 is not."""
    formulas = list(KNOWN_CRYSTALS)

    def known(crystal: dict) -> dict[str, float]:
        place = list(KNOWN_CRYSTALS.values()).index(crystal)
        return {name: values[place] for name, values in KNOWN_VALUES.items()}

    matgl_process.check_known_values(known)
    matgl_process.check_known_values(lambda c: {k: v + 9e-4 for k, v in known(c).items()})
    for wrong in (2e-3, -2e-3, float("nan")):
        with pytest.raises(ValueError, match=f"{formulas[0]}.*make judges"):
            matgl_process.check_known_values(
                lambda c, wrong=wrong: known(c) | {"megnet_band_gap": 5.031 + wrong}
            )


@pytest.mark.parametrize(
    "formula, group", [("NaCl", 225), ("Si", 227), ("TiO2", 136), ("MgO", 225), ("Cu", 225)]
)
def test_known_crystals_are_what_they_are_called(formula: str, group: int) -> None:
    cell = Cell(**{name: np.array(value) for name, value in KNOWN_CRYSTALS[formula].items()})
    assert re.sub(r"\d", "", cell.formula) == re.sub(r"\d", "", formula)
    found = spglib.get_symmetry_dataset(
        (cell.lattice_matrix, cell.fractional_coords, cell.atomic_numbers), symprec=1e-5
    )
    assert found is not None and found.number == group


def test_answers_are_values_or_a_reason() -> None:
    values = dict.fromkeys(MODELS, 1.0)
    assert matgl_process.answer(lambda crystal: values | crystal, '{"x": 2}') == values | {"x": 2}
    assert matgl_process.answer(lambda _: {"a": float("nan"), "b": 1.0}, "{}") == {
        "reason": "a not finite"
    }
    assert matgl_process.answer(lambda crystal: crystal["no"], "{}") == {"reason": "KeyError: 'no'"}


def test_every_pin_is_a_version() -> None:
    pins = (ROOT / "judges-requirements.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in pins if not pin.startswith("#"))


@pytest.mark.slow
@pytest.mark.skipif(not matgl.PYTHON.is_file(), reason="needs `make judges`")
def test_the_real_judges_know_salt_in_any_cell_and_refuse_the_impossible() -> None:
    known = KNOWN_CRYSTALS["NaCl"]
    salt = Cell(**{name: np.array(value) for name, value in known.items()})
    alone = Cell(30 * np.eye(3), np.array([11]), np.zeros((1, 3)))
    table = predict_matgl([salt, salt.primitive(), alone])
    for name in MODELS:
        np.testing.assert_allclose(table[name][:2], KNOWN_VALUES[name][0], atol=1e-3)
    assert np.isnan(table["megnet_band_gap"][2]) and "not finite" in table["reason"][2]
