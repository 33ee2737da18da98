"""Relaxation of positions and cells, many at once or in processes that may be killed."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.contacts import closest_contacts
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.distances import MINIMUM_DISTANCE
from symmbfn.evaluation.energies.fire import Descent
from symmbfn.evaluation.energies.judge import Judge, chgnet_judge
from symmbfn.evaluation.energies.potentials import (
    CRYSTALS_AT_ONCE,
    Potential,
    SinglePoint,
    own_potential,
)
from symmbfn.evaluation.energies.symmetriser import Symmetriser
from symmbfn.runtime.workers import is_out_of_memory, run_killable

VOLUME_PER_ATOM = 3.0, 200.0  # cubic angstrom, before anything is computed
VOLUME_CHANGE = 0.3, 3.0  # of the cell that it started with
MAX_FORCE = 1e3  # eV/angstrom
NAN = float("nan")


@dataclass(frozen=True)
class RelaxationConfig:
    """When a relaxation ends, and what it may change.

    Args:
        fmax: largest row of the forces on atoms and cell, as ASE counts them, eV/angstrom.
        max_steps: of FIRE; then it ends unconverged.
        keeps_space_group: whether forces and stress are symmetrised in every step. A `Crystal`
            keeps the group that it was made for, a `Cell` the one that is found in it at 0.01
            angstrom.

    Raises:
        ValueError: a value out of its range.
    """

    fmax: float = 0.1
    max_steps: int = 500
    keeps_space_group: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.fmax < math.inf:
            raise ValueError(f"fmax must be positive, got {self.fmax}")
        if self.max_steps < 0:
            raise ValueError(f"max_steps must not be negative, got {self.max_steps}")


@dataclass(eq=False)
class Relaxed:
    """What became of one crystal.

    Args:
        status: "ok", "invalid_geometry", "relaxation_diverged", "timeout", "out_of_memory" or
            "worker_lost".
        reason: one line, empty when the status is "ok".
        is_converged: whether fmax was reached.
        n_steps: steps taken.
        energy_per_atom: of the last cell, eV; NaN unless the status is "ok".
        initial_energy_per_atom: of the first cell, eV; NaN where it was not computed.
        max_force: what is compared with fmax, of the last cell, eV/angstrom.
        cell: the last cell, primitive; None unless the status is "ok".
        seconds: process time; a crystal of a batch is charged its share of every step.
        volume_change: volume over the first volume.
    """

    status: str
    reason: str = ""
    is_converged: bool = False
    n_steps: int = 0
    energy_per_atom: float = NAN
    initial_energy_per_atom: float = NAN
    max_force: float = NAN
    cell: Cell | None = None
    seconds: float = NAN
    volume_change: float = NAN

    def to_record(self) -> dict[str, Any]:
        """All of it in JSON types, exactly; NaN is null."""
        record: dict[str, Any] = {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in vars(self).items()
        }
        if self.cell is not None:
            record["cell"] = {name: value.tolist() for name, value in vars(self.cell).items()}
        return record

    def fail(self, status: str, reason: str) -> None:
        """End here, without a structure."""
        self.status, self.reason = status, reason
        self.energy_per_atom, self.cell = NAN, None

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> "Relaxed":
        """Inverse of `to_record`; keys of others are left alone."""
        values = {name: record[name] for name in cls.__dataclass_fields__}
        cell = values.pop("cell")
        values = {name: NAN if value is None else value for name, value in values.items()}
        if cell is not None:
            coords = np.array(cell["fractional_coords"]).reshape(-1, 3)
            numbers = np.array(cell["atomic_numbers"], dtype=np.int64)
            cell = Cell(np.array(cell["lattice_matrix"]), numbers, coords)
        return cls(**values, cell=cell)


def relax(
    cells: Sequence[Cell | Crystal],
    potential: Potential,
    config: RelaxationConfig | None = None,
) -> list[Relaxed]:
    """Relax crystals side by side: in each step one call for all that have not arrived.

    Everything happens in the primitive cell. A crystal that cannot be relaxed is a row with a
    status.

    Args:
        cells: cells, or crystals with a structure.
        potential: gives energies, forces and stresses.
        config: when to stop; None takes the defaults.

    Returns:
        One row for each crystal, in their order.

    Source: Larsen et al. 2017 (ASE): FIRE and FrechetCellFilter; ours: the guards.
    """
    config = config or RelaxationConfig()
    rows, starts = [Relaxed("ok", seconds=0.0) for _ in cells], {}
    for place, (origin, row) in enumerate(zip(cells, rows, strict=True)):
        begin = time.process_time()
        try:
            starts[place] = _start(origin, config)
        except ValueError as error:
            row.fail("invalid_geometry", str(error))
        row.seconds = time.process_time() - begin
    if starts:
        _descend([rows[place] for place in starts], list(starts.values()), potential, config)
    return rows


def relax_all(
    cells: Sequence[Cell | Crystal],
    config: RelaxationConfig | None = None,
    *,
    judge: Judge | None = None,
    workers: int = 1,
    time_limit: float = 900.0,
) -> Iterator[tuple[int, Relaxed]]:
    """Relax crystals and yield them as they are done.

    Args:
        cells: cells, or crystals with a structure.
        config: when to stop; None takes the defaults.
        judge: whose potential moves them; None takes CHGNet 0.3.0. On an accelerator it takes
            batches, which are halved where memory ends.
        workers: processes of one thread each; on an accelerator there is this one process.
        time_limit: seconds of wall time for one crystal; on an accelerator steps alone limit it.

    Yields:
        Place in `cells` and the row.

    Raises:
        ValueError: fewer than one worker, or no time.
    """
    if workers < 1 or not time_limit > 0:
        raise ValueError(f"workers {workers} and time_limit {time_limit} must be positive")
    config, judge = config or RelaxationConfig(), judge or chgnet_judge()
    if judge.device == "cpu":
        alone = partial(_relax_alone, config, judge.make)
        outcomes = run_killable(alone, cells, workers=workers, time_limit=time_limit)
        for outcome in outcomes:
            status = outcome.status or "relaxation_diverged"
            yield outcome.index, outcome.value or Relaxed(status, outcome.reason)
        return
    potential = judge.make()
    for start in range(0, len(cells), CRYSTALS_AT_ONCE):
        some = cells[start : start + CRYSTALS_AT_ONCE]
        yield from enumerate(_relax_halving(some, potential, config), start=start)


def _relax_alone(
    config: RelaxationConfig, make: Callable[[], Potential], cell: Cell | Crystal
) -> Relaxed:
    return relax([cell], own_potential(make), config)[0]


def _relax_halving(
    cells: Sequence[Cell | Crystal], potential: Potential, config: RelaxationConfig
) -> list[Relaxed]:
    try:
        return relax(cells, potential, config)
    except RuntimeError as error:  # whatever it is, it is one crystal's, and not the others'
        if len(cells) == 1:
            status = "out_of_memory" if is_out_of_memory(error) else "relaxation_diverged"
            return [Relaxed(status, str(error).split("\n")[0])]
    torch.cuda.empty_cache()
    half = len(cells) // 2
    parts = cells[:half], cells[half:]
    return [row for part in parts for row in _relax_halving(part, potential, config)]


@dataclass(frozen=True, eq=False)
class _Start:
    """A cell worth a call, and what keeps its space group, if anything shall."""

    cell: Cell
    symmetriser: Symmetriser | None = None


def _start(origin: Cell | Crystal, config: RelaxationConfig) -> _Start:
    """The primitive cell of a crystal; raises where it is not worth a call."""
    crystal = origin if isinstance(origin, Crystal) else None
    if crystal is not None and not crystal.has_structure:
        raise ValueError(crystal.reason)
    cell = Cell.of(origin, primitive=True) if isinstance(origin, Crystal) else origin
    _check_geometry(cell)
    if not config.keeps_space_group:
        return _Start(cell.primitive())
    cell = cell.primitive() if crystal is None else cell
    symmetriser = Symmetriser.of(cell, crystal)
    return _Start(symmetriser.cell(cell), symmetriser)


def _check_geometry(cell: Cell) -> None:
    """Raise where a cell cannot be that of a crystal."""
    if not len(cell):
        raise ValueError("no atoms")
    if not (np.isfinite(cell.lattice_matrix).all() and np.isfinite(cell.fractional_coords).all()):
        raise ValueError("numbers that are not finite")
    low, high = VOLUME_PER_ATOM
    volume = cell.volume / len(cell)
    if not low <= volume <= high:
        raise ValueError(f"{volume:.3g} cubic angstrom per atom, not {low:g} to {high:g}")
    distance = closest_contacts(cell)[0]
    if not distance >= MINIMUM_DISTANCE:
        raise ValueError(f"atoms {distance:.3f} angstrom apart, less than {MINIMUM_DISTANCE:g}")


def _descend(
    rows: Sequence[Relaxed],
    starts: Sequence[_Start],
    potential: Potential,
    config: RelaxationConfig,
) -> None:
    """Walk downhill and write into the rows what comes of it."""
    descent = Descent([start.cell for start in starts])
    going, step = np.arange(len(rows)), 0
    while len(going):
        begin, charged = time.process_time(), going
        going, points = _look(rows, starts, descent, going, potential)
        if len(going):
            forces = descent.forces(going, points)
            largest = descent.largest(forces)
            for crystal in going.tolist():
                rows[crystal].max_force = float(largest[crystal])
                rows[crystal].is_converged = bool(largest[crystal] < config.fmax)
                rows[crystal].n_steps = step
            going = going[largest[going] >= config.fmax] if step < config.max_steps else going[:0]
            descent.step(forces, going)
        step += 1
        share = (time.process_time() - begin) / len(charged)
        for crystal in charged.tolist():
            rows[crystal].seconds += share


def _look(
    rows: Sequence[Relaxed],
    starts: Sequence[_Start],
    descent: Descent,
    going: np.ndarray,
    potential: Potential,
) -> tuple[np.ndarray, list[SinglePoint]]:
    """Points of the crystals that go on, after those that burst, failed or blew up have left."""
    change = descent.volume_change()
    low, high = VOLUME_CHANGE
    for crystal in going[~((change[going] >= low) & (change[going] <= high))]:
        rows[crystal].fail("relaxation_diverged", f"the volume times {change[crystal]:.3g}")
    going = np.array([crystal for crystal in going if rows[crystal].status == "ok"], dtype=int)
    cells = descent.cells(going)
    still, points = [], []
    for crystal, cell, point in zip(going, cells, _points(potential, cells), strict=True):
        row, is_first = rows[crystal], rows[crystal].cell is None
        if isinstance(point, ValueError):
            row.fail("invalid_geometry" if is_first else "relaxation_diverged", str(point))
        elif reason := _blown_up(point):
            row.fail("relaxation_diverged", reason)
        else:
            row.cell, row.energy_per_atom = cell, point.energy_per_atom
            row.volume_change = float(change[crystal])
            row.initial_energy_per_atom = (
                point.energy_per_atom if is_first else row.initial_energy_per_atom
            )
            symmetriser = starts[crystal].symmetriser
            still.append(crystal)
            points.append(
                point if symmetriser is None else symmetriser.point(point, cell.lattice_matrix)
            )
    return np.array(still, dtype=int), points


def _points(potential: Potential, cells: Sequence[Cell]) -> Sequence[SinglePoint | ValueError]:
    """A point or an error for each cell: one that is refused does not take the others along."""
    try:
        return potential(cells) if cells else []
    except ValueError as error:
        if len(cells) == 1:
            return [error]
    return [found for cell in cells for found in _points(potential, [cell])]


def _blown_up(point: SinglePoint) -> str:
    total = point.energy_per_atom + point.forces.sum() + point.stress.sum()
    if not np.isfinite(total):
        return "energy, force or stress is not finite"
    largest = float(np.abs(point.forces).max())
    return f"a force of {largest:.3g} eV/angstrom" if largest > MAX_FORCE else ""
