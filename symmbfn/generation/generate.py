"""New crystals: a request is drawn, its batches are planned, sampled and made into crystals."""

import warnings
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.check import checked
from symmbfn.conditions.chemistry import Chemistry
from symmbfn.conditions.draw import OPEN, Drawn, draw, never_drawn
from symmbfn.conditions.request import Request
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry_search import check_symmetry
from symmbfn.datasets.batches import (
    OPERATION_EDGES,
    SITE_EDGES,
    edge_of,
    n_operations,
)
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.composition import has_composition, with_templates
from symmbfn.generation.final_estimates import FinalUnits, final_units, rebuild
from symmbfn.generation.guidance import guided
from symmbfn.generation.sampler import (
    Predictor,
    check_sampler,
    predictor,
    preset_sampler,
    sample,
)
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, FixedParts, Variables
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.devices import pick_device

REBUILT_AT_ONCE = 1000  # crystals
ROWS = 16  # a batch on the CPU holds a multiple of it
PAIRS = 36  # pairs of sites up to which a batch has all its rows; with more it has fewer


def generate_batches(
    model: SymmBFN,
    request: Request,
    sampler: SamplerConfig,
    *,
    index: Int[Tensor, "B"] | None = None,
    batch_size: int = 256,
    has_full_rows: bool = True,
    predict: Predictor | None = None,
) -> Iterator[list[Crystal]]:
    """Crystals of a request, in batches of like size; each is independent of the rest.

    Every batch is padded to the edges of its bucket, in sites, operations and rows, so that a
    crystal meets products of the same shape whatever else is drawn, on a GPU in batches of the
    same size.

    Args:
        model: on its device.
        request: what the crystals are drawn by.
        sampler: solver, steps and start.
        index: numbers of the crystals to make, shape (B,); None for all of the request.
        batch_size: most crystals in one network call.
        has_full_rows: pad batches in rows, too; without, which is for want of memory, only the
            crystals themselves are computed.
        predict: stands in for the network, see `predictor`.

    Yields:
        Finished crystals, about a thousand at once, in order of size and not of index.

    Raises:
        ValueError: no training crystal has one of the request's space groups; batch_size below 1.
    """
    device = next(model.parameters()).device
    index = request.index if index is None else index
    drawn = draw(request, model.config, model.statistics, index)
    waiting: list[FinalUnits] = []
    if request.properties and request.guidance != 1:
        predict = guided(predict or predictor(model), request.guidance)
    for chunk in size_batches(drawn.rows, batch_size):
        most = int(edge_of(drawn.rows[chunk, 1].max(), SITE_EDGES))
        rows = full_rows(chunk, most, batch_size, device) if has_full_rows else chunk
        conditions = conditions_of_drawn(model, drawn[rows])
        seed, numbers = request.seed, index[rows].to(device)
        estimates = sample(model, conditions, sampler, seed=seed, index=numbers, predict=predict)
        if has_composition(conditions):
            conditions = with_templates(estimates, conditions)
            estimates = sample(
                model, conditions, sampler, seed=seed, index=numbers, predict=predict
            )
        whole = final_units(model, estimates, conditions, sampler, seed=seed, index=numbers)
        waiting.append(whole[: len(chunk)])
        if sum(map(len, waiting)) >= REBUILT_AT_ONCE:
            yield [checked(request, crystal) for crystal in rebuild(waiting, request.seed)]
            waiting = []
    if waiting:
        yield [checked(request, crystal) for crystal in rebuild(waiting, request.seed)]


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

    Raises:
        ValueError: the model can be conditioned on the space group alone.
    """
    conditions = model_conditions(model, drawn.rows)
    if not drawn.has_conditions:
        return conditions
    if not model.config.has_fixed_parts:
        raise ValueError("this model can be conditioned on the space group alone")
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


def full_rows(
    chunk: Int[Tensor, "r"], n_sites: int, batch_size: int, device: torch.device
) -> Int[Tensor, "B"]:
    """Pad a batch with copies of its last row, so that its products do not depend on its length.

    On a GPU to a full batch: with one shape for each bucket, its graph is captured once, and its
    products do not depend on the request. On the CPU a row of a product does not depend on the
    number of rows once there are 16; below, some processors add up in another order.

    Args:
        chunk: rows that go through the network together.
        n_sites: of each crystal, padding included.
        batch_size: most rows in a batch.
        device: of the network.
    """
    n = -(-len(chunk) // ROWS) * ROWS
    if device.type == "cuda":
        n = rows_of_bucket(n_sites, batch_size)
    return torch.cat([chunk, chunk[-1:].expand(max(0, n - len(chunk)))])


def size_batches(conditions: Int[Tensor, "n 3"], batch_size: int) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together: those of one bucket of sites and operations.

    Args:
        conditions: space group, number of sites, number of elements of each crystal.
        batch_size: most rows in a batch; with many sites there are fewer, because the number of
            pairs of sites decides how much memory a batch takes.

    Raises:
        ValueError: batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    groups, n_sites, _ = conditions.t().contiguous()
    sizes = torch.stack(
        [edge_of(n_operations(groups), OPERATION_EDGES), edge_of(n_sites, SITE_EDGES)], dim=-1
    )
    chunks = []
    for size in sizes.unique(dim=0):
        rows = rows_of_bucket(int(size[1]), batch_size)
        chunks += (sizes == size).all(-1).nonzero().squeeze(-1).split(rows)
    return chunks


def rows_of_bucket(n_sites: int, batch_size: int) -> int:
    """Rows of a full batch of crystals with so many sites, padding included."""
    return min(batch_size, max(ROWS, batch_size * PAIRS // n_sites**2 // ROWS * ROWS))


def generate(
    request: Request | None = None,
    *,
    weights: str | SymmBFN = "default",
    sampler: SamplerConfig | None = None,
    device: str = "auto",
    batch_size: int = 256,
    is_compiled: bool = False,
    dtype: str = "float32",
    **settings: Any,
) -> list[Crystal]:
    """Generate crystals; crystal i depends on (seed, i), the conditions and the sampler alone.

    On the CPU it is the same bit for bit in every request, whatever else is drawn, on one
    machine with one number of threads; on a GPU another batch size is another kernel, and may
    change its last bits.

    Args:
        request: what the crystals are drawn by; or leave it out and give its fields, such as
            n=5, first=100, seed=0, space_group_number="cubic".
        weights: name of shipped weights, a model folder, or a model.
        sampler: solver, steps and more; or give some of its fields, such as n_steps=100 or
            solver="ode2": the others are those of the model's preset.
        device: "auto", "cpu" or "cuda"; a model stays where it is.
        batch_size: most crystals in one network call.
        is_compiled, dtype: see `predictor`.
        settings: fields of `Request` and of `SamplerConfig`; None leaves one as it is.

    Returns:
        One record for each crystal of the request, in order, whatever its status;
        "symmetry_mismatch" where the structure has neither its space group nor a supergroup.

    Raises:
        ValueError: for a value that cannot be met, naming it.
        TypeError: for a setting that does not exist.
        UserWarning: if some of the space groups never occur in the training data.
    """
    request, changes = request_of(request, settings)
    batch_size = whole_number("batch_size", batch_size)
    model = (
        weights if isinstance(weights, SymmBFN) else load_model(weights, device=pick_device(device))
    )
    sampler = sampler_of(model, sampler, changes)
    if unknown := never_drawn(request, model.statistics):
        warnings.warn(
            f"never drawn, since no training crystal has them: space groups {unknown}", stacklevel=2
        )
    crystals: list[Crystal] = []
    predict = predictor(model, is_compiled=is_compiled, dtype=dtype)
    for batch in generate_batches(model, request, sampler, batch_size=batch_size, predict=predict):
        crystals += [check_symmetry(crystal) for crystal in batch]
    return sorted(crystals, key=lambda crystal: crystal.index)


def request_of(request: Request | None, settings: dict[str, Any]) -> tuple[Request, dict[str, Any]]:
    """The request, which may be given by its fields, and the settings that are the sampler's.

    Args:
        request: whole, or None.
        settings: fields of `Request` and of `SamplerConfig`; None leaves one as it is.

    Raises:
        ValueError: both a request and its fields; no number of crystals; a value that cannot be.
        TypeError: a setting that does not exist.
    """
    if not isinstance(request, Request | None):
        raise ValueError(f"request must be a Request, got {request!r}: for its fields write n=5")
    of_request = {field.name for part in (Request, Chemistry) for field in fields(part)}
    known = of_request | {field.name for field in fields(SamplerConfig)}
    if unknown := sorted(settings.keys() - known):
        raise TypeError(f"no setting {', '.join(unknown)}: there are {', '.join(sorted(known))}")
    settings = {name: value for name, value in settings.items() if value is not None}
    asked = {name: value for name, value in settings.items() if name in of_request}
    changes = {name: value for name, value in settings.items() if name not in of_request}
    if request is None and "n" not in asked:
        raise ValueError("n is missing: how many crystals?")
    if request is not None and asked:
        raise ValueError(f"give a request or its fields, not both: got {', '.join(asked)}, too")
    return request or Request.of(**asked), changes


def sampler_of(
    model: SymmBFN, sampler: SamplerConfig | None, changes: dict[str, Any]
) -> SamplerConfig:
    """The sampler, or that of the model's preset with some fields changed.

    Raises:
        ValueError: both a sampler and changes; a sampler that the model cannot have.
    """
    if sampler is None:
        return preset_sampler(model, **changes)
    if changes:
        raise ValueError(f"give a sampler or its fields, not both: got {', '.join(changes)}, too")
    check_sampler(model, sampler)
    return sampler
