"""Measure relaxation with CHGNet beside ASE: the same numbers, in less time.

    python -m scripts.evaluation.relaxation single_point  energies and forces of real crystals
    python -m scripts.evaluation.relaxation energy     where rattled crystals end
    python -m scripts.evaluation.relaxation speed      the same work, by ASE and by `relax_all`
    python -m scripts.evaluation.relaxation all        one after the other (15 minutes on two cores)

Crystals come from MP-20's validation split, chosen by the seed; `speed` takes some more from
the folder of a run (10,000 of the default preset), where there is one. Claims go into
`results/evaluation.json` as soon as they are measured; `--dry-run` prints them only.
"""

import argparse
import contextlib
import io
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from symmbfn.benchmark.timing import one_thread
from symmbfn.claims.store import Claim, record
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.records import read_crystals
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import cache_folder
from symmbfn.evaluation.energies.potentials import AsePotential, Chgnet
from symmbfn.evaluation.energies.relaxation import RelaxationConfig, Relaxed, relax, relax_all

N_COMPARED, N_TIMED = 50, 300  # enough that the start of processes is a small part
N_GENERATED = 40  # these take many more steps
RATTLE = 0.05  # angstrom, standard deviation along each axis
SHARP_FMAX, MAX_STEPS = 0.02, 500
CLOSE_MEV = 2.0
WORKERS = 2
TIME_LIMIT = 900.0


@dataclass(frozen=True)
class Arrival:
    """Where ASE brought a crystal.

    Args:
        energy_per_atom: eV.
        n_steps: of FIRE.
        max_force: the longest row, eV/angstrom.
    """

    energy_per_atom: float
    n_steps: int
    max_force: float


def calculator() -> Any:
    """CHGNet 0.3.0 as its package offers it to ASE, without a word on the console."""
    from chgnet.model.dynamics import CHGNetCalculator

    with contextlib.redirect_stdout(io.StringIO()):
        return CHGNetCalculator(use_device="cpu")


def relax_with_ase(cell: Cell, calculator: Any, fmax: float) -> Arrival:
    """What a user does today: FIRE over a FrechetCellFilter, for the cell as it is given."""
    from ase.filters import FrechetCellFilter
    from ase.optimize import FIRE

    atoms = cell.to_ase()
    atoms.calc = calculator
    moving = FrechetCellFilter(atoms)
    optimiser = FIRE(moving, logfile=None)
    optimiser.run(fmax=fmax, steps=MAX_STEPS)
    energy = float(atoms.get_potential_energy()) / len(atoms)
    largest = float(np.linalg.norm(moving.get_forces(), axis=1).max())
    return Arrival(energy, int(optimiser.nsteps), largest)


def real_cells(n: int, seed: int, *, primitive: bool) -> list[Cell]:
    """Crystals of the validation split, as they were computed by others."""
    dataset = encode_dataset("mp_20", split="val")
    rows = np.random.default_rng(seed).choice(len(dataset), n, replace=False)
    crystals = reconstruct(dataset.batch(torch.as_tensor(rows), torch.float64))
    return [Cell.of(crystal, primitive=primitive) for crystal in crystals]


def rattled(cell: Cell, seed: int) -> Cell:
    """Atoms moved by normal steps."""
    steps = RATTLE * np.random.default_rng(seed).normal(size=(len(cell), 3))
    coords = cell.fractional_coords + steps @ np.linalg.inv(cell.lattice_matrix)
    return Cell(cell.lattice_matrix, cell.atomic_numbers, coords)


def single_point(seed: int, command: str, run: Path) -> Iterator[Claim]:
    """Largest differences of energy and force, on rattled crystals where no force is zero."""
    cells = [
        rattled(cell, i) for i, cell in enumerate(real_cells(N_COMPARED, seed, primitive=True))
    ]
    ours, theirs = Chgnet()(cells), AsePotential(calculator())(cells)
    pairs = list(zip(ours, theirs, strict=True))
    energy = max(1e3 * abs(a.energy_per_atom - b.energy_per_atom) for a, b in pairs)
    force = max(1e3 * float(np.abs(a.forces - b.forces).max()) for a, b in pairs)
    note = "largest difference from ASE with CHGNetCalculator; MP-20 val, atoms moved by 0.05 A"
    for name, value, unit, limit in (
        ("energy_mev", energy, "meV/atom", 0.1),
        ("force_mev", force, "meV/A", 1.0),
    ):
        yield Claim(
            f"relax.single_point.{name}",
            value,
            command,
            unit=unit,
            n=N_COMPARED,
            seed=seed,
            aim=f"at most {limit:g} {unit}",
            met=value <= limit,
            note=note,
        )


def energy(seed: int, command: str, run: Path) -> Iterator[Claim]:
    """Relaxed energies of rattled crystals, the same cells for both."""
    potential, theirs = Chgnet(), calculator()
    config = RelaxationConfig(fmax=SHARP_FMAX, max_steps=MAX_STEPS)
    differences, others = [], []
    for i, cell in enumerate(real_cells(N_COMPARED, seed, primitive=True)):
        start = rattled(cell, i)
        row = relax([start], potential, config)[0]
        arrival = relax_with_ase(start, theirs, SHARP_FMAX)
        difference = 1e3 * abs(row.energy_per_atom - arrival.energy_per_atom)
        differences.append(difference if row.status == "ok" else np.inf)
        if differences[-1] > CLOSE_MEV:
            others.append(
                f"{cell.formula} {difference:.1f} meV ({row.status}, {row.n_steps} steps to "
                f"{row.max_force:.3f} eV/A; ASE {arrival.n_steps} to {arrival.max_force:.3f})"
            )
    n_close = int(np.sum(np.array(differences) <= CLOSE_MEV))
    yield Claim(
        "relax.energy_difference_mev",
        float(np.median(differences)),
        command,
        unit="meV/atom",
        n=N_COMPARED,
        seed=seed,
        note=f"median against ASE FIRE + FrechetCellFilter at fmax {SHARP_FMAX:g} eV/A; MP-20 "
        f"val, atoms moved by {RATTLE:g} A; largest {max(differences):.3g}",
    )
    yield Claim(
        "relax.within_2mev",
        n_close,
        command,
        n=N_COMPARED,
        seed=seed,
        aim=">= 47 of 50",
        met=n_close >= 47,
        note="relaxed energies within 2 meV/atom of ASE's. The others: "
        + ("; ".join(others) or "none"),
    )


def speed(seed: int, command: str, run: Path) -> Iterator[Claim]:
    """Time of the same crystals with ASE, conventional cells one by one, and with `relax_all`."""
    cells = {"val": real_cells(N_TIMED, seed, primitive=False)}
    if run.is_dir():
        crystals = (crystal for crystal in read_crystals(run) if crystal.status == "ok")
        cells["generated"] = [Cell.of(crystal) for crystal in islice(crystals, N_GENERATED)]
    theirs, config = calculator(), RelaxationConfig()
    relax_with_ase(cells["val"][0], theirs, config.fmax)  # warm when the clock starts
    for name, some in cells.items():
        watch = _Stopwatch()
        # ASE before and after: a machine that others use changes meanwhile
        watch.ase(some[::2], theirs, config)
        rows = watch.ours(some, config)
        watch.ase(some[1::2], theirs, config)
        yield from _speed_claims(name, some, rows, watch, seed, command)


class _Stopwatch:
    """Seconds of both sides so far, on the wall and of the processor."""

    def __init__(self) -> None:
        self.ase_wall = self.ase_process = self.ours_wall = self.start_wall = 0.0
        self.ase_steps = 0

    def ase(self, cells: list[Cell], calculator: Any, config: RelaxationConfig) -> None:
        """Relax cells with ASE, one after the other."""
        begin, charged = time.perf_counter(), time.process_time()
        self.ase_steps += sum(relax_with_ase(x, calculator, config.fmax).n_steps for x in cells)
        self.ase_wall += time.perf_counter() - begin
        self.ase_process += time.process_time() - charged

    def ours(self, cells: list[Cell], config: RelaxationConfig) -> list[Relaxed]:
        """Relax cells in processes, after two have been started for next to no work."""
        trifles = [
            Cell(1e-3 * np.eye(3), cell.atomic_numbers, cell.fractional_coords)
            for cell in cells[:WORKERS]
        ]
        begin = time.perf_counter()
        list(relax_all(trifles, config, workers=WORKERS))
        started = time.perf_counter()
        rows = [row for _, row in relax_all(cells, config, workers=WORKERS, time_limit=TIME_LIMIT)]
        self.start_wall = started - begin
        self.ours_wall = time.perf_counter() - started
        return rows


def _speed_claims(
    name: str, cells: list[Cell], rows: list[Relaxed], watch: _Stopwatch, seed: int, command: str
) -> Iterator[Claim]:
    suffix = "" if name == "val" else f"_{name}"
    process = float(np.nansum([row.seconds for row in rows]))
    failed, steps = sum(row.status != "ok" for row in rows), sum(row.n_steps for row in rows)
    n_atoms = sum(map(len, cells)), sum(len(cell.primitive()) for cell in cells)
    ratio = watch.ase_wall / watch.ours_wall
    yield Claim(
        f"relax.speedup_vs_ase{suffix}",
        ratio,
        command,
        n=len(cells),
        seed=seed,
        aim=">= 3 on two cores",
        met=ratio >= 3,
        note=f"wall time on a machine that others use: ASE FIRE + FrechetCellFilter + "
        f"CHGNetCalculator on conventional cells ({n_atoms[0]} atoms, {watch.ase_steps} steps, "
        f"{watch.ase_wall:.0f} s), one process and one thread, over relax_all with {WORKERS} "
        f"processes on primitive cells ({n_atoms[1]} atoms, {steps} steps, {watch.ours_wall:.0f} "
        f"s, {failed} failed). Starting the processes and their libraries is included: "
        f"{watch.start_wall:.0f} s when measured alone",
    )
    yield Claim(
        f"relax.process_speedup_vs_ase{suffix}",
        watch.ase_process / process,
        command,
        n=len(cells),
        seed=seed,
        note=f"the same by process time of one core, start left out: {watch.ase_process:.1f} s "
        f"over {process:.1f} s; load by others hardly moves it",
    )


GROUPS = {"single_point": single_point, "energy": energy, "speed": speed}


def main() -> None:
    """Measure what the command line asks for."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="*", default=["all"], metavar="GROUP")
    parser.add_argument("--seed", type=int, default=0, help="of the choice of crystals")
    run = cache_folder() / "evaluation" / "default"
    parser.add_argument("--run", type=Path, default=run, help="generated crystals, for speed")
    parser.add_argument("--dry-run", action="store_true", help="record nothing")
    options = parser.parse_args()
    if unknown := {*options.group} - {*GROUPS, "all"}:
        parser.error(f"unknown {sorted(unknown)}; groups are {[*GROUPS, 'all']}")
    with one_thread():
        for group in GROUPS if "all" in options.group else options.group:
            command = f"python -m scripts.evaluation.relaxation {group} --seed {options.seed}"
            for claim in GROUPS[group](options.seed, command, options.run):
                judged = "" if claim.met is None else f"  {'met' if claim.met else 'FAILED'}"
                print(
                    f"{claim.name} = {claim.value} {claim.unit}{judged}  {claim.note}", flush=True
                )
                if not options.dry_run:
                    record("evaluation", [claim])


if __name__ == "__main__":
    main()
