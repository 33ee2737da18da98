"""Positions and elements of all sites at once, so that a cell has exactly the atoms asked for."""

import numpy as np

from symmbfn._shapes import Bool, Float, Int

MOST_STATES = 2000  # kept after each site; the most likely ones where there are more


def decode_composition(
    letter_scores: Float[np.ndarray, "N W"],
    pointer_scores: Float[np.ndarray, "N S"],
    multiplicity: Int[np.ndarray, "W"],
    is_point: Bool[np.ndarray, "W"],
    atoms: Int[np.ndarray, "S"],
) -> tuple[Int[np.ndarray, "N"], Int[np.ndarray, "N"]] | None:
    """Choose a Wyckoff position and an element slot for every site.

    The sum of both scores over the sites is the largest one under two conditions: the atoms of
    the sites of each slot add up to the number asked for, and a position without free coordinates
    is taken at most once. A dynamic programme over the sites finds it; its states are the atoms
    that each slot holds so far, and the points that are taken.

    Args:
        letter_scores: log-probability of each position, -inf for none, shape (N, W).
        pointer_scores: log-probability of each slot, shape (N, S).
        multiplicity: atoms of each position in the cell, shape (W,).
        is_point: which positions have no free coordinates, shape (W,).
        atoms: wanted in each slot, in the same cell, shape (S,).

    Returns:
        Position and slot of each site, both of shape (N,); None where there is no such choice, or
        none among the 2,000 most likely states after each site.

    Source: ours.
    """
    n_sites, n_slots = pointer_scores.shape
    point_bit = np.where(is_point, 1 << np.cumsum(is_point), 0)
    # one option is a position with a slot
    position, slot = (grid.ravel() for grid in np.indices((len(multiplicity), n_slots)))
    gain = multiplicity[position]
    held = np.zeros((1, n_slots), dtype=np.int64)
    taken, score = np.zeros(1, dtype=np.int64), np.zeros(1)
    came_from: list[tuple[np.ndarray, np.ndarray]] = []
    smallest, largest = int(multiplicity.min()), int(multiplicity.max())
    for site in range(n_sites):
        scores = letter_scores[site][position] + pointer_scores[site][slot]
        left = n_sites - site - 1
        missing = atoms.sum() - held.sum(1)
        after = missing[:, None] - gain
        fits = (held[:, slot] + gain <= atoms[slot]) & np.isfinite(scores)
        fits &= (taken[:, None] & point_bit[position]) == 0
        fits &= (after >= left * smallest) & (after <= left * largest)
        state, option = fits.nonzero()
        if not len(state):
            return None
        held = held[state]
        held[np.arange(len(state)), slot[option]] += gain[option]
        taken = taken[state] | point_bit[position[option]]
        score = score[state] + scores[option]
        best = _best_of_each(held, taken, score)
        held, taken, score = held[best], taken[best], score[best]
        came_from.append((state[best], option[best]))
    (ends,) = (held == atoms).all(1).nonzero()
    if not len(ends):
        return None
    found = _options(came_from, int(ends[score[ends].argmax()]))
    return position[found], slot[found]


def _options(came_from: list[tuple[np.ndarray, np.ndarray]], end: int) -> Int[np.ndarray, "N"]:
    """The options that led to one of the last states, from the first site on.

    Args:
        came_from: the state before and the option taken, of each state after each site.
        end: place of the last state.
    """
    options = []
    for states, chosen in reversed(came_from):
        options.append(chosen[end])
        end = states[end]
    return np.array(options[::-1])


def _best_of_each(
    held: Int[np.ndarray, "X S"], taken: Int[np.ndarray, "X"], score: Float[np.ndarray, "X"]
) -> Int[np.ndarray, "Y"]:
    """Rows of the best way to each state, of the most likely states."""
    order = np.lexsort((-score, taken, *held.T))
    rows = np.column_stack([held, taken])[order]
    is_first = np.ones(len(order), dtype=bool)
    is_first[1:] = (rows[1:] != rows[:-1]).any(1)
    best = order[is_first]
    if len(best) > MOST_STATES:
        best = best[np.argsort(-score[best], kind="stable")[:MOST_STATES]]
    return best
