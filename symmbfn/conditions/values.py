"""Values of properties that crystals are drawn on, and how likely each kind of crystal has them."""

import math

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.conditions.request import Request
from symmbfn.conditions.targets import Range
from symmbfn.flows.noise import uniform
from symmbfn.model.config import ModelConfig
from symmbfn.model.property_table import PropertyTable
from symmbfn.model.statistics import Statistics

VALUE_STREAM = -3  # of the first property; each has its own, downwards
STRONG = 2.0  # guidance, beyond which geometry is known to suffer


def drawn_values(
    request: Request, config: ModelConfig, statistics: Statistics, index: Int[Tensor, "B"]
) -> Float[Tensor, "B Q"]:
    """Values of the properties that are asked for, NaN for the others.

    A range is drawn from as the training set is distributed in it. Where that has nothing of it,
    values are even between two ends, and the end itself where there is one.

    Args:
        request: the conditions.
        config: of the model.
        statistics: of its training data.
        index: numbers of the crystals, shape (B,).

    Returns:
        Values in the units of the data, shape (B, Q), float32.

    Raises:
        ValueError: the model does not know a property, or not where a range without end lies.

    Source: book, method-eq-value-in-range.
    """
    values = torch.full((len(index), len(config.properties)), torch.nan)
    for name, ends in (request.properties or {}).items():
        if name not in config.properties:
            known = ", ".join(config.properties) or "none"
            raise ValueError(f"the model has no property {name}, only {known}")
        column = config.properties.index(name)
        u = uniform(request.seed, index, VALUE_STREAM - column, ())
        table = statistics.property_tables.get(name)
        if table is None and not all(map(math.isfinite, ends)):
            raise ValueError(
                f"property {name} needs two ends: these weights do not know its distribution"
            )
        values[:, column] = _in_range(ends, u, table).float()
    return values


def _in_range(ends: Range, u: Float[Tensor, "B"], table: PropertyTable | None) -> Tensor:
    low, high = ends
    if low == high:
        return torch.full_like(u, low)
    if table is not None and table.covers(low, high):
        return table.between(u, low, high)
    if math.isinf(low) or math.isinf(high):
        return torch.full_like(u, high if math.isinf(low) else low)
    return low + u * (high - low)


def row_factors(
    values: Float[Tensor, "B Q"],
    rows: Int[Tensor, "R 3"],
    config: ModelConfig,
    statistics: Statistics,
) -> tuple[Float[Tensor, "V R"], Int[Tensor, "B"]]:
    """P(values | row), the product over properties, for the few kinds of values that there are.

    Args:
        values: of each crystal, NaN where it is no condition, shape (B, Q).
        rows: space group, number of sites and of elements; of the training set, or just one.
        config: of the model.
        statistics: of its training data.

    Returns:
        Factors for each kind of values, float64, and the kind of each crystal.

    Source: book, method-eq-row-given.
    """
    factors = torch.ones(1, len(rows), dtype=torch.float64)
    kind = torch.zeros(len(values), dtype=torch.long)
    if len(rows) == 1:
        return factors, kind
    place = _places(rows, statistics.conditions)
    for name, column in zip(config.properties, values.unbind(-1), strict=True):
        table = statistics.property_tables.get(name)
        if table is None or column.isnan().all():
            continue
        pairs = torch.stack([kind, table.bins(column)], dim=-1)
        kinds, kind = pairs.unique(dim=0, return_inverse=True)
        likelihood = table.likelihood(statistics.conditions)[place]
        factors = factors[kinds[:, 0]] * likelihood[:, kinds[:, 1]].t()
    return factors, kind


def _places(rows: Int[Tensor, "R 3"], conditions: Int[Tensor, "C 3"]) -> Int[Tensor, "R"]:
    """Where rows stand among all of a training set."""
    place = {tuple(row): number for number, row in enumerate(conditions.tolist())}
    return torch.tensor([place[tuple(row)] for row in rows.tolist()])


def doubts(request: Request, statistics: Statistics) -> list[str]:
    """What the properties of a request ask for beyond what is known to work, a line each.

    Args:
        request: the conditions.
        statistics: of the model's training data.
    """
    found = []
    for name, (low, high) in (request.properties or {}).items():
        table = statistics.property_tables.get(name)
        if table is None or table.covers(low, high):
            continue
        asked = f"{low:g}" if low == high else f"{low:g} to {high:g}"
        first, last = (float(table.quantiles[end]) for end in (0, -1))
        found.append(f"{name} {asked} lies outside of the training data, {first:g} to {last:g}")
    if request.properties and request.guidance > STRONG:
        found.append(
            f"guidance {request.guidance:g}: beyond {STRONG:g} the geometry of crystals gets worse"
        )
    return found
