"""Hulls of the Materials Project from the files in `SYMMBFN_DATA`: the open one and the whole."""

import hashlib
import json
import math
import os
from collections.abc import Collection, Sequence
from pathlib import Path

from symmbfn.datasets.registry import DATASETS
from symmbfn.evaluation.energies.entries import (
    DFT,
    Entry,
    Total,
    compositions_of,
    digest_of,
    entries_from_table,
    hull_points,
    lowest_elements,
    read_columns,
)
from symmbfn.evaluation.energies.hull import Hull
from symmbfn.evaluation.energies.judge import Judge
from symmbfn.evaluation.energies.potentials import CHGNET
from symmbfn.evaluation.energies.references import ElementReferences, chgnet_references

OPEN_ENERGIES = "mp_formation_energies_open.csv.gz"
PREDICTED_ENERGIES = "mp_energies_chgnet.csv.gz"
WHOLE = "whole MP energies"  # how the name of the whole hull begins
POINT_SPLITS = ("train", "val")  # a test split is judged, and must not tell the answers


def open_hull(*, points_from: Collection[str] = POINT_SPLITS) -> Hull:
    """The hull of the open formation energies of the Materials Project in `SYMMBFN_DATA`.

    41,467 phases of the MP-20 and MPTS-52 ids, and a hull point for every MP-20 crystal of the
    named splits whose distance to the official hull is known. Missing phases raise this hull,
    never lower it, which flatters new crystals a little.

    Args:
        points_from: splits of MP-20, of "train" and "val". To judge val itself, train only.

    Raises:
        ValueError: another split, or files that are not there.
    """
    paths = _paths([OPEN_ENERGIES], points_from)
    phases, points = entries_from_table(read_columns(paths[0])), _points(paths[1:])
    name = f"open MP energies ({len(phases)} phases, {len(points)} hull points)"
    return Hull([*phases, *points], name=name, digest=digest_of(paths))


def whole_hull(*, points_from: Collection[str] = POINT_SPLITS) -> Hull:
    """The hull of all phases of the Materials Project: DFT energies where open, else CHGNet's.

    As `open_hull`, and for all ids without an open DFT energy CHGNet's total energies less the
    element references of the package: `Entry.source` says which. On real crystals they are
    21 meV/atom off on average, with next to no bias. Among the ids are those of test splits:
    leave out a crystal's own by `exclude` where it is judged.

    Args:
        points_from: as for `open_hull`.

    Raises:
        ValueError: another split, or files that are not there.
    """
    paths = _paths([OPEN_ENERGIES, PREDICTED_ENERGIES], points_from)
    references = chgnet_references()
    phases, points = whole_phases(references), _points(paths[2:])
    n_dft = sum(phase.source == DFT for phase in phases)
    n_predicted = sum(phase.source != DFT and len(phase.composition) > 1 for phase in phases)
    name = f"{WHOLE} ({n_dft} phases of DFT, {n_predicted} of {CHGNET}, {len(points)} hull points)"
    used = json.dumps([digest_of(paths), references.energies], sort_keys=True)
    digest = hashlib.sha256(used.encode()).hexdigest()
    return Hull([*phases, *points], name=name, digest=digest)


def default_hull() -> Hull:
    """The whole hull where `SYMMBFN_DATA` has CHGNet's energies, else the open one.

    Raises:
        ValueError: it has neither.
    """
    has_predicted = Path(os.environ.get("SYMMBFN_DATA", ""), PREDICTED_ENERGIES).is_file()
    return whole_hull() if has_predicted else open_hull()


def hull_for(judge: Judge) -> Hull:
    """The hull of the data folder that a judge's energies are compared with.

    Raises:
        ValueError: there is none, or it has phases of another potential than the judge.
    """
    hull = default_hull() if judge.name == CHGNET else open_hull()
    hull.check_judge(judge.name)
    return hull


def whole_phases(references: ElementReferences) -> list[Entry]:
    """Every phase of the Materials Project once: the open DFT energies, then CHGNet's.

    Args:
        references: of the elements, on CHGNet's scale.

    Raises:
        ValueError: files that are not there, or an element without reference.
    """
    (path,) = _paths([OPEN_ENERGIES])
    phases = entries_from_table(read_columns(path))
    known = {phase.id for phase in phases}
    return phases + [one for one in predicted_phases(references) if one.id not in known]


def predicted_phases(references: ElementReferences) -> list[Entry]:
    """All phases of the Materials Project by CHGNet's energies, pure elements among them.

    The formation energies are made here: those that the file states belong to the references of
    its day. Those of a pure element count from the lowest one of the element, not from the
    reference, which takes up what CHGNet gets wrong on average: a ground state lies at 0.

    Args:
        references: of the elements, on CHGNet's scale.

    Raises:
        ValueError: no such file in `SYMMBFN_DATA`, or an element without reference.
    """
    (path,) = _paths([PREDICTED_ENERGIES])
    table = read_columns(path)
    compositions = compositions_of(table["formula"])
    energies = table["energy_per_atom"].astype(float).tolist()
    totals = map(Total, table["id"], compositions, energies)
    lowest = ElementReferences(lowest_elements(totals))
    phases = []
    for id_, composition, energy in zip(table["id"], compositions, energies, strict=True):
        own = lowest if len(composition) == 1 else references
        formation = own.formation_energy(composition, energy)
        phases.append(Entry(id_, composition, formation, source=CHGNET))
    if unknown := [one.id for one in phases if not math.isfinite(one.formation_energy_per_atom)]:
        raise ValueError(
            f"{path.name}: {len(unknown)} phases, such as {unknown[0]}, have no energy, or an "
            "element without reference"
        )
    return phases


def _points(paths: Sequence[Path]) -> list[Entry]:
    """Hull points that the crystals of splits tell."""
    return [point for path in paths for point in hull_points(read_columns(path))]


def _paths(names: Sequence[str], points_from: Collection[str] = ()) -> list[Path]:
    """Files of `SYMMBFN_DATA` by name, and those of the splits of MP-20; all of them are there."""
    if wrong := sorted(set(points_from) - set(POINT_SPLITS)):
        raise ValueError(f"hull points come from {', '.join(POINT_SPLITS)}, not {wrong}")
    folder = os.environ.get("SYMMBFN_DATA")
    splits = [split for split in POINT_SPLITS if split in points_from]
    local = DATASETS["mp_20"].local
    paths = [Path(folder or "", name) for name in (*names, *(local[split] for split in splits))]
    if missing := [path.name for path in paths if not (folder and path.is_file())]:
        raise ValueError(
            f"no convex hull: the folder SYMMBFN_DATA ({folder or 'unset'}) has no "
            f"{', '.join(missing)}; name a file of entries as the hull"
        )
    return paths
