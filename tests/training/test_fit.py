"""`symmbfn train`: from a CSV to weights that generate, resumed exactly, continued openly."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice, Structure
from safetensors.torch import load_file

from symmbfn.cli.verbs import main
from symmbfn.conditions.training_draw import ConditionRates
from symmbfn.crystals.elements import MENDELEEV_NUMBER
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.label_files import read_labels
from symmbfn.datasets.registry import load_dataset
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import paper_config
from symmbfn.training import data as training_data
from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
from symmbfn.training.data import training_sets
from symmbfn.training.fit import FitConfig, fit, new_config
from symmbfn.training.trainer import Trainer
from tests.models import elements

SMALL = FitConfig(width=16, depth=1, device="cpu")
SHORT = TrainingConfig(epochs=2.0, batch_size=8)


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


def read_log(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


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


def test_the_result_is_a_model_that_generates(fitted: Path, tmp_path: Path) -> None:
    model = load_model(fitted / "weights")
    scale = [int(MENDELEEV_NUMBER[number]) for number in model.config.elements]
    assert scale == sorted(scale), "slots ascend along the Mendeleev scale"
    lines = read_log(fitted)
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
    fit(
        table,
        fitted,
        SMALL,
        replace(SHORT, reporting=ReportingConfig(validation_crystals=1, save_every=1.0)),
    )
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


def test_a_killed_training_ends_with_the_same_weights(table: Path, tmp_path: Path) -> None:
    """SIGKILL leaves no time for anything; what the disk holds must do."""
    script = """if True:
        import functools, os, signal, sys
        from symmbfn.cli import verbs as cli
        from symmbfn.training import config, trainer

        def killed(self, index, step=trainer.Trainer.train_step):
            if self.step == 12:
                with (self.folder / "log.jsonl").open("a") as file:
                    file.write('{"kind": "tra')
                os.kill(os.getpid(), signal.SIGKILL)
            return step(self, index)

        config.ReportingConfig = functools.partial(config.ReportingConfig, save_every=0.0)
        trainer.Trainer.train_step = killed
        cli.main(sys.argv[1:])
    """
    arguments = ["train", "--dataset", str(table), "--epochs", "3", "--batch-size", "8"]
    arguments += ["--width", "16", "--depth", "1", "--device", "cpu", "--threads", "1", "--out"]
    run = tmp_path / "run"
    done = subprocess.run([sys.executable, "-c", script, *arguments, str(run)], timeout=300)
    assert done.returncode == -signal.SIGKILL
    assert not (run / "weights").exists()
    assert sorted(path.name for path in run.glob("step-*"))[-1] == "step-000000012.safetensors"
    assert main([*arguments, str(run)]) == 0
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    one, other = (load_file(f / "weights" / "model.safetensors") for f in (run, tmp_path / "whole"))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    steps = [
        [(line["kind"], line.get("step")) for line in read_log(f)]
        for f in (run, run.with_name("whole"))
    ]
    assert steps[0] == steps[1]


def test_two_processes_make_the_model_that_one_makes(
    fitted: Path, table: Path, tmp_path: Path
) -> None:
    run, log = tmp_path / "run", tmp_path / "log"
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    arguments = ["--dataset", str(table), "--epochs", "2", "--batch-size", "8", "--width", "16"]
    arguments += ["--depth", "1", "--device", "cpu", "--out", str(run)]
    with log.open("w") as file:
        done = subprocess.run(
            [*launcher, "-m", "symmbfn", "train", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=file,
            stderr=subprocess.STDOUT,
            timeout=300,
        )
    said = log.read_text()
    assert done.returncode == 0, said
    assert said.count("a new default model") == said.count("weights in") == 1, "one speaks for all"
    one, other = read_log(fitted), read_log(run)
    assert [line["kind"] for line in one] == [line["kind"] for line in other]
    for mine, theirs in zip(one[1:], other[1:], strict=True):
        for name in set(mine) - {"kind", "seconds"}:
            assert theirs[name] == pytest.approx(mine[name], rel=2e-3), name
    notes = json.loads((run / "weights" / "config.json").read_text())["notes"]
    assert notes["device"] == "2 x cpu"
    # another number of processes finds the work done
    assert main(["train", *arguments]) == 0


def test_a_short_run_trains_with_a_short_warm_up(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(self: Trainer) -> None:
        raise KeyboardInterrupt(self.config.optimiser.warmup_steps)

    monkeypatch.setattr(Trainer, "run", stopped)
    with pytest.raises(KeyboardInterrupt, match="^1$"):
        fit(table, tmp_path / "run", SMALL, SHORT)
    settings = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
    assert settings["warmup_steps"] == 500, "what was asked for"


def test_what_is_left_out_is_said_and_kept(
    tiny_weights: Path, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    encoded, rows = encode_dataset(table), load_dataset(table)
    friends, strangers = [], []
    for i, (_, row) in enumerate(rows.iterrows()):
        is_known = set(encoded.unit(i).atomic_numbers.tolist()) <= set(elements())
        (friends if is_known else strangers).append(row)
    bad = [{"material_id": f"bad{i}", "cif": "no crystal"} for i in range(2)]
    path = write_csv(tmp_path / "mixed.csv", [*friends, *strangers[:3], *bad])
    folder = fit(
        path,
        tmp_path / "run",
        FitConfig(origin=str(tiny_weights), device="cpu"),
        TrainingConfig(epochs=1e-9),
    )
    shown = capsys.readouterr().out
    total = len(friends) + 5
    assert f"not encoded: 2 of {total} rows of mixed" in shown and "failures.csv" in shown
    notes = json.loads((folder / "config.json").read_text())["notes"]["left_out"]
    assert notes["not_encoded"] == 2
    validating = set(training_sets(path, form="canonical")[1].identifiers)
    n_strangers = len({row["material_id"] for row in strangers[:3]} - validating)
    assert notes["not_known"] == n_strangers > 0
    assert "elements it does not know" in notes["why"]
    card = (folder / "MODEL_CARD.md").read_text()
    assert f"2 rows that could not be encoded; {notes['why']}" in card
    assert read_log(tmp_path / "run")[0]["left_out"] == notes


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
        TrainingConfig(
            epochs=1e-9,
            optimiser=OptimiserConfig(learning_rate=1e-12, weight_decay=0.0, warmup_steps=0),
        ),
    )
    model = load_model(folder)
    assert model.config == source.config
    for name, value in source.state_dict().items():
        assert torch.allclose(model.state_dict()[name], value, atol=1e-3), name
    for name in ("coords_mean", "coords_std", "lattice_mean", "element_log_prior"):
        assert torch.equal(getattr(model.statistics, name), getattr(source.statistics, name))
    assert not torch.equal(model.statistics.conditions, source.statistics.conditions)
    groups = {encoded.unit(i).space_group_number for i in range(60) if is_known[i]}
    assert set(model.statistics.conditions[:, 0].tolist()) <= groups
    shown = capsys.readouterr().out
    assert "elements it does not know" in shown and "continuing from weights" in shown
    digest = json.loads((tiny_weights / "config.json").read_text())["sha256"]
    start = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[0])
    assert start["continued_from"] == digest
    assert digest[:12] in (folder / "MODEL_CARD.md").read_text()


def test_metals_of_one_structure_are_learnt_and_generated(tmp_path: Path) -> None:
    """Every site is at the origin: no coordinate varies, nor do letters and slots."""
    edges = {"Al": 4.05, "Ni": 3.52, "Cu": 3.61, "Pd": 3.89, "Ag": 4.09, "Pt": 3.92, "Au": 4.08}
    (tmp_path / "fcc").mkdir()
    for element, edge in edges.items():
        cell = Structure.from_spacegroup("Fm-3m", Lattice.cubic(edge), [element], [[0, 0, 0]])
        cell.to(str(tmp_path / "fcc" / f"{element}.cif"))
    arguments = ["--dataset", str(tmp_path / "fcc"), "--epochs", "4", "--batch-size", "4"]
    arguments += ["--width", "16", "--depth", "1", "--device", "cpu"]
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 0
    losses = [line for line in read_log(tmp_path / "run") if line["kind"] == "train"]
    assert losses and all(math.isfinite(line["loss"]) for line in losses)
    weights = ["--weights", str(tmp_path / "run" / "weights"), "--steps", "2"]
    assert main(["generate", *weights, "--n", "4", "--out", str(tmp_path / "new")]) == 0
    predicted = ["predict", "Cu", *weights, "--draws", "2", "--workers", "1"]
    assert main([*predicted, "--out", str(tmp_path / "copper")]) == 0
    assert "225: Cu 4a" in (tmp_path / "copper" / "predictions.csv").read_text()


def test_the_symmetry_tolerance_is_the_one_of_encode_and_part_of_the_run(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded = encode_dataset(table, symprec=0.01)
    monkeypatch.setattr(
        "symmbfn.datasets.encoding._outcomes", pytest.fail
    )  # nothing is encoded again
    arguments = ["train", "--dataset", str(table), "--epochs", "1e-9", "--width", "16"]
    arguments += ["--depth", "1", "--device", "cpu", "--out", str(tmp_path / "run")]
    assert main([*arguments, "--symprec", "0.01"]) == 0
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())["settings"]
    train, _ = training_sets(table, form="canonical", symprec=0.01)
    assert manifest["symprec"] == 0.01 and manifest["data"] == train.digest
    assert len(train) < len(encoded)


@pytest.fixture(scope="module")
def numbers(table: Path) -> Path:
    """The same sixty with two columns of numbers."""
    path = table.with_name("numbers.csv")
    load_dataset(table).assign(year=range(1950, 2010), strength=np.linspace(0, 1, 60)).to_csv(
        path, index=False
    )
    return path


@pytest.mark.parametrize(
    ("arguments", "learnt", "said"),
    [
        ([], [], "not learnt, numbers of the dataset: year, strength"),
        (["--properties", "strength"], ["strength"], "conditioned on: strength"),
        (["--properties", "strength"], ["strength"], "not learnt, numbers of the dataset: year"),
        (["--from", "TINY"], [], "not learnt, numbers of the dataset: year, strength"),
    ],
)
def test_numbers_of_a_users_file_are_learnt_if_they_are_named(
    arguments: list[str],
    learnt: list[str],
    said: str,
    numbers: Path,
    tiny_weights: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    arguments = [str(tiny_weights) if word == "TINY" else word for word in arguments]
    size = [] if "--from" in arguments else ["--width", "16", "--depth", "1"]
    common = ["--dataset", str(numbers), "--epochs", "1e-9", "--device", "cpu", *size]
    assert main(["train", *common, *arguments, "--out", str(tmp_path)]) == 0
    assert said in capsys.readouterr().out.splitlines()
    assert list(load_model(tmp_path / "weights").config.properties) == learnt
    settings = json.loads((tmp_path / "manifest.json").read_text())["settings"]
    assert settings.get("properties", []) == learnt


def with_gaps(table: Path, folder: Path, cells: dict[int, str], name: str = "gap") -> Path:
    """Twenty of the sixty with a column of numbers, but for some cells; rows from 1."""
    gaps = [cells.get(row, str(row / 10)) for row in range(1, 21)]
    path = folder / "gaps.csv"
    load_dataset(table).head(20).assign(**{name: gaps}).to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    "cell",
    ["inf", "-Infinity", "N/A", "None", ">5", "1,5", "1,234.5", "1.2 eV", "True", "1e300", "1+2j"],
)
def test_a_cell_that_is_no_number_is_named_before_the_work(
    cell: str, table: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(training_data, "encode_dataset", pytest.fail)
    path = with_gaps(table, tmp_path, {7: cell, 9: "?"})
    name = load_dataset(path)["material_id"][6]
    out = str(tmp_path / "out")
    assert main(["train", "--dataset", str(path), "--properties", "gap", "--out", out]) == 2
    shown = capsys.readouterr().err
    assert f"column gap, row 7 ({name}): {cell!r}" in shown and shown.count("\n") == 1
    assert "2 such rows" in shown


def test_cells_without_a_value_are_unknown(table: Path, tmp_path: Path) -> None:
    path = with_gaps(table, tmp_path, {2: "", 3: "nan", 4: "NaN", 5: " ", 6: " 0.5 "}, "a, b")
    arguments = ["--epochs", "1e-9", "--width", "16", "--depth", "1", "--device", "cpu"]
    out = tmp_path / "out"
    column = ["--properties", '"a, b"']
    assert main(["train", "--dataset", str(path), "--out", str(out), *arguments, *column]) == 0
    assert load_model(out / "weights").config.properties == ("a, b",)
    assert int(load_dataset(path)["a, b"].isna().sum()) == 4


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (dict.fromkeys(range(1, 21), ""), "column gap is no property: it is empty in every row"),
        (dict.fromkeys(range(1, 21), "1.5"), "property gap has no two different values"),
    ],
    ids=["empty", "constant"],
)
def test_a_column_of_which_nothing_can_be_learnt_is_refused(
    cells: dict, message: str, table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path, out = with_gaps(table, tmp_path, cells), tmp_path / "out"
    assert main(["train", "--dataset", str(path), "--properties", "gap", "--out", str(out)]) == 2
    assert message in capsys.readouterr().err and not out.exists()


def test_a_column_has_the_name_of_the_file_or_the_common_one(table: Path, tmp_path: Path) -> None:
    path = with_gaps(table, tmp_path, {}, "energy_above_hull")
    config = replace(SMALL, properties=("energy_above_hull",))
    folder = fit(path, tmp_path / "out", config, TrainingConfig(epochs=1e-9))
    assert load_model(folder).config.properties == ("e_above_hull",)
    load_dataset(path).assign(energy_above_hull=1.0).to_csv(tmp_path / "two.csv", index=False)
    with pytest.raises(ValueError, match="two columns e_above_hull"):
        load_dataset(tmp_path / "two.csv")


def labelled(table: Path, folder: Path, shift: float = 0.0, column: str = "height") -> Path:
    """Labels of every second crystal of a dataset, last one first."""
    names = load_dataset(table)["material_id"].tolist()
    rows = [[name, i / 10 + shift] for i, name in enumerate(names) if i % 2][::-1]
    path = folder / "labels.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([["material_id", column], *rows])
    return path


def test_labels_are_learnt_and_belong_to_the_run(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    labels, out = labelled(table, tmp_path), tmp_path / "out"
    common = ["train", "--dataset", str(table), "--epochs", "1e-9", "--device", "cpu"]
    common += ["--width", "16", "--depth", "1", "--out", str(out)]
    arguments = ["--labels", str(labels), "--properties", "height"]
    assert main([*common, *arguments]) == 0
    assert "labels labels.csv: 30 of 60 crystals of mine: height" in capsys.readouterr().out
    assert load_model(out / "weights").config.properties == ("height",)
    settings = json.loads((out / "manifest.json").read_text())["settings"]
    assert settings["labels"].keys() == {"labels.csv"}
    assert main([*common, *arguments]) == 0
    capsys.readouterr()
    labelled(table, tmp_path, shift=1.0)
    assert main([*common, *arguments]) == 2
    shown = capsys.readouterr().err
    assert "holds another run" in shown and "data is" in shown


def test_labels_reach_the_crystals_of_their_ids_in_both_sets(table: Path, tmp_path: Path) -> None:
    sets = training_sets(table, form="canonical", labels=[read_labels(labelled(table, tmp_path))])
    names = load_dataset(table)["material_id"].tolist()
    for crystals in sets:
        values = crystals.values_of(("height",))[:, 0].tolist()
        for name, value in zip(crystals.identifiers, values, strict=True):
            place = names.index(name)
            assert value == pytest.approx(place / 10) if place % 2 else math.isnan(value)


def test_labels_that_fit_nothing_are_refused_before_the_work(
    table: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(training_data, "encode_dataset", pytest.fail)
    other, texts = tmp_path / "other.csv", tmp_path / "texts.csv"
    other.write_text("material_id,height\nnobody,1.0\n")
    texts.write_text("material_id,height\nnobody,tall\n")
    for path, message in (
        (other, "none of its 1 ids, such as 'nobody', is one of mine"),
        (texts, "column height, row 1 (nobody): 'tall' is no number"),
        ("whole_hull", "labels whole_hull: none of its"),
        (tmp_path / "nowhere.csv", "nowhere.csv is no readable file of labels"),
    ):
        arguments = ["--labels", str(path), "--out", str(tmp_path / "out")]
        assert main(["train", "--dataset", str(table), *arguments]) == 2
        shown = capsys.readouterr().err
        assert message in shown and shown.count("\n") == 1


def spoil(monkeypatch: pytest.MonkeyPatch, steps: range) -> None:
    """Make the loss of some steps of any run infinite."""
    real = Trainer.train_step

    def step(self: Trainer, index: torch.Tensor) -> dict:
        honest = self.loss
        if self.step in steps:
            self.loss = lambda *batch: (lambda loss, nats: (loss / 0.0, nats))(*honest(*batch))
        try:
            return real(self, index)
        finally:
            self.loss = honest

    monkeypatch.setattr(Trainer, "train_step", step)


def test_steps_without_effect_are_said_and_without_any_other_there_are_no_weights(
    table: Path, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["train", "--dataset", str(table), "--epochs", "1", "--batch-size", "32"]
    arguments += ["--width", "16", "--depth", "1", "--device", "cpu", "--out"]
    with monkeypatch.context() as patch:
        spoil(patch, range(2))
        assert main([*arguments, str(tmp_path / "some")]) == 0
    notes = json.loads((tmp_path / "some" / "weights" / "config.json").read_text())["notes"]
    said = f"2 of {notes['steps']} steps had no effect"
    assert notes["steps_skipped"] == 2 and said in capsys.readouterr().out
    assert notes["steps"] < 10, "or the run would have ended for ten such steps in a row"
    with monkeypatch.context() as patch:
        spoil(patch, range(100))
        assert main([*arguments, str(tmp_path / "all")]) == 1
    shown = capsys.readouterr().err
    assert f"in all {notes['steps']} steps" in shown and shown.count("\n") == 1
    assert not (tmp_path / "all" / "weights").exists()


def test_the_rates_of_conditions_are_written_and_part_of_the_run(fitted: Path, table: Path) -> None:
    notes = json.loads((fitted / "weights" / "config.json").read_text())["notes"]
    settings = json.loads((fitted / "manifest.json").read_text())["settings"]
    assert notes["conditions.lattice"] == settings["conditions.lattice"] == 0.2
    other = replace(SHORT, conditions=ConditionRates(lattice=0.5))
    with pytest.raises(ValueError, match="conditions.lattice is 0.2 there and 0.5 here"):
        fit(table, fitted, SMALL, other)


def test_a_new_model_of_a_named_dataset_learns_all_numbers(numbers: Path) -> None:
    everything, _ = training_sets(numbers, form="canonical")
    assert new_config(everything, SMALL).properties == ("year", "strength")
    nothing = replace(SMALL, properties=())
    assert new_config(everything, nothing).properties == ()


def test_paper_preset_takes_the_raw_form(
    table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forms = []
    real = training_data.encode_dataset
    monkeypatch.setattr(
        training_data, "encode_dataset", lambda *a, **k: forms.append(k["form"]) or real(*a, **k)
    )
    config = FitConfig(preset="paper", width=16, depth=1, device="cpu")
    folder = fit(table, tmp_path, config, TrainingConfig(epochs=1e-9, batch_size=8))
    assert set(forms) == {"raw"}
    model = load_model(folder)
    assert model.config == paper_config(width=16, depth=1)


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
        (["--epochs", "inf"], "inf"),
        (["--minutes", "0"], "0"),
        (["--epochs", "1", "--minutes", "2"], "2.0"),
        (["--batch-size", "0"], "0"),
        (["--learning-rate", "0"], "0.0"),
        (["--learning-rate", "nan"], "nan"),
        (["--width", "0"], "0"),
        (["--depth", "two"], "'two'"),
        (["--dtype", "float16"], "'float16'"),
        (["--compile=yes"], "'yes'"),
        (["--device", "tpu"], "'tpu'"),
        (["--threads", "0"], "0"),
        (["--dataset", "mp_21"], "'mp_21'"),
        (["--symprec", "-1"], "symprec must be a finite number above 0, got -1"),
        (["--symprec", "0"], "symprec must be a finite number above 0, got 0"),
        (["--symprec", "nan"], "symprec must be a finite number above 0, got nan"),
        (["--symprec", "inf"], "symprec must be a finite number above 0, got inf"),
        (["--seed", "-1"], "seed must be a whole number of at least 0, got -1"),
        (["--properties", "cif"], "column cif, row 1"),
        (["--properties", "gap"], "no property gap in the dataset, only none"),
        (["--properties", "gap", "--from", "TINY"], "gap"),
        (["--properties", "gap", "--preset", "paper"], "gap"),
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
    assert not out.exists()


def test_a_dataset_the_model_knows_nothing_of(
    tiny_weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = [r for _, r in load_dataset("prototypes").iterrows() if "Cs" in r["cif"]][:2]
    path = write_csv(tmp_path / "cesium.csv", rows)
    out = tmp_path / "out"
    code = main(["train", "--dataset", str(path), "--from", str(tiny_weights), "--out", str(out)])
    shown = capsys.readouterr().err
    assert code == 2 and "Cs" in shown and shown.count("\n") == 1


def test_tensorboard_gets_one_file_with_all_that_is_logged(table: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    reporting = ReportingConfig(validate_every=0.5, has_tensorboard=True)
    fit(table, tmp_path, SMALL, replace(SHORT, reporting=reporting))
    (events,) = (tmp_path / "tensorboard").iterdir()
    shown = EventAccumulator(str(events)).Reload()
    for kind, name in (("train", "loss"), ("validation", "bound")):
        lines = [line for line in read_log(tmp_path) if line["kind"] == kind]
        found = shown.Scalars(f"{kind}/{name}")
        assert [event.step for event in found] == [line["step"] for line in lines]
        assert [event.value for event in found] == pytest.approx([line[name] for line in lines])


def test_tensorboard_that_is_not_installed_is_one_line(
    table: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    out = str(tmp_path / "out")
    assert main(["train", "--dataset", str(table), "--out", out, "--tensorboard"]) == 2
    shown = capsys.readouterr().err
    assert "symmbfn[tensorboard]" in shown and shown.count("\n") == 1
