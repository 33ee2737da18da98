"""Models on disk: they come back, and what is damaged, foreign or a pickle is refused by name."""

import hashlib
import json
import pickle
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from symmbfn.model.checkpoints import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    load_model,
    read_config,
    save_model,
    weights_folder,
)
from symmbfn.model.class_configs import ElementSlotsConfig, LettersConfig
from symmbfn.model.config import LossConfig, circular_config, default_config, paper_config
from symmbfn.model.config_files import config_from_dict, nested
from symmbfn.model.statistics import Statistics
from tests.models import batch, beliefs_at, cells, shaken_model

PRESETS = ("default", "paper", "full_cell", "circular")


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
        if field.name == "property_tables":
            continue
        mine, theirs = (getattr(m.statistics, field.name) for m in (model, loaded))
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs), field.name
    state = loaded.state_dict()
    assert state.keys() == model.state_dict().keys()
    for name, value in model.state_dict().items():
        assert torch.equal(state[name], value), name
    crystals = cells() if model.config.is_of_atoms else batch()
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    mine, theirs = model(beliefs, conditions, time), loaded(beliefs, conditions, time)
    for kind in ("continuous", "categorical"):
        for name, value in getattr(mine, kind).items():
            assert torch.equal(getattr(theirs, kind)[name], value)


def test_accuracies_are_those_of_the_file_not_of_todays_rule(tmp_path: Path) -> None:
    parts = {
        "composition": ElementSlotsConfig(beta1=0.36, pointer_beta1=3.0),
        "symmetry": LettersConfig(beta1=1.2),
    }
    model = shaken_model(**parts)
    save_model(model, tmp_path)
    loaded = load_model(tmp_path)
    assert loaded.config == model.config
    assert {name: getattr(loaded.config, name) for name in parts} == parts


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
    "text", ["", "{", "[]", "null", "{}", '{"format": 3}', '{"format": "1"}', "\x80"]
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
    network, lattice = config["model"]["network"], config["model"]["lattice"]
    for change, message in (
        ({"network": network | {"width": 32}}, "size mismatch"),
        ({"network": network | {"no_such_setting": 1}}, "no_such_setting"),
        ({"no_such_part": 1}, "no_such_part"),
        ({"lattice": lattice | {"target": "velocity"}}, "velocity"),
        ({"symmetry": {"kind": "colours"}}, "symmetry.*'colours'"),
        ({"elements": [200, *config["model"]["elements"][1:]]}, "200"),
        ({"elements": [-1, *config["model"]["elements"][1:]]}, "-1"),
    ):
        rewrite_config(folder, model={**config["model"], **change})
        with pytest.raises(ValueError, match=f"(?s){WEIGHTS_FILE}.*{message}"):
            load_model(folder)


def test_tables_that_do_not_fit_together_are_refused(folder: Path) -> None:
    config = json.loads((folder / CONFIG_FILE).read_text())
    tables, elements = config["statistics"], config["model"]["elements"]
    n = len(tables["conditions"])
    for change, message in (
        (
            {"condition_count": tables["condition_count"][:10]},
            rf"condition_count.*\({n},\), got \(10,\)",
        ),
        ({"condition_count": [0] * n}, "condition_count.*got 0"),
        ({"conditions": [row[:2] for row in tables["conditions"]]}, rf"conditions.*got \({n}, 2\)"),
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


# --- format 1: one flat dictionary ---------------------------------------------------------------


def flat_config() -> dict:
    """Settings of a small model with circular coordinates, as format 1 had them."""
    return {
        "elements": [8, 26],
        "network": "cspnet",
        "width": 16,
        "depth": 2,
        "n_frequencies": 4,
        "edge_width": 0,
        "edge_layers": 2,
        "is_modulated": False,
        "symmetry": "none",
        "has_axis_mask": False,
        "elements_as": "sites",
        "is_told_n_elements": False,
        "n_slots": 8,
        "target": "noise",
        "is_preconditioned": False,
        "has_bounded_state": None,
        "has_images": False,
        "n_images": 2,
        "has_displacements": False,
        "image_pooling": "plain",
        "has_self_conditioning": False,
        "is_standardised": False,
        "coords_as": "circular",
        "sigma1_coords": 0.02,
        "n_messages": 100,
        "beta1_coords": 1000.0,
        "sigma1_lattice": 0.02,
        "beta1_elements": 0.25,
        "beta1_symmetry": 2.5,
        "beta1_pointers": 4.0,
        "categorical_power": 2.0,
        "weights": {"coords": 1.0, "lattice": 0.1, "elements": 3.0},
        "cross_entropy": 0.0,
        "min_t": 1e-4,
        "properties": [],
        "has_known_parts": False,
    }


def test_flat_settings_are_those_of_the_preset_that_they_describe() -> None:
    circular = circular_config((8, 26), width=16, depth=2)
    network = replace(circular.network, n_frequencies=4)
    assert config_from_dict(nested(flat_config())) == replace(circular, network=network)
    # what came to format 1 later may be missing
    later = ("network", "has_axis_mask", "image_pooling", "properties", "n_images")
    shorter = {name: value for name, value in flat_config().items() if name not in later}
    assert config_from_dict(nested(shorter)) == replace(circular, network=network)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("network", "transformer", "'transformer' was taken out"),
        ("categorical_power", 1.0, "'1.0'|1.0 was taken out"),
        ("target", "velocity", "(?s)target.*'velocity'"),
        ("colour", "red", "colour"),
    ],
)
def test_flat_settings_that_this_version_has_not_are_refused_by_name(
    name: str, value: object, message: str
) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        config_from_dict(nested(flat_config() | {name: value}))


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_both_formats_are_read_and_are_the_same_model(preset: str, tmp_path: Path) -> None:
    """The shipped weights are of format 1; saved again they are of format 2."""
    shipped = weights_folder(preset)
    assert read_config(shipped)["format"] == 1
    old = load_model(preset)
    save_model(old, tmp_path)
    assert read_config(tmp_path)["format"] == 2
    new = load_model(tmp_path)
    assert new.config == old.config
    for name, value in old.state_dict().items():
        assert torch.equal(new.state_dict()[name], value), name
    theirs = {n.partition(".")[2]: v for n, v in load_file(shipped / WEIGHTS_FILE).items()}
    mine = {n.partition(".")[2]: v for n, v in load_file(tmp_path / WEIGHTS_FILE).items()}
    assert theirs.keys() == mine.keys()


def test_flat_settings_of_the_default_weights_are_the_default() -> None:
    config = load_model("default").config
    today = default_config(config.elements)
    # they are from before the network read compositions, and before templates weighed more
    composition = replace(today.composition, reads_atoms=False)
    earlier = replace(today, composition=composition, loss=LossConfig())
    assert replace(config, properties=()) == earlier
    assert load_model("paper").config == paper_config(width=128)
