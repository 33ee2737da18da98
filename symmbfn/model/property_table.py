"""Where a property lies in a training set, and which kinds of crystals have which values of it."""

from dataclasses import dataclass, replace
from typing import Any

import torch

from symmbfn._shapes import Float, Int, Tensor

STEPS = 256  # of the quantiles
BINS = 24
STRENGTH = 4.0  # of each prior, in crystals
WIDTHS = (0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)  # of the smoothing, in bins
LEAST = 1e-30  # probability, where rounding leaves nothing


@dataclass(frozen=True, eq=False)
class PropertyTable:
    """The distribution of one property, over all of a training set and by kind of crystal.

    Kinds are the rows of `Statistics.conditions`. Crystals whose value is not known do not count.

    Attributes:
        quantiles: of the values at `levels`, shape (L,), float32.
        edges: the highest value of each bin but the last, ascending, shape (b - 1,), float32.
        counts: crystals of each row in each bin, shape (R, b).
        width: of the smoothing over neighbouring bins, in bins.
    """

    quantiles: Float[Tensor, "L"]
    edges: Float[Tensor, "E"]
    counts: Int[Tensor, "R b"]
    width: float

    @classmethod
    def of(
        cls, values: Float[Tensor, "B"], row: Int[Tensor, "B"], conditions: Int[Tensor, "R 3"]
    ) -> "PropertyTable":
        """The table of a training set.

        Args:
            values: of each crystal, NaN where not known, shape (B,).
            row: of each crystal, shape (B,).
            conditions: space group, number of sites, number of elements of each row, (R, 3).

        Raises:
            ValueError: no value is known.
        """
        is_known = ~values.isnan()
        if not is_known.any():
            raise ValueError("no value of the property is known")
        known, row = values[is_known].float(), row[is_known]
        edges = bin_edges(known)
        cell = row * (len(edges) + 1) + torch.bucketize(known, edges)
        counts = torch.bincount(cell, minlength=len(conditions) * (len(edges) + 1))
        table = cls(
            quantiles=known.double().quantile(levels(STEPS)).float(),
            edges=edges,
            counts=counts.view(len(conditions), -1),
            width=WIDTHS[0],
        )
        return replace(table, width=table.best_width(conditions))

    @classmethod
    def from_json(cls, values: dict[str, Any], n_rows: int) -> "PropertyTable":
        """The table from what `to_json` made of it.

        Args:
            values: by name of the attribute.
            n_rows: of the conditions that it belongs to.

        Raises:
            ValueError: counts of other rows or bins, a negative one, or edges or quantiles that
                descend.
        """
        counts = torch.tensor(values["counts"], dtype=torch.long)
        quantiles, edges = (torch.tensor(values[name]) for name in ("quantiles", "edges"))
        if counts.shape != (n_rows, len(edges) + 1):
            shape = (n_rows, len(edges) + 1)
            raise ValueError(f"counts must have shape {shape}, got {tuple(counts.shape)}")
        if counts.min() < 0:
            raise ValueError(f"counts must not be negative, got {counts.min()}")
        if len(quantiles) < 2 or not (quantiles.diff() >= 0).all() or not (edges.diff() > 0).all():
            raise ValueError("quantiles and edges must ascend")
        return cls(quantiles, edges, counts, float(values["width"]))

    def to_json(self) -> dict[str, Any]:
        """Lists and numbers by name of the attribute."""
        tensors = {name: getattr(self, name).tolist() for name in ("quantiles", "edges", "counts")}
        return {**tensors, "width": self.width}

    @property
    def has_shared_least(self) -> bool:
        """Whether the first bin is the least value alone, as a band gap of 0."""
        return len(self.edges) > 0 and bool(self.edges[0] == self.quantiles[0])

    def bins(self, values: Float[Tensor, "*X"]) -> Int[Tensor, "*X"]:
        """The bins of values; what lies outside of the data is in the outermost ones."""
        return torch.bucketize(values.float().contiguous(), self.edges)

    def likelihood(self, conditions: Int[Tensor, "R 3"]) -> Float[Tensor, "R b"]:
        """P(bin | row), smoothed.

        Args:
            conditions: the rows, shape (R, 3).

        Source: book, method-eq-bin-given-row.
        """
        return smoothed(self.counts, conditions, neighbours(self, self.width))

    def best_width(self, conditions: Int[Tensor, "R 3"]) -> float:
        """The width by which the crystals' rows follow best from their bins.

        Each crystal is judged by a table without it.
        """
        counts = self.counts.double()
        share = counts.sum(-1) / counts.sum()
        scores = []
        for width in WIDTHS:
            kernel = neighbours(self, width)
            without = smoothed(self.counts, conditions, kernel, n_left_out=1)
            of_bin = share @ smoothed(self.counts, conditions, kernel)
            gain = without.clamp_min(LEAST).log() - of_bin.log()
            scores.append(float((counts * gain).sum()))
        return WIDTHS[scores.index(max(scores))]

    def covers(self, low: float, high: float) -> bool:
        """Whether the range of the data and this one have something in common."""
        ends = torch.tensor([low, high])  # rounded as the data are
        return bool(ends[1] >= self.quantiles[0]) and bool(ends[0] <= self.quantiles[-1])

    def between(self, u: Float[Tensor, "B"], low: float, high: float) -> Float[Tensor, "B"]:
        """Values of a range, distributed as in the data.

        Args:
            u: uniform in (0, 1), shape (B,), float64.
            low, high: ends of the range, which may be infinite; the data have some of it.

        Returns:
            Values, shape (B,), float64.

        Source: book, method-eq-value-in-range.
        """
        first, last = self._share(low, is_included=False), self._share(high, is_included=True)
        share, level, quantiles = first + u * (last - first), *self._steps()
        step = torch.searchsorted(level, share, right=True).clamp(1, len(level) - 1)
        part = (share - level[step - 1]) / (level[step] - level[step - 1])
        below, above = quantiles[step - 1], quantiles[step]
        return (below + part * (above - below)).clamp(low, high)

    def _share(self, value: float, is_included: bool) -> float:
        """Share of the data below a value; with those that have it, if they are included."""
        level, quantiles = self._steps()
        wanted = torch.tensor(value, dtype=torch.float64)
        step = int(torch.searchsorted(quantiles, wanted, right=is_included))
        if step in (0, len(quantiles)):
            return float(step > 0)
        part = (wanted - quantiles[step - 1]) / (quantiles[step] - quantiles[step - 1])
        return float(level[step - 1] + part * (level[step] - level[step - 1]))

    def _steps(self) -> tuple[Float[Tensor, "L"], Float[Tensor, "L"]]:
        """Levels and quantiles, float64."""
        return levels(len(self.quantiles) - 1), self.quantiles.double()


def levels(n: int) -> Float[Tensor, "L"]:
    """Levels from 0 to 1 in n steps, which are smallest at both ends, shape (n + 1,), float64."""
    u = torch.linspace(0, 1, n + 1, dtype=torch.float64)
    return torch.where(u < 0.5, 2 * u**2, 1 - 2 * (1 - u) ** 2)


def bin_edges(known: Float[Tensor, "n"]) -> Float[Tensor, "E"]:
    """The highest value of each bin but the last: quantiles, closer to each other at both ends.

    Every bin has values in it. The least value is a bin of its own where as many crystals have
    it as an even bin would hold.

    Args:
        known: values, shape (n,).
    """
    least, most = known.min(), known.max()
    is_shared = (known == least).double().mean() > 1 / BINS
    inner = levels(BINS - int(is_shared))[1:-1]
    others = known[known > least] if is_shared and most > least else known
    edges = others.double().quantile(inner, interpolation="lower").float()
    edges = torch.cat([least[None], edges]) if is_shared else edges
    return edges[(edges < most) & ((edges > least) | is_shared)].unique()


def neighbours(table: PropertyTable, width: float) -> Float[Tensor, "b b"]:
    """Over which bins each crystal of a bin is spread: a Gaussian in bins.

    The bin of a shared least value is no neighbour of others.
    """
    place = torch.arange(len(table.edges) + 1, dtype=torch.float64)
    weight = (-0.5 * ((place[:, None] - place) / width).square()).exp()
    if table.has_shared_least:
        weight[0, 1:] = weight[1:, 0] = 0.0
    return weight / weight.sum(-1, keepdim=True)


def smoothed(
    counts: Int[Tensor, "R b"],
    conditions: Int[Tensor, "R 3"],
    kernel: Float[Tensor, "b b"],
    n_left_out: int = 0,
) -> Float[Tensor, "R b"]:
    """P(bin | row): counts spread over neighbours, and shrunk towards those of similar rows.

    Args:
        counts: crystals of each row in each bin, shape (R, b).
        conditions: space group, number of sites, number of elements of each row, (R, 3).
        kernel: of `neighbours`.
        n_left_out: crystals, 0 or 1, that are taken out of the row and the bin they are asked for.

    Source: book, method-eq-bin-given-row.
    """
    spread = counts.double() @ kernel
    own = n_left_out * kernel.diagonal()

    def shrunk(mine: Tensor, prior: Tensor) -> Tensor:
        n = mine.sum(-1, keepdim=True) - n_left_out
        return (mine - own + STRENGTH * prior) / (n + STRENGTH)

    all_of_them = shrunk(spread.sum(0), kernel.new_full((len(kernel),), 1 / len(kernel)))
    of_group = shrunk(_pooled(spread, conditions[:, :1]), all_of_them)
    of_size = shrunk(_pooled(spread, conditions[:, 1:]), all_of_them)
    return shrunk(spread, (of_group + of_size) / 2)


def _pooled(spread: Float[Tensor, "R b"], keys: Int[Tensor, "R k"]) -> Float[Tensor, "R b"]:
    """For each row the sum over all rows of the same key."""
    found, place = keys.unique(dim=0, return_inverse=True)
    return spread.new_zeros(len(found), spread.shape[1]).index_add_(0, place, spread)[place]
