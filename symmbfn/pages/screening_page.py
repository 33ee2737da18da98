"""The page of a screening: its report in tables, charts and crystals, as one HTML file."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.observables import Observables
from symmbfn.pages import sections, tables
from symmbfn.pages.rendering import render_page
from symmbfn.pages.tables import rate_of_convention

if TYPE_CHECKING:
    import pandas


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
        The same text for the same arguments. Its links lead to the shortlist beside it.
    """
    shown = _sections(report, table, reference, relaxed)
    is_relaxed = "stability" in report
    tiles = {
        "valid": report["rates"]["valid"],
        "unique and novel": report["rates"]["unique_and_novel"],
    }
    values: dict[str, Any] = {}
    if is_relaxed:
        stable, sun = (rate_of_convention(report, "paper", name) for name in ("stable", "sun"))
        values = {"stable": stable, "sun": sun}
        tiles |= {
            "metastable": rate_of_convention(report, "metastable", "stable"),
            "stable": stable,
            "stable, unique, new": sun,
        }
    return render_page(
        "report.html",
        report=report,
        is_relaxed=is_relaxed,
        tiles=tiles.items(),
        sections=shown,
        has_views=any(
            section["key"] == "candidates" and section["content"]["shown"] for section in shown
        ),
        **values,
    )


def _sections(
    report: Mapping[str, Any],
    table: "pandas.DataFrame",
    reference: Observables,
    relaxed: Mapping[int, Cell],
) -> list[dict[str, Any]]:
    """Name in the bar of links, title and content of each section, in the order of the page."""
    rows: list[tuple[str, str, Any]] = [
        ("Funnel", "From requests to stable crystals", {"steps": tables.funnel(report["funnel"])}),
        ("Generated", "As they were generated", sections.generated(report, table)),
    ]
    if "stability" in report:
        rows += [
            ("Stability", "Stability", sections.stability(report, table)),
            ("Candidates", "The best candidates", sections.candidates(table, relaxed)),
        ]
    beside = sections.real_crystals(report, table, reference)
    rows += [
        ("Real crystals", "As generated, beside real crystals", beside),
        ("Limits", "What these numbers cannot say", None),
        ("Provenance", "Provenance", sections.provenance(report)),
    ]
    return [
        {"key": name.lower().replace(" ", "-"), "name": name, "title": title, "content": content}
        for name, title, content in rows
    ]
