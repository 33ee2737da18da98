"""A request: what crystal i is drawn by is a function of the seed, the conditions and i."""

import json
from collections import Counter
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest
import torch
from scipy import stats

from symmbfn.conditions.request import Request
from symmbfn.model.symmbfn import SymmBFN
from tests.models import fresh_model


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return fresh_model()


def test_groups_and_sizes_are_drawn_as_in_training(model: SymmBFN) -> None:
    n = 20_000
    drawn = Counter(map(tuple, Request(n=n).rows(model.statistics).tolist()))
    rows = [tuple(row) for row in model.statistics.conditions.tolist()]
    count = model.statistics.condition_count.double().numpy()
    assert set(drawn) == set(rows)
    expected = n * count / count.sum()
    assert stats.chisquare([drawn[row] for row in rows], expected).pvalue > 1e-3


def test_chosen_groups_keep_their_proportions_and_the_rest_is_never_drawn(model: SymmBFN) -> None:
    n = 6000
    drawn = Request(n=n, space_group_number=(225, 62, 14)).rows(model.statistics)
    groups = Counter(drawn[:, 0].tolist())
    # rock salt and fluorite, perovskite, one monoclinic crystal
    assert set(groups) == {225, 62, 14}
    found, expected = [groups[225], groups[62], groups[14]], [n / 2, n / 4, n / 4]
    assert stats.chisquare(found, expected).pvalue > 1e-3


def test_groups_that_training_lacks_are_told_and_refused_where_there_are_no_others(
    model: SymmBFN,
) -> None:
    assert Request(n=1).never_drawn(model.statistics) == []
    some = Request(n=1, space_group_number="225,230,195")
    assert some.never_drawn(model.statistics) == [195, 230]
    for ask in (Request.never_drawn, Request.rows):
        with pytest.raises(ValueError, match="space groups 195, 230"):
            ask(Request(n=1, space_group_number=(230, 195)), model.statistics)


def test_what_crystal_i_is_drawn_by_depends_on_seed_and_i(model: SymmBFN) -> None:
    whole = Request(n=100, seed=3).rows(model.statistics)
    some = torch.tensor([70, 3, 99])
    assert torch.equal(Request(n=100, seed=3).rows(model.statistics, some), whole[some])
    # a later piece of the series, whatever its own length
    assert torch.equal(Request(n=20, first=60, seed=3).rows(model.statistics), whole[60:80])
    assert not torch.equal(Request(n=100, seed=4).rows(model.statistics), whole)


def test_numbers_begin_with_the_first() -> None:
    request = Request(n=3, first=100)
    assert list(request.numbers) == request.index.tolist() == [100, 101, 102]
    last = Request(n=1, first=2**63 - 1)
    assert list(last.numbers) == last.index.tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must.*0"),
        ({"n": True}, "n must.*True"),
        ({"n": 1, "first": -1}, "first must.*-1"),
        ({"n": 1, "first": 2**63}, f"first must.*{2**63}"),
        ({"n": 2, "first": 2**63 - 1}, r"first \+ n"),
        ({"n": 1, "seed": -1}, "seed must.*-1"),
        ({"n": 1, "seed": 2**63}, f"seed must.*{2**63}"),
        ({"n": 1, "space_group_number": 231}, "231"),
        ({"n": 1, "space_group_number": "Fm-3n"}, "Fm-3n"),
        ({"n": 1, "space_group_number": []}, r"\[\]"),
    ],
    ids=str,
)
def test_what_no_request_can_have_is_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Request(**arguments)


def test_ways_to_write_the_same_request_are_equal() -> None:
    request = Request(n=5, first=2, seed=1, space_group_number=(194, 225))
    for groups in ("225,P6_3/mmc", ["Fm-3m", 194, 225], np.array([225, 194])):
        same = Request(n=5, first=2, seed=1, space_group_number=groups)
        assert same == request and hash(same) == hash(request)
    assert request != Request(n=5, first=2, seed=1, space_group_number=225)
    with pytest.raises(FrozenInstanceError):
        request.n = 6


@pytest.mark.parametrize("groups", [None, 225, "cubic", (2, 14)])
def test_a_request_is_the_same_after_json(groups: object) -> None:
    request = Request(n=5, first=2, seed=2**63 - 1, space_group_number=groups)
    assert Request(**json.loads(json.dumps(asdict(request)))) == request


def test_a_request_is_printed_in_one_line() -> None:
    assert str(Request(n=1)) == "crystal 0, seed 0"
    groups = "orthorhombic,225,227,226,2"
    request = Request(n=50, first=100, seed=3, space_group_number=groups)
    assert str(request) == "crystals 100 to 149, seed 3, space groups 2, 16-74, 225-227"
