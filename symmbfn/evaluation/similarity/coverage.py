"""Coverage: how many real crystals have a generated one near them, and the other way round.

A crystal is near another in structure when the fingerprints of their sites, averaged, are, and in
composition when their Magpie features are. Both figures grow with the number of crystals on the
other side, so they compare only at one number.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from symmbfn._shapes import Bool, Float
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.symmetry_search import search_symmetry
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.similarity.magpie import DEVIATION, MEAN
from symmbfn.runtime.files import whole_file
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

# largest distance in structure and in composition that counts as near
CUTOFFS = {"mp_20": (0.4, 10.0), "mpts_52": (0.4, 10.0), "perov_5": (0.2, 4.0)}
N_STRUCTURE, N_COMPOSITION = 61, 132
SYMPREC = 1e-3  # angstrom: sites that are equivalent to it have one fingerprint
BLOCK = 1000
TIME_LIMIT = 60.0  # seconds of wall time for one crystal


@dataclass(frozen=True)
class Fingerprints:
    """What coverage compares of each crystal; NaN where there is a reason.

    Args:
        structure: CrystalNN "ops" fingerprints, mean over all sites, shape (n, 61).
        composition: Magpie features on CDVAE's scale, shape (n, 132).
        reasons: why a crystal has none; empty where it has.
    """

    structure: Float[np.ndarray, "n 61"]
    composition: Float[np.ndarray, "n 132"]
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.reasons)

    @property
    def is_there(self) -> Bool[np.ndarray, "n"]:
        """Which crystals have fingerprints, shape (n,)."""
        return np.array([not reason for reason in self.reasons], dtype=bool)


@dataclass(frozen=True)
class Coverage:
    """Counts of crystals that are covered.

    Args:
        n_reference, n_generated: all crystals, those without fingerprints included.
        n_recalled: real crystals with a generated one near in structure, and one in composition.
        n_precise: generated crystals with real ones near, likewise.
        n_recalled_jointly, n_precise_jointly: the same where one crystal must be near in both.
    """

    n_reference: int
    n_generated: int
    n_recalled: int
    n_precise: int
    n_recalled_jointly: int
    n_precise_jointly: int

    @property
    def recall(self) -> float:
        """Share of the real crystals that are covered, as published."""
        return self.n_recalled / self.n_reference

    @property
    def precision(self) -> float:
        """Share of the generated crystals that are covered, as published."""
        return self.n_precise / self.n_generated


def coverage(
    generated: Fingerprints,
    reference: Fingerprints,
    *,
    cutoffs: tuple[float, float] = CUTOFFS["mp_20"],
) -> Coverage:
    """Count covered crystals on both sides; one without fingerprints covers and is covered by none.

    The published code takes the nearest crystal in structure and the nearest in composition, which
    may be two different ones. Its counts are kept, the stricter ones stand beside them.

    Args:
        generated, reference: at least one crystal each.
        cutoffs: largest distance in structure and in composition.

    Raises:
        ValueError: no crystals on one side.

    Source: Xie et al. 2022 (CDVAE); book, method-coverage.
    """
    if not (len(generated) and len(reference)):
        raise ValueError(f"coverage of {len(reference)} crystals by {len(generated)}")
    ours, theirs = generated.is_there, reference.is_there
    structure, composition = reference.structure[theirs], reference.composition[theirs]
    # near in structure, in composition, in both
    recalled = np.zeros((3, len(structure)), dtype=bool)
    n_precise = n_jointly = 0
    for rows in np.split(np.flatnonzero(ours), range(BLOCK, int(ours.sum()), BLOCK)):
        near_structure = cdist(generated.structure[rows], structure) <= cutoffs[0]
        near_composition = cdist(generated.composition[rows], composition) <= cutoffs[1]
        near = np.stack([near_structure, near_composition, near_structure & near_composition])
        recalled |= near.any(axis=1)
        precise = np.logical_or.reduce(near, axis=2)
        n_precise += int((precise[0] & precise[1]).sum())
        n_jointly += int(precise[2].sum())
    return Coverage(
        n_reference=len(reference),
        n_generated=len(generated),
        n_recalled=int((recalled[0] & recalled[1]).sum()),
        n_precise=n_precise,
        n_recalled_jointly=int(recalled[2].sum()),
        n_precise_jointly=n_jointly,
    )


def fingerprints(cells: Sequence[Cell | None], *, workers: int = 1) -> Fingerprints:
    """Fingerprints of crystals, made in processes that may fail, or read from the cache.

    Args:
        cells: None where a request has no structure.
        workers: number of processes.

    Returns:
        A row for every entry, in order.

    Needs the extra "metrics".

    Source: book, method-coverage.
    """
    path = cache_folder() / "fingerprints" / f"{_digest(cells)[:16]}.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as stored:
            known = tuple(stored["reasons"].tolist())
            return Fingerprints(stored["structure"], stored["composition"], known)
    rows = [row for row, cell in enumerate(cells) if cell is not None]
    journal = Journal(path.with_suffix(".jsonl"))  # a stopped call is gone on with
    todo = [row for row in rows if row not in journal]
    outcomes = run_killable(
        fingerprint, [cells[row] for row in todo], workers=workers, time_limit=TIME_LIMIT
    )
    for outcome in progress(outcomes, total=len(todo), label="fingerprints"):
        parts = None if outcome.value is None else [part.tolist() for part in outcome.value]
        journal.add({"index": todo[outcome.index], "reason": outcome.reason, "parts": parts})
    structure = np.full((len(cells), N_STRUCTURE), np.nan)
    composition = np.full((len(cells), N_COMPOSITION), np.nan)
    reasons = ["" if cell is not None else "no structure" for cell in cells]
    for answer in journal:
        row = answer["index"]
        reasons[row] = answer["reason"]
        if answer["parts"] is not None:
            structure[row], composition[row] = answer["parts"]
    with whole_file(path) as part, part.open("wb") as file:
        np.savez_compressed(
            file, structure=structure, composition=composition, reasons=np.array(reasons, dtype=str)
        )
    journal.path.unlink(missing_ok=True)
    return Fingerprints(structure, composition, tuple(reasons))


def fingerprint(cell: Cell) -> tuple[Float[np.ndarray, "61"], Float[np.ndarray, "132"]]:
    """The two fingerprints of one crystal.

    Equivalent sites have one fingerprint, computed once; to the tolerance of their equivalence
    the mean is that over all sites, to about a hundredth of the cutoff.

    Args:
        cell: of the crystal.

    Returns:
        Mean CrystalNN "ops" fingerprint of the sites, shape (61,), and Magpie features on CDVAE's
        scale, zero where an element lacks one, shape (132,).

    Raises:
        ValueError: a fingerprint that is not finite.
    """
    of_site, of_composition = _featurizers()
    structure = cell.to_pymatgen()
    found = search_symmetry(cell, SYMPREC)
    orbit = np.arange(len(cell)) if found is None else found.equivalent_atoms
    first, counts = np.unique(orbit, return_counts=True)
    sites = [of_site.featurize(structure, int(atom)) for atom in first]
    mean = np.average(sites, axis=0, weights=counts)
    if not np.isfinite(mean).all():
        raise ValueError("fingerprint of the sites is not finite")
    scaled = (np.array(of_composition.featurize(structure.composition)) - MEAN) / DEVIATION
    return mean, np.nan_to_num(scaled, nan=0.0)


@cache
def _featurizers() -> tuple[Any, Any]:
    from matminer.featurizers.composition.composite import ElementProperty
    from matminer.featurizers.site.fingerprint import CrystalNNFingerprint

    magpie = ElementProperty.from_preset("magpie", impute_nan=False)
    return CrystalNNFingerprint.from_preset("ops"), magpie


def _digest(cells: Sequence[Cell | None]) -> str:
    """SHA-256 over everything that decides the fingerprints."""
    digest = hashlib.sha256(f"1 {SYMPREC} {TIME_LIMIT} {len(cells)}".encode())
    for name in ("matminer", "pymatgen", "spglib"):
        digest.update(f" {name} {version(name)}".encode())
    digest.update(MEAN.tobytes() + DEVIATION.tobytes())
    for cell in cells:
        digest.update(b"none" if cell is None else f"cell {len(cell)}".encode())
        if cell is not None:
            for values in (cell.lattice_matrix, cell.atomic_numbers, cell.fractional_coords):
                digest.update(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return digest.hexdigest()
