"""From final estimates to crystals: elements are chosen, letters decoded, cells filled."""

from dataclasses import dataclass

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.asymmetric_unit import AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.reconstruction import cells_as_they_are, reconstruct
from symmbfn.flows import categorical
from symmbfn.flows.noise import STREAMS_PER_STEP, uniform
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables

FINAL_STEP = 1_000_000  # number of the draws after the last step


@dataclass(frozen=True)
class FinalUnits:
    """A batch with its final elements and coordinates, from which `rebuild` makes crystals.

    Attributes:
        units: elements, coordinates and lattice; no letters yet.
        letters, axes: log-probabilities of the letters (B, N, 27) or of the axes, whichever the
            model has; None for both if its sites are all atoms of the cell.
        index: number of each crystal, shape (B,).
        is_exact: crystals whose sites are conditions, of which none may be merged, shape (B,).
    """

    units: AsymmetricUnitBatch
    letters: Tensor | None
    axes: Tensor | None
    index: Int[Tensor, "B"]
    is_exact: Bool[Tensor, "B"]

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, rows: slice | Tensor) -> "FinalUnits":
        letters, axes = (None if v is None else v[rows] for v in (self.letters, self.axes))
        units = AsymmetricUnitBatch(**{n: v[rows] for n, v in vars(self.units).items()})
        return FinalUnits(units, letters, axes, self.index[rows], self.is_exact[rows])


def final_units(
    model: SymmBFN,
    estimates: Variables,
    conditions: Conditions,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
) -> FinalUnits:
    """Choose the elements of final estimates, on the model's device.

    Args:
        model: that made them.
        estimates: of all variables at t = 1.
        conditions: what the crystals are conditioned on.
        sampler: whether classes are drawn, and at which temperature.
        seed: of the request.
        index: number of each crystal, shape (B,).
    """
    real = conditions.is_site
    elements = torch.tensor([*model.config.elements], device=real.device)
    log_p = dict(estimates.categorical)
    if sampler.is_drawn:
        for stream, (name, value) in enumerate(log_p.items()):
            u = uniform(seed, index, FINAL_STEP * STREAMS_PER_STEP + stream, value.shape[1:-1])
            e = categorical.sample_one_hot(sampler.tempered(name, value), u)
            log_p[name] = torch.where(e > 0, 0.0, -1e3).to(value)
    if "pointers" in log_p:
        slots = ascending_classes(log_p["elements"], conditions.is_slot)
        classes = slots.gather(1, every_slot_used(log_p["pointers"], conditions))
    else:
        classes = log_p["elements"].argmax(-1)
    units = AsymmetricUnitBatch(
        conditions.space_group_number,
        model.lattice_k(estimates.continuous["lattice"], conditions),
        elements[classes] * real,
        torch.zeros_like(classes),
        model.fractional(estimates.continuous["coords"]),
        real,
    )
    return FinalUnits(units, log_p.get("letters"), log_p.get("axes"), index, _is_exact(conditions))


def _is_exact(conditions: Conditions) -> Bool[Tensor, "B"]:
    """Crystals with a letter as a condition."""
    is_exact = torch.zeros_like(conditions.is_site[:, 0])
    if conditions.fixed is not None and "letters" in conditions.fixed.where:
        is_exact = is_exact | conditions.fixed.where["letters"].any(-1)
    return is_exact


def rebuild(batches: list[FinalUnits], seed: int) -> list[Crystal]:
    """Crystals of several batches at once, one for each row, on the batches' device."""
    exact = torch.cat([batch.is_exact for batch in batches])
    if not exact.any():
        return _rebuild(batches, seed, merge=True)
    found: dict[int, Crystal] = {}
    places = torch.arange(len(exact), device=exact.device).split([len(b) for b in batches])
    for merge in (True, False):
        some = [(b, place, b.is_exact != merge) for b, place in zip(batches, places, strict=True)]
        parts = [batch[mask] for batch, _, mask in some if mask.any()]
        if parts:
            where = torch.cat([place[mask] for _, place, mask in some]).tolist()
            found |= dict(zip(where, _rebuild(parts, seed, merge=merge), strict=True))
    return [found[place] for place in range(len(exact))]


def _rebuild(batches: list[FinalUnits], seed: int, *, merge: bool) -> list[Crystal]:
    """The same, with or without merging of sites."""
    most = max(batch.units.is_site.shape[1] for batch in batches)

    def joined(values: list[Tensor]) -> Tensor:
        return torch.cat([_padded(value, most) for value in values])

    names = ("atomic_numbers", "wyckoff_positions", "fractional_coords", "is_site")
    units = AsymmetricUnitBatch(
        space_group_number=torch.cat([batch.units.space_group_number for batch in batches]),
        lattice_k=torch.cat([batch.units.lattice_k for batch in batches]),
        **{name: joined([getattr(batch.units, name) for batch in batches]) for name in names},
    )
    log_p = {
        name: joined([getattr(batch, name) for batch in batches])
        for name in ("letters", "axes")
        if getattr(batches[0], name) is not None
    }
    indices = torch.cat([batch.index for batch in batches]).tolist()
    if not log_p:
        return cells_as_they_are(units, indices=indices, seed=seed)
    return reconstruct(
        units,
        wyckoff_log_probs=log_p.get("letters"),
        axis_log_probs=log_p.get("axes"),
        merge=merge,
        indices=indices,
        seed=seed,
    )


def _padded(value: Tensor, n_sites: int) -> Tensor:
    """Pad the second axis with zeros."""
    missing = n_sites - value.shape[1]
    return nn.functional.pad(value, (0, 0) * (value.ndim - 2) + (0, missing))


def decode(
    model: SymmBFN,
    estimates: Variables,
    conditions: Conditions,
    sampler: SamplerConfig,
    *,
    seed: int,
    index: Int[Tensor, "B"],
) -> list[Crystal]:
    """Crystals from final estimates, one for each row; arguments as in `final_units`."""
    return rebuild(
        [final_units(model, estimates, conditions, sampler, seed=seed, index=index)], seed
    )


def ascending_classes(
    log_probabilities: Float[Tensor, "B S K"], is_slot: Tensor
) -> Int[Tensor, "B S"]:
    """Most likely classes of the slots among those that strictly ascend.

    So no element is there twice. Exact, by dynamic programming over the slots.

    Args:
        log_probabilities: of the classes of each slot, shape (B, S, K).
        is_slot: which slots a crystal has, shape (B, S).

    Returns:
        Classes, shape (B, S).

    Source: book, method-elements.
    """
    n_slots, n_classes = log_probabilities.shape[1:]
    scores = log_probabilities.clamp_min(-1e4) * is_slot[..., None]
    best, came_from = scores[:, 0], []
    for s in range(1, n_slots):
        top, at = best.cummax(-1)
        shifted = torch.cat([torch.full_like(top[:, :1], -1e9), top[:, :-1]], dim=-1)
        at = torch.cat([torch.zeros_like(at[:, :1]), at[:, :-1]], dim=-1)
        # slots beyond the last element change nothing
        real = is_slot[:, s, None]
        here = torch.arange(n_classes, device=at.device).expand_as(at)
        best = torch.where(real, shifted + scores[:, s], best)
        came_from.append(torch.where(real, at, here))
    choice = [best.argmax(-1)]
    for at in reversed(came_from):
        choice.append(at.gather(1, choice[-1][:, None]).squeeze(1))
    return torch.stack(choice[::-1], dim=1)


def every_slot_used(
    log_pointers: Float[Tensor, "B N S"], conditions: Conditions
) -> Int[Tensor, "B N"]:
    """Most likely pointers, changed so that each element of a crystal has at least one site.

    A slot without a site takes one from a slot that has several: the site whose log-probability
    falls least.

    Args:
        log_pointers: log-probabilities of the slots of each site, shape (B, N, S).
        conditions: which sites and slots a crystal has.

    Returns:
        A slot for each site, shape (B, N).

    Source: book, method-elements.
    """
    log_p = log_pointers.clamp_min(-1e4)
    pointers = log_p.argmax(-1)
    crystal, slot = (conditions.is_slot & ~_used(pointers, conditions)).nonzero(as_tuple=True)
    for b, s in zip(crystal.tolist(), slot.tolist(), strict=True):
        own = pointers[b]
        count = torch.bincount(own[conditions.is_site[b]], minlength=log_p.shape[-1])
        loss = log_p[b].gather(1, own[:, None]).squeeze(1) - log_p[b, :, s]
        loss = loss.masked_fill((count[own] < 2) | ~conditions.is_site[b], torch.inf)
        if loss.isfinite().any():
            pointers[b, loss.argmin()] = s
    return pointers


def _used(pointers: Int[Tensor, "B N"], conditions: Conditions) -> Tensor:
    used = torch.zeros_like(conditions.is_slot, dtype=torch.long)
    return used.scatter_reduce(1, pointers, conditions.is_site.long(), reduce="amax").bool()
