"""What a model is, in one frozen dataclass, and the presets.

One code path serves all: `paper` is the published model as far as it is stated, `default` the
recommended one, and `full_cell` the published baseline, which knows every atom of the cell and no
symmetry but the space group's name and lattice. `circular` is that baseline with coordinates on
the circle.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from symmbfn.crystals.symmetry import MAX_POSITIONS
from symmbfn.networks.transformer import N_HEADS

CONTINUOUS = ("lattice", "coords")  # names of the variables that are numbers
CERTAINTY = 32.0  # K beta1 at which the right one of K classes leads by four deviations


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that defines a model but its weights and the statistics of its data.

    Attributes:
        elements: atomic numbers of the classes; along the Mendeleev scale for slots.
        network: "cspnet" or "transformer" (see `Transformer`; modulated and with compressed pair
            features only).
        width, depth: hidden width H and number of layers L.
        n_frequencies: harmonics F of the coordinates' phases.
        edge_width, edge_layers, is_modulated: see `CSPNet`.
        symmetry: "letters" (one variable over the group's positions), "axes" (15 x 13), or "none"
            where the sites are all atoms of the cell (see `full_cells` and `primitive_cells`).
        has_axis_mask: axes have only those of the 13 classes that some position of the group has.
        elements_as: "slots" (crystal-level list and pointers) or "sites" (one class a site).
        is_told_n_elements: the number of elements is an input with sites too (with slots it is
            always: it says how many there are).
        n_slots: most elements a crystal can have, with slots.
        target: what the network predicts of continuous variables: "v", "noise" or "data".
        is_preconditioned: logits are the beliefs' plus the network's
            (book, method-preconditioning).
        has_bounded_state: slots, pointers and letters are read as bounded logits and, with
            self-conditioning, as estimated before, too, and not as probabilities alone; None: as
            `is_preconditioned`.
        has_images: symmetry images as neighbours.
        n_images: how many of each pair are read one by one.
        has_displacements: sites are moved along the vectors to their images, see `Displacements`.
        image_pooling: "plain"; "stabiliser", each atom counts once and not as often as operations
            lead to it from its most likely position; or "species", the sum over images is given
            once more, times where the neighbour's element lies on the Mendeleev scale.
        has_self_conditioning: the previous estimate is an input.
        is_standardised: coordinates have their train mean and deviation removed and live on the
            chart [-0.06, 0.94); otherwise raw in [0, 1), and wrapped after every call when
            sampling (in the loss a wrap would punish -0.01 for 0 as an error of 0.99).
        coords_as: "euclidean", or "circular": periodic beliefs, fed by messages one by one.
        sigma1_coords: final deviation of the coordinates' Euclidean beliefs, fractional units.
        n_messages, beta1_coords: about circular coordinates between t = 0 and 1, and the
            concentration that they lead to.
        sigma1_lattice: the same for the standardised lattice.
        beta1_elements, beta1_symmetry, beta1_pointers: final accuracies, each with its own
            number of classes in mind (see `default_config`).
        categorical_power: p of the accuracies beta1 t^p; less than 2 settles the classes earlier.
        weights: loss weights by variable.
        cross_entropy: weight of the auxiliary cross-entropy of categorical variables.
        min_t: smallest training time.
        properties: names of the properties that may be asked for.
        has_known_parts: parts of a crystal may be given, see `Known`.
    """

    elements: tuple[int, ...]
    network: str = "cspnet"
    width: int = 256
    depth: int = 5
    n_frequencies: int = 24
    edge_width: int = 96
    edge_layers: int = 1
    is_modulated: bool = True
    symmetry: str = "letters"
    has_axis_mask: bool = False
    elements_as: str = "slots"
    is_told_n_elements: bool = False
    n_slots: int = 8
    target: str = "v"
    is_preconditioned: bool = True
    has_bounded_state: bool | None = None
    has_images: bool = True
    n_images: int = 2
    has_displacements: bool = False
    image_pooling: str = "plain"
    has_self_conditioning: bool = True
    is_standardised: bool = True
    coords_as: str = "euclidean"
    sigma1_coords: float = 0.02
    n_messages: int = 100
    beta1_coords: float = 1e3
    sigma1_lattice: float = 0.04
    beta1_elements: float
    beta1_symmetry: float
    beta1_pointers: float
    categorical_power: float = 2.0
    weights: dict[str, float] = field(
        default_factory=lambda: {
            "coords": 1.0,
            "lattice": 0.5,
            "elements": 2.0,
            "pointers": 2.0,
            "letters": 3.0,
        }
    )
    cross_entropy: float = 0.1
    min_t: float = 1e-3
    properties: tuple[str, ...] = ()
    has_known_parts: bool = False

    def __post_init__(self):
        for name, allowed in {
            "network": ("cspnet", "transformer"),
            "symmetry": ("letters", "axes", "none"),
            "elements_as": ("slots", "sites"),
            "target": ("v", "noise", "data"),
            "coords_as": ("euclidean", "circular"),
            "edge_layers": (1, 2),
            "image_pooling": ("plain", "stabiliser", "species"),
        }.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {allowed}, got {getattr(self, name)!r}")
        if self.network == "transformer":
            if not self.is_modulated:
                raise ValueError("network 'transformer' needs is_modulated=True, got False")
            if self.width % N_HEADS or not self.edge_width:
                raise ValueError(
                    f"network 'transformer' needs an edge_width and a width that {N_HEADS} heads "
                    f"can share, got {self.edge_width} and {self.width}"
                )
        if not self.categorical_power >= 1:
            raise ValueError(f"categorical_power must be at least 1, got {self.categorical_power}")
        if not self.elements:
            raise ValueError("elements must name at least one atomic number, got ()")
        for name in (*CONTINUOUS, *self.categorical):
            if name not in self.weights:
                raise ValueError(f"weights must name {name!r}, got {self.weights}")
        if self.has_axis_mask and self.symmetry != "axes":
            raise ValueError(f"has_axis_mask is for symmetry 'axes', got {self.symmetry!r}")
        if self.is_told_n_elements and self.elements_as == "slots":
            raise ValueError("is_told_n_elements is for elements_as 'sites', got 'slots'")
        if self.symmetry == "none" and self.has_images:
            raise ValueError("symmetry 'none' knows every atom: has_images must be False, got True")
        if self.n_images < 2:
            raise ValueError(f"n_images must be at least 2, got {self.n_images}")
        if self.has_displacements and not self.has_images:
            raise ValueError("has_displacements needs has_images, got True and False")
        if self.image_pooling != "plain" and not self.has_images:
            raise ValueError(f"image_pooling {self.image_pooling!r} needs images: has_images=True")
        if self.image_pooling == "stabiliser" and self.symmetry != "letters":
            raise ValueError(
                f"image_pooling 'stabiliser' needs symmetry 'letters', got {self.symmetry!r}"
            )
        if self.coords_as == "circular":
            for name in ("is_standardised", "has_self_conditioning", "has_known_parts"):
                if getattr(self, name):
                    raise ValueError(f"coords_as 'circular': {name} must be False, got True")

    @property
    def is_state_read(self) -> bool:
        """Whether bounded logits are an input."""
        return self.is_preconditioned if self.has_bounded_state is None else self.has_bounded_state

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the variables that are classes, the symmetry's last."""
        pointers = ("pointers",) if self.elements_as == "slots" else ()
        symmetry = () if self.symmetry == "none" else (self.symmetry,)
        return ("elements", *pointers, *symmetry)


def default_config(elements: tuple[int, ...], **changes: Any) -> ModelConfig:
    """The recommended model, `changes` by keyword.

    Raises:
        ValueError: no elements.

    Source: book, method-beta1: beta1 = 32 / K for K classes; book, method-loss: weights.
    """
    n_slots = changes.get("n_slots", ModelConfig.n_slots)
    chosen = {
        "beta1_elements": CERTAINTY / max(1, len(elements)),
        "beta1_symmetry": CERTAINTY / MAX_POSITIONS,
        "beta1_pointers": CERTAINTY / n_slots,
        "n_images": 4,
        "has_displacements": changes.get("has_images", True),
        "has_known_parts": True,
    }
    return ModelConfig(elements=elements, **{**chosen, **changes})


def paper_config(**changes: Any) -> ModelConfig:
    """The model of the paper: K = 94, 15 x 13 axes, noise target; what it leaves open is ours.

    Source: Ruple et al. 2026 (SymmBFN); book, method-left-open: weights and accuracies.
    """
    config = ModelConfig(
        elements=tuple(range(1, 95)),
        width=512,
        depth=6,
        n_frequencies=128,
        edge_width=0,
        edge_layers=2,
        is_modulated=False,
        symmetry="axes",
        elements_as="sites",
        target="noise",
        is_preconditioned=False,
        has_images=False,
        has_self_conditioning=False,
        is_standardised=False,
        sigma1_coords=0.02,
        sigma1_lattice=0.02,
        beta1_elements=0.25,
        beta1_symmetry=2.5,
        beta1_pointers=4.0,
        weights={"coords": 1.0, "lattice": 0.1, "elements": 3.0, "axes": 10.0},
        cross_entropy=0.0,
        min_t=1e-4,
    )
    return replace(config, **changes)


def full_cell_config(
    elements: tuple[int, ...] = tuple(range(1, 95)), **changes: Any
) -> ModelConfig:
    """The baseline of the paper: its model over all atoms of the cell.

    Flows, network and sampler are those of `paper_config`, and so are the space group and the
    lattice it fixes, which stay given; only the representation of the crystal differs.

    Source: Methods, "Baseline"; book, method-full-cell.
    """
    weights = {"coords": 1.0, "lattice": 0.1, "elements": 3.0}
    return paper_config(**{"elements": elements, "symmetry": "none", "weights": weights, **changes})


def circular_config(elements: tuple[int, ...] = tuple(range(1, 95)), **changes: Any) -> ModelConfig:
    """CrysBFN's flow of the coordinates in the baseline: nothing else differs from it.

    The estimate is the belief's mean plus the network's output, wrapped, as published; the other
    variables keep the targets of `paper_config`.

    Source: Wu et al. 2025 (CrysBFN); book, method-circular-cell.
    """
    return full_cell_config(**{"elements": elements, "coords_as": "circular", **changes})


# presets whose elements and form are the paper's; the recommended one asks for the data's
PUBLISHED = {"paper": paper_config, "full_cell": full_cell_config, "circular": circular_config}
