"""A crystal as its asymmetric unit: one site per orbit, and batches of such crystals."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch

from symmbfn._shapes import Bool, Float, Int, Tensor

FORMS = ("canonical", "raw")
REPRESENTATIVES = ("locus", "centre")
CHART_END = 0.94  # between 11/12 and 23/24, where no special position sits
SNAP_GRID = 24
SNAP_TOLERANCE = 1e-4


def to_chart(
    fractional_coords: Float[np.ndarray, "*batch 3"], tolerance: float = SNAP_TOLERANCE
) -> Float[np.ndarray, "*batch 3"]:
    """Map coordinates into the chart [-0.06, 0.94), and those near m / 24 to m / 24 exactly.

    Args:
        fractional_coords: any finite numbers, shape (..., 3).
        tolerance: largest distance from m / 24 that is removed, fractional.

    Returns:
        Coordinates in the chart, shape (..., 3).

    Source: book, method-chart.
    """
    grid_point = np.rint(fractional_coords * SNAP_GRID) / SNAP_GRID
    is_near = np.abs(fractional_coords - grid_point) < tolerance
    snapped = np.where(is_near, grid_point, fractional_coords)
    shifted = snapped - np.floor(snapped - (CHART_END - 1))
    # subtracting a whole number leaves a rounding error on the grid points
    return np.where(is_near, np.rint(shifted * SNAP_GRID) / SNAP_GRID, shifted)


@dataclass(frozen=True)
class AsymmetricUnit:
    """One crystal: its space group, its lattice and one representative site per orbit.

    Args:
        space_group_number: 1 to 230.
        lattice_k: coefficients of the conventional cell's lattice, shape (6,).
        atomic_numbers: element of each site, shape (D,).
        wyckoff_positions: index within the group, 0 is the general position, shape (D,).
        fractional_coords: representatives in the chart [-0.06, 0.94), shape (D, 3).
        identifier: name of the crystal.
    """

    space_group_number: int
    lattice_k: Float[np.ndarray, "6"]
    atomic_numbers: Int[np.ndarray, "D"]
    wyckoff_positions: Int[np.ndarray, "D"]
    fractional_coords: Float[np.ndarray, "D 3"]
    identifier: str = ""

    def __len__(self) -> int:
        return len(self.atomic_numbers)


@dataclass(frozen=True)
class AsymmetricUnitBatch:
    """Crystals of different sizes, padded to N sites.

    Args:
        space_group_number: 1 to 230, shape (B,), int64.
        lattice_k: lattice coefficients, shape (B, 6).
        atomic_numbers: 0 is padding, shape (B, N), int64.
        wyckoff_positions: index within the group, 0 on padding, shape (B, N), int64.
        fractional_coords: 0 on padding, shape (B, N, 3).
        is_site: False on padding, shape (B, N).
    """

    space_group_number: Int[Tensor, "B"]
    lattice_k: Float[Tensor, "B 6"]
    atomic_numbers: Int[Tensor, "B N"]
    wyckoff_positions: Int[Tensor, "B N"]
    fractional_coords: Float[Tensor, "B N 3"]
    is_site: Bool[Tensor, "B N"]

    @classmethod
    def stack(
        cls, units: Sequence[AsymmetricUnit], dtype: torch.dtype = torch.float64
    ) -> "AsymmetricUnitBatch":
        """Join crystals to a batch, padded to the largest of them.

        Args:
            units: B crystals, at least one.
            dtype: of lattice and coordinates.

        Returns:
            A batch on the CPU.

        Raises:
            ValueError: there are no units.
        """
        if not units:
            raise ValueError("no asymmetric units to stack")
        n_sites = max(len(unit) for unit in units)
        shape = (len(units), n_sites)
        atomic_numbers = torch.zeros(shape, dtype=torch.int64)
        wyckoff_positions = torch.zeros(shape, dtype=torch.int64)
        fractional_coords = torch.zeros((*shape, 3), dtype=dtype)
        for row, unit in enumerate(units):
            sites = slice(0, len(unit))
            atomic_numbers[row, sites] = torch.from_numpy(np.asarray(unit.atomic_numbers))
            wyckoff_positions[row, sites] = torch.from_numpy(np.asarray(unit.wyckoff_positions))
            fractional_coords[row, sites] = torch.tensor(unit.fractional_coords, dtype=dtype)
        sizes = torch.tensor([len(unit) for unit in units])
        return cls(
            space_group_number=torch.tensor([unit.space_group_number for unit in units]),
            lattice_k=torch.tensor(np.stack([unit.lattice_k for unit in units]), dtype=dtype),
            atomic_numbers=atomic_numbers,
            wyckoff_positions=wyckoff_positions,
            fractional_coords=fractional_coords,
            is_site=torch.arange(n_sites) < sizes[:, None],
        )

    def unstack(self, identifiers: Sequence[str] | None = None) -> list[AsymmetricUnit]:
        """Split the batch into its crystals, without padding, as NumPy arrays.

        Args:
            identifiers: name of each crystal; None leaves the names empty.

        Returns:
            B crystals, in order.
        """
        names = [""] * len(self) if identifiers is None else identifiers
        lattice_k = self.lattice_k.detach().cpu().double().numpy()
        columns = [
            values.detach().cpu().numpy()
            for values in (
                self.atomic_numbers,
                self.wyckoff_positions,
                self.fractional_coords.double(),
                self.is_site,
            )
        ]
        return [
            AsymmetricUnit(
                space_group_number=int(number),
                lattice_k=lattice_k[row],
                atomic_numbers=columns[0][row, mask],
                wyckoff_positions=columns[1][row, mask],
                fractional_coords=columns[2][row, mask],
                identifier=names[row],
            )
            for row, (number, mask) in enumerate(
                zip(self.space_group_number.tolist(), columns[3], strict=True)
            )
        ]

    def __getitem__(
        self, rows: slice | Int[Tensor, "n"] | Bool[Tensor, "B"]
    ) -> "AsymmetricUnitBatch":
        """Return the chosen crystals, padded no further than the largest of them."""
        occupied_columns = self.is_site[rows].any(0).nonzero()
        width = int(occupied_columns[-1]) + 1 if len(occupied_columns) else 0
        chosen = [getattr(self, field.name)[rows] for field in fields(self)]
        return type(self)(*chosen[:2], *(values[:, :width] for values in chosen[2:]))

    def __len__(self) -> int:
        return self.space_group_number.shape[0]

    @property
    def n_sites(self) -> Int[Tensor, "B"]:
        """Number of sites of each crystal, shape (B,)."""
        return self.is_site.sum(-1)

    @property
    def device(self) -> torch.device:
        """The device that holds the batch."""
        return self.lattice_k.device

    def to(self, device: torch.device | str, non_blocking: bool = False) -> "AsymmetricUnitBatch":
        """Move every tensor to a device.

        Args:
            device: where to.
            non_blocking: do not wait for the copy, as in `torch.Tensor.to`.

        Returns:
            A batch on the device.
        """
        values = (getattr(self, field.name) for field in fields(self))
        return type(self)(*(value.to(device, non_blocking=non_blocking) for value in values))
