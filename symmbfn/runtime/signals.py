"""SIGINT and SIGTERM: noted so that work in progress can finish first, or an orderly end."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress


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


@contextmanager
def sigterm_as_interrupt() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that what it has started is ended, too.

    Python's own answer to SIGTERM is to be gone at once. Outside of the main thread nothing is
    changed.

    Raises:
        KeyboardInterrupt: in the block, after a SIGTERM.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    old = None
    with suppress(ValueError):
        old = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        if old is not None:
            signal.signal(signal.SIGTERM, old)


@contextmanager
def sigint_blocked() -> Iterator[None]:
    """Let a process that is started in the block never see Ctrl-C: who started it ends it.

    A terminal sends SIGINT to every process of a command. What arrives here meanwhile is handled
    after the block.
    """
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    old = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
