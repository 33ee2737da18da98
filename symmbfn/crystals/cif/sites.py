"""The sites of a CIF: which element each is, where it lies, and whether one was lost."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from symmbfn._shapes import Bool, Float
from symmbfn.crystals.cif.block import CifBlock, number_of
from symmbfn.crystals.cif.formula import ELEMENTS
from symmbfn.crystals.group_operations import GRID, GroupOperations

MAX_ATOMS = 2_000
_MORE = ("calc_flag", "attached_hydrogens", "disorder_group", "occupancy")
_WATERS = ("h2o", "h3o")
_WITH_HYDROGEN = ("oh", "ow", "wat", "nh", *_WATERS)  # labels of O or N that bear hydrogen
_HIDES_HYDROGEN = set("HDW")  # OH, NH, OW
_FULL = 1e-3  # by which an occupancy may miss 1
_THIRDS = 1e-4  # by which a coordinate of few digits misses 1/3 or 2/3, relative
_LARGEST = 1e4  # of a fractional coordinate


@dataclass(frozen=True)
class CifSites:
    """Sites as they stand in the file.

    Args:
        labels: their names.
        symbols: their elements, "H" for D and T.
        coords: fractional coordinates, shape (D, 3).
    """

    labels: list[str]
    symbols: list[str]
    coords: Float[np.ndarray, "D 3"]


def sites_of_cif(block: CifBlock, in_formula: Collection[str]) -> CifSites:
    """Read all sites of a CIF.

    Args:
        block: its data block.
        in_formula: elements of its formula, which decide where a label leaves two.

    Raises:
        ValueError: a site is no whole atom of a known element at a known place.
    """
    places = [block.column(f"_atom_site_fract_{axis}") for axis in "xyz"]
    if not all(places):
        other = " but Cartesian ones" if block.column("_atom_site_cartn_x") else ""
        raise ValueError(f"unreadable CIF: no fractional coordinates of atoms{other}")
    n_sites = len(places[0])
    types, labels = _names(block, n_sites)
    _check_whole_atoms(block, labels)
    coords = [
        [_coordinate(values, row, axis, labels) for axis, values in zip("xyz", places, strict=True)]
        for row in range(n_sites)
    ]
    if types:
        symbols = [_element_of_type(kind, name) for kind, name in zip(types, labels, strict=True)]
    else:
        symbols = [_element_of_label(label, in_formula) for label in labels]
    if not in_formula and "H" not in symbols:
        _check_no_hidden_hydrogen(labels, symbols)
    return CifSites(labels, symbols, _with_thirds(np.array(coords)))


def images_of_sites(
    sites: CifSites, operations: GroupOperations, tolerance: float
) -> tuple[list[int], Float[np.ndarray, "A 3"]]:
    """Fill the cell.

    Args:
        sites: as the file lists them.
        operations: of its space group.
        tolerance: by which images of a site may differ and still be one atom, fractional.

    Returns:
        The site of each atom, and its coordinates in [0, 1), shape (A, 3).

    Raises:
        ValueError: two sites lie in one place, or there are too many atoms.
    """
    translations = operations.translations / GRID
    rows: list[int] = []
    atoms = np.empty((0, 3))
    for row, site in enumerate(sites.coords):
        images = operations.rotations @ site + translations
        images -= np.floor(images)
        met = np.flatnonzero(_meet(atoms, images[0], tolerance))
        if len(met):
            pair = rows[met[0]], row
            both = " and ".join(f"{sites.labels[i]} ({sites.symbols[i]})" for i in pair)
            is_repeated = len(operations) > 1 and len({sites.symbols[i] for i in pair}) == 1
            why = "atoms are listed that the operations make too" if is_repeated else "disordered"
            raise ValueError(f"{why}: sites {both} lie in one place")
        meet = _meet(images[:, None], images, tolerance)
        kept: list[int] = []
        for image in range(len(images)):
            if not meet[image, kept].any():
                kept.append(image)
        rows += [row] * len(kept)
        if len(rows) > MAX_ATOMS:
            raise ValueError(f"more than {MAX_ATOMS} atoms")
        atoms = np.concatenate([atoms, images[kept]])
    return rows, atoms


def _meet(
    first: Float[np.ndarray, "*#batch 3"], second: Float[np.ndarray, "*#batch 3"], tolerance: float
) -> Bool[np.ndarray, "*batch"]:
    """Whether two points are one, whole cells aside."""
    steps = first - second
    return (np.abs(steps - np.rint(steps)) < tolerance).all(axis=-1)


def _names(block: CifBlock, n_sites: int) -> tuple[list[str | None], list[str]]:
    """Type symbols, if there are any, and labels."""
    for name in ("label", "type_symbol", *_MORE, "fract_y", "fract_z"):
        n_values = len(block.column(f"_atom_site_{name}"))
        if n_values not in (0, n_sites):
            raise ValueError(f"unreadable CIF: {n_values} _atom_site_{name} of {n_sites} sites")
    types = block.column("_atom_site_type_symbol")
    labels = block.column("_atom_site_label") or types
    if not labels:
        raise ValueError("unreadable CIF: no _atom_site_label and no _atom_site_type_symbol")
    return types, [label or f"number {row + 1}" for row, label in enumerate(labels)]


def _check_whole_atoms(block: CifBlock, labels: list[str]) -> None:
    """Refuse dummies, hydrogen that is not placed, and sites that are not full."""
    for row, flag in enumerate(block.column("_atom_site_calc_flag")):
        if flag and flag.lower() == "dum":
            raise ValueError(f"site {labels[row]} is a dummy, no atom")
    for row, text in enumerate(block.column("_atom_site_attached_hydrogens")):
        if text is not None and number_of(text, f"attached hydrogens of {labels[row]}") != 0:
            raise ValueError(f"site {labels[row]} has attached hydrogens without a place")
    for row, group in enumerate(block.column("_atom_site_disorder_group")):
        if group not in (None, "0"):
            raise ValueError(f"disordered: site {labels[row]} is of disorder group {group}")
    for row, text in enumerate(block.column("_atom_site_occupancy")):
        occupancy = 1.0 if text is None else number_of(text, f"occupancy of site {labels[row]}")
        if not abs(occupancy - 1) <= _FULL:
            raise ValueError(
                f"disordered or partly occupied: site {labels[row]} has occupancy {text}"
            )


def _check_no_hidden_hydrogen(labels: list[str], symbols: list[str]) -> None:
    """Refuse water and OH without hydrogen where no formula says whether there is any."""
    for label, symbol in zip(labels, symbols, strict=True):
        if symbol in ("O", "N") and label.lower().startswith(_WITH_HYDROGEN):
            raise ValueError(f"site {label} is {symbol} by its type, with hydrogen by its name")


def _coordinate(values: list[str | None], row: int, axis: str, labels: list[str]) -> float:
    text = values[row]
    if text is None:
        raise ValueError(f"site {labels[row]} has no coordinate {axis}")
    value = number_of(text, f"coordinate {axis} of site {labels[row]}")
    if not abs(value) < _LARGEST:
        raise ValueError(f"unreadable CIF: coordinate {axis} of site {labels[row]} is {text}")
    return value


def _with_thirds(coords: Float[np.ndarray, "D 3"]) -> Float[np.ndarray, "D 3"]:
    """Set 0.3333 to 1/3 and 0.6667 to 2/3, which no decimal digits say exactly."""
    for third in (1 / 3, 2 / 3):
        coords = np.where(np.abs(coords / third - 1) <= _THIRDS, third, coords)
    return coords


def _element_of_type(kind: str | None, label: str) -> str:
    """The element of a type symbol: "Fe", "Fe3+", "O2-", "CL", "D"."""
    letters = _leading_letters(kind or "")
    rest = (kind or "")[len(letters) :]
    is_group = len(letters) == 2 and letters.isupper() and rest.isdigit()  # CO3, NO3
    is_group = is_group and all(letter.lower() in ELEMENTS for letter in letters)
    if letters.lower() not in ELEMENTS or is_group or any(map(str.isalpha, rest)):
        raise ValueError(f"site {label}: {kind or '?'!r} is no element")
    return ELEMENTS[letters.lower()]


def _element_of_label(label: str, in_formula: Collection[str]) -> str:
    """The element of a label: "Fe1", "CL2"; "CA1" and "SiT" where the formula decides."""
    letters = _leading_letters(label)
    head = letters[:1] + _run(letters[1:], str.islower)
    whole = ELEMENTS.get(letters.lower(), "")
    readings = {whole, ELEMENTS.get(head.lower(), "")}
    # T is also the tetrahedral site of a zeolite
    is_open = not whole or len(readings - {""}) > 1 or letters.upper() == "T"
    if is_open:
        readings = {element for element in readings if element in in_formula}
    # with a formula, hydrogen that is not placed is missed by it
    may_hide = not whole and not in_formula
    hides_hydrogen = may_hide and bool(_HIDES_HYDROGEN & set(letters[len(head) :].upper()))
    found = readings - {""}
    if len(found) != 1 or hides_hydrogen or label.lower().startswith(_WATERS):
        raise ValueError(
            f"site {label!r} names no element for certain: give it in _atom_site_type_symbol"
        )
    return found.pop()


def _leading_letters(text: str) -> str:
    return _run(text, str.isalpha)


def _run(text: str, kind: Callable[[str], bool]) -> str:
    """The letters of one kind at the start of a text."""
    return "".join(takewhile(kind, text))
