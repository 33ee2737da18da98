"""The report of a screening: `report.json`, `report.html`, and the shortlist with its files."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.distributions import UNITS, compare, drawn_distances, drawn_thousands
from symmbfn.evaluation.observables import dataset_observables, judged_observables
from symmbfn.evaluation.similarity.coverage import CUTOFFS, coverage, fingerprints
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells
from symmbfn.evaluation.summary import Judging, summarise
from symmbfn.evaluation.validity import Judgement
from symmbfn.pages.screening_page import report_page
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.journal import Journal
from symmbfn.runtime.run_folder import MANIFEST
from symmbfn.screening.exports import write_relaxed_cifs
from symmbfn.screening.reference import Reference
from symmbfn.screening.screen import TABLE, answers_of
from symmbfn.screening.shortlist import write_shortlist
from symmbfn.screening.sources import read_candidates
from symmbfn.screening.stages.judged import JUDGED
from symmbfn.screening.stages.relaxed import RELAXED, relaxed_crystals

if TYPE_CHECKING:
    import pandas

REPORT, PAGE = "report.json", "report.html"
DRAWN = 1000  # crystals in a draw, as in the published tables
SPLITS = ("val", "test_open", "test", "train", "all")  # the first that exists is compared with


def write_report(
    folder: str | Path,
    *,
    split: str | None = None,
    seed: int = 0,
    has_coverage: bool = False,
    workers: int = 1,
    controls: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Make the report of a finished screening.

    Args:
        folder: of the screening.
        split: of the reference, whose crystals distributions are compared with; None takes val
            where there is one.
        seed: of the draws for deviations and floors.
        has_coverage: compare fingerprints of 1,000 crystals with 1,000 of the split, minutes.
        workers: processes.
        controls: recorded figures of real crystals and of nonsense, shown beside ours where they
            rest on the same hull and judge.

    Returns:
        The content of `report.json`.

    Raises:
        ValueError: the folder holds no finished screening, or the reference has no such split.
    """
    import pandas as pd

    folder = Path(folder)
    if not (folder / TABLE).is_file():
        raise ValueError(f"{str(folder)!r} holds no {TABLE}: the screening is not finished")
    manifest = json.loads((folder / MANIFEST).read_text())
    table = pd.read_parquet(folder / TABLE)
    name, symprec = manifest["settings"]["reference"], manifest.get("symprec")
    known = Reference.load(name, symprec, workers=workers)
    split = _split_of(known, split)
    report = _content(folder, manifest, table, known, split, seed)
    if has_coverage:
        source = manifest["source_name"], manifest["settings"]["source"]
        report["coverage"] = _coverage(*source, known, split, seed=seed, workers=workers)
    cells: dict[int, Cell] = {}
    if manifest["settings"]["relax"]:
        relaxed = relaxed_crystals(answers_of(folder, RELAXED))
        cells = {index: row.cell for index, row in relaxed.items() if row.cell is not None}
        report["n_candidates"] = len(write_shortlist(folder, table, cells))
    # in the form in which a file is read back: lists in place of tuples
    text = json.dumps(report, indent=1, allow_nan=False) + "\n"
    report = json.loads(text)
    write_whole(folder / REPORT, text)
    files = write_relaxed_cifs(folder, cells)
    real = dataset_observables(known.splits[split])
    page = report_page(report, table, real, cells, files, controls)
    write_whole(folder / PAGE, page)
    return report


def _content(
    folder: Path,
    manifest: dict[str, Any],
    table: "pandas.DataFrame",
    known: Reference,
    split: str,
    seed: int,
) -> dict[str, Any]:
    """Rates, distances and origins: what every report holds."""
    facts = manifest["source_facts"]
    judging = Judging(
        hull=manifest["hull_name"],
        judge=(manifest.get("relaxation") or {}).get("model"),
        second_judge=manifest.get("second_judge"),
    )
    return {
        "source": manifest["source_name"],
        **summarise(table, seconds=seconds_of(facts, len(table)), judging=judging),
        **_distances(folder, known, split, seed),
        "reference": {
            **{"name": known.name, "split": split, "n": len(known.splits[split])},
            # "novel" means: not in the first of them
            "known": {name: len(data) for name, data in known.splits.items()},
            "left_out": {name: len(data.failures) for name, data in known.splits.items()},
        },
        **asdict(judging),
        "hull_sources": manifest.get("hull_sources") or ["DFT"],
        "settings": manifest["settings"],
        "source_facts": facts,
        "seed": seed,
        "versions": manifest["versions"],
    }


def seconds_of(facts: dict[str, Any], n: int) -> dict[str, float]:
    """Seconds per crystal that a run took for sampling and rebuilding; empty if not recorded.

    Of a run on processors alone it is processor time, where that was kept.
    """
    spent = facts.get("time") or {}
    sampling = (spent.get("seconds_of") or {}).get("sampling") or 0.0
    if spent.get("devices") == ["cpu"]:
        sampling = spent.get("processor_seconds") or sampling
    rebuilding = facts.get("rebuilding_seconds", 0.0)
    if not sampling > 0:
        return {}
    if rebuilding >= sampling:  # timed here, and slower than all of the run
        return {"generation": sampling / n}
    return {"generation": (sampling - rebuilding) / n, "rebuilding": rebuilding / n}


def _split_of(known: Reference, split: str | None) -> str:
    if split is None:
        return next((name for name in SPLITS if name in known.splits), next(iter(known.splits)))
    if split not in known.splits:
        raise ValueError(f"{known.name} has no split {split!r}, only {', '.join(known.splits)}")
    return split


def _distances(folder: Path, known: Reference, split: str, seed: int) -> dict[str, Any]:
    """Distances with deviation, floor and unit; also those of draws of 1,000, as published."""
    judged = judgements(answers_of(folder, JUDGED))
    generated = judged_observables(judged)
    if not len(generated):
        return {}
    reference = dataset_observables(known.splits[split])
    pool = dataset_observables(known.train)
    n = min(len(generated), len(pool))
    found = compare(generated[np.arange(n)], reference, pool=pool, seed=seed)
    report: dict[str, Any] = {
        "distances": {name: {**row, "unit": UNITS[name], "n": n} for name, row in found.items()}
    }
    if min(len(generated), sum(row.is_valid for row in judged)) >= DRAWN:
        report["distances_of_1000"] = drawn_thousands(judged, reference, size=DRAWN, seed=seed)
        if len(pool) >= DRAWN:
            floor = drawn_distances(pool, reference, size=DRAWN, n_draws=20, seed=seed)
            moments = zip(floor.mean(axis=0), floor.std(axis=0, ddof=1), strict=True)
            pairs = dict(zip(UNITS, ([*map(float, pair)] for pair in moments), strict=True))
            report["distances_of_1000"]["real"] = pairs
    return report


def _coverage(
    source: str, digest: str, known: Reference, split: str, *, seed: int, workers: int
) -> dict[str, Any]:
    """Recall and precision of as many of the first requests as of random known crystals."""
    candidates = read_candidates(source, workers=workers)
    if candidates.digest != digest:
        raise ValueError(f"{source!r} holds other crystals than those that were screened")
    rows, data = candidates.rows, known.splits[split]
    n = min(DRAWN, len(rows), len(data))
    chosen = np.random.default_rng(seed).choice(len(data), n, replace=False)
    sides = [row.primitive_cell for row in rows[:n]], dataset_cells(data, chosen.tolist())
    found = coverage(
        *(fingerprints(cells, workers=workers) for cells in sides),
        cutoffs=CUTOFFS.get(known.name, CUTOFFS["mp_20"]),
    )
    return asdict(found) | {"recall": found.recall, "precision": found.precision}


def judgements(journal: Journal) -> list[Judgement]:
    """Judgements of a screening from its journal, NaN again where JSON has null."""
    names = Judgement.__dataclass_fields__
    rows = []
    for row in journal:
        values = {name: row[name] for name in names}
        for name in ("density", "volume_per_atom", "minimum_distance", "contact_ratio"):
            values[name] = float("nan") if values[name] is None else values[name]
        parameters = values["lattice_parameters"]
        values["lattice_parameters"] = tuple(
            float("nan") if value is None else value for value in parameters
        )
        rows.append(Judgement(**values))
    return rows
