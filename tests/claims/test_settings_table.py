"""The table says what the configurations hold, and of the paper what it states."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from symmbfn.claims import settings_table as module
from symmbfn.claims.published import published_hyperparameters
from symmbfn.claims.settings_table import LEFT_OPEN, ROWS, hyperparameters, hyperparameters_text
from symmbfn.model.config import ModelConfig, paper_config

WEIGHTS = Path(module.__file__).parents[1] / "weights"
DATASETS = ("mp_20", "mpts_52", "perov_5")


def column(dataset: str, preset: str) -> dict[str, str]:
    return {row.name: getattr(row, f"ours_{preset}") for row in hyperparameters(dataset)}


@pytest.mark.parametrize("preset", ["paper", "default"])
def test_of_mp_20_it_tells_how_the_shipped_weights_were_made(preset: str) -> None:
    content = json.loads((WEIGHTS / preset / "config.json").read_text())
    model, run = content["model"], content["notes"]
    found = column("mp_20", preset)
    assert found["classes of elements"] == str(len(model["elements"]))
    assert found["width"] == str(model["width"])
    assert float(found["sigma1, lattice"]) == model["sigma1_lattice"]
    assert float(found["learning rate"]) == run["learning_rate"]
    seen = run["crystals_seen"] + run.get("crystals_before", 0)
    assert float(found["epochs"]) * run["n_crystals"] == pytest.approx(seen, rel=1e-3)


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_paper_preset_has_what_the_paper_states(dataset: str) -> None:
    stated = published_hyperparameters()
    assert set(stated) <= set(ROWS)
    numbers = [n for n in stated if n.startswith(("sigma1", "beta1", "weight,", "sampling"))]
    assert len(numbers) == 10
    for row in hyperparameters(dataset):
        assert (row.paper == LEFT_OPEN) == (row.name not in stated) == (not row.source)
        if row.name in numbers:
            assert float(row.paper) == float(row.ours_paper), row.name


def test_a_changed_preset_changes_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    before = column("mpts_52", "paper")

    def other(**changes: object) -> ModelConfig:
        c = paper_config()
        return replace(c, coords=replace(c.coords, sigma1=0.05), **changes)

    monkeypatch.setattr(module, "paper_config", other)
    after = column("mpts_52", "paper")
    changed = {name for name in ROWS if before[name] != after[name]}
    assert changed == {"sigma1, coordinates"}


def test_what_hangs_on_data_that_was_not_seen_is_not_made_up() -> None:
    found = column("mpts_52", "default")
    assert found["classes of elements"] == module.OF_TRAIN
    assert found["beta1, elements"] == "32 / classes"
    assert column("perov_5", "paper")["symmetry tolerance / A"] == "0.01"
    assert column("mpts_52", "paper")["width"] == "512"


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_text_fits_a_page_and_keeps_its_columns_apart(dataset: str) -> None:
    lines = hyperparameters_text(dataset).splitlines()
    assert len(lines) == len(ROWS) + 1
    assert max(map(len, lines)) <= 75
    for line, row in zip(lines[1:], hyperparameters(dataset), strict=True):
        where = {"authors' README": "R", "": ""}.get(row.source, "T")
        cells = (line[:23], line[23:42], line[42:44], line[44:60], line[60:])
        wanted = (row.name, row.paper, where, row.ours_paper, row.ours_default)
        assert tuple(cell.strip() for cell in cells) == wanted


def test_a_dataset_without_a_name_is_refused() -> None:
    with pytest.raises(ValueError, match="mp_20.*got 'carbon_24'"):
        hyperparameters("carbon_24")
