"""The default weights that ship beside those that shipped before, on val and on test_open.

    python -m scripts.comparisons.defaults 037e545 [--n 1000] [--dry-run]

The earlier weights are those of the named commit and draw as they did there, without clearance; the
others with the sampler of their preset, and without clearance as well: what the weights changed and
what the sampler. Requests are the same. Losses are of train, too. Claims `default.before.*`,
`default.after.*` and `default.no_clearance.*` into `results/comparisons.json`.
"""

import argparse
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch

from scripts.foundation import generation
from scripts.foundation.claims import Options
from scripts.foundation.data import code_digest, read
from scripts.foundation.generation import distances_of, rates, requests, sampler_digest
from symmbfn.claims.store import REPOSITORY, Claim, record
from symmbfn.datasets.registry import cache_folder
from symmbfn.generation.sampler import preset_sampler
from symmbfn.model.checkpoints import CONFIG_FILE, WEIGHTS_FILE, load_model, weights_folder
from symmbfn.runtime.files import file_digest
from symmbfn.training.data import only_known
from symmbfn.training.validation import validate

REFERENCES = ("val", "test_open")
N, N_LOSSES = 1000, 10_000
CODE = generation.__file__  # judgements follow from it


def weights_of(commit: str, work: Path) -> Path:
    """The folder of the default weights that shipped in a commit, copied out of git."""
    shipped, folder = "symmbfn/weights/default", work / f"weights-{commit}"
    folder.mkdir(parents=True, exist_ok=True)
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        call = ["git", "-C", str(REPOSITORY), "show", f"{commit}:{shipped}/{name}"]
        found = subprocess.run(call, capture_output=True)
        if found.returncode:
            raise SystemExit(f"no {shipped}/{name} in {commit!r}: {found.stderr.decode().strip()}")
        (folder / name).write_bytes(found.stdout)
    return folder


def claims_of(
    which: str, folder: Path, sampling: dict[str, float], options: Options
) -> Iterator[Claim]:
    """Rates, distances and losses of one set of weights.

    Args:
        which: "before", "after" or "no_clearance".
        folder: of the weights.
        sampling: what its sampler has other than that of its preset.
        options: seeds, number of requests, command.
    """
    model, digest = load_model(folder), file_digest(folder / WEIGHTS_FILE)
    sampler = preset_sampler(model, **sampling)
    # what a key with a slash names ships
    key = "weights_before" if which == "before" else "weights/default"
    label, code = f"{sampler.solver}_{sampler.n_steps}", code_digest(CODE)
    drawn = f"{digest[:12]}-{sampler_digest(sampler)}-{code}"
    rows = []
    for seed in options.seeds:
        path = options.work / f"{drawn}-seed{seed}.jsonl"
        rows.append(requests(model, sampler, path, seed, options.n))
    shared = {"options": options, "seed": [*options.seeds], "versions": {key: digest}}
    yield from rates(f"default.{which}", [r for seed in rows for r in seed], shared, False, label)
    for split in REFERENCES:
        here = replace(options, reference=split)
        yield from distances_of(f"default.{which}.{split}", rows, here, {key: digest}, False)
    for split in (*REFERENCES, "train") if which != "no_clearance" else ():
        prefix = f"default.{which}.{split}"
        # losses have no value where the model has no class: argon in two rows of test_open
        encoded, left_out = only_known(read("mp_20", split)[1], model.config)
        n = min(len(encoded), N_LOSSES)
        note = f"Mean over the first {n} crystals of {split}, 8 times, fixed noise. "
        for name, value in validate(model, encoded, n_crystals=n).items():
            if not name.startswith("ce_") and name != "coords_late":
                yield Claim(
                    f"{prefix}.{name}",
                    round(value, 4),
                    options.command,
                    unit="nats",
                    n=n,
                    seed=0,
                    note=(note + left_out).rstrip(),
                    versions={key: digest},
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", help="commit of the weights that shipped before")
    parser.add_argument("--n", type=int, default=N)
    parser.add_argument("--dry-run", action="store_true", help="print only")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    command = f"python -m scripts.comparisons.defaults {arguments.before}"
    command += "" if arguments.n == N else f" --n {arguments.n}"
    work = cache_folder() / "compare_defaults"
    work.mkdir(parents=True, exist_ok=True)
    options = Options(command, work, n=arguments.n)
    found: list[Claim] = []
    found += claims_of("before", weights_of(arguments.before, work), {"clearance": 0.0}, options)
    found += claims_of("after", weights_folder("default"), {}, options)
    found += claims_of("no_clearance", weights_folder("default"), {"clearance": 0.0}, options)
    for claim in found:
        print(claim.name, claim.value, claim.interval)
    if not arguments.dry_run:
        record("comparisons", found)


if __name__ == "__main__":
    main()
