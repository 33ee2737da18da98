"""Features of times, coordinates and neighbours: inputs of the networks."""

import math

import torch

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.images import RESOLUTION, images_of
from symmbfn.crystals.layout import DENSE, Layout

IMAGE_CENTRES = torch.linspace(0.3, 6.0, 14)  # angstrom
CONTACT_RANGE = 0.3, 2.0, 12  # first and last, in sums of covalent radii, and their number
CONTACT_CENTRES = torch.linspace(*CONTACT_RANGE)
HIDDEN = 100.0  # angstrom: distance given to an image that does not count


def n_image_features(n_images: int) -> int:
    """Number of features of a pair that `image_features` gives.

    Args:
        n_images: I, how many images enter one by one.

    Returns:
        The width E of the features.

    Source: book, method-images.
    """
    return n_images * (3 + 3 + len(IMAGE_CENTRES) + len(CONTACT_CENTRES)) + len(CONTACT_CENTRES)


def time_features(t: Float[Tensor, "B"], n_frequencies: int = 16) -> Float[Tensor, "B F"]:
    """t and sin, cos of pi k t for k = 1..n_frequencies.

    Args:
        t: times in [0, 1], shape (B,).
        n_frequencies: number of harmonics.

    Returns:
        Features, shape (B, 1 + 2 n_frequencies).

    Source: book, method-features.
    """
    angle = math.pi * t[:, None] * torch.arange(1, n_frequencies + 1, device=t.device)
    return torch.cat([t[:, None], angle.sin(), angle.cos()], dim=-1)


def phases(x: Float[Tensor, "*X 3"], n_frequencies: int) -> tuple[Tensor, Tensor]:
    """sin and cos of 2 pi j x for the harmonics j = 1..n_frequencies.

    Args:
        x: fractional coordinates, shape (..., 3), unitless.
        n_frequencies: number of harmonics F.

    Returns:
        Sines and cosines, each of shape (..., 3 F).

    Source: Jiao et al. 2023 (DiffCSP): Fourier features.
    """
    angle = 2 * math.pi * x[..., None] * torch.arange(1, n_frequencies + 1, device=x.device)
    angle = angle.flatten(-2)
    return angle.sin(), angle.cos()


def pair_phases(
    sin: Float[Tensor, "B N P"], cos: Float[Tensor, "B N P"], layout: Layout = DENSE
) -> Float[Tensor, "*P Q"]:
    """sin and cos of 2 pi k (x_j - x_i) from the phases of the sites, by the addition theorem.

    Args:
        sin: sines of the sites' phases, shape (B, N, P).
        cos: their cosines, shape (B, N, P).
        layout: of the pairs.

    Returns:
        Features of the ordered pairs (i, j), shape (B, N, N, 2 P) in a dense batch.

    Source: Jiao et al. 2023 (DiffCSP): Fourier features of the relative coordinates.
    """
    sites = layout.sites(sin), layout.sites(cos)
    (sin_i, cos_i), (sin_j, cos_j) = map(layout.receiver, sites), map(layout.sender, sites)
    return torch.cat([sin_j * cos_i - cos_j * sin_i, cos_j * cos_i + sin_j * sin_i], dim=-1)


def gaussian_basis(
    distance: Float[Tensor, "*X"], centres: Float[Tensor, "C"]
) -> Float[Tensor, "*X C"]:
    """exp(-(d - c)^2 / (2 w^2)) with the centres' spacing as width w.

    Args:
        distance: d, any shape, in the unit of the centres.
        centres: equally spaced c, shape (C,).

    Returns:
        Values in (0, 1], shape (..., C).

    Source: Schütt et al. 2017 (SchNet): radial basis.
    """
    width = centres[1] - centres[0]
    return torch.exp(-0.5 * ((distance[..., None] - centres.to(distance)) / width) ** 2)


@torch.no_grad()
def image_features(
    x: Float[Tensor, "B N 3"],
    metric: Float[Tensor, "B 3 3"],
    rotations: Float[Tensor, "B O 3 3"],
    translations: Float[Tensor, "B O 3"],
    is_operation: Bool[Tensor, "B O"],
    radius: Float[Tensor, "B N"],
    n_images: int = 2,
    layout: Layout = DENSE,
) -> Float[Tensor, "*P E"]:
    """Nearest symmetry images of site j around site i: the real neighbours of the site.

    For every ordered pair (i = j included) and every operation g of the space group the vector
    v = g x_j - x_i is wrapped to its nearest lattice image. The few shortest enter with vector,
    direction and radial basis, all of them with a radial basis that is summed. Distances are given
    in angstrom and in sums of covalent radii. Around special positions many images are equally
    near: of these the first operations count, so that the choice does not depend on rounding. The
    geometry is computed in float32 under autocast too.

    Args:
        x: fractional coordinates, shape (B, N, 3).
        metric: metric tensor of the current lattice estimate, shape (B, 3, 3), angstrom^2.
        rotations: rotation parts of the operations, padded, shape (B, O, 3, 3).
        translations: translation parts, padded, shape (B, O, 3), fractional.
        is_operation: False on padding, shape (B, O); operation 0 is the identity.
        radius: covalent radius expected of each site, shape (B, N), angstrom.
        n_images: I, how many of the shortest vectors of a pair enter one by one.
        layout: of the pairs.

    Returns:
        Features without gradient, shape (B, N, N, E) in a dense batch, see `n_image_features`; the
        first 3 I are the fractional vectors, 0 where there is no image.

    Source: book, method-images.
    """
    with torch.autocast(x.device.type, enabled=False):
        if (missing := n_images - rotations.shape[1]) > 0:  # pad with hidden images
            pad = torch.nn.functional.pad
            rotations = pad(rotations, (0, 0, 0, 0, 0, missing))
            translations = pad(translations, (0, 0, 0, missing))
            is_operation = pad(is_operation, (0, missing))
        operations = rotations, translations, is_operation
        return _image_features(x, metric, *operations, radius, n_images, layout)


def _image_features(
    x: Tensor,
    metric: Tensor,
    rotations: Tensor,
    translations: Tensor,
    is_operation: Tensor,
    radius: Tensor,
    n_images: int,
    layout: Layout,
) -> Tensor:
    images = images_of(x, metric, rotations, translations, layout)
    radius = layout.sites(radius)
    own = layout.is_own(radius)[..., None]
    identity = torch.arange(rotations.shape[1], device=x.device) == 0
    hidden = (own & identity) | ~layout.at_pairs(is_operation)
    distance = images.distance().masked_fill(hidden, HIDDEN)
    radii = (layout.receiver(radius) + layout.sender(radius))[..., None]
    pooled = torch.log1p(summed_basis(distance / radii, *CONTACT_RANGE))
    index = _smallest(distance, n_images)
    nearest = distance.gather(-1, index)
    vector = images.vectors(index)
    vector = vector * (nearest < HIDDEN)[..., None]
    features = [
        vector.flatten(-2),
        (vector / (nearest[..., None] / nearest.new_full((), 5.0) + 0.1)).flatten(-2),
        gaussian_basis(nearest, IMAGE_CENTRES).flatten(-2),
        gaussian_basis(nearest / radii, CONTACT_CENTRES).flatten(-2),
        pooled,
    ]
    return torch.cat(features, dim=-1)


def summed_basis(
    distance: Float[Tensor, "*X O"], first: float, last: float, n_centres: int
) -> Float[Tensor, "*X C"]:
    """`gaussian_basis` summed over the last axis, with two exponentials in place of C.

    With u = (d - middle) / w and centre j widths from the middle, exp(-(u - j)^2 / 2) is
    exp(-u^2 / 2) exp(u j) exp(-j^2 / 2): from the middle outwards each centre is one product.

    Args:
        distance: d, shape (..., O), in the unit of the centres.
        first, last, n_centres: equally spaced centres c, an even number C of them.

    Returns:
        Sums, shape (..., C), to 2e-6; what lies 6 widths beyond the last centre counts nothing.

    Source: ours.
    """
    width, half = (last - first) / (n_centres - 1), n_centres // 2
    u = (distance - (first + last) / 2) / width
    reach = half + 6.0
    half_step = torch.exp(0.5 * u.clamp_max(reach))
    bell = torch.exp(-0.5 * u.square()) * (u < reach)
    above: list[Tensor] = []
    below: list[Tensor] = []
    for sums, start in ((above, half_step), (below, 1 / half_step)):
        step, term = start * start, bell * start
        for i in range(half):
            sums.append(term.sum(-1) * math.exp(-0.5 * (i + 0.5) ** 2))
            term = term * step
    return torch.stack([*reversed(below), *above], dim=-1)


def _smallest(value: Float[Tensor, "*X O"], n: int) -> Int[Tensor, "*X n"]:
    """Places of the n smallest values; those alike to the resolution count in their order."""
    place = torch.arange(value.shape[-1], device=value.device) / value.shape[-1]
    key = (value / RESOLUTION).round() + 0.9 * place
    places = [key.argmin(-1, keepdim=True)]
    while len(places) < n:
        key = key.scatter(-1, places[-1], torch.inf)
        places.append(key.argmin(-1, keepdim=True))
    return torch.cat(places, dim=-1)
