"""Claims about the frozen symmetry tables: their sizes, two libraries, closed orbits."""

from collections.abc import Iterator

import numpy as np
import spglib

from scripts.foundation.claims import Options
from scripts.foundation.rebuild import pyxtal_group
from symmbfn.claims.store import Claim
from symmbfn.crystals.symmetry import operations_of, orbit_of, positions_of, symmetry_tables
from symmbfn.runtime.progress import progress


def tables(options: Options) -> Iterator[Claim]:
    """Sizes of the frozen tables, their agreement with two libraries, closed orbits."""
    frozen = symmetry_tables()
    sizes = np.diff(frozen.position_start)
    kinds = [len(np.unique(frozen.encoding[positions_of(g)], axis=0)) for g in range(1, 231)]
    counts = {
        "tables.positions": (len(frozen.letter), 1731),
        "tables.operations": (len(frozen.orbit_rotations), 14433),
        "tables.injective_groups": (int((np.array(kinds) == sizes).sum()), 59),
    }
    for name, (value, expected) in counts.items():
        yield Claim(name, value, options.command, n=230, aim=f"{expected}", met=value == expected)
    agree = [
        g for g in progress(range(1, 231), label="libraries", unit="group") if libraries_agree(g)
    ]
    yield Claim(
        "tables.libraries_agree",
        len(agree),
        options.command,
        unit="groups",
        n=230,
        aim="230",
        met=len(agree) == 230,
        note="Operations equal spglib's database; letters, multiplicities and every operation of "
        "every Wyckoff position equal PyXtal's.",
    )
    rng = np.random.default_rng(options.seed)
    worst = max(orbit_miss(g, rng.random(3)) for g in range(1, 231))
    yield Claim(
        "tables.orbit_closure",
        float(f"{worst:.2e}"),
        options.command,
        unit="fractional",
        n=len(frozen.letter),
        seed=options.seed,
        aim="at most 1e-9",
        met=worst <= 1e-9,
        note="Largest distance of an image of an orbit under its group from the orbit, all "
        "Wyckoff positions, one random point each.",
    )


def libraries_agree(number: int) -> bool:
    """Whether spglib and PyXtal have the operations and positions of the frozen tables."""
    frozen, rows = symmetry_tables(), positions_of(number)
    database = spglib.get_symmetry_from_database(int(frozen.hall_number[number - 1]))
    same = as_set(*operations_of(number)) == as_set(database["rotations"], database["translations"])
    theirs = list(pyxtal_group(number))
    same &= [wp.letter for wp in theirs] == frozen.letter[rows].tolist()
    same &= [wp.multiplicity for wp in theirs] == frozen.multiplicity[rows].tolist()
    for index, wp in enumerate(theirs):
        affine = np.array([op.affine_matrix for op in wp.ops])
        rotations, translations = orbit_of(number, index)
        # PyXtal writes thirds with few digits
        same &= np.allclose(rotations, affine[:, :3, :3], atol=1e-9)
        same &= np.allclose(translations, affine[:, :3, 3], atol=1e-4)
    return bool(same)


def as_set(rotations: np.ndarray, translations: np.ndarray) -> set[tuple[int, ...]]:
    """Operations as integers, translations modulo cells in 24ths."""
    in_24ths = np.rint(24 * np.asarray(translations)).astype(int) % 24
    flat = np.concatenate([np.asarray(rotations).reshape(-1, 9), in_24ths], axis=1)
    return set(map(tuple, flat.astype(int).tolist()))


def orbit_miss(number: int, point: np.ndarray) -> float:
    """Largest distance from an orbit of its images, over the positions of a group."""
    rotations, translations = operations_of(number)
    worst = 0.0
    rows = positions_of(number)
    for index in range(rows.stop - rows.start):
        orbit_rotations, orbit_translations = orbit_of(number, index)
        orbit = orbit_rotations @ point + orbit_translations
        images = (rotations[:, None] @ orbit[None, ..., None])[..., 0] + translations[:, None]
        steps = images.reshape(-1, 1, 3) - orbit
        misses = np.abs(steps - np.rint(steps)).max(-1).min(-1)
        worst = max(worst, float(misses.max()))
    return worst
