"""Which total energies may be compared: those of one functional, with one scheme of corrections."""

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

# the Materials Project's corrections of 2020 bring these to one scale
GGA = "GGA and GGA+U"
SAME_SCALE = {
    **dict.fromkeys(("GGA", "GGA+U", "GGA_U", "GGA(+U)", "GGA_GGA+U"), GGA),
    **dict.fromkeys(("PBE", "PBE+U", "PBE_U"), GGA),
}
# thermodynamic types, which may be stated where the type of the calculation is not
MIXED = "GGA_GGA+U_R2SCAN"
MIXING_ADJUSTMENT = "mixing adjustment"  # in the names of the scheme's energy adjustments
UNKNOWN = ("", "UNKNOWN", "NONE", "NAN")
IN_IDS = ("GGA+U", "GGA", "R2SCAN", "SCAN", "PBE+U", "PBE", "PBESOL", "HSE06", "LDA")


def scale_of(run_type: str) -> str:
    """The scale on which energies of a run type lie, "" for one that says nothing.

    Args:
        run_type: of a calculation, such as "GGA+U" or "r2SCAN", or a thermodynamic type of the
            Materials Project, such as "GGA_GGA+U".
    """
    name = run_type.strip().upper()
    return "" if name in UNKNOWN else SAME_SCALE.get(name, name)


def stated_run_type(entry: Mapping[str, Any]) -> str:
    """What a dictionary of a computed entry says of its calculation; "" where it says nothing.

    It is looked for in `parameters`, in `data` and beside them, as `run_type` and `thermo_type`,
    then at the end of the id, as in "mp-149-R2SCAN".

    Raises:
        ValueError: two of them name different scales.
    """
    places = [entry.get("parameters") or {}, entry.get("data") or {}, entry]
    stated = [str(place.get(key) or "") for key in ("run_type", "thermo_type") for place in places]
    stated.append(split_id(str(entry.get("entry_id") or ""))[1])
    known = [name for name in stated if scale_of(name)]
    if is_mixed(entry) or any(scale_of(name) == MIXED for name in known):
        return MIXED
    if len({scale_of(name) for name in known}) > 1:
        raise ValueError(f"{entry.get('entry_id')} names two run types: {', '.join(known)}")
    return known[0] if known else ""


def is_mixed(entry: Mapping[str, Any]) -> bool:
    """Whether an energy was moved to the scale of another functional, within its own system."""
    names = (str(one.get("name") or "") for one in entry.get("energy_adjustments") or ())
    return any(MIXING_ADJUSTMENT in name for name in names)


def split_id(id_: str) -> tuple[str, str]:
    """Id without and run type at its end: "mp-149-GGA+U" is ("mp-149", "GGA+U")."""
    material, dash, end = id_.rpartition("-")
    return (material, end) if dash and end.upper() in IN_IDS else (id_, "")


def rows_of_one_scale(run_types: Sequence[str]) -> list[int]:
    """The rows whose energies lie on one scale: GGA and GGA+U where there are several.

    CHGNet's energies and the references of its elements lie on the scale of GGA and GGA+U. What
    is left out is said on standard error.

    Args:
        run_types: of each row, "" where nothing is known.

    Raises:
        ValueError: rows that say nothing beside some that do, or several scales without GGA.
    """
    scales = [scale_of(name) for name in run_types]
    counts = Counter(scales)
    if len(counts) <= 1:
        return list(range(len(scales)))
    listed = ", ".join(f"{n} of {scale or 'no run type'}" for scale, n in counts.most_common())
    if "" in counts:
        raise ValueError(
            f"entries {listed}, the first of them entry {scales.index('')}: "
            "give the run type of all, or of none where all are of one"
        )
    if GGA not in counts:
        raise ValueError(f"energies of several scales, {listed}: give the entries of one")
    print(f"hull: {GGA} alone are taken, of entries {listed}", file=sys.stderr)
    return [row for row, scale in enumerate(scales) if scale == GGA]
