"""Models of all atoms, trained a little on real crystals: losses fall, and weights generate."""

import json
import re
from pathlib import Path

import pytest
import torch

from symmbfn.cli.verbs import main
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import load_dataset
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import circular_config, full_cell_config
from symmbfn.model.statistics import compute_statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.data import CELLS
from symmbfn.training.fit import FitConfig, fit
from symmbfn.training.trainer import Trainer
from symmbfn.training.validation import validate

PRESETS = {"full_cell": full_cell_config, "circular": circular_config}
# what a tiny model is of
TINY = {"width": 32, "depth": 2}
STATUSES = {"ok", "invalid_geometry", "reconstruction_failed", "symmetry_mismatch"}


@pytest.fixture(scope="module")
def mini(data_folder: Path) -> EncodedDataset:
    return encode_dataset("mp_20_mini", form="raw")


@pytest.mark.parametrize("cell", CELLS)
@pytest.mark.parametrize("preset", PRESETS)
def test_losses_fall_and_every_request_is_answered(
    preset: str, cell: str, mini: EncodedDataset, tmp_path: Path
) -> None:
    crystals = CELLS[cell](mini)
    if cell == "conventional":  # the large half takes five times as long
        crystals = crystals.subset(crystals.n_sites.argsort(stable=True)[:256])
    settings = PRESETS[preset](**TINY)
    torch.manual_seed(0)
    model = SymmBFN(
        settings, compute_statistics(crystals.batch(torch.arange(len(crystals))), settings)
    )
    run = TrainingConfig(
        epochs=3.0,
        batch_size=len(crystals) // 16,
        optimiser=OptimiserConfig(learning_rate=3e-3, warmup_steps=5, ema_decay=0.9),
    )
    before = validate(model.eval(), crystals, n_crystals=64)
    after = validate(
        Trainer(model.train(), crystals, None, run, tmp_path).run(), crystals, n_crystals=64
    )
    assert after["bound"] < 0.98 * before["bound"]
    for name in ("coords", "ce_elements"):
        assert after[name] < before[name], name
    assert ("coords_late" in after) == (preset == "full_cell")
    found = generate(n=8, weights=model.eval(), n_steps=10, seed=1)
    assert [crystal.index for crystal in found] == [*range(8)]
    assert {crystal.status for crystal in found} <= STATUSES
    assert all(crystal.reason for crystal in found if crystal.status != "ok")
    if cell == "primitive":
        assert {crystal.space_group_number for crystal in found} == {1}
    else:
        assert len({crystal.space_group_number for crystal in found}) > 1


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small prototypes as a CSV of the user's."""
    rows = load_dataset("prototypes")
    rows = rows[rows["cif"].str.count("\n") < 50].head(40)
    path = tmp_path_factory.mktemp("table") / "mine.csv"
    rows[["material_id", "cif"]].to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("preset", "cell"),
    [("full_cell", None), ("circular", "conventional"), ("circular", "primitive")],
)
def test_weights_of_the_command_line_generate_and_say_of_which_cell_they_are(
    preset: str, cell: str | None, table: Path, tmp_path: Path
) -> None:
    run, new = tmp_path / "run", tmp_path / "new"
    arguments = ["--dataset", str(table), "--out", str(run), "--preset", preset]
    arguments += [] if cell is None else ["--cell", cell]
    arguments += ["--epochs", "2", "--batch-size", "8", "--width", "16", "--depth", "1"]
    assert main(["train", *arguments, "--device", "cpu"]) == 0
    model, weights = load_model(run / "weights"), run / "weights"
    assert model.config == PRESETS[preset](width=16, depth=1)
    groups = set(model.statistics.conditions[:, 0].tolist())
    assert (groups == {1}) == (cell == "primitive")
    cell = cell or "conventional"
    notes = json.loads((weights / "config.json").read_text())["notes"]
    assert notes["cell"] == cell
    assert f"all atoms of the {cell} cell" in (weights / "MODEL_CARD.md").read_text()
    request = ["--weights", str(weights), "--n", "8", "--steps", "2", "--out", str(new)]
    assert main(["generate", *request]) == 0
    records = [json.loads(line) for line in (new / "records.jsonl").read_text().splitlines()]
    assert len(records) == 8
    assert {record["status"] for record in records} <= STATUSES
    assert {record["space_group_number"] for record in records} <= groups
    # the same crystals go on to be trained on, whatever is said or not
    again = fit(table, tmp_path / "more", FitConfig(origin=str(weights)), TrainingConfig(1e-9))
    facts = json.loads((again / "config.json").read_text())["notes"]
    assert facts["cell"] == cell
    assert load_model(again).statistics.conditions.equal(model.statistics.conditions)


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--cell", "primitive"], "'primitive'.*'default'"),
        (["--preset", "paper", "--cell", "primitive"], "'primitive'.*'paper'"),
        (["--preset", "circular", "--cell", "smallest"], "'smallest'"),
        (["--from", "default", "--cell", "primitive"], "'primitive'.*'default'"),
    ],
)
def test_cells_that_do_not_fit_are_one_line(
    arguments: list[str], value: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    assert main(["train", "--dataset", "prototypes", "--out", str(out), *arguments]) == 2
    shown = capsys.readouterr().err
    assert re.search(value, shown) and shown.count("\n") == 1
    assert not out.exists()


def test_a_solver_that_the_circle_has_not_is_one_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = FitConfig(preset="circular", width=16, depth=1, device="cpu")
    weights = fit(table, tmp_path / "run", config, TrainingConfig(epochs=1e-9))
    arguments = ["--weights", str(weights), "--n", "2", "--out", str(tmp_path / "new")]
    capsys.readouterr()
    assert main(["generate", *arguments, "--solver", "ode2"]) == 2
    shown = capsys.readouterr().err
    assert "'ode2'" in shown and shown.count("\n") == 1
    assert not (tmp_path / "new").exists()
