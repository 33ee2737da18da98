"""Elements of a cell: reduced formula and density."""

from collections import Counter
from functools import reduce
from math import gcd

import numpy as np

from symmbfn._shapes import Int
from symmbfn.crystals.elements import ATOMIC_MASS, MENDELEEV_NUMBER, SYMBOLS

GRAM_PER_CM3 = 1.66053906660  # one atomic mass unit per cubic angstrom


def reduced_formula(atomic_numbers: Int[np.ndarray, "A"]) -> str:
    """Composition in smallest whole numbers, elements by Mendeleev number: "NaCl"."""
    counts = Counter(atomic_numbers.tolist())
    divisor = reduce(gcd, counts.values(), 0)
    parts = []
    for number in sorted(counts, key=lambda z: (MENDELEEV_NUMBER[z], z)):
        count = counts[number] // divisor
        parts.append(SYMBOLS[number] + (str(count) if count > 1 else ""))
    return "".join(parts)


def density_of(atomic_numbers: Int[np.ndarray, "A"], volume: float) -> float:
    """Mass density in g/cm3 of a cell of so many cubic angstrom."""
    return float(ATOMIC_MASS[atomic_numbers].sum() * GRAM_PER_CM3 / volume)
