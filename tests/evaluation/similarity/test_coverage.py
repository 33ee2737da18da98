"""Coverage: counted by hand, against loops, and fingerprints against matminer's over all sites."""

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.similarity import coverage as module
from symmbfn.evaluation.similarity.coverage import (
    CUTOFFS,
    N_COMPOSITION,
    N_STRUCTURE,
    Fingerprints,
    coverage,
    fingerprint,
    fingerprints,
)
from symmbfn.evaluation.similarity.magpie import DEVIATION, MEAN
from symmbfn.runtime.workers import Outcome
from tests.crystals.samples import prototypes


def at(points: list[tuple[float, float] | None]) -> Fingerprints:
    """Crystals at (structure, composition) on one axis each; None has no fingerprints."""
    structure = np.full((len(points), N_STRUCTURE), np.nan)
    composition = np.full((len(points), N_COMPOSITION), np.nan)
    for row, point in enumerate(points):
        if point is not None:
            structure[row], composition[row] = 0.0, 0.0
            structure[row, 3], composition[row, 5] = point
    return Fingerprints(structure, composition, tuple("" if p else "timeout" for p in points))


def test_coverage_by_hand() -> None:
    """Cutoffs 0.4 and 10. The third real one has two neighbours, one in each respect only."""
    real = at([(0.0, 0.0), (1.0, 0.0), (5.0, 50.0), (9.0, 90.0), None])
    generated = at([(0.3, 9.0), (5.3, 99.0), (7.0, 59.0), None])
    found = coverage(generated, real)
    # recall: the first by the first; the third by the second and the third; not the others
    assert (found.n_recalled, found.n_reference) == (2, 5)
    assert found.recall == pytest.approx(2 / 5)
    # the second is near the third real one in structure and the fourth in composition
    assert (found.n_precise, found.n_generated) == (2, 4)
    assert found.precision == pytest.approx(2 / 4)
    assert (found.n_recalled_jointly, found.n_precise_jointly) == (1, 1)


def test_cutoffs_are_the_last_that_count_and_both_must_hold() -> None:
    real = at([(0.0, 0.0)])
    for point, counted in (((0.4, 10.0), 1), ((0.41, 0.0), 0), ((0.0, 10.1), 0)):
        assert coverage(at([point]), real).n_recalled == counted
        assert coverage(at([point]), real).n_precise == counted
    assert coverage(at([(0.3, 0.0)]), real, cutoffs=CUTOFFS["perov_5"]).n_recalled == 0
    assert coverage(at([None]), real).n_recalled == coverage(at([None]), real).n_precise == 0


def random_fingerprints(n: int, seed: int) -> Fingerprints:
    rng = np.random.default_rng(seed)
    structure = rng.normal(0, 0.07, (n, N_STRUCTURE))
    composition = rng.normal(0, 0.9, (n, N_COMPOSITION))
    reasons = tuple("" if there else "timeout" for there in rng.random(n) < 0.8)
    return Fingerprints(structure, composition, reasons)


def test_blocks_count_what_loops_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BLOCK", 7)
    generated, real = random_fingerprints(30, 0), random_fingerprints(40, 1)
    cutoffs = (0.71, 14.0)

    def near(i: int, j: int) -> tuple[bool, bool]:
        if generated.reasons[i] or real.reasons[j]:
            return False, False
        s = np.linalg.norm(generated.structure[i] - real.structure[j])
        c = np.linalg.norm(generated.composition[i] - real.composition[j])
        return bool(s <= cutoffs[0]), bool(c <= cutoffs[1])

    table = np.array([[near(i, j) for j in range(40)] for i in range(30)])
    found = coverage(generated, real, cutoffs=cutoffs)
    assert found.n_recalled == table.any(axis=0).all(axis=-1).sum()
    assert found.n_precise == table.any(axis=1).all(axis=-1).sum()
    assert found.n_recalled_jointly == table.all(axis=-1).any(axis=0).sum()
    assert found.n_precise_jointly == table.all(axis=-1).any(axis=1).sum()
    assert 0 < found.n_recalled_jointly < found.n_recalled < 40


def test_no_crystals_are_refused() -> None:
    with pytest.raises(ValueError, match="coverage of 1 crystals by 0"):
        coverage(at([]), at([(0.0, 0.0)]))


def test_equivalent_sites_are_computed_once() -> None:
    """Against matminer's own features of every site: a hundredth of the cutoff is no difference."""
    pytest.importorskip("matminer", reason="the extra 'metrics' is not installed")
    of_site, of_composition = module._featurizers()
    assert len(of_site.feature_labels()) == N_STRUCTURE
    assert len(of_composition.feature_labels()) == N_COMPOSITION == len(MEAN) == len(DEVIATION)
    oxides = [s for s in prototypes()[0] if len(s) <= 6 and "O" in s.symbol_set]
    for structure in oxides[:3]:
        sites = [of_site.featurize(structure, i) for i in range(len(structure))]
        found, scaled = fingerprint(Cell.from_pymatgen(structure))
        assert np.linalg.norm(found - np.mean(sites, axis=0)) < 0.004
        raw = np.array(of_composition.featurize(structure.composition))
        np.testing.assert_allclose(scaled * DEVIATION + MEAN, raw, atol=1e-6)
        double = fingerprint(Cell.from_pymatgen(structure * (2, 1, 1)))
        assert np.linalg.norm(double[0] - found) < 0.004
        np.testing.assert_allclose(double[1], scaled)


def test_scale_belongs_to_the_order_of_the_features() -> None:
    """Real compositions lie near the middle of every feature, and far off with another's scale."""
    pytest.importorskip("matminer", reason="the extra 'metrics' is not installed")
    _, of_composition = module._featurizers()
    raw = [of_composition.featurize(structure.composition) for structure in prototypes()[0][::4]]
    middle = np.nanmean(raw, axis=0)
    assert np.abs((middle - MEAN) / DEVIATION).max() < 2
    for shift in (1, 6):  # the next statistic, the next property
        off = (middle - np.roll(MEAN, shift)) / np.roll(DEVIATION, shift)
        assert np.abs(off).max() > 100


def fake(cell: Cell, log: str) -> tuple[np.ndarray, np.ndarray]:
    with Path(log).open("a") as file:
        file.write("x")
    if cell.atomic_numbers[0] == 2:
        raise ValueError("helium has no neighbours")
    if cell.atomic_numbers[0] == 3:
        os._exit(1)
    return np.full(N_STRUCTURE, float(len(cell))), np.full(N_COMPOSITION, 2.0)


def test_failures_are_rows_and_what_is_known_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "fingerprint", partial(fake, log=str(log)))
    cells = [Cell(4 * np.eye(3), np.array([z]), np.zeros((1, 3))) for z in (11, 2, 3)]
    first = fingerprints([*cells[:1], None, *cells[1:]])
    assert first.reasons[:3] == ("", "no structure", "helium has no neighbours")
    assert first.reasons[3].startswith("worker_lost")
    assert first.is_there.tolist() == [True, False, False, False]
    assert (first.structure[0] == 1).all() and np.isnan(first.structure[1:]).all()
    calls = log.read_text()
    again = fingerprints([*cells[:1], None, *cells[1:]])
    assert log.read_text() == calls and again.reasons == first.reasons
    np.testing.assert_array_equal(again.composition, first.composition)
    moved = Cell(4.1 * np.eye(3), np.array([11]), np.zeros((1, 3)))
    fingerprints([moved])
    assert log.read_text() == calls + "x"


def test_a_stopped_call_keeps_its_fingerprints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SYMMBFN_CACHE", str(tmp_path))
    asked: list[int] = []

    def stopping(function: object, items: list[Cell], **_: object) -> Iterator[Outcome]:
        asked.append(len(items))
        for place, cell in enumerate(items):
            if len(asked) == 1 and place == 2:
                raise KeyboardInterrupt
            value = np.full(N_STRUCTURE, 1 / len(cell)), np.full(N_COMPOSITION, cell.volume)
            yield Outcome(place, value, "", 1.0)

    monkeypatch.setattr(module, "run_killable", stopping)
    cells = [Cell(edge * np.eye(3), np.array([11]), np.zeros((1, 3))) for edge in (3, 4, 5)]
    with pytest.raises(KeyboardInterrupt):
        fingerprints([None, *cells])
    found = fingerprints([None, *cells])
    assert asked == [3, 1]
    np.testing.assert_allclose(found.composition[1:, 0], [27, 64, 125])
    assert found.is_there.tolist() == [False, True, True, True]
    assert not list(tmp_path.rglob("*.jsonl"))
