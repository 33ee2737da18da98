"""Rock salt as a structure and as a file that says nothing of its symmetry."""

from pathlib import Path

import pytest
from pymatgen.core import Lattice, Structure

EDGE = 5.64  # angstrom


@pytest.fixture(scope="module")
def salt() -> Structure:
    sites = [[0, 0, 0], [0.5, 0.5, 0.5]]
    return Structure.from_spacegroup(225, Lattice.cubic(EDGE), ["Na", "Cl"], sites)


@pytest.fixture(scope="module")
def cif(salt: Structure, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cif") / "salt.cif"
    path.write_text(salt.to(fmt="cif"))
    return path
