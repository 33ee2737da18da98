"""Values of arguments: numbers, Python's and NumPy's, and names out of a list.

Neither 2.0 nor True is a whole number.
"""

import math
import operator
from collections.abc import Sequence
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


def positive_number(name: str, value: Any) -> float:
    """The value of an argument as a float.

    Args:
        name: of the argument.
        value: anything.

    Raises:
        ValueError: it is no finite number above 0.
    """
    with suppress(ValueError):
        if 0 < (number := real_number(name, value)) < math.inf:
            return number
    raise ValueError(f"{name} must be a finite number above 0, got {value!r}")


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of those allowed.

    Args:
        name: of the argument.
        value: anything.
        choices: all values allowed.

    Raises:
        ValueError: it is another.
    """
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")
