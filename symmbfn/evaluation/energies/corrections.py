"""The Materials Project's energy corrections of 2020, which bring GGA and GGA+U to one scale."""

import warnings
from functools import cache
from typing import Any

from symmbfn.crystals.cell import Cell


def mp2020_correction(cell: Cell) -> float:
    """What the scheme adds to an energy computed with the project's own settings, eV/atom.

    A potential that was trained on energies as VASP prints them needs it. It is a sum over the
    anions, and over transition metals in oxides and fluorides, where the settings of
    `MPRelaxSet` have a Hubbard U.

    Args:
        cell: the distances in it tell peroxides and superoxides from oxides.

    Source: Wang et al. 2021 (corrections); Ong et al. 2013 (pymatgen).
    """
    from pymatgen.entries.computed_entries import ComputedStructureEntry

    structure = cell.to_pymatgen()
    electronegative = max(structure.elements, key=lambda element: element.X)
    settings = _hubbard_settings().get(electronegative.symbol, {})
    hubbards = {
        one.symbol: settings[one.symbol] for one in structure.elements if one.symbol in settings
    }
    is_plus_u = any(hubbards.values())
    entry = ComputedStructureEntry(
        structure,
        energy=0.0,
        # no POTCAR can be checked where there is no calculation
        parameters={
            "run_type": "GGA+U" if is_plus_u else "GGA",
            "hubbards": hubbards,
            "software": "a potential",
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # where no oxidation states are guessed, and of noble gases
        adjustments = _scheme().get_adjustments(entry)
    return sum(one.value for one in adjustments) / len(cell)


@cache
def _scheme() -> Any:
    from pymatgen.entries.compatibility import MaterialsProject2020Compatibility

    return MaterialsProject2020Compatibility()


@cache
def _hubbard_settings() -> dict[str, dict[str, float]]:
    """By the most electronegative element: element symbol -> U, eV."""
    from pymatgen.io.vasp.sets import MPRelaxSet

    return MPRelaxSet.CONFIG["INCAR"]["LDAUU"]
