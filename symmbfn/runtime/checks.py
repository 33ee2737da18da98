"""Whole numbers as arguments: Python's and NumPy's, but neither 2.0 nor True."""

import operator
from contextlib import suppress
from typing import Any


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """The value of an argument as an int.

    Args:
        name: of the argument.
        value: anything.
        least: the smallest number allowed.

    Raises:
        ValueError: it is no whole number, or too small.
    """
    with suppress(TypeError):
        if not isinstance(value, bool) and (number := operator.index(value)) >= least:
            return number
    raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")
