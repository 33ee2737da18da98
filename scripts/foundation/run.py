"""Measure the claims of `results/foundation.json`, one group at a time.

    python -m scripts.foundation.run encode     files encoded, round trip, time
    python -m scripts.foundation.run canonical  invariance of the canonical form
    python -m scripts.foundation.run tables     sizes of the tables, agreement with libraries
    python -m scripts.foundation.run rebuild    time of the reconstruction, beside PyXtal's search
    python -m scripts.foundation.run predictor  perfect estimates through sampler and reconstruction
    python -m scripts.foundation.run overfit    64 crystals learnt by heart
    python -m scripts.foundation.run floors     distances of real crystals from real crystals
    python -m scripts.foundation.run generate --weights default
    python -m scripts.foundation.run clone      time of the two commands in a fresh clone
    python -m scripts.foundation.run all        one after the other, both weights

Real data come from the folder SYMMBFN_DATA, or are downloaded. Encoded sets and per-crystal
results go to the cache (SYMMBFN_CACHE); what is there is not made again. Claims are recorded
when they are measured; `--dry-run` prints them only.
"""

import argparse
import warnings
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch

from scripts.foundation.canonical import canonical
from scripts.foundation.claims import Options
from scripts.foundation.clone import clone
from scripts.foundation.data import encode, rebuild
from scripts.foundation.generation import floors, generate
from scripts.foundation.model import overfit, predictor
from scripts.foundation.tables import tables
from symmbfn.claims.store import Claim, record
from symmbfn.datasets.registry import cache_folder

GROUPS: dict[str, Callable[[Options], Iterator[Claim]]] = {
    "encode": encode,
    "canonical": canonical,
    "tables": tables,
    "rebuild": rebuild,
    "predictor": predictor,
    "overfit": overfit,
    "floors": floors,
    "generate": generate,
    "clone": clone,
}
# crystals of a group; 0 where time or another setting decides
NUMBER = {"canonical": 2000, "predictor": 3000, "generate": 1000}
SHIPPED = ("default", "paper")


def measure(group: str, options: Options, is_dry: bool) -> None:
    """Run one group, print its claims and record each as soon as it is known."""
    for claim in GROUPS[group](options):
        interval = "" if claim.interval is None else f" [{claim.interval[0]}, {claim.interval[1]}]"
        judged = "" if claim.met is None else f"  {'met' if claim.met else 'FAILED'}: {claim.aim}"
        print(f"{claim.name} = {claim.value} {claim.unit}{interval}  n {claim.n}{judged}")
        print(f"    {claim.note}", flush=True)
        if not is_dry:
            record("foundation", [claim])


def parser() -> argparse.ArgumentParser:
    """The command line."""
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("group", choices=[*GROUPS, "all"])
    line.add_argument("--n", type=int, help="crystals (overfit: epochs)")
    line.add_argument("--seed", type=int, help="of all random choices but the requests")
    line.add_argument("--minutes", type=float, help="processor time of the round trip")
    line.add_argument("--weights", help="shipped name; of another model nothing is recorded")
    line.add_argument("--solver", choices=["bfn", "ode2", "sde2"])
    line.add_argument("--steps", type=int)
    line.add_argument("--seeds", type=int, nargs="+", help="of the requests")
    line.add_argument("--reference", choices=["val", "test_open"])
    line.add_argument("--dry-run", action="store_true", help="record nothing")
    return line


def main() -> None:
    """Measure what the command line asks for."""
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    given = {k: v for k, v in vars(parser().parse_args()).items() if v is not None}
    group, is_dry = given.pop("group"), given.pop("dry_run")
    is_dry |= given.get("weights", "default") not in SHIPPED
    given = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
    work = cache_folder() / "foundation"
    for name in GROUPS if group == "all" else [group]:
        for weights in SHIPPED if group == "all" and name == "generate" else [None]:
            chosen = given | ({"weights": weights} if weights else {})
            options = replace(Options(command_of(name, chosen), work), n=NUMBER.get(name, 0))
            measure(name, replace(options, **chosen), is_dry)


def command_of(group: str, given: dict) -> str:
    """The call that measures one group again."""
    words = [f"python -m scripts.foundation.run {group}"]
    for name, value in given.items():
        values = value if isinstance(value, tuple) else (value,)
        words.append(f"--{name} {' '.join(map(str, values))}")
    return " ".join(words)


if __name__ == "__main__":
    main()
