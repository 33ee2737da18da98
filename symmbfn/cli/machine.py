"""What a verb needs of the machine: libraries, processes, threads, files of this folder."""

import os
import sys

from symmbfn.runtime.checks import whole_number


def check_libraries(*names: str) -> None:
    """Make sure that libraries of the extra "metrics" are there before the work begins."""
    from importlib.util import find_spec

    if missing := [name for name in names if find_spec(name) is None]:
        raise ValueError(f"no {', '.join(missing)}: pip install 'symmbfn[metrics]'")


def n_workers(n: int | None) -> int:
    """The workers asked for, one per core if nobody says."""
    from symmbfn.runtime.workers import n_cores

    return n_cores() if n is None else whole_number("workers", n)


def import_from_here() -> None:
    """Let "module:factory" name a file of this folder, as it may in a script."""
    sys.path.append(os.getcwd())


def set_threads(n: int | None = None) -> None:
    """Take the threads that are asked for, one if nobody says.

    With more threads than free cores small batches take many times as long.
    """
    import torch

    if n is None and "OMP_NUM_THREADS" in os.environ:
        return
    if n is not None and n < 1:
        raise ValueError(f"threads must be at least 1, got {n}")
    torch.set_num_threads(n or 1)
