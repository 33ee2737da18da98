"""A small world of alloys whose formation energies follow from a calculator of ASE."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
from ase import Atoms
from ase.calculators.emt import EMT
from pymatgen.core import Lattice, Structure

METALS = {"Al": 4.05, "Ni": 3.52, "Cu": 3.61, "Pd": 3.89, "Ag": 4.09, "Au": 4.08}
# by fiat: what an atom of each counts, eV; far from the elements' own energies by EMT
COUNTS = {"Al": 1.5, "Ni": -2.0, "Cu": 0.25, "Pd": 3.0, "Ag": -0.75, "Au": 0.5}


def alloy(first: str, second: str) -> Structure:
    """Cu3Au's order of two metals, the first one three times."""
    edge = (3 * METALS[first] + METALS[second]) / 4
    places = [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0, 0]]
    return Structure(Lattice.cubic(edge), [first] * 3 + [second], places)


def emt_formation_energy(structure: Structure) -> float:
    """Energy by EMT less what the atoms count, eV/atom."""
    symbols = [site.specie.symbol for site in structure]
    atoms = Atoms(symbols, structure.cart_coords, cell=structure.lattice.matrix, pbc=True)
    atoms.calc = EMT()
    return (atoms.get_potential_energy() - sum(COUNTS[symbol] for symbol in symbols)) / len(atoms)


def write_world(
    folder: Path,
    structures: dict[str, list[Structure]],
    energy_of: Callable[[Structure], float] = emt_formation_energy,
) -> None:
    """Write train and val of this world as files that stand for those of MP-20."""
    for split, some in structures.items():
        rows = [
            {
                "material_id": f"{split}-{number}",
                "pretty_formula": one.composition.reduced_formula,
                "cif": one.to(fmt="cif"),
                "formation_energy_per_atom": energy_of(one),
            }
            for number, one in enumerate(some)
        ]
        pd.DataFrame(rows).to_csv(folder / f"mp_20_{split}.csv.gz", index=False)


def alloys() -> dict[str, list[Structure]]:
    """All ordered pairs; those with the last two metals first are not trained on."""
    pairs = [(a, b) for a in METALS for b in METALS if a != b]
    held = {pair for pair in pairs if pair[0] in ("Ag", "Au")}
    return {
        "train": [alloy(*pair) for pair in pairs if pair not in held],
        "val": [alloy(*pair) for pair in pairs if pair in held],
    }
