"""`symmbfn train --from X --properties y`: trained weights learn a property of the user's."""

import json
import math
from dataclasses import replace
from functools import cache
from pathlib import Path

import pandas
import pytest
import torch

from symmbfn.cli.verbs import main
from symmbfn.conditions.training_draw import ConditionRates
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.full_cell import full_cells
from symmbfn.datasets.registry import load_dataset
from symmbfn.datasets.structure_texts import structure_of
from symmbfn.model.checkpoints import load_model, save_model
from symmbfn.model.further_properties import with_further_properties
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.fit import FitConfig, build_model, fit
from tests.models import beliefs_at, dataset, elements, shaken_model

OLD, NEW = ("band_gap", "old"), "strength"
STRENGTHS = torch.linspace(100.0, 160.0, len(dataset()))
ALWAYS_TOLD = ConditionRates(no_property=0.0, property_left_out=0.0, no_part=1.0)


def crystals(preset: str = "default", **columns: torch.Tensor) -> EncodedDataset:
    """The units, or all their atoms, with columns of numbers."""
    columns = columns or {NEW: STRENGTHS}
    found = replace(
        dataset(), properties=torch.stack([*columns.values()], -1), property_names=tuple(columns)
    )
    return full_cells(found) if preset == "full_cell" else found


def continued(source: SymmBFN, preset: str = "default") -> SymmBFN:
    config = with_further_properties(source.config, (NEW,))
    return build_model(config, crystals(preset), source, seed=0).eval()


def answers(model: SymmBFN, values: torch.Tensor | None, preset: str = "default") -> Variables:
    """Estimates half way, from the same beliefs."""
    units = crystals(preset).batch(torch.arange(len(STRENGTHS)))
    _, beliefs, conditions, t = beliefs_at(model, units, 0.5)
    with torch.no_grad():
        return model(beliefs, replace(conditions, properties=values), t)


@pytest.mark.parametrize("preset", ["default", "paper", "full_cell"])
@pytest.mark.parametrize("old", [OLD, ()], ids=["beside others", "the first one"])
def test_a_new_property_changes_no_answer_before_it_is_learnt(
    old: tuple[str, ...], preset: str
) -> None:
    source = shaken_model(preset, properties=old)
    model = continued(source, preset)
    told = torch.rand(len(STRENGTHS), len(old))
    unknown = torch.full((len(STRENGTHS), 1), math.nan)
    # a wider matrix sums its products in another order
    tolerance = {"rtol": 0.0, "atol": 0.0} if old else {"rtol": 1e-5, "atol": 1e-5}
    for here, there in (
        (None, None),
        (torch.cat([told, unknown], -1), told if old else None),
        (torch.cat([told, STRENGTHS[:, None]], -1), told if old else None),
    ):
        mine, theirs = answers(model, here, preset), answers(source, there, preset)
        for name in model.variables:
            torch.testing.assert_close(mine[name], theirs[name], equal_nan=True, **tolerance)


@pytest.mark.parametrize("old", [OLD, ()], ids=["beside others", "the first one"])
def test_a_new_property_is_learnt_and_only_where_it_is_told(old: tuple[str, ...]) -> None:
    model = continued(shaken_model(properties=old))
    assert model.properties is not None
    units = crystals().batch(torch.arange(len(STRENGTHS)))
    data, beliefs, conditions, t = beliefs_at(model, units, 0.5)
    values = crystals().values_of(model.config.properties)

    def gradients(values: torch.Tensor) -> tuple[float, float]:
        """Largest slopes of the last layer of the new property, and of its null vector."""
        model.zero_grad()
        estimates = model(beliefs, replace(conditions, properties=values), t)
        nats, cross_entropy = model.losses(data, estimates, conditions, t)
        model.training_loss(nats, cross_entropy, conditions).sum().backward()
        last = model.properties.read[-1].get_submodule("2").weight.grad
        return float(last.abs().max()), float(model.properties.null.grad[-1].abs().max())

    told, untold = gradients(values), gradients(torch.full_like(values, math.nan))
    assert told[0] > 0 and told[1] == 0
    assert untold[0] == 0 and untold[1] > 0


def test_the_new_scale_is_that_of_the_data_and_the_old_one_stays() -> None:
    source = shaken_model(properties=OLD)
    columns = {"old": torch.linspace(-9.0, 9.0, 16), NEW: STRENGTHS.clone()}
    columns[NEW][3] = math.nan
    config = with_further_properties(source.config, ("old", NEW))
    assert config.properties == (*OLD, NEW), "what the model has it does not get once more"
    found = build_model(config, crystals(**columns), source, seed=0).statistics
    known = columns[NEW][~columns[NEW].isnan()].double()
    for name, own in (("property_mean", known.mean()), ("property_std", known.std())):
        assert torch.equal(getattr(found, name)[:2], getattr(source.statistics, name))
        assert float(getattr(found, name)[2]) == pytest.approx(float(own))
    for name in ("coords_mean", "lattice_std", "element_log_prior", "position_log_prior"):
        assert torch.equal(getattr(found, name), getattr(source.statistics, name)), name


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights that know two properties."""
    folder = tmp_path_factory.mktemp("origin") / "weights"
    save_model(shaken_model(properties=OLD), folder, notes={"dataset": "far_away"})
    return folder


@cache
def rows() -> pandas.DataFrame:
    """Prototypes of the model's elements."""
    known = {SYMBOLS[number] for number in elements()}
    found = load_dataset("prototypes").head(120)
    contents = [structure_of(cif).composition.elements for cif in found["cif"]]
    return found[[{element.symbol for element in one} <= known for one in contents]].head(24)


def table_of(folder: Path, cells: dict[int, str] | None = None) -> Path:
    """Crystals with a column of numbers, but for some cells."""
    values = [(cells or {}).get(row, str(100 + row)) for row in range(len(rows()))]
    path = folder / "mine.csv"
    rows().assign(**{NEW: values}).to_csv(path, index=False)
    return path


def test_a_column_of_the_users_is_learnt_and_asked_for(
    origin: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    table = table_of(tmp_path, {2: "", 5: "nan"})
    arguments = ["train", "--from", str(origin), "--dataset", str(table), "--properties", NEW]
    arguments += ["--epochs", "2", "--batch-size", "8", "--device", "cpu", "--out"]
    assert main([*arguments, str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert f"new to these weights: {NEW}" in said and f"conditioned on: {NEW}" in said
    assert "not in the dataset, so without values: band_gap, old" in said
    model = load_model(tmp_path / "run" / "weights")
    assert model.config.properties == (*OLD, NEW)
    assert 100 < float(model.statistics.property_mean[2]) < 124
    card = (tmp_path / "run" / "weights" / "MODEL_CARD.md").read_text()
    digest = json.loads((origin / "config.json").read_text())["sha256"]
    assert f"continued from the weights {digest[:12]} of far_away on mine" in card
    assert f"| properties | band_gap, old, {NEW} (new to these weights) |" in card
    assert main([*arguments, str(tmp_path / "run")]) == 0, "the same call finds the work done"
    request = ["--n", "4", "--steps", "2", "--property", f"{NEW}=120", "--property", "band_gap=1"]
    weights = ["--weights", str(tmp_path / "run" / "weights")]
    assert main(["generate", *weights, *request, "--out", str(tmp_path / "new")]) == 0
    assert len(list((tmp_path / "new").rglob("*.cif"))) > 0
    # and a model that was continued can be continued
    again = [
        str(tmp_path / "run" / "weights") if word == str(origin) else word for word in arguments
    ]
    assert main([*again, str(tmp_path / "again")]) == 0
    assert load_model(tmp_path / "again" / "weights").config == model.config
    assert "new to these weights" not in (tmp_path / "again/weights/MODEL_CARD.md").read_text()


def test_training_moves_the_answers_towards_the_told_ones(origin: Path, tmp_path: Path) -> None:
    table = table_of(tmp_path)
    weights = fit(
        table,
        tmp_path / "run",
        FitConfig(origin=str(origin), properties=(NEW,), device="cpu"),
        TrainingConfig(
            epochs=10.0,
            batch_size=8,
            optimiser=OptimiserConfig(learning_rate=1e-2),
            conditions=ALWAYS_TOLD,
        ),
    )
    model = load_model(weights)
    few, many = (torch.tensor([[math.nan, math.nan, value]]).repeat(16, 1) for value in (100, 123))
    changes = [
        (answers(model, few)[name] - answers(model, many)[name]).nan_to_num().abs().max()
        for name in model.variables
    ]
    assert max(changes) > 1e-3, "what is told makes a difference now"


@pytest.mark.parametrize(
    ("cells", "name", "message"),
    [
        (dict.fromkeys(range(24), "7"), NEW, "property strength has no two different values"),
        (dict.fromkeys(range(24), ""), NEW, "column strength is no property: it is empty"),
        ({4: "hard"}, NEW, "column strength, row 5"),
        ({4: "-inf"}, NEW, "column strength, row 5"),
        ({}, "weakness", "no property weakness in the dataset, only strength"),
        ({}, "cif", "column cif, row 1"),
    ],
    ids=["constant", "empty", "text", "infinite", "missing", "no numbers"],
)
def test_a_column_that_cannot_be_learnt_is_one_line(
    cells: dict, name: str, message: str, origin: Path, tmp_path: Path, capsys
) -> None:
    table, out = table_of(tmp_path, cells), tmp_path / "out"
    arguments = ["--dataset", str(table), "--properties", name, "--out", str(out)]
    assert main(["train", "--from", str(origin), *arguments]) == 2
    shown = capsys.readouterr().err
    assert message in shown and shown.count("\n") == 1
    assert not out.exists()
