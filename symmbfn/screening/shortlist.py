"""The crystals worth a calculation from first principles, with the files to start it."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.symmetry_search import SYMPREC
from symmbfn.evaluation.summary import METASTABLE
from symmbfn.runtime.files import write_whole

if TYPE_CHECKING:
    import pandas

LIST, FOLDER = "candidates.csv", "candidates"
MOST = 100
COLUMNS = (
    "index",
    "name",
    "formula",
    "relaxed_group",
    "e_above_hull",
    "formation_energy_per_atom",
    "band_gap",
    "n_atoms",
    "density",
)


def shortlist(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Relaxed crystals that are new, each once, at most 0.1 eV/atom above the hull; best first.

    Args:
        table: of a screening.
    """
    # each class by its best, which need not be its first
    is_new = table.relaxed_duplicate_of.notna() & table.relaxed_is_novel.eq(True)
    chosen = table[is_new & table.is_converged.eq(True) & (table.e_above_hull <= METASTABLE)]
    chosen = chosen.sort_values(["e_above_hull", "index"])
    return chosen.drop_duplicates("relaxed_duplicate_of").head(MOST)


def write_shortlist(
    folder: Path, table: "pandas.DataFrame", relaxed: Mapping[int, Cell]
) -> "pandas.DataFrame":
    """Write the list, and for each crystal its CIF and the input of a VASP relaxation.

    The input is pymatgen's `MPRelaxSet`, the settings of the Materials Project. It names the
    pseudopotentials in `POTCAR.spec`; their files are licensed and not here.

    Args:
        folder: takes `candidates.csv` and `candidates/`.
        table: of a screening.
        relaxed: cell of every relaxed crystal by its index.

    Returns:
        The rows of the list.
    """
    chosen = shortlist(table)
    columns = [column for column in COLUMNS if column in chosen]
    write_whole(folder / LIST, chosen[columns].to_csv(index=False))
    for row in chosen.itertuples():
        place = folder / FOLDER / f"{row.index:05d}-{row.formula}"
        for name, text in input_files(relaxed[row.index]).items():
            write_whole(place / name, text, is_durable=False)
    return chosen


def input_files(cell: Cell) -> dict[str, str]:
    """Name and text of the files of one crystal: CIF, POSCAR, INCAR, KPOINTS, POTCAR.spec.

    Args:
        cell: relaxed.

    Returns:
        CIF and POSCAR alone where the Materials Project has no settings for an element.

    Source: Ong et al. 2013 (pymatgen): MPRelaxSet.
    """
    from pymatgen.io.cif import CifWriter
    from pymatgen.io.vasp import Poscar
    from pymatgen.io.vasp.sets import MPRelaxSet

    structure = cell.to_pymatgen()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pseudopotentials that nobody asked it to read
        inputs: dict[str, Any] = {"POSCAR": Poscar(structure)}
        with suppress(KeyError):  # polonium, astatine, radon, francium, radium
            inputs = dict(MPRelaxSet(structure).get_input_set(potcar_spec=True))
        cif = str(CifWriter(structure, symprec=SYMPREC))
    return {f"{cell.formula}.cif": cif, **{name: str(text) for name, text in inputs.items()}}
