"""What the claim groups of `foundation.py` share: their options, and rates with intervals."""

from dataclasses import dataclass
from pathlib import Path

from symmbfn.claims.store import Claim
from symmbfn.intervals import wilson_interval


@dataclass(frozen=True)
class Options:
    """How a group of claims is measured.

    Args:
        command: the call that makes the claims again.
        work: folder for per-crystal results, outside of the repository.
        seed: of every random choice but the requests.
        n: crystals; 0 takes what the minutes allow.
        minutes: processor time for a group that would take hours on all rows.
        weights: model for the claims on generation.
        solver, steps: sampler; None takes the preset's own.
        seeds: of the requests.
        reference: split that generated crystals are compared with.
    """

    command: str
    work: Path
    seed: int = 0
    n: int = 0
    minutes: float = 10.0
    weights: str = "default"
    solver: str | None = None
    steps: int | None = None
    seeds: tuple[int, ...] = (0, 1, 2)
    reference: str = "val"


def rate(
    name: str,
    successes: int,
    n: int,
    options: Options,
    *,
    aim: float | None = None,
    note: str = "",
    seed: int | list[int] | None = None,
    versions: dict[str, str] | None = None,
) -> Claim:
    """A share in per cent with its Wilson interval, judged against a least share."""
    value = 100 * successes / n
    low, high = wilson_interval(successes, n)
    return Claim(
        name,
        round(value, 3),
        options.command,
        unit="%",
        n=n,
        seed=options.seed if seed is None else seed,
        interval=(round(100 * low, 3), round(100 * high, 3)),
        aim=None if aim is None else f"at least {aim:g} %",
        met=None if aim is None else value >= aim,
        note=note,
        versions=versions or {},
    )
