"""A request: everything that crystals are drawn by, besides the model and its sampler."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Any, cast

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.chemistry import Chemistry
from symmbfn.conditions.sites import GivenSites, cell_of, groups_of_cell, kept_sites, template_of
from symmbfn.conditions.targets import property_ranges
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.runtime.checks import real_number, whole_number

END = 2**63  # numbers of crystals and seeds are 64-bit integers


@dataclass(frozen=True, kw_only=True)
class Request:
    """Crystals to be drawn: how many, from which number on, and on which conditions.

    What a crystal is drawn by depends on the seed, the conditions and its own number alone.
    Requests that differ only in `first` and `n` are parts of one endless series. Conditions hold
    all at once. `dataclasses.asdict` turns a request into JSON types, and `Request(**values)`
    reads them.

    Attributes:
        n: number of crystals, at least 1.
        first: number of the first crystal, at least 0; the others follow.
        seed: from 0 to 2^63 - 1; another seed gives other crystals.
        space_group_number: the groups to draw from, as anything that `space_group_numbers` reads,
            such as 225, "Fm-3m", "cubic" or several of these; kept as their sorted numbers.
            None draws them as often as in the training data.
        chemistry: conditions on the elements.
        template: Wyckoff letters and elements of all sites, as anything that `template_of` reads.
        keep: sites that are kept with their coordinates, as anything that `kept_sites` reads.
        lattice: the conventional cell, as anything that `cell_of` reads.
        properties: name -> value or (lowest, highest), as anything that `property_ranges` reads.
        guidance: how strongly the classes follow the properties; 1 is what was learnt.

    Raises:
        ValueError: for a value that no request can have, or conditions that exclude each other,
            naming them.
    """

    n: int
    first: int = 0
    seed: int = 0
    space_group_number: Any = None
    chemistry: Any = field(default_factory=Chemistry)
    template: Any = None
    keep: Any = None
    lattice: Any = None
    properties: Any = None
    guidance: float = 1.0

    def __post_init__(self) -> None:
        for name, least in (("n", 1), ("first", 0), ("seed", 0)):
            value = whole_number(name, getattr(self, name), least=least)
            if value >= END:
                raise ValueError(f"{name} must be at most 2^63 - 1, got {value}")
            object.__setattr__(self, name, value)
        if self.first + self.n > END:
            raise ValueError(f"first + n must be at most 2^63, got {self.first} + {self.n}")
        real_number("guidance", self.guidance, least=0.0)
        read = {
            "space_group_number": space_group_numbers,
            "template": template_of,
            "keep": kept_sites,
            "lattice": cell_of,
            "properties": property_ranges,
        }
        for name, of in read.items():
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, of(value))
        if isinstance(self.chemistry, Mapping):
            object.__setattr__(self, "chemistry", Chemistry(**self.chemistry))
        self._check_agreement()

    @classmethod
    def of(cls, **values: Any) -> "Request":
        """A request from its fields and those of its chemistry, all side by side.

        Raises:
            ValueError: as for a request.
            TypeError: a field that does not exist.
        """
        names = {one.name for one in fields(Chemistry)}
        chemistry = {name: value for name, value in values.items() if name in names}
        others = {name: value for name, value in values.items() if name not in names}
        if chemistry:
            others["chemistry"] = Chemistry(**chemistry)
        return cls(**others)

    def _check_agreement(self) -> None:
        """Refuse sites that the groups, elements and lattice of the request exclude."""
        if self.template and self.keep:
            raise ValueError("template and keep exclude each other")
        name = "template" if self.template else "keep"
        if sites := self.sites:
            group = sites.space_group_number
            if self.space_group_number and group not in self.space_groups:
                raise ValueError(
                    f"{name} is of space group {group}, not of {_spans(self.space_groups)}"
                )
            if wrong := [s for s in sites.symbols if not self.chemistry.allows(s)]:
                raise ValueError(f"{name} has {','.join(wrong)}, which the elements exclude")
        if self.template and not self.chemistry.holds(self.template.atoms()):
            raise ValueError(f"template {self.template} has not the elements that are asked for")
        if self.lattice and not self._groups_of_lattice():
            raise ValueError(
                f"lattice {self.lattice} is not that of space groups {_spans(self.space_groups)}"
            )

    def _groups_of_lattice(self) -> set[int]:
        assert self.lattice is not None
        groups = set(groups_of_cell(self.lattice))
        if self.sites:
            groups &= {self.sites.space_group_number}
        return groups & set(self.space_groups) if self.space_groups else groups

    def __str__(self) -> str:
        """One line for people: "crystals 100 to 149, seed 0, space groups 16-74, 225"."""
        last = self.first + self.n - 1
        parts = [f"crystals {self.first} to {last}" if self.n > 1 else f"crystal {last}"]
        parts.append(f"seed {self.seed}")
        if self.space_groups:
            parts.append(f"space groups {_spans(self.space_groups)}")
        for name, value in vars(self.chemistry).items():
            if value is not None:
                text = ",".join(value) if isinstance(value, tuple) else value
                parts.append(f"{name} {text}")
        if self.template:
            parts.append(f"template {self.template}")
        if self.keep:
            parts.append(f"keeps {self.keep}")
        if self.lattice:
            parts.append(f"lattice {' '.join(f'{x:g}' for x in self.lattice)}")
        for name, (low, high) in (self.properties or {}).items():
            parts.append(f"{name} {low:g}" if low == high else f"{name} {low:g} to {high:g}")
        if self.guidance != 1:
            parts.append(f"guidance {self.guidance:g}")
        return ", ".join(parts)

    @property
    def space_groups(self) -> tuple[int, ...]:
        """Sorted numbers of the groups to draw from; empty if they are not chosen."""
        return cast(tuple[int, ...], self.space_group_number or ())

    @property
    def possible_groups(self) -> tuple[int, ...]:
        """Sorted numbers of the groups that all conditions leave."""
        groups = set(self.space_groups or range(1, 231))
        if self.sites:
            groups &= {self.sites.space_group_number}
        return tuple(sorted(groups & self._groups_of_lattice() if self.lattice else groups))

    @property
    def sites(self) -> GivenSites | None:
        """All or some of the sites of each crystal, where they are conditions."""
        return self.template or self.keep

    @property
    def numbers(self) -> range:
        """The crystals' numbers."""
        return range(self.first, self.first + self.n)

    @property
    def index(self) -> Int[Tensor, "n"]:
        """The crystals' numbers as a tensor."""
        return torch.arange(self.n) + self.first


def _spans(numbers: tuple[int, ...]) -> str:
    """Sorted numbers with runs of them drawn together: "16-74, 225"."""
    ends = [place for place, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    starts = [0, *ends]
    parts = [numbers[i:j] for i, j in zip(starts, [*ends, len(numbers)], strict=True)]
    return ", ".join(f"{p[0]}-{p[-1]}" if len(p) > 1 else str(p[0]) for p in parts)
