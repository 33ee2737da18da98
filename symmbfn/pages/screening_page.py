"""The page of a screening: every figure of its report to look at, in one file."""

from collections.abc import Mapping
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.observables import Observables
from symmbfn.pages import sections as report_sections
from symmbfn.pages import tables as report_tables
from symmbfn.pages.gallery import static_text
from symmbfn.pages.sections import card, share_of
from symmbfn.pages.tables import interval, percent

if TYPE_CHECKING:
    import pandas

CHGNET_ERRS = (
    "Energies are CHGNet's, a potential learned from calculations. In a public comparison "
    "(Matbench Discovery, on the WBM crystals) about half of what it calls stable is so by DFT."
)


def report_page(
    report: Mapping[str, Any],
    table: "pandas.DataFrame",
    reference: Observables,
    relaxed: Mapping[int, Cell],
) -> str:
    """Make the page: self-contained HTML that needs no network.

    Args:
        report: content of `report.json`.
        table: of the screening, one row for each crystal that was asked for.
        reference: of the real crystals that the report compares with.
        relaxed: cell of every relaxed crystal by its index; empty where none was.

    Returns:
        The same text for the same arguments. Links lead to the shortlist beside it.
    """
    sections = {
        "Funnel": ("From requests to stable crystals", report_sections.funnel(report)),
        "Generated": ("As they were generated", report_sections.generated(report, table)),
    }
    if "stability" in report:
        sections["Stability"] = ("Stability", report_sections.stability(report, table))
        sections["Candidates"] = (
            "The best candidates",
            report_sections.candidates(report, table, relaxed),
        )
    sections["Real crystals"] = (
        "Beside real crystals",
        report_sections.beside(report, table, reference),
    )
    sections["Limits"] = ("What these numbers cannot say", _limits(report))
    sections["Provenance"] = ("Provenance", _provenance(report))
    keys = {name: name.lower().replace(" ", "-") for name in sections}
    views = "symmbfn-crystal" in sections.get("Candidates", ("", ""))[1]
    page = Template(static_text("report.html"))
    return page.substitute(
        title=f"{report['n']:,} crystals of {escape(_short(report['source']))}, judged",
        of=_of(report),
        style=static_text("page.css"),
        headline=_headline(report),
        tiles=_tiles(report),
        links="".join(f'<a href="#{key}">{name}</a>' for name, key in keys.items()),
        sections="\n".join(
            f'<section id="{keys[name]}"><h2>{title}</h2>{body}</section>'
            for name, (title, body) in sections.items()
        ),
        viewer=f"<script>{static_text('3Dmol-min.js')}</script>{SCROLL}" if views else "",
    )


# a wheel over a view scrolls the page: twelve views would otherwise hold it up
SCROLL = """<script>
for (const box of document.querySelectorAll(".symmbfn-crystal"))
  box.addEventListener("wheel", event => event.stopPropagation(), { capture: true });
</script>"""


def _short(source: str) -> str:
    return Path(source).name or source


def _of(report: Mapping[str, Any]) -> str:
    beside = report["reference"]
    parts = [f"beside {beside['n']:,} real crystals of {beside['name']}, split {beside['split']}"]
    if "stability" in report:
        parts.append(f"relaxed with CHGNet; hull: {report['hull']}")
    return escape("; ".join(parts))


def _headline(report: Mapping[str, Any]) -> str:
    """Counts, and what they are of, in sentences."""
    n, rates = report["n"], report["rates"]
    text = (
        f"Of {n:,} crystals requested, {share_of(rates['valid'])} are valid in geometry and "
        f"composition, and {share_of(rates['unique_and_novel'])} are unique and match no crystal "
        f"of the training split of {escape(report['reference']['name'])}."
    )
    if "stability" not in report:
        return f"{text} No crystal was relaxed, so nothing is said of stability."
    n_relaxed = report["n_relaxed"]
    which = "All of them" if n_relaxed == n else f"The first {n_relaxed:,}"
    stable, sun = (_figure(report, "paper", name) for name in ("stable", "sun"))
    return (
        f"{text} {which} went to relaxation: {share_of(stable)} lie on or below the convex hull, "
        f"and <b>{share_of(sun)}</b> are stable, unique and new "
        f"(95 % interval {_interval(sun)})."
    )


def _figure(report: Mapping[str, Any], convention: str, figure: str) -> dict[str, Any]:
    """A rate of the table of conventions, pure elements kept."""
    wanted = (convention, "kept", figure)
    row = next(
        row
        for row in report["stability"]
        if (row["convention"], row["unaries"], row["figure"]) == wanted
    )
    shared = {name: row[name] for name in ("count", "n")}
    return shared | {"share": row["rate"], "interval": [row["low"], row["high"]]}


def _interval(rate: Mapping[str, Any]) -> str:
    low, high = rate["interval"]
    return interval(low, high, rate["n"])


def _tiles(report: Mapping[str, Any]) -> str:
    chosen = {
        "valid": report["rates"]["valid"],
        "unique and novel": report["rates"]["unique_and_novel"],
    }
    if "stability" in report:
        chosen |= {
            "metastable": _figure(report, "metastable", "stable"),
            "stable": _figure(report, "paper", "stable"),
            "stable, unique, new": _figure(report, "paper", "sun"),
        }
    return "".join(
        f'<div class="card"><b>{percent(rate["share"], rate["n"])}</b><span>{name}</span>'
        f"<small>{rate['count']:,} of {rate['n']:,}<br>95 %: {_interval(rate)}</small></div>"
        for name, rate in chosen.items()
    )


def _limits(report: Mapping[str, Any]) -> str:
    name = escape(report["reference"]["name"])
    points = [
        "Intervals are those of counting. They know nothing of the errors below.",
        f"“Novel” means that no crystal of {name} matches. It may well be known elsewhere.",
        "“Valid” is a rule of thumb: some real crystals break it, and nonsense may keep it.",
    ]
    if "stability" in report:
        points += [
            f"The hull is that of {escape(report['hull'])}. It is incomplete. Where it lacks a "
            "phase, a crystal looks more stable than it is; where it knows no compound of a system "
            f"({report['unknown_systems']:,} of {report['n_relaxed']:,} relaxed crystals) the "
            "crystal counts as not stable.",
            CHGNET_ERRS,
            "Everything is at 0 K and without pressure; nothing is said of vibrations, of "
            "disorder, of magnetism beyond what CHGNet has learned, or of a way to make it.",
            "A shortlist is where calculations start: only DFT and synthesis decide.",
        ]
    return f'<ul class="limits">{"".join(f"<li>{point}</li>" for point in points)}</ul>'


def _provenance(report: Mapping[str, Any]) -> str:
    facts = report["source_facts"]
    screening = {
        "source": report["source"],
        "reference": f"{report['reference']['name']}, split {report['reference']['split']}",
        "hull": report["hull"],
        "seed of draws": report["seed"],
        "settings": report["settings"],
    }
    made = {name: value for name, value in facts.items() if name != "rebuilding_seconds"}
    cards = card(report_tables.facts(screening), heading="This screening")
    if made:
        cards += card(report_tables.facts(made), heading="What the source says of itself")
    cards += card(report_tables.facts(report["versions"]), heading="Versions")
    return f'<div class="grid">{cards}</div>'
