"""What crystal i is conditioned on is a function of the seed, the conditions and i."""

from collections import Counter

import pytest
import torch
from scipy import stats

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.draw import draw, never_drawn
from symmbfn.conditions.request import Request
from symmbfn.model.symmbfn import SymmBFN
from tests.models import fresh_model


def rows_of(
    request: Request, model: SymmBFN, index: Int[Tensor, "B"] | None = None
) -> Int[Tensor, "n 3"]:
    return draw(request, model.config, model.statistics, index).rows


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return fresh_model()


def test_groups_and_sizes_are_drawn_as_in_training(model: SymmBFN) -> None:
    n = 20_000
    drawn = Counter(map(tuple, rows_of(Request(n=n), model).tolist()))
    rows = [tuple(row) for row in model.statistics.conditions.tolist()]
    count = model.statistics.condition_count.double().numpy()
    assert set(drawn) == set(rows)
    expected = n * count / count.sum()
    assert stats.chisquare([drawn[row] for row in rows], expected).pvalue > 1e-3


def test_chosen_groups_keep_their_proportions_and_the_rest_is_never_drawn(model: SymmBFN) -> None:
    n = 6000
    drawn = rows_of(Request(n=n, space_group_number=(225, 62, 14)), model)
    groups = Counter(drawn[:, 0].tolist())
    # rock salt and fluorite, perovskite, one monoclinic crystal
    assert set(groups) == {225, 62, 14}
    found, expected = [groups[225], groups[62], groups[14]], [n / 2, n / 4, n / 4]
    assert stats.chisquare(found, expected).pvalue > 1e-3


def test_groups_that_training_lacks_are_told_and_refused_where_there_are_no_others(
    model: SymmBFN,
) -> None:
    assert never_drawn(Request(n=1), model.statistics) == []
    some = Request(n=1, space_group_number="225,230,195")
    assert never_drawn(some, model.statistics) == [195, 230]
    with pytest.raises(ValueError, match="space groups 195, 230"):
        rows_of(Request(n=1, space_group_number=(230, 195)), model)


def test_what_crystal_i_is_drawn_by_depends_on_seed_and_i(model: SymmBFN) -> None:
    whole = rows_of(Request(n=100, seed=3), model)
    some = torch.tensor([70, 3, 99])
    assert torch.equal(rows_of(Request(n=100, seed=3), model, some), whole[some])
    # a later piece of the series, whatever its own length
    assert torch.equal(rows_of(Request(n=20, first=60, seed=3), model), whole[60:80])
    assert not torch.equal(rows_of(Request(n=100, seed=4), model), whole)
