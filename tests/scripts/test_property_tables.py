"""Tables are added to weights that were trained without them, and their gain is a known one."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from scripts.conditioning.add_tables import add_tables
from scripts.conditioning.property_tables import gains
from symmbfn.model.checkpoints import CONFIG_FILE, WEIGHTS_FILE, load_model, save_model
from symmbfn.model.property_table import PropertyTable
from symmbfn.model.statistics import compute_statistics
from symmbfn.training.fit import build_model
from tests.models import config, dataset, elements

ZEROS = torch.zeros(4, 2)  # values that scale two properties


def with_values(repeats: int, values: torch.Tensor):
    return replace(dataset(repeats), properties=values[:, None], property_names=("height",))


def test_a_new_model_has_the_table_of_the_crystals_it_will_generate() -> None:
    values = torch.rand(32, generator=torch.Generator().manual_seed(0))
    values[::3] = torch.nan
    settings = config("default", properties=("height",))
    extra = torch.full((1000, 1), 99.0)
    scaled_by = torch.cat([values[:, None], extra])
    model = build_model(settings, with_values(2, values), None, 0, scaled_by)
    table = model.statistics.property_tables["height"]
    known = values[~values.isnan()]
    assert int(table.counts.sum()) == len(known)
    assert float(table.quantiles[0]) == float(known.min())
    assert float(table.quantiles[-1]) == float(known.max())
    assert float(model.statistics.property_mean[0]) > 50
    # another dataset, which knows nothing of the property
    again = build_model(settings, dataset(3), model, 0)
    assert not again.statistics.property_tables


def test_tables_are_added_to_the_configuration_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    train = with_values(2, torch.arange(32).float())
    model = build_model(config("default", properties=("height", "age")), train, None, 0, ZEROS)
    expected = model.statistics.property_tables["height"]
    model.statistics = replace(model.statistics, property_tables={})
    save_model(model, tmp_path)
    before = (tmp_path / WEIGHTS_FILE).read_bytes()
    monkeypatch.setattr("scripts.conditioning.add_tables.sets_of", lambda *_: (train, None))
    add_tables(tmp_path, "units")
    said = capsys.readouterr().out
    assert "height: 32 values" in said and "age: no value is known" in said
    assert (tmp_path / WEIGHTS_FILE).read_bytes() == before
    found = load_model(tmp_path).statistics.property_tables
    assert [*found] == ["height"]
    assert torch.equal(found["height"].counts, expected.counts)
    assert torch.equal(found["height"].quantiles, expected.quantiles)
    text = (tmp_path / CONFIG_FILE).read_text()
    monkeypatch.setattr("scripts.conditioning.add_tables.sets_of", lambda *_: (dataset(3), None))
    with pytest.raises(ValueError, match="statistics of 32 crystals are not those of these 48"):
        add_tables(tmp_path, "units")
    assert (tmp_path / CONFIG_FILE).read_text() == text


def test_gain_of_a_value_that_tells_the_row() -> None:
    """Two rows, each half of the crystals: a value that decides between them is worth log 2."""
    settings = replace(config("default"), elements=elements(), properties=("height",))
    named = replace(dataset(), identifiers=tuple(map(str, range(len(dataset())))))
    crystals = named.subset(torch.tensor([0] * 4000 + [2] * 4000))
    values = torch.tensor([0.0] * 4000 + [1.0] * 4000)
    crystals = replace(crystals, properties=values[:, None], property_names=("height",))
    units = crystals.batch(torch.arange(len(crystals)))
    statistics = compute_statistics(units, config("default"))
    row = torch.tensor([1] * 4000 + [0] * 4000)  # group 225 stands after 216
    table = PropertyTable.of(values, row, statistics.conditions)
    statistics = replace(statistics, property_tables={"height": table})
    gain = gains("height", crystals, settings, statistics)
    assert len(gain) == 8000
    assert gain.numpy() == pytest.approx(math.log(2), abs=0.002)
    without = gains("height", crystals, settings, replace(statistics, property_tables={}))
    assert without.numpy() == pytest.approx(0.0, abs=1e-9)
