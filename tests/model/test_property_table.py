"""Tables of properties: cases by hand, the limits of the smoothing, draws from a range."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from symmbfn.model.checkpoints import (
    CONFIG_FILE,
    load_model,
    read_config,
    save_model,
    statistics_from_dict,
    write_config,
)
from symmbfn.model.property_table import BINS, STRENGTH, PropertyTable, neighbours, smoothed
from symmbfn.model.statistics import compute_statistics, rows_of, with_property_tables
from tests.models import batch, config, fresh_model

# two rows of group 1, of which the second has the size of the third, in group 2
ROWS = torch.tensor([[1, 1, 1], [1, 2, 1], [2, 2, 1]])
N = 200_000


def table_of(values: list[float] | torch.Tensor, row: list[int] | None = None) -> PropertyTable:
    values = torch.as_tensor(values, dtype=torch.float32)
    places = torch.zeros(len(values), dtype=torch.long) if row is None else torch.tensor(row)
    return PropertyTable.of(values, places, ROWS)


def u(n: int = N) -> torch.Tensor:
    return (torch.arange(n, dtype=torch.float64) + 0.5) / n


# --- bins ----------------------------------------------------------------------------------------


def test_bins_hold_all_known_values_and_are_finer_at_the_ends() -> None:
    values = torch.arange(10_000).float()
    table = table_of(torch.cat([values, torch.full((50,), torch.nan)]))
    sizes = table.counts.sum(0)
    assert sizes.sum() == 10_000 and len(sizes) == BINS
    # 2 u^2 at u = 1/24 and 2/24, of 10,000 values, and the same from above
    assert sizes[:2].tolist() == pytest.approx([34.7, 104.2], abs=1)
    assert sizes.flip(0).tolist() == pytest.approx(sizes.tolist(), abs=1)
    assert table.bins(torch.tensor([-1e9, 0.0, 9999.0, 1e9])).tolist() == [0, 0, BINS - 1, BINS - 1]


def test_a_least_value_that_many_share_is_a_bin_of_its_own() -> None:
    table = table_of([0.0] * 60 + [0.1 * k for k in range(1, 41)])
    assert table.has_shared_least
    assert int(table.counts.sum(0)[0]) == 60
    assert table.bins(torch.tensor([0.0, 1e-6])).tolist() == [0, 1]
    kernel = neighbours(table, 3.0)
    assert kernel[0].tolist() == [1.0] + [0.0] * (len(kernel) - 1)
    assert (kernel[1:, 0] == 0).all() and (kernel[1:, 1:] > 0).all()
    assert not table_of([float(k) for k in range(100)]).has_shared_least


@pytest.mark.parametrize(
    "values", [[1.0], [2.0, 2.0], [1.0, 2.0], [1.0, 1.0, 2.0], [3.0, 1.0, 2.0]]
)
def test_few_values_leave_no_bin_empty(values: list[float]) -> None:
    table = table_of([*values, torch.nan])
    assert (table.counts.sum(0) > 0).all()
    assert table.counts.sum() == len(values)
    assert table.likelihood(ROWS).sum(-1).numpy() == pytest.approx(1.0)


def test_without_a_known_value_there_is_no_table() -> None:
    with pytest.raises(ValueError, match="no value"):
        table_of([torch.nan, torch.nan])


# --- smoothing -----------------------------------------------------------------------------------


def test_shrinkage_by_hand() -> None:
    """Two bins, nothing spread: strength 4 towards half the group's and half the size's shares."""
    assert STRENGTH == 4
    counts = torch.tensor([[3, 1], [0, 0], [0, 4]])
    found = smoothed(counts, ROWS, torch.eye(2).double())
    whole = np.array([3 + 2, 5 + 2]) / 12
    group1 = (np.array([3, 1]) + 4 * whole) / 8
    group2 = (np.array([0, 4]) + 4 * whole) / 8
    size1, size2 = group1, group2  # rows 2 and 3 have four crystals together, all of the third
    first = (np.array([3, 1]) + 4 * (group1 + size1) / 2) / 8
    second = (group1 + size2) / 2
    third = (np.array([0, 4]) + 4 * (group2 + size2) / 2) / 8
    np.testing.assert_allclose(found, [first, second, third], rtol=1e-12)


def test_many_crystals_speak_for_themselves_and_none_follow_their_kin() -> None:
    counts = torch.tensor([[10**7, 3 * 10**7], [0, 0], [0, 0]])
    found = smoothed(counts, ROWS, torch.eye(2).double())
    np.testing.assert_allclose(found[0], [0.25, 0.75], atol=1e-6)
    # the second row has their group, the third neither group nor size: only the whole
    np.testing.assert_allclose(found[1:], [[0.25, 0.75]] * 2, atol=1e-6)


def test_spreading_moves_counts_to_neighbours_alone_and_loses_none() -> None:
    table = table_of(torch.arange(1000).float())
    narrow, wide = neighbours(table, 1e-3), neighbours(table, 1e6)
    np.testing.assert_allclose(narrow, np.eye(BINS), atol=1e-12)
    np.testing.assert_allclose(wide, np.full((BINS, BINS), 1 / BINS), rtol=1e-9)
    middle = neighbours(table, 1.0)[12]
    assert middle[13] / middle[12] == pytest.approx(np.exp(-0.5))
    assert middle[10] / middle[12] == pytest.approx(np.exp(-2.0))


def test_leaving_one_out_is_a_table_of_the_others() -> None:
    counts = torch.tensor([[3, 1, 2], [1, 0, 5], [2, 2, 0]])
    kernel = neighbours(replace(table_of([1.0, 2.0, 3.0]), edges=torch.tensor([1.5, 2.5])), 0.8)
    found = smoothed(counts, ROWS, kernel, n_left_out=1)
    for row, place in (counts > 0).nonzero().tolist():
        others = counts.clone()
        others[row, place] -= 1
        expected = smoothed(others, ROWS, kernel)[row, place]
        assert found[row, place] == pytest.approx(float(expected), rel=1e-12)


def test_clear_differences_are_smoothed_little_and_noise_much() -> None:
    generator = torch.Generator().manual_seed(0)
    row = torch.arange(900) % 3
    noise = torch.randn(900, generator=generator)
    clear = row + 0.01 * noise
    assert table_of(clear, row.tolist()).width < table_of(noise, row.tolist()).width
    likelihood = table_of(clear, row.tolist()).likelihood(ROWS)
    table = table_of(clear, row.tolist())
    for kind in range(3):
        of_bin = likelihood[:, table.bins(torch.tensor([float(kind)]))]
        assert int(of_bin.argmax()) == kind


# --- ranges --------------------------------------------------------------------------------------


def test_a_range_is_drawn_as_the_data_lie_in_it() -> None:
    data = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    table = table_of(data)
    for low, high in ((-1.0, 0.5), (0.3, np.inf), (-np.inf, -1.0), (-np.inf, np.inf)):
        drawn = table.between(u(2000), low, high)
        assert drawn.min() >= low and drawn.max() <= high
        inside = data[(data >= low) & (data <= high)]
        assert stats.ks_2samp(drawn.numpy(), inside.numpy()).statistic < 0.01


def test_a_shared_value_is_drawn_as_often_as_the_data_have_it() -> None:
    table = table_of([0.0] * 600 + [1.0 + k / 400 for k in range(400)])
    share = lambda low, high: float((table.between(u(), low, high) == 0).double().mean())  # noqa: E731
    assert share(-np.inf, np.inf) == pytest.approx(0.6, abs=0.005)
    # 0 and half of the others: the shared value counts at either end of a range
    assert share(0.0, 1.5) == pytest.approx(0.75, abs=0.01)
    assert share(-1.0, 0.0) == 1.0
    assert share(1e-3, 2.0) == 0.0


def test_ends_of_the_data_are_inside() -> None:
    table = table_of([-4.4726, -1.0, 0.2])
    for low, high, inside in (
        (-4.4726, -4.4726, True),
        (-9.0, -4.4726, True),
        (0.2, np.inf, True),
        (0.3, np.inf, False),
        (-9.0, -5.0, False),
    ):
        assert table.covers(low, high) is inside
    np.testing.assert_allclose(table.between(u(10), -9.0, -4.4726), -4.4726, rtol=1e-6)


# --- of a model ----------------------------------------------------------------------------------


def test_tables_count_the_crystals_of_each_row_and_only_known_values() -> None:
    settings = config("default", properties=("band_gap", "height"))
    crystals = batch()
    values = torch.full((len(crystals), 2), torch.nan)
    values[:5, 0] = torch.tensor([0.0, 0.0, 1.0, 2.0, 3.0])
    statistics = compute_statistics(crystals, config("default"))
    found = with_property_tables(statistics, crystals, settings, values)
    assert [*found.property_tables] == ["band_gap"]
    table = found.property_tables["band_gap"]
    rows = rows_of(crystals, settings)
    for row, n in zip(found.conditions, table.counts.sum(-1).tolist(), strict=True):
        assert n == (rows[:5] == row).all(-1).sum()
    with pytest.raises(ValueError, match="statistics of 16 crystals are not those of these 3"):
        with_property_tables(statistics, batch(0, 1, 2), settings, values[:3])


def with_tables(**changes):
    model = fresh_model(properties=("band_gap", "height"), **changes)
    values = torch.rand(16, 2, generator=torch.Generator().manual_seed(0))
    model.statistics = with_property_tables(model.statistics, batch(), model.config, values)
    return model


def test_tables_come_back_and_their_file_has_a_line_a_row(tmp_path) -> None:
    model = with_tables()
    save_model(model, tmp_path, notes={"why": ["a [1,\n 2] b", "c"]})
    found = load_model(tmp_path).statistics.property_tables
    assert [*found] == ["band_gap", "height"]
    for name, table in model.statistics.property_tables.items():
        for part in ("quantiles", "edges", "counts"):
            assert torch.equal(getattr(found[name], part), getattr(table, part)), part
        assert found[name].width == table.width
    assert read_config(tmp_path)["notes"] == {"why": ["a [1,\n 2] b", "c"]}
    lines = (tmp_path / CONFIG_FILE).read_text().splitlines()
    first = model.statistics.property_tables["band_gap"].counts[0].tolist()
    assert any(json.dumps(first, separators=(",", ":")) == line.strip(" ,") for line in lines)


def test_weights_without_tables_load_without_them(tmp_path) -> None:
    save_model(with_tables(), tmp_path)
    content = read_config(tmp_path)
    del content["statistics"]["property_tables"]
    write_config(tmp_path, content)
    assert load_model(tmp_path).statistics.property_tables == {}
    assert load_model("paper").statistics.property_tables == {}


def test_tables_that_do_not_fit_are_refused(tmp_path) -> None:
    model = with_tables()
    save_model(model, tmp_path)
    statistics = read_config(tmp_path)["statistics"]
    good = statistics["property_tables"]["band_gap"]
    for change, message in (
        ({"counts": good["counts"][1:]}, "counts must have shape"),
        ({"counts": [[-1] * len(row) for row in good["counts"]]}, "negative, got -1"),
        ({"edges": good["edges"][::-1]}, "ascend"),
        ({"quantiles": good["quantiles"][::-1]}, "ascend"),
    ):
        tables = {"band_gap": {**good, **change}}
        with pytest.raises(ValueError, match=message):
            statistics_from_dict({**statistics, "property_tables": tables}, model.config)
    with pytest.raises(ValueError, match="property_tables of weight"):
        statistics_from_dict({**statistics, "property_tables": {"weight": good}}, model.config)
