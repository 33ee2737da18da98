"""What is shown of recorded comparisons: nothing shifts, nothing is made up, small is not large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symmbfn.comparisons import (
    ABSENT,
    ablations,
    ablations_text,
    before_and_after,
    beside_published,
    not_run_text,
    predictions_text,
    steps_series,
)
from symmbfn.results import Claim, record

METRICS = {"bound": "bound", "contacts / %": "contacts"}


def put(folder: Path, name: str, value: Any, *interval: float, **others: Any) -> None:
    record("c", [Claim(name, value, "make", interval=interval or None, **others)], folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """As `scripts/ablations.py record` leaves them."""
    facts = "527,680 crystals seen by each seed; against {}. Prediction: {}"
    base = {"note": facts.format("base", "The reference.")}
    axes = {"note": facts.format("base", "Worse. " + "So it is said at length. " * 6)}
    masked = {"note": facts.format("axes", "Group kept higher.")}
    put(tmp_path, "ablation.axes.bound", 36.0, 35.5, 36.5, unit="nats", **axes)
    put(tmp_path, "ablation.axes.contacts", 66.0, 60.0, 72.0, unit="%", **axes)
    put(tmp_path, "ablation.axes.outcome", "group_kept -2.1 points", **axes)
    put(tmp_path, "ablation.base.bound", 34.0, 33.8, 34.2, unit="nats", **base)
    put(tmp_path, "ablation.base.contacts", 68.0, 64.0, 71.0, unit="%", **base)
    put(tmp_path, "ablation.masked_axes_with_a_long_name.bound", 35.0, unit="nats", **masked)
    put(tmp_path, "ablation.all.complete", 2, note="Not run: absent. Fewer than 2 seeds: none.")
    return tmp_path


def test_the_base_comes_first_and_what_was_not_run_last(folder: Path) -> None:
    assert [*ablations(folder)] == ["base", "axes", "masked_axes_with_a_long_name"]
    lines = ablations_text(METRICS, folder).splitlines()
    assert lines[1].split() == ["base", "34", "±0.2", "68", "±3.5"]
    assert lines[3:] == [
        "masked_axes_with_a_long_name",
        f"{'':<19}{'35':>14}{'-':>14}",
    ]
    assert not_run_text(folder) == "Not run: absent. Fewer than 2 seeds: none."
    assert lines[1].index("34") + len("34 ±0.2") == len(lines[4]) - 14
    contacts = ablations_text({"contacts / %": "contacts"}, folder).splitlines()
    assert [line.split()[0] for line in contacts[1:]] == ["base", "axes"], "none without a value"


def test_only_what_is_beyond_the_intervals_is_called_a_difference(folder: Path) -> None:
    text = predictions_text({"bound": "bound", "contacts": "contacts"}, folder)
    parts = text.split("\naxes, against base\n")[1].split(
        "\nmasked_axes_with_a_long_name, against "
    )
    assert parts[0].startswith("  before: Worse. So it is")
    # contacts of 60 to 72 are not apart from 64 to 71
    assert parts[0].endswith("  after:  group_kept -2.1 points; bound +2 nats")
    # its bound is one run's, and it is held against the axes
    assert parts[1] == "axes\n  before: Group kept higher.\n  after:  no difference"
    assert max(map(len, text.splitlines())) <= 75
    assert text.startswith("base\n  before: The reference.\naxes")


def test_samplers_are_held_against_the_preset(tmp_path: Path) -> None:
    facts = "Shipped weights; against preset. Prediction: {}"
    put(tmp_path, "sampler.colder.contacts", 91.0, 90.0, 92.0, note=facts.format("Equal."))
    put(tmp_path, "sampler.preset.contacts", 90.0, 89.5, 90.5, note=facts.format("90 %."))
    put(tmp_path, "ablation.base.contacts", 68.0, 64.0, 71.0)
    assert [*ablations(tmp_path, "sampler")] == ["preset", "colder"]
    lines = ablations_text(METRICS, tmp_path, "sampler").splitlines()
    assert lines[1].split() == ["preset", "-", "90", "±0.5"] and len(lines) == 3
    text = predictions_text({"contacts": "contacts"}, tmp_path, "sampler")
    assert text.splitlines()[2:] == [
        "colder, against preset",
        "  before: Equal.",
        "  after:  no difference",
    ]


def test_ours_stand_in_the_columns_of_the_paper(tmp_path: Path) -> None:
    put(tmp_path, "ours.d_g", 0.1634)
    put(tmp_path, "ours.sun", 16.03)
    names = {"d_g": "ours.d_g", "stable": "ours.stable", "sun": "ours.sun"}
    lines = beside_published(1, "mp_20", {"ours": names}, tmp_path).splitlines()
    assert lines[0].split() == ["steps", "d_rho", "d_elem", "d_g", "stable", "sun"]
    theirs = next(line for line in lines if line.startswith("SymmBFN"))
    assert lines[-1].index("0.1634") + len("0.1634") == theirs.index("0.149") + len("0.149")
    assert lines[-1].replace(ABSENT, "absent").split() == [
        "ours",
        "-",
        "-",
        "0.1634",
        "absent",
        "16.03",
    ]
    assert theirs.split() == ["SymmBFN", "100", "0.083", "0.061", "0.149", "12.11", "7.24"]
    third = beside_published(3, "", {}, tmp_path).splitlines()
    assert third[1].split() == ["ms", "ms", "times"] and len(third) == 5
    for table, dataset in ((1, "mp_20"), (2, "mpts_52"), (3, "")):
        text = beside_published(table, dataset, {}, tmp_path)
        assert max(map(len, text.splitlines())) <= 75
    with pytest.raises(ValueError, match="not \\['speed'\\]"):
        beside_published(3, "", {"ours": {"speed": "x.y"}}, tmp_path)


def test_steps_are_ordered_as_numbers(tmp_path: Path) -> None:
    for steps, value in ((1000, 60.0), (20, 40.0), (100, 55.0)):
        put(tmp_path, f"paper_steps.{steps}.contacts", value, value - 2, value + 3)
    put(tmp_path, "paper_steps.20.seconds", 0.1)
    found = steps_series("contacts", tmp_path)
    assert found[:, 0].tolist() == [20, 100, 1000]
    np.testing.assert_allclose(found[1], [100, 55, 53, 58])
    assert steps_series("seconds", tmp_path).tolist() == [[20, 0.1, 0.1, 0.1]]
    assert steps_series("sun", tmp_path).shape == (0, 4)


def test_before_and_after_are_paired_by_figure(tmp_path: Path) -> None:
    put(tmp_path, "default.before.val.contacts", 84.9, 83.6, 86.1)
    put(tmp_path, "default.after.val.contacts", 95.2, 94.4, 95.9)
    put(tmp_path, "default.after.val.bound", 25.5)
    lines = before_and_after(tmp_path).splitlines()
    cells = ["val.contacts", "84.9 (83.6 to 86.1)", "95.2 (94.4 to 95.9)"]
    assert [lines[1][:31].strip(), lines[1][31:53].strip(), lines[1][53:].strip()] == cells
    assert lines[2].split() == ["val.bound", "not", "yet", "25.5"]


def test_without_measurements_there_is_a_sentence(tmp_path: Path) -> None:
    for text in (ablations_text(METRICS, tmp_path), predictions_text({}, tmp_path)):
        assert text == "not measured yet"
    assert before_and_after(tmp_path) == "not measured yet"
