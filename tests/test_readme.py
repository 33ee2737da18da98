"""The figures of the README are those of `results/`, as the README rounds them."""

import re
from pathlib import Path

import pytest

from symmbfn.claims.store import claim

TEXT = " ".join((Path(__file__).resolve().parents[1] / "README.md").read_text().split())
FIGURES = {
    "generate.default.validity_structural": r"([\d.]+) % gave a structurally valid crystal",
    "default.group_kept": r"Of 10,000 requests ([\d.]+) % gave a valid crystal with exactly",
    "generate.default.contacts": r"([\d.]+) % have no contact shorter than 0.7",
    "real.contacts": r"covalent radii \(real crystals: ([\d.]+) %",
    "generate.default.validity_smact": r"([\d.]+) % pass the SMACT test",
    "real.validity_smact": r"lets alloys through \(real crystals: ([\d.]+) %",
    "default.metastable.ours": r"([\d.]+) % of [\d,]+ requests lie at most 0.1 eV/atom above",
    "default.stable.ours": r"([\d.]+) % on or below it",
    "default.sun.ours": r"([\d.]+) % are also unique and not in the training set",
    "default.sun.paper_rule": r"fits nothing to DFT, ([\d.]+) % are",
    "second_judge.confirms_stable": r"SevenNet, confirms ([\d.]+) % of the stable ones",
    "control.real.metastable.ours": r"without its own entry: ([\d.]+) % within",
    "control.real.stable.ours": r"([\d.]+) % on the hull or below; real ones",
    "control.shuffled.metastable.ours": r"each other's elements: ([\d.]+) %",
    "csp.mp_20.copies.unknown_group.match_1": r"the right structure in ([\d.]+) % of MP-20 val",
}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_one_that_was_measured(name: str) -> None:
    printed = re.search(FIGURES[name], TEXT)
    assert printed, f"README has no figure for {name}"
    decimals = len(printed[1].partition(".")[2])
    measured = f"{claim(name)['value']:.{decimals}f}"
    assert printed[1] == measured, f"{name}: write {measured} % in README.md, not {printed[1]} %"


def test_the_number_of_requests_is_the_one_behind_the_figures() -> None:
    printed = re.search(r"Of ([\d,]+) requests", TEXT)
    assert printed, "README does not say of how many requests"
    for name in FIGURES:
        if name.startswith("generate."):
            measured = f"{claim(name)['n']:,}"
            assert printed[1] == measured, f"{name}: write {measured} requests in README.md"


def test_the_number_of_relaxed_requests_is_the_one_behind_the_figures() -> None:
    printed = re.search(r"% of ([\d,]+) requests lie at most", TEXT)
    assert printed, "README does not say of how many requests"
    for name in FIGURES:
        if name.startswith("default.") and name.endswith((".ours", ".paper_rule")):
            measured = f"{claim(name)['n']:,}"
            assert printed[1] == measured, f"{name}: write {measured} requests in README.md"


def test_no_other_percentage_is_stated() -> None:
    assert len(re.findall(r"[\d.]+ ?%", TEXT)) == len(FIGURES), "a figure that nobody compares"
