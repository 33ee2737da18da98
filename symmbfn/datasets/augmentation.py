"""The same crystals in random settings: what the canonical form takes away, given back."""

import numpy as np
import torch

from symmbfn._shapes import Float, Int
from symmbfn.crystals.canonical import project_onto_locus, representatives_of
from symmbfn.crystals.lattice import k_to_metric
from symmbfn.crystals.settings import Settings, moved_k, settings_of, special_cosets
from symmbfn.crystals.symmetry import symmetry_tables
from symmbfn.datasets.cache import EncodedDataset


def augmented(dataset: EncodedDataset, n_copies: int, seed: int) -> EncodedDataset:
    """Copy every crystal in settings of its space group that are drawn at random.

    Every coset of the Euclidean normaliser is as likely as any other, and along polar axes every
    origin. Letters are identified anew; which member of an orbit stands for it, and the chart, are
    those of the encoding.

    Args:
        dataset: asymmetric units.
        n_copies: of each crystal, at least 1.
        seed: of the settings.

    Returns:
        All crystals in their order, and again for each copy. `settings["form"]` is "augmented",
        with "copies" and "seed", and the digest is another.

    Raises:
        ValueError: n_copies below 1, or sites of another kind.

    Source: book, method-canonical: as an alternative to the canonical form.
    """
    if n_copies < 1:
        raise ValueError(f"n_copies must be at least 1, got {n_copies}")
    if dataset.settings.get("sites") == "atoms":
        raise ValueError("the sites of this dataset are all atoms of the cell: it has no settings")
    rng = np.random.default_rng(seed)
    n, n_sites = len(dataset), len(dataset.atomic_numbers)
    k = np.empty((n_copies, n, 6))
    positions = np.empty((n_copies, n_sites), dtype=np.int64)
    coords = np.empty((n_copies, n_sites, 3))
    for (number, special), crystals in _alike(dataset).items():
        sites = _sites_of(dataset, crystals)
        part = _redrawn(dataset, number, special, crystals, sites, n_copies, rng)
        k[:, crystals], positions[:, sites], coords[:, sites] = part
    return _joined(dataset, k, positions, coords, {"copies": n_copies, "seed": seed})


def _alike(
    dataset: EncodedDataset,
) -> dict[tuple[int, tuple[int, ...]], Int[np.ndarray, "m"]]:
    """Crystals by what decides their settings: the group and the special cosets of the cell."""
    rows: dict[tuple[int, tuple[int, ...]], list[int]] = {}
    metrics = k_to_metric(dataset.lattice_k).numpy()
    groups = dataset.space_group_number.tolist()
    for row, (number, metric) in enumerate(zip(groups, metrics, strict=True)):
        rows.setdefault((number, special_cosets(number, metric)), []).append(row)
    return {key: np.array(value) for key, value in rows.items()}


def _sites_of(dataset: EncodedDataset, crystals: Int[np.ndarray, "m"]) -> Int[np.ndarray, "s"]:
    """Rows of the sites of some crystals, crystal after crystal."""
    start = dataset.site_start.long().numpy()
    return np.concatenate([np.arange(start[c], start[c + 1]) for c in crystals.tolist()])


def _redrawn(
    dataset: EncodedDataset,
    number: int,
    special: tuple[int, ...],
    crystals: Int[np.ndarray, "m"],
    sites: Int[np.ndarray, "s"],
    n_copies: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "C m 6"], Int[np.ndarray, "C s"], Float[np.ndarray, "C s 3"]]:
    """Lattices, positions and coordinates of crystals of one group in random settings."""
    settings = settings_of(number, special)
    shape = n_copies, len(crystals)
    coset = rng.integers(len(settings), size=shape)
    shift = np.where(symmetry_tables().polar_axes[number - 1], rng.random((*shape, 3)), 0.0)
    k = np.broadcast_to(dataset.lattice_k[crystals].numpy(), (*shape, 6))
    if special:
        rotations = settings.rotations[coset]
        k = moved_k(k, k_to_metric(torch.tensor(k)).numpy(), number, rotations)
    owner = np.repeat(np.arange(len(crystals)), dataset.n_sites.numpy()[crystals])
    before = dataset.wyckoff_positions[sites].long().numpy()
    x = _on_loci(number, before, dataset.fractional_coords[sites].double().numpy())
    return k, *_moved(number, settings, coset[:, owner], shift[:, owner], before, x)


def _on_loci(
    number: int, positions: Int[np.ndarray, "s"], coords: Float[np.ndarray, "s 3"]
) -> Float[np.ndarray, "s 3"]:
    """Take single precision out of the coordinates of special positions."""
    located = coords.copy()
    for w in np.unique(positions):
        mine = positions == w
        located[mine] = project_onto_locus(number, int(w), coords[mine])[0]
    return located


def _moved(
    number: int,
    settings: Settings,
    coset: Int[np.ndarray, "C s"],
    shift: Float[np.ndarray, "C s 3"],
    positions: Int[np.ndarray, "s"],
    coords: Float[np.ndarray, "s 3"],
) -> tuple[Int[np.ndarray, "C s"], Float[np.ndarray, "C s 3"]]:
    """Apply a coset and a shift to each site, and the rule for representatives."""
    image = settings.image[coset, positions]
    rotation = settings.image_rotations[coset, positions]
    moved = (rotation @ coords[:, :, None])[..., 0]
    moved += settings.image_translations[coset, positions] + shift
    for w in np.unique(image):
        mine = image == w
        moved[mine] = representatives_of(number, int(w), moved[mine])
    return image, moved


def _joined(
    dataset: EncodedDataset,
    k: Float[np.ndarray, "C n 6"],
    positions: Int[np.ndarray, "C s"],
    coords: Float[np.ndarray, "C s 3"],
    origin: dict[str, int],
) -> EncodedDataset:
    """The copies one after the other, sites of each crystal in the order of the encoding."""
    n_copies, n = k.shape[:2]
    n_sites = np.tile(dataset.n_sites.numpy(), n_copies)
    owner = np.repeat(np.arange(n_copies * n), n_sites)
    numbers = np.tile(dataset.atomic_numbers.numpy(), n_copies)
    flat, x = positions.reshape(-1), coords.reshape(-1, 3)
    order = np.lexsort((*x.T[::-1], numbers, -flat, owner))
    start = torch.tensor([0, *n_sites.cumsum().tolist()])
    return dataset.derived(
        "augmented",
        origin,
        space_group_number=dataset.space_group_number.repeat(n_copies),
        site_start=start.to(dataset.site_start),
        lattice_k=torch.tensor(k.reshape(-1, 6)).to(dataset.lattice_k),
        atomic_numbers=torch.tensor(numbers[order]).to(dataset.atomic_numbers),
        wyckoff_positions=torch.tensor(flat[order]).to(dataset.wyckoff_positions),
        fractional_coords=torch.tensor(x[order]).to(dataset.fractional_coords),
        properties=dataset.properties.repeat(n_copies, 1),
        identifiers=dataset.identifiers * n_copies,
        settings={**dataset.settings, "form": "augmented", **origin},
    )
