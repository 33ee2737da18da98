"""Worker processes change nothing but the time, and a crystal that kills one is a record."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial

import pytest
from ase.io.extxyz import write_extxyz

from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.generation import writers as module
from symmbfn.generation.writers import (
    CHUNK,
    WAITING,
    Finished,
    default_workers,
    finish,
    finishing,
    texts_of,
)
from tests.models import batch

pytestmark = pytest.mark.timeout(120)
HANGS, DIES, BUG = 7, 21, 3


def crystals(*indices: int) -> list[Crystal]:
    built = reconstruct(batch(), seed=1)
    places = [index % len(built) for index in indices]
    return reconstruct(batch(*places), indices=indices, seed=1)


def behave(chunk: list[Crystal], has_bug: bool = False) -> list[Finished]:
    """Finish crystals, but hang or die at one."""
    for crystal in chunk:
        if crystal.index == HANGS:
            time.sleep(60)
        if crystal.index == DIES:
            os.kill(os.getpid(), signal.SIGKILL)
        if has_bug and crystal.index == BUG:
            raise KeyError("x")
    return finish(chunk, primitive=False)


def run(batches: list[list[Crystal]], workers: int, function=None) -> list[list[Finished]]:
    function = function or partial(finish, primitive=False)
    found: dict[int, list[Finished]] = {}

    def done(place: int, finished: list[Finished], seconds: float) -> None:
        assert place not in found and seconds >= 0
        found[place] = finished

    with finishing(function, [len(one) for one in batches], done, workers) as give:
        for one in batches:
            give(one)
    return [found[place] for place in range(len(batches))]


def test_any_number_of_workers_gives_the_same_texts() -> None:
    sizes = [1, CHUNK, CHUNK + 3, 5, 1, 1, 1]
    batches = [crystals(*range(sum(sizes[:i]), sum(sizes[: i + 1]))) for i in range(len(sizes))]
    expected = run(batches, workers=0)
    assert [text.index for one in expected for text in one] == list(range(sum(sizes)))
    assert all(text.cif and text.extxyz for one in expected for text in one)
    for workers in (1, 3):
        assert run(batches, workers) == expected


@pytest.mark.parametrize("primitive", [False, True])
def test_frames_are_those_that_ase_writes(primitive: bool) -> None:
    for crystal in crystals(*range(len(reconstruct(batch())))):
        atoms = crystal.to_ase(primitive=primitive)
        atoms.set_cell(atoms.cell.array.round(8) + 0.0)
        atoms.set_positions(atoms.positions.round(8) + 0.0)
        for name in ("index", "formula", "space_group_number"):
            atoms.info[name] = getattr(crystal, name)
        file = io.StringIO()
        write_extxyz(file, atoms)
        assert texts_of(crystal, primitive=primitive).extxyz == file.getvalue()


def test_a_crystal_that_hangs_or_kills_is_a_record_and_its_neighbours_are_whole(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "TIME_LIMIT", 10.0)
    batches = [crystals(*range(12)), crystals(*range(12, 24))]
    expected = [text for one in run(batches, workers=0) for text in one]
    found = [text for one in run(batches, workers=2, function=behave) for text in one]
    assert [text.index for text in found] == list(range(24))
    for text in found:
        if text.index not in (HANGS, DIES):
            assert text == expected[text.index]
            continue
        record = json.loads(text.record)
        status, reason = {
            HANGS: ("timeout", "more than 10 s"),
            DIES: ("worker_lost", "exit code -9"),
        }[text.index]
        assert (record["status"], record["reason"]) == (status, reason)
        assert record["sites"] and not text.cif and not text.extxyz


def test_an_error_reaches_the_caller() -> None:
    with pytest.raises(RuntimeError, match="crystals 0 to 4 could not be written: KeyError"):
        run([crystals(*range(5))], workers=1, function=partial(behave, has_bug=True))

    def no_space(*_: object) -> None:
        raise OSError("no space left on device")

    function = partial(finish, primitive=False)
    for workers in (0, 1):
        with (
            pytest.raises(OSError, match="no space"),
            finishing(function, [2] * 50, no_space, workers) as give,
        ):
            for _ in range(50):
                give(crystals(0, 1))


def test_the_sampler_waits_only_for_a_full_queue(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers that have not started take nothing: what waits is bounded, and no less is taken."""
    may_start = threading.Event()
    real = module.run_killable

    def late(*args, **kwargs):
        may_start.wait(60)
        yield from real(*args, **kwargs)

    monkeypatch.setattr(module, "run_killable", late)
    given = []
    batches = [crystals(*range(2 * i, 2 * i + 2)) for i in range(WAITING + 3)]

    def feed() -> None:
        with finishing(function, [2] * len(batches), lambda *_: None, 1) as give:
            for one in batches:
                give(one)
                given.append(one)

    function = partial(finish, primitive=False)
    feeder = threading.Thread(target=feed)
    feeder.start()
    time.sleep(0.5)
    assert len(given) == WAITING
    may_start.set()
    feeder.join(60)
    assert len(given) == len(batches)


def test_an_interruption_ends_processes_and_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_LIMIT", 60.0)  # a busy machine starts processes slowly
    before = threading.active_count()
    with (
        pytest.raises(KeyboardInterrupt),
        finishing(partial(finish, primitive=False), [2, 2], lambda *_: None, 2) as give,
    ):
        give(crystals(0, 1))
        raise KeyboardInterrupt
    assert threading.active_count() == before


def test_few_crystals_or_one_core_need_no_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    for cores, n, expected in [
        (8, module.WORTH_WORKERS - 1, 0),
        (8, module.WORTH_WORKERS, 7),
        (1, 10**6, 0),
        (200, 10**6, module.MOST_WORKERS),
    ]:
        affinity = partial(set, range(cores))
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, a=affinity: a(), raising=False)
        assert default_workers(n) == expected


def test_the_workers_do_not_load_the_network() -> None:
    """A worker has what makes texts; it starts the sooner, and takes the less memory."""
    code = "import sys, symmbfn.generation.writers; print(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(shown.stdout.split())
    assert "symmbfn.crystals.records" in loaded
    assert not loaded & {
        "symmbfn.model.symmbfn",
        "symmbfn.generation.sampler",
        "symmbfn.model.checkpoints",
    }
