"""Losses on crystals that a model was not trained on, the same for every call."""

import math

import torch

from symmbfn._shapes import Tensor
from symmbfn.datasets.batches import BucketedBatches
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.flows.schedules import ContinuousSchedule
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.training.steps import draw_noise

VALIDATION_TIMES = 8  # midpoints of this many equal parts of (0, 1)
VALIDATION_BATCH = 256  # most crystals in a batch
VALIDATION_SEED = 0  # of the noise
LATE = 0.8  # time after which `coords_late` counts


@torch.no_grad()
def validate(
    model: SymmBFN, dataset: EncodedDataset, *, n_crystals: int | None = None
) -> dict[str, float]:
    """Losses at fixed times with fixed noise, float32, without self-conditioning.

    Args:
        model: in evaluation mode.
        dataset: real crystals.
        n_crystals: only the first so many; None for all.

    Returns:
        Per variable the mean nats per crystal over the times (the variational bound but for the
        reconstruction term), their sum `bound`, the cross-entropies `ce_*` and `coords_late`,
        the mean squared v-error of Euclidean coordinates at t > 0.8 per component.
    """
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(VALIDATION_SEED)
    batches = BucketedBatches(
        dataset.n_sites[:n_crystals].cpu(),
        dataset.space_group_number[:n_crystals].cpu(),
        batch_size=VALIDATION_BATCH,
        generator=torch.Generator().manual_seed(VALIDATION_SEED),
    )
    sums: dict[str, Tensor] = {}
    late = components = torch.zeros((), dtype=torch.double, device=device)
    schedule = model.numbers["coords"].schedule
    for _ in range(len(batches)):
        index = next(batches)
        data, conditions = model.encode(dataset.batch(index).to(device))
        for time in ((i + 0.5) / VALIDATION_TIMES for i in range(VALIDATION_TIMES)):
            t = torch.full((len(index),), time, device=device)
            noise = draw_noise(model, conditions, generator, device)
            estimates = model(model.flow(data, conditions, t, noise), conditions, t)
            nats, cross_entropy = model.losses(data, estimates, conditions, t)
            losses = {**nats, **{f"ce_{name}": value for name, value in cross_entropy.items()}}
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.double().sum()
            if time > LATE and isinstance(schedule, ContinuousSchedule):
                late = late + nats["coords"].double().sum() / -math.log(schedule.sigma1)
                components = components + 3 * conditions.is_site.sum()
    n = len(batches.n_sites) * VALIDATION_TIMES
    means = {name: value.item() / n for name, value in sums.items()}
    means["bound"] = sum(v for k, v in means.items() if not k.startswith("ce_"))
    if components:
        means["coords_late"] = (late / components).item()
    return means
