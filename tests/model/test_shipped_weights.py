"""The weights that come with the package: there, intact, small, and able to make crystals."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from safetensors import safe_open

from symmbfn.claims.store import claim
from symmbfn.cli.verbs import main
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import CONFIG_FILE, WEIGHTS_FILE, load_model
from symmbfn.runtime.files import file_digest

FOLDER = Path(str(files("symmbfn") / "weights"))
NAMES = (
    "default",
    *sorted({path.parent.name for path in FOLDER.glob(f"*/{CONFIG_FILE}")} - {"default"}),
)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_whole_and_described(name: str) -> None:
    folder = FOLDER / name
    config = json.loads((folder / CONFIG_FILE).read_text())
    assert file_digest(folder / WEIGHTS_FILE) == config["sha256"]
    assert (folder / WEIGHTS_FILE).stat().st_size < 40e6
    with safe_open(folder / WEIGHTS_FILE, "pt") as file:
        kinds = {file.get_slice(key).get_dtype() for key in file.keys()}  # noqa: SIM118
    assert kinds == {"F16"}, "shipped in half precision"
    assert len((folder / "MODEL_CARD.md").read_text()) > 200
    load_model(name)


def test_default_weights_know_where_their_properties_lie() -> None:
    model = load_model("default")
    tables = model.statistics.property_tables
    assert [*tables] == [*model.config.properties]
    for name, least, most in (("formation_energy_per_atom", -5, 0.5), ("band_gap", 0, 20)):
        first, last = (float(tables[name].quantiles[end]) for end in (0, -1))
        assert least <= first < last <= most
    for table in tables.values():
        assert (table.counts.sum(-1) <= model.statistics.condition_count).all()
    # oxides and fluorides of many elements, not metals of one
    likelihood = tables["band_gap"].likelihood(model.statistics.conditions)
    n_elements = model.statistics.conditions[:, 2]
    prior = model.statistics.condition_count.double()
    wide, none = (
        weight @ n_elements.double() / weight.sum()
        for weight in (prior * likelihood[:, -1], prior * likelihood[:, 0])
    )
    assert wide > none


def test_default_weights_make_a_few_crystals(tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main(["generate", "--n", "8", "--space-group", "225,62", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    sampler = preset_sampler(load_model("default"))
    assert SamplerConfig(**summary["settings"]["sampler"]) == sampler
    assert summary["statuses"]["ok"] >= 6
    assert summary["rates"]["space_group_found"]["count"] >= 5


@pytest.mark.parametrize("name", NAMES)
def test_the_rates_of_a_card_are_the_measured_ones(name: str) -> None:
    card = (FOLDER / name / "MODEL_CARD.md").read_text()
    for claimed in ("validity_structural", "contacts", "validity_smact", "group_kept"):
        measured = claim(f"generate.{name}.{claimed}")
        low, high = measured["interval"]
        assert f"| {measured['value']:.1f} % | {low:.1f} to {high:.1f} |" in card, claimed
