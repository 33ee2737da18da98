"""Structures of a screening as files for others: CIFs of relaxed cells, a CSV for a benchmark."""

import io
import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from symmbfn.crystals.cell import Cell
from symmbfn.runtime.files import write_whole
from symmbfn.screening.sources import Candidate

CIFS, LEMAT = "relaxed", "lemat.csv"
MOST_FOR_LEMAT = 2500  # structures that the benchmark is run with
FIGURES = 10  # significant, of the numbers in a CIF


def write_relaxed_cifs(folder: Path, relaxed: Mapping[int, Cell]) -> dict[int, str]:
    """Write each relaxed cell as a CIF, unless it is there.

    The cell is the one that was relaxed, to whose energy the table refers, with all its atoms and
    without symmetry; what a crystal's file says never changes.

    Args:
        folder: of the screening; takes `relaxed/`.
        relaxed: cell of every relaxed crystal by its index.

    Returns:
        Index of the crystal -> path of its file below the folder.
    """
    from pymatgen.io.cif import CifWriter

    paths = {index: f"{CIFS}/{index:05d}-{cell.formula}.cif" for index, cell in relaxed.items()}
    for index, path in paths.items():
        if not (folder / path).is_file():
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # about electronegativities that nobody needs
                text = str(CifWriter(relaxed[index].to_pymatgen(), significant_figures=FIGURES))
            write_whole(folder / path, text, is_durable=False)
    return paths


def write_lemat(folder: Path, rows: Sequence[Candidate]) -> str:
    """Write `lemat.csv`, which LeMat-GenBench reads with `--csv`.

    It holds the first 2,500 requests as they were generated: the benchmark relaxes structures
    itself, reports how far each one moves, and takes the energy above the hull of the structure as
    it was handed in. To hand in relaxed ones, screen the folder of their CIFs. A request without a
    structure keeps its row with an empty cell; the benchmark skips it, and so counts shares of the
    structures alone.

    Args:
        folder: of the screening.
        rows: its crystals.

    Returns:
        What was written, in one line.

    The form is that of the repository LeMaterial/lemat-genbench: scripts/run_benchmarks.py at
    commit 2383022e, `load_structures_from_wycoff_csv`, reads a column `structure` with
    pymatgen's JSON.

    Source: LeMaterial 2025 (GenBench).
    """
    import pandas as pd

    chosen = rows[:MOST_FOR_LEMAT]
    structures = [_json(row.primitive_cell) if row.status == "ok" else "" for row in chosen]
    table = pd.DataFrame({"material_id": [row.name for row in chosen], "structure": structures})
    file = io.StringIO()
    table.to_csv(file, index=False)
    write_whole(folder / LEMAT, file.getvalue())
    n_structures = sum(bool(text) for text in structures)
    which = "all" if len(chosen) == len(rows) else "the first"
    return (
        f"{LEMAT}: {n_structures} structures as generated, of {which} {len(chosen)} of "
        f"{len(rows)} requests"
    )


def _json(cell: Cell | None) -> str:
    """pymatgen's form of a structure; its numbers are read back without a loss."""
    return "" if cell is None else json.dumps(cell.to_pymatgen().as_dict())
