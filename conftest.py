"""Options that `pytest` and `pytest --nbval` share, wherever they are started."""

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """One thread, as chapters were executed with; nbval's sanitize file by absolute path.

    Two threads on two busy cores take ten times as long, and nbval looks for the file in the
    working directory.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # kernels inherit it
    if getattr(config.option, "nbval_sanitize_with", False) is None:
        rules = Path(__file__).parent / "tests" / "nbval_sanitize.cfg"
        config.option.nbval_sanitize_with = str(rules)
