"""SIGINT and SIGTERM, noted so that work in progress can finish first."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def noted_signals() -> Iterator[list[int]]:
    """Note SIGINT and SIGTERM inside the block instead of acting on them.

    Outside of the main thread nothing is noted, since Python sets handlers only there.

    Yields:
        The numbers of the signals received so far.
    """
    received: list[int] = []
    old = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            old[number] = signal.signal(number, lambda signum, frame: received.append(signum))
    except ValueError:
        pass
    try:
        yield received
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
