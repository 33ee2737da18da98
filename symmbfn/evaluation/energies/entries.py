"""Phases of a convex hull, read from open files: formation energies or total energies."""

import gzip
import hashlib
import json
import math
import sys
import zlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.elements import element_number
from symmbfn.evaluation.energies.run_types import (
    MIXED,
    rows_of_one_scale,
    scale_of,
    split_id,
    stated_run_type,
)

if TYPE_CHECKING:
    import pandas

Amounts = Mapping[str, float | int]  # element symbol -> amount, in any unit
Composition = dict[str, float]
COLUMNS = ("formula", "formation_energy_per_atom")
# not "source", by which tables mean many things, such as the dataset of a crystal
SOURCE_COLUMN = "energy_source"
DFT = "DFT"
# what the datasets and the Materials Project call the same columns
SAME_COLUMN = {
    **dict.fromkeys(("pretty_formula", "formula_pretty"), "formula"),
    **dict.fromkeys(("material_id", "entry_id"), "id"),
}
RUN_TYPE_COLUMNS = ("run_type", "thermo_type")
MAX_FORMULA_CHARACTERS = 200
SAME_CORRECTION = 1e-3  # eV; a file may round the sum of its adjustments


@dataclass(frozen=True)
class Entry:
    """One phase.

    Args:
        id: of the phase, or of the crystal that told of a hull point.
        composition: element symbol -> amount.
        formation_energy_per_atom: eV/atom, elements at 0.
        is_hull_point: no phase of its own, only the height of the hull at this composition.
        run_type: of the calculation, such as "GGA+U"; empty where the file does not say.
        source: who says the energy: "DFT", or a potential with its version, such as
            "CHGNet 0.3.0".
    """

    id: str
    composition: Composition
    formation_energy_per_atom: float
    is_hull_point: bool = False
    run_type: str = ""
    source: str = DFT


@dataclass(frozen=True)
class Total:
    """One calculation of a phase.

    Args:
        id: of the phase, without the run type that some ids end in.
        composition: element symbol -> amount.
        energy_per_atom: with all corrections, eV/atom.
        run_type: as in `Entry`.
        is_corrected: whether the energy has a correction.
    """

    id: str
    composition: Composition
    energy_per_atom: float
    run_type: str = ""
    is_corrected: bool = False


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

    Where run types are stated, all entries must be of one scale. Of several, those of GGA and
    GGA+U are taken, and standard error says so.

    Args:
        path: `.json` or `.json.gz`: a list (or a mapping to values) of entries as pymatgen's
            ComputedEntry writes them and the Materials Project exports them, with
            `composition`, `energy` (eV per composition, before corrections), and where known
            `energy_adjustments` or the older `correction`, `entry_id`, and `run_type` in
            `parameters`; the elements' own entries must be among them.
            `.csv`, `.csv.gz` or `.parquet`: columns `formula` and `formation_energy_per_atom`
            (eV/atom), and where known `id`, `run_type` or `thermo_type`, and `energy_source`,
            see `Entry.source`. A row with a `reason` why it has no energy is left out, which
            standard error says; `symmbfn hull` and `symmbfn label` write such files.

    Raises:
        ValueError: a pickle, an unknown kind of file, an entry without sense, by its row, or
            energies that cannot be compared.
    """
    path = Path(path)
    name = path.name.lower()
    if any(part in (".pkl", ".pickle") for part in Path(name).suffixes):
        raise ValueError(f"{path.name} is a pickle, and reading one runs its code: use JSON")
    try:
        if name.endswith((".json", ".json.gz")):
            return entries_from_totals(_dictionaries(path))
        if name.endswith((".csv", ".csv.gz", ".parquet")):
            return entries_from_table(read_columns(path))
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None
    except (EOFError, OSError, zlib.error, LookupError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name} holds no entries: {error!r}") from None
    raise ValueError(f"entries are read from .json, .csv (also .gz) or .parquet, not {path.name}")


def _dictionaries(path: Path) -> list[Mapping[str, Any]]:
    raw = path.read_bytes()
    content = json.loads(gzip.decompress(raw) if path.name.lower().endswith(".gz") else raw)
    return list(content.values() if isinstance(content, dict) else content)


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
    for theirs, ours in SAME_COLUMN.items():
        if theirs in table and ours not in table:
            table = table.rename(columns={theirs: ours})
    return table


def entries_from_table(table: "pandas.DataFrame") -> list[Entry]:
    """Return one phase a row, see `read_entries`."""
    if missing := [column for column in COLUMNS if column not in table]:
        raise ValueError(f"a table of phases has no column {', '.join(missing)}")
    table = _with_energies(table)
    ids = table["id"] if "id" in table else [f"row-{row}" for row in table.index]
    run_types = _run_types(table, ids)
    sources = table[SOURCE_COLUMN].astype(str) if SOURCE_COLUMN in table else [DFT] * len(table)
    columns = (ids, *(table[column] for column in COLUMNS), run_types, sources, table.index)
    rows = list(zip(*columns, strict=True))
    compositions = compositions_of(table["formula"])
    entries = []
    for place in rows_of_one_scale(run_types):
        id_, formula, energy, run_type, source, row = rows[place]
        if not math.isfinite(energy):
            raise ValueError(f"row {row} ({formula}) has no formation energy: {energy}")
        if not source:
            raise ValueError(f"row {row} ({formula}) has no {SOURCE_COLUMN}")
        name, composition = split_id(str(id_))[0], compositions[place]
        entries.append(Entry(name, composition, float(energy), run_type=run_type, source=source))
    return entries


def _with_energies(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """Rows without a reason why there is no energy."""
    table = table.reset_index(drop=True)
    if "reason" not in table:
        return table
    has_failed = table["reason"].fillna("") != ""
    if has_failed.any():
        print(f"hull: {has_failed.sum()} rows without an energy are left out", file=sys.stderr)
    return table[~has_failed]


def compositions_of(formulas: Iterable[object]) -> list[Composition]:
    """Compositions of formulas, many of which may be the same: each is read once."""
    names = [str(formula) for formula in formulas]
    known = {name: composition_from_formula(name) for name in dict.fromkeys(names)}
    return [known[name] for name in names]


def _run_types(table: "pandas.DataFrame", ids: Iterable[object]) -> list[str]:
    """What each row says of its calculation; a thermodynamic type tells the scale best."""
    columns = [table[name].fillna("").astype(str) for name in RUN_TYPE_COLUMNS if name in table]
    rows = zip((split_id(str(id_))[1] for id_ in ids), *columns, strict=True)
    return [next((name for name in reversed(row) if scale_of(name)), "") for row in rows]


def hull_points(table: "pandas.DataFrame") -> list[Entry]:
    """Heights of the hull that crystals of known hull distance tell, where both are known.

    Args:
        table: columns `id`, `formula`, `formation_energy_per_atom`, `e_above_hull`, eV/atom.
    """
    known = table[table["formation_energy_per_atom"].notna() & table["e_above_hull"].notna()]
    height = known["formation_energy_per_atom"] - known["e_above_hull"]
    compositions = compositions_of(known["formula"])
    return [
        Entry(str(id_), composition, float(energy), is_hull_point=True)
        for id_, composition, energy in zip(known["id"], compositions, height, strict=True)
    ]


def entries_from_totals(computed: Iterable[Mapping[str, Any]]) -> list[Entry]:
    """Turn total energies into formation energies by the elements' own lowest entries.

    Raises:
        ValueError: an entry without sense, energies that cannot be compared, or elements that
            have no entry of their own.
    """
    totals = _comparable(computed)
    references = lowest_elements(totals)
    occurring = {symbol for total in totals for symbol in total.composition}
    if unknown := sorted(occurring - references.keys()):
        raise ValueError(f"no entry of the pure elements {', '.join(unknown)} to refer to")
    return [
        Entry(
            total.id,
            total.composition,
            total.energy_per_atom - mean_of(references, total.composition),
            run_type=total.run_type,
        )
        for total in totals
    ]


def _comparable(computed: Iterable[Mapping[str, Any]]) -> list[Total]:
    """Totals on one scale."""
    totals = []
    for row, entry in enumerate(computed):
        try:
            totals.append(_total(row, entry))
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"entry {row} is no entry: {error!r}") from None
    if mixed := [total.id for total in totals if total.run_type == MIXED]:
        raise ValueError(
            f"{len(mixed)} entries, such as {mixed[0]}, are of the mixing scheme {MIXED}, whose "
            "total energies hold within one chemical system: give those of GGA_GGA+U"
        )
    chosen = [totals[row] for row in rows_of_one_scale([total.run_type for total in totals])]
    raw = [t.id for t in chosen if t.run_type.upper().endswith("+U") and not t.is_corrected]
    if raw and len({total.run_type for total in chosen}) > 1:
        print(
            f"hull: {len(raw)} entries with a Hubbard U, such as {raw[0]}, have no correction, and "
            "lie beside others without U only after MaterialsProject2020Compatibility",
            file=sys.stderr,
        )
    return chosen


def lowest_elements(totals: Iterable[Total]) -> dict[str, float]:
    """Lowest energy of each pure element, eV/atom."""
    references: dict[str, float] = {}
    for total in totals:
        if len(total.composition) == 1:
            (symbol,) = total.composition
            references[symbol] = min(total.energy_per_atom, references.get(symbol, math.inf))
    return references


def mean_of(values: Mapping[str, float], composition: Amounts) -> float:
    """Mean of a quantity of the elements over the atoms of a composition."""
    return sum(values[symbol] * n for symbol, n in composition.items()) / sum(composition.values())


def read_elemental_energies(path: Path) -> dict[str, float]:
    """Corrected energies of the pure elements, eV/atom, from a JSON file of entries."""
    return lowest_elements(_comparable(_dictionaries(path)))


def digest_of(paths: Iterable[Path]) -> str:
    """SHA-256 of files, one after the other: that of `sha256sum` for a single one."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def _total(row: int, entry: Mapping[str, Any]) -> Total:
    """The calculation in a ComputedEntry's dictionary."""
    stated = entry["composition"]
    if isinstance(stated, str):
        composition = composition_from_formula(stated)
    else:
        composition = checked_composition({key: float(n) for key, n in stated.items()})
    correction = _correction(row, entry)
    energy = float(entry["energy"]) + correction
    if not math.isfinite(energy):
        raise ValueError(f"entry {row} ({stated}) has the energy {energy}")
    id_ = entry.get("entry_id")
    label = f"entry-{row}" if id_ is None else split_id(str(id_))[0]
    per_atom = energy / sum(composition.values())
    return Total(label, composition, per_atom, stated_run_type(entry), correction != 0)


def _correction(row: int, entry: Mapping[str, Any]) -> float:
    """What is added to an energy, eV: its adjustments, or one number in older files."""
    stated = float(entry.get("correction") or 0.0)
    adjustments = entry.get("energy_adjustments") or ()
    if not adjustments:
        return stated
    total = sum(_adjustment(row, one) for one in adjustments)
    if stated and not abs(total - stated) <= SAME_CORRECTION:
        raise ValueError(
            f"entry {row} has a correction of {stated} eV and adjustments of {total} eV"
        )
    return total


def _adjustment(row: int, one: Mapping[str, Any]) -> float:
    """Value of one energy adjustment, eV: as it is stated, per atom, or per atom and degree."""
    if "value" in one:
        return float(one["value"])
    n_atoms = float(one.get("n_atoms", math.nan))
    if "adj_per_atom" in one:
        return float(one["adj_per_atom"]) * n_atoms
    if "adj_per_deg" in one:
        return float(one["adj_per_deg"]) * n_atoms * float(one.get("temp", math.nan))
    raise ValueError(f"entry {row} has an energy adjustment of no known kind: {dict(one)}")
