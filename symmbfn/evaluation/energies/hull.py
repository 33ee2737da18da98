"""The convex hull of formation energies: how far a crystal lies above its competitors."""

import itertools
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from symmbfn._shapes import Float
from symmbfn.evaluation.energies.entries import (
    DFT,
    Amounts,
    Composition,
    Entry,
    checked_composition,
    digest_of,
    read_entries,
)

ELEMENT = "element"  # source of a pure element in a mixture: it lies at 0 by definition
ROUNDING = 1e-8  # eV/atom; what the programme's tolerances leave of a phase on the hull
SAME_FRACTION = 8  # digits
LEAST_SHARE = 1e-9  # of the atoms; less is rounding

Key = tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class MixedPhase:
    """One phase of the mixture that a composition decomposes into.

    Args:
        name: id of the phase, "hull of" an id where only the height of the hull is known, or
            the symbol of a pure element.
        share: of the atoms.
        source: of its energy, as in `Entry`; "element" for a pure element.
    """

    name: str
    share: float
    source: str

    @property
    def is_predicted(self) -> bool:
        """Whether a potential says its energy."""
        return self.source not in (DFT, ELEMENT)

    def __str__(self) -> str:
        return f"{self.name} {self.share:.3f} {self.source}"


@dataclass(frozen=True)
class HullPoint:
    """The hull at one composition.

    Args:
        hull_energy_per_atom: eV/atom, elements at 0; NaN where it is not covered.
        decomposition: the competing phases, whose shares sum to 1; empty where not covered.
        n_phases: compositions of two or more elements among the competitors.
        is_covered: the reference knows every element, and a compound of some of them.
        knows_system: it knows a phase of exactly these elements.
    """

    hull_energy_per_atom: float
    decomposition: tuple[MixedPhase, ...]
    n_phases: int
    is_covered: bool
    knows_system: bool

    @property
    def has_predicted_phases(self) -> bool:
        """Whether a potential says the energy of one of the competing phases."""
        return any(phase.is_predicted for phase in self.decomposition)


UNKNOWN = HullPoint(math.nan, (), 0, False, False)


class Hull:
    """Lower convex envelope of formation energies over composition.

    Nothing is built ahead but an index by chemical system: the height at one composition is
    the least energy of any mixture of known phases with that composition, a linear programme
    of as many unknowns as the system has phases. At one composition the lowest phase counts,
    whoever says its energy.

    Args:
        entries: phases and hull points. Every element among them is at 0: pure elements of a
            potential, whose energies may lie on either side of 0 by its error, are no phases.
        name: what figures against this hull are labelled with.
        digest: SHA-256 of what it was read from.

    Raises:
        ValueError: no entries, or a pure element below 0.
    """

    def __init__(self, entries: Iterable[Entry], *, name: str, digest: str) -> None:
        self.name, self.digest = name, digest
        self.n_entries = self.n_hull_points = 0
        self.sources: set[str] = set()
        self.elements: set[str] = set()
        self._keys: dict[str, set[Key]] = {}
        self._systems: dict[frozenset[str], dict[Key, list[Entry]]] = {}
        self._points: dict[tuple[Key, frozenset[str]], HullPoint] = {}
        for entry in entries:
            self._add(entry)
        if not self._keys:
            raise ValueError(f"hull {name!r} has no entries")
        for phases in self._systems.values():
            for same in phases.values():
                same.sort(key=_rank)
        self._largest = max(len(system) for system in self._systems)

    def _add(self, entry: Entry) -> None:
        key = composition_key(entry.composition)
        if len(key) == 1 and entry.source != DFT:
            self.elements.add(key[0][0])
            return
        if len(key) == 1 and entry.formation_energy_per_atom < -ROUNDING:
            raise ValueError(
                f"{entry.id} puts pure {key[0][0]} at {entry.formation_energy_per_atom} eV/atom: "
                "formation energies count from the elements' ground states"
            )
        self.n_entries += not entry.is_hull_point
        self.n_hull_points += entry.is_hull_point
        self.sources.add(entry.source)
        system = frozenset(symbol for symbol, _ in key)
        self.elements |= system
        self._keys.setdefault(entry.id, set()).add(key)
        self._systems.setdefault(system, {}).setdefault(key, []).append(entry)

    @classmethod
    def from_file(cls, path: str | Path) -> "Hull":
        """Read a hull from a file of the user, see `read_entries`.

        Its name is that of the file, with the run types of its entries where they are known,
        and the potentials that say energies.

        Raises:
            ValueError: the file holds no entries; a pickle is refused.
        """
        path = Path(path)
        entries = read_entries(path)
        run_types = sorted({entry.run_type for entry in entries} - {""})
        potentials = sorted({entry.source for entry in entries} - {DFT})
        facts = ", ".join([*run_types, *potentials])
        name = f"{path.name} ({facts})" if facts else path.name
        return cls(entries, name=name, digest=digest_of([path]))

    def check_judge(self, potential: str, *, is_tied_to_dft: bool = False) -> None:
        """Make sure that energies of a potential may be compared with this hull.

        They may where all phases are DFT's or the potential's own. Phases of another potential
        carry its errors, which do not cancel against those of the one at hand.

        Args:
            potential: name with version, as in `Entry.source`.
            is_tied_to_dft: allow other potentials' phases too. Both then count as estimates of
                one DFT formation energy: right where the element references of the potential
                at hand were fitted to DFT formation energies, as those of the phases were, and
                with the errors of both.

        Raises:
            ValueError: the hull has phases of another potential.
        """
        others = sorted(self.sources - {DFT, potential})
        if others and not is_tied_to_dft:
            raise ValueError(
                f"energies of {potential} cannot be compared with hull {self.name!r}, which has "
                f"phases of {', '.join(others)}: give a hull of DFT or of {potential}"
            )

    def at(self, composition: Amounts, *, exclude: Collection[str] = ()) -> HullPoint:
        """Height of the hull at one composition.

        Args:
            composition: element symbol -> amount.
            exclude: ids of entries to leave out, such as the crystal's own. With an entry goes
                every hull point of its composition: it would only repeat the entry's energy.

        Raises:
            ValueError: amounts that are not positive.
        """
        fractions = fractions_of(checked_composition(composition))
        left_out = frozenset(id_ for id_ in exclude if id_ in self._keys)
        query = composition_key(fractions), left_out
        if query not in self._points:
            self._points[query] = self._solve(fractions, left_out)
        return self._points[query]

    def e_above_hull(
        self,
        composition: Amounts,
        formation_energy_per_atom: float,
        *,
        exclude: Collection[str] = (),
    ) -> float:
        """Energy above the hull, eV/atom; the crystal itself is no part of it.

        Returns:
            Negative below all known competitors, 0 for a phase of the hull, and NaN where
            either the energy or the hull is unknown.
        """
        gap = formation_energy_per_atom - self.at(composition, exclude=exclude).hull_energy_per_atom
        return 0.0 if abs(gap) < ROUNDING else gap

    def _solve(self, fractions: Composition, left_out: frozenset[str]) -> HullPoint:
        system = sorted(fractions)
        if not self.elements.issuperset(system):
            return UNKNOWN
        if len(system) == 1:
            return HullPoint(0.0, (MixedPhase(system[0], 1.0, ELEMENT),), 0, True, True)
        phases = self._competitors(system, left_out)
        if not phases:
            return UNKNOWN
        # the elements too, at energy 0
        shares = np.array([fractions_row(phase.composition, system) for phase in phases])
        energies = np.array([phase.formation_energy_per_atom for phase in phases])
        labels = [
            *((f"hull of {p.id}" if p.is_hull_point else p.id, p.source) for p in phases),
            *((symbol, ELEMENT) for symbol in system),
        ]
        amounts = least_energy_mixture(
            np.concatenate([shares, np.eye(len(system))]),
            np.concatenate([energies, np.zeros(len(system))]),
            np.array([fractions[symbol] for symbol in system]),
        )
        height = float(amounts[: len(energies)] @ energies)
        mixture = tuple(
            MixedPhase(name, float(x), source)
            for (name, source), x in zip(labels, amounts, strict=True)
            if x > LEAST_SHARE
        )
        knows_system = any(len(phase.composition) == len(system) for phase in phases)
        return HullPoint(height, mixture, len(phases), True, knows_system)

    def _competitors(self, system: list[str], left_out: frozenset[str]) -> list[Entry]:
        """Lowest remaining entry of every composition of two or more of these elements."""
        own = {key for id_ in left_out for key in self._keys[id_]}
        phases = []
        for size in range(2, min(len(system), self._largest) + 1):
            for part in itertools.combinations(system, size):
                for key, same in self._systems.get(frozenset(part), {}).items():
                    remaining = (
                        entry
                        for entry in same
                        if entry.id not in left_out and not (entry.is_hull_point and key in own)
                    )
                    if lowest := next(remaining, None):
                        phases.append(lowest)
        return phases


def _rank(entry: Entry) -> tuple[float, bool, bool]:
    """Lowest first; of two alike a phase before a hull point, and DFT before a potential."""
    energy = round(entry.formation_energy_per_atom, 9)
    return energy, entry.is_hull_point, entry.source != DFT


def fractions_of(composition: Amounts) -> Composition:
    """Atomic fractions, in the order of the symbols."""
    total = sum(composition.values())
    return {symbol: composition[symbol] / total for symbol in sorted(composition)}


def fractions_row(composition: Amounts, system: list[str]) -> list[float]:
    """Atomic fractions in the columns of a chemical system."""
    fractions = fractions_of(composition)
    return [fractions.get(symbol, 0.0) for symbol in system]


def composition_key(composition: Amounts) -> Key:
    """The same for Na2Cl2 and NaCl."""
    fractions = fractions_of(composition)
    return tuple((symbol, round(x, SAME_FRACTION)) for symbol, x in fractions.items())


def least_energy_mixture(
    shares: Float[np.ndarray, "P E"],
    energies: Float[np.ndarray, "P"],
    wanted: Float[np.ndarray, "E"],
) -> Float[np.ndarray, "P"]:
    """Amounts of phases that give a composition at the least energy.

    Args:
        shares: atomic fractions of P phases, shape (P, E).
        energies: of the phases, eV/atom, shape (P,).
        wanted: atomic fractions to be reached, shape (E,).

    Returns:
        Share of the atoms in each phase, shape (P,); they sum to 1.

    Raises:
        RuntimeError: the programme finds no mixture, which the pure elements always are.

    Source: ours: the dual of the lower hull, exact, and without a triangulation of all phases.
    """
    from scipy.optimize import linprog

    tight = {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10}
    found = linprog(energies, A_eq=shares.T, b_eq=wanted, method="highs-ds", options=tight)
    if not found.success:
        raise RuntimeError(f"no mixture of {len(energies)} phases: {found.message}")
    return found.x
