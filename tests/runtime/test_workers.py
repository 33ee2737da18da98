"""A process that hangs, dies or fills the memory costs its item and nothing else."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from symmbfn.crystals.distances import GeometryError
from symmbfn.runtime import workers
from tests.runtime.processes import WORKS_FOR_EVER, holds, is_running


def behave(item: tuple[str, str]) -> str:
    """Do what the item says; the flag file tells a first try from a second."""
    what, flag = item
    if what == "hang":
        with Path(flag).open("a") as file:
            file.write("x")
        time.sleep(60)
    if what == "die" or (what == "die once" and not Path(flag).exists()):
        Path(flag).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if what == "value":
        raise ValueError("bad\n  value")
    if what == "bug":
        raise KeyError("x")
    if what == "flat":
        raise GeometryError("flat cell")
    if what == "allocator":
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
    if what == "memory":
        return str(np.ones(workers.MEMORY_LIMIT // 4).sum())
    return what


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, workers.Outcome]:
    whats = ["good", "hang", "die", "die once", "value", "bug", "memory", "allocator"]
    whats += ["flat", "fine"]
    folder = tmp_path_factory.mktemp("flags")
    items = [(what, str(folder / what)) for what in whats]
    found = list(workers.run_killable(behave, items, workers=2, time_limit=3.0))
    assert (folder / "hang").read_text() == "x", "what hangs is not tried again"
    assert sorted(outcome.index for outcome in found) == list(range(len(whats)))
    return {whats[outcome.index]: outcome for outcome in found}


def test_good_items_are_untouched(outcomes: dict[str, workers.Outcome]) -> None:
    for what in ("good", "fine"):
        assert outcomes[what].value == what and not outcomes[what].reason


def test_a_hanging_item_times_out(outcomes: dict[str, workers.Outcome]) -> None:
    assert outcomes["hang"].reason == "timeout: more than 3 s"


def test_a_deadly_item_is_named_and_a_chance_death_is_mended(
    outcomes: dict[str, workers.Outcome],
) -> None:
    assert outcomes["die"].reason == "worker_lost: exit code -9"
    assert outcomes["die once"].value == "die once"


def test_errors_become_one_line(outcomes: dict[str, workers.Outcome]) -> None:
    assert outcomes["value"].reason == "bad value"
    assert outcomes["bug"].reason == "KeyError: 'x'"


def test_memory_is_bounded(outcomes: dict[str, workers.Outcome]) -> None:
    assert "MemoryError" in outcomes["memory"].reason


def test_a_status_names_what_went_wrong(outcomes: dict[str, workers.Outcome]) -> None:
    wanted = {"hang": "timeout", "die": "worker_lost", "value": "", "bug": ""}
    wanted |= {"memory": "out_of_memory", "allocator": "out_of_memory", "flat": "invalid_geometry"}
    wanted |= dict.fromkeys(("good", "die once", "fine"), "ok")
    assert {what: outcome.status for what, outcome in outcomes.items()} == wanted


def test_a_worker_takes_one_thread_whatever_the_machine_offers(tmp_path: Path) -> None:
    """As many workers as cores, each with all threads, would take many times as long."""
    script = tmp_path / "script.py"
    script.write_text(
        "import torch\nfrom symmbfn.runtime.workers import run_killable\n"
        "def threads(item):\n    return torch.get_num_threads()\n"
        "if __name__ == '__main__':\n"
        "    (found,) = run_killable(threads, [0], workers=1, time_limit=60.0)\n"
        "    print(found.value)\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "3"}
    command = [sys.executable, script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout == "1\n", done.stderr


def nested(items: list[tuple[str, str]]) -> list[workers.Outcome]:
    return list(workers.run_killable(behave, items, workers=1, time_limit=5.0))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_the_workers_of_a_pool_have_workers_of_their_own(
    method: str, tmp_path: Path, outcomes: dict[str, workers.Outcome]
) -> None:
    """Those are daemonic, so that Python lets them start none; after `fork` they also inherit
    what their parent knows of its own workers."""
    assert outcomes
    if method not in multiprocessing.get_all_start_methods():
        pytest.skip(f"no {method} on this system")
    items = [("good", ""), ("hang", str(tmp_path / "flag"))]
    with multiprocessing.get_context(method).Pool(1) as pool:
        first, second = pool.apply_async(nested, (items,)).get(timeout=120)
        is_daemonic = pool.apply(is_daemon)
    assert (first.value, second.status) == ("good", "timeout")
    assert is_daemonic, "it is left as it was"


def is_daemon() -> bool:
    return multiprocessing.current_process().daemon


def test_no_worker_outlives_who_started_it(tmp_path: Path) -> None:
    script, note = tmp_path / "script.py", tmp_path / "pid"
    script.write_text(
        "import os, sys\n"
        "from symmbfn.runtime.workers import run_killable\n"
        f"{WORKS_FOR_EVER}"
        "if __name__ == '__main__':\n"
        "    list(run_killable(own, [sys.argv[1]], workers=1, time_limit=1000.0))\n"
    )
    caller = subprocess.Popen([sys.executable, script, note])
    assert holds(note.exists, seconds=120), "the worker has not begun"
    worker = int(note.read_text())
    assert is_running(worker)
    caller.kill()
    caller.wait()
    is_gone = holds(lambda: not is_running(worker), seconds=20)
    with suppress(ProcessLookupError):  # a worker that lives on would compute for ever
        os.kill(worker, signal.SIGKILL)
    assert is_gone, "the worker lives on"


def test_no_items_need_no_process() -> None:
    assert list(workers.run_killable(behave, [], workers=2, time_limit=1.0)) == []


@pytest.mark.parametrize(
    ("function", "guard"),
    [("len", ""), ("own", "if __name__ == '__main__':\n    ")],
    ids=["of a library", "of the script"],
)
def test_a_script_does_not_run_again_in_its_workers(
    function: str, guard: str, tmp_path: Path
) -> None:
    """Without a guard it would, as long as nothing of its own is needed there."""
    script = tmp_path / "script.py"
    script.write_text(
        "from symmbfn.runtime.workers import run_killable\n"
        "def own(item):\n    return len(item)\n"
        f"call = run_killable({function}, ['abc'], workers=1, time_limit=60.0)\n"
        f"{guard}print([outcome.value for outcome in call])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=300)
    assert (done.stdout, done.stderr) == ("[3]\n", "")
