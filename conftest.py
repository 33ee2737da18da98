"""Options that `pytest` and `pytest --nbval` share, wherever they are started."""

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """One thread and no progress, as chapters were executed; nbval's file by absolute path.

    Two threads on two busy cores take ten times as long; a line a minute is in no stored output;
    and nbval looks for the file in the working directory.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # kernels inherit both
    os.environ.setdefault("TQDM_DISABLE", "1")
    if getattr(config.option, "nbval_sanitize_with", False) is None:
        rules = Path(__file__).parent / "tests" / "nbval_sanitize.cfg"
        config.option.nbval_sanitize_with = str(rules)
