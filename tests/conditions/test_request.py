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


KEPT = {
    "space_group_number": 62,
    "elements": ["O", "Fe"],
    "letters": ["c", "d"],
    "coords": [[0.2, 0.25, 0.7], [0.1, 0.6, 0.3]],
}


@pytest.mark.parametrize(
    "settings",
    [
        {},
        *({"space_group_number": groups} for groups in (225, "cubic", (2, 14))),
        {"only": "Li,Fe,O", "require": ["O"], "exclude": "F", "guidance": 2},
        {"composition": "Ca3(PO4)2", "atoms": np.int64(26)},
        {"template": "225: Na 4a, Cl 4b", "elements": "Na,Cl", "lattice": "5 5 5 90 90 90"},
        {"keep": KEPT, "lattice": (10.3, 6, 4.7, 90, 90, 90)},
        {"properties": ["band_gap>=1", "formation_energy_per_atom=-2..-1"]},
    ],
    ids=str,
)
def test_a_request_is_the_same_after_json(settings: dict) -> None:
    request = Request.of(n=5, first=2, seed=2**63 - 1, **settings)
    again = Request(**json.loads(json.dumps(asdict(request))))
    assert again == request and hash(again) == hash(request)
    assert str(again) == str(request) and "\n" not in str(request)
    if settings:
        assert request != Request(n=5, first=2, seed=2**63 - 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "225: Na 4a", "keep": KEPT}, "template and keep exclude each other"),
        ({"template": "225: Na 4a", "space_group_number": "1-2"}, "'1-2' is no space group"),
        ({"template": "225: Na 4a", "space_group_number": "1,2"}, "of space group 225, not of 1-2"),
        (
            {"template": "225: Na 4a", "exclude": "Na"},
            "template has Na, which the elements exclude",
        ),
        ({"template": "225: Na 4a", "composition": "NaCl"}, "has not the elements"),
        (
            {"template": "225: Na 4a, Cl 4b", "composition": "NaCl", "atoms": 4},
            "has 2 atoms in the primitive cell, not 4",
        ),
        ({"keep": KEPT, "space_group_number": 14}, "keep is of space group 62, not of 14"),
        ({"keep": KEPT, "exclude": "Fe"}, "keep has Fe"),
        ({"keep": KEPT, "composition": "Li2O"}, "keep has Fe"),
        ({"keep": KEPT, "lattice": "4 5 6 90 95 90"}, "lattice .* is not that of space groups"),
        ({"lattice": "4 5 6 90 95 90", "space_group_number": 62}, "is not that of .* 62"),
        ({"guidance": -1}, "guidance.*-1"),
        ({"guidance": float("inf")}, "guidance.*inf"),
        ({"guidance": True}, "guidance.*True"),
        ({"chemistry": {"element": "Na"}}, "chemistry must be"),
        ({"chemistry": "NaCl"}, "chemistry must be a Chemistry or its fields, got 'NaCl'"),
    ],
    ids=str,
)
def test_conditions_that_exclude_each_other_are_refused(settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        Request.of(n=1, **settings)
    assert "\n" not in str(error.value)


def test_a_request_is_printed_in_one_line() -> None:
    assert str(Request(n=1)) == "crystal 0, seed 0"
    groups = "orthorhombic,225,227,226,2"
    request = Request(n=50, first=100, seed=3, space_group_number=groups)
    assert str(request) == "crystals 100 to 149, seed 3, space groups 2, 16-74, 225-227"
