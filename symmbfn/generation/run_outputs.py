"""What a finished run's folder holds beside its records: structures, CIFs and the summary."""

import json
import shutil
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from symmbfn.crystals.contacts import CONTACT_RATIO
from symmbfn.crystals.records import RECORDS, read_crystals, read_records
from symmbfn.crystals.symmetry_search import SYMPREC, is_group_kept
from symmbfn.generation.batch_files import CIFS, PARTS, damaged_cifs, headers, mend_cifs
from symmbfn.generation.writers import Finished, texts_of
from symmbfn.intervals import wilson_interval
from symmbfn.runtime.files import whole_file, write_whole
from symmbfn.runtime.run_folder import MANIFEST

SUMMARY = "summary.json"
STRUCTURES = "crystals.extxyz"


def complete(folder: Path, *, n: int, primitive: bool) -> dict[str, Any]:
    """Write whatever is missing beside the records of a run, and drop its parts.

    Args:
        folder: of the run; all records are there.
        n: number of crystals.
        primitive: write primitive in place of conventional cells.

    Returns:
        The summary.
    """
    if not (folder / STRUCTURES).is_file():
        with whole_file(folder / STRUCTURES) as part, part.open("w") as file:
            file.writelines(texts.extxyz for texts in _texts(folder, primitive))
    # None: the parts, which know the sizes, are gone
    damaged = damaged_cifs(folder, n)
    if damaged is None or damaged:
        mend_cifs(folder, _texts(folder, primitive))
    if not (folder / SUMMARY).is_file():
        write_whole(folder / SUMMARY, json.dumps(_summary(folder), indent=1) + "\n")
    shutil.rmtree(folder / PARTS, ignore_errors=True)
    return json.loads((folder / SUMMARY).read_text())


def _texts(folder: Path, primitive: bool) -> Iterator[Finished]:
    """The texts of all crystals once more, made from the records."""
    return (texts_of(crystal, primitive=primitive) for crystal in read_crystals(folder))


def _summary(folder: Path) -> dict[str, Any]:
    """Counts that add up to the requests, rates with 95 % intervals, time and versions."""
    manifest = json.loads((folder / MANIFEST).read_text())
    by_request: defaultdict[int, Counter[str]] = defaultdict(Counter)
    kept = contacts = 0
    for record in read_records(folder):
        by_request[record.get("request", 0)][record["status"]] += 1
        if record["status"] == "ok":
            asked, found = record["space_group_number"], record["found_space_group_number"]
            kept += is_group_kept(record["status"], asked, found)
            contacts += record["contact_ratio"] >= CONTACT_RATIO
    counts = sum(by_request.values(), Counter())
    n, n_valid = counts.total(), counts["ok"]
    return {
        "settings": manifest["settings"],
        "weights_name": manifest["weights_name"],
        "space_groups_not_in_training": manifest["space_groups_not_in_training"],
        "doubts": manifest.get("doubts", []),
        "n": n,
        "statuses": dict(sorted(counts.items())),
        "statuses_by_request": [
            dict(sorted(of_request.items())) for _, of_request in sorted(by_request.items())
        ],
        "rates": {
            "ok": _rate(n_valid, n),
            "no_short_contact": _rate(contacts, n),
            "space_group_found": _rate(kept, n),
            "supergroup_found": _rate(n_valid - kept, n),
        },
        "what_the_rates_are": {
            "of": "all crystals that were asked for",
            "ok": "a structure without a broken guard that has its space group or a "
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
    """Wall time of the run, and what its parts would have taken alone; None without parts.

    `processor_seconds` is the processor time of sampling, which other programs on the machine do
    not change; None where a part is from before it was kept.
    """
    found = [header for _, header in headers(folder)]
    if not found:
        return None
    seconds = {
        name: round(sum(header["seconds"][name] for header in found), 2)
        for name in ("all", "sampling", "checking", "writing")
    }
    total = seconds.pop("all")
    processor = [header["seconds"].get("processor") for header in found]
    return {
        "seconds": total,
        "processor_seconds": None if None in processor else round(sum(processor), 2),
        "seconds_of": seconds,
        "seconds_per_1000": round(1000 * total / n, 2),
        "devices": sorted({header["device"] for header in found}),
        "threads": sorted({header["threads"] for header in found}),
        "workers": sorted({header["workers"] for header in found}),
    }
