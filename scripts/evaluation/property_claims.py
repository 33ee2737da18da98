"""Claims of one form, shared by the scripts that measure them: mean errors and shares."""

from typing import Any

import numpy as np

from symmbfn.claims.store import Claim, record
from symmbfn.intervals import wilson_interval

Z = 1.96  # of the normal distribution, for 95 %


def mean_error(name: str, errors: np.ndarray, **facts: Any) -> Claim:
    """Mean of absolute errors with the interval of a mean."""
    mean, half = float(errors.mean()), Z * float(errors.std(ddof=1)) / len(errors) ** 0.5
    interval = round(mean - half, 4), round(mean + half, 4)
    return Claim(name, round(mean, 4), n=len(errors), interval=interval, **facts)


def share(name: str, is_met: np.ndarray, **facts: Any) -> Claim:
    """How many of all, in per cent, with Wilson's interval."""
    low, high = wilson_interval(int(is_met.sum()), len(is_met))
    interval = round(100 * low, 1), round(100 * high, 1)
    value = round(100 * float(is_met.mean()), 1)
    return Claim(name, value, unit="%", n=len(is_met), interval=interval, **facts)


def counted(name: str, count: int, n: int, *, note: str = "", **facts: Any) -> Claim:
    """So many of n, in per cent with Wilson's interval; the note begins with the count."""
    low, high = (round(100 * end, 2) for end in wilson_interval(count, n))
    note, value = f"{count} of {n}. {note}", round(100 * count / n, 2)
    return Claim(name, value, unit="%", n=n, interval=(low, high), note=note, **facts)


def show_and_record(claims: list[Claim]) -> None:
    """Print the claims and write them into `results/evaluation.json`."""
    for one in claims:
        print(f"{one.name} = {one.value} {one.unit} {one.interval} n {one.n}: {one.note}")
    print(f"recorded in {record('evaluation', claims)}")
