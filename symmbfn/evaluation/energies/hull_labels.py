"""Labels for training: how far known crystals lie above the hull that they are part of."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from symmbfn.evaluation.energies.entries import SOURCE_COLUMN, Entry
from symmbfn.evaluation.energies.hull import Hull

if TYPE_CHECKING:
    import pandas

COLUMNS = ("material_id", "e_above_hull", "formation_energy_per_atom", SOURCE_COLUMN)


def hull_labels(hull: Hull, phases: Iterable[Entry], ids: Sequence[str]) -> "pandas.DataFrame":
    """Energies above a hull of crystals that are phases of it.

    A crystal's own entry stays in the hull, as in the Materials Project's `e_above_hull`: a
    label is 0 for a phase of the hull and positive for all others, never negative. How far a
    stable phase lies below its competitors is not in it.

    Args:
        hull: of these phases.
        phases: with an id of their own each.
        ids: of the crystals; one that is no phase has no row.

    Returns:
        One row a crystal: `material_id`, `e_above_hull` and `formation_energy_per_atom`, eV/atom
        in single precision, and `energy_source`, which says whose formation energy it is.
    """
    import pandas as pd

    known = {phase.id: phase for phase in phases}
    rows = []
    for id_ in ids:
        if phase := known.get(id_):
            energy = phase.formation_energy_per_atom
            rows.append((id_, hull.e_above_hull(phase.composition, energy), energy, phase.source))
    types = {"e_above_hull": "float32", "formation_energy_per_atom": "float32"}
    return pd.DataFrame(rows, columns=[*COLUMNS]).astype(types)
