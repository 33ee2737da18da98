"""From probabilities of Wyckoff letters, or of axis symbols, to one position per site."""

from functools import cache

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.loci import loci, ranges, squared_distance
from symmbfn.crystals.symmetry import MAX_POSITIONS, N_AXES, symmetry_tables

COORDINATE_SCALE = 0.05  # fractional: how far from its locus a predicted site is expected
LEAST_LOG_PROB = -1e3  # stands for probability 0, so that a full crystal still has a solution
FORBIDDEN = 1e9
NEAR_POINT = 0.1  # fractional: a free orbit this close to a point would collapse onto it
COLLAPSE_COST = 1e5


def decode_wyckoff(
    batch: AsymmetricUnitBatch,
    *,
    wyckoff_log_probs: Float[Tensor, "B N 27"] | None = None,
    axis_log_probs: Float[Tensor, "B N 15 13"] | None = None,
) -> tuple[Int[Tensor, "B N"], Float[Tensor, "B N"]]:
    """Choose the Wyckoff position of every site.

    The cost of position w at coordinate x is -log P(w) + distance(x, locus of w)^2 / (2 s^2) with
    s = 0.05; positions of equal site symmetry are told apart by the distance alone. The sum over
    the sites of a crystal is minimised exactly, under the condition that a position without free
    coordinates, a point, is taken at most once. Sites that compete for a point and lie close to it
    go to other points before they go to a free position, where the orbit would collapse onto the
    point again.

    Args:
        batch: crystals; their space groups, coordinates and `is_site` are read.
        wyckoff_log_probs: log P of each position of the group, up to a constant.
        axis_log_probs: log P of each axis symbol; a position scores their sum over axes.

    Returns:
        Index of the position within its group, and its log P among the positions of the group, both
        of shape (B, N) and 0 on padding.

    Raises:
        ValueError: not exactly one of the two kinds of probabilities is given.

    Source: book, method-decoding.
    """
    if (wyckoff_log_probs is None) == (axis_log_probs is None):
        raise ValueError("give either wyckoff_log_probs or axis_log_probs")
    crystal = batch.is_site.nonzero()[:, 0]
    number = batch.space_group_number[crystal]
    if wyckoff_log_probs is not None:
        scores = wyckoff_log_probs[batch.is_site].double().clamp(min=LEAST_LOG_PROB)
    else:
        assert axis_log_probs is not None
        scores = _position_scores(axis_log_probs[batch.is_site], number)
    starts = loci(batch.device).position_start
    n_positions = starts[number] - starts[number - 1]
    is_position = torch.arange(MAX_POSITIONS, device=batch.device) < n_positions.unsqueeze(-1)
    log_probs = scores.masked_fill(~is_position, -torch.inf).log_softmax(-1)
    choice = _choose(batch.fractional_coords[batch.is_site].double(), crystal, number, log_probs)

    positions = torch.zeros_like(batch.wyckoff_positions)
    positions[batch.is_site] = choice
    confidence = torch.zeros(positions.shape, dtype=torch.float64, device=batch.device)
    confidence[batch.is_site] = log_probs.gather(-1, choice.unsqueeze(-1)).squeeze(-1)
    return positions, confidence


def _choose(
    coords: Float[Tensor, "S 3"],
    crystal: Int[Tensor, "S"],
    number: Int[Tensor, "S"],
    log_probs: Float[Tensor, "S 27"],
) -> Int[Tensor, "S"]:
    """The cheapest position of every site, and in crystals where points are contested the
    assignment of least cost. Where log P is -inf there is no position.
    """
    tables = loci(coords.device)
    first_row = tables.position_start[number - 1]
    choice = _cheapest(coords, first_row, log_probs)
    competes = _competes(crystal, first_row, choice)
    if competes.any():
        crowded = torch.isin(crystal, crystal[competes])
        is_position = log_probs[crowded] > -torch.inf
        costs = _costs(coords[crowded], first_row[crowded], log_probs[crowded], is_position)
        is_point = tables.degrees_of_freedom[_rows(first_row[crowded])] == 0
        collapses = competes[crowded] & _is_near_point(coords[crowded], number[crowded])
        costs = costs + COLLAPSE_COST * (collapses.unsqueeze(-1) & ~is_point)
        choice[crowded] = _assign(costs, is_point, crystal[crowded])
    return choice


def _position_scores(
    axis_log_probs: Float[Tensor, "S 15 13"], number: Int[Tensor, "S"]
) -> Float[Tensor, "S 27"]:
    """sum_j log P[j, E_w(j)] for every position w of the group.

    Source: book, method-eq-decoding-axes.
    """
    classes = _axis_classes(axis_log_probs.device)[number - 1]
    return axis_log_probs.double().clamp(min=LEAST_LOG_PROB).gather(-1, classes).sum(-2)


@cache
def _axis_classes(device: torch.device) -> Int[Tensor, "230 15 27"]:
    tables = symmetry_tables()
    classes = torch.zeros(230, N_AXES, MAX_POSITIONS, dtype=torch.int64)
    for group in range(230):
        rows = slice(tables.position_start[group], tables.position_start[group + 1])
        encoding = torch.tensor(tables.encoding[rows].T.astype(np.int64))
        classes[group, :, : encoding.shape[1]] = encoding
    return classes.to(device)


def _cheapest(coords: Tensor, first_row: Tensor, log_probs: Tensor) -> Int[Tensor, "S"]:
    """Return the cheapest position of every site, each on its own.

    The cost of the likeliest position bounds the answer: what costs more before its
    distance is added need not be measured.
    """
    likeliest = log_probs.argmax(-1, keepdim=True)
    only_likeliest = torch.zeros_like(log_probs, dtype=torch.bool).scatter(-1, likeliest, True)
    bound = _costs(coords, first_row, log_probs, only_likeliest)
    can_win = -log_probs <= bound.gather(-1, likeliest) + 1e-6
    return _costs(coords, first_row, log_probs, can_win).argmin(-1)


def _costs(
    coords: Float[Tensor, "S 3"],
    first_row: Int[Tensor, "S"],
    log_probs: Float[Tensor, "S 27"],
    mask: Bool[Tensor, "S 27"],
) -> Float[Tensor, "S 27"]:
    """-log P(w) + distance^2 / (2 s^2) where the mask is set, infinite elsewhere."""
    tables = loci(coords.device)
    site, position = mask.nonzero(as_tuple=True)
    row = first_row[site] + position
    distance = squared_distance(coords[site], tables.orbit_start[row])
    costs = torch.full_like(log_probs, torch.inf)
    costs[mask] = -log_probs[mask] + distance / (2 * COORDINATE_SCALE**2)
    # rounded, so that equal costs stay equal whatever else is in the batch
    return costs.round(decimals=6)


def _rows(first_row: Int[Tensor, "S"]) -> Int[Tensor, "S 27"]:
    """Return the table rows of 27 positions from the first one on, within the tables."""
    rows = first_row.unsqueeze(-1) + torch.arange(MAX_POSITIONS, device=first_row.device)
    return rows.clamp(max=len(loci(first_row.device).multiplicity) - 1)


def _competes(
    crystal: Int[Tensor, "S"], first_row: Int[Tensor, "S"], choice: Int[Tensor, "S"]
) -> Bool[Tensor, "S"]:
    """Mark the sites that chose a point which another site of their crystal chose as well."""
    is_point = loci(crystal.device).degrees_of_freedom[first_row + choice] == 0
    key = crystal * MAX_POSITIONS + choice
    return is_point & (torch.bincount(key[is_point], minlength=int(key.max()) + 1)[key] > 1)


def _is_near_point(coords: Float[Tensor, "S 3"], number: Int[Tensor, "S"]) -> Bool[Tensor, "S"]:
    """Tell which sites lie close to a point position of their group, any of its atoms."""
    tables = loci(coords.device)
    first, last = tables.position_start[number - 1], tables.position_start[number]
    start = tables.orbit_start[first]
    site, operation = ranges(start, tables.orbit_start[last] - start)
    is_point = tables.degrees_of_freedom[tables.row_of_operation[operation]] == 0
    site, operation = site[is_point], operation[is_point]
    is_near = torch.zeros(len(coords), dtype=torch.bool, device=coords.device)
    is_near[site[squared_distance(coords[site], operation) < NEAR_POINT**2]] = True
    return is_near


def _assign(
    costs: Float[Tensor, "S 27"], is_point: Bool[Tensor, "S 27"], crystal: Int[Tensor, "S"]
) -> Int[Tensor, "S"]:
    """Solve the assignment of each crystal: every point once, all else as often as wanted."""
    from scipy.optimize import linear_sum_assignment

    choice = torch.empty_like(crystal)
    for one in crystal.unique().tolist():
        sites = crystal == one
        cost, point = costs[sites].cpu().numpy(), is_point[sites][0].cpu().numpy()
        free = np.where(point, np.inf, cost)
        # one column for each point, and for each site one that is its cheapest free position
        own = np.full((len(cost), len(cost)), FORBIDDEN)
        np.fill_diagonal(own, free.min(-1))
        columns = np.concatenate([np.minimum(cost[:, point], FORBIDDEN), own], axis=1)
        chosen = linear_sum_assignment(columns)[1]
        points = np.flatnonzero(point)
        is_free = chosen >= len(points)
        best = np.where(is_free, free.argmin(-1), points[np.where(is_free, 0, chosen)])
        choice[sites] = torch.tensor(best, device=choice.device)
    return choice
