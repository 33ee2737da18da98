"""What the network is told of a batch's beliefs, and its features of pairs of sites."""

from dataclasses import dataclass

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.model.variables import Given
from symmbfn.networks.embeddings import N_POOLED, image_features, pair_phases


@dataclass
class Reading:
    """What the network is told of a batch's beliefs.

    Attributes:
        theta: probabilities of each categorical variable, 0 on padding.
        channels: (theta, bounded state, previous estimate) of each categorical variable.
        coords: of each site (B, N, C): the belief's mean with and without unit variance, or of
            a circular one its certainty; and where it is read the best estimate so far.
        lattice: mean of the belief, of unit variance; and where it is read the best so far.
        x, k: best fractional coordinates (B, N, 3) and lattice coefficients (B, 6).
        phases: sin and cos of the coordinates' harmonics.
        elements: probabilities of each site's element (B, N, K).
        radius: expected covalent radius (B, N), angstrom.
        atoms: expected number of atoms of each site in the cell (B, N), 0 on padding.
        share: one over the operations that keep a site in place (B, N), where its images are to
            count so in the sum over all; else None.
        species: expected place of each site's element on the Mendeleev scale (B, N), where the
            sum over images is to be weighted by it; else None.
        slots, positions: states of the element slots, embeddings of the groups' positions.
    """

    theta: dict[str, Tensor]
    channels: dict[str, tuple[Tensor, Tensor, Tensor]]
    coords: Tensor
    lattice: tuple[Tensor, ...]
    x: Tensor
    k: Tensor
    phases: tuple[Tensor, Tensor]
    elements: Tensor
    radius: Tensor
    atoms: Tensor
    share: Tensor | None
    species: Tensor | None
    slots: Tensor | None
    positions: Tensor | None


def pair_features(
    reading: Reading, given: Given, *, is_periodic: bool, n_images: int
) -> tuple[Float[Tensor, "B N N E"], Float[Tensor, "B N N I 3"] | None]:
    """What is known of ordered pairs, and the vectors to the images that it holds.

    Args:
        reading: of the batch's beliefs.
        given: for the operations of the groups.
        is_periodic: features are to be the same whatever cell a coordinate is told in.
        n_images: I, how many images of a pair are read one by one; 0 for no images at all.

    Returns:
        Differences, phases, likeness of the elements, and the symmetry images of a pair, shape
        (B, N, N, E); and of these the fractional vectors, shape (B, N, N, I, 3), or None.
    """
    x, radius, elements = reading.x, reading.radius, reading.elements
    difference = x[:, None] - x[:, :, None]
    alike = (elements[:, :, None] * elements[:, None]).sum(-1)
    sum_of_radii = radius[:, :, None] + radius[:, None]
    parts = [
        *([] if is_periodic else [difference]),
        difference - difference.round(),
        pair_phases(*reading.phases),
        torch.stack([alike, sum_of_radii / 4], dim=-1),
    ]
    vectors = None
    if n_images:
        metric = k_to_metric(reading.k).float()
        operations = given.rotations, given.translations, given.is_operation
        images = image_features(x, metric, *operations, radius, n_images, reading.share)
        vectors = images[..., : 3 * n_images].unflatten(-1, (n_images, 3))
        parts.append(images)
        if reading.species is not None:
            parts.append(images[..., -N_POOLED:] * reading.species[:, None, :, None])
    return torch.cat(parts, dim=-1), vectors


N_KNOWN_OF_SITE, N_KNOWN_OF_CRYSTAL = 3, 2


def known_of_sites(given: Given, element: str) -> Float[Tensor, "B N 3"]:
    """Whether a site's coordinates, element and letter are given.

    Args:
        given: what the crystals are conditioned on.
        element: name of the variable that says which element a site holds.
    """
    where = {} if given.known is None else given.known.where
    nothing = torch.zeros_like(given.is_site)
    flags = [where.get(name, nothing) for name in ("coords", element, "letters")]
    return torch.stack(flags, dim=-1).float()


def known_of_crystals(given: Given, *, has_slots: bool) -> Float[Tensor, "B 2"]:
    """Whether the lattice is given, and which share of the element slots."""
    where = {} if given.known is None else given.known.where
    lattice = where.get("lattice", torch.zeros_like(given.lattice_free)).any(-1)
    nothing = torch.zeros_like(given.is_slot)
    slots = where.get("elements", nothing) if has_slots else nothing
    share = (slots & given.is_slot).sum(-1) / given.is_slot.sum(-1).clamp_min(1)
    return torch.stack([lattice.float(), share], dim=-1)


def asked_properties(given: Given, n: int) -> Float[Tensor, "B Q"]:
    """Values of the n properties, NaN where left open."""
    if given.properties is not None:
        return given.properties
    return torch.full((len(given.is_site), n), torch.nan, device=given.is_site.device)
