"""What tests of processes of their own share."""

import subprocess
import time
from collections.abc import Callable

# of a script that has imported os: a worker that says who it is and never ends
WORKS_FOR_EVER = """
def own(note):
    with open(note + '.part', 'w') as file:
        file.write(str(os.getpid()))
    os.rename(note + '.part', note)
    while True:
        pass
"""


def holds(is_met: Callable[[], bool], seconds: float) -> bool:
    """Whether something comes true in time."""
    end = time.monotonic() + seconds
    while not is_met() and time.monotonic() < end:
        time.sleep(0.05)
    return is_met()


def is_running(pid: int) -> bool:
    """Whether a process exists and is not merely waiting for its parent to take note."""
    done = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True)
    return bool(done.stdout.strip()) and not done.stdout.startswith("Z")
