"""From a request to what each of its crystals is conditioned on, as a function of its number."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.conditions.cells import lattice_k_of
from symmbfn.conditions.chemistry import Chemistry, counts_of
from symmbfn.conditions.choices import choices_of, n_centrings, needed_elements
from symmbfn.conditions.request import Request
from symmbfn.conditions.sites import GivenSites
from symmbfn.conditions.values import drawn_values, row_factors
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.flows.noise import uniform
from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import Statistics

# streams of the draws before the first step; those of the sampler are not negative
# and of the values of properties, see `values`
ROW_STREAM, SLOT_STREAM = -1, -2
OPEN = -1  # class of what is no condition


@dataclass(frozen=True)
class Drawn:
    """What B crystals are conditioned on; padded to N sites and S element slots.

    Attributes:
        rows: space group, number of sites, number of elements, shape (B, 3).
        elements: class of the element in each slot, -1 where open, shape (B, S).
        positions, pointers: Wyckoff position and slot of each site, -1 where open, (B, N).
        coords: fractional coordinates of the sites, NaN where open, (B, N, 3).
        lattice_k: coefficients of the cell, NaN where open, (B, 6), float64.
        atoms: atoms in the conventional cell of the element in each slot, 0 where open, (B, S).
        is_allowed: which classes of elements may be there, (B, K).
        properties: values in the units of the data, NaN where open, (B, Q).
        guidance: how strongly the classes follow the properties, (B,), float32; 1 is as learnt.
    """

    rows: Int[Tensor, "B 3"]
    elements: Int[Tensor, "B S"]
    positions: Int[Tensor, "B N"]
    pointers: Int[Tensor, "B N"]
    coords: Float[Tensor, "B N 3"]
    lattice_k: Float[Tensor, "B 6"]
    atoms: Int[Tensor, "B S"]
    is_allowed: Bool[Tensor, "B K"]
    properties: Float[Tensor, "B Q"]
    guidance: Float[Tensor, "B"]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def has_conditions(self) -> bool:
        """Whether anything but the rows is a condition."""
        is_open = (
            (self.elements == OPEN).all()
            & (self.positions == OPEN).all()
            & self.lattice_k.isnan().all()
            & self.properties.isnan().all()
            & self.is_allowed.all()
        )
        return not bool(is_open)

    def __getitem__(self, index: Int[Tensor, "b"]) -> "Drawn":
        return Drawn(**{f.name: getattr(self, f.name)[index] for f in fields(self)})


# of each site -> what stands where a crystal has no site
PADDING = {"positions": OPEN, "pointers": OPEN, "coords": torch.nan}


def joined(parts: Sequence[Drawn]) -> Drawn:
    """The crystals of several draws, one draw after the other, padded to the most sites."""
    most = max(part.positions.shape[1] for part in parts)

    def padded(name: str, value: Tensor) -> Tensor:
        if name not in PADDING:
            return value
        shape = (len(value), most - value.shape[1], *value.shape[2:])
        return torch.cat([value, value.new_full(shape, PADDING[name])], dim=1)

    return Drawn(
        **{
            f.name: torch.cat([padded(f.name, getattr(part, f.name)) for part in parts])
            for f in fields(Drawn)
        }
    )


def draw(
    request: Request,
    config: ModelConfig,
    statistics: Statistics,
    index: Int[Tensor, "B"] | None = None,
) -> Drawn:
    """Draw what the crystals of a request are conditioned on.

    Args:
        request: the conditions.
        config: of the model.
        statistics: of its training data.
        index: numbers of the crystals, shape (B,); None for all of the request.

    Raises:
        ValueError: no crystal that the model knows can meet the conditions, in one line.

    Source: book, eq:sample-given.
    """
    index = request.index if index is None else index.cpu()
    classes = _classes(config)
    _check_elements(request, classes)
    choices = choices_of(request, config, statistics)
    values = drawn_values(request, config, statistics, index)
    factors, kind = row_factors(values, choices.rows, config, statistics)
    u = uniform(request.seed, index, ROW_STREAM, ())
    row = torch.zeros_like(kind)
    for number, factor in enumerate(factors):
        row[kind == number] = _picked(choices.weight * factor, u[kind == number])
    rows = choices.rows[row]
    drawn = replace(_open(rows, config, request.chemistry), properties=values)
    _put_elements(drawn, request, config, statistics, index)
    if request.chemistry.composition:
        _put_atoms(drawn, request.chemistry, choices.formulas[row], classes)
    if request.sites:
        _put_sites(drawn, request.sites, classes)
    if request.lattice:
        drawn.lattice_k[:] = lattice_k_of(request.lattice)
    if request.properties:
        drawn.guidance[:] = request.guidance
    if drawn.has_conditions and not config.takes_conditions:
        raise ValueError("this model can be conditioned on the space group alone")
    return drawn


def _picked(weight: Float[Tensor, "R"], u: Float[Tensor, "b"]) -> Int[Tensor, "b"]:
    """Places drawn by weight."""
    place = torch.searchsorted(weight.cumsum(0), u * weight.sum(), right=True)
    return place.clamp_max(int(weight.nonzero().max()))


def never_drawn(request: Request, statistics: Statistics) -> list[int]:
    """Those of the chosen space groups that no training crystal has, in order."""
    return sorted({*request.space_groups} - {*statistics.conditions[:, 0].tolist()})


def _check_elements(request: Request, classes: dict[str, int]) -> None:
    """Refuse elements that no training crystal has."""
    chemistry = request.chemistry
    wanted = dict.fromkeys(needed_elements(request))
    if unknown := [symbol for symbol in wanted if symbol not in classes]:
        raise ValueError(f"no training crystal has the elements {','.join(unknown)}")
    if chemistry.only and not any(symbol in classes for symbol in chemistry.only):
        raise ValueError(f"no training crystal has the elements {','.join(chemistry.only)}")
    if not any(chemistry.allows(symbol) for symbol in classes):
        raise ValueError("no element that training crystals have is left")


def _classes(config: ModelConfig) -> dict[str, int]:
    return {SYMBOLS[number]: place for place, number in enumerate(config.elements)}


def _open(rows: Int[Tensor, "B 3"], config: ModelConfig, chemistry: Chemistry) -> Drawn:
    """Crystals of these kinds, on no other condition than which elements are allowed."""
    b, n, s = len(rows), int(rows[:, 1].max()), config.most_elements
    is_allowed = torch.tensor([chemistry.allows(SYMBOLS[z]) for z in config.elements])
    return Drawn(
        rows=rows,
        elements=torch.full((b, s), OPEN),
        positions=torch.full((b, n), OPEN),
        pointers=torch.full((b, n), OPEN),
        coords=torch.full((b, n, 3), torch.nan),
        lattice_k=torch.full((b, 6), torch.nan, dtype=torch.float64),
        atoms=torch.zeros(b, s, dtype=torch.long),
        is_allowed=is_allowed.expand(b, -1).clone(),
        properties=torch.full((b, len(config.properties)), torch.nan),
        guidance=torch.ones(b),
    )


def _put_elements(
    drawn: Drawn,
    request: Request,
    config: ModelConfig,
    statistics: Statistics,
    index: Int[Tensor, "B"],
) -> None:
    """Put the elements that each crystal has into slots, drawn where others come between them."""
    classes = _classes(config)
    needed = sorted(classes[symbol] for symbol in needed_elements(request))
    if not needed:
        return
    mass = statistics.element_log_prior.double().exp() * drawn.is_allowed[0]
    u = uniform(request.seed, index, SLOT_STREAM, ())
    for n_elements in drawn.rows[:, 2].unique().tolist():
        mine = drawn.rows[:, 2] == n_elements
        slots, weight = _slot_choices(tuple(needed), n_elements, tuple(mass.tolist()))
        pick = torch.searchsorted(weight.cumsum(0), u[mine] * weight.sum(), right=True)
        chosen = slots[pick.clamp_max(len(slots) - 1)]
        values = torch.tensor(needed).expand(len(chosen), -1)
        drawn.elements[mine] = drawn.elements[mine].scatter(1, chosen, values)


@cache
def _slot_choices(
    needed: tuple[int, ...], n_elements: int, mass: tuple[float, ...]
) -> tuple[Int[Tensor, "C k"], Float[Tensor, "C"]]:
    """Slots that given classes can have among ascending ones, and how likely each choice is.

    The other elements fall between the given ones as independent draws from their frequencies
    would: so many in each gap with the multinomial probability of the gaps' masses.
    """
    ends = [-1, *needed, len(mass)]
    gaps = [mass[low + 1 : high] for low, high in zip(ends, ends[1:], strict=False)]
    total = [sum(gap) for gap in gaps]
    room = [sum(x > 0 for x in gap) for gap in gaps]
    slots, weights = [], []
    for counts in _divisions(n_elements - len(needed), len(gaps)):
        if any(count > most for count, most in zip(counts, room, strict=True)):
            continue
        ways = 1.0
        for count, share in zip(counts, total, strict=True):
            ways *= share**count / math.factorial(count)
        if ways > 0:
            before = np.cumsum(counts[:-1])
            slots.append([int(x) + place for place, x in enumerate(before)])
            weights.append(ways)
    if not slots:
        raise ValueError(f"{n_elements} elements cannot hold those that are asked for")
    return torch.tensor(slots), torch.tensor(weights, dtype=torch.float64)


def _divisions(n: int, parts: int) -> list[tuple[int, ...]]:
    """All ways to divide n things into so many parts."""
    if parts == 1:
        return [(n,)]
    return [(k, *rest) for k in range(n + 1) for rest in _divisions(n - k, parts - 1)]


def _put_atoms(
    drawn: Drawn, chemistry: Chemistry, formulas: Int[Tensor, "B"], classes: dict[str, int]
) -> None:
    """Atoms of each slot in the conventional cell."""
    counts = {classes[symbol]: n for symbol, n in counts_of(chemistry.composition).items()}
    per_formula = torch.tensor([counts[place] for place in sorted(counts)])
    centrings = torch.tensor([n_centrings(int(group)) for group in drawn.rows[:, 0]])
    drawn.atoms[:, : len(per_formula)] = per_formula * (formulas * centrings)[:, None]


def _put_sites(drawn: Drawn, sites: GivenSites, classes: dict[str, int]) -> None:
    """Letters and elements of the first sites of each crystal, and coordinates if they have any."""
    k = len(sites)
    own = torch.tensor([classes[SYMBOLS[element_number(symbol)]] for symbol in sites.elements])
    drawn.positions[:, :k] = torch.tensor(sites.positions)
    # the slot that holds the element
    drawn.pointers[:, :k] = (drawn.elements[:, None] == own[:, None]).long().argmax(-1)
    if sites.coords is not None:
        drawn.coords[:, :k] = torch.tensor(sites.coords)
