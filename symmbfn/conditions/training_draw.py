"""What each training crystal is conditioned on: properties, and parts of the crystal itself.

Every condition is left out for a share of the crystals, so that one network generates crystals
without conditions, with any of the properties, and around any part.
"""

from dataclasses import asdict, dataclass, replace

import torch

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, FixedParts, Variables
from symmbfn.runtime.checks import real_number

# kinds of parts, in the order in which they are drawn; each is a field of `ConditionRates`
PARTS = ("elements", "slots", "composition", "pointers", "letters", "lattice", "sites")
HALF = 0.5
TOLD = "e_above_hull"  # the property that extra crystals are always conditioned on


@dataclass(frozen=True)
class ConditionRates:
    """How often a training crystal is conditioned on what; each rate is a probability.

    Attributes:
        no_property: a crystal is conditioned on no property.
        property_left_out: each property is left out of the conditions of another crystal.
        no_part: a crystal is conditioned on no part of itself.
        template: another crystal is conditioned on its whole template, which is the elements, the
            sites that hold them, and the Wyckoff letters; half of these on the lattice too.
        elements, slots, composition, pointers, letters, lattice, sites: another crystal without
            template is conditioned on its list of elements; on some of the elements; on the
            elements and how many atoms of each the cell has; on the elements together with the
            sites that hold them; on the Wyckoff letters; on the lattice; on some whole sites. Each
            is drawn independently. Of some elements or sites each is one with probability 1/2.
    """

    no_property: float = 0.5
    property_left_out: float = 0.15
    no_part: float = 0.5
    template: float = 0.35
    elements: float = 0.3
    slots: float = 0.2
    composition: float = 0.4
    pointers: float = 0.2
    letters: float = 0.25
    lattice: float = 0.2
    sites: float = 0.25

    def __post_init__(self):
        for name, rate in asdict(self).items():
            real_number(f"rate {name}", rate, least=0.0, most=1.0)


def draw_conditions(
    model: SymmBFN,
    data: Variables,
    conditions: Conditions,
    properties: Float[Tensor, "B Q"],
    is_extra: Bool[Tensor, "B"],
    rates: ConditionRates,
    generator: torch.Generator,
) -> Conditions:
    """Draw what each crystal is conditioned on in one training step.

    Args:
        model: decides which conditions there are; without any, nothing is drawn.
        data: the crystals.
        conditions: their other conditions, such as the space group.
        properties: values of the model's properties, NaN where not known, shape (B, Q).
        is_extra: crystals that are always conditioned on their energy above the hull, shape (B,).
        rates: how often each condition is drawn.
        generator: on the device of the tensors.

    Returns:
        All conditions.
    """
    if names := model.config.properties:
        drawn = draw_properties(properties, rates, generator)
        if TOLD in names:
            told = is_extra[:, None] & torch.tensor([n == TOLD for n in names]).to(is_extra)
            drawn = torch.where(told, properties, drawn)
        conditions = replace(conditions, properties=drawn)
    if model.config.has_fixed_parts:
        fixed, composition = draw_parts(model, data, conditions, rates, generator)
        conditions = replace(conditions, fixed=fixed, composition=composition)
    return conditions


def draw_properties(
    properties: Float[Tensor, "B Q"], rates: ConditionRates, generator: torch.Generator
) -> Float[Tensor, "B Q"]:
    """Replace the properties that are no conditions by NaN.

    Args:
        properties: values, NaN where not known, shape (B, Q).
        rates: how often a property is no condition.
        generator: on the device of the values.

    Returns:
        Values of the conditions, NaN elsewhere, shape (B, Q).

    Source: Ho and Salimans 2022: classifier-free guidance; book, method-properties.
    """
    shape, device = properties.shape, properties.device
    has_none = torch.rand((shape[0], 1), generator=generator, device=device) < rates.no_property
    is_left_out = torch.rand(shape, generator=generator, device=device) < rates.property_left_out
    return properties.masked_fill(has_none | is_left_out, torch.nan)


def draw_parts(
    model: SymmBFN,
    data: Variables,
    conditions: Conditions,
    rates: ConditionRates,
    generator: torch.Generator,
) -> tuple[FixedParts, Float[Tensor, "B S"] | None]:
    """Draw the parts of each crystal that it is conditioned on.

    A condition on pointers (which site holds which element) or on the composition is one on the
    elements too, and a condition on a site is one on its coordinates, letter and element.

    Args:
        model, data, conditions, rates, generator: as in `draw_conditions`.

    Returns:
        The values of all variables, and for each variable where it is a condition; and how many
        atoms each slot has, NaN where that is none, or None for a model that does not read it.

    Source: book, method-parts.
    """
    b, n = conditions.is_site.shape

    def coin(rate: float, *shape: int) -> Tensor:
        device = conditions.is_site.device
        return torch.rand((b, *shape), generator=generator, device=device) < rate

    has_parts = ~coin(rates.no_part, 1)
    template = has_parts & coin(rates.template, 1)
    part = {name: coin(getattr(rates, name), 1) & has_parts & ~template for name in PARTS}
    sites = part["sites"] & coin(HALF, n) & conditions.is_site
    some_slots = part["slots"] & coin(HALF, conditions.is_slot.shape[1])
    part["pointers"], part["letters"] = part["pointers"] | template, part["letters"] | template
    part["lattice"] = part["lattice"] | (template & coin(HALF, 1))
    part["elements"] = part["elements"] | part["pointers"] | part["composition"]
    where = {
        "lattice": part["lattice"] & conditions.lattice_free,
        "coords": sites,
    }
    if "pointers" in model.classes:
        where["pointers"] = (part["pointers"] & conditions.is_site) | sites
        where["elements"] = (part["elements"] | some_slots) & conditions.is_slot
        where["elements"] = where["elements"] | _slots_of(data["pointers"], sites, conditions)
    else:
        where["elements"] = (part["elements"] & conditions.is_site) | sites
    if "letters" in model.classes:
        where["letters"] = (part["letters"] & conditions.is_site) | sites
    composition = None
    if getattr(model.config.composition, "reads_atoms", False):
        is_told = part["composition"] & conditions.is_slot
        composition = atoms_of_slots(data, conditions).masked_fill(~is_told, torch.nan)
    return FixedParts(data, where), composition


def atoms_of_slots(data: Variables, conditions: Conditions) -> Float[Tensor, "B S"]:
    """Atoms in the conventional cell of the element in each slot, shape (B, S).

    Args:
        data: crystals with pointers and letters as indices.
        conditions: their groups and sites.
    """
    rows = conditions.rows.gather(1, data["letters"])
    multiplicity = torch.tensor(symmetry_tables().multiplicity).to(rows)[rows]
    atoms = (multiplicity * conditions.is_site).float()
    held = torch.zeros(conditions.is_slot.shape, device=atoms.device)
    return held.scatter_add(1, data["pointers"], atoms)


def _slots_of(pointers: Tensor, sites: Tensor, conditions: Conditions) -> Tensor:
    """Element slots that the chosen sites point to."""
    found = torch.zeros_like(conditions.is_slot, dtype=torch.long)
    return found.scatter_reduce(1, pointers, sites.long(), reduce="amax").bool()
