"""The page of a screening: its report in tables, charts and crystals, as one HTML file."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from symmbfn.crystals.cell import Cell
from symmbfn.evaluation.energies.entries import DFT
from symmbfn.evaluation.energies.mp_hulls import WHOLE
from symmbfn.evaluation.observables import Observables
from symmbfn.pages import sections, tables
from symmbfn.pages.crystal_rows import crystal_rows
from symmbfn.pages.rendering import render_page
from symmbfn.pages.tables import rate_of_convention

if TYPE_CHECKING:
    import pandas


def report_page(
    report: Mapping[str, Any],
    table: "pandas.DataFrame",
    reference: Observables,
    relaxed: Mapping[int, Cell],
    files: Mapping[int, str],
    controls: Sequence[Mapping[str, Any]] = (),
) -> str:
    """Make the page: self-contained HTML that needs no network.

    Args:
        report: content of `report.json`.
        table: of the screening, one row for each crystal that was asked for.
        reference: of the real crystals that the report compares with.
        relaxed: cell of every relaxed crystal by its index; empty where none was.
        files: path of the CIF of each of them, from the folder of the page.
        controls: recorded figures of real crystals and of nonsense, see `tables.controls`.

    Returns:
        The same text for the same arguments; its links lead to files beside it.
    """
    shown = [
        {"key": name.lower().replace(" ", "-"), "name": name, "title": title, "content": content}
        for name, title, content in (
            *_judged(report, table, relaxed, controls),
            (
                "Real crystals",
                "As generated, beside real crystals",
                sections.real_crystals(report, table, reference),
            ),
            ("Crystals", "All crystals", crystal_rows(table, files)),
            ("Limits", "What these numbers cannot say", _hull_limits(report)),
            ("Provenance", "Provenance", sections.provenance(report)),
        )
    ]
    is_relaxed = "stability" in report
    tiles = [
        ("valid", report["rates"]["valid"], "requested"),
        ("unique and novel", report["rates"]["unique_and_novel"], "requested"),
    ]
    values: dict[str, Any] = {}
    if is_relaxed:
        figures = ("stable", "sun", "metastable")
        stable, sun, metastable = (rate_of_convention(report, "ours", name) for name in figures)
        values = {"stable": stable, "sun": sun}
        tiles += [
            ("metastable", metastable, "relaxed"),
            ("stable", stable, "relaxed"),
            ("stable, unique, new", sun, "relaxed"),
        ]
    views = [one["content"]["shown"] for one in shown if one["key"] == "candidates"]
    return render_page(
        "report.html",
        report=report,
        is_relaxed=is_relaxed,
        tiles=tiles,
        sections=shown,
        has_views=any(views),
        **values,
    )


def _judged(
    report: Mapping[str, Any],
    table: "pandas.DataFrame",
    relaxed: Mapping[int, Cell],
    controls: Sequence[Mapping[str, Any]],
) -> list[tuple[str, str, Any]]:
    """Name in the bar of links, title and content of the sections on the crystals themselves."""
    rows: list[tuple[str, str, Any]] = [
        ("Funnel", "From requests to stable crystals", {"steps": tables.funnel(report["funnel"])}),
        ("Generated", "As they were generated", sections.generated(report, table)),
    ]
    if "stability" in report:
        rows += [
            ("Stability", "Stability", sections.stability(report, table, controls)),
            ("Candidates", "The best candidates", sections.candidates(table, relaxed)),
        ]
    return rows


def _hull_limits(report: Mapping[str, Any]) -> dict[str, Any]:
    """What the hull at hand cannot know depends on which hull it is."""
    return {
        "is_whole": str(report["hull"]).startswith(WHOLE),
        "potentials": [source for source in report["hull_sources"] if source != DFT],
    }
