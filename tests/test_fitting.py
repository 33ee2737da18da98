"""`symmbfn train`: from a CSV to weights that generate, resumed exactly, continued openly."""

import csv
import json
import os
import signal
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from symmbfn import fitting
from symmbfn.checkpoints import load_model
from symmbfn.cli import main
from symmbfn.crystals.elements import MENDELEEV_NUMBER
from symmbfn.datasets.cache import encode_dataset
from symmbfn.datasets.registry import load_dataset
from symmbfn.fitting import FitConfig, fit, select, training_sets
from symmbfn.training import Trainer, TrainingConfig
from tests.models import elements

SMALL = FitConfig(width=16, depth=1, device="cpu")
SHORT = TrainingConfig(epochs=2.0, batch_size=8, learning_rate=1e-3)


def write_csv(path: Path, rows: list) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["material_id", "cif"])
        writer.writerows([row["material_id"], row["cif"]] for row in rows)
    return path


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty prototypes as a CSV of the user's."""
    rows = [row for _, row in load_dataset("prototypes").head(60).iterrows()]
    return write_csv(tmp_path_factory.mktemp("table") / "mine.csv", rows)


@pytest.fixture(scope="module")
def fitted(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fitted") / "run"
    fit(table, folder, SMALL, SHORT)
    return folder


def test_a_set_without_split_holds_out_by_name(table: Path) -> None:
    train, validation = training_sets(table, form="canonical")
    assert validation is not None
    assert len(train) + len(validation) == 60
    assert not set(train.identifiers) & set(validation.identifiers)
    # the names decide, not the rows: a crystal validates wherever it comes
    rows = [row for _, row in load_dataset("prototypes").head(60).iterrows()]
    turned = write_csv(table.with_name("turned.csv"), rows[::-1])
    assert set(training_sets(turned, form="canonical")[1].identifiers) == set(
        validation.identifiers
    )


def test_a_selection_holds_the_same_crystals_and_is_another_set(table: Path) -> None:
    whole = encode_dataset(table)
    keep = torch.arange(len(whole)) % 3 == 1
    part = select(whole, keep)
    for row, source in enumerate(keep.nonzero().flatten().tolist()):
        one, other = part.unit(row), whole.unit(source)
        assert one.identifier == other.identifier
        assert one.space_group_number == other.space_group_number
        for name in ("lattice_k", "atomic_numbers", "wyckoff_positions", "fractional_coords"):
            assert (getattr(one, name) == getattr(other, name)).all()
    assert len({whole.digest, part.digest, select(whole, ~keep).digest}) == 3


def test_the_result_is_a_model_that_generates(fitted: Path, tmp_path: Path) -> None:
    model = load_model(fitted / "weights")
    scale = [int(MENDELEEV_NUMBER[number]) for number in model.config.elements]
    assert scale == sorted(scale), "slots ascend along the Mendeleev scale"
    lines = [json.loads(line) for line in (fitted / "log.jsonl").read_text().splitlines()]
    assert lines[0]["kind"] == "start" and lines[0]["dataset"] == "mine"
    assert {line["kind"] for line in lines} == {"start", "train", "validation"}
    notes = json.loads((fitted / "weights" / "config.json").read_text())["notes"]
    assert notes["validation"]["bound"] == lines_of_kind(lines, "validation")[-1]["bound"]
    assert notes["n_crystals"] * 2 == notes["crystals_seen"]
    card = (fitted / "weights" / "MODEL_CARD.md").read_text()
    assert "mine" in card and "from scratch" in card and "relaxed" in card
    arguments = ["--n", "4", "--steps", "1", "--out", str(tmp_path / "new")]
    assert main(["generate", "--weights", str(fitted / "weights"), *arguments]) == 0


def lines_of_kind(lines: list[dict], kind: str) -> list[dict]:
    return [line for line in lines if line["kind"] == kind]


def test_the_same_call_trains_nothing_and_others_are_refused(
    fitted: Path, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trainer, "train_step", pytest.fail)
    before = {path: path.stat().st_mtime_ns for path in fitted.rglob("*")}
    assert fit(table, fitted, SMALL, SHORT) == fitted / "weights"
    with pytest.raises(ValueError, match="epochs is 2.0 there and 3.0 here"):
        fit(table, fitted, SMALL, TrainingConfig(epochs=3.0, batch_size=8))
    with pytest.raises(ValueError, match="data is"):
        fit("prototypes", fitted, SMALL, SHORT)
    assert {path: path.stat().st_mtime_ns for path in fitted.rglob("*")} == before


def test_an_interrupted_training_ends_with_the_same_weights(
    fitted: Path, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Trainer.train_step

    def with_signal(self, index):
        if self.step == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return real(self, index)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "train_step", with_signal)
        with pytest.raises(KeyboardInterrupt, match="stopped at step 6"):
            fit(table, tmp_path / "run", SMALL, SHORT)
    assert not (tmp_path / "run" / "weights").exists()
    fit(table, tmp_path / "run", SMALL, SHORT)
    one, other = (
        load_file(f / "weights" / "model.safetensors") for f in (fitted, tmp_path / "run")
    )
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_continuing_keeps_the_model_and_takes_the_requests_of_the_new_data(
    tiny_weights: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    known = set(elements())
    encoded = encode_dataset(table)
    is_known = [set(encoded.unit(i).atomic_numbers.tolist()) <= known for i in range(len(encoded))]
    assert 0 < sum(is_known) < 60
    source = load_model(tiny_weights)
    # no step: what is written must be the weights it came from, in another folder
    folder = fit(
        table,
        tmp_path / "run",
        FitConfig(origin=str(tiny_weights), device="cpu"),
        TrainingConfig(epochs=1e-9, learning_rate=1e-12, weight_decay=0.0, warmup_steps=0),
    )
    model = load_model(folder)
    assert model.config == source.config
    for name, value in source.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=1e-3), name
    for name in ("coords_mean", "coords_std", "lattice_mean", "element_log_prior"):
        assert torch.equal(getattr(model.statistics, name), getattr(source.statistics, name))
    assert not torch.equal(model.statistics.given, source.statistics.given)
    groups = {encoded.unit(i).space_group_number for i in range(60) if is_known[i]}
    assert set(model.statistics.given[:, 0].tolist()) <= groups
    shown = capsys.readouterr().out
    assert "elements it does not know" in shown and "continuing from weights" in shown
    digest = json.loads((tiny_weights / "config.json").read_text())["sha256"]
    start = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert start["continued_from"] == digest
    assert digest[:12] in (folder / "MODEL_CARD.md").read_text()


def test_paper_preset_takes_the_raw_form(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []
    real = fitting.encode_dataset
    monkeypatch.setattr(
        fitting, "encode_dataset", lambda *a, **k: forms.append(k["form"]) or real(*a, **k)
    )
    config = FitConfig(preset="paper", width=16, depth=1, device="cpu")
    folder = fit(table, tmp_path, config, TrainingConfig(epochs=1e-9, batch_size=8))
    assert set(forms) == {"raw"}
    model = load_model(folder)
    assert model.config.symmetry == "axes" and model.config.target == "noise"
    assert len(model.config.elements) == 94


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        (["--preset", "best"], "'best'"),
        (["--from", "nowhere"], "'nowhere'"),
        (["--from", "TINY", "--preset", "paper"], "paper"),
        (["--from", "TINY", "--width", "64"], "64"),
        (["--from", "model.pt"], "pickled"),
        (["--epochs", "0"], "0"),
        (["--epochs", "-1"], "-1"),
        (["--minutes", "0"], "0"),
        (["--epochs", "1", "--minutes", "2"], "2.0"),
        (["--batch-size", "0"], "0"),
        (["--learning-rate", "0"], "0.0"),
        (["--learning-rate", "nan"], "nan"),
        (["--width", "0"], "0"),
        (["--depth", "two"], "'two'"),
        (["--dtype", "float16"], "'float16'"),
        (["--device", "tpu"], "'tpu'"),
        (["--threads", "0"], "0"),
        (["--dataset", "mp_21"], "'mp_21'"),
    ],
)
def test_bad_arguments(
    arguments: list[str],
    value: str,
    table: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    arguments = [str(tiny_weights) if word == "TINY" else word for word in arguments]
    out = tmp_path / "out"
    try:
        code = main(["train", "--dataset", str(table), "--out", str(out), *arguments])
    except SystemExit as stop:
        code = int(stop.code or 0)
    shown = capsys.readouterr().err
    assert code == 2
    assert value in shown and shown.count("\n") == 1
    assert not out.exists() or not any(out.iterdir())


def test_a_dataset_the_model_knows_nothing_of(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [r for _, r in load_dataset("prototypes").iterrows() if "Cs" in r["cif"]][:2]
    path = write_csv(tmp_path / "cesium.csv", rows)
    out = tmp_path / "out"
    code = main(["train", "--dataset", str(path), "--from", str(tiny_weights), "--out", str(out)])
    shown = capsys.readouterr().err
    assert code == 2 and "Cs" in shown and shown.count("\n") == 1


def test_tensorboard_that_is_not_installed_is_one_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = str(tmp_path / "out")
    assert main(["train", "--dataset", str(table), "--out", out, "--tensorboard"]) == 2
    shown = capsys.readouterr().err
    assert "symmbfn[tensorboard]" in shown and shown.count("\n") == 1
