"""Encoded datasets: flat tensors of asymmetric units, one safetensors and one JSON file on disk."""

import hashlib
import json
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.runtime.files import whole_file, write_whole

FORMAT = 1
_TENSORS = {
    "space_group_number": torch.int16,
    "site_start": torch.int32,
    "lattice_k": torch.float64,
    "atomic_numbers": torch.int16,
    "wyckoff_positions": torch.int8,
    "fractional_coords": torch.float32,
    "properties": torch.float32,
}


@dataclass(frozen=True)
class EncodedDataset:
    """The asymmetric units of a dataset, the sites of all crystals one after the other.

    Args:
        space_group_number: 1 to 230, shape (n,), int16.
        site_start: sites of crystal i are rows [site_start[i], site_start[i + 1]), int32.
        lattice_k: lattice coefficients, shape (n, 6), float64.
        atomic_numbers: shape (s,), int16.
        wyckoff_positions: index within the group, 0 is the general position, shape (s,), int8.
        fractional_coords: representatives in the chart [-0.06, 0.94), shape (s, 3), float32.
        properties: one column per name, NaN where not known, shape (n, p), float32.
        property_names: names of the columns.
        identifiers: names of the crystals.
        settings: dataset, split, form, symprec.
        digest: SHA-256 over the rows, the symmetry tables and the settings.
        failures: (row, identifier, reason) of every row that is not here.
        process_ms: mean processor time per structure in milliseconds.
    """

    space_group_number: Int[Tensor, "n"]
    site_start: Int[Tensor, "n_plus_1"]
    lattice_k: Float[Tensor, "n 6"]
    atomic_numbers: Int[Tensor, "s"]
    wyckoff_positions: Int[Tensor, "s"]
    fractional_coords: Float[Tensor, "s 3"]
    properties: Float[Tensor, "n p"]
    property_names: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    digest: str = ""
    failures: tuple[tuple[int, str, str], ...] = ()
    process_ms: float = float("nan")

    def __len__(self) -> int:
        return self.space_group_number.shape[0]

    @property
    def n_sites(self) -> Int[Tensor, "n"]:
        """Number of sites of each crystal, shape (n,), int64."""
        return self.site_start.long().diff()

    @cached_property
    def _sizes(self) -> Int[Tensor, "n"]:
        """`n_sites` on the host, where the padding of a batch is known without waiting."""
        return self.n_sites.cpu()

    def to(self, device: torch.device) -> "EncodedDataset":
        """The same crystals on a device, for `batch`, which then copies only the indices."""
        return replace(self, **{name: getattr(self, name).to(device) for name in _TENSORS})

    def batch(
        self, indices: Int[Tensor, "B"], dtype: torch.dtype = torch.float32
    ) -> AsymmetricUnitBatch:
        """Gather crystals, padded to the largest of them, on the device of the dataset.

        Args:
            indices: positions in this dataset, shape (B,), best on the host.
            dtype: of lattice and coordinates.
        """
        device = self.site_start.device
        column = torch.arange(int(self._sizes[indices.cpu()].max()), device=device)
        if device.type == "cuda" and indices.device.type == "cpu":
            indices = indices.pin_memory()  # or the copy would wait for all that is queued
        indices = indices.to(device, non_blocking=True)
        start, end = self.site_start[indices].long(), self.site_start[indices + 1].long()
        is_site = column < (end - start)[:, None]
        rows = torch.where(is_site, start[:, None] + column, 0)
        coords = self.fractional_coords[rows].to(dtype)
        return AsymmetricUnitBatch(
            space_group_number=self.space_group_number[indices].long(),
            lattice_k=self.lattice_k[indices].to(dtype),
            atomic_numbers=self.atomic_numbers[rows].long() * is_site,
            wyckoff_positions=self.wyckoff_positions[rows].long() * is_site,
            fractional_coords=torch.where(is_site[..., None], coords, 0.0),
            is_site=is_site,
        )

    def unit(self, index: int) -> AsymmetricUnit:
        """Return one crystal as it was encoded, coordinates to single precision."""
        sites = slice(int(self.site_start[index]), int(self.site_start[index + 1]))
        return AsymmetricUnit(
            space_group_number=int(self.space_group_number[index]),
            lattice_k=self.lattice_k[index].numpy(),
            atomic_numbers=self.atomic_numbers[sites].long().numpy(),
            wyckoff_positions=self.wyckoff_positions[sites].long().numpy(),
            fractional_coords=self.fractional_coords[sites].double().numpy(),
            identifier=self.identifiers[index] if self.identifiers else "",
        )

    def values_of(self, names: tuple[str, ...]) -> Float[Tensor, "n q"]:
        """Values of properties by name, NaN where not known; a dataset may lack them all."""
        columns = dict(zip(self.property_names, self.properties.unbind(-1), strict=True))
        unknown = torch.full_like(self.lattice_k[:, 0], torch.nan, dtype=torch.float32)
        values = [columns.get(name, unknown) for name in names]
        return torch.stack(values, dim=-1) if values else self.properties[:, :0]

    def derived(self, *what: Any, **changes: Any) -> "EncodedDataset":
        """Other crystals made of these, with a digest of their own.

        Args:
            what: how they were made, JSON types; part of the digest.
            changes: fields that differ.
        """
        text = json.dumps([self.digest, *what])
        return replace(self, **changes, digest=hashlib.sha256(text.encode()).hexdigest())

    def subset(self, rows: Int[Tensor, "m"]) -> "EncodedDataset":
        """Some of the crystals, in this order, repeats allowed, with a digest of their own.

        Args:
            rows: positions in this dataset, shape (m,).
        """
        n_sites = self.n_sites[rows]
        start = torch.cat([torch.zeros(1, dtype=torch.long), n_sites.cumsum(0)])
        shift = (self.site_start.long()[rows] - start[:-1]).repeat_interleave(n_sites)
        sites = torch.arange(int(start[-1])) + shift
        per_site = ("atomic_numbers", "wyckoff_positions", "fractional_coords")
        per_crystal = ("space_group_number", "lattice_k", "properties")
        return self.derived(
            rows.tolist(),
            **{name: getattr(self, name)[sites] for name in per_site},
            **{name: getattr(self, name)[rows] for name in per_crystal},
            site_start=start.to(self.site_start.dtype),
            identifiers=tuple(self.identifiers[row] for row in rows.tolist()),
        )

    def followed_by(self, other: "EncodedDataset") -> "EncodedDataset":
        """These crystals and then those of another dataset, with a digest of their own.

        Args:
            other: its properties are taken by name, those that it lacks are not known.
        """
        start = other.site_start[1:] + self.site_start[-1]
        per_site = ("atomic_numbers", "wyckoff_positions", "fractional_coords")
        both = {
            name: torch.cat([getattr(self, name), getattr(other, name)])
            for name in (*per_site, "space_group_number", "lattice_k")
        }
        return self.derived(
            other.digest,
            **both,
            site_start=torch.cat([self.site_start, start]),
            properties=torch.cat([self.properties, other.values_of(self.property_names)]),
            identifiers=self.identifiers + other.identifiers,
        )

    def save(self, path: str | Path) -> Path:
        """Write `path` (.safetensors) and beside it the same name with .json.

        Returns:
            The path of the tensors.
        """
        from safetensors.torch import save_file

        path = Path(path).with_suffix(".safetensors")
        tensors = {name: getattr(self, name).contiguous() for name in _TENSORS}
        with whole_file(path) as part:
            save_file(tensors, part, metadata={"digest": self.digest, "format": str(FORMAT)})
        facts = {
            "format": FORMAT,
            "digest": self.digest,
            "settings": self.settings,
            "n_crystals": len(self),
            "process_ms": None if self.process_ms != self.process_ms else self.process_ms,
            "versions": {
                name: version(name) for name in ("symmbfn", "gemmi", "pymatgen", "spglib")
            },
            "property_names": self.property_names,
            "failures": self.failures,
            "identifiers": self.identifiers,
        }
        write_whole(path.with_suffix(".json"), json.dumps(facts, indent=1) + "\n")
        return path

    @classmethod
    def load(cls, path: str | Path) -> "EncodedDataset":
        """Read what `save` wrote.

        Raises:
            ValueError: a file is missing, damaged, of another format, or not the other's twin.
        """
        from safetensors import SafetensorError, safe_open

        path = Path(path).with_suffix(".safetensors")
        try:
            facts = json.loads(path.with_suffix(".json").read_text())
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in _TENSORS}
        except (OSError, SafetensorError, json.JSONDecodeError) as error:
            raise ValueError(f"{path} is no encoded dataset: {error}") from None
        if facts.get("format") != FORMAT:
            raise ValueError(
                f"{path} has format {facts.get('format')}, this version reads {FORMAT}"
            )
        if header.get("digest") != facts["digest"]:
            raise ValueError(f"{path} and its .json do not belong together")
        return cls(
            **tensors,
            property_names=tuple(facts["property_names"]),
            identifiers=tuple(facts["identifiers"]),
            settings=facts["settings"],
            digest=facts["digest"],
            failures=tuple((row, name, reason) for row, name, reason in facts["failures"]),
            process_ms=float("nan") if facts["process_ms"] is None else facts["process_ms"],
        )


def flat(units: list[AsymmetricUnit]) -> dict[str, Tensor]:
    """Tensors of an `EncodedDataset`, by name: the sites of all units one after the other."""

    def joined(name: str, shape: tuple[int, ...]) -> Tensor:
        arrays = [torch.as_tensor(getattr(unit, name)) for unit in units]
        return (torch.cat(arrays) if arrays else torch.empty(shape)).to(_TENSORS[name])

    sizes = torch.tensor([0, *(len(unit) for unit in units)])
    lattices = [torch.as_tensor(unit.lattice_k) for unit in units]
    return {
        "space_group_number": torch.tensor(
            [unit.space_group_number for unit in units], dtype=torch.int16
        ),
        "site_start": sizes.cumsum(0).to(torch.int32),
        "lattice_k": torch.stack(lattices).double() if lattices else torch.empty((0, 6)).double(),
        "atomic_numbers": joined("atomic_numbers", (0,)),
        "wyckoff_positions": joined("wyckoff_positions", (0,)),
        "fractional_coords": joined("fractional_coords", (0, 3)),
    }
