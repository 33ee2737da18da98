"""How far a long task is: a bar on a terminal, a line a minute in a log."""

import os
import sys
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

SECONDS = 60.0  # between two lines of a log; a task that takes less writes none
LINE = "{desc}: {n_fmt} of {total_fmt}, {rate_fmt}, {remaining} left{postfix}"


class _Log:
    """Standard error as tqdm writes to it: each state of a bar becomes a line of its own."""

    def write(self, text: str) -> None:
        if state := text.strip():
            print(state, file=sys.stderr)

    def flush(self) -> None:
        sys.stderr.flush()


def progress(
    items: Iterable[Any] | None = None,
    *,
    label: str,
    total: int | None = None,
    done: int = 0,
    unit: str = "crystal",
    **options: Any,
) -> "tqdm[Any]":
    """Count what is done, and say so on standard error.

    On a terminal this is tqdm's bar. Anywhere else, as in the log of a batch system, it is a line
    a minute with count, rate, time left and the bar's postfix, from the first full minute on.
    `TQDM_DISABLE=1` in the environment silences both.

    Args:
        items: yielded one by one and counted; None for a count that `update` raises.
        label: what is being done.
        total: number of items; None takes the length of `items`, if it has one.
        done: items that were done before, which do not count for the rate.
        unit: name of an item.
        options: further ones of tqdm.

    Returns:
        An iterator over the items, or a context with `update(n)`.
    """
    if not sys.stderr.isatty():
        options |= {
            "file": _Log(),
            "bar_format": LINE,
            "mininterval": SECONDS,
            "maxinterval": SECONDS,
            "miniters": 1,
            "delay": SECONDS,
        }
    # tqdm itself reads this variable only when it is imported
    is_off = os.environ.get("TQDM_DISABLE", "0") not in ("", "0")
    return tqdm(items, desc=label, total=total, initial=done, unit=unit, disable=is_off, **options)
