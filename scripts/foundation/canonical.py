"""Claims about the canonical form: one crystal, described in two ways, is encoded alike."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from pymatgen.core import Lattice, Structure

from scripts.foundation.claims import Options, rate
from symmbfn.claims.store import Claim
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.structure import asymmetric_unit, parse_cif
from symmbfn.datasets.registry import load_dataset
from symmbfn.runtime.progress import progress

LATTICE_TOLERANCE = 2e-3  # of k
COORDINATE_TOLERANCE = 3e-3  # fractional


def canonical(options: Options) -> Iterator[Claim]:
    """Encodings of the same crystal from two random descriptions of it."""
    count, misses, n = invariance("canonical", options.n, options.seed)
    parts = ", ".join(f"{name} {count[name]}" for name in ("group", "lattice", "letters"))
    yield rate(
        "encode.canonical_invariance",
        count["coordinates"],
        n,
        options,
        aim=99.0,
        note="Same group, lattice, letters and coordinates (to 0.003) after a random origin, "
        f"unimodular change of cell, rotation and permutation of MP-20 val rows. Of these: {parts}."
        + (f" Not: {', '.join(misses[:12])}." if misses else ""),
    )
    count, _, n = invariance("raw", max(1, options.n // 5), options.seed)
    yield rate(
        "encode.raw_invariance",
        count["coordinates"],
        n,
        options,
        note="The same without the canonical form, to show that the comparison can fail; of these "
        f"the letters are the same in {count['letters']}.",
    )


def invariance(form: str, n: int, seed: int) -> tuple[Counter[str], list[str], int]:
    """How many of n MP-20 val rows agree with a new description of them, and who does not."""
    table = load_dataset("mp_20", "val")
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(table))[:n]
    count: Counter[str] = Counter()
    misses = []
    for row in progress(rows, label=f"{form} form"):
        structure = parse_cif(table.cif[row])
        first = asymmetric_unit(structure, form=form)
        other = asymmetric_unit(described_anew(structure, rng), form=form)
        agreement = compare(first, other)
        count.update(name for name, agrees in agreement.items() if agrees)
        if not agreement["coordinates"]:
            misses.append(table.material_id[row])
    return count, misses, len(rows)


def described_anew(structure: Structure, rng: np.random.Generator) -> Structure:
    """The same crystal with another origin, cell, orientation and order of atoms."""
    change = np.eye(3)
    for _ in range(4):
        i, j = rng.choice(3, 2, replace=False)
        step = np.eye(3)
        step[i, j] = rng.integers(-1, 2)
        change = step @ change
    change = change[rng.permutation(3)]
    change *= np.sign(np.linalg.det(change))
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    coords = (structure.frac_coords + rng.random(3)) @ np.linalg.inv(change)
    order = rng.permutation(len(structure))
    return Structure(
        Lattice(change @ structure.lattice.matrix @ turn),
        [structure[i].specie for i in order],
        coords[order],
        to_unit_cell=True,
    )


def compare(a: AsymmetricUnit, b: AsymmetricUnit) -> dict[str, bool]:
    """What two encodings agree on, each name including the ones before it."""
    group = a.space_group_number == b.space_group_number
    lattice = group and bool(np.abs(a.lattice_k - b.lattice_k).max() < LATTICE_TOLERANCE)
    kinds = [
        sorted(zip(u.atomic_numbers.tolist(), u.wyckoff_positions.tolist(), strict=True))
        for u in (a, b)
    ]
    letters = lattice and kinds[0] == kinds[1]
    return {
        "group": group,
        "lattice": lattice,
        "letters": letters,
        "coordinates": letters and all(same_sites(a, b, *kind) for kind in set(kinds[0])),
    }


def same_sites(a: AsymmetricUnit, b: AsymmetricUnit, number: int, position: int) -> bool:
    """Whether the sites of one element on one position pair off."""
    x, y = (
        u.fractional_coords[(u.atomic_numbers == number) & (u.wyckoff_positions == position)]
        for u in (a, b)
    )
    steps = x[:, None] - y[None]
    near = np.abs(steps - np.rint(steps)).max(-1) < COORDINATE_TOLERANCE
    return bool(near.any(0).all() and near.any(1).all())
