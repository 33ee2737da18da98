"""Freeze the crystallographic tables of the 230 space groups into one small npz file.

PyXtal supplies the Wyckoff positions in the default setting of the International Tables
(unique axis b and cell choice 1, hexagonal axes, origin choice 2); spglib's database
supplies an independent copy of the operations, and the two must agree. Everything else
(site-symmetry encodings, Euclidean normalisers, lattice constraints) is derived here.

Rotations are stored as twice their value and translations in units of 1/24, so every
number of the file is a small integer and the loaded values are exact.

Run: python -m scripts.symmetry_tables.make

Source: book, method-canonical; book, method-site-symmetry; book, method-lattice-families.
"""

import itertools
import warnings
from collections import defaultdict
from pathlib import Path

import numpy as np
import spglib

warnings.filterwarnings("ignore")  # PyXtal warns about its own deprecated imports
from pyxtal.symmetry import Group  # noqa: E402

OUTPUT = Path(__file__).parents[2] / "symmbfn" / "crystals" / "symmetry_tables.npz"
GRID = 24
CENTRINGS = "PIFABCR"
AXES = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]
    + [[1, -1, 0], [1, 1, 0], [0, 1, -1], [0, 1, 1], [-1, 0, 1], [1, 0, 1], [1, 2, 0], [2, 1, 0]]
)
CLASSES = ["1", "-1", "2", "m", "3", "4", "-4", "2/m", "-3", "6", "-6", "4/m", "6/m"]
ROTATION_ORDER = {3: 1, -1: 2, 0: 3, 1: 4, 2: 6}  # by the trace of the proper part
FAMILY_ENDS = np.array([2, 15, 74, 142, 194, 230])


def as_integers(values: np.ndarray, scale: int) -> np.ndarray:
    """Return `scale * values` as int64, refusing anything that is not an integer."""
    scaled = np.asarray(values, dtype=np.float64) * scale
    integers = np.rint(scaled).astype(np.int64)
    if np.abs(scaled - integers).max() > 2e-3:  # PyXtal writes thirds with few digits
        raise ValueError(f"not a multiple of 1/{scale}: {values}")
    return integers


def affine(operations: list) -> tuple[np.ndarray, np.ndarray]:
    """Split PyXtal operations into doubled rotations and translations in 24ths."""
    matrices = np.array([operation.affine_matrix for operation in operations])
    return as_integers(matrices[:, :3, :3], 2), as_integers(matrices[:, :3, 3], GRID)


def codes(rotations: np.ndarray, translations: np.ndarray) -> np.ndarray:
    """Number each operation (integer rotation, translation mod 1) injectively."""
    entries = np.concatenate(
        [rotations.reshape(*rotations.shape[:-2], 9) + 2, translations % GRID], axis=-1
    )
    return entries @ GRID ** np.arange(12)


def hall_number_of(number: int, rotations: np.ndarray, translations: np.ndarray) -> int:
    """Find spglib's Hall number whose operations are these, element by element."""
    wanted = set(codes(rotations, translations))
    for hall in range(1, 531):
        if spglib.get_spacegroup_type(hall).number != number:
            continue
        found = spglib.get_symmetry_from_database(hall)
        if wanted == set(codes(found["rotations"], as_integers(found["translations"], GRID))):
            return hall
    raise ValueError(f"no Hall number of spglib has PyXtal's operations of group {number}")


def encode_site(rotations: np.ndarray) -> np.ndarray:
    """Encode a site group as 15 axis classes.

    Args:
        rotations: matrices of the site group, shape (n, 3, 3).

    Source: book, method-site-symmetry.
    """
    has_inversion = any((w == -np.eye(3)).all() for w in rotations)
    order = np.ones(len(AXES), dtype=int)
    has_mirror = np.zeros(len(AXES), dtype=bool)
    has_minus_four = np.zeros(len(AXES), dtype=bool)
    for w in rotations:
        sign = round(np.linalg.det(w))
        proper = sign * w
        n = ROTATION_ORDER[int(np.trace(proper))]
        if n == 1:
            continue
        axis = np.flatnonzero((AXES @ proper.T == AXES).all(axis=1))
        if len(axis) != 1:
            raise ValueError(f"axis of {w.tolist()} is not one of the 15 directions")
        if sign == 1:
            order[axis] = np.maximum(order[axis], n)
        has_mirror[axis] |= sign == -1 and n == 2
        has_minus_four[axis] |= sign == -1 and n == 4
    symbols = []
    for n, mirror, minus_four in zip(order, has_mirror, has_minus_four, strict=True):
        if n == 1:
            symbols.append("m" if mirror else "-1" if has_inversion else "1")
        elif n == 2:
            symbols.append("2/m" if has_inversion else "-4" if minus_four else "2")
        elif n == 3:
            symbols.append("-6" if mirror else "-3" if has_inversion else "3")
        else:
            symbols.append(f"{n}/m" if has_inversion else f"{n}")
    return np.array([CLASSES.index(symbol) for symbol in symbols])


def site_group(
    rotations: np.ndarray, translations: np.ndarray, doubled: np.ndarray, origin: np.ndarray
) -> np.ndarray:
    """Return the rotations of the operations that fix a generic point of the locus."""
    generic = np.array([0.13719, 0.27183, 0.41421])
    point = doubled / 2 @ generic + origin / GRID
    moved = rotations @ point + translations / GRID - point
    return rotations[np.abs(moved - np.rint(moved)).max(axis=1) < 1e-6]


def holohedry(number: int, is_rhombohedral: bool) -> np.ndarray:
    """Return the point group of the lattice of a space group, identity first."""
    references = [2, 10, 47, 123, 191, 221]
    family = np.searchsorted(FAMILY_ENDS, number)
    doubled, _ = affine(Group(166 if is_rhombohedral else references[family])[0].ops)
    rotations = doubled // 2
    _, first = np.unique(rotations.reshape(-1, 9), axis=0, return_index=True)
    return rotations[np.sort(first)]


def normalising_translations(
    w: np.ndarray, rotations: np.ndarray, translations: np.ndarray, polar: np.ndarray
) -> np.ndarray:
    """List every t of the grid such that (W, t) normalises the group.

    That is: (W, t)(V, v)(W, t)^-1 is in G for every (V, v) of G. Along polar axes t is
    continuous; there it is left at zero.

    Source: book, method-eq-normaliser.
    """
    is_centring = np.zeros((GRID,) * 3, dtype=bool)
    identity = np.eye(3, dtype=int)
    is_centring[tuple(translations[(rotations == identity).all(axis=(1, 2))].T % GRID)] = True
    translation_of = {v.tobytes(): t for v, t in zip(rotations, translations, strict=True)}
    inverse = np.rint(np.linalg.inv(w)).astype(np.int64)
    conjugates = w @ rotations @ inverse
    if not all(v.tobytes() in translation_of for v in conjugates):
        return np.zeros((0, 3), dtype=np.int64)
    candidates = np.array(list(itertools.product(*[[0] if p else range(GRID) for p in polar])))
    for conjugate, translation in zip(conjugates, translations, strict=True):
        target = translation_of[conjugate.tobytes()]
        shift = w @ translation + candidates @ (identity - conjugate).T - target
        candidates = candidates[is_centring[tuple(shift.T % GRID)]]
    return candidates


def normaliser_cosets(
    rotations: np.ndarray, translations: np.ndarray, lattice_group: np.ndarray, polar: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """List one representative of each coset of the Euclidean normaliser, identity first.

    Cosets ignore the translation along polar axes.

    Source: book, method-eq-normaliser.
    """
    found = [
        (w, t)
        for w in lattice_group
        for t in normalising_translations(w, rotations, translations, polar)
    ]
    remaining = {int(codes(w, t)) for w, t in found}
    kept = []
    for w, t in found:
        if int(codes(w, t)) not in remaining:
            continue
        kept.append((w, t))
        coset = codes(w @ rotations, np.where(polar, 0, translations @ w.T + t))
        remaining -= set(coset.tolist())
    kept_w, kept_t = zip(*kept, strict=True)
    return np.array(kept_w), np.array(kept_t)


def special_cosets(
    number: int,
    rotations: np.ndarray,
    translations: np.ndarray,
    lattice_group: np.ndarray,
    polar: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """List what else normalises the group where the cell happens to be more symmetric.

    A monoclinic cell with beta = 90, or an orthorhombic one with a = b, has further settings
    that keep its metric. One (W, t) per coset of the Euclidean normaliser's rotations; whether
    W keeps the metric is left to whoever knows the cell. Higher families have none: their
    point group singles out its axes.
    """
    kept_w, kept_t = [], []
    seen = {w.tobytes() for w in lattice_group}
    for w in unimodular_matrices(number):
        if w.tobytes() in seen:
            continue
        found = normalising_translations(w, rotations, translations, polar)
        if len(found):
            kept_w.append(w)
            kept_t.append(found[0])
            seen |= {(w @ e).tobytes() for e in lattice_group}
    return np.array(kept_w).reshape(-1, 3, 3), np.array(kept_t).reshape(-1, 3)


def unimodular_matrices(number: int) -> np.ndarray:
    """Return the small integer matrices that might keep the metric of a special cell."""
    if number <= 2:
        matrices = np.array(list(itertools.product((-1, 0, 1), repeat=9))).reshape(-1, 3, 3)
    elif number <= 15:
        corners = np.array(list(itertools.product((-2, -1, 0, 1, 2), repeat=4)))
        matrices = np.zeros((len(corners), 3, 3), dtype=np.int64)
        matrices[:, [0, 0, 2, 2], [0, 2, 0, 2]] = corners
        matrices[:, 1, 1] = 1
    elif number <= 74:
        matrices = holohedry(221, False)
    else:
        return np.zeros((0, 3, 3), dtype=np.int64)
    determinants = np.rint(np.linalg.det(matrices))
    return np.ascontiguousarray(matrices[np.abs(determinants) == 1], dtype=np.int64)


def lattice_constraint(number: int) -> tuple[np.ndarray, np.ndarray]:
    """Return which of k1..k6 a group leaves free and the values of the others."""
    free = ["111111", "010111", "000111", "000011", "000011", "000001"]
    family = int(np.searchsorted(FAMILY_ENDS, number))
    fixed = np.zeros(6)
    if family == 4:
        fixed[0] = -np.log(3) / 4
    return np.array([c == "1" for c in free[family]]), fixed


def tabulate() -> dict[str, np.ndarray]:
    """Build every array of the table file."""
    lists: dict[str, list] = defaultdict(list)
    rows: dict[str, list] = defaultdict(list)
    for number in range(1, 231):
        positions = list(Group(number))
        doubled, translations = affine(positions[0].ops)
        rotations, translations = doubled // 2, translations % GRID
        hall = hall_number_of(number, rotations, translations)
        symbol = spglib.get_spacegroup_type(hall).international_short
        for position in positions:
            orbit_rotations, orbit_translations = affine(position.ops)
            first, origin = orbit_rotations[0], orbit_translations[0]
            if (first @ first != 2 * first).any() or (first @ origin).any():
                raise ValueError(f"{number}{position.letter}: first operation not idempotent")
            stabiliser = site_group(rotations, translations, first, origin)
            if len(stabiliser) * position.multiplicity != len(rotations):
                raise ValueError(f"{number}{position.letter}: wrong site group")
            lists["letter"].append(position.letter)
            lists["multiplicity"].append(position.multiplicity)
            lists["degrees_of_freedom"].append(np.linalg.matrix_rank(first))
            lists["encoding"].append(encode_site(stabiliser))
            lists["orbit_rotations"].extend(orbit_rotations)
            lists["orbit_translations"].extend(orbit_translations)
        lists["operation_rotations"].extend(rotations)
        lists["operation_translations"].extend(translations)
        polar = (rotations == np.eye(3, dtype=int)).all(axis=1).all(axis=0)
        lattice_group = holohedry(number, symbol[0] == "R")
        cosets = normaliser_cosets(rotations, translations, lattice_group, polar)
        lists["normaliser_rotations"].extend(cosets[0])
        lists["normaliser_translations"].extend(cosets[1])
        special = special_cosets(number, rotations, translations, lattice_group, polar)
        lists["special_rotations"].extend(special[0])
        lists["special_translations"].extend(special[1])
        free, fixed = lattice_constraint(number)
        row = {
            "polar_axes": polar,
            "lattice_free": free,
            "lattice_fixed": fixed,
            "crystal_family": np.searchsorted(FAMILY_ENDS, number),
            "centring": CENTRINGS.index(symbol[0]),
            "hermann_mauguin": symbol,
            "hall_number": hall,
            "n_operations": len(rotations),
            "n_positions": len(positions),
            "n_cosets": len(cosets[0]),
            "n_special": len(special[0]),
        }
        for name, value in row.items():
            rows[name].append(value)

    tables = {name: np.array(values) for name, values in (lists | rows).items()}
    tables["operation_start"] = np.concatenate([[0], np.cumsum(tables.pop("n_operations"))])
    tables["position_start"] = np.concatenate([[0], np.cumsum(tables.pop("n_positions"))])
    tables["normaliser_start"] = np.concatenate([[0], np.cumsum(tables.pop("n_cosets"))])
    tables["special_start"] = np.concatenate([[0], np.cumsum(tables.pop("n_special"))])
    tables["orbit_start"] = np.concatenate([[0], np.cumsum(tables["multiplicity"])])
    return tables


def narrow(values: np.ndarray) -> np.ndarray:
    """Return the array in the smallest integer type that holds it exactly."""
    if values.dtype.kind != "i":
        return values
    for dtype in (np.int8, np.int16, np.int32):
        if (values == values.astype(dtype)).all():
            return values.astype(dtype)
    raise ValueError("integers beyond 32 bits")


def main() -> None:
    """Write the table file and print what it holds."""
    tables = tabulate()
    np.savez_compressed(OUTPUT, **{name: narrow(values) for name, values in tables.items()})
    print(f"{len(tables['letter'])} Wyckoff positions, {len(tables['orbit_rotations'])} operations")
    print(
        f"{len(tables['normaliser_rotations'])} cosets, {len(tables['special_rotations'])} special"
    )
    print(f"{OUTPUT.stat().st_size} bytes")


if __name__ == "__main__":
    main()
