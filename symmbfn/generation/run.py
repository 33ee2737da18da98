"""A run of the generator is a folder that can be stopped, resumed, and never overwritten.

`manifest.json` says what was asked for. Every batch is written as it comes, its CIFs and a part
with its records. At the end the parts become `records.jsonl`, from which all else can be made.
The crystals depend on its settings alone: batches are planned from them, not from what is there,
and how many processes finish them changes nothing. Their last bits may be others, and so here and
there a crystal, on another device or with other versions, which a resumed run says and notes, or
where a batch is halved for want of memory. No more than a few batches are held at once.
"""

import json
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from symmbfn._shapes import Int, Tensor
from symmbfn.crystals.contacts import CONTACT_RATIO
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.records import read_crystals, read_records
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.crystals.symmetry_search import SYMPREC
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES
from symmbfn.generation.batch_files import (
    CIFS,
    PARTS,
    damaged_cifs,
    headers,
    join_parts,
    mend_cifs,
    part_path,
    write_cifs,
    write_part,
)
from symmbfn.generation.generate import (
    check_request,
    draw_given,
    generate_indices,
    groups_not_in_training,
    pick_device,
    size_batches,
)
from symmbfn.generation.sampler import asked_sampler, predictor
from symmbfn.generation.writers import (
    Finished,
    cif_name,
    default_workers,
    finish,
    finishing,
    texts_of,
)
from symmbfn.intervals import wilson_interval
from symmbfn.model.checkpoints import load_model, read_config, weights_folder
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.files import whole_file, write_whole
from symmbfn.runtime.run_folder import MANIFEST, differences, only_process, open_folder, versions
from symmbfn.runtime.workers import is_out_of_memory

# part of the manifest: raise it when the same settings give other crystals or records
FORMAT = 3
RECORDS, SUMMARY = "records.jsonl", "summary.json"
STRUCTURES = "crystals.extxyz"
BATCH_SIZE = {"cpu": 256, "cuda": 1024}
# what allocators say that raise no error of their own kind; the second is Linux, the third BLAS

__all__ = ["CIFS", "SUMMARY", "RunSettings", "cif_name", "generate_run"]


@dataclass(frozen=True)
class RunSettings:
    """What decides the content of a run's folder: another value is another run.

    Attributes:
        n: number of crystals.
        seed: of the request.
        weights: SHA-256 of the weights.
        space_group_number: groups to draw from, or None for all.
        solver, n_steps, clearance: of the sampler.
        is_compiled, dtype: of the network, see `sampling.predictor`.
        primitive: write primitive in place of conventional cells.
        format: of the folder, and of the way from settings to crystals.
    """

    n: int
    seed: int
    weights: str
    space_group_number: tuple[int, ...] | None
    solver: str
    n_steps: int
    clearance: float
    is_compiled: bool
    dtype: str
    primitive: bool
    format: int = FORMAT

    @property
    def request(self) -> dict[str, Any]:
        """What each crystal is drawn by, besides its number."""
        return {"seed": self.seed, "space_group_number": self.space_group_number}


def generate_run(
    folder: str | Path,
    *,
    n: int,
    weights: str = "default",
    space_group_number: int | str | Iterable[Any] | None = None,
    solver: str | None = None,
    n_steps: int | None = None,
    clearance: float | None = None,
    seed: int = 0,
    device: str = "auto",
    is_compiled: bool = False,
    dtype: str = "float32",
    primitive: bool = False,
    workers: int | None = None,
) -> dict[str, Any]:
    """Generate n crystals into a folder, or go on with what an earlier call left.

    Args:
        folder: new, empty, or of the same run.
        n, weights, space_group_number, solver, n_steps, clearance, seed, device, is_compiled,
            dtype: as in `generation.generate`.
        primitive: write primitive cells.
        workers: processes that check and write crystals while others are sampled; 0 for none,
            None for what suits the request and the machine.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
        KeyboardInterrupt: with the number of crystals that are safe.
    """
    n, seed = check_request(n, seed)
    if workers is not None:
        workers = whole_number("workers", workers, least=0)
    place = pick_device(device)
    groups = None if space_group_number is None else space_group_numbers(space_group_number)
    model = load_model(weights, device=place)
    sampler = asked_sampler(model, solver=solver, n_steps=n_steps, clearance=clearance)
    draw_given(model, torch.arange(1), seed=seed, space_group_number=groups)  # fails if it must
    digest = read_config(weights_folder(weights))["sha256"]
    predict = predictor(model, is_compiled=is_compiled, dtype=dtype)
    settings = RunSettings(
        n=n,
        seed=seed,
        weights=digest,
        space_group_number=groups,
        solver=sampler.solver,
        n_steps=sampler.n_steps,
        clearance=sampler.clearance,
        is_compiled=is_compiled,
        dtype=dtype,
        primitive=primitive,
    )
    facts = {
        "weights_name": str(weights),
        "space_groups_not_in_training": groups_not_in_training(model, groups),
        "batch_size": BATCH_SIZE[place.type],
        "buckets": {"sites": list(SITE_EDGES), "operations": list(OPERATION_EDGES)},
        "device": place.type,
        "versions": versions(),
    }
    folder = Path(folder)
    manifest = open_folder(folder, asdict(settings), facts)
    with only_process(folder):
        if not (folder / RECORDS).is_file():
            # a run that was begun elsewhere keeps its batches: what is done stays valid
            if manifest["buckets"] != facts["buckets"]:
                raise ValueError(f"{str(folder)!r} was begun with other size buckets")
            _note_other_machine(folder, manifest, facts)
            batch_size = manifest["batch_size"]
            options = {"sampler": sampler, "batch_size": batch_size, "predict": predict}
            source = partial(_batch_or_halves, model, settings=settings, options=options)
            _sample(folder, model, settings, source, batch_size, workers)
            join_parts(folder, n, folder / RECORDS, folder / STRUCTURES)
        return _finish(folder, settings)


def _note_other_machine(folder: Path, manifest: dict[str, Any], facts: dict[str, Any]) -> None:
    """Say and note in the manifest that a run goes on by another device or other versions."""
    there, here = ({"device": f["device"], **f["versions"]} for f in (manifest, facts))
    if not (different := differences(there, here)):
        return
    print(f"{folder} was begun by another machine: {', '.join(different)}", file=sys.stderr)
    resumed = manifest.setdefault("resumed_with", [])
    if here not in resumed:
        resumed.append(here)
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


# ---- sampling ---------------------------------------------------------------------------------


def _sample(
    folder: Path,
    model: SymmBFN,
    settings: RunSettings,
    source: Callable[[Tensor], list[Crystal]],
    batch_size: int,
    workers: int | None,
) -> None:
    """Write the parts that are not there yet."""
    given = draw_given(model, torch.arange(settings.n), **settings.request)
    batches = size_batches(given, batch_size)
    paths = [part_path(folder, number) for number in range(len(batches))]
    todo = [item for item in zip(paths, batches, strict=True) if not item[0].is_file()]
    sizes = [len(index) for _, index in todo]
    workers = default_workers(sum(sizes)) if workers is None else workers
    finish_all = partial(finish, n=settings.n, primitive=settings.primitive)
    machine = {**_machine(model), "workers": workers}
    n_done = settings.n - sum(sizes)
    with tqdm(
        total=settings.n, initial=n_done, unit="crystal", desc="generating", disable=None
    ) as bar:
        writer = _Writer(folder, [path for path, _ in todo], n_done, machine, bar)
        try:
            with finishing(finish_all, sizes, writer, workers) as give:
                for _, index in todo:
                    start = time.monotonic()
                    crystals = source(index)
                    writer.sampling.append(time.monotonic() - start)
                    give(crystals)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped with {writer.n_done} of {settings.n} crystals in {folder}; "
                "the same call resumes"
            ) from None


class _Writer:
    """Writes finished batches, counts them, and says of each where the time went."""

    def __init__(
        self, folder: Path, paths: list[Path], n_done: int, machine: dict[str, Any], bar: Any
    ):
        self.folder, self.paths, self.machine, self.bar = folder, paths, machine, bar
        self.n_done, self.last = n_done, time.monotonic()
        self.sampling: list[float] = []  # seconds of each batch
        self.writing = 0.0  # seconds of the last part

    def __call__(self, place: int, finished: list[Finished], checking: float) -> None:
        start = time.monotonic()
        write_cifs(self.folder, finished)
        before, self.last = self.last, time.monotonic()
        seconds = {
            "all": self.last - before,
            "sampling": self.sampling[place],
            "checking": checking,
            "writing": self.last - start + self.writing,
        }
        write_part(self.paths[place], finished, {"seconds": seconds, **self.machine})
        self.writing = time.monotonic() - self.last
        self.n_done += len(finished)
        self.bar.update(len(finished))


def _batch_or_halves(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    *,
    settings: RunSettings,
    options: dict[str, Any],
) -> list[Crystal]:
    """Sample a planned batch; where memory does not suffice, halves of it without full rows.

    Args:
        options: of `generate_indices`, besides the request.
    """
    try:
        batches = generate_indices(model, index, **settings.request, **options)
        return [crystal for batch in batches for crystal in batch]
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        if len(index) == 1 and not options.get("has_full_rows", True):
            group = int(draw_given(model, index, **settings.request)[0, 0])
            sentences = str(error).split(". ")
            reason = next((text for text in sentences if "memory" in text), "no memory left")
            return [Crystal.failed(int(index), settings.seed, "out_of_memory", reason, group)]
    # only here is the error gone, and with it what its frames hold
    options = {**options, "has_full_rows": False}
    half = partial(_batch_or_halves, model, settings=settings, options=options)
    return [crystal for piece in index.chunk(2) for crystal in half(piece)]


def _machine(model: SymmBFN) -> dict[str, Any]:
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads()}


# ---- what is made of the records --------------------------------------------------------------


def _finish(folder: Path, settings: RunSettings) -> dict[str, Any]:
    """Write whatever is missing beside the records; returns the summary."""
    if not (folder / STRUCTURES).is_file():
        with whole_file(folder / STRUCTURES) as part, part.open("w") as file:
            file.writelines(texts.extxyz for texts in _texts(folder, settings))
    # None: the parts, which know the sizes, are gone
    damaged = damaged_cifs(folder, settings.n)
    if damaged is None or damaged:
        mend_cifs(folder, _texts(folder, settings))
    if not (folder / SUMMARY).is_file():
        write_whole(folder / SUMMARY, json.dumps(_summary(folder), indent=1) + "\n")
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return json.loads((folder / SUMMARY).read_text())


def _texts(folder: Path, settings: RunSettings) -> Iterator[Finished]:
    """The texts of all crystals once more, made from the records."""
    for crystal in read_crystals(folder):
        yield texts_of(crystal, n=settings.n, primitive=settings.primitive)


def _summary(folder: Path) -> dict[str, Any]:
    """Counts that add up to the request, rates of it with 95 % intervals, time and versions."""
    manifest = json.loads((folder / MANIFEST).read_text())
    counts: Counter[str] = Counter()
    kept = contacts = 0
    for record in read_records(folder):
        counts[record["status"]] += 1
        if record["status"] == "ok":
            kept += record["found_space_group_number"] == record["space_group_number"]
            contacts += record["contact_ratio"] >= CONTACT_RATIO
    n, n_valid = counts.total(), counts["ok"]
    return {
        "settings": manifest["settings"],
        "weights_name": manifest["weights_name"],
        "space_groups_not_in_training": manifest["space_groups_not_in_training"],
        "n": n,
        "statuses": dict(sorted(counts.items())),
        "rates": {
            "ok": _rate(n_valid, n),
            "no_short_contact": _rate(contacts, n),
            "asked_space_group_found": _rate(kept, n),
            "supergroup_found": _rate(n_valid - kept, n),
        },
        "what_the_rates_are": {
            "of": "crystals asked for",
            "ok": "a structure without a broken guard that has the asked space group or a "
            f"supergroup of it (spglib, {SYMPREC} angstrom)",
            "no_short_contact": "ok, and every distance is at least "
            f"{CONTACT_RATIO} of the sum of the two covalent radii",
            "interval": "Wilson, 95 %",
        },
        "cells": "primitive" if manifest["settings"]["primitive"] else "conventional",
        "structures_in": f"{STRUCTURES} and {CIFS}/ hold those with status ok, {RECORDS} all",
        "time": _time(folder, n),
        "versions": manifest["versions"],
        "resumed_with": manifest.get("resumed_with", []),
    }


def _rate(count: int, n: int) -> dict[str, Any]:
    low, high = wilson_interval(count, n)
    return {"count": count, "share": count / n, "interval": [round(low, 4), round(high, 4)]}


def _time(folder: Path, n: int) -> dict[str, Any] | None:
    """Wall time of the run, and what its parts would have taken alone; None without parts."""
    found = [header for _, header in headers(folder)]
    if not found:
        return None
    seconds = {
        name: round(sum(header["seconds"][name] for header in found), 2)
        for name in ("all", "sampling", "checking", "writing")
    }
    total = seconds.pop("all")
    return {
        "seconds": total,
        "seconds_of": seconds,
        "seconds_per_1000": round(1000 * total / n, 2),
        "devices": sorted({header["device"] for header in found}),
        "threads": sorted({header["threads"] for header in found}),
        "workers": sorted({header["workers"] for header in found}),
    }
