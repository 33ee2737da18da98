"""Models on disk: they come back, and what is damaged, foreign or a pickle is refused by name."""

import hashlib
import json
import pickle
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from symmbfn.model.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_model,
    save_model,
    weights_folder,
)
from symmbfn.model.symmbfn import Statistics
from tests.models import batch, beliefs_at, shaken_model

PRESETS = ("default", "paper")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(shaken_model(), tmp_path / "model")
    return tmp_path / "model"


def rewrite_config(folder: Path, **changes) -> None:
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text())
    config.update(changes)
    path.write_text(json.dumps(config))


def redigest(folder: Path) -> None:
    digest = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    rewrite_config(folder, sha256=digest)


@pytest.mark.parametrize("preset", PRESETS)
def test_single_precision_comes_back_bit_for_bit(preset: str, tmp_path: Path) -> None:
    model = shaken_model(preset)
    save_model(model, tmp_path, dtype=torch.float32)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert not loaded.training
    for field in fields(Statistics):
        mine, theirs = (getattr(m.statistics, field.name) for m in (model, loaded))
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs), field.name
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    _, beliefs, given, time = beliefs_at(model, batch(), 0.5)
    mine, theirs = model(beliefs, given, time), loaded(beliefs, given, time)
    for kind in ("continuous", "categorical"):
        for name, value in getattr(mine, kind).items():
            assert torch.equal(getattr(theirs, kind)[name], value)


def test_accuracies_are_those_of_the_file_not_of_todays_rule(tmp_path: Path) -> None:
    given = {"beta1_elements": 0.36, "beta1_symmetry": 1.2, "beta1_pointers": 3.0}
    model = shaken_model(**given)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert {name: getattr(loaded.config, name) for name in given} == given


def test_half_precision_rounds_once_and_computes_in_single(folder: Path) -> None:
    model, loaded = shaken_model(), load_model(folder)
    assert all(v.dtype == torch.float16 for v in load_file(folder / WEIGHTS_FILE).values())
    for name, value in loaded.state_dict().items():
        assert value.dtype == torch.float32
        assert torch.equal(value, model.state_dict()[name].half().float()), name


def test_the_digest_is_that_of_the_file_and_notes_are_kept(tmp_path: Path) -> None:
    digest = save_model(shaken_model(), tmp_path, notes={"epochs": 3})
    assert digest == hashlib.sha256((tmp_path / WEIGHTS_FILE).read_bytes()).hexdigest()
    config = json.loads((tmp_path / CONFIG_FILE).read_text())
    assert config["sha256"] == digest
    assert config["notes"] == {"epochs": 3}
    # equal models are equal files
    assert save_model(shaken_model(), tmp_path / "again") == digest
    assert save_model(shaken_model(seed=1), tmp_path / "other") != digest


def test_a_weight_that_does_not_fit_is_named_and_nothing_is_written(tmp_path: Path) -> None:
    model = shaken_model()
    for value in (float("nan"), 1e6):
        with torch.no_grad():
            model.write_coords.bias[0] = value
        with pytest.raises(ValueError, match="write_coords.bias.*float16"):
            save_model(model, tmp_path / "model")
        assert not (tmp_path / "model" / WEIGHTS_FILE).exists()
    save_model(model, tmp_path / "model", dtype=torch.float32)  # 1e6 is a float32


@pytest.mark.parametrize("position", [0, 100, -1])
def test_an_altered_byte_is_noticed(folder: Path, position: int) -> None:
    path = folder / WEIGHTS_FILE
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=f"{WEIGHTS_FILE}.*truncated or altered"):
        load_model(folder)


def test_truncated_weights_are_noticed(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(ValueError, match=f"{WEIGHTS_FILE}.*truncated or altered"):
        load_model(folder)


def test_a_pickle_is_refused_under_its_own_name_and_under_ours(
    folder: Path, tmp_path: Path
) -> None:
    for suffix in (".pt", ".pth", ".ckpt", ".pkl", ".bin"):
        path = tmp_path / f"model{suffix}"
        path.write_bytes(pickle.dumps({}))
        with pytest.raises(ValueError, match=f"model{suffix}.*pickle"):
            load_model(path)
    ran = tmp_path / "ran"

    class Payload:
        def __reduce__(self):
            return ran.write_text, ("it ran",)

    (folder / WEIGHTS_FILE).write_bytes(pickle.dumps(Payload()))
    redigest(folder)
    with pytest.raises(ValueError, match=WEIGHTS_FILE):
        load_model(folder)
    assert not ran.exists()


def test_what_is_missing_is_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'nowhere'.*neither a model folder nor one of"):
        load_model("nowhere")
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(ValueError, match=f"model'.*{WEIGHTS_FILE}"):
        load_model(folder)
    (folder / CONFIG_FILE).unlink()
    with pytest.raises(ValueError, match="model'"):
        load_model(folder)


def test_a_path_to_the_weights_is_their_folder(folder: Path) -> None:
    assert weights_folder(folder / WEIGHTS_FILE) == folder


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "{}", '{"format": 2}', '{"format": "1"}', "\x80"]
)
def test_a_config_of_no_known_format_is_named(folder: Path, text: str) -> None:
    (folder / CONFIG_FILE).write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=CONFIG_FILE):
        load_model(folder)


@pytest.mark.parametrize("key", ["sha256", "model", "statistics"])
def test_a_config_without_one_of_its_parts_is_refused(folder: Path, key: str) -> None:
    path = folder / CONFIG_FILE
    config = json.loads(path.read_text())
    del config[key]
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=WEIGHTS_FILE):
        load_model(folder)


def test_settings_that_do_not_fit_the_weights_are_refused(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    for change, message in (
        ({"width": 32}, "size mismatch"),
        ({"no_such_setting": 1}, "no_such_setting"),
        ({"target": "velocity"}, "velocity"),
        ({"elements": [200, *config["model"]["elements"][1:]]}, "200"),
        ({"elements": [-1, *config["model"]["elements"][1:]]}, "-1"),
    ):
        rewrite_config(folder, model={**config["model"], **change})
        with pytest.raises(ValueError, match=f"(?s){WEIGHTS_FILE}.*{message}"):
            load_model(folder)


def test_tables_that_do_not_fit_together_are_refused(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    tables, elements = config["statistics"], config["model"]["elements"]
    n = len(tables["given"])
    for change, message in (
        ({"given_count": tables["given_count"][:10]}, rf"given_count.*\({n},\), got \(10,\)"),
        ({"given_count": [0] * n}, "given_count.*got 0"),
        ({"given": [row[:2] for row in tables["given"]]}, rf"given.*got \({n}, 2\)"),
        ({"element_log_prior": tables["element_log_prior"][1:]}, "element_log_prior"),
        ({"position_log_prior": tables["position_log_prior"][1:]}, "position_log_prior"),
        ({"lattice_std": [1.0]}, r"lattice_std.*got \(1,\)"),
        ({"property_mean": [1.0]}, r"property_mean.*\(0,\), got \(1,\)"),
    ):
        rewrite_config(folder, statistics={**tables, **change})
        with pytest.raises(ValueError, match=f"{WEIGHTS_FILE}.* {message}"):
            load_model(folder)
    rewrite_config(folder, statistics=tables)
    load_model(folder)
    for order in ([elements[1], elements[0], *elements[2:]], [elements[0], *elements[:-1]]):
        rewrite_config(folder, model={**config["model"], "elements": order})
        with pytest.raises(ValueError, match="elements.*Mendeleev"):
            load_model(folder)


def test_weights_of_another_network_are_refused(folder: Path) -> None:
    path = folder / WEIGHTS_FILE
    weights = load_file(path)
    weights["extra"] = torch.zeros(1)
    save_file(weights, path)
    redigest(folder)
    with pytest.raises(ValueError, match="(?s)model.safetensors.*extra"):
        load_model(folder)


def test_a_save_that_fails_leaves_the_old_weights_whole(folder: Path, monkeypatch) -> None:
    before = (folder / WEIGHTS_FILE).read_bytes()

    def broken(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr("symmbfn.model.checkpoints.save_file", broken)
    with pytest.raises(OSError, match="no space"):
        save_model(shaken_model(seed=1), folder)
    assert (folder / WEIGHTS_FILE).read_bytes() == before
    assert sorted(p.name for p in folder.iterdir()) == sorted([WEIGHTS_FILE, CONFIG_FILE])
    load_model(folder)
