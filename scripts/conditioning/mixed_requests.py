"""Time of many small requests in one run, beside one large request.

    python -m scripts.conditioning.mixed_requests    50 requests of 10 crystals, against one of 500

Each of the 50 asks for what one crystal of MP-20 val is like, in one of ten ways: two ways cost two
network calls in place of one, an exact composition and guidance. Processor time of one thread, in
turns. Records `requests.mixed_ms` in `results/conditioning.json`.
"""

import argparse
import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any

import pandas as pd
import torch

from symmbfn.benchmark.timing import alternate, one_thread, ratio
from symmbfn.claims.store import Claim, record
from symmbfn.conditions.request import Request
from symmbfn.conditions.sites import cell_of, template_of
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.lattice import k_to_parameters
from symmbfn.crystals.structure import asymmetric_unit, parse_cif
from symmbfn.datasets.registry import load_dataset
from symmbfn.generation.generate import generate
from symmbfn.model.checkpoints import WEIGHTS_FILE, load_model, weights_folder
from symmbfn.runtime.files import file_digest

N_REQUESTS, N_EACH, SEED, ROUNDS = 50, 10, 0, 3
MOST_RATIO = 1.5
WEIGHTS, COMMAND = "default", "python -m scripts.conditioning.mixed_requests"
WAYS: dict[str, Callable[[AsymmetricUnit, float], dict[str, Any]]] = {
    "space group": lambda unit, gap: {"space_group_number": unit.space_group_number},
    "elements": lambda unit, gap: {"elements": template_of(unit).symbols},
    "one element": lambda unit, gap: {"require": template_of(unit).symbols[:1]},
    "no such elements": lambda unit, gap: {"exclude": template_of(unit).symbols},
    "composition": lambda unit, gap: {"composition": template_of(unit).atoms()},
    "template": lambda unit, gap: {"template": unit},
    "lattice": lambda unit, gap: {"lattice": _cell(unit)},
    "a site": lambda unit, gap: {"keep": (unit, [1])},
    "band gap": lambda unit, gap: {"properties": {"band_gap": gap}},
    "band gap, guided": lambda unit, gap: {"properties": {"band_gap": gap}, "guidance": 2.0},
}


def _cell(unit: AsymmetricUnit) -> tuple[float, ...]:
    k = torch.as_tensor(unit.lattice_k)
    return cell_of(k_to_parameters(k, unit.space_group_number).tolist())


def mixed(table: pd.DataFrame) -> list[Request]:
    """A request for each row of a table, in all ways by turns."""
    requests = []
    for place, (cif, gap) in enumerate(zip(table["cif"], table["band_gap"], strict=True)):
        way = list(WAYS.values())[place % len(WAYS)]
        conditions = way(asymmetric_unit(parse_cif(cif)), float(gap))
        requests.append(Request.of(n=N_EACH, seed=SEED, **conditions))
    return requests


def main() -> None:
    """Time and record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    warnings.filterwarnings("ignore", category=DeprecationWarning)  # of spglib
    known = load_dataset("mp_20", "val").dropna(subset=["band_gap"])
    table = known.sample(N_REQUESTS, random_state=SEED)
    requests, model = mixed(table), load_model(WEIGHTS)
    n = N_REQUESTS * N_EACH
    with one_thread():
        generate(requests, weights=model, n_steps=1)  # tables are read once
        actions = {
            "mixed": partial(generate, requests, weights=model),
            "one": partial(generate, n=n, seed=SEED, weights=model),
        }
        seconds = alternate(actions, options.rounds, torch.device("cpu"))
    each = {name: [1e3 * s / n for s in found] for name, found in seconds.items()}
    factor, (low, high) = ratio(each["mixed"], each["one"])
    claim = Claim(
        "requests.mixed_ms",
        round(median(each["mixed"]), 1),
        COMMAND,
        unit="ms",
        n=n,
        seed=SEED,
        interval=(round(min(each["mixed"]), 1), round(max(each["mixed"]), 1)),
        aim=f"at most {MOST_RATIO} times one request of {n}",
        met=factor <= MOST_RATIO,
        note=f"Processor time of one thread for a crystal, checked, of {N_REQUESTS} requests of "
        f"{N_EACH} in one run, {', '.join(WAYS)} by turns; {factor:.2f} times ({low:.2f} to "
        f"{high:.2f} in {options.rounds} rounds) the {median(each['one']):.1f} ms of one request "
        f"of {n} without conditions.",
        versions={f"weights/{WEIGHTS}": file_digest(weights_folder(WEIGHTS) / WEIGHTS_FILE)},
    )
    print(f"{claim.name} = {claim.value} {claim.unit}. {claim.note}")
    record("conditioning", [claim])


if __name__ == "__main__":
    main()
