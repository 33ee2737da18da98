"""Several requests in one run: their crystals are numbered through, and drawn together."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import torch

from symmbfn._shapes import Bool, Int, Tensor
from symmbfn.conditions.draw import OPEN, Drawn, draw, joined, never_drawn
from symmbfn.conditions.request import Request
from symmbfn.conditions.values import doubts
from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import Statistics


class RequestError(ValueError):
    """A request that a model cannot meet.

    Attributes:
        place: of the request in its run, from 0.
        reason: one line that does not name the request.
    """

    def __init__(self, place: int, reason: str, *, is_alone: bool):
        super().__init__(reason if is_alone else f"request {place}: {reason}")
        self.place, self.reason = place, reason


@dataclass(frozen=True)
class DrawnRequests:
    """What crystals of several requests are drawn by and conditioned on.

    Attributes:
        requests: of the whole run, numbered through.
        index: number of each crystal, shape (B,).
        place: which of the requests each crystal belongs to, from 0, shape (B,).
        drawn: what each crystal is conditioned on.
    """

    requests: tuple[Request, ...]
    index: Int[Tensor, "B"]
    place: Int[Tensor, "B"]
    drawn: Drawn

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: Int[Tensor, "b"]) -> "DrawnRequests":
        return replace(self, index=self.index[rows], place=self.place[rows], drawn=self.drawn[rows])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self.requests[0].seed

    @property
    def is_exact(self) -> Bool[Tensor, "B"]:
        """Crystals of an exact composition and open sites, which take two passes of the sampler."""
        n_sites, positions = self.drawn.rows[:, 1], self.drawn.positions
        is_site = torch.arange(positions.shape[1]) < n_sites[:, None]
        is_open = ((positions == OPEN) & is_site).any(-1)
        return (self.drawn.atoms > 0).any(-1) & is_open

    @property
    def is_guided(self) -> Bool[Tensor, "B"]:
        """Crystals that the network answers twice, with their properties and without."""
        return self.drawn.guidance != 1

    def followed_by(self, n: int) -> "DrawnRequests":
        """The crystals, and n copies of the last one that take one pass and one answer."""
        here = len(self)
        whole = self[torch.arange(here + n).clamp_max(here - 1)]
        whole.drawn.guidance[here:], whole.drawn.atoms[here:] = 1.0, 0
        return whole


def numbered(requests: Any) -> tuple[Request, ...]:
    """The requests of one run, their crystals numbered through, one request after the other.

    Args:
        requests: one, or a list of them, all of one seed. The first one's `first` is where the run
            starts; those of the others follow, and are left out.

    Raises:
        ValueError: there is none, something else is among them, or their seeds or numbers
            contradict each other, naming the request.
    """
    if isinstance(requests, Request):
        return (requests,)
    if not isinstance(requests, Sequence) or isinstance(requests, str) or not requests:
        raise ValueError(f"request must be a Request or a list of them, got {requests!r}")
    for place, request in enumerate(requests):
        if not isinstance(request, Request):
            raise ValueError(f"request {place} must be a Request, got {request!r}")
        if request.seed != requests[0].seed:
            raise ValueError(
                f"one run has one seed: request {place} has {request.seed}, "
                f"request 0 has {requests[0].seed}"
            )
    starts = accumulate((request.n for request in requests), initial=requests[0].first)
    found = []
    for place, (request, start) in enumerate(zip(requests, starts, strict=False)):
        if request.first not in (0, start):
            raise ValueError(
                f"request {place} begins at crystal {start}, where the one before it ends: "
                f"leave out first, got {request.first}"
            )
        found.append(replace(request, first=start))
    return tuple(found)


def numbers_of(requests: Sequence[Request]) -> range:
    """Numbers of all crystals of a run."""
    return range(requests[0].first, requests[-1].first + requests[-1].n)


def draw_all(
    requests: Sequence[Request],
    config: ModelConfig,
    statistics: Statistics,
    index: Int[Tensor, "B"] | None = None,
) -> DrawnRequests:
    """Draw what crystals are conditioned on, each by its own request.

    Args:
        requests: of `numbered`.
        config: of the model.
        statistics: of its training data.
        index: numbers of the crystals, shape (B,); None for all of the requests. Those beyond
            the last request go on with it.

    Raises:
        RequestError: no crystal that the model knows can meet the conditions of a request.
    """
    numbers = numbers_of(requests)
    index = torch.arange(len(numbers)) + numbers.start if index is None else index.cpu()
    starts = torch.tensor([request.first for request in requests])
    place = (torch.searchsorted(starts, index, right=True) - 1).clamp_min(0)
    parts, rows = [], []
    for number in place.unique().tolist():
        mine = (place == number).nonzero().squeeze(-1)
        try:
            parts.append(draw(requests[number], config, statistics, index[mine]))
        except ValueError as error:
            raise RequestError(number, str(error), is_alone=len(requests) == 1) from None
        rows.append(mine)
    order = torch.cat(rows).argsort()
    return DrawnRequests(tuple(requests), index, place, joined(parts)[order])


def groups_never_drawn(requests: Sequence[Request], statistics: Statistics) -> list[int]:
    """Those of the chosen space groups that no training crystal has, in order."""
    return sorted({group for one in requests for group in never_drawn(one, statistics)})


def doubts_of(requests: Sequence[Request], statistics: Statistics) -> list[str]:
    """What makes it doubtful that crystals follow their properties, see `doubts`.

    Of several requests each says which it is of.
    """
    if len(requests) == 1:
        return doubts(requests[0], statistics)
    return [
        f"request {place}: {doubt}"
        for place, one in enumerate(requests)
        for doubt in doubts(one, statistics)
    ]
