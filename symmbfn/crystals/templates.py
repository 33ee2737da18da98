"""Wyckoff templates: which positions of a space group can hold a composition.

A template says which Wyckoff position each site of a crystal has, and which element it holds. For
a composition and a space group there are finitely many, and usually far too many to list; how many
there are, how much they weigh together, and single ones drawn by their weight come from a dynamic
programme over the positions.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.centring import primitive_vectors
from symmbfn.crystals.settings import settings_of
from symmbfn.crystals.symmetry import check_space_group_number, positions_of, symmetry_tables
from symmbfn.runtime.checks import whole_number

State = tuple[int, tuple[int, ...]]  # sites, and atoms of each element, of the points so far


@cache
def primitive_multiplicities(space_group_number: int) -> Int[np.ndarray, "W"]:
    """Atoms of each Wyckoff position in the primitive cell, general position first, shape (W,)."""
    rows = positions_of(check_space_group_number(space_group_number))
    n_centrings = round(1 / np.linalg.det(primitive_vectors(space_group_number)))
    return symmetry_tables().multiplicity[rows].astype(np.int64) // n_centrings


def canonical_positions(
    space_group_number: int,
    atomic_numbers: Int[np.ndarray, "D"],
    wyckoff_positions: Int[np.ndarray, "D"],
) -> Int[np.ndarray, "D"]:
    """The positions in the setting of the group that the canonical form of a crystal has.

    Several settings of a group, such as another origin, give the same sites other letters. The one
    with the smallest sorted list of (atomic number, letter) is chosen, as in `canonical_form`.
    Settings that special cells alone have are not tried.

    Args:
        space_group_number: 1 to 230.
        atomic_numbers, wyckoff_positions: of each site, shape (D,).

    Returns:
        Position of each site, in the order of the sites, shape (D,).

    Source: book, method-canonical.
    """
    image = settings_of(check_space_group_number(space_group_number), ()).image
    found = image[:, wyckoff_positions]
    codes = np.asarray(atomic_numbers) * 32 + (image.shape[1] - 1 - found)
    return found[np.lexsort(np.sort(codes, axis=1).T[::-1])[0]]


@dataclass(frozen=True, order=True)
class Template:
    """The Wyckoff positions and elements of all sites of a crystal.

    Args:
        space_group_number: 1 to 230.
        sites: place of the element in the composition and index of the position within the group,
            of each site, sorted.
    """

    space_group_number: int
    sites: tuple[tuple[int, int], ...]

    def __len__(self) -> int:
        return len(self.sites)

    @property
    def n_free(self) -> int:
        """Free coordinates of all sites."""
        rows = positions_of(self.space_group_number)
        free = symmetry_tables().degrees_of_freedom[rows]
        return int(sum(free[position] for _, position in self.sites))

    def atoms(self) -> list[int]:
        """Atoms of each element in the primitive cell, in the order of the composition."""
        multiplicity = primitive_multiplicities(self.space_group_number)
        counts = [0] * (1 + max(element for element, _ in self.sites))
        for element, position in self.sites:
            counts[element] += int(multiplicity[position])
        return counts


class Templates:
    """All templates of a composition in one space group.

    A position without free coordinates, a point, is taken at most once. The weight of a template
    is the product of its sites' weights.

    Args:
        space_group_number: 1 to 230.
        atoms: of each element in the primitive cell, at least 1 each.
        most_sites: most sites of a template.
        weights: of each position of the group, not negative, shape (W,); None weighs all 1, and
            weights are then numbers of templates.

    Attributes:
        by_sites: weight of all templates with 0, 1, ..., `most_sites` sites together.

    Raises:
        ValueError: no elements, numbers below 1, or as many weights as there are no positions.

    Source: ours: exact, and without a list of them.
    """

    def __init__(
        self,
        space_group_number: int,
        atoms: Sequence[int],
        *,
        most_sites: int,
        weights: Float[np.ndarray, "W"] | None = None,
    ):
        self.space_group_number = space_group_number
        self.atoms = tuple(whole_number("atoms", count) for count in atoms)
        self.most_sites = whole_number("most_sites", most_sites)
        if not self.atoms:
            raise ValueError("a composition needs at least one element, got ()")
        self._multiplicity = primitive_multiplicities(space_group_number)
        n = len(self._multiplicity)
        self._weight = np.ones(n) if weights is None else np.asarray(weights, dtype=float)
        if self._weight.shape != (n,) or not (self._weight >= 0).all():
            raise ValueError(f"group {space_group_number} needs {n} weights of at least 0")
        free = symmetry_tables().degrees_of_freedom[positions_of(space_group_number)]
        self._points = np.flatnonzero(free == 0)
        self._free = np.flatnonzero(free > 0)
        self._fill = self._fill_tables()
        self._steps = self._point_steps()
        self._ends = {state: self._rest(state) for state in self._steps[-1]}
        self.by_sites = np.zeros(self.most_sites + 1)
        for state, rest in self._ends.items():
            n_points = state[0]
            weight = self._steps[-1][state]
            self.by_sites[n_points:] += weight * rest[: self.most_sites + 1 - n_points]

    @property
    def weight(self) -> float:
        """Of all templates together; 0 where the group cannot hold the composition."""
        return float(self.by_sites.sum())

    def _fill_tables(self) -> Float[np.ndarray, "F C D"]:
        """Weight of all ways to give one element c atoms on d sites of the first free positions."""
        most = max(self.atoms)
        table = np.zeros((most + 1, self.most_sites + 1))
        table[0, 0] = 1.0
        tables = [table]
        for position in self._free:
            step, weight = int(self._multiplicity[position]), self._weight[position]
            table = tables[-1].copy()
            for count in range(step, most + 1):
                table[count, 1:] += weight * table[count - step, :-1]
            tables.append(table)
        return np.array(tables)

    def _point_steps(self) -> list[dict[State, float]]:
        """After each point: weight of all ways to fill some of the points so far."""
        steps: list[dict[State, float]] = [{(0, (0,) * len(self.atoms)): 1.0}]
        for position in self._points:
            step, weight = int(self._multiplicity[position]), self._weight[position]
            states: defaultdict[State, float] = defaultdict(float, steps[-1])
            for (n_sites, held), value in steps[-1].items():
                if n_sites == self.most_sites or not weight:
                    continue
                for element, most in enumerate(self.atoms):
                    if held[element] + step <= most:
                        more = (*held[:element], held[element] + step, *held[element + 1 :])
                        states[n_sites + 1, more] += weight * value
            steps.append(dict(states))
        return steps

    def _rest(self, state: State) -> Float[np.ndarray, "D"]:
        """Weight of all ways to put what the points do not hold on 0, 1, ... free sites."""
        total = np.zeros(self.most_sites + 1)
        total[0] = 1.0
        for most, held in zip(self.atoms, state[1], strict=True):
            total = np.convolve(total, self._fill[-1][most - held])[: self.most_sites + 1]
        return total

    def draw(self, n_sites: int, rng: np.random.Generator) -> Template:
        """Draw a template with so many sites by its weight.

        Args:
            n_sites: of the template.
            rng: source of randomness.

        Raises:
            ValueError: there is none.
        """
        if not (0 < n_sites <= self.most_sites and self.by_sites[n_sites] > 0):
            raise ValueError(
                f"no template of {n_sites} sites in group {self.space_group_number} for "
                f"{self.atoms} atoms in the primitive cell"
            )
        states = [state for state in self._ends if state[0] <= n_sites]
        weights = [self._steps[-1][s] * self._ends[s][n_sites - s[0]] for s in states]
        state = states[_pick(weights, rng)]
        sites = self._draw_free(state, n_sites - state[0], rng)
        for place in range(len(self._points) - 1, -1, -1):
            position = int(self._points[place])
            before, step = self._steps[place], int(self._multiplicity[position])
            origins: list[tuple[int | None, State]] = [(None, state)]
            for element, held in enumerate(state[1]):
                if state[0] and held >= step:
                    less = (*state[1][:element], held - step, *state[1][element + 1 :])
                    origins.append((element, (state[0] - 1, less)))
            weights = [
                before.get(origin, 0.0) * (1.0 if element is None else self._weight[position])
                for element, origin in origins
            ]
            holder, state = origins[_pick(weights, rng)]
            if holder is not None:
                sites.append((holder, position))
        return Template(self.space_group_number, tuple(sorted(sites)))

    def _draw_free(
        self, state: State, n_sites: int, rng: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Sites on free positions, for each element in turn."""
        missing = [most - held for most, held in zip(self.atoms, state[1], strict=True)]
        # of the elements from one on: weight by the number of sites that they take together
        rest = [np.eye(1, self.most_sites + 1)[0]]
        for count in reversed(missing):
            rest.append(np.convolve(rest[-1], self._fill[-1][count])[: self.most_sites + 1])
        rest.reverse()
        sites: list[tuple[int, int]] = []
        for element, count in enumerate(missing):
            later = rest[element + 1][: n_sites + 1][::-1]
            mine = _pick(self._fill[-1][count][: n_sites + 1] * later, rng)
            sites += self._draw_element(element, count, mine, rng)
            n_sites -= mine
        return sites

    def _draw_element(
        self, element: int, count: int, n_sites: int, rng: np.random.Generator
    ) -> list[tuple[int, int]]:
        """Free sites of one element: from the last position back to the first."""
        sites: list[tuple[int, int]] = []
        place = len(self._free)
        while n_sites:
            position = int(self._free[place - 1])
            step, without = int(self._multiplicity[position]), self._fill[place - 1]
            once_more = 0.0
            if count >= step:
                once_more = self._weight[position] * self._fill[place][count - step, n_sites - 1]
            if _pick([without[count, n_sites], once_more], rng):
                sites.append((element, position))
                count, n_sites = count - step, n_sites - 1
            else:
                place -= 1
        return sites


def _pick(weights: Sequence[float] | Float[np.ndarray, "n"], rng: np.random.Generator) -> int:
    """Draw one of n places by weight."""
    total = np.cumsum(weights)
    return int(np.searchsorted(total, rng.random() * total[-1], side="right"))
