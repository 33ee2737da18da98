"""Charts of a screening's page: generated crystals in blue, real ones in grey."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from symmbfn._shapes import Float, Int
from symmbfn.crystals.cell import Cell
from symmbfn.crystals.symmetry import CRYSTAL_SYSTEMS, space_group_numbers
from symmbfn.evaluation.distributions import group_shares
from symmbfn.evaluation.similarity.nearest import shares_within
from symmbfn.evaluation.summary import METASTABLE, STABLE
from symmbfn.figures.embedded import Picture, canvas
from symmbfn.figures.plots import COLOURS

if TYPE_CHECKING:
    import pandas

GENERATED, REAL, LIMIT = COLOURS["blue"], "#b8bec8", COLOURS["red"]
INK = "#1d2430"
UNITS = {"elements": "", "g/cm3": "g/cm³", "A3/atom": "Å³/atom", "A": "Å", "degrees": "°"}
DISTANCES = {
    "d_rho": "density",
    "d_elem": "number of elements",
    "d_g": "space groups",
    "d_letter": "Wyckoff letters",
    "d_composition": "composition",
    "d_volume": "volume per atom",
    "d_length": "cell edges",
    "d_angle": "cell angles",
}
LOWEST, HIGHEST = -0.5, 1.0  # eV/atom, limits of the axis of energies
FAR = 6.0  # ratio of distances above which the axis is logarithmic
LIMITS = np.geomspace(1e-3, 5.0, 200)  # angstrom, of the curve of memorisation
TWO_THETA = (5.0, 90.0)  # degrees


def histogram(
    generated: Float[np.ndarray, "n"], real: Float[np.ndarray, "m"], quantity: str, unit: str
) -> Picture:
    """Histogram of a quantity: generated crystals as a blue line, real ones as grey bars.

    Args:
        generated: finite values, shape (n,).
        real: finite values, shape (m,).
        quantity: what they are.
        unit: of both.
    """
    both = [values for values in (generated, real) if len(values)]
    low, high = np.quantile(np.concatenate(both), [0.002, 0.998])
    n_bins = int(np.clip(2 * len(generated) ** (1 / 3), 8, 40))  # Rice's rule
    edges = np.linspace(low, max(high, low + 1e-6), n_bins + 1)
    n_beyond = int(((generated < edges[0]) | (generated > edges[-1])).sum())
    beyond = f" Generated beyond the axis: {n_beyond:,}." if n_beyond else ""
    unit_said = unit.strip("()")
    medians = f"medians: generated {_median(generated)}, real {_median(real)} {unit_said}"
    alt = f"Histogram of {quantity}; {medians}."
    with canvas(alt, height=3.3) as (axes, picture):
        axes.stairs(_percent(real, edges), edges, fill=True, color=REAL, label=_n("real", real))
        shares = _percent(generated, edges)
        axes.stairs(shares, edges, color=GENERATED, lw=2, label=_n("generated", generated))
        axes.set(xlabel=f"{quantity} / {unit}", ylabel="share of crystals / %")
        axes.legend()
    return Picture(picture[0], f"{medians[0].upper()}{medians[1:]}.{beyond}")


def element_counts(generated: Int[np.ndarray, "n"], real: Int[np.ndarray, "m"]) -> Picture:
    """Shares of crystals by their number of distinct elements."""
    numbers = np.arange(1, max(int(generated.max(initial=1)), int(real.max(initial=1))) + 1)
    edges = np.append(numbers, numbers[-1] + 1) - 0.5
    ours, theirs = _percent(generated, edges), _percent(real, edges)
    rows = zip(numbers, ours, theirs, strict=True)
    said = ", ".join(f"{k}: {a:.0f} against {b:.0f} %" for k, a, b in rows)
    alt = f"Bars of the number of elements, generated against real: {said}."
    with canvas(alt, height=3.3) as (axes, picture):
        axes.bar(numbers - 0.2, ours, 0.38, color=GENERATED, label=_n("generated", generated))
        axes.bar(numbers + 0.2, theirs, 0.38, color=REAL, label=_n("real", real))
        axes.set(xlabel="distinct elements in a crystal / 1", ylabel="share of crystals / %")
        axes.set_xticks(numbers)
        axes.grid(False, axis="x")
        axes.legend()
    return Picture(picture[0], f"Generated against real: {said}.")


def hull_energies(table: "pandas.DataFrame") -> Picture:
    """Histogram of energies above the hull, with lines at the limits of stable and metastable.

    Args:
        table: rows that were sent to relaxation.
    """
    energies = table["e_above_hull"].astype(float).dropna().to_numpy()
    low = float(np.clip(np.floor(10 * energies.min(initial=0)) / 10, LOWEST, -0.2))
    # both limits are edges of bars; an energy on a limit counts in the bar below it
    width = METASTABLE / int(np.clip(len(energies) ** (1 / 3) / 1.5, 1, 5))
    edges = width * np.arange(round(low / width), round(HIGHEST / width) + 1)
    counts = _counted(energies, edges)
    n, n_known = len(table), len(energies)
    n_beyond = n_known - int(counts.sum())
    n_low = [int((energies <= limit).sum()) for limit in (STABLE, METASTABLE)]
    caption = (
        f"Energy above the hull of {n_known:,} of {n:,} relaxed crystals; {n_low[0]:,} at or below "
        f"0, {n_low[1]:,} at or below {METASTABLE} eV/atom."
    )
    if n_beyond:
        caption += f" Beyond the axis: {n_beyond:,}."
    if n > n_known:
        caption += f" Without energy, by a failure or an unknown system: {n - n_known:,}."
    with canvas("Histogram. " + caption, height=3.7) as (axes, picture):
        axes.stairs(counts, edges, fill=True, color=f"{GENERATED}55")
        axes.stairs(counts, edges, color=GENERATED, lw=1.2)
        own = table.get("e_above_hull_without_own")
        if own is not None and not own.dropna().equals(table["e_above_hull"].dropna()):
            without = _counted(own.astype(float).dropna().to_numpy(), edges)
            label = "own entry left out"
            axes.stairs(without, edges, color=INK, ls="--", lw=1.2, label=label)
            axes.legend(loc="center right")
        top = 1.2 * max(1, counts.max(initial=1))
        for limit, name, side in ((STABLE, "stable", "right"), (METASTABLE, "metastable", "left")):
            axes.axvline(limit, color=LIMIT, lw=1.5, ls="-" if limit == STABLE else "--")
            shift = (-4 if side == "right" else 4, 0)
            axes.annotate(name, (limit, 0.99 * top), shift, textcoords="offset points", ha=side,
                          va="top", color="#a34700", size=9)  # fmt: skip
        axes.set(xlabel="energy above the hull / (eV/atom)", ylabel="crystals / 1", ylim=(0, top))
        axes.set_xlim(edges[0], edges[-1])
        axes.yaxis.get_major_locator().set_params(integer=True)
    return Picture(picture[0], caption)


def group_strip(generated: Int[np.ndarray, "n"], real: Int[np.ndarray, "m"]) -> Picture:
    """Shares of all 230 space groups, generated upwards and real downwards.

    Args:
        generated: space group numbers, shape (n,).
        real: the same, shape (m,).
    """
    numbers = np.arange(1, 231)
    ours, theirs = 100 * group_shares(generated), 100 * group_shares(real)
    systems = {name: np.array(space_group_numbers(name)) for name in CRYSTAL_SYSTEMS}
    said = ", ".join(
        f"{name} {ours[group - 1].sum():.0f} against {theirs[group - 1].sum():.0f}"
        for name, group in systems.items()
    )
    alt = f"Bars of the 230 space groups. Crystal systems, generated against real in %: {said}."
    with canvas(alt, height=3.3) as (axes, picture):
        top = 1.08 * max(ours.max(), theirs.max())
        for place, (name, group) in enumerate(systems.items()):
            first, last = group[0], group[-1]
            if place % 2 == 0:
                axes.axvspan(first - 0.5, last + 0.5, color="#f1f3f6", lw=0)
            # the first two systems are too narrow for their names
            middle = (first + last) / 2
            x = {"triclinic": -2.5, "monoclinic": 9.0}.get(name, middle)
            axes.text(x, 1.85 * top, name, rotation=90 if place < 2 else 0, size=7.5,
                      ha="center", va="top", color="#475067")  # fmt: skip
        axes.bar(numbers, ours, 1.0, color=GENERATED, lw=0, label=_n("generated", generated))
        axes.bar(numbers, -theirs, 1.0, color="#8d95a3", lw=0, label=_n("real", real))
        axes.axhline(0, color=INK, lw=0.8)
        axes.figure.legend(loc="outside upper center", ncols=2)
        # square roots of the shares, so that rare groups are visible beside frequent ones
        axes.set_yscale("function", functions=(_signed_root, lambda y: y * np.abs(y)))
        axes.set(xlim=(-6, 231), ylim=(-top, 1.9 * top), xlabel="space group number / 1")
        axes.set(ylabel="share of crystals / %, root scale", xticks=[1, 50, 100, 150, 200, 230])
        ticks = [tick for tick in (1, 5, 10, 20, 40, 80) if tick < top]
        axes.set_yticks([*(-tick for tick in ticks), 0, *ticks])
        axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
        axes.grid(False, axis="x")
    return Picture(picture[0], f"Crystal systems, generated against real in %: {said}.")


def distance_dots(distances: Mapping[str, Mapping[str, Any]]) -> Picture:
    """Each distance of generated crystals beside that of real ones, over the mean of the latter.

    Args:
        distances: of a report: name -> value, deviation, floor_mean, floor_sd, n; the floor is the
            distance of as many real crystals.
    """
    n = next(iter(distances.values()))["n"]
    rows = [(name, row) for name, row in distances.items() if row["floor_mean"] > 0]
    alike = [DISTANCES[name] for name, row in distances.items() if row["floor_mean"] == 0]
    left_out = f" Real crystals do not differ in {', '.join(alike)}." if alike else ""
    ratios = {DISTANCES[name]: row["value"] / row["floor_mean"] for name, row in rows}
    said = ", ".join(f"{name} {ratio:.2f}" for name, ratio in ratios.items())
    alt = f"Dots of distances over those of real crystals: {said}."
    with canvas(alt, height=3.6) as (axes, picture):
        for y, (_, row) in enumerate(rows):
            floor = row["floor_mean"]
            half = 2 * row["floor_sd"] / floor
            label = "as many real crystals, ±2 sd" if y == 0 else None
            axes.barh(y, 2 * half, 0.56, left=1 - half, color=REAL, lw=0, label=label)
            label = "generated, ±2 sd" if y == 0 else None
            axes.errorbar(row["value"] / floor, y, xerr=2 * row["deviation"] / floor, fmt="o",
                          ms=6, color=GENERATED, lw=1.7, capsize=3, label=label)  # fmt: skip
        axes.axvline(1, color="#5a6372", lw=1, ls=":")
        axes.set_yticks(range(len(rows)), [DISTANCES[name] for name, _ in rows])
        axes.set(xlabel="distance / mean distance of real crystals", ylim=(len(rows) - 0.4, -0.6))
        if max(ratios.values(), default=1) > FAR:
            axes.set_xscale("log", nonpositive="clip")
            axes.set_xlim(left=0.2)
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        else:
            axes.set_xlim(left=0)
        axes.grid(False, axis="y")
        if rows:
            axes.figure.legend(loc="outside upper center", ncols=2)
    counted = f"Distances of {n:,} generated crystals, {n:,} real ones beside them."
    return Picture(picture[0], counted + left_out)


def memorisation(
    as_made: Float[np.ndarray, "n"], relaxed: Float[np.ndarray, "m"] | None
) -> Picture:
    """Share of crystals that have a training crystal of their formula within a distance.

    Args:
        as_made: distance to the nearest one in angstrom, shape (n,); NaN where no training crystal
            has the formula.
        relaxed: the same after relaxation, shape (m,), or None.
    """
    curves = [("as generated", as_made, GENERATED, "-")]
    if relaxed is not None:
        curves.append(("relaxed", relaxed, COLOURS["orange"], "--"))
    said = "; ".join(
        f"{name}, {100 * shares_within(d, np.array([0.1]))[0]:.1f}\u00a0% within 0.1 Å, "
        f"{np.isfinite(d).sum():,} of {len(d):,} have a formula that the training data has"
        for name, d, _, _ in curves
    )
    with canvas(f"Rising curves: {said}.", height=2.9) as (axes, picture):
        top = 0.0
        for name, d, colour, dash in curves:
            shares = 100 * shares_within(d, LIMITS)
            axes.plot(LIMITS, shares, color=colour, ls=dash, lw=2, label=_n(name, d))
            top = max(top, shares.max())
        axes.set(xscale="log", xlim=(LIMITS[0], LIMITS[-1]), ylim=(0, max(1.12 * top, 1)))
        axes.set(xlabel="distance to the nearest training crystal / Å")
        axes.set_ylabel("crystals within / %")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="upper left")
    return Picture(picture[0], f"{said[0].upper()}{said[1:]}.")


def powder_pattern(cell: Cell) -> Picture:
    """Simulated powder diffraction pattern of a crystal with Cu K-alpha radiation.

    Args:
        cell: any cell of the crystal.

    Source: Ong et al. 2013 (pymatgen): XRDCalculator.
    """
    from pymatgen.analysis.diffraction.xrd import XRDCalculator

    pattern = XRDCalculator(wavelength="CuKa").get_pattern(
        cell.to_pymatgen(), two_theta_range=TWO_THETA
    )
    strongest = sorted(zip(pattern.y, pattern.x, strict=True), reverse=True)[:3]
    said = ", ".join(f"{angle:.1f}°" for _, angle in strongest)
    alt = f"Powder pattern of {cell.formula}, strongest lines at {said}."
    with canvas(alt, height=2.0, width=4.2) as (axes, picture):
        axes.vlines(pattern.x, 0, pattern.y, color=GENERATED, lw=1.3)
        axes.set(xlim=TWO_THETA, ylim=(0, 108), xlabel="2θ / °", ylabel="intensity / %")
        axes.set(xticks=[10, 30, 50, 70, 90], yticks=[0, 50, 100])
    return Picture(picture[0], f"Cu Kα; strongest lines at {said}.")


def _percent(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return 100 * np.histogram(values, edges)[0] / max(1, len(values))


def _signed_root(values: np.ndarray) -> np.ndarray:
    return np.sign(values) * np.sqrt(np.abs(values))


def _counted(values: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Counts of bins that include their upper edge and exclude the lower one."""
    return np.histogram(-values, -edges[::-1])[0][::-1]


def _median(values: np.ndarray) -> str:
    return f"{np.median(values):.3g}" if len(values) else "none"


def _n(name: str, values: np.ndarray) -> str:
    return f"{name}, n = {len(values):,}"
