"""The operations of a CIF, and whether all that the file says of its symmetry agrees.

Operations that the file lists come first, then its Hall symbol, then its Hermann-Mauguin symbol,
then its number. What comes later must agree with what came first.
"""

from dataclasses import replace

import gemmi
import numpy as np

from symmbfn._shapes import Float
from symmbfn.crystals.cif.block import CifBlock, number_of
from symmbfn.crystals.group_operations import GroupOperations
from symmbfn.crystals.space_group_names import Name, space_group_of_number, space_group_of_symbol

MAX_LISTED = 2_000
_OPERATIONS = ("_space_group_symop_operation_xyz", "_symmetry_equiv_pos_as_xyz")
_HALL = ("_space_group_name_hall", "_symmetry_space_group_name_hall")
_SYMBOLS = (
    "_space_group_name_h-m_alt",
    "_symmetry_space_group_name_h-m",
    "_space_group_name_h-m",
    "_space_group_name_h-m_full",
)
_NUMBERS = ("_space_group_it_number", "_symmetry_int_tables_number")
_CODE = "_space_group_it_coordinate_system_code"
_LETTERS = set("xyz0123456789+-*/., ")  # of an operation
_OTHER_KINDS = {
    "_space_group_magn": "magnetic",
    "_space_group_symop_magn": "magnetic",
    "_atom_site_moment": "magnetic",
    "_space_group_ssg": "modulated",
    "_space_group_symop_ssg": "modulated",
    "_cell_wave_vector": "modulated",
    "_cell_subsystem": "composite",
}


def operations_of_cif(block: CifBlock, lattice_matrix: Float[np.ndarray, "3 3"]) -> GroupOperations:
    """Return the operations that fill the cell of a CIF.

    Args:
        block: its data block.
        lattice_matrix: rows a, b, c, angstrom, shape (3, 3).

    Raises:
        ValueError: the symmetry cannot be read, is left open, does not fit the cell, or two
            statements of it disagree.
    """
    _check_kind(block)
    names, unread = _names(block)
    listed = _listed(block)
    by_hall, unread_hall = _by_hall(block)
    if listed and by_hall and listed.elements != by_hall.elements:
        raise ValueError("the listed operations are not those of the Hall symbol")
    operations = listed or by_hall
    if not listed and unread_hall:
        raise ValueError(unread_hall[0])
    metric = lattice_matrix @ lattice_matrix.T
    if operations is None:
        return _named(block, names, unread, metric)
    source = "listed operations" if listed else "Hall symbol"
    if triplet := operations.first_breaking(metric):
        raise ValueError(f"{source}: {triplet} changes the lengths or angles of the cell")
    unread += unread_hall
    number = operations.number(lattice_matrix) if names or unread else 0
    for name in names:
        if not name.agrees(operations, number):
            what = f"space group {number}" if number not in name.numbers else "another setting"
            raise ValueError(f"{source} of {what}, but the file names space group {name.text}")
    if unread and number == 1:
        raise ValueError(f"{source} of space group 1, but the file names another: {unread[0]}")
    return operations


def _check_kind(block: CifBlock) -> None:
    for tag, kind in _OTHER_KINDS.items():
        if block.has(tag):
            raise ValueError(f"CIF of a {kind} structure, since it has {tag}: it is not read")
    if any(number_of(value, "dimension") for value in block.known("_cell_modulation_dimension")):
        raise ValueError("CIF of a modulated structure: it is not read")


def _known(block: CifBlock, tags: tuple[str, ...]) -> list[str]:
    values = [value.strip() for tag in tags for value in block.known(tag)]
    return list(dict.fromkeys(value for value in values if value))


def _listed(block: CifBlock) -> GroupOperations | None:
    """The operations that the file lists."""
    groups = []
    for tag in _OPERATIONS:
        triplets = block.known(tag)
        if n_missing := len(block.column(tag)) - len(triplets) if triplets else 0:
            raise ValueError(f"{n_missing} of the listed operations are missing: '?' or '.'")
        if triplets:
            groups.append(_group(triplets))
    if len({group.elements for group in groups}) > 1:
        raise ValueError("two lists of operations that differ")
    return groups[0] if groups else None


def _group(triplets: list[str]) -> GroupOperations:
    if len(triplets) > MAX_LISTED:
        raise ValueError(f"{len(triplets)} operations, expected at most {MAX_LISTED}")
    operations = []
    for triplet in triplets:
        text = " ".join(triplet.lower().replace("+-", "-").split())
        number, _, rest = text.partition(" ")
        if number.isdigit() and rest[:1] not in "/*":  # "2 -x,y,-z"; 2 whole cells change nothing
            text = rest
        try:
            if not set(text) <= _LETTERS:
                raise ValueError
            operations.append(gemmi.Op(text))
        except (ValueError, RuntimeError):
            raise ValueError(f"operation {triplet!r} cannot be read") from None
    group = GroupOperations.of(operations)
    if not group.is_closed:
        raise ValueError(f"the {len(group)} listed operations are no group: some are missing")
    return group


def _by_hall(block: CifBlock) -> tuple[GroupOperations | None, list[str]]:
    """The operations of the Hall symbol, and why others cannot be read."""
    groups, unread = [], []
    for symbol in _known(block, _HALL):
        try:
            group = GroupOperations.of(gemmi.symops_from_hall(symbol))
            if not group.is_closed:
                raise ValueError
            groups.append(group)
        except (ValueError, RuntimeError):
            unread.append(f"Hall symbol {symbol!r} cannot be read")
    if len({group.elements for group in groups}) > 1:
        raise ValueError("two Hall symbols that differ")
    return (groups[0] if groups else None), unread


def _names(block: CifBlock) -> tuple[list[Name], list[str]]:
    """Names that can be read, symbols before numbers, and why other symbols cannot."""
    code = next(iter(_known(block, (_CODE,))), "")
    names, unread = [], []
    for symbol in _known(block, _SYMBOLS):
        try:
            names.append(space_group_of_symbol(symbol, code))
        except ValueError as error:
            unread.append(str(error))
    for text in _known(block, _NUMBERS):
        number = number_of(text, "the space group number")
        names.append(space_group_of_number(int(number) if number % 1 == 0 else 0, code))
    return names, unread


def _named(
    block: CifBlock, names: list[Name], unread: list[str], metric: Float[np.ndarray, "3 3"]
) -> GroupOperations:
    """The operations of the one setting that the names leave."""
    if unread and len(unread) == len(_known(block, _SYMBOLS)):
        raise ValueError(unread[0])
    if not names:
        for tag in block.columns:
            if tag.startswith(("_space_group_", "_symmetry_")):
                raise ValueError(f"the space group cannot be read: all there is of it is {tag}")
        return _group(["x,y,z"])  # what the CIF dictionary takes where a file says nothing
    first, *others = names
    settings = [
        setting
        for setting in first.settings
        if all(name.agrees(setting.operations, setting.number) for name in others)
    ]
    if not settings:
        raise ValueError(
            f"the file names different space groups: {', '.join(n.text for n in names)}"
        )
    return replace(first, settings=tuple(settings)).setting(metric).operations
