"""What a network is taught to be asked for: properties, and parts of the crystal that are given.

In training each is left open for a share of the crystals, so that one network draws crystals
freely, with any properties, and around any part that is given.
"""

from dataclasses import replace

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Given, Known, Variables

FREE = 0.5  # share of crystals of which no property is told
LEFT_OUT = 0.15  # share of each property that is not told of the others
COMPLETE = 0.7  # share of crystals of which no part is given
# of the other crystals, each choice by itself
PART_RATES = {"elements": 0.4, "pointers": 0.3, "letters": 0.3, "lattice": 0.25, "sites": 0.3}
SITE_RATE = 0.5  # share of the sites of a crystal of which single sites are given


def with_conditions(
    model: SymmBFN,
    data: Variables,
    given: Given,
    properties: Float[Tensor, "B Q"],
    generator: torch.Generator,
) -> Given:
    """Draw what of each crystal is told, for one training step.

    Args:
        model: for what it can be told; a model that can be told nothing draws nothing.
        data: the crystals.
        given: what else they are conditioned on.
        properties: values of the model's properties, NaN where not known, shape (B, Q).
        generator: on the device of the tensors.
    """
    if model.config.properties:
        given = replace(given, properties=told_properties(properties, generator))
    if model.config.has_known_parts:
        given = replace(given, known=draw_known(model, data, given, generator))
    return given


def told_properties(
    properties: Float[Tensor, "B Q"], generator: torch.Generator
) -> Float[Tensor, "B Q"]:
    """Properties with those that are not told left open (NaN).

    Source: Ho and Salimans 2022: classifier-free guidance; book, method-properties.
    """
    shape, device = properties.shape, properties.device
    is_free = torch.rand((shape[0], 1), generator=generator, device=device) < FREE
    is_left_out = torch.rand(shape, generator=generator, device=device) < LEFT_OUT
    return properties.masked_fill(is_free | is_left_out, torch.nan)


def draw_known(model: SymmBFN, data: Variables, given: Given, generator: torch.Generator) -> Known:
    """Draw which parts of each crystal are given.

    Elements may be given as a list, or with the sites that hold them; letters, the lattice and
    whole sites (coordinates, letter and element) each by themselves.

    Source: book, method-parts.
    """
    b, n = given.is_site.shape

    def coin(share: float, *shape: int) -> Tensor:
        device = given.is_site.device
        return torch.rand((b, *shape), generator=generator, device=device) < share

    is_incomplete = ~coin(COMPLETE, 1)
    part = {name: coin(rate, 1) & is_incomplete for name, rate in PART_RATES.items()}
    sites = part["sites"] & coin(SITE_RATE, n) & given.is_site
    where = {
        "lattice": part["lattice"] & given.lattice_free,
        "coords": sites,
    }
    if "pointers" in model.classes:
        where["pointers"] = (part["pointers"] & given.is_site) | sites
        where["elements"] = (part["elements"] | part["pointers"]) & given.is_slot
        where["elements"] = where["elements"] | _slots_of(data["pointers"], sites, given)
    else:
        where["elements"] = ((part["elements"] | part["pointers"]) & given.is_site) | sites
    if "letters" in model.classes:
        where["letters"] = (part["letters"] & given.is_site) | sites
    return Known(data, where)


def _slots_of(pointers: Tensor, sites: Tensor, given: Given) -> Tensor:
    """Slots that the given sites point to."""
    found = torch.zeros_like(given.is_slot, dtype=torch.long)
    return found.scatter_reduce(1, pointers, sites.long(), reduce="amax").bool()
