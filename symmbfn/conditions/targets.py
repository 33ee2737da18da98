"""Values that properties of the crystals of a request should have."""

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from symmbfn.runtime.checks import shown

Range = tuple[float, float]  # lowest and highest value; infinite where there is no end

_ASKED = re.compile(r"\s*([A-Za-z_]\w*)\s*(<=|>=|=)\s*(\S.*?)\s*")


def property_ranges(value: Any) -> dict[str, Range]:
    """Ranges of properties by name; a single value is a range of no width.

    Args:
        value: name -> number, or (lowest, highest) with None for no end; or texts such as
            "band_gap=2", "band_gap>=1", "band_gap<=3", "band_gap=1..2".

    Raises:
        ValueError: what is no range of numbers, or a property that is asked for twice.
    """
    if isinstance(value, Mapping):
        return {str(name): _range(str(name), wanted) for name, wanted in value.items()}
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, Iterable):
        raise ValueError(f"properties must be name -> value, got {shown(value)}")
    found: dict[str, Range] = {}
    for text in texts:
        name, wanted = _parsed(str(text))
        if name in found:
            raise ValueError(f"property {name} is asked for twice")
        found[name] = wanted
    return found


def _parsed(text: str) -> tuple[str, Range]:
    match = _ASKED.fullmatch(text)
    if match is None:
        raise ValueError(
            f"property {shown(text)} must be name=value, name<=value, name>=value or name=low..high"
        )
    name, sign, rest = match.groups()
    parts = rest.split("..") if sign == "=" else [rest]
    if len(parts) > 2:
        raise ValueError(f"property {shown(text)} has more than two ends")
    try:
        ends = [float(part) for part in parts]
    except ValueError:
        raise ValueError(f"property {shown(text)}: {rest!r} is no number") from None
    if sign == "=":
        return name, _range(name, (ends[0], ends[-1]))
    return name, _range(name, (None, ends[0]) if sign == "<=" else (ends[0], None))


def _range(name: str, wanted: Any) -> Range:
    """Two ends in order, at least one of them finite."""
    ends = [wanted, wanted] if not isinstance(wanted, list | tuple) else list(wanted)
    if len(ends) != 2:
        raise ValueError(
            f"property {name} must be a number or (lowest, highest), got {shown(wanted)}"
        )
    try:
        if any(isinstance(end, bool) for end in ends):
            raise ValueError
        low = -math.inf if ends[0] is None else float(ends[0])
        high = math.inf if ends[1] is None else float(ends[1])
    except (TypeError, ValueError):
        raise ValueError(f"property {name} must have numbers, got {shown(wanted)}") from None
    if math.isnan(low) or math.isnan(high) or low > high or (low == high and math.isinf(low)):
        raise ValueError(f"property {name} has no value between {low:g} and {high:g}")
    if low == -math.inf and high == math.inf:
        raise ValueError(f"property {name} has no end, so nothing is asked")
    return low, high
