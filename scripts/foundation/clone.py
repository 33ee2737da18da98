"""Claims about a fresh clone: how long the two commands of the README take after the install."""

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from scripts.foundation.claims import Options
from symmbfn.claims.store import Claim

ROOT = Path(__file__).resolve().parents[2]
TARGETS = {"generate": 60.0, "test": 1200.0}  # seconds
STAMP = ".venv/.installed"


def clone(options: Options) -> Iterator[Claim]:
    """Clone the repository, install it into a new environment, and time what users type."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), folder], check=True)
        make(STAMP, folder)
        for target, limit in TARGETS.items():
            seconds = make(target, folder)
            yield Claim(
                f"clone.{target}",
                round(seconds, 1),
                options.command,
                unit="s",
                n=1,
                aim=f"at most {limit:g} s",
                met=seconds <= limit,
                note=f"Wall time of `make {target}` in a fresh clone, installed before, on "
                f"{os.cpu_count()} cores; SYMMBFN_DATA "
                f"{'set' if os.environ.get('SYMMBFN_DATA') else 'unset'}.",
            )


def make(target: str, folder: str) -> float:
    """Run one target in a folder, without the variables of this process; wall time in seconds."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    start = time.perf_counter()
    subprocess.run(["make", target], cwd=folder, env=environment, check=True)
    return time.perf_counter() - start
