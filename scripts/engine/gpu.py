"""Everything that a GPU node should say once, in one call: `make gpu`.

In this order: correctness, the benchmarks of `bench_engine.py`, training for 10 and for 30
minutes, 10,000 crystals of the weights that came out. Figures go to `results/engine.json` as
`gpu.*` as soon as they are known; what fails is one line, and the rest goes on. `--rehearse`
runs every line of it on the CPU at a tiny scale and records nothing.

Needs torch, torch_geometric and the encoded MP-20 in the cache, or the folder SYMMBFN_DATA.
"""

import argparse
import json
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from symmbfn.benchmark.bench import Bench, engine, known_sizes, models
from symmbfn.benchmark.stages import GROUPS
from symmbfn.benchmark.timing import drawn_batches, now
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.datasets.registry import cache_folder
from symmbfn.generation.generate import generate_batches, model_conditions
from symmbfn.generation.sampler import Predictor, predictor, preset_sampler
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from symmbfn.runtime.compilation import difference, mapped
from symmbfn.runtime.devices import pick_device
from symmbfn.training.steps import draw_noise

N_SAME = 64  # crystals made twice, in batches of other sizes


def correctness(bench: Bench) -> Iterator[Claim]:
    """One network call by every form of the network, and the same crystals in other batches."""
    found = models(bench)
    ours, rows = found["ours"], drawn_batches(known_sizes(bench)["mp_20"], 256)[0]
    plain = estimates(ours, predictor(ours), rows)
    forms = {
        "dense_vs_pyg": (found["same_function"], predictor(found["same_function"])),
        "compiled_vs_plain": (ours, engine(bench, "float32")),
        "bf16_vs_float32": (ours, predictor(ours, dtype="bf16")),
        "device_vs_cpu": (on_cpu := load_model(bench.weights), predictor(on_cpu)),
    }
    note = "Largest difference of a call's estimates, relative to the largest value."
    for name, (model, predict) in forms.items():
        other = estimates(model, predict, rows)
        yield bench.claim(f"correct.{name}", difference(other, plain), "", n=len(rows), note=note)
    small, large = (arrays(ours, engine(bench, "float32"), size) for size in (16, N_SAME))
    same = [np.array_equal(small[i], large[i]) for i in small]
    yield bench.claim(
        "correct.same_in_other_batches",
        float(np.mean(same)),
        "",
        n=len(same),
        note=f"Share of crystals that are the same bit for bit in batches of 16 and of {N_SAME}.",
    )


@torch.no_grad()
def estimates(model: SymmBFN, predict: Predictor, rows: torch.Tensor) -> Variables:
    """Estimates of one call from beliefs and an estimate drawn on the CPU, moved there again."""
    conditions, on_cpu = model_conditions(model, rows), torch.device("cpu")
    generator = torch.Generator().manual_seed(0)
    draws = [draw_noise(model, conditions, generator, on_cpu) for _ in range(2)]
    noise, earlier = mapped(lambda value: value.to(conditions.is_site.device), draws)
    log_p = {name: z.log_softmax(-1) for name, z in earlier.categorical.items()}
    t = torch.full((len(rows),), 0.3, device=conditions.is_site.device)
    beliefs = model.prior(conditions, 0.3, noise)
    found = predict(beliefs, conditions, t, Variables(earlier.continuous, log_p))
    return mapped(lambda value: value.float().cpu(), found)


def arrays(model: SymmBFN, predict: Predictor, batch_size: int) -> dict[int, np.ndarray]:
    """Coordinates of crystals by their number."""
    sampler = preset_sampler(model, n_steps=4)
    batches = generate_batches(
        model, Request(n=N_SAME), sampler, batch_size=batch_size, predict=predict
    )
    return {crystal.index: crystal.fractional_coords for batch in batches for crystal in batch}


def train(bench: Bench, minutes: float, folder: Path) -> Iterator[Claim]:
    """Train within a budget by the command line; the last validation is the figure."""
    tiny = ["--dataset", "prototypes", "--width", "16", "--depth", "1", "--device", "cpu"]
    full = ["--dataset", "mp_20", "--dtype", "bf16", "--compile", "--device", "cuda"]
    budget = 0.05 if bench.is_quick else minutes
    command = [sys.executable, "-m", "symmbfn", "train", "--out", str(folder)]
    command += ["--minutes", f"{budget:g}", *(tiny if bench.is_quick else full)]
    subprocess.run(command, check=True)
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    last = [line for line in lines if line["kind"] == "validation"][-1]
    note = f"After {last['crystals']} crystals; weights in {folder}."
    for name in ("bound", "coords", "lattice", "elements"):
        value = last[name]
        yield bench.claim(f"train.minutes_{minutes:g}.{name}", value, "nats", note=note)
    yield bench.claim(
        f"train.minutes_{minutes:g}.crystals", float(last["crystals"]), "crystals", note=note
    )


def make_crystals(bench: Bench, weights: Path) -> Iterator[Claim]:
    """10,000 crystals of new weights: time from request to full cells, and how many are whole."""
    model = load_model(str(weights), device=bench.device)
    n, dtype = (20, "float32") if bench.is_quick else (10_000, "bf16")
    predict = predictor(model, is_compiled=not bench.is_quick, dtype=dtype)
    for steps in (10, 100):
        sampler = preset_sampler(model, n_steps=2 if bench.is_quick else steps)
        run = partial(
            generate_batches, model, Request(n=n), sampler, batch_size=1024, predict=predict
        )
        times, statuses = [], []
        for _ in range(2 if bench.is_quick else 6):  # the first one warms up
            begin = now(bench.device)
            statuses = [crystal.status for batch in run() for crystal in batch]
            times.append(now(bench.device) - begin)
        ms = 1e3 * float(np.median(times[1:])) / n
        note = f"{dtype}, median of {len(times) - 1} runs, weights in {weights}."
        yield bench.claim(f"generate.steps_{steps}.ms", ms, "ms/crystal", n=n, note=note)
        share = statuses.count("ok") / n
        yield bench.claim(f"generate.steps_{steps}.ok", share, "", n=n, note=note)


def parts(bench: Bench, work: Path) -> dict[str, Callable[[], Iterator[Claim]]]:
    """All there is to do, in order of worth."""
    runs = {minutes: work / f"train_{minutes}" for minutes in (10, 30)}
    return {
        "correctness": partial(correctness, bench),
        **{name: partial(group, bench) for name, group in GROUPS.items()},
        **{f"train {m} minutes": partial(train, bench, m, folder) for m, folder in runs.items()},
        "10,000 crystals": partial(make_crystals, bench, runs[30] / "weights"),
    }


def main() -> int:
    """Run all parts; the exit code is 1 if one of them failed."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="on the CPU, tiny, not recorded")
    parser.add_argument("--work", type=Path, help="folder of the training runs; default: cache")
    options = parser.parse_args()
    device = pick_device("cpu" if options.rehearse else "cuda")
    bench = Bench("make gpu", device, is_quick=options.rehearse, prefix="gpu.")
    if options.rehearse:
        torch.set_num_threads(1)
    work = options.work or cache_folder() / ("gpu_rehearsal" if options.rehearse else "gpu")
    failed = []
    for name, part in parts(bench, work).items():
        begin = time.monotonic()
        try:
            for claim in part():
                print(f"{claim.name} = {claim.value} {claim.unit}", flush=True)
                if not options.rehearse:
                    record("engine", [claim])
        except Exception as error:  # an hour of a GPU is not lost to one part
            failed.append(name)
            print(f"FAILED {name}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
        print(f"-- {name}: {time.monotonic() - begin:.0f} s", flush=True)
    print(f"failed: {', '.join(failed) or 'nothing'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
