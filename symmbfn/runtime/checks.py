"""Numbers as arguments: Python's and NumPy's, but neither True nor text."""

import operator
from contextlib import suppress
from typing import Any


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """The value of an argument as an int; 2.0 is none.

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


def real_number(name: str, value: Any) -> float:
    """The value of an argument as a float.

    Args:
        name: of the argument.
        value: anything.

    Raises:
        ValueError: it is no number.
    """
    with suppress(TypeError, ValueError):
        if not isinstance(value, bool | str | bytes):
            return float(value)
    raise ValueError(f"{name} must be a number, got {value!r}")
