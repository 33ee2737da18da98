"""CIFs written by hand for the tests of their reader."""

import numpy as np
from pymatgen.core import Structure

NACL = (5.64, 5.64, 5.64, 90, 90, 90), ("Na1 Na 0 0 0", "Cl1 Cl 0.5 0.5 0.5")
SITE_TAGS = ("label", "type_symbol", "fract_x", "fract_y", "fract_z")
CELL_TAGS = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")


def cif(
    symmetry: str,
    cell: tuple[float, ...] = NACL[0],
    sites: tuple[str, ...] = NACL[1],
    tags: tuple[str, ...] = SITE_TAGS,
) -> str:
    """A CIF; `symmetry` is a Hermann-Mauguin symbol, or lines of its own."""
    lines = [f"_cell_{tag} {value}" for tag, value in zip(CELL_TAGS, cell, strict=True)]
    named = (
        symmetry if symmetry[:1] in ("", "_", "l") else f"_space_group_name_H-M_alt '{symmetry}'"
    )
    loop = ["loop_", *(f"_atom_site_{tag}" for tag in tags)]
    return "\n".join(["data_x", *lines, named, *loop, *sites, ""])


def shortest(structure: Structure) -> float:
    """Shortest distance between two atoms, or of one to its own image."""
    apart = structure.distance_matrix + np.diag(np.full(len(structure), min(structure.lattice.abc)))
    return float(apart.min())
