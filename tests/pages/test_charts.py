"""Charts of a screening's page count what their captions say, and draw what they count."""

import re

import numpy as np
import pandas as pd
import pytest

from symmbfn.pages.charts import group_strip, hull_energies, memorisation, powder_pattern
from tests.pages.test_screening_page import rock_salt


def test_limits_count_as_stable_in_the_histogram() -> None:
    energies = [-0.02, 0.0, 0.1, 0.1001, 3.0, np.nan]
    rows = pd.DataFrame({"e_above_hull": energies})
    picture = hull_energies(rows)
    assert "2 at or below 0, 3 at or below 0.1" in picture.caption
    assert "5 of 6" in picture.caption and "Beyond the axis: 1" in picture.caption
    # two crystals in the bar that ends at 0, one in that which ends at 0.1, one in the next
    line = re.findall(r'<path d="(M [^"]+)" clip-path[^>]+stroke: #0072b2', picture.svg)
    heights = [float(pair.split()[1]) for pair in re.findall(r"[ML] ([0-9. ]+)", line[-1])]
    floor = max(heights)
    levels = [round(floor - height, 2) for height in heights if height < floor]
    assert levels[0] == pytest.approx(2 * levels[-1], abs=0.05) and len(set(levels)) == 2


def test_generated_groups_point_upwards() -> None:
    picture = group_strip(np.full(4, 225), np.full(9, 2))
    assert "cubic 100 against 0" in picture.caption and "triclinic 0 against 100" in picture.caption
    bars = re.findall(r'<path d="(M [^"]+z\n)" clip-path[^>]+fill: (#\w+)', picture.svg)
    ours, theirs = (
        [
            float(y)
            for path, fill in bars
            if fill == colour
            for y in re.findall(r"[ML] [0-9.]+ ([0-9.]+)", path)
        ]
        for colour in ("#0072b2", "#8d95a3")
    )
    # y of SVG points downwards; both stand on the same line
    assert min(ours) < max(ours) == min(theirs) < max(theirs)


def test_memorisation_counts_within_a_distance() -> None:
    picture = memorisation(np.array([0.05, 0.2, np.nan, np.nan]), np.array([0.01, np.nan]))
    caption = picture.caption.replace("\u00a0", " ")
    assert "As generated, 25.0 % within 0.1 Å, 2 of 4" in caption
    assert "relaxed, 50.0 % within 0.1 Å, 1 of 2" in caption


def test_powder_lines_obey_bragg() -> None:
    picture = powder_pattern(rock_salt())
    # of rock salt the lines 200 and 220 are the strongest
    angles = [2 * np.degrees(np.arcsin(1.54184 * np.sqrt(s) / 2 / 5.64)) for s in (4, 8)]
    said = ", ".join(f"{angle:.1f}°" for angle in angles)
    assert f"strongest lines at {said}" in picture.caption
