"""The reference pages agree with the code: in its names, and in the constants that they state."""

import re
from pathlib import Path

import pytest

from symmbfn.crystals import asymmetric_unit, collapsed_orbits, decoding, distances, lattice
from symmbfn.crystals.contacts import CONTACT_RATIO
from symmbfn.evaluation.energies.stability import CONVENTIONS
from symmbfn.evaluation.similarity.coverage import CUTOFFS
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation import constraints
from symmbfn.model import property_table

ROOT = Path(__file__).resolve().parents[1]
PAGES = {page.name: page.read_text() for page in (ROOT / "book" / "method").glob("*.md")}
WORDS = {w for p in (ROOT / "symmbfn").rglob("*.py") for w in re.findall(r"\w+", p.read_text())}


def section(label: str) -> str:
    """Text from a label to the next one."""
    (page,) = [text for text in PAGES.values() if f"({label})=" in text]
    return re.split(
        r"^\(method-[a-z0-9-]+\)=$", page.split(f"({label})=\n")[1], flags=re.MULTILINE
    )[0]


@pytest.mark.parametrize("page", PAGES)
def test_names_in_code_letters_are_those_of_the_package(page: str) -> None:
    names = re.findall(r"(?<![}`\w])`([a-z_][a-z_0-9]+)`", PAGES[page])
    assert not {*names} - WORDS


@pytest.mark.parametrize(
    ("label", "values"),
    [
        ("method-chart", (asymmetric_unit.CHART_END, asymmetric_unit.SNAP_GRID)),
        (
            "method-lattice-bounds",
            (
                *lattice.K6_RANGE,
                lattice.K4_LIMIT,
                lattice.K5_LIMIT,
                *lattice.LENGTH_RANGE,
                *lattice.ANGLE_RANGE,
            ),
        ),
        ("method-decoding", (decoding.COORDINATE_SCALE, decoding.NEAR_POINT)),
        ("method-projection", (collapsed_orbits.FAR_FROM_LOCUS,)),
        ("method-cleaning", (collapsed_orbits.MERGE_DISTANCE, collapsed_orbits.DUPLICATE_DISTANCE)),
        (
            "method-property-tables",
            (
                *(property_table.BINS, property_table.STEPS + 1, property_table.STRENGTH),
                *(min(property_table.WIDTHS), max(property_table.WIDTHS)),
            ),
        ),
        ("method-guards", (distances.MINIMUM_DISTANCE,)),
        (
            "method-validity",
            (distances.MINIMUM_DISTANCE, distances.MINIMUM_VOLUME, CONTACT_RATIO),
        ),
        ("method-sampler", (SamplerConfig().n_steps, SamplerConfig().start)),
        (
            "method-clearance",
            (
                *(SamplerConfig().clearance, constraints.LEAST, constraints.SAME_ATOM),
                round(constraints.SHORTEST, 9),
            ),
        ),
        ("method-projection-on-the-way", (constraints.SETTLED,)),
        ("method-coverage", (*CUTOFFS["mp_20"], *CUTOFFS["perov_5"])),
        (
            "method-stability",
            {
                limit.highest
                for one in CONVENTIONS
                for limit in (one.stable, one.metastable)
                if limit
            },
        ),
    ],
)
def test_stated_constants_are_those_of_the_code(label: str, values: tuple[float, ...]) -> None:
    stated = {float(number) for number in re.findall(r"\d+(?:\.\d+)?", section(label))}
    assert {float(value) for value in values} <= stated
