"""A run of the generator is a folder that can be stopped, resumed, and never overwritten.

`manifest.json` holds the requests and the sampler. Every batch is written as it comes, its CIFs
and a part with its records. At the end the parts become `records.jsonl`, from which all else can
be made. The crystals depend on the settings alone: batches are planned from them, not from what
is in the folder, and the number of worker processes changes nothing. On another device or with
other versions the last bits may differ, and so a crystal here and there; a resumed run says so
and notes it. The same holds where a batch is halved because memory was short. Only a few batches
are in memory at once.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.request import Request
from symmbfn.conditions.requests import (
    DrawnRequests,
    doubts_of,
    draw_all,
    groups_never_drawn,
    numbers_of,
)
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.records import RECORDS
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.batch_files import join_parts, part_path, write_cifs, write_part
from symmbfn.generation.batching import batches_of, can_mix
from symmbfn.generation.generate import generate_batches
from symmbfn.generation.run_outputs import STRUCTURES, complete
from symmbfn.generation.sampler import Predictor, predictor
from symmbfn.generation.settings import requests_of, sampler_of
from symmbfn.generation.writers import Finished, default_workers, finish, finishing
from symmbfn.model.checkpoints import load_model, read_config, weights_folder
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.devices import pick_device
from symmbfn.runtime.files import write_whole
from symmbfn.runtime.progress import progress
from symmbfn.runtime.run_folder import MANIFEST, differences, only_process, open_folder, versions
from symmbfn.runtime.workers import is_out_of_memory

# part of the manifest: raise it when the same settings give other crystals or records
FORMAT = 5
BATCH_SIZE = {"cpu": 256, "cuda": 1024}


@dataclass(frozen=True)
class RunSettings:
    """What decides the content of a run's folder: another value is another run.

    Attributes:
        requests: what the crystals are drawn by, numbered through.
        sampler: solver, steps and more.
        weights: SHA-256 of the weights.
        is_compiled, dtype: of the network, see `sampler.predictor`.
        primitive: write primitive in place of conventional cells.
        format: of the folder, and of the way from settings to crystals.
    """

    requests: tuple[Request, ...]
    sampler: SamplerConfig
    weights: str
    is_compiled: bool
    dtype: str
    primitive: bool
    format: int = FORMAT


@dataclass(frozen=True)
class _Source:
    """What makes the crystals of a run, batch by batch.

    Attributes:
        model: on its device.
        asked: what the crystals of the run are drawn by and conditioned on.
        sampler: of the run.
        batch_size, has_mixed_batches: what the batches were planned with, see `batches_of`.
        can_mix: whether batches may be mixed here.
        predict: the network.
    """

    model: SymmBFN
    asked: DrawnRequests
    sampler: SamplerConfig
    batch_size: int
    has_mixed_batches: bool
    can_mix: bool
    predict: Predictor

    def batches(self) -> list[Int[Tensor, "_"]]:
        """Numbers of the crystals of each batch, as planned."""
        plan = batches_of(self.asked, self.batch_size, is_mixed=self.has_mixed_batches)
        return [self.asked.index[rows] for rows in plan]

    def crystals(self, index: Int[Tensor, "B"], has_full_rows: bool = True) -> list[Crystal]:
        """Sample a planned batch; where memory does not suffice, halves of it without full rows."""
        try:
            batches = generate_batches(
                self.model,
                self.asked,
                self.sampler,
                index=index,
                batch_size=self.batch_size,
                has_full_rows=has_full_rows,
                has_mixed_batches=self.can_mix,
                predict=self.predict,
            )
            return [crystal for batch in batches for crystal in batch]
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            if len(index) == 1 and not has_full_rows:
                return [self._failed(index, error)]
        # only here is the error gone, and with it what its frames hold
        return [c for half in index.chunk(2) for c in self.crystals(half, has_full_rows=False)]

    def _failed(self, index: Int[Tensor, "1"], error: BaseException) -> Crystal:
        (one,) = (self.asked.index == index).nonzero()
        sentences = str(error).split(". ")
        reason = next((text for text in sentences if "memory" in text), "no memory left")
        return Crystal.failed(
            int(index),
            self.asked.seed,
            "out_of_memory",
            reason,
            int(self.asked.drawn.rows[one, 0]),
            int(self.asked.place[one]),
        )


def generate_run(
    folder: str | Path,
    request: Request | Sequence[Request] | None = None,
    *,
    weights: str = "default",
    sampler: SamplerConfig | None = None,
    device: str = "auto",
    is_compiled: bool = False,
    dtype: str = "float32",
    primitive: bool = False,
    workers: int | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Generate crystals into a folder, or go on with what an earlier call left.

    Args:
        folder: new, empty, or of the same run.
        request, weights, sampler, device, is_compiled, dtype, settings: as in `generate`.
        primitive: write primitive cells.
        workers: processes that check and write crystals while others are sampled; 0 for none,
            None for what suits the request and the machine.

    Returns:
        The summary, as in `summary.json`.

    Raises:
        ValueError: for a value that cannot be met, or a folder that holds something else.
        RequestError: for a request that the model cannot meet.
        TypeError: for a setting that does not exist.
        KeyboardInterrupt: with the number of crystals that are safe.
    """
    requests, changes = requests_of(request, settings)
    if workers is not None:
        workers = whole_number("workers", workers, least=0)
    place = pick_device(device)
    model = load_model(weights, device=place)
    sampler = sampler_of(model, sampler, changes)
    asked = draw_all(requests, model.config, model.statistics)
    predict = predictor(model, is_compiled=is_compiled, dtype=dtype)
    digest = read_config(weights_folder(weights))["sha256"]
    mixes = can_mix(is_compiled=is_compiled, dtype=dtype)
    run = RunSettings(requests, sampler, digest, is_compiled, dtype, primitive)
    facts = {
        "weights_name": str(weights),
        "space_groups_not_in_training": groups_never_drawn(requests, model.statistics),
        "doubts": doubts_of(requests, model.statistics),
        **_plan(place.type, mixes),
        "versions": versions(),
    }
    folder = Path(folder)
    manifest = open_folder(folder, asdict(run), facts, renew=_renewed)
    with only_process(folder):
        if not (folder / RECORDS).is_file():
            _check_machine(folder, manifest, facts)
            # a run that was begun elsewhere keeps its batches: what is done stays valid
            plan = manifest["batch_size"], manifest.get("has_mixed_batches", False)
            source = _Source(model, asked, sampler, *plan, mixes, predict)
            _sample(folder, source, primitive, workers)
            join_parts(folder, numbers_of(requests), folder / RECORDS, folder / STRUCTURES)
        return complete(folder, n=len(asked), primitive=primitive)


def _plan(device: str, can_mix: bool) -> dict[str, Any]:
    """What the batches of a run are planned by."""
    return {
        "batch_size": BATCH_SIZE[device],
        "has_mixed_batches": can_mix and device == "cpu",
        "buckets": {"sites": list(SITE_EDGES), "operations": list(OPERATION_EDGES)},
        "device": device,
    }


def _renewed(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of a folder of format 4, which had one request and did not say so in its records."""
    if settings.get("format") != 4:
        return settings
    others = {name: value for name, value in settings.items() if name != "request"}
    return {**others, "requests": [settings["request"]], "format": FORMAT}


def _check_machine(folder: Path, manifest: dict[str, Any], facts: dict[str, Any]) -> None:
    """Say and note in the manifest that a run goes on by another device or other versions.

    Raises:
        ValueError: its batches were planned by other size buckets.
    """
    if manifest["buckets"] != facts["buckets"]:
        raise ValueError(f"{str(folder)!r} was begun with other size buckets")
    there, here = ({"device": f["device"], **f["versions"]} for f in (manifest, facts))
    if not (different := differences(there, here)):
        return
    print(f"{folder} was begun by another machine: {', '.join(different)}", file=sys.stderr)
    resumed = manifest.setdefault("resumed_with", [])
    if here not in resumed:
        resumed.append(here)
        write_whole(folder / MANIFEST, json.dumps(manifest, indent=1) + "\n")


def _sample(folder: Path, source: _Source, primitive: bool, workers: int | None) -> None:
    """Write the parts that are not there yet."""
    batches = [(part_path(folder, i), index) for i, index in enumerate(source.batches())]
    todo = [(path, index) for path, index in batches if not path.is_file()]
    n, sizes = len(source.asked), [len(index) for _, index in todo]
    workers = default_workers(sum(sizes)) if workers is None else workers
    machine = {**_machine(source.model), "workers": workers}
    finish_all = partial(finish, primitive=primitive)
    n_done = n - sum(sizes)
    with progress(total=n, done=n_done, label="generating") as bar:
        writer = _Writer(folder, [path for path, _ in todo], n_done, machine, bar)
        try:
            with finishing(finish_all, sizes, writer, workers) as give:
                for _, index in todo:
                    start, used = time.monotonic(), time.process_time()
                    crystals = source.crystals(index)
                    spent = {"sampling": time.monotonic() - start}
                    writer.spent.append(spent | {"processor": time.process_time() - used})
                    give(crystals)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"stopped with {writer.n_done} of {n} crystals in {folder}; the same call resumes"
            ) from None


class _Writer:
    """Writes finished batches, counts them, and says of each where the time went."""

    def __init__(
        self, folder: Path, paths: list[Path], n_done: int, machine: dict[str, Any], bar: Any
    ):
        self.folder, self.paths, self.machine, self.bar = folder, paths, machine, bar
        self.n_done, self.last = n_done, time.monotonic()
        self.spent: list[dict[str, float]] = []  # seconds of each batch for its sampling
        self.writing = 0.0  # seconds of the last part

    def __call__(self, place: int, finished: list[Finished], checking: float) -> None:
        start = time.monotonic()
        write_cifs(self.folder, finished)
        before, self.last = self.last, time.monotonic()
        seconds = {
            "all": self.last - before,
            **self.spent[place],
            "checking": checking,
            "writing": self.last - start + self.writing,
        }
        write_part(self.paths[place], finished, {"seconds": seconds, **self.machine})
        self.writing = time.monotonic() - self.last
        self.n_done += len(finished)
        self.bar.update(len(finished))


def _machine(model: SymmBFN) -> dict[str, Any]:
    device = next(model.parameters()).device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"device": name, "threads": torch.get_num_threads()}
