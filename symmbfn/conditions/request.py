"""A request: everything that crystals are drawn by, besides the model and its sampler."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.flows.noise import uniform
from symmbfn.model.statistics import Statistics
from symmbfn.runtime.checks import whole_number

END = 2**63  # numbers of crystals and seeds are 64-bit integers
STREAM = -1  # of the draw of groups and sizes; those of the sampler are not negative


@dataclass(frozen=True, kw_only=True)
class Request:
    """Crystals to be drawn: how many, from which number on, and on which conditions.

    What a crystal is drawn by depends on the seed, the conditions and its own number alone.
    Requests that differ only in `first` and `n` are parts of one endless series.
    `dataclasses.asdict` turns a request into JSON types, and `Request(**values)` reads them.

    Attributes:
        n: number of crystals, at least 1.
        first: number of the first crystal, at least 0; the others follow.
        seed: from 0 to 2^63 - 1; another seed gives other crystals.
        space_group_number: the groups to draw from, as anything that `space_group_numbers` reads,
            such as 225, "Fm-3m", "cubic" or several of these; kept as their sorted numbers.
            None draws them as often as in the training data.

    Raises:
        ValueError: for a value that no request can have, naming it.
    """

    n: int
    first: int = 0
    seed: int = 0
    space_group_number: int | str | Iterable[Any] | None = None

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("first", 0), ("seed", 0)):
            value = whole_number(name, getattr(self, name), least=least)
            if value >= END:
                raise ValueError(f"{name} must be at most 2^63 - 1, got {value}")
            object.__setattr__(self, name, value)
        if self.first + self.n > END:
            raise ValueError(f"first + n must be at most 2^63, got {self.first} + {self.n}")
        if self.space_group_number is not None:
            groups = space_group_numbers(self.space_group_number)
            object.__setattr__(self, "space_group_number", groups)

    def __str__(self) -> str:
        """One line for people: "crystals 100 to 149, seed 0, space groups 16-74, 225"."""
        last = self.first + self.n - 1
        which = f"crystals {self.first} to {last}" if self.n > 1 else f"crystal {last}"
        groups = f", space groups {_spans(self.space_groups)}" if self.space_groups else ""
        return f"{which}, seed {self.seed}{groups}"

    @property
    def space_groups(self) -> tuple[int, ...]:
        """Sorted numbers of the groups to draw from; empty if they are not chosen."""
        return cast(tuple[int, ...], self.space_group_number or ())

    @property
    def numbers(self) -> range:
        """The crystals' numbers."""
        return range(self.first, self.first + self.n)

    @property
    def index(self) -> Int[Tensor, "n"]:
        """The crystals' numbers as a tensor."""
        return torch.arange(self.n) + self.first

    def rows(
        self, statistics: Statistics, index: Int[Tensor, "B"] | None = None
    ) -> Int[Tensor, "B 3"]:
        """Space group, number of sites and number of elements of each crystal, as in training.

        Args:
            statistics: of the model; they hold how often training has each row.
            index: numbers of the crystals to draw for, shape (B,); None for all of the request.

        Raises:
            ValueError: no training crystal has one of the chosen groups.

        Source: book, eq:sample-given.
        """
        index = self.index if index is None else index.cpu()
        count = self._count(statistics)
        u = uniform(self.seed, index, STREAM, ())
        row = torch.searchsorted(count.cumsum(0), u * count.sum(), right=True)
        last = int(count.nonzero().max())
        return statistics.conditions[row.clamp_max(last)]

    def never_drawn(self, statistics: Statistics) -> list[int]:
        """Those of the chosen space groups that no training crystal has, in order.

        Raises:
            ValueError: there are no others.
        """
        self._count(statistics)
        return sorted({*self.space_groups} - {*statistics.conditions[:, 0].tolist()})

    def _count(self, statistics: Statistics) -> Float[Tensor, "R"]:
        """How often training has each row of the chosen groups, 0 for those of others."""
        count = statistics.condition_count.double()
        if self.space_groups:
            count = count * torch.isin(statistics.conditions[:, 0], torch.tensor(self.space_groups))
        if not count.sum() > 0:
            groups = _spans(self.space_groups)
            raise ValueError(f"no training crystal has one of the space groups {groups}")
        return count


def _spans(numbers: tuple[int, ...]) -> str:
    """Sorted numbers with runs of them drawn together: "16-74, 225"."""
    ends = [place for place, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    starts = [0, *ends]
    parts = [numbers[i:j] for i, j in zip(starts, [*ends, len(numbers)], strict=True)]
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
