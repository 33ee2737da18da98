"""The kinds of crystals that a request leaves: space group, number of sites and of elements."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.conditions.chemistry import counts_of
from symmbfn.conditions.request import Request
from symmbfn.conditions.sites import GivenSites
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.templates import Templates, primitive_multiplicities
from symmbfn.model.config import ModelConfig
from symmbfn.model.statistics import Statistics

MOST_ATOMS = 20  # of a primitive cell, where a request leaves the number open


@dataclass(frozen=True)
class Choices:
    """The kinds of crystals that a request leaves, and how likely each is.

    Attributes:
        rows: space group, number of sites, number of elements, shape (R, 3).
        weight: not normalised, shape (R,), float64.
        formulas: how many formulas of the composition the primitive cell holds, 0 without, (R,).
    """

    rows: Int[Tensor, "R 3"]
    weight: Float[Tensor, "R"]
    formulas: Int[Tensor, "R"]


def choices_of(request: Request, config: ModelConfig, statistics: Statistics) -> Choices:
    """Space groups, numbers of sites and of elements that meet a request, with their weights.

    Without a template they come as often as in training, whatever the properties; a composition
    weighs them by how probable the letters are that can hold it.

    Raises:
        ValueError: there are none, and why.
    """
    if request.template:
        sites = request.template
        if len(sites.symbols) > config.most_elements:
            raise ValueError(
                f"template {sites} has {len(sites.symbols)} elements, "
                f"crystals of this model at most {config.most_elements}"
            )
        row = [sites.space_group_number, len(sites), len(sites.symbols)]
        formula = request.chemistry.composition
        n = sites.n_primitive_atoms // sum(counts_of(formula).values()) if formula else 0
        return Choices(torch.tensor([row]), torch.ones(1).double(), torch.tensor([n]))
    rows, weight = statistics.conditions, statistics.condition_count.double()
    group, n_sites, n_elements = rows.unbind(-1)
    is_possible = torch.isin(group, torch.tensor(request.possible_groups))
    if not (is_possible & (weight > 0)).any():
        raise ValueError(
            f"no training crystal has one of the space groups {_short(request.possible_groups)}"
        )
    chemistry = request.chemistry
    if chemistry.exact:
        is_possible &= n_elements == len(chemistry.exact)
    needed = needed_elements(request)
    n_allowed = sum(chemistry.allows(SYMBOLS[z]) for z in config.elements)
    is_possible &= (n_elements >= len(needed)) & (n_elements <= n_allowed)
    if request.keep:
        # what is kept leaves sites for the elements that are not kept
        others = n_sites - len(request.keep)
        is_possible &= others >= n_elements - len(request.keep.symbols)
    if not (weight[is_possible] > 0).any():
        raise ValueError(f"no training crystal has so many elements and sites: {request}")
    rows, weight = rows[is_possible], weight[is_possible]
    if chemistry.composition:
        return _holding(request, rows, weight, statistics)
    return Choices(rows, weight, torch.zeros(len(rows)).long())


def _holding(
    request: Request, rows: Int[Tensor, "R 3"], weight: Float[Tensor, "R"], known: Statistics
) -> Choices:
    """The rows whose groups can hold a composition, once for each number of formulas."""
    chemistry = request.chemistry
    counts = counts_of(chemistry.composition)
    in_formula = sum(counts.values())
    if chemistry.atoms:
        numbers = [chemistry.atoms // in_formula]
    else:
        numbers = list(range(1, max(in_formula, MOST_ATOMS) // in_formula + 1))
    most_sites = int(rows[:, 1].max())
    groups, place = rows[:, 0].unique(return_inverse=True)
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for formulas in numbers:
        by_sites = torch.stack(
            [
                _by_sites(
                    int(group),
                    {symbol: formulas * count for symbol, count in counts.items()},
                    request.keep,
                    most_sites,
                    known.position_log_prior[positions_of(int(group))],
                )
                for group in groups
            ]
        )
        own = weight * by_sites[place, rows[:, 1]]
        found.append((rows, own, torch.full((len(rows),), formulas)))
    choices = Choices(*(torch.cat(parts) for parts in zip(*found, strict=True)))
    if not (choices.weight > 0).any():
        size = f" with {chemistry.atoms} atoms in the primitive cell" if chemistry.atoms else ""
        beside = f" beside the sites {request.keep}" if request.keep else ""
        raise ValueError(
            f"no space group of the request can hold {chemistry.composition}{size}{beside} "
            "on as many sites as training crystals have"
        )
    return choices


def _by_sites(
    group: int,
    atoms: dict[str, int],
    keep: GivenSites | None,
    most_sites: int,
    log_prior: Float[Tensor, "W"],
) -> Float[Tensor, "D"]:
    """Weight by their number of sites of all templates of a composition that hold what is kept."""
    weights = log_prior.double().exp().numpy()
    n_kept = 0
    if keep:
        n_kept = len(keep)
        is_point = symmetry_tables().degrees_of_freedom[positions_of(group)] == 0
        weights[[place for place in keep.positions if is_point[place]]] = 0.0
        kept, n_points = keep.atoms(), n_centrings(group)
        atoms = {s: count - kept.get(s, 0) // n_points for s, count in atoms.items()}
    missing = tuple(count for count in atoms.values() if count)
    others = _weights_by_sites(group, missing, most_sites - n_kept, tuple(weights.tolist()))
    return torch.cat([torch.zeros(n_kept, dtype=torch.float64), torch.from_numpy(others)])


@cache
def _weights_by_sites(
    group: int, atoms: tuple[int, ...], most_sites: int, weights: tuple[float, ...]
) -> Float[np.ndarray, "D"]:
    """Weight of all templates of a composition by their number of sites."""
    sizes = primitive_multiplicities(group)
    none = np.zeros(most_sites + 1)
    if not atoms:
        return np.eye(1, most_sites + 1)[0]
    if most_sites < 1 or min(atoms) < sizes.min() or sum(atoms) > most_sites * sizes.max():
        return none
    return Templates(group, atoms, most_sites=most_sites, weights=np.array(weights)).by_sites


def needed_elements(request: Request) -> tuple[str, ...]:
    """Elements that each crystal of a request has."""
    kept = request.sites.symbols if request.sites else ()
    return tuple(dict.fromkeys((*request.chemistry.required, *kept)))


@cache
def n_centrings(group: int) -> int:
    """Lattice points in the conventional cell of a space group."""
    rows = positions_of(group)
    return int(symmetry_tables().multiplicity[rows][0]) // int(primitive_multiplicities(group)[0])


def _short(numbers: Sequence[int]) -> str:
    text = ", ".join(map(str, numbers[:8]))
    return text + (", ..." if len(numbers) > 8 else "")
