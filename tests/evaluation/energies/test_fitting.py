"""A potential is tied to the hull by crystals whose formation energies are known, or refused."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies import fitting
from symmbfn.evaluation.energies.fitting import least_deviations, rows_of_all_elements
from symmbfn.evaluation.energies.own_judge import factory_of, make_own, own_judge
from symmbfn.evaluation.energies.potentials import AsePotential
from tests.evaluation.energies.toys import COUNTS, alloy, alloys, emt_formation_energy, write_world

EMT = "ase.calculators.emt:EMT"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYMMBFN_DATA", str(tmp_path))
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path / "cache"))
    write_world(tmp_path, alloys())
    return tmp_path


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many crystals each call of the workers is given."""
    seen: list[int] = []
    real: Callable[..., Iterator[Any]] = fitting.run_killable

    def counted(function: Any, items: list[str], **options: Any) -> Iterator[Any]:
        seen.append(len(items))
        return real(function, items, **options)

    monkeypatch.setattr(fitting, "run_killable", counted)
    return seen


def test_the_fit_finds_what_each_element_counts(
    world: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    seen = count_calls(monkeypatch)
    judge = own_judge(EMT, workers=2)
    assert judge.references.energies == pytest.approx(COUNTS, abs=1e-3)
    assert judge.references.held_out_mae == pytest.approx(0.0, abs=1e-3)
    assert judge.references.n_crystals == 20 and judge.references.n_held_out == 10
    assert "fitted to 20 crystals, 0.000 eV/atom off on others" in capsys.readouterr().err
    assert judge.name.startswith(f"{EMT} (ase 3.")
    cell = Cell.from_pymatgen(alloy("Cu", "Au"))
    (point,) = judge.make()([cell])
    energy = judge.formation_energy(cell, point.energy_per_atom)
    assert energy == pytest.approx(emt_formation_energy(alloy("Cu", "Au")), abs=1e-3)
    gold_oxide = Cell(4.0 * np.eye(3), np.array([79, 8]), np.array([[0.0] * 3, [0.5] * 3]))
    assert np.isnan(judge.formation_energy(gold_oxide, 1.0))
    assert judge.without_reference(gold_oxide) == ["O"]
    assert seen == [20, 10]
    again = own_judge(EMT, workers=2)
    assert again.references == judge.references and seen == [20, 10], "nothing is computed twice"


def test_a_fit_that_was_stopped_goes_on(world: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = own_judge(EMT).references
    (result,) = (world / "cache").rglob("*.json")
    result.unlink()
    journal = max((world / "cache").rglob("*.jsonl"), key=lambda path: path.stat().st_size)
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:13]) + lines[13][:20])
    seen = count_calls(monkeypatch)
    assert own_judge(EMT).references == whole
    assert seen == [7, 0]


def test_other_data_are_another_fit(world: Path) -> None:
    first = own_judge(EMT).references
    write_world(world, alloys(), lambda one: emt_formation_energy(one) + 0.01)
    second = own_judge(EMT).references
    assert first.digest != second.digest
    assert second.energies["Cu"] == pytest.approx(first.energies["Cu"] - 0.01, abs=1e-6)


def test_energies_that_no_references_explain_are_refused(world: Path) -> None:
    signs = iter(np.where(np.arange(30) % 2, 0.6, -0.6))
    write_world(world, alloys(), lambda one: emt_formation_energy(one) + next(signs))
    with pytest.raises(ValueError, match=r"(?s)^formation energies by ase.* cannot be compared"):
        own_judge(EMT)


def test_a_calculator_that_fails_on_most_crystals_is_refused(world: Path) -> None:
    """EMT does not know silicon."""
    silicon = Structure.from_spacegroup("Fd-3m", Lattice.cubic(5.43), ["Si"], [[0, 0, 0]])
    some = {"train": [silicon] * 30 + [alloy("Cu", "Au")], "val": [alloy("Cu", "Ag")]}
    write_world(world, some, lambda one: -0.1)
    with pytest.raises(ValueError, match="fails on 30 of 31 crystals of mp_20.*30 times: .*Si"):
        own_judge(EMT)


def test_an_element_of_too_few_crystals_has_no_reference(world: Path) -> None:
    some = alloys()
    some["train"] = [one for one in some["train"] if "Al" not in one.composition]
    some["train"].append(alloy("Al", "Cu"))
    write_world(world, some)
    assert own_judge(EMT).references.energies.keys() == COUNTS.keys() - {"Al"}


def test_each_element_has_its_crystals_where_there_are_any() -> None:
    common = [{"A": 1, "B": 1}] * 90 + [{"B": 2}] * 90
    rows = rows_of_all_elements([*common, {"A": 1, "C": 3}, {"C": 1}], 5)
    compositions = [[*common, {"A": 1, "C": 3}, {"C": 1}][row] for row in rows]
    counts = {symbol: sum(symbol in one for one in compositions) for symbol in "ABC"}
    assert counts["C"] == 2 and 5 <= counts["A"] <= counts["B"] + 1
    assert len(rows) <= 11, "no more than are needed"


@pytest.mark.parametrize(
    "text, said",
    [
        ("no_such_module:EMT", "No module named 'no_such_module'"),
        ("ase.calculators.emt:Nothing", "'ase.calculators.emt' has no 'Nothing'"),
        ("ase.calculators.emt:parameters", "'parameters' is no function or class"),
    ],
)
def test_what_cannot_be_called_is_named_at_the_door(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        factory_of(text)
    assert text in str(error.value) and "\n" not in str(error.value)


def test_what_is_no_calculator_is_named_at_the_door() -> None:
    with pytest.raises(ValueError, match="'builtins:dict': it gives dict, which is no calculator"):
        make_own("builtins:dict")
    with pytest.raises(ValueError, match="'builtins:open': TypeError"):
        make_own("builtins:open")


def test_another_model_behind_the_same_name_is_another_judge(
    world: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "mine_of_test.py").write_text(
        "from ase.calculators.emt import EMT\n"
        "class Mine(EMT):\n"
        "    def calculate(self, *a, **k):\n"
        "        super().calculate(*a, **k)\n"
        "        self.results['energy'] += SHIFT * len(self.atoms)\n"
        "SHIFT = 0.0\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    first = own_judge("mine_of_test:Mine")
    assert first.name == "mine_of_test:Mine", "no package, no version"
    monkeypatch.setattr(sys.modules["mine_of_test"], "SHIFT", 0.5)
    assert isinstance(make_own("mine_of_test:Mine"), AsePotential)
    assert own_judge("mine_of_test:Mine").digest != first.digest


def test_a_class_of_wrong_crystals_does_not_pull_the_others_along() -> None:
    """Element 2 is 0.5 eV too high in half of its crystals, as a potential may have it."""
    rng = np.random.default_rng(0)
    shares = rng.dirichlet([0.5] * 3, size=90)
    mu = np.array([-3.0, 1.0, 0.5])
    targets = shares @ mu
    is_wrong = np.arange(90) % 4 == 0
    targets[is_wrong] += 0.5 * (shares[is_wrong, 2] > 0.1)
    assert least_deviations(shares, targets) == pytest.approx(mu, abs=1e-6)
    squares = np.linalg.lstsq(shares, targets, rcond=None)[0]
    assert np.abs(squares - mu).max() > 0.05, "least squares would be wrong"
