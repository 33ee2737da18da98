"""Constraints that hold for every crystal: estimates of the network are moved to fulfil them."""

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.distances import MINIMUM_DISTANCE
from symmbfn.crystals.images import images_of
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.crystals.layout import Part
from symmbfn.crystals.loci import nearest_point
from symmbfn.model.symmbfn import FARTHEST, SymmBFN, near_chart
from symmbfn.model.variables import Conditions, Variables

SETTLED = 0.9  # probability of a letter above which it counts as settled
SAME_ATOM = 0.5  # angstrom; an own image as close as this is the atom itself
# angstrom; between small atoms a share of their radii can be less than a valid crystal needs
SHORTEST = 1.1 * MINIMUM_DISTANCE
LEAST = 0.03  # angstrom; a vector as short as this has no clear direction


def confine(model: SymmBFN, estimates: Variables, conditions: Conditions) -> Variables:
    """Keep estimated coordinates where data can be: clipped about the chart, or wrapped.

    Source: Methods, "Sampling": the wrap; book, method-confine: the clip.
    """
    x = model.fractional(estimates.continuous["coords"])
    x = near_chart(x) if model.config.coords.is_standardised else x % 1.0
    coords = (x - model.coords_mean) / model.coords_std * conditions.is_site[..., None]
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)


def project_settled(model: SymmBFN, estimates: Variables, conditions: Conditions) -> Variables:
    """Move estimated coordinates onto the locus of their letter, where the letter is settled.

    Coordinates that are conditioned on stay.
    """
    if "letters" not in estimates.categorical:
        return estimates
    letter, is_settled = settled_letters(estimates, conditions)
    row = conditions.rows.gather(1, letter)
    x = model.fractional(estimates.continuous["coords"])
    on_locus = nearest_point(x.double().flatten(0, 1), row.flatten()).view_as(x).float()
    on_locus = (on_locus - model.coords_mean) / model.coords_std
    return _with_coords(estimates, conditions, on_locus, is_settled)


def settled_letters(
    estimates: Variables, conditions: Conditions
) -> tuple[Int[Tensor, "B N"], Bool[Tensor, "B N"]]:
    """Most likely letter of each site, and whether it is settled; that of padding never is."""
    belief, letter = estimates.categorical["letters"].max(-1)
    return letter, (belief.exp() > SETTLED) & conditions.is_site


def can_keep_apart(model: SymmBFN) -> bool:
    """Whether a model has the letters and the images that `move_apart` needs."""
    return "letters" in model.classes and model.config.images is not None


def move_apart(
    model: SymmBFN, estimates: Variables, conditions: Conditions, clearance: float
) -> Variables:
    """Move apart sites that are too close to each other.

    Each site whose letter is settled is moved away from one neighbour: the one, among all images
    of all settled sites, that is closest compared with the least distance. It is moved by half of
    what is missing; the neighbour is moved by the other half. The coordinates should lie on their
    loci before, and may leave them. Coordinates that are conditioned on stay. A neighbour within
    0.03 angstrom is left out, because it has no clear direction, and an image of the site itself
    within 0.5 angstrom, because it is the same atom.

    Args:
        model: with letters and images, for the units of the estimates.
        estimates: of all variables, coordinates of shape (B, N, 3).
        conditions: what the crystals are conditioned on, for the operations of the groups.
        clearance: least distance as a fraction of the sum of the two expected covalent radii;
            never less than 0.55 angstrom.

    Returns:
        The estimates, with other coordinates.

    Source: book, method-clearance.
    """
    _, is_settled = settled_letters(estimates, conditions)
    x = model.fractional(estimates.continuous["coords"])
    lattice = estimates.continuous["lattice"].clamp(-FARTHEST, FARTHEST)
    metric = k_to_metric(model.lattice_k(lattice, conditions)).to(x)
    theta = {name: log_p.exp() for name, log_p in estimates.categorical.items()}
    radius = model.radius_of(model.elements_of_sites(theta))

    def closest(part: Part) -> Float[Tensor, "*P 5"]:
        """The image of each pair that lacks most: how much, its distance and its vector."""
        layout, rotations = part.layout, part.operations(conditions.rotations)
        translations = part.operations(conditions.translations)
        images = images_of(part.crystals(x), part.crystals(metric), rotations, translations, layout)
        distance = images.distance()
        size, settled = (layout.sites(part.crystals(value)) for value in (radius, is_settled))
        radii = (layout.receiver(size) + layout.sender(size))[..., None]
        lacking = (clearance * radii).clamp_min(SHORTEST) - distance
        is_pair = (layout.receiver(settled) & layout.sender(settled))[..., None]
        is_pair = is_pair & layout.at_pairs(part.operations(conditions.is_operation))
        is_pair = is_pair & (distance > LEAST)
        is_pair = is_pair & ~(layout.is_own(size)[..., None] & (distance < SAME_ATOM))
        lacking = lacking.masked_fill(~is_pair, 0.0).clamp_min(0.0)
        best = lacking.argmax(-1, keepdim=True)
        vector = images.vectors(best)[..., 0, :]
        return torch.cat([lacking.gather(-1, best), distance.gather(-1, best), vector], dim=-1)

    layout = conditions.layout
    pairs = layout.by_sender(layout.by_operations(closest))
    nearest = pairs[..., 0].argmax(-1)[..., None, None].expand(*pairs.shape[:-2], 1, 5)
    lacking, distance, vector = pairs.gather(-2, nearest)[..., 0, :].split((1, 1, 3), dim=-1)
    move = layout.padded(lacking / distance.clamp_min(LEAST) / 2 * vector)
    coords = (x - move - model.coords_mean) / model.coords_std
    return _with_coords(estimates, conditions, coords, is_settled)


def _with_coords(
    estimates: Variables,
    conditions: Conditions,
    coords: Float[Tensor, "B N 3"],
    where: Bool[Tensor, "B N"],
) -> Variables:
    """Estimates with other coordinates at some sites, but not where they are conditioned on."""
    if conditions.fixed is not None and "coords" in conditions.fixed.where:
        where = where & ~conditions.fixed.where["coords"]
    coords = torch.where(where[..., None], coords, estimates.continuous["coords"])
    return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)
