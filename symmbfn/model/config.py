"""What a model is, as small frozen configurations, and the presets.

One code path serves all: `paper` is the published model as far as it is stated, `default` the
recommended one, and `full_cell` the published baseline, which knows every atom of the cell and no
symmetry but the space group's name and lattice. `circular` is that baseline with coordinates on
the circle. A preset takes the size of its network; any other part is changed by
`dataclasses.replace`:

    replace(default_config(elements, width=64), images=None)
"""

from dataclasses import dataclass, replace

from symmbfn._shapes import Float, Tensor
from symmbfn.model.class_configs import (
    AxesConfig,
    ElementSlotsConfig,
    LettersConfig,
    NoSymmetryConfig,
    SiteElementsConfig,
)
from symmbfn.model.number_configs import (
    CircularCoordsConfig,
    EuclideanCoordsConfig,
    LatticeConfig,
)
from symmbfn.networks.cspnet import CSPNet
from symmbfn.networks.embeddings import n_image_features


@dataclass(frozen=True, kw_only=True)
class ImagesConfig:
    """Symmetry images as neighbours.

    Attributes:
        n_images: how many of each pair are read one by one.
        has_displacements: sites are moved along the vectors to them, see `Displacements`.
    """

    n_images: int = 4
    has_displacements: bool = True

    def __post_init__(self):
        if self.n_images < 2:
            raise ValueError(f"n_images must be at least 2, got {self.n_images}")

    @property
    def width(self) -> int:
        """Number of features of a pair."""
        return n_image_features(self.n_images)

    def vectors(self, edges: Float[Tensor, "*P E"]) -> Float[Tensor, "*P I 3"]:
        """Fractional vectors to the images, which are first of a pair's last `width` features."""
        images = edges[..., -self.width :]
        return images[..., : 3 * self.n_images].unflatten(-1, (self.n_images, 3))


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The network.

    Attributes:
        width, depth: hidden width H and number of layers L.
        n_frequencies: harmonics F of the coordinates' phases.
        edge_width, edge_layers, is_modulated: see `CSPNet`.
    """

    width: int = 256
    depth: int = 5
    n_frequencies: int = 24
    edge_width: int = 96
    edge_layers: int = 1
    is_modulated: bool = True

    def __post_init__(self):
        if self.edge_layers not in (1, 2):
            raise ValueError(f"edge_layers must be 1 or 2, got {self.edge_layers!r}")

    def network(self, site_features: int, graph_features: int, edge_features: int) -> CSPNet:
        """A new network for so many features of sites, crystals and pairs."""
        return CSPNet(
            site_features,
            graph_features,
            edge_features,
            width=self.width,
            depth=self.depth,
            edge_width=self.edge_width,
            edge_layers=self.edge_layers,
            is_modulated=self.is_modulated,
        )


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """The training loss, beside the weights that the variables state.

    Attributes:
        cross_entropy: weight of the auxiliary cross-entropy of categorical variables.
        min_t: smallest training time.
        weighs_free_coords: crystals whose letters are all conditions count sqrt(1 + f) times,
            with f free coordinates, since all of these must be right at once.
    """

    cross_entropy: float = 0.1
    min_t: float = 1e-3
    weighs_free_coords: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that defines a model but its weights and the statistics of its data.

    Attributes:
        elements: atomic numbers of the classes; along the Mendeleev scale for slots.
        composition: form of the elements: slots of the crystal, or one element for each site.
        symmetry: form of the sites' symmetry: letters or axes; none where sites are all atoms.
        coords, lattice: the variables that are numbers.
        images: symmetry images as neighbours; None for none.
        network, loss: see there.
        properties: names of the properties that a crystal may be conditioned on.
        is_preconditioned: logits are the beliefs' plus the network's
            (book, method-preconditioning).
        has_self_conditioning: the previous estimate is an input.
        has_fixed_parts: a crystal may be conditioned on parts of itself, see `Known`.
    """

    elements: tuple[int, ...]
    composition: ElementSlotsConfig | SiteElementsConfig
    symmetry: LettersConfig | AxesConfig | NoSymmetryConfig = LettersConfig()
    coords: EuclideanCoordsConfig | CircularCoordsConfig = EuclideanCoordsConfig()
    lattice: LatticeConfig = LatticeConfig()
    images: ImagesConfig | None = ImagesConfig()
    network: NetworkConfig = NetworkConfig()
    loss: LossConfig = LossConfig()
    properties: tuple[str, ...] = ()
    is_preconditioned: bool = True
    has_self_conditioning: bool = True
    has_fixed_parts: bool = True

    @property
    def takes_conditions(self) -> bool:
        """Whether a request may ask for more than a space group."""
        has_sites = isinstance(self.composition, ElementSlotsConfig)
        return self.has_fixed_parts and has_sites and isinstance(self.symmetry, LettersConfig)

    def __post_init__(self):
        if not self.elements:
            raise ValueError("elements must name at least one atomic number, got ()")
        if self.images and self.is_of_atoms:
            raise ValueError("images must be None where all atoms are sites (no symmetry)")
        for name in ("has_self_conditioning", "has_fixed_parts"):
            if self.coords.is_periodic and getattr(self, name):
                raise ValueError(f"{name} must be False for circular coordinates, got True")

    @property
    def is_of_atoms(self) -> bool:
        """Whether the sites are all atoms of the cell."""
        return self.symmetry == NoSymmetryConfig()

    @property
    def most_elements(self) -> int:
        """Most elements that a crystal can have."""
        return self.composition.most_elements(len(self.elements))


def default_config(
    elements: tuple[int, ...],
    *,
    width: int = NetworkConfig.width,
    depth: int = NetworkConfig.depth,
    properties: tuple[str, ...] = (),
) -> ModelConfig:
    """The recommended model, with accuracies that decide every class by t = 1.

    Args:
        elements: atomic numbers along the Mendeleev scale, see `elements_of`.
        width, depth: of the network.
        properties: that a crystal may be conditioned on.

    Raises:
        ValueError: no elements.

    Source: book, method-beta1: accuracies; book, method-loss: weights.
    """
    return ModelConfig(
        elements=elements,
        composition=ElementSlotsConfig.for_elements(len(elements)),
        network=NetworkConfig(width=width, depth=depth),
        loss=LossConfig(weighs_free_coords=True),
        properties=properties,
    )


def paper_config(
    elements: tuple[int, ...] = tuple(range(1, 95)), *, width: int = 512, depth: int = 6
) -> ModelConfig:
    """The model of the paper: 15 x 13 axes, noise target; what it leaves open is ours.

    Args:
        elements: atomic numbers of the classes; as published all 94.
        width, depth: of the network.

    Source: Ruple et al. 2026 (SymmBFN); book, method-left-open: weights and accuracies.
    """
    return ModelConfig(
        elements=elements,
        composition=SiteElementsConfig(beta1=0.25, weight=3.0),
        symmetry=AxesConfig(),
        coords=EuclideanCoordsConfig(target="noise", is_standardised=False),
        lattice=LatticeConfig(sigma1=0.02, target="noise", weight=0.1),
        images=None,
        network=NetworkConfig(
            width=width,
            depth=depth,
            n_frequencies=128,
            edge_width=0,
            edge_layers=2,
            is_modulated=False,
        ),
        loss=LossConfig(cross_entropy=0.0, min_t=1e-4),
        is_preconditioned=False,
        has_self_conditioning=False,
        has_fixed_parts=False,
    )


def full_cell_config(
    elements: tuple[int, ...] = tuple(range(1, 95)), *, width: int = 512, depth: int = 6
) -> ModelConfig:
    """The baseline of the paper: its model over all atoms of the cell.

    Flows, network and sampler are those of `paper_config`, and so are the space group and the
    lattice it fixes, which stay conditions; only the representation of the crystal differs.

    Args: as of `paper_config`.

    Source: Methods, "Baseline"; book, method-full-cell.
    """
    return replace(paper_config(elements, width=width, depth=depth), symmetry=NoSymmetryConfig())


def circular_config(
    elements: tuple[int, ...] = tuple(range(1, 95)), *, width: int = 512, depth: int = 6
) -> ModelConfig:
    """CrysBFN's flow of the coordinates in the baseline: nothing else differs from it.

    The estimate is the belief's mean plus the network's output, wrapped, as published; the other
    variables keep the targets of `paper_config`.

    Args: as of `paper_config`.

    Source: Wu et al. 2025 (CrysBFN); book, method-circular-cell.
    """
    baseline = full_cell_config(elements, width=width, depth=depth)
    return replace(baseline, coords=CircularCoordsConfig())


# presets whose elements and form are the paper's; the recommended one asks for the data's
PUBLISHED = {"paper": paper_config, "full_cell": full_cell_config, "circular": circular_config}
