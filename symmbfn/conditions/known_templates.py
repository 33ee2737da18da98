"""Templates of known crystals, and how likely each is for another composition.

Crystals of one structure type differ in which elements sit where. How often two elements take the
same place there says how well one may stand in for the other. A composition can so take over the
template of each known crystal with the same numbers of atoms; the more alike the elements, the
likelier.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from itertools import groupby, pairwise, permutations, product
from pathlib import Path

import numpy as np
import torch

from symmbfn._shapes import Float, Int
from symmbfn.conditions.sites import GivenSites
from symmbfn.crystals.elements import SYMBOLS, element_number
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.crystals.templates import canonical_positions, primitive_multiplicities
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file

TEMPLATES_FILE = "templates.safetensors"
FORMAT = "2"
# chosen on MP-20 val, `python -m scripts.prediction.templates`
TEMPERATURE = 0.4
PRIOR = 0.3  # as many further pairs of each two elements as chance would give, in units of chance

Slots = tuple[tuple[int, ...], ...]  # positions of each element, the elements in some order
_Key = tuple[int, tuple[tuple[int, tuple[int, ...]], ...]]  # group, elements with their positions


@dataclass(frozen=True)
class KnownTemplate:
    """A template for a composition, taken over from known crystals.

    Attributes:
        template: letter and element of each site.
        probability: among all templates of the composition that known crystals have.
        source: name of the known crystal with the most similar elements.
        formula: of that crystal.
        substitution: each of its elements, and the one that takes its place.
    """

    template: GivenSites
    probability: float
    source: str
    formula: str
    substitution: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Row:
    """One known crystal, its elements with the fewest atoms first.

    Attributes:
        space_group_number: 1 to 230.
        elements: atomic numbers.
        atoms: of each element in the primitive cell.
        slots: positions of each element.
    """

    space_group_number: int
    elements: tuple[int, ...]
    atoms: tuple[int, ...]
    slots: Slots


@dataclass(frozen=True)
class KnownTemplates:
    """The templates of a dataset.

    Attributes:
        space_group_number: of each crystal, shape (n,).
        site_start: place of its first site, and the end, shape (n + 1,).
        atomic_numbers, wyckoff_positions: of all sites, one crystal after the other, (sites,).
        identifiers: names of the crystals.
    """

    space_group_number: Int[np.ndarray, "n"]
    site_start: Int[np.ndarray, "n1"]
    atomic_numbers: Int[np.ndarray, "s"]
    wyckoff_positions: Int[np.ndarray, "s"]
    identifiers: Sequence[str] = field(repr=False)

    @classmethod
    def of_dataset(cls, crystals: EncodedDataset) -> "KnownTemplates":
        """Those of encoded crystals."""
        return cls(
            crystals.space_group_number.numpy(),
            crystals.site_start.numpy(),
            crystals.atomic_numbers.numpy(),
            crystals.wyckoff_positions.numpy(),
            crystals.identifiers,
        )

    def save(self, folder: str | Path) -> Path:
        """Write `templates.safetensors` into a folder; returns its path."""
        from safetensors.torch import save_file

        tensors = {
            "space_group_number": torch.from_numpy(self.space_group_number.astype(np.int16)),
            "n_sites": torch.from_numpy(np.diff(self.site_start).astype(np.int16)),
            "atomic_numbers": torch.from_numpy(self.atomic_numbers.astype(np.uint8)),
            "wyckoff_positions": torch.from_numpy(self.wyckoff_positions.astype(np.uint8)),
        }
        path, names = Path(folder) / TEMPLATES_FILE, json.dumps([*self.identifiers])
        header = {"format": FORMAT, "identifiers": names}
        header["sha256"] = _digest({k: v.numpy() for k, v in tensors.items()}, names)
        with whole_file(path) as part:
            save_file(tensors, part, metadata=header)
        return path

    @classmethod
    def load(cls, folder: str | Path) -> "KnownTemplates":
        """Read what `save` wrote.

        Raises:
            ValueError: there is none, or it is damaged or of another format.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(folder) / TEMPLATES_FILE
        try:
            with safe_open(path, framework="np") as file:
                header = file.metadata() or {}
                stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (OSError, SafetensorError) as error:
            raise ValueError(f"{str(path)!r} are no templates: {error}") from None
        if header.get("format") != FORMAT:
            raise ValueError(f"{str(path)!r} are templates of another format, not {FORMAT}")
        if _digest(stored, header.get("identifiers", "")) != header.get("sha256"):
            raise ValueError(f"{str(path)!r} are templates that are truncated or altered")
        tensors = {name: value.astype(np.int64) for name, value in stored.items()}
        start = np.r_[0, tensors.pop("n_sites").cumsum()]
        return cls(site_start=start, identifiers=json.loads(header["identifiers"]), **tensors)

    def __len__(self) -> int:
        return len(self.space_group_number)

    @cached_property
    def _rows(self) -> list[_Row]:
        return [self._row(place) for place in range(len(self))]

    def _row(self, place: int) -> _Row:
        group = int(self.space_group_number[place])
        sites = slice(*self.site_start[place : place + 2])
        multiplicity = primitive_multiplicities(group)
        held: defaultdict[int, list[int]] = defaultdict(list)
        for element, position in zip(
            self.atomic_numbers[sites].tolist(), self.wyckoff_positions[sites].tolist(), strict=True
        ):
            held[element].append(position)
        atoms = {element: int(multiplicity[p].sum()) for element, p in held.items()}
        elements = sorted(held, key=lambda element: (atoms[element], element))
        slots = tuple(tuple(sorted(held[element])) for element in elements)
        return _Row(group, tuple(elements), tuple(atoms[element] for element in elements), slots)

    @cached_property
    def _by_numbers(self) -> dict[tuple[int, ...], list[int]]:
        """Places of the crystals with the same numbers of atoms in the primitive cell."""
        places: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, row in enumerate(self._rows):
            places[row.atoms].append(place)
        return dict(places)

    @cached_property
    def likeness(self) -> Float[np.ndarray, "Z Z"]:
        """Log of how much more often two elements share a place than by chance.

        Row and column are atomic numbers. Each structure type counts as often as it has crystals,
        not as it has pairs.
        """
        types: defaultdict[tuple, list[tuple[int, ...]]] = defaultdict(list)
        for row in self._rows:
            order = sorted(range(len(row.slots)), key=lambda slot: row.slots[slot])
            key = (row.space_group_number, tuple(row.slots[slot] for slot in order))
            types[key].append(tuple(row.elements[slot] for slot in order))
        n = len(SYMBOLS)
        pairs = np.zeros((n, n))
        for members in types.values():
            if len(members) == 1:
                continue
            for elements in zip(*members, strict=True):
                count = np.bincount(elements, minlength=n).astype(float)
                pairs += (np.outer(count, count) - np.diag(count)) / (len(members) - 1)
        share = pairs.sum(1) / max(pairs.sum(), 1.0)
        chance = np.outer(share, share) * pairs.sum() + 1e-6  # so that no element is impossible
        found = np.log((pairs + PRIOR * chance) / ((1 + PRIOR) * chance))
        np.fill_diagonal(found, found.max(1) + 1e-6)  # nothing is more alike
        return found

    def candidates(
        self,
        counts: Mapping[str, int],
        *,
        formulas: Iterable[int] = (1,),
        groups: Collection[int] | None = None,
    ) -> list[KnownTemplate]:
        """The templates that known crystals offer a composition, the likeliest first.

        Args:
            counts: element symbol -> atoms in a formula.
            formulas: how many of it the primitive cell may hold.
            groups: numbers of the space groups that are possible; None for all.

        Returns:
            No template twice; empty where no known crystal has the same numbers of atoms.

        Raises:
            ValueError: an unknown element, or a number below 1.

        Source: book, method-known-templates.
        """
        held = {element_number(s): whole_number("counts", n) for s, n in counts.items()}
        elements = sorted(held, key=lambda element: (held[element], element))
        numbers = [held[element] for element in elements]
        weight: defaultdict[_Key, float] = defaultdict(lambda: -np.inf)
        nearest: dict[_Key, tuple[float, int, tuple[int, ...]]] = {}
        for n in sorted({whole_number("formulas", n) for n in formulas}):
            places = [
                place
                for place in self._by_numbers.get(tuple(n * number for number in numbers), [])
                if groups is None or self._rows[place].space_group_number in groups
            ]
            if not places:
                continue
            theirs = np.array([self._rows[place].elements for place in places])
            for mine in _arrangements(elements, numbers):
                scores = self.likeness[theirs, mine].sum(-1) / TEMPERATURE
                for place, score in zip(places, scores.tolist(), strict=True):
                    row = self._rows[place]
                    key = _canonical(row.space_group_number, mine, row.slots)
                    weight[key] = np.logaddexp(weight[key], score)
                    best = nearest.get(key, (-np.inf, 0, ()))
                    nearest[key] = max(best, (score, -place, mine))  # of equal ones the earliest
        if not weight:
            return []
        total = np.logaddexp.reduce(list(weight.values()))
        order = sorted(weight, key=lambda key: (-weight[key], key))
        found = [(key, weight[key] - total, *nearest[key][1:]) for key in order]
        return [self._candidate(key, p, -place, mine) for key, p, place, mine in found]

    def _candidate(
        self, key: _Key, log_probability: float, place: int, elements: tuple[int, ...]
    ) -> KnownTemplate:
        group, held = key
        letters = symmetry_tables().letter[positions_of(group)]
        sites = [(SYMBOLS[element], str(letters[p])) for element, slot in held for p in slot]
        theirs = self._rows[place].elements
        return KnownTemplate(
            GivenSites(group, *zip(*sites, strict=True)),
            float(np.exp(log_probability)),
            self.identifiers[place],
            self._formula(place),
            tuple((SYMBOLS[a], SYMBOLS[b]) for a, b in zip(theirs, elements, strict=True)),
        )

    def _formula(self, place: int) -> str:
        from pymatgen.core import Composition

        row = self._rows[place]
        atoms = {SYMBOLS[z]: n for z, n in zip(row.elements, row.atoms, strict=True)}
        return Composition(atoms).reduced_formula


def _digest(tensors: Mapping[str, np.ndarray], identifiers: str) -> str:
    """SHA-256 of all that is in a file."""
    content = hashlib.sha256(identifiers.encode())
    for name in sorted(tensors):
        content.update(f"{name} {tensors[name].dtype} {tensors[name].shape}".encode())
        content.update(np.ascontiguousarray(tensors[name]).tobytes())
    return content.hexdigest()


@lru_cache(maxsize=1 << 16)
def _canonical(space_group_number: int, elements: tuple[int, ...], slots: Slots) -> _Key:
    """What is the same for all settings of the group."""
    numbers = np.repeat(elements, [len(slot) for slot in slots])
    positions = np.array([position for slot in slots for position in slot])
    positions = canonical_positions(space_group_number, numbers, positions)
    ends = np.cumsum([0, *(len(slot) for slot in slots)])
    held = [tuple(sorted(positions[i:j].tolist())) for i, j in pairwise(ends)]
    return space_group_number, tuple(sorted(zip(elements, held, strict=True)))


def _arrangements(elements: Sequence[int], numbers: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Orders of the elements that keep their numbers of atoms in order."""
    parts = [
        [e for e, _ in part]
        for _, part in groupby(zip(elements, numbers, strict=True), key=lambda pair: pair[1])
    ]
    for chosen in product(*map(permutations, parts)):
        yield tuple(element for part in chosen for element in part)
