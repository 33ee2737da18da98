"""A run of the generator is a folder that can be stopped, resumed, and never overwritten.

`manifest.json` says what was asked for. Every batch is written as it comes, its CIFs and a part
with its records. At the end the parts become `records.jsonl`, from which all else is made. The
crystals depend on the manifest alone: batches are planned from it, not from what is there.
"""

import json
import shutil
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from symmbfn._files import whole_file, write_whole
from symmbfn._shapes import Int, Tensor
from symmbfn.checkpoints import CONFIG_FILE, load_model, weights_folder
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.found_symmetry import SYMPREC, check_symmetry
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.evaluation.intervals import wilson_interval
from symmbfn.evaluation.validity import CONTACT_RATIO
from symmbfn.manifests import MANIFEST, only_process, open_folder, versions
from symmbfn.model import SymmBFN
from symmbfn.records import lines_of, read_crystals, read_records, record_of
from symmbfn.sampling import (
    SamplerConfig,
    check_request,
    draw_given,
    generate_indices,
    groups_not_in_training,
    pick_device,
    preset_sampler,
    size_batches,
)

# part of the manifest: raise it when the same settings give other crystals or records
FORMAT = 2
RECORDS, SUMMARY = "records.jsonl", "summary.json"
STRUCTURES, CIFS, PARTS = "crystals.extxyz", "cif", "parts"
BATCH_SIZE = {"cpu": 128, "cuda": 1024}


@dataclass(frozen=True)
class RunSettings:
    """What decides the content of a run's folder: another value is another run.

    Attributes:
        n: number of crystals.
        seed: of the request.
        weights: SHA-256 of the weights.
        space_group_number: groups to draw from, or None for all.
        solver, n_steps: of the sampler.
        primitive: write primitive in place of conventional cells.
        format: of the folder, and of the way from settings to crystals.
    """

    n: int
    seed: int
    weights: str
    space_group_number: tuple[int, ...] | None
    solver: str
    n_steps: int
    primitive: bool
    format: int = FORMAT


def generate_run(
    folder: str | Path,
    *,
    n: int,
    weights: str = "default",
    space_group_number: int | str | tuple[int, ...] | None = None,
    solver: str | None = None,
    n_steps: int | None = None,
    seed: int = 0,
    device: str = "auto",
    primitive: bool = False,
) -> dict[str, Any]:
    """Generate n crystals into a folder, or go on with what an earlier call left.

    Args:
        folder: new, empty, or of the same run.
        n, weights, space_group_number, solver, n_steps, seed, device: as in
            `sampling.generate`.
        primitive: write primitive cells.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
        KeyboardInterrupt: with the number of crystals that are safe.
    """
    check_request(n, seed)
    place = pick_device(device)
    groups = None if space_group_number is None else space_group_numbers(space_group_number)
    model = load_model(weights, device=place)
    changes = {"solver": solver, "n_steps": n_steps}
    sampler = preset_sampler(model, **{k: v for k, v in changes.items() if v is not None})
    given = draw_given(model, torch.arange(n), seed=seed, space_group_number=groups)
    digest = json.loads((weights_folder(weights) / CONFIG_FILE).read_text())["sha256"]
    settings = RunSettings(n, seed, digest, groups, sampler.solver, sampler.n_steps, primitive)
    facts = {
        "weights_name": str(weights),
        "space_groups_not_in_training": groups_not_in_training(model, groups),
        "batch_size": BATCH_SIZE[place.type],
        "versions": versions(),
    }
    folder = Path(folder)
    manifest = open_folder(folder, asdict(settings), facts)
    with only_process(folder):
        if not (folder / RECORDS).is_file():
            # a run that was begun elsewhere keeps its batches: what is done stays valid
            _sample(folder, model, settings, sampler, size_batches(given, manifest["batch_size"]))
            _join_parts(folder, n)
        return _finish(folder, settings)


# ---- sampling ---------------------------------------------------------------------------------


def _sample(
    folder: Path,
    model: SymmBFN,
    settings: RunSettings,
    sampler: SamplerConfig,
    batches: list[Int[Tensor, "_"]],
) -> None:
    """Write the parts that are not there yet."""
    paths = [folder / PARTS / f"part-{number:06d}.jsonl" for number in range(len(batches))]
    todo = [item for item in zip(paths, batches, strict=True) if not item[0].is_file()]
    n_done = settings.n - sum(len(index) for _, index in todo)
    with tqdm(
        total=settings.n, initial=n_done, unit="crystal", desc="generating", disable=None
    ) as bar:
        try:
            for path, index in todo:
                start = time.monotonic()
                crystals = [
                    check_symmetry(crystal)
                    for crystal in _batch_or_halves(model, index, sampler, settings)
                ]
                _write_cifs(folder, crystals, settings)
                header = {"seconds": time.monotonic() - start, **_machine(model)}
                write_whole(path, lines_of([header, *map(record_of, crystals)]))
                n_done += len(index)
                bar.update(len(index))
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped with {n_done} of {settings.n} crystals in {folder}; the same call resumes"
            ) from None


def _batch_or_halves(
    model: SymmBFN, index: Int[Tensor, "B"], sampler: SamplerConfig, settings: RunSettings
) -> list[Crystal]:
    """Sample one batch; where memory does not suffice, its halves one after the other."""
    options: dict[str, Any] = {
        "seed": settings.seed,
        "space_group_number": settings.space_group_number,
    }
    try:
        batches = generate_indices(model, index, sampler, batch_size=len(index), **options)
        return [crystal for batch in batches for crystal in batch]
    except torch.OutOfMemoryError as error:
        if len(index) == 1:
            group = int(draw_given(model, index, **options)[0, 0])
            reason = str(error).split(".")[0]
            return [Crystal.failed(int(index), settings.seed, "out_of_memory", reason, group)]
    halves = index.tensor_split(2)
    return [c for half in halves for c in _batch_or_halves(model, half, sampler, settings)]


def _machine(model: SymmBFN) -> dict[str, Any]:
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads()}


def _join_parts(folder: Path, n: int) -> None:
    """Make one file of the parts, in the order of the requests."""
    lines: dict[int, str] = {}
    for path in (folder / PARTS).glob("part-*.jsonl"):
        _, *records = path.read_text().splitlines()
        lines |= {json.loads(line)["index"]: line for line in records}
    if sorted(lines) != list(range(n)):
        raise ValueError(f"parts in {str(folder)!r} hold {len(lines)} of {n} records")
    write_whole(folder / RECORDS, "".join(lines[index] + "\n" for index in range(n)))


# ---- what is made of the records --------------------------------------------------------------


def _finish(folder: Path, settings: RunSettings) -> dict[str, Any]:
    """Write whatever is missing beside the records; returns the summary."""
    if not (folder / STRUCTURES).is_file():
        _write_extxyz(folder, settings)
    _write_cifs(folder, read_crystals(folder), settings)
    if not (folder / SUMMARY).is_file():
        write_whole(folder / SUMMARY, json.dumps(_summary(folder), indent=1) + "\n")
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return json.loads((folder / SUMMARY).read_text())


def _write_extxyz(folder: Path, settings: RunSettings) -> None:
    """All valid crystals in one file, conventional or primitive cells."""
    from ase.io.extxyz import write_extxyz

    with whole_file(folder / STRUCTURES) as part, part.open("w") as file:
        for crystal in read_crystals(folder):
            if crystal.status == "ok":
                atoms = crystal.to_ase(primitive=settings.primitive)
                atoms.info |= {
                    "index": crystal.index,
                    "formula": crystal.formula,
                    "space_group_number": crystal.space_group_number,
                }
                write_extxyz(file, atoms)


def _write_cifs(folder: Path, crystals: Iterable[Crystal], settings: RunSettings) -> None:
    """One file for each valid crystal, where it is missing or not as long as it should be."""
    for crystal in crystals:
        if crystal.status == "ok":
            group = crystal.space_group_number
            path = folder / CIFS / cif_name(crystal.index, crystal.formula, group, settings.n)
            text = crystal.to_cif(primitive=settings.primitive).encode()
            if not (path.is_file() and path.stat().st_size == len(text)):
                write_whole(path, text, is_durable=False)


def cif_name(index: int, formula: str, space_group_number: int, n: int) -> str:
    """Name of a crystal's file in a run of n: "0012-NaCl-225.cif"."""
    return f"{index:0{max(4, len(str(n - 1)))}d}-{formula}-{space_group_number}.cif"


def _summary(folder: Path) -> dict[str, Any]:
    """Counts that add up to the request, rates of it with 95 % intervals, time and versions."""
    manifest = json.loads((folder / MANIFEST).read_text())
    records = list(read_records(folder))
    n, counts = len(records), Counter(record["status"] for record in records)
    valid = [record for record in records if record["status"] == "ok"]
    kept = sum(r["found_space_group_number"] == r["space_group_number"] for r in valid)
    contacts = sum(r["contact_ratio"] >= CONTACT_RATIO for r in valid)
    return {
        "settings": manifest["settings"],
        "weights_name": manifest["weights_name"],
        "space_groups_not_in_training": manifest["space_groups_not_in_training"],
        "n": n,
        "statuses": dict(sorted(counts.items())),
        "rates": {
            "ok": _rate(len(valid), n),
            "no_short_contact": _rate(contacts, n),
            "asked_space_group_found": _rate(kept, n),
            "supergroup_found": _rate(len(valid) - kept, n),
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
    }


def _rate(count: int, n: int) -> dict[str, Any]:
    low, high = wilson_interval(count, n)
    return {"count": count, "share": count / n, "interval": [round(low, 4), round(high, 4)]}


def _time(folder: Path, n: int) -> dict[str, Any] | None:
    """Wall time of sampling, building, checking and writing; None once the parts are gone."""
    headers = []
    for path in (folder / PARTS).glob("part-*.jsonl"):
        with path.open() as file:
            headers.append(json.loads(file.readline()))
    if not headers:
        return None
    seconds = sum(header["seconds"] for header in headers)
    return {
        "seconds": round(seconds, 2),
        "seconds_per_1000": round(1000 * seconds / n, 2),
        "devices": sorted({header["device"] for header in headers}),
        "threads": sorted({header["threads"] for header in headers}),
    }
