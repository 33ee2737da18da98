"""What a table of judged crystals comes to: counts that add up, rates with intervals, costs."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.symmetry_search import is_group_kept
from symmbfn.evaluation.energies.stability import (
    BOTH,
    CONVENTIONS,
    Rate,
    costs,
    first_of_each,
    is_true,
    left_out,
    stability_rates,
)
from symmbfn.evaluation.validity import UNASKED

if TYPE_CHECKING:
    import pandas

STABLE, METASTABLE = 0.0, 0.1  # eV/atom above the hull; the limits of our convention


@dataclass(frozen=True)
class Judging:
    """What rates of stability rest on, as it stands beside each of them.

    Args:
        hull: name of the convex hull; None where it is not known.
        judge: name of the potential whose energies count.
        second_judge: name of the potential that was asked as well.
    """

    hull: str | None = None
    judge: str | None = None
    second_judge: str | None = None


def summarise(
    table: "pandas.DataFrame",
    *,
    seconds: Mapping[str, float] | None = None,
    judging: Judging | None = None,
) -> dict[str, Any]:
    """Count everything that a table of a screening holds.

    Args:
        table: one row for each crystal that was asked for.
        seconds: stage -> seconds for each crystal before relaxation, such as generation.
        judging: what stands beside each rate of stability.

    Returns:
        JSON types: `n`; `statuses`, which add up to n; `rates` of n; where crystals were relaxed
        also `relaxation`; `stability`, a row for each convention and figure, each with what it
        rests on; `left_out`, the conventions that the table has no energies for; `stricter`,
        `costs`; the `funnel` from requests to stable crystals.

    Raises:
        ValueError: no rows.

    Source: book, method-report.
    """
    if table.empty:
        raise ValueError("nothing can be said of 0 crystals")
    report: dict[str, Any] = {
        "n": len(table),
        "statuses": counts_of(table["status"]),
        "rates": {name: rate_of(holds) for name, holds in _facts(table).items()},
    }
    if "relax_status" not in table:
        return report | {"funnel": _funnel(table, relaxed=None)}
    relaxed, judging = relaxed_rows(table), judging or Judging()
    judged = stability_rates(relaxed)
    report |= {
        "n_relaxed": len(relaxed),
        "relaxation": _relaxation(relaxed),
        "stability": _named(judged, judging),
        "left_out": left_out(relaxed),
        "stricter": _stricter(relaxed, judging),
        "unknown_systems": int(relaxed["is_covered"].eq(False).sum()),
        "costs": _costs(judged, relaxed, seconds or {}),
        "funnel": _funnel(table, relaxed),
    }
    return report


def _named(judged: "pandas.DataFrame", judging: Judging) -> list[dict[str, Any]]:
    """Rows of rates, each with its hull, its references and its judge."""
    references = {one.name: one.references for one in CONVENTIONS}
    references |= {BOTH: "for each judge its own fit"}
    rows = judged.to_dict(orient="records")
    for row in rows:
        names = [judging.judge, judging.second_judge] if row["convention"] == BOTH else []
        row["hull"] = judging.hull
        row["references"] = references.get(row["convention"])
        row["judge"] = " and ".join(filter(None, names)) or judging.judge
    return rows


def _stricter(relaxed: "pandas.DataFrame", judging: Judging) -> dict[str, Any]:
    """The same rates with less benefit of the doubt.

    `known_system`: stable counts only where the hull has a phase of exactly the crystal's
    elements. `novel_anywhere`: new against every split of the reference, not the first alone,
    where the table says so. `compounds`: pure elements never count.
    """
    knows_system, is_compound = relaxed["knows_system"].eq(True), relaxed["n_elements"] >= 2
    status = relaxed["status"]
    tables = {
        "known_system": relaxed.assign(status=status.where(is_true(knows_system), "unknown")),
        "compounds": relaxed.assign(status=status.where(is_compound, "element")),
    }
    if "relaxed_is_novel_anywhere" in relaxed:
        tables["novel_anywhere"] = relaxed.assign(is_novel=relaxed["relaxed_is_novel_anywhere"])
    found: dict[str, Any] = {}
    for name, table in tables.items():
        rows = stability_rates(table)
        chosen = ["stable", "sun", "metastable", "msun"]
        is_ours = rows["convention"].ne("any") & rows["figure"].isin(chosen)
        found[name] = _named(rows[is_ours], judging)
    return found


def relaxed_rows(table: "pandas.DataFrame") -> "pandas.DataFrame":
    """The crystals that were sent to relaxation, with the columns that stability is counted by.

    Their `status` is that of the relaxation, which a crystal that never got there brings along;
    uniqueness and novelty are those of the relaxed structures.
    """
    relaxed = table[table["relax_status"].notna()].set_index("index", drop=False)
    return relaxed.assign(
        status=relaxed["relax_status"],
        is_unique=relaxed["relaxed_is_first"],
        duplicate_of=relaxed["relaxed_duplicate_of"],
        is_novel=relaxed["relaxed_is_novel"],
    )


def counts_of(values: "pandas.Series") -> dict[str, int]:
    """How often each value occurs, most frequent first."""
    return {str(value): int(count) for value, count in values.value_counts().items()}


def rate_of(holds: "pandas.Series") -> dict[str, Any]:
    """Count, denominator, share and Wilson interval; what is missing does not hold."""
    rate = Rate(int(is_true(holds).sum()), len(holds))
    low, high = rate.interval
    return {"count": rate.count, "n": rate.n, "share": rate.value, "interval": [low, high]}


def _facts(table: "pandas.DataFrame") -> dict[str, "pandas.Series"]:
    """What holds of each crystal as it was generated."""
    is_ok = table["status"] == "ok"
    is_valid = table["is_structurally_valid"] & table["is_smact_valid"]
    is_first, is_novel = (is_true(table[name]) for name in ("is_first", "is_novel"))
    facts = {
        "ok": is_ok,
        "structurally_valid": table["is_structurally_valid"],
        "compositionally_valid": table["is_smact_valid"],
        "valid": is_valid,
        "no_short_contact": table["has_good_contacts"],
        "unique": is_ok & is_first,
        "novel": is_ok & is_novel,
        "novel_anywhere": is_ok & is_true(table["is_novel_anywhere"]),
        "unique_and_novel": is_ok & is_first & is_novel,
        "not_compared": table["comparison"] != "ok",
    }
    if (table["symmetry"] != UNASKED).any():
        asked = table["space_group_number"]
        facts |= {
            "group_kept": is_group_kept(table["status"], asked, table["found_group"]),
            "group_kept_default": is_group_kept(table["status"], asked, table["default_group"]),
            "group_kept_sharp": is_ok & (table["sharp_symmetry"] == "kept"),
        }
    return facts


def _relaxation(relaxed: "pandas.DataFrame") -> dict[str, Any]:
    is_ok = relaxed["status"] == "ok"
    done = relaxed[is_ok]
    return {
        "statuses": counts_of(relaxed["status"]),
        "converged": rate_of(is_ok & is_true(relaxed["is_converged"])),
        "group_kept": rate_of(is_ok & (relaxed["relaxed_group"] == relaxed["found_group"])),
        "median_steps": _median(done["n_steps"]),
        "median_seconds": _median(done["relax_seconds"]),
        "seconds": float(relaxed["relax_seconds"].fillna(0).sum()),
        "median_energy_gain_per_atom": _median(
            done["initial_energy_per_atom"] - done["energy_per_atom"]
        ),
    }


def _median(values: "pandas.Series") -> float | None:
    return None if values.dropna().empty else float(values.median())


def _costs(
    judged: "pandas.DataFrame", relaxed: "pandas.DataFrame", seconds: Mapping[str, float]
) -> dict[str, Any]:
    """Seconds for each stable and each S.U.N. crystal, stage by stage."""
    relaxation = float(relaxed["relax_seconds"].fillna(0).mean())
    stages = {**seconds, "relaxation": relaxation} if relaxation > 0 else dict(seconds)
    counted = judged[judged["convention"] == "ours"]
    found = {}
    for figure, name in (("stable", "stable"), ("sun", "sun")):
        row = counted[counted["figure"] == figure].iloc[0]
        prices = costs(stages, Rate(int(row["count"]), int(row["n"]))) if stages else {}
        found[name] = {
            stage: {"seconds": _finite(price.seconds), "interval": [*map(_finite, price.interval)]}
            for stage, price in prices.items()
        }
    return {"seconds_per_sample": stages, **found}


def _finite(value: float) -> float | None:
    return value if value < float("inf") else None


def _funnel(table: "pandas.DataFrame", relaxed: "pandas.DataFrame | None") -> list[dict[str, Any]]:
    """How many are left after each question, asked one after the other of the same crystals.

    Each step has the count of those that also passed all steps above, and `n`, that of the
    crystals which the funnel begins with: all requests, or those that were sent to relaxation.
    """
    rows = table if relaxed is None else table.loc[table["index"].isin(relaxed["index"])]
    first = "requested" if relaxed is None else "relaxed"
    steps = {first: rows["status"].notna(), "valid": _facts(rows)["valid"]}
    prefix = "" if relaxed is None else "relaxed_"
    classes = rows.assign(duplicate_of=rows[f"{prefix}duplicate_of"])
    # a copy whose first was no valid crystal stands for its class; what nobody compared does not
    is_first = first_of_each(classes, steps["valid"]) & classes["duplicate_of"].notna()
    steps |= {"unique": is_first, "novel": rows[f"{prefix}is_novel"]}
    if relaxed is not None:
        height = rows["e_above_hull"].where(rows["relax_status"] == "ok")
        steps |= {"metastable": height <= METASTABLE, "stable": height <= STABLE}
    left, funnel = rows["status"].notna(), []
    for name, holds in steps.items():
        left = left & is_true(holds)
        funnel.append({"name": name, "count": int(left.sum()), "n": len(rows)})
    return funnel


def summary_said(report: Mapping[str, Any]) -> str:
    """Lines that say what a report holds, each count with what it is a count of.

    Args:
        report: as from `summarise`.
    """
    n, rates, n_relaxed = report["n"], report["rates"], report.get("n_relaxed")
    plain = ", ".join(f"{rates[name]['count']} {name}" for name in ("valid", "unique", "novel"))
    first, *steps = report["funnel"]
    asked = ", of these ".join(f"{step['count']} {step['name']}" for step in steps)
    lines = [
        f"{n} requested" if n_relaxed is None else f"{n} requested, {n_relaxed} of them relaxed",
        f"as generated, each of all {n}: {plain}",
        f"one question after the other, of the {first['count']} {first['name']}: {asked}",
    ]
    shares = [
        f"{row['convention']} {row['count']} of {row['n']} ({100 * row['rate']:.2f} %)"
        for row in report.get("stability", ())
        if row["figure"] == "sun"
    ]
    if shares:
        lines.append(f"stable, unique and novel, by convention: {', '.join(shares)}")
    lines += [
        f"{name} is left out: {reason}" for name, reason in report.get("left_out", {}).items()
    ]
    return "\n".join(lines)
