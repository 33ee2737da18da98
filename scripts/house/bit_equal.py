"""Generate the same crystals with an older commit and with this tree, and compare CIF for CIF.

    python -m scripts.house.bit_equal 2dc2293

Both trees run the same command; a CIF counts where it is equal byte for byte. `--first N` takes
N crystals of each model and records nothing. Products of matrices are added up in one order
whatever the number of rows (`MKL_CBWR`), since both trees need not fill batches alike.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from symmbfn.claims.store import REPOSITORY, Claim, record

CRYSTALS = {"default": 200, "paper": 50}
SEED = 3


@contextmanager
def tree_of(commit: str) -> Iterator[Path]:
    """A temporary worktree of a commit."""
    git = ["git", "-C", str(REPOSITORY), "worktree"]
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder, "tree")
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), commit], check=True)
        try:
            yield tree
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def cifs(tree: Path, weights: str, n: int, out: Path) -> dict[str, bytes]:
    """Names and contents of the CIFs that a tree generates."""
    command = [sys.executable, "-m", "symmbfn", "generate", "--n", str(n), "--weights", weights]
    command += ["--seed", str(SEED), "--device", "cpu", "--threads", "1", "--out", str(out)]
    # the older commit adds up products of 8 rows in another order on some processors
    settings = {"PYTHONPATH": str(tree), "MKL_CBWR": "AUTO,STRICT"}
    subprocess.run(command, cwd=tree, env=os.environ | settings, check=True)
    return {path.name: path.read_bytes() for path in (out / "cif").iterdir()}


def n_equal(before: dict[str, bytes], after: dict[str, bytes], n: int) -> int:
    """Of n crystals, those with the same CIF on both sides, or with none on both sides."""
    names = set(before) | set(after)
    return n - sum(before.get(name) != after.get(name) for name in names)


def main() -> None:
    """Compare all crystals, or the first few."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="that the crystals are compared with")
    parser.add_argument("--first", type=int, metavar="N", help="crystals of each model")
    options = parser.parse_args()
    equal = {}
    with tempfile.TemporaryDirectory() as folder, tree_of(options.commit) as base:
        for weights, n in CRYSTALS.items():
            n = min(n, options.first or n)
            out = Path(folder, weights)
            before = cifs(base, weights, n, out / "before")
            after = cifs(REPOSITORY, weights, n, out / "after")
            equal[weights] = n_equal(before, after, n)
            print(f"{weights}: {equal[weights]} of {n} equal, {len(after)} with a CIF", flush=True)
    if options.first:
        return
    value, total = sum(equal.values()), sum(CRYSTALS.values())
    counts = ", ".join(f"{equal[weights]} of {n} of {weights}" for weights, n in CRYSTALS.items())
    claim = Claim(
        "crystals.bit_equal",
        value,
        f"python -m scripts.house.bit_equal {options.commit}",
        unit="crystals",
        n=total,
        seed=SEED,
        aim=f"all {total}",
        met=value == total,
        note=f"CIF files equal byte for byte to those of commit {options.commit}: {counts}.",
    )
    print(record("house", [claim]))


if __name__ == "__main__":
    main()
