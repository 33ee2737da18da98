"""Measure the claims of `results/engine.json`, one group or several.

    python -m scripts.engine.bench sample      a sampling step beside PyTorch Geometric
    python -m scripts.engine.bench train       a training step beside PyTorch Geometric
    python -m scripts.engine.bench scaling     from MP-20 to MPTS-52, sites and full cells
    python -m scripts.engine.bench end_to_end  request to full cell: steps, batches, sites, memory
    python -m scripts.engine.bench floors      operations and bytes against measured ceilings
    python -m scripts.engine.bench all         one after the other (20 minutes on one core)

Sizes of MPTS-52 and full cells come from the folder SYMMBFN_DATA or the cache; rows without
data stay absent. Claims are recorded when they are measured; `--dry-run` prints them only, and
so does `--quick`.
"""

import argparse
import warnings

import torch

from symmbfn.benchmark.bench import Bench
from symmbfn.benchmark.stages import GROUPS
from symmbfn.benchmark.timing import one_thread
from symmbfn.claims.store import record
from symmbfn.runtime.devices import pick_device


def main() -> None:
    """Measure what the command line asks for."""
    warnings.filterwarnings("ignore")
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("group", nargs="*", default=["all"], metavar="GROUP")
    parser.add_argument("--device", default="cpu", help="cpu (default), cuda or auto")
    parser.add_argument("--quick", action="store_true", help="little of everything")
    parser.add_argument("--dry-run", action="store_true", help="record nothing")
    options = parser.parse_args()
    if unknown := {*options.group} - {*GROUPS, "all"}:
        parser.error(f"unknown {sorted(unknown)}; groups are {[*GROUPS, 'all']}")
    device = pick_device(options.device)
    prefix = "gpu." if device.type == "cuda" else ""
    with one_thread():
        for group in GROUPS if "all" in options.group else options.group:
            measure(group, device, options.quick, prefix, is_dry=options.dry_run or options.quick)


def measure(group: str, device: torch.device, is_quick: bool, prefix: str, is_dry: bool) -> None:
    """Run one group, print its claims and record each as soon as it is known."""
    command = f"python -m scripts.engine.bench {group} --device {device.type}"
    bench = Bench(command, device, is_quick=is_quick, prefix=prefix)
    for claim in GROUPS[group](bench):
        judged = "" if claim.met is None else f"  {'met' if claim.met else 'FAILED'}: {claim.aim}"
        print(f"{claim.name} = {claim.value} {claim.unit}{judged}", flush=True)
        if not is_dry:
            record("engine", [claim])


if __name__ == "__main__":
    main()
