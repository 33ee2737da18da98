"""Values of properties, the rows drawn given them, and what is said of values far from the data."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from symmbfn.conditions.choices import choices_of
from symmbfn.conditions.draw import draw
from symmbfn.conditions.request import Request
from symmbfn.conditions.values import doubts, drawn_values, row_factors
from symmbfn.generation.generate import generate
from symmbfn.generation.run import generate_run
from symmbfn.model.checkpoints import save_model
from symmbfn.model.property_table import PropertyTable
from symmbfn.model.symmbfn import SymmBFN
from tests.models import fresh_model, shaken_model

NAMES = ("band_gap", "height")


def with_tables(make=fresh_model) -> SymmBFN:
    """A model whose band gaps ascend from row to row, and whose heights are all alike."""
    model = make(properties=NAMES)
    rows = model.statistics.conditions
    row = torch.arange(len(rows)).repeat_interleave(50)
    noise = torch.randn(2, len(row), generator=torch.Generator().manual_seed(0)).double()
    values = (row + noise[0], noise[1])
    tables = {
        name: PropertyTable.of(column, row, rows)
        for name, column in zip(NAMES, values, strict=True)
    }
    model.statistics = replace(model.statistics, property_tables=tables)
    return model


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return with_tables()


def drawn(model: SymmBFN, n: int, index: torch.Tensor | None = None, **fields):
    return draw(Request(n=n, **fields), model.config, model.statistics, index)


def of_row(model: SymmBFN, rows: torch.Tensor) -> np.ndarray:
    return (rows[:, None] == model.statistics.conditions).all(-1).long().argmax(-1).numpy()


def test_rows_come_as_often_as_the_table_says(model: SymmBFN) -> None:
    n, known = 20_000, model.statistics
    rows = of_row(model, drawn(model, n, properties={"band_gap": 4.0}).rows)
    table = known.property_tables["band_gap"]
    likelihood = table.likelihood(known.conditions)[:, table.bins(torch.tensor([4.0]))[0]]
    weight = (likelihood * known.condition_count).numpy()
    expected = n * weight / weight.sum()
    found = np.bincount(rows, minlength=len(weight))
    assert stats.chisquare(found, expected).pvalue > 1e-3
    # 50 crystals about 4 in the fifth row: far more than one in 16
    assert found[3:6].sum() > 0.7 * n


def test_two_properties_multiply(model: SymmBFN) -> None:
    known = model.statistics
    value = torch.tensor([[4.0, 0.3]])
    both, _ = row_factors(value, known.conditions, model.config, known)
    for column in range(2):
        alone = torch.full_like(value, torch.nan)
        alone[0, column] = value[0, column]
        one, _ = row_factors(alone, known.conditions, model.config, known)
        both = both / one
    torch.testing.assert_close(both, torch.ones_like(both), rtol=1e-12, atol=0)


def test_values_outside_of_the_data_draw_as_the_outermost_ones(model: SymmBFN) -> None:
    top = float(model.statistics.property_tables["band_gap"].quantiles[-1])
    last, far = (drawn(model, 500, properties={"band_gap": x}).rows for x in (top, top + 50))
    assert torch.equal(last, far)


def test_crystal_i_depends_on_seed_and_i_alone(model: SymmBFN) -> None:
    asked = {"properties": {"band_gap": (2.0, None), "height": (-1.0, 1.0)}, "seed": 3}
    whole = drawn(model, 300, **asked)
    assert len(whole.properties[:, 0].unique()) > 100
    for index in (torch.tensor([250, 3, 17]), torch.arange(100, 200), torch.tensor([299])):
        some = drawn(model, 300, index, **asked)
        assert torch.equal(some.rows, whole.rows[index])
        assert torch.equal(some.properties, whole.properties[index])
    later = drawn(model, 100, first=200, **asked)
    assert torch.equal(later.rows, whole.rows[200:])
    assert not torch.equal(drawn(model, 300, **{**asked, "seed": 4}).rows, whole.rows)


def test_higher_values_of_a_range_get_the_rows_of_higher_values(model: SymmBFN) -> None:
    some = drawn(model, 2000, properties={"band_gap": (0.0, 15.0)})
    values, rows = some.properties[:, 0].numpy(), of_row(model, some.rows)
    assert stats.spearmanr(values, rows).statistic > 0.9


def test_without_tables_rows_are_as_frequent_as_in_training(model: SymmBFN) -> None:
    old = fresh_model(properties=NAMES)
    assert not old.statistics.property_tables
    plain = drawn(old, 500).rows
    assert torch.equal(drawn(old, 500, properties={"band_gap": 4.0}).rows, plain)
    assert torch.equal(drawn(model, 500).rows, plain), "no property, no factor"
    even = drawn(old, 20_000, properties={"band_gap": (1.0, 3.0)}).properties[:, 0].numpy()
    assert stats.kstest(even, stats.uniform(1.0, 2.0).cdf).pvalue > 1e-3
    with pytest.raises(ValueError, match="band_gap needs two ends"):
        drawn(old, 5, properties={"band_gap": (1.0, None)})


@pytest.mark.parametrize(
    ("ends", "expected"),
    [((50.0, None), (50.0, 50.0)), ((None, -50.0), (-50.0, -50.0)), ((40.0, 60.0), (40.0, 60.0))],
)
def test_ranges_without_data(model: SymmBFN, ends, expected: tuple[float, float]) -> None:
    request = Request(n=4000, properties={"height": ends})
    values = drawn_values(request, model.config, model.statistics, request.index)
    assert values[:, 0].isnan().all()
    low, high = expected
    assert values[:, 1].min() == pytest.approx(low, abs=0.05)
    assert values[:, 1].mean() == pytest.approx((low + high) / 2, abs=0.5)
    assert values[:, 1].max() == pytest.approx(high, abs=0.05)
    (told,) = doubts(request, model.statistics)
    assert told.startswith("height") and "outside of the training data" in told


def test_what_is_near_the_data_raises_no_doubts(model: SymmBFN) -> None:
    for asked in ({"height": 0.0}, {"height": (2.0, 50.0)}, {"height": (None, 0.0)}):
        assert doubts(Request(n=1, properties=asked, guidance=2.0), model.statistics) == []
    assert doubts(Request(n=1, guidance=5.0), model.statistics) == [], "it guides nothing"


def test_every_doubt_is_told_once(tmp_path) -> None:
    shaken = with_tables(shaken_model)
    asked = {"properties": {"height": 99.0}, "guidance": 3.0}
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        generate(n=40, weights=shaken, n_steps=1, batch_size=4, **asked)
    told = [str(one.message) for one in found if one.category is UserWarning]
    assert len([text for text in told if text.startswith("height 99 lies outside")]) == 1
    assert len([text for text in told if text.startswith("guidance 3")]) == 1
    save_model(shaken, tmp_path / "weights")
    summary = generate_run(
        tmp_path / "run", n=3, weights=str(tmp_path / "weights"), n_steps=1, workers=0, **asked
    )
    assert [text.split()[0] for text in summary["doubts"]] == ["height", "guidance"]


def test_a_template_keeps_its_row(model: SymmBFN) -> None:
    sites = Request(n=5, template="225: Na a, Cl b", properties={"band_gap": 9.0})
    found = draw(sites, model.config, model.statistics)
    assert found.rows.tolist() == [[225, 2, 2]] * 5
    assert (found.properties[:, 0] == 9.0).all()


def test_a_composition_keeps_its_weights_and_takes_the_factors(model: SymmBFN) -> None:
    request = Request.of(n=8000, composition="NaCl", properties={"band_gap": 6.0})
    choices = choices_of(request, model.config, model.statistics)
    factors, _ = row_factors(
        torch.tensor([[6.0, torch.nan]]), choices.rows, model.config, model.statistics
    )
    weight = choices.weight * factors[0]
    by_row = torch.zeros(len(model.statistics.conditions)).double()
    by_row.index_add_(0, torch.from_numpy(of_row(model, choices.rows)), weight)
    found = np.bincount(
        of_row(model, draw(request, model.config, model.statistics).rows), minlength=len(by_row)
    )
    expected = (8000 * by_row / by_row.sum()).numpy()
    assert not found[expected == 0].any()
    some = expected > 0
    assert some.sum() > 1
    assert stats.chisquare(found[some], expected[some]).pvalue > 1e-3
