"""Texts of crystals in several formats, each turned into the text of a CIF."""

import io
import warnings
from collections.abc import Iterator

from ase import io as ase_io
from pymatgen.core import Structure
from pymatgen.io.cif import CifWriter
from pymatgen.io.vasp.inputs import BadPoscarWarning, Poscar

from symmbfn.crystals.cell import Cell
from symmbfn.crystals.cif.block import MAX_CIF_CHARACTERS
from symmbfn.crystals.structure import parse_cif

CIF, POSCAR, EXTXYZ = "CIF", "POSCAR", "extxyz"
NOT_READ = "# not read: "  # begins what stands for a text: a remark that no CIF parser takes
MAX_TOTAL = 1 << 30  # characters of many crystals: a small archive can hold any number of them


def structure_of(text: str) -> Structure:
    """The crystal in a text of `read_structures`.

    Raises:
        ValueError: the file could not be read, or holds no crystal; says why.
    """
    if text.startswith(NOT_READ):
        raise ValueError(text.strip("# \n"))
    return parse_cif(text)


def not_read(reason: BaseException | str) -> str:
    """What stands for the text of a file that cannot be read."""
    said = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
    return f"{NOT_READ}{' '.join(str(said).split())}\n"


def cif_of(text: tuple[str, str]) -> str:
    """Turn a POSCAR or one frame of extxyz into a CIF that lists all atoms.

    Args:
        text: format and content.

    Raises:
        ValueError: it is no crystal.
    """
    kind, content = text
    structure = _poscar(content) if kind == POSCAR else _frame(content)
    return str(CifWriter(structure, significant_figures=16))


def frames(file: io.TextIOBase) -> Iterator[str]:
    """The frames of an extxyz file: a number of atoms, a line on the cell, a line for each atom.

    Raises:
        ValueError: all together are too long.
    """
    total = 0
    while first := file.readline(MAX_CIF_CHARACTERS):
        if not first.strip():
            continue
        try:
            n_lines = int(first) + 1
        except ValueError:
            yield not_read(f"{first.strip()[:40]!r} stands where the number of atoms belongs")
            return
        lines, size = [first], 0
        for _ in range(n_lines):
            lines.append(file.readline(MAX_CIF_CHARACTERS))
            size += len(lines[-1])
            if not lines[-1].endswith("\n") or size > MAX_CIF_CHARACTERS:
                break
        if size > MAX_CIF_CHARACTERS:
            yield not_read(f"a frame of more than {MAX_CIF_CHARACTERS} characters")
            return
        total += size
        check_total(total)
        yield "".join(lines)


def check_total(n_characters: int) -> None:
    """Refuse more characters than the memory should hold.

    Raises:
        ValueError: there are more.
    """
    if n_characters > MAX_TOTAL:
        raise ValueError(f"crystals of more than {MAX_TOTAL} characters: give them in parts")


def _poscar(text: str) -> Structure:
    with warnings.catch_warnings():
        # without names of elements the reader would take hydrogen, helium, lithium, ...
        warnings.filterwarnings("error", "Elements in POSCAR cannot", BadPoscarWarning)
        try:
            return Poscar.from_str(text, read_velocities=False).structure
        except BadPoscarWarning:
            raise ValueError("it names no elements (VASP 4): add their line") from None


def _frame(text: str) -> Structure:
    atoms = ase_io.read(io.StringIO(text), index=0, format="extxyz")
    if not atoms.cell.rank == 3:  # type: ignore[union-attr]
        raise ValueError("no lattice of three vectors")
    if not atoms.pbc.all():  # type: ignore[union-attr]
        raise ValueError("not periodic in three directions")
    if not atoms.numbers.all():  # type: ignore[union-attr]
        raise ValueError("an atom of no known element")
    return Cell.from_ase(atoms).to_pymatgen()  # type: ignore[arg-type]
