"""Small crystals, datasets and models for the tests of networks, model, training and sampling."""

from dataclasses import fields, replace
from functools import cache

import numpy as np
import torch

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.elements import MENDELEEV_NUMBER
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.full_cell import full_cells
from symmbfn.model.class_configs import CERTAINTY, ElementSlotsConfig, SiteElementsConfig
from symmbfn.model.config import PUBLISHED, ModelConfig, NetworkConfig, default_config
from symmbfn.model.statistics import compute_statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.training.steps import draw_noise
from tests.crystals.samples import generic_crystal, one_crystal

SMALL = {"width": 16, "depth": 2, "n_frequencies": 4}
CPU = torch.device("cpu")


@cache
def units() -> list[AsymmetricUnit]:
    """Crystals of all families, one to six sites, one to five elements, polar groups among them."""
    rng = np.random.default_rng(0)
    o, h = 0.0, 0.5
    third, two = 1 / 3, 2 / 3
    return [
        one_crystal(225, [(11, "a", (o, o, o)), (17, "b", (h, h, h))], edge=5.6),
        one_crystal(225, [(20, "a", (o, o, o)), (9, "c", (0.25, 0.25, 0.25))], edge=5.5),
        one_crystal(216, [(30, "a", (o, o, o)), (16, "c", (0.25, 0.25, 0.25))], edge=5.4),
        one_crystal(221, [(38, "a", (o, o, o)), (22, "b", (h, h, h)), (8, "c", (o, h, h))], 3.9),
        one_crystal(227, [(14, "a", (0.125, 0.125, 0.125))], edge=5.4),
        one_crystal(229, [(26, "a", (o, o, o))], edge=2.9),
        one_crystal(194, [(12, "c", (third, two, 0.25))], edge=3.6),
        one_crystal(186, [(30, "b", (third, two, o)), (8, "b", (third, two, 0.382))], edge=3.6),
        one_crystal(136, [(22, "a", (o, o, o)), (8, "f", (0.305, 0.305, o))], edge=4.0),
        one_crystal(99, [(82, "a", (o, o, 0.1)), (22, "b", (h, h, 0.55)), (8, "b", (h, h, 0.05))]),
        one_crystal(166, [(13, "c", (o, o, 0.2)), (34, "c", (o, o, 0.41))], edge=6.5),
        generic_crystal(1, rng),
        generic_crystal(2, rng),
        generic_crystal(14, rng),
        generic_crystal(33, rng),
        one_crystal(
            62,
            [
                (20, "c", (0.03, 0.25, 0.01)),
                (22, "b", (o, o, h)),
                (8, "c", (0.48, 0.25, 0.93)),
                (8, "d", (0.29, 0.04, 0.71)),
                (3, "a", (o, o, o)),
                (9, "d", (0.16, 0.12, 0.35)),
            ],
            edge=7.5,
        ),
    ]


def batch(*indices: int, dtype: torch.dtype = torch.float32) -> AsymmetricUnitBatch:
    """Some of the units, or all."""
    chosen = [units()[i] for i in indices] if indices else units()
    return AsymmetricUnitBatch.stack(chosen, dtype)


def cells(*indices: int) -> AsymmetricUnitBatch:
    """All atoms of some of the units, or of all."""
    chosen = indices or range(len(units()))
    return full_cells(dataset()).batch(torch.tensor([*chosen]))


def dataset(repeats: int = 1) -> EncodedDataset:
    """The units as an encoded dataset, the same crystals over and over."""
    chosen = units() * repeats
    sizes = torch.tensor([0, *(len(unit) for unit in chosen)])
    coords = np.concatenate([unit.fractional_coords for unit in chosen])
    return EncodedDataset(
        space_group_number=torch.tensor([u.space_group_number for u in chosen]).short(),
        site_start=sizes.cumsum(0).int(),
        lattice_k=torch.tensor(np.stack([u.lattice_k for u in chosen])),
        atomic_numbers=torch.tensor(np.concatenate([u.atomic_numbers for u in chosen])).short(),
        wyckoff_positions=torch.tensor(np.concatenate([u.wyckoff_positions for u in chosen])).to(
            torch.int8
        ),
        fractional_coords=torch.tensor(coords).float(),
        properties=torch.zeros(len(chosen), 0),
        digest=f"{repeats} times the units",
    )


@cache
def elements() -> tuple[int, ...]:
    """The elements of the units, along the Mendeleev scale."""
    present = {int(z) for unit in units() for z in unit.atomic_numbers}
    return tuple(sorted(present, key=lambda z: MENDELEEV_NUMBER[z]))


def config(preset: str, **changes) -> ModelConfig:
    """A preset with a small network; changes of the network by name, others as whole parts."""
    made = default_config(elements()) if preset == "default" else PUBLISHED[preset]()
    names = {field.name for field in fields(NetworkConfig)}
    shape = SMALL | {name: changes.pop(name) for name in names & changes.keys()}
    return replace(made, network=replace(made.network, **shape), **changes)


def sites() -> SiteElementsConfig:
    """Elements of sites, told as accurately as those of slots."""
    return SiteElementsConfig(beta1=CERTAINTY / len(elements()))


def slots(n_slots: int) -> ElementSlotsConfig:
    """Another number of element slots."""
    return ElementSlotsConfig.for_elements(len(elements()), n_slots)


def fresh_model(preset: str = "default", seed: int = 0, **changes) -> SymmBFN:
    """A model as it starts: its last layers are zero."""
    torch.manual_seed(seed)
    settings = config(preset, **changes)
    crystals = cells() if settings.is_of_atoms else batch()
    values = torch.rand(len(crystals), len(settings.properties))
    return SymmBFN(settings, compute_statistics(crystals, settings, values)).eval()


def shaken_model(preset: str = "default", seed: int = 0, scale: float = 0.1, **changes) -> SymmBFN:
    """A model in which no weight is zero, as after training."""
    model = fresh_model(preset, seed, **changes)
    shake(model, seed, scale)
    return model


@torch.no_grad()
def shake(module: torch.nn.Module, seed: int = 0, scale: float = 0.1) -> None:
    """Add noise to every weight, so that zero-initialised layers take part."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter += scale * torch.randn(parameter.shape, generator=generator)


def beliefs_at(
    model: SymmBFN, crystals: AsymmetricUnitBatch, t: float | torch.Tensor, seed: int = 0
) -> tuple[Variables, Variables, Conditions, torch.Tensor]:
    """Data, beliefs drawn from the flow at time t, the conditions, and the times."""
    data, conditions = model.encode(crystals)
    time = torch.as_tensor(t, dtype=torch.float32).expand(len(crystals)).clone()
    noise = draw_noise(model, conditions, torch.Generator().manual_seed(seed), CPU)
    return data, model.flow(data, conditions, time, noise), conditions, time


def perfect_predictor(model: SymmBFN, data: Variables):
    """A stand-in for the network that knows the crystals."""
    log_p = {
        name: torch.nn.functional.one_hot(classes, model.classes[name].n_classes).float().log()
        for name, classes in data.categorical.items()
    }
    return lambda beliefs, conditions, t, previous: Variables(data.continuous, log_p)
