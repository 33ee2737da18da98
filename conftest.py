"""Options that `pytest` and `pytest --nbval` share, wherever they are started."""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Give nbval its sanitize file by absolute path: it looks in the working directory."""
    if getattr(config.option, "nbval_sanitize_with", False) is None:
        rules = Path(__file__).parent / "tests" / "nbval_sanitize.cfg"
        config.option.nbval_sanitize_with = str(rules)
