"""The conventional cell that the crystals of a request should have."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from symmbfn.conditions.sites import is_file, unit_of
from symmbfn.crystals.lattice import (
    constrain_k,
    is_plausible_lattice,
    k_to_parameters,
    metric_to_k,
    parameters_to_metric,
)
from symmbfn.runtime.checks import real_number, shown

SAME_EDGE, SAME_ANGLE = 1e-3, 0.05  # relative, and degrees: a lattice as its family has it


def cell_of(value: Any) -> tuple[float, float, float, float, float, float]:
    """Six cell parameters: a, b, c in angstrom, alpha, beta, gamma in degrees.

    Args:
        value: six numbers, or a text of them; of the path of a CIF, or a crystal as in
            `template_of`, the conventional cell is taken.

    Raises:
        ValueError: no six numbers, or no cell.
    """
    numbers = value
    if isinstance(value, str) and not is_file(value):
        numbers = [_number(part) for part in re.split(r"[,\s]+", value.strip()) if part]
    elif isinstance(value, str | Path) or _is_crystal(value):
        unit = unit_of("lattice", value)
        k = torch.as_tensor(unit.lattice_k)
        numbers = k_to_parameters(k, unit.space_group_number).tolist()
    try:
        a, b, c, alpha, beta, gamma = (real_number("lattice", x) for x in numbers)
    except (TypeError, ValueError):
        raise ValueError(
            f"lattice must be six numbers a, b, c, alpha, beta, gamma, got {shown(value)}"
        ) from None
    found = a, b, c, alpha, beta, gamma
    if min(found[:3]) <= 0 or not all(0 < angle < 180 for angle in found[3:]):
        raise ValueError(f"lattice {found} is no cell")
    if not torch.linalg.det(parameters_to_metric(torch.tensor(found, dtype=torch.float64))) > 0:
        raise ValueError(f"lattice {found} has no volume")
    if not is_plausible_lattice(lattice_k_of(found), 1):
        raise ValueError(f"lattice {found} is outside the bounds of real crystals")
    return found


def lattice_k_of(cell: Sequence[float]) -> torch.Tensor:
    """Lattice coefficients of six cell parameters, shape (6,), float64."""
    return metric_to_k(parameters_to_metric(torch.tensor(cell, dtype=torch.float64)))


def groups_of_cell(cell: Sequence[float]) -> tuple[int, ...]:
    """Space groups whose crystal family a conventional cell belongs to, to 0.1 % and 0.05 degrees.

    Args:
        cell: of `cell_of`.
    """
    groups = torch.arange(1, 231)
    wanted = torch.tensor(cell, dtype=torch.float64)
    k = lattice_k_of(cell).expand(230, 6)
    ideal = k_to_parameters(constrain_k(k, groups), groups)
    edges = ((ideal - wanted)[:, :3] / wanted[:3]).abs().amax(-1)
    angles = (ideal - wanted)[:, 3:].abs().amax(-1)
    return tuple(groups[(edges < SAME_EDGE) & (angles < SAME_ANGLE)].tolist())


def _is_crystal(value: Any) -> bool:
    """Whether it is a crystal, or a record of one, of this package, pymatgen or ASE."""
    return any(hasattr(value, name) for name in ("lattice_k", "unit", "frac_coords", "symbols"))


def _number(text: str) -> float:
    """A number as it is written, NaN for what is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan
