"""Does our comparison of crystals agree with pymatgen's StructureMatcher, pair by pair?

    python -m scripts.evaluation.agreement             every pair; minutes of one core
    python -m scripts.evaluation.agreement --n 500 --dry-run

Every crystal of MP-20 val and test_open meets every crystal of train of its formula, once by
`StructureMatcher().fit` on the structures of the files, once by ours. Records
`results/evaluation.json`.
"""

import argparse
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher
from pymatgen.core import Structure

from scripts.foundation.claims import Options, rate
from symmbfn.claims.store import Claim, record
from symmbfn.crystals.cell import Cell
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.registry import load_dataset
from symmbfn.datasets.structure_texts import structure_of
from symmbfn.evaluation.similarity.dataset_cells import dataset_cells, dataset_formulas
from symmbfn.evaluation.similarity.matching_tasks import Forms, first_match, reduced_forms
from symmbfn.runtime.progress import progress

COMMAND = "python -m scripts.evaluation.agreement"
KNOWN, OTHERS = "train", ("val", "test_open")


@dataclass
class Crystal:
    """One crystal as its file has it, and as the encoded dataset does.

    Args:
        text: of the CIF.
        encoded: primitive cell.
    """

    text: str
    encoded: Cell

    @cached_property
    def plain(self) -> Structure:
        """The structure of the file, reduced as the matcher does in a comparison."""
        structure = structure_of(self.text).get_reduced_structure(reduction_algo="niggli")
        return structure.get_primitive_structure()

    @cached_property
    def forms(self) -> Forms:
        """What we compare of the file."""
        return reduced_forms(Cell.from_pymatgen(structure_of(self.text)))

    @cached_property
    def encoded_forms(self) -> Forms:
        """What we compare of a known crystal."""
        return reduced_forms(self.encoded)


def crystals_of(split: str) -> tuple[list[Crystal], list[str]]:
    """All crystals of a split of MP-20, and their formulas."""
    encoded = encode_dataset("mp_20", split=split, workers=1)
    texts = load_dataset("mp_20", split).set_index("material_id")["cif"]
    cells = dataset_cells(encoded, range(len(encoded)))
    pairs = zip(encoded.identifiers, cells, strict=True)
    return [Crystal(texts[name], cell) for name, cell in pairs], dataset_formulas(encoded)


def all_pairs() -> list[tuple[Crystal, Crystal]]:
    """Crystals of val and test_open, each beside each of train that has its formula."""
    by_formula: dict[str, list[Crystal]] = {}
    for crystal, formula in zip(*crystals_of(KNOWN), strict=True):
        by_formula.setdefault(formula, []).append(crystal)
    return [
        (known, crystal)
        for split in OTHERS
        for crystal, formula in zip(*crystals_of(split), strict=True)
        for known in by_formula.get(formula, [])
    ]


def agreement(pairs: list[tuple[Crystal, Crystal]], options: Options) -> Iterator[Claim]:
    """Of the pairs that the matcher matches, those that we miss; of the others, those we find."""
    matcher = StructureMatcher()
    counts: Counter[str] = Counter()
    for known, crystal in progress(pairs, label="pairs", unit="pair"):
        is_same = matcher.fit(known.plain, crystal.plain, skip_structure_reduction=True)
        counts["same" if is_same else "other"] += 1
        for name, forms in (("file", known.forms), ("encoded", known.encoded_forms)):
            is_ours = first_match((1, [0]), {0: forms, 1: crystal.forms}) == 0
            counts[name, "missed"] += is_same and not is_ours
            counts[name, "more"] += is_ours and not is_same
    note = (
        f"{len(pairs)} pairs of one formula, of MP-20 {' and '.join(OTHERS)} and {KNOWN}; "
        "StructureMatcher().fit on the structures of the files matches "
        f"{counts['same']}. With the known crystal as it is encoded in place of its file: missed "
        f"{counts['encoded', 'missed']}, more {counts['encoded', 'more']}."
    )
    for name, n, what in (
        ("missed", counts["same"], "Pairs that the matcher matches and we do not"),
        ("more", counts["other"], "Pairs that we match and the matcher does not"),
    ):
        found = counts["file", name]
        yield rate(f"matching.{name}", found, n, options, note=f"{what}: {found}. {note}")


def main() -> None:
    """Measure and record."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    line = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    line.add_argument("--n", type=int, help="pairs; default: all")
    line.add_argument("--seed", type=int, default=0)
    line.add_argument("--dry-run", action="store_true")
    given = line.parse_args()
    pairs = all_pairs()
    if given.n:
        chosen = np.random.default_rng(given.seed).permutation(len(pairs))[: given.n]
        pairs = [pairs[place] for place in chosen]
    claims = list(agreement(pairs, Options(COMMAND, Path(), seed=given.seed)))
    for claim in claims:
        print(f"{claim.name} = {claim.value} {claim.interval} {claim.unit}\n  {claim.note}")
    if not given.dry_run:
        record("evaluation", claims)


if __name__ == "__main__":
    main()
