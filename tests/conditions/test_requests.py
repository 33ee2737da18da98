"""Requests of one run: numbered through, and each crystal drawn by its own."""

from dataclasses import fields, replace

import pytest
import torch

from symmbfn.conditions.draw import OPEN, Drawn, draw
from symmbfn.conditions.request import Request
from symmbfn.conditions.requests import (
    RequestError,
    draw_all,
    groups_never_drawn,
    numbered,
    numbers_of,
)
from symmbfn.model.symmbfn import SymmBFN
from tests.models import fresh_model

TEMPLATE = "62: Li 4a, Ti 4b, Ca 4c, O 4c, O 8d, F 8d"


@pytest.fixture(scope="module")
def model() -> SymmBFN:
    return fresh_model(properties=("band_gap",))


def asked(seed: int = 0, first: int = 0) -> list[Request]:
    """Every kind of condition, and few crystals of each."""
    conditions = [
        {},
        {"space_group_number": 225},
        {"composition": "SrTiO3"},
        {"template": TEMPLATE},
        {"lattice": "4 4 4 90 90 90"},
        {"elements": "Ti,O"},
        {"properties": {"band_gap": (1, 3)}, "guidance": 2.0},
    ]
    made = [Request.of(n=n, seed=seed, **given) for n, given in enumerate(conditions, start=2)]
    return [replace(made[0], first=first), *made[1:]]


def test_crystals_are_numbered_through() -> None:
    found = numbered(asked(seed=3, first=40))
    assert [request.first for request in found] == [40, 42, 45, 49, 54, 60, 67]
    assert numbers_of(found) == range(40, 75)
    assert [replace(one, first=0) for one in found] == [replace(r, first=0) for r in asked(seed=3)]
    assert numbered(found) == found, "what is numbered stays so"
    assert numbered(Request(n=3, first=7)) == (Request(n=3, first=7),)


@pytest.mark.parametrize(
    ("requests", "text"),
    [
        ([], r"got \[\]"),
        ("225", "got '225'"),
        (3, "got 3"),
        ([Request(n=2), 5], "request 1 must be a Request, got 5"),
        ([Request(n=2), Request(n=2, seed=4)], "request 1 has 4, request 0 has 0"),
        ([Request(n=2), Request(n=2, first=1)], "request 1 begins at crystal 2.*got 1"),
        ([Request(n=2, first=2**63 - 3), Request(n=2)], r"2\^63"),
    ],
    ids=str,
)
def test_requests_that_are_no_series_are_refused(requests: object, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        numbered(requests)


def rows_of(drawn: Drawn, n_sites: int) -> list[torch.Tensor]:
    """All fields, those of sites without the padding beyond so many."""
    values = {f.name: getattr(drawn, f.name) for f in fields(drawn)}
    for name in ("positions", "pointers", "coords"):
        beyond = values[name][:, n_sites:]
        assert (beyond.isnan() if name == "coords" else beyond == OPEN).all()
        values[name] = values[name][:, :n_sites]
    return list(values.values())


def test_each_crystal_is_drawn_as_by_its_request_alone(model: SymmBFN) -> None:
    requests = numbered(asked(seed=5, first=11))
    together = draw_all(requests, model.config, model.statistics)
    assert together.index.tolist() == list(range(11, 46))
    for place, request in enumerate(requests):
        alone = draw(request, model.config, model.statistics)
        mine = together[(together.place == place).nonzero().squeeze(-1)]
        assert mine.index.tolist() == list(request.numbers)
        n_sites = alone.positions.shape[1]
        for ours, expected in zip(
            rows_of(mine.drawn, n_sites), rows_of(alone, n_sites), strict=True
        ):
            torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)


def test_any_numbers_in_any_order_are_those_of_the_whole(model: SymmBFN) -> None:
    requests = numbered(asked(seed=5))
    whole = draw_all(requests, model.config, model.statistics)
    some = torch.tensor([30, 2, 17, 16, 3])
    part = draw_all(requests, model.config, model.statistics, some)
    assert part.place.tolist() == whole.place[some].tolist() == [6, 1, 4, 4, 1]
    most = part.drawn.positions.shape[1]
    for ours, expected in zip(
        rows_of(part.drawn, most), rows_of(whole[some].drawn, most), strict=True
    ):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)


def test_open_compositions_take_two_passes_and_guided_crystals_two_answers(
    model: SymmBFN,
) -> None:
    unguided = Request.of(n=1, properties="band_gap=2")
    no_property = Request.of(n=1, guidance=3.0)
    both = Request.of(n=1, composition="SrTiO3", properties="band_gap=2", guidance=0.5)
    closed = Request.of(n=1, composition="SrTiO3", template="221: Sr 1a, Ti 1b, O 3c")
    requests = numbered([*asked(), unguided, no_property, both, closed])
    found = draw_all(requests, model.config, model.statistics)
    assert {*found.place[found.is_exact].tolist()} == {2, 9}
    assert {*found.place[found.is_guided].tolist()} == {6, 9}
    for name in ("is_exact", "is_guided"):
        of_place = torch.stack([found.place, getattr(found, name)]).unique(dim=1)
        assert of_place.shape[1] == len(requests), "the same for all crystals of a request"


def test_copies_take_one_pass_and_one_answer(model: SymmBFN) -> None:
    both = Request.of(n=2, composition="SrTiO3", properties="band_gap=2", guidance=0.5)
    drawn = draw_all((both,), model.config, model.statistics)
    more = drawn.followed_by(3)
    assert more.index.tolist() == [0, 1, 1, 1, 1]
    assert more.is_exact.tolist() == more.is_guided.tolist() == [True, True, False, False, False]
    assert torch.equal(more.drawn.rows[2:], drawn.drawn.rows[[1, 1, 1]])
    assert drawn.is_exact.all() and drawn.is_guided.all(), "the crystals themselves stay"


def test_a_request_that_the_model_cannot_meet_is_named(model: SymmBFN) -> None:
    requests = numbered([Request(n=2), Request.of(n=2, elements="Xe,O")])
    with pytest.raises(RequestError, match="^request 1: no training crystal .* Xe") as caught:
        draw_all(requests, model.config, model.statistics)
    assert caught.value.place == 1 and caught.value.reason.startswith("no training")
    with pytest.raises(RequestError, match="^no training crystal"):
        draw_all(requests[1:], model.config, model.statistics)
    paper = fresh_model("paper")
    with pytest.raises(RequestError, match="request 1: .*space group alone"):
        draw_all(numbered([Request(n=1), Request.of(n=1, only="O,Ti")]), paper.config,
                 paper.statistics)  # fmt: skip


def test_groups_that_are_never_drawn_are_those_of_all_requests(model: SymmBFN) -> None:
    requests = [Request(n=1, space_group_number=groups) for groups in ("230,225", "195", "225")]
    assert groups_never_drawn(requests, model.statistics) == [195, 230]
