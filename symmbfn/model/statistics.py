"""What a model keeps of its training data besides the weights."""

from dataclasses import dataclass, field, replace

import torch

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.loci import position_row
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model.config import ModelConfig
from symmbfn.model.property_table import PropertyTable
from symmbfn.model.variables import element_classes, slots_and_pointers
from symmbfn.networks.properties import standard_values, zero_scales

LEAST_DEVIATION = 0.05  # of a standardised variable, so that one that never varies stays finite
LEAST_SPREAD = 1e-6  # of a property, for the same reason
HALF_A_COUNT = 0.5  # added to every class, so that one that never occurred stays possible


@dataclass(frozen=True)
class Statistics:
    """Means, deviations and frequencies of a training set.

    Attributes:
        coords_mean, coords_std: per axis, fractional units.
        lattice_mean, lattice_std: per component of k, over crystals where it is free.
        element_log_prior: log frequency per class (of slots or of sites).
        position_log_prior: log frequency of each Wyckoff position within its group.
        conditions: rows (space group, number of sites, number of elements) seen in training.
        given_count: how often each row was seen.
        property_mean, property_std: of the standard values of the model's properties, over the
            crystals where they are known.
        property_tables: by name, of the properties whose values in the training set are known;
            older weights have none.
    """

    coords_mean: Float[Tensor, "3"]
    coords_std: Float[Tensor, "3"]
    lattice_mean: Float[Tensor, "6"]
    lattice_std: Float[Tensor, "6"]
    element_log_prior: Float[Tensor, "K"]
    position_log_prior: Float[Tensor, "P"]
    conditions: Int[Tensor, "R 3"]
    condition_count: Int[Tensor, "R"]
    property_mean: Float[Tensor, "Q"] = field(default_factory=lambda: torch.zeros(0))
    property_std: Float[Tensor, "Q"] = field(default_factory=lambda: torch.ones(0))
    property_tables: dict[str, PropertyTable] = field(default_factory=dict)


def compute_statistics(
    units: AsymmetricUnitBatch,
    config: ModelConfig,
    properties: Float[Tensor, "B Q"] | None = None,
) -> Statistics:
    """Statistics of a training set, in float64.

    Full cells (see `full_cells`) give P(number of atoms, number of elements | space group).

    Args:
        units: all crystals of the set.
        config: of the model.
        properties: values of the model's properties, NaN where not known, shape (B, Q).

    Raises:
        ValueError: if an element is not among the model's classes.
    """
    is_site, n_classes = units.is_site, len(config.elements)
    lattice_mean, lattice_std = lattice_moments(units)
    coords_mean, coords_std = config.coords.moments(units.fractional_coords[is_site].double())
    classes = element_classes(units.atomic_numbers, config.elements)
    used = config.composition.occurrences(classes, is_site, n_classes)
    element_count = torch.bincount(used, minlength=n_classes).double() + HALF_A_COUNT
    conditions, condition_count = rows_of(units, config).unique(dim=0, return_counts=True)
    property_mean, property_std = property_moments(properties, config.properties)
    return Statistics(
        coords_mean=coords_mean.float(),
        coords_std=coords_std.clamp_min(LEAST_DEVIATION).float(),
        lattice_mean=lattice_mean.float(),
        lattice_std=lattice_std.float(),
        element_log_prior=(element_count / element_count.sum()).log().float(),
        position_log_prior=position_log_frequencies(units).float(),
        conditions=conditions,
        condition_count=condition_count,
        property_mean=property_mean,
        property_std=property_std,
    )


def rows_of(units: AsymmetricUnitBatch, config: ModelConfig) -> Int[Tensor, "B 3"]:
    """Space group, number of sites and number of elements of each crystal."""
    classes, k = element_classes(units.atomic_numbers, config.elements), len(config.elements)
    n_elements = slots_and_pointers(classes, units.is_site, k, k)[2]
    return torch.stack([units.space_group_number, units.is_site.sum(-1), n_elements], dim=-1)


def with_property_tables(
    statistics: Statistics,
    units: AsymmetricUnitBatch,
    config: ModelConfig,
    values: Float[Tensor, "B Q"],
) -> Statistics:
    """Statistics with the tables of the model's properties.

    Args:
        statistics: of these crystals.
        units: all crystals that new ones should be like.
        config: of the model.
        values: of its properties, NaN where not known, shape (B, Q).

    Raises:
        ValueError: statistics of other crystals.
    """
    conditions, row, count = rows_of(units, config).unique(
        dim=0, return_inverse=True, return_counts=True
    )
    theirs = statistics.conditions, statistics.condition_count
    if not (torch.equal(conditions, theirs[0]) and torch.equal(count, theirs[1])):
        raise ValueError(
            f"statistics of {int(theirs[1].sum())} crystals are not those of these {len(units)}"
        )
    tables = {
        name: PropertyTable.of(column, row, conditions)
        for name, column in zip(config.properties, values.unbind(-1), strict=True)
        if not column.isnan().all()
    }
    return replace(statistics, property_tables=tables)


def lattice_moments(units: AsymmetricUnitBatch) -> tuple[Float[Tensor, "6"], Float[Tensor, "6"]]:
    """Mean and deviation of each component of k, over the crystals whose family leaves it free."""
    free, _ = lattice_constraints(units.space_group_number)
    k, count = units.lattice_k.double(), free.sum(0).clamp_min(1)
    mean = (k * free).sum(0) / count
    std = (((k - mean) * free).square().sum(0) / count).sqrt()
    return mean, std.clamp_min(LEAST_DEVIATION)


def position_log_frequencies(units: AsymmetricUnitBatch) -> Float[Tensor, "P"]:
    """Log frequency of each Wyckoff position among the sites of its space group."""
    tables = symmetry_tables()
    rows = position_row(units.space_group_number[:, None], units.wyckoff_positions)[units.is_site]
    count = torch.bincount(rows, minlength=len(tables.letter)).double() + HALF_A_COUNT
    group = torch.arange(230).repeat_interleave(torch.tensor(tables.position_start).diff())
    in_group = torch.zeros(230).double().index_add_(0, group, count)
    return (count / in_group[group]).log()


def property_moments(
    values: Float[Tensor, "B Q"] | None, names: tuple[str, ...]
) -> tuple[Float[Tensor, "Q"], Float[Tensor, "Q"]]:
    """Mean and deviation of the standard values of properties, where they are known.

    Raises:
        ValueError: a property of which no or one value is known.
    """
    if not names:
        return torch.zeros(0), torch.ones(0)
    if values is None or values.shape[-1] != len(names):
        raise ValueError(f"values of the properties {names} are needed, got {values}")
    columns = standard_values(values.double(), zero_scales(names).to(values)).unbind(-1)
    known = [column[~column.isnan()] for column in columns]
    if few := [name for name, column in zip(names, known, strict=True) if len(column) < 2]:
        raise ValueError(f"the dataset knows nothing of {', '.join(few)}")
    mean, std = (torch.stack([f(column) for column in known]) for f in (torch.mean, torch.std))
    return mean.float(), std.clamp_min(LEAST_SPREAD).float()
