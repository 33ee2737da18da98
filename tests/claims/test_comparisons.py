"""What is shown of recorded comparisons: nothing shifts, nothing is made up, small is not large."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from symmbfn.claims import store
from symmbfn.claims.comparisons import (
    ABSENT,
    TAKEN_OUT,
    ablations,
    before_and_after,
    beside_published,
    changes_text,
    not_run_text,
    predictions_text,
    steps_series,
    taken_out_text,
    values_text,
)
from symmbfn.claims.store import Claim, record

METRICS = {"bound": "bound", "contacts / %": "contacts"}
GROUPS = {"symmetry": ["axes"]}


def put(name: str, value: Any, *interval: float, **others: Any) -> None:
    record("c", [Claim(name, value, "make", interval=interval or None, **others)])


@pytest.fixture(autouse=True)
def own_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that is read and written in place of the repository's."""
    monkeypatch.setattr(store, "RESULTS", tmp_path)


@pytest.fixture
def recorded(own_results: None) -> None:
    """As `scripts/comparisons/ablations.py record` leaves them."""
    facts = "About {}. 527,680 crystals seen by each seed; against {}."
    both, one = {"seed": [0, 1]}, {"seed": [0]}
    base, axes, masked = (
        {"note": facts.format(about, against)}
        for about, against in (
            ("bound, contacts", "base"),
            ("contacts, letters", "base"),
            ("bound", "axes"),
        )
    )
    put("ablation.axes.contacts", 66.0, 60.0, 72.0, unit="%", **one)
    put("ablation.axes.change.contacts", -2.0, -5.0, 1.0, unit="points", **one)
    put("ablation.axes.change.bound", 2.0, 1.9, 2.1, unit="nats", **one)
    put("ablation.axes.differs", "bound, d_g")
    put("ablation.axes.expected", "Worse. " + "So it is said at length. " * 6, **axes)
    put("ablation.base.bound", 34.0, unit="nats", **both)
    put("ablation.base.contacts", 68.0, 64.0, 71.0, unit="%", **both)
    put("ablation.base.expected", "The reference.", **base)
    put("ablation.base.cost", 1.0, 0.9, 1.2, unit="times")
    put("ablation.masked_axes_and_more.contacts", 70.0, unit="%", **one)
    put("ablation.masked_axes_and_more.expected", "Group kept higher.", **masked)
    put("ablation.all.complete", 2, note="Not run: absent. Fewer than 2 seeds: none.")


def test_the_base_comes_first_and_no_variant_is_dropped(recorded: None) -> None:
    assert [*ablations()] == ["base", "axes", "masked_axes_and_more"]
    lines = changes_text(METRICS, GROUPS).splitlines()
    assert lines[0].split() == ["seeds", "bound", "contacts", "/", "%"]
    assert lines[1].split() == ["base", "2", "34", "68"]
    assert lines[2] == "symmetry"
    assert lines[3].split() == ["axes", "1", "+2.00", "±0.10*", "-2.0", "±3.0"], "one beyond doubt"
    assert lines[4:] == [
        "others",
        " masked_axes_and_more",
        f"{'':<18}{1:>5}{'-':>17}{'-':>17}",
    ]
    assert lines[1].index("34") + 2 == lines[3].index("±0.10*") + 6, "columns end together"
    assert not_run_text() == "Not run: absent. Fewer than 2 seeds: none."


def test_variants_that_are_no_longer_in_the_code_are_named_with_their_commit(
    recorded: None,
) -> None:
    assert taken_out_text() == ""
    note = f"About bound. 1,000 crystals seen by each seed; against axes. {TAKEN_OUT}"
    put("ablation.gone.expected", "Equal.", note=note)
    put("ablation.gone.bound", 34.0, unit="nats", seed=[0])
    commit = ablations()["gone"]["expected"]["commit"]
    assert taken_out_text() == f"Code at {commit}: gone."
    assert "gone, against axes\n  expected: Equal." in predictions_text()


def test_values_have_both_ends(recorded: None) -> None:
    lines = values_text({"cost / times": "cost"}).splitlines()
    assert [line.split() for line in lines[1:]] == [["base", "1", "(0.9,", "1.2)"]]
    assert len({len(line) for line in values_text(METRICS).splitlines()}) == 1
    put("representation.as_cell.contacts", 3.0, 2.0, 4.0, unit="%")
    lines = values_text(METRICS, "representation").splitlines()
    assert [line.split() for line in lines[1:]] == [["as_cell", "-", "3", "(2,", "4)"]]


def test_of_a_prediction_that_is_found_of_which_it_speaks(recorded: None) -> None:
    text = predictions_text()
    parts = text.split("\naxes, against base\n")
    assert parts[0] == "base\n  expected: The reference.\n  found:    bound 34 nats; contacts 68 %"
    axes, masked = parts[1].split("\nmasked_axes_and_more, against axes\n")
    assert axes.startswith("  expected: Worse. So it is")
    assert axes.endswith("  found:    contacts -2.0 ±3.0 points"), (
        "letters it has not, bound not asked"
    )
    assert masked.endswith("  found:    nothing that compares")
    assert max(map(len, text.splitlines())) <= 75


def test_samplers_are_held_against_the_preset() -> None:
    note = "About contacts. Shipped weights; against preset."
    put("sampler.colder.contacts", 91.0, 90.0, 92.0, seed=[0, 1])
    put("sampler.colder.change.contacts", 1.0, 0.5, 1.5, unit="points", seed=[0, 1])
    put("sampler.colder.differs", "contacts")
    put("sampler.colder.expected", "Equal.", note=note)
    put("sampler.preset.contacts", 90.0, 89.5, 90.5, unit="%", seed=[0, 1])
    put("sampler.preset.expected", "90 %.", note=note)
    put("ablation.base.contacts", 68.0, 64.0, 71.0)
    assert [*ablations("sampler")] == ["preset", "colder"]
    lines = changes_text(METRICS, {}, "sampler").splitlines()
    assert lines[1].split() == ["preset", "2", "-", "90"]
    assert lines[2:] == ["others", f" colder{'':<11}{2:>5}{'-':>17}{'+1.00 ±0.50*':>17}"]
    assert predictions_text("sampler").splitlines()[3:] == [
        "colder, against preset",
        "  expected: Equal.",
        "  found:    contacts +1.00 ±0.50* points",
    ]


def test_ours_stand_in_the_columns_of_the_paper() -> None:
    put("ours.d_g", 0.1634)
    put("ours.sun", 16.03)
    names = {"d_g": "ours.d_g", "stable": "ours.stable", "sun": "ours.sun"}
    lines = beside_published(1, "mp_20", {"ours": names}).splitlines()
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
    third = beside_published(3, "", {}).splitlines()
    assert third[1].split() == ["ms", "ms", "times"] and len(third) == 5
    for table, dataset in ((1, "mp_20"), (2, "mpts_52"), (3, "")):
        text = beside_published(table, dataset, {})
        assert max(map(len, text.splitlines())) <= 75
    with pytest.raises(ValueError, match="not \\['speed'\\]"):
        beside_published(3, "", {"ours": {"speed": "x.y"}})


def test_steps_are_ordered_as_numbers() -> None:
    for steps, value in ((1000, 60.0), (20, 40.0), (100, 55.0)):
        put(f"paper_steps.{steps}.contacts", value, value - 2, value + 3)
    put("paper_steps.20.seconds", 0.1)
    found = steps_series("contacts")
    assert found[:, 0].tolist() == [20, 100, 1000]
    np.testing.assert_allclose(found[1], [100, 55, 53, 58])
    assert steps_series("seconds").tolist() == [[20, 0.1, 0.1, 0.1]]
    assert steps_series("sun").shape == (0, 4)


def test_before_and_after_stand_side_by_side() -> None:
    put("default.before.contacts", 84.9, 83.6, 86.1)
    put("default.no_clearance.contacts", 89.0, 88.0, 90.0)
    put("default.after.contacts", 95.2, 94.4, 95.9)
    put("default.after.val.bound", 25.5)
    lines = before_and_after(["contacts", "val.bound"]).splitlines()
    assert [line[:21].strip() for line in lines] == ["", "contacts", "val.bound"]
    cells = [lines[1][end - 17 : end].strip() for end in (38, 55, 72)]
    assert cells == ["84.9 ±1.2", "89.0 ±1.0", "95.20 ±0.75"]
    assert lines[2].split() == ["val.bound", "-", "-", "25.5"]


def test_without_measurements_there_is_a_sentence() -> None:
    texts = changes_text(METRICS, GROUPS), values_text(METRICS)
    for text in (*texts, predictions_text()):
        assert text == "not measured yet"
