"""New crystals on request: what is given is drawn, batches are planned, sampled and rebuilt."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.symmetry import space_group_numbers
from symmbfn.crystals.symmetry_search import check_symmetry
from symmbfn.datasets.batches import (
    OPERATION_EDGES,
    SITE_EDGES,
    edge_of,
    n_operations,
)
from symmbfn.flows.noise import uniform
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.generation.final_estimates import Settled, rebuild, settle
from symmbfn.generation.sampler import Predictor, asked_sampler, predictor, sample
from symmbfn.model.checkpoints import load_model
from symmbfn.model.symmbfn import Given, SymmBFN
from symmbfn.runtime.checks import whole_number
from symmbfn.runtime.devices import pick_device

GIVEN_STREAM = -1
REBUILT_AT_ONCE = 1000  # crystals
ROWS = 16  # a batch on the CPU holds a multiple of it
PAIRS = 36  # of sites in each crystal of a full batch; larger crystals take fewer rows


def draw_given(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    *,
    seed: int,
    space_group_number: tuple[int, ...] | None = None,
) -> Int[Tensor, "B 3"]:
    """Space group, number of sites and number of elements of each crystal, as in training.

    Args:
        model: its statistics hold the training histogram.
        index: number of each crystal in the request.
        seed: of the request.
        space_group_number: groups to restrict the histogram to; None for all.

    Raises:
        ValueError: if none of the groups occurs in the training data.
    """
    rows, count = model.statistics.given, model.statistics.given_count.double()
    if space_group_number is not None:
        count = count * torch.isin(rows[:, 0], torch.tensor(space_group_number))
    if not count.sum() > 0:
        raise ValueError(f"no training crystal has a space group of {space_group_number}")
    u = uniform(seed, index.cpu(), GIVEN_STREAM, ())
    row = torch.searchsorted(count.cumsum(0), u * count.sum(), right=True)
    last = int(count.nonzero().max())
    return rows[row.clamp_max(last)]


def groups_not_in_training(model: SymmBFN, space_group_number: tuple[int, ...] | None) -> list[int]:
    """Those of the space groups that no training crystal has, in order; they are never drawn."""
    return sorted({*(space_group_number or ())} - {*model.statistics.given[:, 0].tolist()})


def generate_indices(
    model: SymmBFN,
    index: Int[Tensor, "B"],
    sampler: SamplerConfig,
    *,
    seed: int = 0,
    space_group_number: tuple[int, ...] | None = None,
    batch_size: int = 256,
    has_full_rows: bool = True,
    predict: Predictor | None = None,
) -> Iterator[list[Crystal]]:
    """Crystals with the given numbers, in batches of like size; each is independent of the rest.

    Every batch is padded to the edges of its bucket, in sites, operations and rows, so that a
    crystal meets products of the same shape whatever else is asked for, on a GPU in batches of
    the same size. Without full rows, which is for want of memory, it computes the crystals asked
    for and no more.

    Yields:
        Finished crystals, about a thousand at once, in order of size and not of index.
    """
    device = next(model.parameters()).device
    given = draw_given(model, index, seed=seed, space_group_number=space_group_number)
    settled: list[Settled] = []
    for chunk in size_batches(given, batch_size):
        most = int(edge_of(given[chunk, 1].max(), SITE_EDGES))
        rows = full_rows(chunk, most, batch_size, device) if has_full_rows else chunk
        batch = model_given(model, given[rows])
        place = index[rows].to(device)
        estimates = sample(model, batch, sampler, seed=seed, index=place, predict=predict)
        whole = settle(model, estimates, batch, sampler, seed=seed, index=place)
        settled.append(whole[: len(chunk)])
        if sum(map(len, settled)) >= REBUILT_AT_ONCE:
            yield rebuild(settled, seed)
            settled = []
    if settled:
        yield rebuild(settled, seed)


def model_given(model: SymmBFN, rows: Int[Tensor, "B 3"]) -> Given:
    """What drawn rows (space group, sites, elements) mean to a model, on its device.

    Sites are padded to the edge of their bucket.
    """
    device = next(model.parameters()).device
    groups, n_sites, n_elements = rows.to(device).unbind(-1)
    most = int(edge_of(rows[:, 1].max(), SITE_EDGES))
    is_site = torch.arange(most, device=device) < n_sites[:, None]
    return model.given(groups, is_site, n_elements)


def full_rows(
    chunk: Int[Tensor, "r"], n_sites: int, batch_size: int, device: torch.device
) -> Int[Tensor, "B"]:
    """Fill a batch of crystals with so many sites up with its last row.

    On a GPU to a full batch: one shape a bucket, so that its graph is captured once and its
    products do not depend on the request. On the CPU a row of a product does not depend on the
    number of rows once there are 16; below, some processors add up in another order.
    """
    n = -(-len(chunk) // ROWS) * ROWS
    if device.type == "cuda":
        n = rows_of_bucket(n_sites, batch_size)
    return torch.cat([chunk, chunk[-1:].expand(max(0, n - len(chunk)))])


def size_batches(given: Int[Tensor, "n 3"], batch_size: int) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together: one bucket of sites and of operations.

    Args:
        given: space group, number of sites, number of elements of each crystal.
        batch_size: most rows in a batch; crystals of many sites take fewer, so that the pairs
            of a batch, which are most of its memory, stay about as many.

    Raises:
        ValueError: batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    groups, n_sites, _ = given.t().contiguous()
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
    n: int,
    *,
    weights: str | SymmBFN = "default",
    space_group_number: int | str | Iterable[Any] | None = None,
    solver: str | None = None,
    n_steps: int | None = None,
    clearance: float | None = None,
    seed: int = 0,
    device: str = "auto",
    batch_size: int = 256,
    is_compiled: bool = False,
    dtype: str = "float32",
) -> list[Crystal]:
    """Generate n crystals; crystal i depends on (seed, i) and the settings alone.

    On the CPU it is the same bit for bit in every request, whatever else is asked for, on one
    machine with one number of threads; on a GPU another batch size is another kernel, and may
    change its last bits.

    Args:
        n: number of crystals, at least 1.
        weights: name of shipped weights, a model folder, or a model.
        space_group_number: number, symbol, crystal system, several of these or None for all.
        solver: "bfn", "ode2" or "sde2"; None takes the preset's own.
        n_steps: sampling steps; None takes the preset's own.
        clearance: in sums of covalent radii: atoms that are nearer are moved apart while
            sampling; 0 leaves them where the network puts them, None takes the preset's own.
        seed: of the request.
        device: "auto", "cpu" or "cuda"; a model stays where it is.
        batch_size: most crystals in one network call.
        is_compiled, dtype: see `predictor`.

    Returns:
        One record per request, in order, whatever its status; "symmetry_mismatch" where the
        structure has neither the asked space group nor a supergroup of it.

    Raises:
        ValueError: for a value that cannot be met, naming it.
        UserWarning: if some of the space groups never occur in the training data.
    """
    n, seed = check_request(n, seed)
    batch_size = whole_number("batch_size", batch_size)
    model = (
        weights if isinstance(weights, SymmBFN) else load_model(weights, device=pick_device(device))
    )
    sampler = asked_sampler(model, solver=solver, n_steps=n_steps, clearance=clearance)
    groups = None if space_group_number is None else space_group_numbers(space_group_number)
    if unknown := groups_not_in_training(model, groups):
        warnings.warn(
            f"never drawn, since no training crystal has them: space groups {unknown}", stacklevel=2
        )
    crystals: list[Crystal] = []
    for batch in generate_indices(
        model,
        torch.arange(n),
        sampler,
        seed=seed,
        space_group_number=groups,
        batch_size=batch_size,
        predict=predictor(model, is_compiled=is_compiled, dtype=dtype),
    ):
        crystals += [check_symmetry(crystal) for crystal in batch]
    return sorted(crystals, key=lambda crystal: crystal.index)


def check_request(n: int, seed: int) -> tuple[int, int]:
    """The number of crystals and the seed as int, where they can be met.

    Raises:
        ValueError: n below 1, or a seed that is no whole number from 0 to 2^63 - 1.
    """
    n, seed = whole_number("n", n), whole_number("seed", seed, least=0)
    if seed >= 2**63:
        raise ValueError(f"seed must be at most 2^63 - 1, got {seed}")
    return n, seed
