"""Values of arguments: numbers, Python's and NumPy's, and names out of a list.

Neither 2.0 nor True is a whole number.
"""

import math
import operator
from collections.abc import Sequence
from contextlib import suppress
from numbers import Real
from typing import Any

MOST_SHOWN = 80  # characters of a value in an error


def shown(value: Any) -> str:
    """A value in one short line, for errors.

    Args:
        value: anything.
    """
    # of a long text no more is looked at than is shown
    text = repr(value[: MOST_SHOWN + 1]) if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


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
    raise ValueError(f"{name} must be a whole number of at least {least}, got {shown(value)}")


def real_number(
    name: str,
    value: Any,
    *,
    above: float = -math.inf,
    least: float = -math.inf,
    most: float = math.inf,
) -> float:
    """The value of an argument as a finite float.

    Args:
        name: of the argument.
        value: anything.
        above: every number allowed is larger.
        least, most: the smallest and the largest number allowed.

    Raises:
        ValueError: it is no finite number, or outside of these bounds.
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and math.isfinite(value) and above < value and least <= value <= most:
        return float(value)
    bounds = [
        f"{words} {bound:g}"
        for words, bound in (("above", above), ("at least", least), ("at most", most))
        if math.isfinite(bound)
    ]
    limits = " ".join(["must be a finite number", " and ".join(bounds)]).strip()
    raise ValueError(f"{name} {limits}, got {shown(value)}")


def one_of(name: str, value: Any, choices: Sequence[str]) -> None:
    """Refuse a value that is none of those allowed.

    Args:
        name: of the argument.
        value: anything.
        choices: all values allowed.

    Raises:
        ValueError: it is another.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {shown(value)}")
