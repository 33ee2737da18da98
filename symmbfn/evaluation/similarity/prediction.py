"""Does a predicted structure match the true one, in the way structure prediction is judged?"""

from collections.abc import Sequence
from dataclasses import dataclass

from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from symmbfn.runtime.progress import progress
from symmbfn.runtime.workers import run_killable

LTOL, STOL, ANGLE_TOL = 0.3, 0.5, 10.0
TIME_LIMIT = 120.0  # seconds for one pair
Pair = tuple[Structure | None, Structure]


@dataclass(frozen=True)
class Match:
    """What comes of comparing one prediction with the truth.

    Attributes:
        distance: root mean square distance of the atoms divided by the cube root of the volume
            per atom; None where they do not match, or nothing was predicted.
        status: "ok", or why there is no answer, as in `symmbfn.runtime.workers.Outcome`.
    """

    distance: float | None
    status: str = "ok"

    @property
    def is_match(self) -> bool:
        """Whether they match; no answer is no match."""
        return self.distance is not None


def match_pairs(pairs: Sequence[Pair], *, workers: int) -> list[Match]:
    """Compare each prediction with its truth by pymatgen's StructureMatcher.

    Args:
        pairs: prediction and truth; None where nothing was predicted.
        workers: number of processes.

    Returns:
        One answer for each pair, in order.

    Raises:
        ValueError: no worker.

    Source: Xie et al. 2022 (CDVAE): tolerances 0.3, 0.5 and 10 degrees.
    """
    places = [place for place, (found, _) in enumerate(pairs) if found is not None]
    matches = [Match(None)] * len(pairs)
    todo = [pairs[place] for place in places]
    found = run_killable(_distance, todo, workers=workers, time_limit=TIME_LIMIT)
    for one in progress(found, label="matching", unit="pair", total=len(todo)):
        matches[places[one.index]] = Match(one.value, one.status or "failed")
    return matches


def _distance(pair: Pair) -> float | None:
    matcher = StructureMatcher(ltol=LTOL, stol=STOL, angle_tol=ANGLE_TOL)
    found = matcher.get_rms_dist(*pair)
    return None if found is None else float(found[0])
