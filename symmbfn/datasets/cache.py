"""Encoded datasets: flat tensors of asymmetric units, one safetensors and one JSON file on disk."""

import csv
import hashlib
import io
import json
import os
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import (
    FORMS,
    REPRESENTATIVES,
    AsymmetricUnit,
    AsymmetricUnitBatch,
)
from symmbfn.runtime.checks import one_of, real_number
from symmbfn.runtime.files import locked, whole_file, write_whole
from symmbfn.runtime.workers import LOST, Outcome, n_cores

if TYPE_CHECKING:
    import pandas

FORMAT = 1
# part of the digest: raise it when `asymmetric_unit` gives something else for the same input
ENCODER = 3
FAILURES = "failures.csv"
# how reasons begin that lie with the machine or its time limit, not with the crystal
PASSING = ("timeout", LOST, "MemoryError")
FAILURE_COLUMNS = ("dataset", "row", "material_id", "reason")
_TENSORS = {
    "space_group_number": torch.int16,
    "site_start": torch.int32,
    "lattice_k": torch.float64,
    "atomic_numbers": torch.int16,
    "wyckoff_positions": torch.int8,
    "fractional_coords": torch.float32,
    "properties": torch.float32,
}


class TooManyFailuresError(ValueError):
    """More rows could not be encoded than the caller allows; what could be is on the disk.

    All rows are always too many.
    """


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
        settings: dataset, split, form, representative, symprec.
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


def encode_dataset(
    name_or_path: str | Path,
    *,
    split: str | None = None,
    form: str = "canonical",
    representative: str = "locus",
    symprec: float | None = None,
    workers: int | None = None,
    cache_dir: str | Path | None = None,
    max_failures: int | None = None,
    time_limit: float = 60.0,
) -> EncodedDataset:
    """Encode every crystal of a dataset on all cores, or read what was encoded before.

    The tensors go to `<cache_dir>/<name>-<split>-<digest>.safetensors`; rows that could not be
    encoded go to `failures.csv` beside it, with the reason, and are left out. Rows that took too
    long, or lost their process or its memory, are tried again at the next call.

    Args:
        name_or_path: see `load_dataset`.
        split: a split of a named dataset.
        form: "canonical" takes one of the equivalent origins and axes by rule, "raw" the one
            that came.
        representative: "locus" takes the site on the first listed locus, "centre" the site
            nearest to the middle of the cell.
        symprec: symmetry tolerance in angstrom; None takes the dataset's own.
        workers: processes; None takes one per core.
        cache_dir: None takes `cache_folder()/encoded`.
        max_failures: None allows all but one.
        time_limit: seconds of wall time for one structure.

    Raises:
        ValueError: an argument out of range, or a dataset without rows.
        TooManyFailuresError: more than `max_failures` rows could not be encoded, or all of
            them; raised when all files are written.
    """
    from symmbfn.datasets.registry import (
        cache_folder,
        dataset_label,
        dataset_symprec,
        load_dataset,
        property_columns,
    )

    symprec = dataset_symprec(name_or_path) if symprec is None else symprec
    workers = n_cores() if workers is None else workers
    one_of("form", form, FORMS)
    one_of("representative", representative, REPRESENTATIVES)
    symprec = real_number("symprec", symprec, above=0.0)
    _check(workers >= 1, f"workers must be at least 1, got {workers}")
    _check(time_limit > 0, f"time_limit must be positive, got {time_limit}")
    table = load_dataset(name_or_path, split, workers=workers)
    _check(len(table) > 0, f"{name_or_path} has no rows")
    folder = Path(cache_dir) if cache_dir is not None else cache_folder() / "encoded"
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"cannot write into {folder}")
    settings = {
        "dataset": dataset_label(name_or_path),
        "split": split or "all",
        "form": form,
        "representative": representative,
        "symprec": symprec,
    }
    names = property_columns(table)
    digest = _digest(table, names, settings)
    stem = f"{settings['dataset']}-{settings['split']}-{digest[:8]}"
    path = folder / f"{stem}.safetensors"
    is_there = path.is_file() and path.with_suffix(".json").is_file()
    before = EncodedDataset.load(path) if is_there else None
    if before is not None and not _passing(before.failures):
        encoded = before
    else:
        encoded = _encode(
            table, names, settings, digest, before, workers=workers, time_limit=time_limit
        )
        if len(encoded) > len(before or ()):
            encoded.save(path)
    _write_failures(folder / FAILURES, stem, encoded.failures)
    if not len(encoded):
        raise TooManyFailuresError(
            f"not one of {len(table)} rows could be encoded: see {folder / FAILURES}"
        )
    if max_failures is not None and len(encoded.failures) > max_failures:
        raise TooManyFailuresError(
            f"{len(encoded.failures)} of {len(table)} rows could not be encoded, "
            f"more than {max_failures}: see {folder / FAILURES}"
        )
    return encoded


def _encode(
    table: "pandas.DataFrame",
    names: list[str],
    settings: dict[str, Any],
    digest: str,
    before: EncodedDataset | None,
    *,
    workers: int,
    time_limit: float,
) -> EncodedDataset:
    """Encode all rows, or those that another time may do better than before."""
    from tqdm import tqdm

    from symmbfn.datasets.encoding import encode_cif
    from symmbfn.runtime.workers import run_killable

    options = {key: settings[key] for key in ("symprec", "form", "representative")}
    outcomes = [] if before is None else _lasting(before)
    todo = sorted(set(range(len(table))) - {outcome.index for outcome in outcomes})
    new = tqdm(
        run_killable(
            partial(encode_cif, **options),
            table["cif"].iloc[todo].tolist(),
            workers=workers,
            time_limit=time_limit,
        ),
        total=len(todo),
        unit="crystal",
        desc=f"{settings['dataset']} {settings['split']}",
        disable=None,
    )
    outcomes += [replace(outcome, index=todo[outcome.index]) for outcome in new]
    outcomes.sort(key=lambda outcome: outcome.index)
    identifiers = table["material_id"].tolist()
    done = [outcome for outcome in outcomes if not outcome.reason]
    units = [outcome.value for outcome in done]
    rows = [outcome.index for outcome in done]
    times = torch.tensor([outcome.process_ms for outcome in done])
    encoded = EncodedDataset(
        **_flat(units),
        properties=torch.tensor(table[names].to_numpy(dtype="float32")[rows]),
        property_names=tuple(names),
        identifiers=tuple(identifiers[row] for row in rows),
        settings=settings,
        digest=digest,
        failures=tuple((o.index, identifiers[o.index], o.reason) for o in outcomes if o.reason),
        process_ms=float(times.mean()),
    )
    # what another call may add to has another digest
    passing = _passing(encoded.failures)
    return encoded.derived(*passing) if passing else encoded


def _passing(failures: tuple[tuple[int, str, str], ...]) -> list[int]:
    """Rows that failed for no fault of the crystal."""
    return [row for row, _, reason in failures if reason.startswith(PASSING)]


def _lasting(encoded: EncodedDataset) -> list[Outcome]:
    """What became of all other rows."""
    failed = {row: reason for row, _, reason in encoded.failures}
    done = [row for row in range(len(encoded) + len(failed)) if row not in failed]
    return [
        *(Outcome(row, encoded.unit(i), "", encoded.process_ms) for i, row in enumerate(done)),
        *(
            Outcome(row, None, reason, float("nan"))
            for row, reason in failed.items()
            if not reason.startswith(PASSING)
        ),
    ]


def _flat(units: list[AsymmetricUnit]) -> dict[str, Tensor]:
    """Put the sites of all units one after the other."""

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


def _digest(table: "pandas.DataFrame", names: list[str], settings: dict[str, Any]) -> str:
    """SHA-256 over everything that decides what the tensors hold."""
    digest = hashlib.sha256(f"format {FORMAT} encoder {ENCODER}".encode())
    digest.update(json.dumps([settings, names], sort_keys=True).encode())
    digest.update((files("symmbfn.crystals") / "symmetry_tables.npz").read_bytes())
    for identifier, text in zip(table["material_id"], table["cif"], strict=True):
        digest.update(f"{len(identifier)} {identifier} {len(text)} {text}".encode())
    digest.update(table[names].to_numpy(dtype="float32").tobytes())
    return digest.hexdigest()


def _write_failures(path: Path, stem: str, failures: tuple[tuple[int, str, str], ...]) -> None:
    """Put one dataset's failures into the folder's list, in place of what it had there."""
    mine = [[stem, str(row), identifier, reason] for row, identifier, reason in failures]
    with locked(path):
        kept = []
        if path.is_file():
            with path.open(newline="") as file:
                kept = [row for row in csv.reader(file)][1:]
        rows = [row for row in kept if row[:1] != [stem]] + mine
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([FAILURE_COLUMNS, *rows])
        write_whole(path, text.getvalue())


def _check(is_met: bool, message: str) -> None:
    if not is_met:
        raise ValueError(message)
