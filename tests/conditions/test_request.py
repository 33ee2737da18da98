"""A request: every way to write a condition is one value, and what cannot be is refused."""

import json
from dataclasses import FrozenInstanceError, asdict

import numpy as np
import pytest

from symmbfn.conditions.request import Request


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
