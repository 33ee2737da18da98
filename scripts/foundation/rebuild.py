"""Time the reconstruction of crystals, beside a loop of PyXtal's closest-position search.

Encoded crystals, the embedded prototypes by default, are disturbed by Gaussian noise on
their coordinates. Ours: `reconstruct` on a batch, from letter probabilities or from one-hot
axis symbols to finished records, guards and all. PyXtal: for every site the search over every
operation of every position that shares the site symmetry, and nothing else. Both run on one
thread, in turns, and are charged by process time.

Run: python -m scripts.foundation.rebuild [--dataset mp_20 --split val]
"""

import argparse
import json
import time
import warnings
from dataclasses import replace
from functools import cache
from statistics import median
from typing import Any

import numpy as np
import torch

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import (
    MAX_POSITIONS,
    N_AXIS_CLASSES,
    positions_of,
    symmetry_tables,
)


def rebuild_benchmark(
    batch: AsymmetricUnitBatch,
    *,
    noise: float = 0.025,
    repeats: int = 5,
    n_pyxtal: int = 200,
    seed: int = 0,
) -> dict[str, float]:
    """Return milliseconds of process time per crystal and the speedup over PyXtal.

    Args:
        batch: true crystals; all of them are rebuilt at once.
        noise: standard deviation added to the fractional coordinates.
        repeats: alternations of the two; PyXtal sees `n_pyxtal / repeats` new crystals in each.
        n_pyxtal: crystals that PyXtal processes.
        seed: of the noise and of the choice of crystals for PyXtal.

    Returns:
        `ms_per_crystal` (median over repeats, from letters), `ms_per_crystal_axes` (the same
        from axis symbols), `pyxtal_ms_per_crystal` (mean over its crystals),
        `speedup_vs_pyxtal` (from axis symbols, the task PyXtal gets), `letters_kept` and
        `ok` (shares, from letters), `n`, `n_pyxtal`.
    """
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return _alternate(batch, noise, repeats, n_pyxtal, seed)
    finally:
        torch.set_num_threads(n_threads)


def _alternate(
    batch: AsymmetricUnitBatch, noise: float, repeats: int, n_pyxtal: int, seed: int
) -> dict[str, float]:
    generator = torch.Generator().manual_seed(seed)
    offsets = noise * torch.randn(batch.fractional_coords.shape, generator=generator)
    coords = batch.fractional_coords.double() + offsets.double() * batch.is_site.unsqueeze(-1)
    noisy = replace(batch, fractional_coords=coords)
    letters, axes = letter_log_probs(batch), axis_log_probs(batch)
    chosen = torch.randperm(len(batch), generator=generator)[:n_pyxtal]
    parts = [noisy[rows].unstack() for rows in chosen.tensor_split(repeats) if len(rows)]
    for unit in (unit for part in parts for unit in part):
        pyxtal_group(unit.space_group_number)  # built once, and not charged

    rebuilt = reconstruct(noisy, wyckoff_log_probs=letters)
    reconstruct(noisy, axis_log_probs=axes)
    from_letters, from_axes, from_pyxtal = [], [], 0.0
    for part in parts:
        from_letters.append(_process_ms(lambda: reconstruct(noisy, wyckoff_log_probs=letters)))
        from_axes.append(_process_ms(lambda: reconstruct(noisy, axis_log_probs=axes)))
        from_pyxtal += _process_ms(lambda part=part: [pyxtal_search(unit) for unit in part])
    kept = [
        crystal.unit is not None
        and np.array_equal(crystal.unit.wyckoff_positions, unit.wyckoff_positions)
        for crystal, unit in zip(rebuilt, batch.unstack(), strict=True)
    ]
    ms_axes = median(from_axes) / len(batch)
    ms_pyxtal = from_pyxtal / len(chosen)
    return {
        "ms_per_crystal": median(from_letters) / len(batch),
        "ms_per_crystal_axes": ms_axes,
        "pyxtal_ms_per_crystal": ms_pyxtal,
        "speedup_vs_pyxtal": ms_pyxtal / ms_axes,
        "letters_kept": float(np.mean(kept)),
        "ok": float(np.mean([crystal.status == "ok" for crystal in rebuilt])),
        "n": len(batch),
        "n_pyxtal": len(chosen),
    }


def _process_ms(action: Any) -> float:
    start = time.process_time()
    action()
    return 1e3 * (time.process_time() - start)


def letter_log_probs(batch: AsymmetricUnitBatch, confidence: float = 0.9) -> torch.Tensor:
    """Log P that gives `confidence` to the true position and the rest evenly to the others."""
    starts = torch.tensor(symmetry_tables().position_start.astype(np.int64))
    n_positions = (starts[1:] - starts[:-1])[batch.space_group_number - 1][:, None, None]
    others = ((1 - confidence) / (n_positions - 1).clamp(min=1)).double().log()
    log_probs = others.expand(*batch.is_site.shape, MAX_POSITIONS).clone()
    log_probs[torch.arange(MAX_POSITIONS).expand_as(log_probs) >= n_positions] = -torch.inf
    return log_probs.scatter(-1, batch.wyckoff_positions.unsqueeze(-1), np.log(confidence))


def axis_log_probs(batch: AsymmetricUnitBatch) -> torch.Tensor:
    """Log of the one-hot site symmetry of the true positions, (B, N, 15, 13)."""
    encoding = torch.tensor(symmetry_tables().encoding.astype(np.int64))
    classes = encoding[position_row(batch.space_group_number[:, None], batch.wyckoff_positions)]
    return torch.nn.functional.one_hot(classes, N_AXIS_CLASSES).double().log()


@cache
def pyxtal_group(space_group_number: int) -> Any:
    """PyXtal's group, its positions read."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pyxtal.symmetry import Group

        group = Group(space_group_number)
        for position in group:
            _ = position.ops
    return group


def pyxtal_search(unit: AsymmetricUnit) -> list[np.ndarray]:
    """Return PyXtal's closest point of every site, over all operations of tied positions."""
    from pyxtal.symmetry import search_cloest_wp

    group = pyxtal_group(unit.space_group_number)
    encoding = symmetry_tables().encoding[positions_of(unit.space_group_number)]
    found = []
    for position, xyz in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
        tied = np.flatnonzero((encoding == encoding[position]).all(-1))
        points = [
            search_cloest_wp(group, group[int(index)], operation, xyz)
            for index in tied
            for operation in group[int(index)].ops
        ]
        misses = np.array(points) - xyz
        found.append(points[np.linalg.norm(misses - np.rint(misses), axis=-1).argmin()])
    return found


def main() -> None:
    """Print the numbers for one dataset as JSON."""
    from symmbfn.datasets.encoding import encode_dataset
    from symmbfn.datasets.registry import PROTOTYPES

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", default=PROTOTYPES)
    parser.add_argument("--split", help="of a dataset that has several")
    parser.add_argument("--n", type=int, default=1000)
    parser.add_argument("--n-pyxtal", type=int, default=200)
    parser.add_argument("--noise", type=float, default=0.025)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    dataset = encode_dataset(arguments.dataset, split=arguments.split)
    generator = torch.Generator().manual_seed(arguments.seed)
    rows = torch.randperm(len(dataset), generator=generator)[: arguments.n]
    figures = rebuild_benchmark(
        dataset.batch(rows, dtype=torch.float64),
        noise=arguments.noise,
        n_pyxtal=arguments.n_pyxtal,
        seed=arguments.seed,
    )
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
