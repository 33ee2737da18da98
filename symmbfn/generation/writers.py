"""From sampled crystals to their texts: symmetry is checked, then record, CIF and extxyz written.

The check takes milliseconds a crystal. For large requests worker processes do it while the next
batch is sampled. Where the search for symmetry hangs or crashes, only that crystal is lost.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from math import isnan
from typing import Any

import numpy as np

from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.elements import SYMBOLS
from symmbfn.crystals.records import lines_of, record_of
from symmbfn.crystals.symmetry_search import check_symmetry
from symmbfn.runtime.workers import Outcome, n_cores, run_killable

# below this workers save no time: each imports libraries for two seconds first
WORTH_WORKERS = 1024
MOST_WORKERS = 16
CHUNK = 16  # crystals a worker takes at once
WAITING = 2  # batches that may wait for a worker before the sampler does
TIME_LIMIT = 30.0  # seconds for a chunk; if it takes longer, for each of its crystals alone
STOP_LIMIT = 5.0  # seconds that an interrupted run waits for its thread
DECIMALS = 8  # of the lengths in extxyz, as in CIF


@dataclass(frozen=True)
class Finished:
    """The texts of one crystal.

    Args:
        index: number of the crystal.
        record: a line of JSON.
        cif_name: name of its file; this and the texts below are empty unless its status is "ok".
        cif: text of that file.
        extxyz: its frame in a file of many.
    """

    index: int
    record: str
    cif_name: str = ""
    cif: str = ""
    extxyz: str = ""


Finish = Callable[[list[Crystal]], list[Finished]]
Done = Callable[[int, list[Finished], float], None]


def finish(crystals: list[Crystal], *, primitive: bool) -> list[Finished]:
    """Check the symmetry of crystals and write their texts.

    Args:
        crystals: as sampled.
        primitive: write primitive in place of conventional cells.
    """
    return [texts_of(check_symmetry(crystal), primitive=primitive) for crystal in crystals]


def texts_of(crystal: Crystal, *, primitive: bool) -> Finished:
    """Write the texts of a crystal that was checked; arguments as in `finish`."""
    record = lines_of([record_of(crystal)])
    if crystal.status != "ok":
        return Finished(crystal.index, record)
    name = cif_name(crystal.index, crystal.formula, crystal.space_group_number)
    cif, extxyz = crystal.to_cif(primitive=primitive), _extxyz(crystal, primitive)
    return Finished(crystal.index, record, name, cif, extxyz)


def cif_name(index: int, formula: str, space_group_number: int) -> str:
    """Name of a crystal's file, the same in every run: "0012-NaCl-225.cif"."""
    return f"{index:04d}-{formula}-{space_group_number}.cif"


def _extxyz(crystal: Crystal, primitive: bool) -> str:
    """One frame, as ASE writes it, whose import takes as long as a crystal takes to make.

    Lengths are rounded, so that a crystal built from its record gives the same.
    """
    lattice, numbers, coords = crystal.arrays(primitive)
    # adding zero turns -0.0 into 0.0
    cell, positions = (np.round(x, DECIMALS) + 0.0 for x in (lattice, coords @ lattice))
    edges = " ".join(map(str, cell.ravel().tolist()))
    lines = [
        f"{len(numbers)}",
        f'Lattice="{edges}" Properties=species:S:1:pos:R:3 index={crystal.index} '
        f"formula={crystal.formula} space_group_number={crystal.space_group_number} "
        'pbc="T T T"',
    ]
    for number, (x, y, z) in zip(numbers.tolist(), positions.tolist(), strict=True):
        lines.append(f"{SYMBOLS[number]:<2} {x:16.8f} {y:16.8f} {z:16.8f}")
    return "\n".join([*lines, ""])


def default_workers(n: int) -> int:
    """Processes that finish n crystals: none for few crystals or where one core is all there is."""
    return 0 if n < WORTH_WORKERS else min(n_cores() - 1, MOST_WORKERS)


@contextmanager
def finishing(
    function: Finish, sizes: Sequence[int], done: Done, workers: int
) -> Iterator[Callable[[list[Crystal]], None]]:
    """Yield a function that takes batches one after the other and has them finished.

    It returns at once unless `WAITING` batches wait for a worker. The end of the block waits for
    all batches; after an error or an interruption in the block, those not done are given up.

    Args:
        function: finishes some crystals; importable by name, or a partial of such a function.
        sizes: number of crystals in each batch to come.
        done: called for each batch, in another thread but never twice at once, with its place
            in `sizes`, its crystals in order, and the processor seconds they took.
        workers: number of processes; with 0 the caller's own does the work.

    Raises:
        Exception: of `function` or `done`, here or in the yielded function.
    """
    if not workers or not sizes:
        places = iter(range(len(sizes)))

        def here(crystals: list[Crystal]) -> None:
            start = time.process_time()
            finished = function(crystals)
            done(next(places), finished, time.process_time() - start)

        yield here
        return
    pool = _Pool(function, sizes, done, workers)
    try:
        yield pool.give
        pool.close()
    finally:
        pool.stop()


class _Pool:
    """A thread that serves worker processes with chunks of the batches it is given."""

    def __init__(self, function: Finish, sizes: Sequence[int], done: Done, workers: int):
        self.function, self.done = function, done
        self.workers = workers
        self.chunks = _Chunks([-(-size // CHUNK) for size in sizes])
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, name="finishing", daemon=True)
        self.thread.start()

    def give(self, crystals: list[Crystal]) -> None:
        self.chunks.give([crystals[i : i + CHUNK] for i in range(0, len(crystals), CHUNK)])
        if self.error is not None:
            raise self.error

    def close(self) -> None:
        self.thread.join()
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        self.chunks.stop()
        self.thread.join(STOP_LIMIT)

    def _run(self) -> None:
        try:
            self._serve()
        except BaseException as error:  # raised in the thread that gives the batches
            self.error = error
        finally:
            self.chunks.stop()

    def _serve(self) -> None:
        finished: dict[int, list[Finished]] = {}
        seconds: dict[int, float] = {}
        # closed, and its processes with it, before anything else happens
        with closing(self._outcomes(self.chunks, self.workers)) as outcomes:
            for outcome in outcomes:
                place, number = outcome.index, self.chunks.batch_of[outcome.index]
                finished[place] = self._texts(outcome)
                seconds[place] = 0.0 if isnan(outcome.process_ms) else outcome.process_ms / 1e3
                self.chunks.drop(place)
                own = self.chunks.places_of(number)
                if all(other in finished for other in own) and not self.chunks.is_stopped:
                    batch = [one for other in own for one in finished.pop(other)]
                    self.done(number, batch, sum(seconds.pop(other) for other in own))

    # Any: a check of the items' type would ask for one, and wait for it
    def _outcomes(self, items: Sequence[Any], workers: int) -> Any:
        return run_killable(self.function, items, workers=workers, time_limit=TIME_LIMIT)

    def _texts(self, outcome: Outcome) -> list[Finished]:
        """What a chunk gave; where its process hung or died, its crystals one by one."""
        if not outcome.reason:
            return outcome.value
        crystals = self.chunks[outcome.index]
        if not outcome.status:
            numbers = f"{crystals[0].index} to {crystals[-1].index}"
            raise RuntimeError(f"crystals {numbers} could not be written: {outcome.reason}")
        if len(crystals) > 1:
            # one process: a death for want of memory is less likely then
            with closing(self._outcomes([[crystal] for crystal in crystals], 1)) as outcomes:
                found = {one.index: one for one in outcomes}
            return [
                text
                for place, crystal in enumerate(crystals)
                for text in self._texts_alone(crystal, found[place])
            ]
        return self._texts_alone(crystals[0], outcome)

    def _texts_alone(self, crystal: Crystal, outcome: Outcome) -> list[Finished]:
        if not outcome.reason:
            return outcome.value
        if not outcome.status:
            raise RuntimeError(f"crystal {crystal.index} could not be written: {outcome.reason}")
        reason = outcome.reason.partition(": ")[2] or outcome.reason
        failed = replace(crystal, status=outcome.status, reason=reason)
        return [Finished(crystal.index, lines_of([record_of(failed)]))]


class _Chunks(Sequence[list[Crystal]]):
    """Chunks of all batches, also of those to come: reading one waits until it is there."""

    def __init__(self, counts: Sequence[int]):
        self.batch_of = [number for number, count in enumerate(counts) for _ in range(count)]
        self.starts = [0]
        for count in counts:
            self.starts.append(self.starts[-1] + count)
        self.held: dict[int, list[Crystal]] = {}
        self.n_given = self.n_taken = 0  # batches, chunks
        self.is_stopped = False
        self.changed = threading.Condition()

    def places_of(self, number: int) -> range:
        return range(self.starts[number], self.starts[number + 1])

    def give(self, chunks: list[list[Crystal]]) -> None:
        with self.changed:
            self.changed.wait_for(lambda: self.is_stopped or self._n_waiting() < WAITING)
            self.held.update(zip(self.places_of(self.n_given), chunks, strict=True))
            self.n_given += 1
            self.changed.notify_all()

    def drop(self, place: int) -> None:
        with self.changed:
            del self.held[place]

    def stop(self) -> None:
        with self.changed:
            self.is_stopped = True
            self.changed.notify_all()

    def _n_waiting(self) -> int:
        """Batches with a chunk that no worker has taken."""
        is_any_left = self.n_taken < len(self)
        return self.n_given - self.batch_of[self.n_taken] if is_any_left else 0

    def __len__(self) -> int:
        return len(self.batch_of)

    def __getitem__(self, place: int) -> list[Crystal]:  # type: ignore[override]
        with self.changed:
            self.changed.wait_for(lambda: self.is_stopped or place in self.held)
            if self.is_stopped:
                raise InterruptedError("the run was stopped")
            self.n_taken = max(self.n_taken, place + 1)
            self.changed.notify_all()
            return self.held[place]
