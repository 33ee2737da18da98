"""Phases of a convex hull, read from open files: formation energies or total energies."""

import gzip
import hashlib
import json
import math
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.elements import element_number

if TYPE_CHECKING:
    import pandas

Amounts = Mapping[str, float | int]  # element symbol -> amount, in any unit
Composition = dict[str, float]
COLUMNS = ("formula", "formation_energy_per_atom")
# the datasets' own names for the same columns
SAME_COLUMN = {"pretty_formula": "formula", "material_id": "id"}
MAX_FORMULA_CHARACTERS = 200


@dataclass(frozen=True)
class Entry:
    """One phase.

    Args:
        id: of the phase, or of the crystal that told of a hull point.
        composition: element symbol -> amount.
        formation_energy_per_atom: eV/atom, elements at 0.
        is_hull_point: no phase of its own, only the height of the hull at this composition.
    """

    id: str
    composition: Composition
    formation_energy_per_atom: float
    is_hull_point: bool = False


def composition_from_formula(formula: str) -> Composition:
    """Read a formula such as "Nd(Al2Cu)4".

    Raises:
        ValueError: it is none, or names something that is no element.
    """
    from pymatgen.core import Composition as Formula

    if len(formula) > MAX_FORMULA_CHARACTERS:
        raise ValueError(f"a formula of {len(formula)} characters: {formula[:40]}...")
    try:
        composition = Formula(formula).get_el_amt_dict()
    except Exception as error:  # pymatgen has several kinds
        raise ValueError(f"{formula!r} is no formula: {error}") from None
    return checked_composition(composition)


def checked_composition(composition: Amounts) -> Composition:
    """Return the same composition.

    Raises:
        ValueError: it is empty, an amount is not positive, or a symbol is no element's.
    """
    if not composition or not all(0 < x < math.inf for x in composition.values()):
        raise ValueError(f"amounts of a composition must be positive, got {dict(composition)}")
    for symbol in composition:
        element_number(symbol)
    return {symbol: float(amount) for symbol, amount in composition.items()}


def read_entries(path: str | Path) -> list[Entry]:
    """Read phases from a file of the user.

    Args:
        path: `.json` or `.json.gz`: a list (or a mapping to values) of entries as pymatgen's
            ComputedEntry writes them and the Materials Project exports them, with
            `composition`, `energy` (eV per composition, before the correction), and where
            known `correction` and `entry_id`; the elements' own entries must be among them.
            `.csv`, `.csv.gz` or `.parquet`: columns `formula` and `formation_energy_per_atom`
            (eV/atom), and where known `id`.

    Raises:
        ValueError: a pickle, an unknown kind of file, or an entry without sense, by its row.
    """
    path = Path(path)
    name = path.name.lower()
    if any(part in (".pkl", ".pickle") for part in Path(name).suffixes):
        raise ValueError(f"{path.name} is a pickle, and reading one runs its code: use JSON")
    try:
        if name.endswith((".json", ".json.gz")):
            text = gzip.decompress(path.read_bytes()) if name.endswith("gz") else path.read_bytes()
            content = json.loads(text)
            return entries_from_totals(content.values() if isinstance(content, dict) else content)
        if name.endswith((".csv", ".csv.gz", ".parquet")):
            return entries_from_table(read_columns(path))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    except (EOFError, OSError, zlib.error, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} holds no entries: {error!r}") from None
    raise ValueError(f"entries are read from .json, .csv (also .gz) or .parquet, not {path.name}")


def read_columns(path: Path) -> "pandas.DataFrame":
    """Read a table, taking nothing for missing but the empty field: NaN is sodium nitride."""
    import pandas as pd

    if path.suffix.lower() == ".parquet":
        table = pd.read_parquet(path)
    else:
        energies = ("formation_energy_per_atom", "e_above_hull")
        kinds: defaultdict[str, type] = defaultdict(lambda: str, dict.fromkeys(energies, float))
        table = pd.read_csv(
            path,
            usecols=lambda name: name != "cif",
            dtype=kinds,
            keep_default_na=False,
            na_values={name: [""] for name in energies},
        )
    return table.rename(columns=SAME_COLUMN)


def entries_from_table(table: "pandas.DataFrame") -> list[Entry]:
    """Return one phase a row, see `read_entries`."""
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(f"a table of phases has no column {', '.join(missing)}")
    ids = table["id"] if "id" in table else [f"row-{row}" for row in range(len(table))]
    columns = zip(ids, *(table[column] for column in COLUMNS), strict=True)
    entries = []
    for row, (id_, formula, energy) in enumerate(columns):
        if not math.isfinite(energy):
            raise ValueError(f"row {row} ({formula}) has no formation energy: {energy}")
        entries.append(Entry(str(id_), composition_from_formula(str(formula)), float(energy)))
    return entries


def hull_points(table: "pandas.DataFrame") -> list[Entry]:
    """Heights of the hull that crystals of known hull distance tell, where both are known.

    Args:
        table: columns `id`, `formula`, `formation_energy_per_atom`, `e_above_hull`, eV/atom.
    """
    known = table[table["formation_energy_per_atom"].notna() & table["e_above_hull"].notna()]
    height = known["formation_energy_per_atom"] - known["e_above_hull"]
    return [
        Entry(str(id_), composition_from_formula(formula), float(energy), is_hull_point=True)
        for id_, formula, energy in zip(known["id"], known["formula"], height, strict=True)
    ]


def entries_from_totals(computed: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Turn total energies into formation energies by the elements' own lowest entries.

    Raises:
        ValueError: an entry without sense, or elements that have no entry of their own.
    """
    totals = [_total(row, entry) for row, entry in enumerate(computed)]
    references = lowest_elements(totals)
    occurring = {symbol for _, composition, _ in totals for symbol in composition}
    if unknown := sorted(occurring - references.keys()):
        raise ValueError(f"no entry of the pure elements {', '.join(unknown)} to refer to")
    return [
        Entry(id_, composition, energy - mean_of(references, composition))
        for id_, composition, energy in totals
    ]


def lowest_elements(totals: Iterable[tuple[str, Composition, float]]) -> dict[str, float]:
    """Lowest energy of each pure element among (id, composition, eV/atom)."""
    references: dict[str, float] = {}
    for _, composition, energy in totals:
        if len(composition) == 1:
            (symbol,) = composition
            references[symbol] = min(energy, references.get(symbol, math.inf))
    return references


def mean_of(values: Mapping[str, float], composition: Amounts) -> float:
    """Mean of a quantity of the elements over the atoms of a composition."""
    return sum(values[symbol] * n for symbol, n in composition.items()) / sum(composition.values())


def read_elemental_energies(path: Path) -> dict[str, float]:
    """Corrected energies of the pure elements, eV/atom, from a JSON file of entries."""
    raw = path.read_bytes()
    content = json.loads(gzip.decompress(raw) if path.suffix == ".gz" else raw)
    entries = content.values() if isinstance(content, dict) else content
    return lowest_elements(_total(row, entry) for row, entry in enumerate(entries))


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of files, one after the other: that of `sha256sum` for a single one."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _total(row: int, entry: Mapping[str, Any]) -> tuple[str, Composition, float]:
    """Id, composition and corrected energy per atom of a ComputedEntry's dictionary."""
    given = entry["composition"]
    if isinstance(given, str):
        composition = composition_from_formula(given)
    else:
        composition = checked_composition({key: float(n) for key, n in given.items()})
    energy = float(entry["energy"]) + float(entry.get("correction") or 0.0)
    if not math.isfinite(energy):
        raise ValueError(f"entry {row} ({given}) has the energy {energy}")
    id_ = entry.get("entry_id")
    label = f"entry-{row}" if id_ is None else str(id_)
    return label, composition, energy / sum(composition.values())
