"""The crystals worth a calculation from first principles, with the files to start it."""

import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.contacts import closest_contacts
from symmbfn.crystals.lattice import cell_parameters
from symmbfn.crystals.symmetry_search import SYMPREC, search_symmetry
from symmbfn.evaluation.energies.stability import is_true
from symmbfn.evaluation.summary import METASTABLE
from symmbfn.runtime.files import write_whole
from symmbfn.screening.stages.judged import LATTICE

if TYPE_CHECKING:
    import pandas

LIST, FOLDER = "candidates.csv", "candidates"
MOST = 100
LABELS = ("index", "name", "formula", "space_group_number")
ENERGIES = (
    *("e_above_hull", "e_above_hull_unfitted", "second_e_above_hull"),
    *("is_stable_by_both", "decomposition", "formation_energy_per_atom", "band_gap"),
)
GEOMETRY = ("n_atoms", *LATTICE, "volume", "density", "minimum_distance", "contact_ratio")
DECIMALS = 6  # of the numbers in the list
POSCAR_DECIMALS = 10
INCAR_FIGURES = 8  # significant; no setting has more


def shortlist(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Choose relaxed crystals that are new, each once, at most 0.1 eV/atom above the hull.

    Args:
        table: of a screening.

    Returns:
        At most 100 rows of the table, lowest energy above the hull first; where a second judge
        was asked, those that are stable by both come before all others.
    """
    # of copies the one of lowest energy, which need not be the first that was generated
    is_new = table.relaxed_duplicate_of.notna() & table.relaxed_is_novel.eq(True)
    chosen = table[is_new & table.is_converged.eq(True) & (table.e_above_hull <= METASTABLE)]
    order = ["e_above_hull", "index"]
    if "is_stable_by_both" in table:
        chosen = chosen.assign(is_doubted=~is_true(chosen.is_stable_by_both))
        order = ["is_doubted", *order]
    chosen = chosen.sort_values(order)
    return chosen.drop_duplicates("relaxed_duplicate_of").head(MOST)


def write_shortlist(
    folder: Path, table: "pandas.DataFrame", relaxed: Mapping[int, Cell]
) -> "pandas.DataFrame":
    """Write the list, and for each crystal its CIF and the input of a VASP relaxation.

    Everything in these files is of the relaxed crystal. The list and the CIF hold its
    conventional cell, POSCAR the cell as it was relaxed.

    The input is pymatgen's `MPRelaxSet`, the settings of the Materials Project. It names the
    pseudopotentials in `POTCAR.spec`; their files are licensed and not here.

    Args:
        folder: takes `candidates.csv` and `candidates/`.
        table: of a screening.
        relaxed: cell of every relaxed crystal by its index.

    Returns:
        The rows of the list, as written.
    """
    import pandas as pd

    rows, chosen = [], shortlist(table)
    for row in chosen.to_dict(orient="records"):
        cell = relaxed[row["index"]]
        rows.append(_facts(row, cell))
        place = folder / FOLDER / f"{row['index']:05d}-{cell.formula}"
        for name, text in input_files(cell).items():
            write_whole(place / name, text, is_durable=False)
    energies = [name for name in ENERGIES if name in chosen]
    columns = [*LABELS, *energies, *GEOMETRY]
    listed = pd.DataFrame(rows, columns=columns).round(DECIMALS)
    write_whole(folder / LIST, listed.to_csv(index=False))
    return listed


def _facts(row: Mapping[str, Any], relaxed: Cell) -> dict[str, Any]:
    """A row of the list: labels and energies of the table, geometry of the relaxed crystal."""
    cell = conventional(relaxed)
    found = search_symmetry(relaxed, SYMPREC)
    distance, ratio = closest_contacts(cell)
    return {
        "index": row["index"],
        "name": row["name"],
        "formula": cell.formula,
        "space_group_number": None if found is None else int(found.number),
        **{name: row[name] for name in ENERGIES if name in row},
        "n_atoms": len(cell),
        **dict(zip(LATTICE, cell_parameters(cell.lattice_matrix).tolist(), strict=True)),
        "volume": cell.volume,
        "density": cell.density,
        "minimum_distance": distance,
        "contact_ratio": ratio,
    }


def conventional(cell: Cell) -> Cell:
    """The conventional cell of a crystal, symmetric without error.

    Args:
        cell: any cell of the crystal, symmetric within 0.1 angstrom.

    Returns:
        The cell as it is where no symmetry is found.
    """
    found = search_symmetry(cell, SYMPREC)
    if found is None:
        return cell
    numbers = np.asarray(found.std_types, dtype=np.int64)
    return Cell(np.asarray(found.std_lattice), numbers, np.asarray(found.std_positions))


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

    # sorted by element, as the settings of MPRelaxSet are
    structure = _tidy(cell).to_pymatgen().get_sorted_structure()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about pseudopotentials that nobody asked it to read
        inputs: dict[str, Any] = {}
        with suppress(KeyError):  # polonium, astatine, radon, francium, radium
            inputs = dict(MPRelaxSet(structure).get_input_set(potcar_spec=True))
            inputs["INCAR"].update({key: _rounded(value) for key, value in inputs["INCAR"].items()})
        cif = str(CifWriter(structure, symprec=SYMPREC))
    poscar = Poscar(structure).get_str(significant_figures=POSCAR_DECIMALS)
    texts = {name: str(content) for name, content in inputs.items()}
    return {f"{cell.formula}.cif": cif, **texts, "POSCAR": poscar}


def _tidy(cell: Cell) -> Cell:
    """The cell with the decimals of POSCAR and coordinates in [0, 1)."""
    lattice = np.round(cell.lattice_matrix, POSCAR_DECIMALS) + 0.0  # 0.0 and not -0.0
    coords = np.round(cell.fractional_coords, POSCAR_DECIMALS) % 1.0
    return Cell(lattice, cell.atomic_numbers, coords)


def _rounded(value: Any) -> Any:
    """A setting as a person would write it: 0.0003 and not 0.00030000000000000003."""
    if isinstance(value, list):
        return [_rounded(entry) for entry in value]
    return float(f"{value:.{INCAR_FIGURES}g}") if isinstance(value, float) else value
