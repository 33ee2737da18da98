"""One CIF to one asymmetric unit, importable by worker processes."""

from typing import Literal

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit
from symmbfn.crystals.structure import asymmetric_unit
from symmbfn.datasets.structure_texts import structure_of


def encode_cif(
    text: str,
    *,
    symprec: float,
    form: Literal["canonical", "raw"],
    representative: Literal["locus", "centre"],
) -> AsymmetricUnit:
    """Read a CIF and find its asymmetric unit.

    Args:
        text: the content of a CIF.
        symprec: symmetry tolerance in angstrom.
        form: "canonical" or "raw".
        representative: "locus" or "centre".

    Raises:
        ValueError: with the reason why this is no crystal for us.
    """
    structure = structure_of(text)
    return asymmetric_unit(structure, symprec=symprec, form=form, representative=representative)
