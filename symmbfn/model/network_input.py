"""The features that the network reads of sites, crystals and pairs.

Each feature states its width beside the function that makes it, so that the network can be built
from the features and no width is counted twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.crystals.layout import Part
from symmbfn.model.beliefs.belief import Belief
from symmbfn.model.channels import Channel
from symmbfn.model.config import ModelConfig
from symmbfn.model.reading import Reading
from symmbfn.networks.embeddings import image_features, pair_phases, time_features
from symmbfn.networks.groups import group_features
from symmbfn.networks.properties import PropertyTokens

MAX_EMBEDDED_SITES = 64
TIME_FREQUENCIES = 16


class Feature(NamedTuple):
    """One feature: some numbers that the network reads.

    Attributes:
        width: how many numbers it has.
        of: makes them, along the last axis.
    """

    width: int
    of: Callable[[Reading], Tensor]


@dataclass(frozen=True)
class Features:
    """All features of the sites, of the crystal, or of the pairs of sites."""

    members: tuple[Feature, ...]

    @property
    def width(self) -> int:
        """How many numbers there are in all."""
        return sum(feature.width for feature in self.members)

    def __call__(self, reading: Reading) -> Float[Tensor, "*X F"]:
        """The features, in their order, float32."""
        return torch.cat([feature.of(reading).float() for feature in self.members], dim=-1)

    def start(self, of: Callable[[Reading], Tensor]) -> int:
        """Place of the first number that a feature's function makes."""
        place = [feature.of for feature in self.members].index(of)
        return sum(feature.width for feature in self.members[:place])


def site_features(config: ModelConfig, channels: Sequence[Channel]) -> Features:
    """Elements, symmetry and coordinates of each site."""
    n_read = config.coords.n_read + config.has_self_conditioning
    features = [
        *(Feature(channel.site_width, channel.of_sites) for channel in channels),
        Feature(3 * n_read, _coords),
        Feature(2 * 3 * config.network.n_frequencies, _phases),
        Feature(1, _log_atoms),
    ]
    if config.has_fixed_parts:
        features.append(Feature(3, _known_of_site))
    return Features(tuple(features))


def _coords(reading: Reading) -> Tensor:
    return torch.cat(reading.numbers["coords"], dim=-1)


def _phases(reading: Reading) -> Tensor:
    return torch.cat(reading.phases, dim=-1)


def _log_atoms(reading: Reading) -> Tensor:
    return (reading.atoms + ~reading.conditions.is_site).log()[..., None]


def _known_of_site(reading: Reading) -> Tensor:
    """Whether a site's coordinates, element and letter are fixed."""
    conditions = reading.conditions
    where = {} if conditions.fixed is None else conditions.fixed.where
    element = "pointers" if "pointers" in reading.classes else "elements"
    nothing = torch.zeros_like(conditions.is_site)
    return torch.stack([where.get(n, nothing) for n in ("coords", element, "letters")], dim=-1)


class GroupEmbedding(nn.Embedding):
    """What the network reads of the space group: a learnt vector, and what the tables say."""

    features: Tensor

    def __init__(self, learnt: int = 64):
        super().__init__(230, learnt)
        self.register_buffer("features", group_features(), persistent=False)
        self.width = learnt + self.features.shape[-1]

    def of_graph(self, reading: Reading) -> Tensor:
        """Learnt and fixed features."""
        group = reading.conditions.space_group_number - 1
        return torch.cat([self(group).float(), self.features[group]], dim=-1)


class SizeEmbedding(nn.Embedding):
    """What the network reads of the number of sites: a learnt vector; large ones are alike."""

    def __init__(self, width: int = 16):
        super().__init__(MAX_EMBEDDED_SITES + 1, width)
        self.width = width

    def of_graph(self, reading: Reading) -> Tensor:
        """The learnt vector."""
        return self(reading.conditions.is_site.sum(-1).clamp_max(MAX_EMBEDDED_SITES))


class PropertyEmbedding(PropertyTokens):
    """What the network reads of the properties."""

    def of_graph(self, reading: Reading) -> Tensor:
        """Those that a crystal is conditioned on; all left out where there are none."""
        values = reading.conditions.properties
        if values is None:
            shape = len(reading.t), len(self.read)
            values = torch.full(shape, torch.nan, device=reading.t.device)
        return self(values)


def graph_features(
    config: ModelConfig,
    beliefs: Mapping[str, Belief],
    elements: Channel,
    group: GroupEmbedding,
    n_sites: SizeEmbedding,
    properties: PropertyEmbedding | None,
) -> Features:
    """Time, space group, sizes, lattice, and the elements of the crystal."""
    read = [belief for belief in beliefs.values() if belief.is_accuracy_read]
    features = [
        Feature(1 + 2 * TIME_FREQUENCIES, _time),
        Feature(len(read), partial(_accuracies, read)),
        Feature(group.width, group.of_graph),
        Feature(n_sites.width, n_sites.of_graph),
        Feature(1, _n_elements if config.composition.is_number_read else _nothing),
        Feature(6, _lattice),
        Feature(6, _lattice_free),
        Feature(3, _size),
    ]
    if config.has_self_conditioning:
        features.append(Feature(6, _best_lattice))
    features.append(Feature(elements.graph_width, elements.of_graph))
    if properties is not None:
        features.append(Feature(properties.width, properties.of_graph))
    if config.has_fixed_parts:
        features.append(Feature(2, _known_of_crystal))
    return Features(tuple(features))


def _time(reading: Reading) -> Tensor:
    return time_features(reading.t, TIME_FREQUENCIES)


def _accuracies(beliefs: Sequence[Belief], reading: Reading) -> Tensor:
    accuracies = [belief.schedule(reading.t)[0] for belief in beliefs]
    return torch.stack(accuracies, dim=-1).log1p() / 5


def _n_elements(reading: Reading) -> Tensor:
    return reading.conditions.n_elements[:, None] / 8


def _nothing(reading: Reading) -> Tensor:
    """A zero where the number of elements would stand, which the published model does not read."""
    return torch.zeros_like(reading.t)[:, None]


def _lattice(reading: Reading) -> Tensor:
    return reading.numbers["lattice"][0]


def _best_lattice(reading: Reading) -> Tensor:
    return reading.numbers["lattice"][-1]


def _lattice_free(reading: Reading) -> Tensor:
    return reading.conditions.lattice_free


def _size(reading: Reading) -> Tensor:
    """Logarithms of the number of atoms, of the edge of the cube for one, and of the sites."""
    log_atoms = reading.conditions.layout.over_sites(reading.atoms).log()
    n_sites = reading.conditions.is_site.sum(-1)
    return torch.stack([log_atoms, reading.k[:, 5] - log_atoms / 3, n_sites.log()], dim=-1)


def _known_of_crystal(reading: Reading) -> Tensor:
    """Whether the lattice is fixed, and which share of the element slots."""
    conditions = reading.conditions
    where = {} if conditions.fixed is None else conditions.fixed.where
    lattice = where.get("lattice", torch.zeros_like(conditions.lattice_free)).any(-1)
    nothing = torch.zeros_like(conditions.is_slot)
    slots = where.get("elements", nothing) if "pointers" in reading.classes else nothing
    share = (slots & conditions.is_slot).sum(-1) / conditions.is_slot.sum(-1).clamp_min(1)
    return torch.stack([lattice.float(), share], dim=-1)


def pair_features(config: ModelConfig) -> Features:
    """Differences, phases, likeness, and last the symmetry images of ordered pairs (i, j)."""
    features = [
        # circular coordinates have no chart on which a plain difference would mean anything
        *([] if config.coords.is_periodic else [Feature(3, _difference)]),
        Feature(3, _nearest_difference),
        Feature(2 * 3 * config.network.n_frequencies, _pair_phases),
        Feature(2, _likeness),
    ]
    if config.images:
        features.append(Feature(config.images.width, partial(_images, config.images.n_images)))
    return Features(tuple(features))


def _difference(reading: Reading) -> Tensor:
    layout = reading.conditions.layout
    x = layout.sites(reading.x)
    return layout.sender(x) - layout.receiver(x)


def _nearest_difference(reading: Reading) -> Tensor:
    difference = _difference(reading)
    return difference - difference.round()


def _pair_phases(reading: Reading) -> Tensor:
    return pair_phases(*reading.phases, reading.conditions.layout)


def _likeness(reading: Reading) -> Tensor:
    """Probability that two sites hold the same element, and the sum of their radii."""
    layout = reading.conditions.layout
    elements, radius = layout.sites(reading.elements), layout.sites(reading.radius)
    alike = (layout.receiver(elements) * layout.sender(elements)).sum(-1)
    sum_of_radii = layout.receiver(radius) + layout.sender(radius)
    return torch.stack([alike, sum_of_radii / 4], dim=-1)


def _images(n_images: int, reading: Reading) -> Tensor:
    conditions, metric = reading.conditions, k_to_metric(reading.k).float()

    def features(part: Part) -> Tensor:
        return image_features(
            part.crystals(reading.x),
            part.crystals(metric),
            part.operations(conditions.rotations),
            part.operations(conditions.translations),
            part.operations(conditions.is_operation),
            part.crystals(reading.radius),
            n_images,
            part.layout,
        )

    return conditions.layout.by_operations(features)
