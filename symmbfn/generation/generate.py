"""New crystals: requests are drawn, their batches planned, sampled and made into crystals."""

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.check import checked
from symmbfn.conditions.draw import OPEN, Drawn
from symmbfn.conditions.request import Request
from symmbfn.conditions.requests import (
    DrawnRequests,
    doubts_of,
    draw_all,
    groups_never_drawn,
    numbered,
)
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.layout import MULTIPLE
from symmbfn.crystals.symmetry_search import check_symmetry
from symmbfn.datasets.batches import SITE_EDGES, edge_of
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.batching import batches_of, can_mix, full_rows, layout_of
from symmbfn.generation.composition import with_templates
from symmbfn.generation.final_estimates import FinalUnits, final_units, rebuild
from symmbfn.generation.guidance import guided
from symmbfn.generation.sampler import Predictor, predictor, sample
from symmbfn.generation.settings import requests_of, sampler_of
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, FixedParts, Variables
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.compilation import mapped
from symmbfn.runtime.devices import pick_device

REBUILT_AT_ONCE = 1000  # crystals


def generate_batches(
    model: SymmBFN,
    requests: Request | Sequence[Request] | DrawnRequests,
    sampler: SamplerConfig,
    *,
    index: Int[Tensor, "B"] | None = None,
    batch_size: int = 256,
    has_full_rows: bool = True,
    has_mixed_batches: bool = True,
    predict: Predictor | None = None,
) -> Iterator[list[Crystal]]:
    """Crystals of requests, in batches of like size; each is independent of the rest.

    Every crystal is padded to the edges of its bucket, in sites and operations, and every batch in
    rows, so that a crystal meets sums of the same length whatever else is drawn, on a GPU in
    batches of the same size. On the CPU crystals of several buckets share a batch where they do
    not fill one of their own.

    Args:
        model: on its device.
        requests: what the crystals are drawn by; or what was drawn already.
        sampler: solver, steps and start.
        index: numbers of the crystals to make, shape (B,); None for all.
        batch_size: most crystals in one network call.
        has_full_rows: pad batches in rows, too; without, which is for want of memory, only the
            crystals themselves are computed.
        has_mixed_batches: False for a network whose roundings depend on the shape of a batch, see
            `can_mix`.
        predict: stands in for the network, see `predictor`.

    Yields:
        Finished crystals, about a thousand at once, in order of size and not of index.

    Raises:
        RequestError: no crystal that the model knows can meet a request.
        ValueError: batch_size below 1.
    """
    if isinstance(requests, DrawnRequests):
        asked = requests if index is None else requests[index.cpu() - requests.index[0]]
    else:
        asked = draw_all(numbered(requests), model.config, model.statistics, index)
    place_of = dict(zip(asked.index.tolist(), asked.place.tolist(), strict=True))
    predict = predict or predictor(model)
    waiting: list[FinalUnits] = []

    def finished() -> list[Crystal]:
        crystals = rebuild(waiting, asked.seed)
        waiting.clear()
        for crystal in crystals:
            crystal.request = place_of[crystal.index]
        return [checked(asked.requests[crystal.request], crystal) for crystal in crystals]

    is_mixed = has_mixed_batches and next(model.parameters()).device.type == "cpu"
    for chunk in batches_of(asked, batch_size, is_mixed=is_mixed):
        waiting += _sampled(model, asked[chunk], sampler, predict, batch_size * has_full_rows)
        if sum(map(len, waiting)) >= REBUILT_AT_ONCE:
            yield finished()
    if waiting:
        yield finished()


def _sampled(
    model: SymmBFN,
    asked: DrawnRequests,
    sampler: SamplerConfig,
    predict: Predictor,
    batch_size: int,
) -> list[FinalUnits]:
    """Sample one batch; crystals of an exact composition once more, with the templates found.

    The others are sampled once, beside one of the two passes: some fill up the rows of the first.
    """
    n_exact = int(asked.is_exact.sum())
    if not n_exact:
        return [_pass(model, asked, None, sampler, predict, batch_size)[1]]
    asked = asked[asked.is_exact.long().argsort(descending=True, stable=True)]
    taken, place = (1 + asked.is_guided.long()).cumsum(0), torch.arange(len(asked))
    room = -(-taken[n_exact - 1] // MULTIPLE) * MULTIPLE
    is_first, is_exact = taken <= room, place < n_exact
    estimates, first = _pass(model, asked[place[is_first]], None, sampler, predict, batch_size)
    found = mapped(lambda value: value[:n_exact], estimates)
    rest = asked[place[is_exact | ~is_first]]
    last = _pass(model, rest, found, sampler, predict, batch_size)[1]
    return [first[n_exact:], last] if len(first) > n_exact else [last]


def _pass(
    model: SymmBFN,
    asked: DrawnRequests,
    found: Variables | None,
    sampler: SamplerConfig,
    predict: Predictor,
    batch_size: int,
) -> tuple[Variables, FinalUnits]:
    """Final estimates of one pass of the sampler, and what follows from them.

    Args:
        model, sampler, predict: as in `generate_batches`.
        asked: the crystals.
        found: final estimates of an earlier pass of the first of them, from which templates are
            made; None for none.
        batch_size: as in `full_rows`; 0 adds no rows.
    """
    n, device = len(asked), next(model.parameters()).device
    if batch_size:
        most = int(edge_of(asked.drawn.rows[:, 1].max(), SITE_EDGES))
        n_twice = int(asked.is_guided.sum())
        full = full_rows(torch.arange(n), most, batch_size, device, n_twice=n_twice)
        asked = asked.followed_by(len(full) - n)
    conditions = conditions_of_drawn(model, asked.drawn)
    conditions = replace(conditions, layout=layout_of(asked.drawn.rows))
    if found is not None:
        conditions = with_templates(found, conditions)
    if asked.is_guided.any():
        predict = guided(predict, asked.drawn.guidance.to(device))
    seed, index = asked.seed, asked.index.to(device)
    estimates = sample(model, conditions, sampler, seed=seed, index=index, predict=predict)
    units = final_units(model, estimates, conditions, sampler, seed=seed, index=index)
    return estimates, units[:n]


def model_conditions(model: SymmBFN, rows: Int[Tensor, "B 3"]) -> Conditions:
    """Drawn rows (space group, sites, elements) as a model's conditions, on its device.

    Sites are padded to the edge of their bucket.
    """
    device = next(model.parameters()).device
    groups, n_sites, n_elements = rows.to(device).unbind(-1)
    most = int(edge_of(rows[:, 1].max(), SITE_EDGES))
    is_site = torch.arange(most, device=device) < n_sites[:, None]
    return model.conditions(groups, is_site, n_elements)


def conditions_of_drawn(model: SymmBFN, drawn: Drawn) -> Conditions:
    """What crystals are conditioned on, as a model reads it, on its device.

    Args:
        model: that will make them.
        drawn: of `draw`.
    """
    conditions = model_conditions(model, drawn.rows)
    if not drawn.has_conditions:
        return conditions
    device, most = conditions.is_site.device, conditions.is_site.shape[1]

    def sites(value: Tensor, empty: int | float) -> Tensor:
        value = value[:, :most].to(device)
        shape = (len(value), most - value.shape[1], *value.shape[2:])
        return torch.cat([value, value.new_full(shape, empty)], dim=1)

    elements = drawn.elements.to(device)
    positions, pointers = sites(drawn.positions, OPEN), sites(drawn.pointers, OPEN)
    coords, k = sites(drawn.coords, torch.nan), drawn.lattice_k.to(device)
    where = {
        "elements": (elements != OPEN) & conditions.is_slot,
        "pointers": (pointers != OPEN) & conditions.is_site,
        "letters": (positions != OPEN) & conditions.is_site,
        "lattice": ~k.isnan() & conditions.lattice_free,
        "coords": ~coords.isnan().any(-1) & conditions.is_site,
    }
    numbers = {
        "lattice": ((k.float() - model.lattice_mean) / model.lattice_std).nan_to_num(),
        "coords": ((coords - model.coords_mean) / model.coords_std).nan_to_num(),
    }
    classes = {
        "elements": elements.clamp_min(0),
        "pointers": pointers.clamp_min(0),
        "letters": positions.clamp_min(0),
    }
    values = Variables(numbers, {n: v for n, v in classes.items() if n in model.classes})
    where = {name: mask for name, mask in where.items() if name in model.variables}
    atoms, is_allowed = drawn.atoms.to(device), drawn.is_allowed.to(device)
    return replace(
        conditions,
        properties=drawn.properties.to(device) if drawn.properties.shape[1] else None,
        composition=torch.where(atoms > 0, atoms.float(), torch.nan),
        is_element=None if is_allowed.all() else is_allowed,
        fixed=FixedParts(values, where),
    )


def generate(
    request: Request | Sequence[Request] | None = None,
    *,
    weights: str | SymmBFN = "default",
    sampler: SamplerConfig | None = None,
    device: str = "auto",
    batch_size: int = 256,
    is_compiled: bool = False,
    dtype: str = "float32",
    **settings: Any,
) -> list[Crystal]:
    """Generate crystals; crystal i depends on (seed, i), its conditions and the sampler alone.

    On the CPU it is the same bit for bit in every request, whatever else is drawn, on one
    machine with one number of threads; on a GPU another batch size is another kernel, and may
    change its last bits.

    Args:
        request: what the crystals are drawn by; or leave it out and give its fields, such as
            n=5, first=100, seed=0, space_group_number="cubic". A list of requests, see
            `numbered`, shares batches: many small ones cost about as much as a large one.
        weights: name of shipped weights, a model folder, or a model.
        sampler: solver, steps and more; or give some of its fields, such as n_steps=100 or
            solver="ode2": the others are those of the model's preset.
        device: "auto", "cpu" or "cuda"; a model stays where it is.
        batch_size: most crystals in one network call.
        is_compiled, dtype: see `predictor`.
        settings: fields of `Request` and of `SamplerConfig`; None leaves one as it is.

    Returns:
        One record for each crystal that was asked for, in order, whatever its status, with the
        place of its request in the list; "symmetry_mismatch" where the structure has neither its
        space group nor a supergroup.

    Raises:
        ValueError: for a value that cannot be met, naming it.
        TypeError: for a setting that does not exist.
        UserWarning: space groups that the training data do not have; or see `doubts_of`.
    """
    requests, changes = requests_of(request, settings)
    batch_size = whole_number("batch_size", batch_size)
    model = (
        weights if isinstance(weights, SymmBFN) else load_model(weights, device=pick_device(device))
    )
    sampler = sampler_of(model, sampler, changes)
    if unknown := groups_never_drawn(requests, model.statistics):
        warnings.warn(
            f"never drawn, since no training crystal has them: space groups {unknown}", stacklevel=2
        )
    for doubt in doubts_of(requests, model.statistics):
        warnings.warn(doubt, stacklevel=2)
    crystals: list[Crystal] = []
    how: dict[str, Any] = {
        "batch_size": batch_size,
        "has_mixed_batches": can_mix(is_compiled=is_compiled, dtype=dtype),
        "predict": predictor(model, is_compiled=is_compiled, dtype=dtype),
    }
    for batch in generate_batches(model, requests, sampler, **how):
        crystals += [check_symmetry(crystal) for crystal in batch]
    return sorted(crystals, key=lambda crystal: crystal.index)
