"""Worker processes that may hang, crash or run out of memory without ending the whole run.

Code that reads other people's files can loop for ever or crash the interpreter. So each item has
a time limit, after which its process is killed, and each process has a memory limit.
"""

import multiprocessing
import os
import pickle
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

import torch

from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.signals import sigint_blocked

START_LIMIT = 300.0  # seconds a process may take to import its libraries on a busy machine
MEMORY_LIMIT = 4 << 30  # bytes
LOST = "worker_lost"
STARTING = threading.Lock()  # what is changed while a process starts belongs to all threads
NO_MEMORY = ("not enough memory", "can't allocate memory", "CUBLAS_STATUS_ALLOC_FAILED")


@dataclass(frozen=True)
class Outcome:
    """What became of one item: a value, or the reason why there is none.

    Args:
        index: the item's number.
        value: what the function returned; None after a failure.
        reason: why there is no value, in one line; else empty.
        process_ms: processor time of the item in milliseconds; NaN where its process died.
        status: "ok", "timeout", "worker_lost" or "out_of_memory". An error of the function that
            has an attribute `status` gives it; any other error leaves it empty.
    """

    index: int
    value: Any
    reason: str
    process_ms: float
    status: str = "ok"


def run_killable(
    function: Callable[[Any], Any], items: Sequence[Any], *, workers: int, time_limit: float
) -> Iterator[Outcome]:
    """Apply a function to every item in worker processes and yield outcomes as they come.

    An item whose process dies is tried once more; one that exceeds its time is not.

    Args:
        function: importable by name in a new process, or a partial of such a function. One that
            is defined in a script needs the guard `if __name__ == "__main__"` there, because
            each process imports the script.
        items: what it is called with, one at a time.
        workers: number of processes.
        time_limit: seconds of wall time for one item.

    Raises:
        ValueError: workers below 1.
    """
    workers = whole_number("workers", workers)
    todo = deque(range(len(items)))
    died_before: set[int] = set()
    pool = [_Worker(function) for _ in range(min(workers, len(items)))]
    try:
        while todo or any(worker.index is not None for worker in pool):
            for worker in pool:
                if todo and worker.is_ready and worker.index is None:
                    worker.give(todo[0], items[todo[0]], time_limit)
                    todo.popleft()
            wait([worker.connection for worker in pool], timeout=_until_first_deadline(pool))
            for place, worker in enumerate(pool):
                outcome = worker.look()
                if worker.is_dead:
                    worker.stop()
                    pool[place] = _Worker(function)
                if outcome is None:
                    continue
                if outcome.status == LOST and outcome.index not in died_before:
                    died_before.add(outcome.index)
                    todo.append(outcome.index)
                else:
                    yield outcome
    finally:
        for worker in pool:
            worker.stop()


def n_cores() -> int:
    """Cores this process may use, fewer than the machine's under a batch system."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory is short: on the CPU torch only says so in its text."""
    is_said = any(words in str(error) for words in NO_MEMORY)
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or is_said


class _Worker:
    """One process, its pipe, and the item it works on."""

    def __init__(self, function: Callable[[Any], Any]):
        # a new interpreter: no threads or locks of this one, and it works in any process
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, function), daemon=True)
        with STARTING, _without_main(function), _may_start_processes():
            if os.name == "posix":  # Python's helper unblocks signals when it starts
                resource_tracker.ensure_running()
            with sigint_blocked():
                self.process.start()
        theirs.close()
        self.index: int | None = None
        self.is_ready = self.is_dead = False
        self.time_limit = START_LIMIT
        self.deadline = time.monotonic() + START_LIMIT

    def give(self, index: int, item: Any, time_limit: float) -> None:
        self.index, self.time_limit = index, time_limit
        self.deadline = time.monotonic() + time_limit
        with suppress(OSError):  # it died between two items: look() finds the closed pipe
            self.connection.send(item)

    def look(self) -> Outcome | None:
        """The outcome of the current item, if it is there, overdue or lost."""
        try:
            if self.connection.poll():
                message = self.connection.recv()
                if not self.is_ready:
                    self.is_ready, self.deadline = True, float("inf")
                    return None
                index, self.index, self.deadline = self.index, None, float("inf")
                assert index is not None
                return Outcome(index, *message)
        except (EOFError, OSError):
            self.process.join(1)
            return self._gone(LOST, f"exit code {self.process.exitcode}")
        if time.monotonic() > self.deadline:
            return self._gone("timeout", f"more than {self.time_limit:g} s")
        return None

    def _gone(self, status: str, reason: str) -> Outcome | None:
        reason = f"{status}: {reason}"
        if not self.is_ready:  # the next one would fare no better
            raise RuntimeError(f"a worker process could not start ({reason})")
        self.is_dead = True
        if self.index is None:
            return None
        return Outcome(self.index, None, reason, float("nan"), status)

    def stop(self) -> None:
        self.process.kill()
        self.process.join()
        self.connection.close()


def _until_first_deadline(pool: list[_Worker]) -> float | None:
    first = min(worker.deadline for worker in pool)
    return None if first == float("inf") else max(0.0, first - time.monotonic()) + 0.01


@contextmanager
def _without_main(function: Callable[[Any], Any]) -> Iterator[None]:
    """Hide the main module unless the function needs it: a new process would run the script."""
    main = sys.modules["__main__"]
    if b"__main__" not in pickle.dumps(function):
        sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _may_start_processes() -> Iterator[None]:
    """Let a daemonic process start others, such as a worker of a `Pool` or of Dask.

    Python forbids it since they could outlive a process that is ended from outside. Ours do not:
    see `_end_with_parent`.
    """
    here = multiprocessing.current_process()
    is_daemonic = here.daemon
    if is_daemonic:
        here.daemon = False
    try:
        yield
    finally:
        if is_daemonic:
            here.daemon = True


def _end_with_parent() -> None:
    """End this process when the one that started it has ended, however it ended."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _serve(connection: Connection, function: Callable[[Any], Any]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    # libraries print warnings about single items; what matters is in the outcome
    warnings.simplefilter("ignore")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    _limit_memory()
    connection.send("ready")
    while True:
        try:
            item = connection.recv()
        except EOFError:
            return
        start = time.process_time()
        try:
            value, reason, status = function(item), "", "ok"
        except Exception as error:
            value, reason, status = None, _one_line(error), _status(error)
        connection.send((value, reason, 1e3 * (time.process_time() - start), status))


def _status(error: Exception) -> str:
    if is_out_of_memory(error):
        return "out_of_memory"
    return getattr(error, "status", "")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
