"""Properties: one value, a range, or one end; everything else is refused by name."""

import math

import numpy as np
import pytest

from symmbfn.conditions.targets import property_ranges


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        ("band_gap=2", (2, 2)),
        ("band_gap = 1..2.5", (1, 2.5)),
        (["band_gap>=1"], (1, math.inf)),
        ({"band_gap<=-3e-1"}, (-math.inf, -0.3)),
        ({"band_gap": 2}, (2, 2)),
        ({"band_gap": np.float32(0.5)}, (0.5, 0.5)),
        ({"band_gap": (None, 2)}, (-math.inf, 2)),
        ({"band_gap": [1, None]}, (1, math.inf)),
        ({"band_gap": (1, 1)}, (1, 1)),
    ],
    ids=str,
)
def test_every_form_is_two_ends(value: object, wanted: tuple[float, float]) -> None:
    assert property_ranges(value) == {"band_gap": wanted}


@pytest.mark.parametrize(
    "value",
    [
        *("", "band_gap", "band_gap=", "=2", "band_gap=x", "band_gap=nan", "band_gap=inf"),
        *("band_gap=1..2..3", "band_gap=2..1", "band_gap==2", "band_gap<2", 2, None),
        *({"band_gap": v} for v in (True, None, "x", (2, 1), (1, 2, 3), (None, None), math.nan)),
        *({"band_gap": v} for v in ([1, "x"], np.array([1, 2]), math.inf, (True, 2))),
        ["band_gap=2", "band_gap>=1"],
    ],
    ids=lambda value: repr(value)[:40],
)
def test_what_is_no_range_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"propert(y|ies)"):
        property_ranges(value)
