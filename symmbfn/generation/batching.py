"""Batches of the sampler: which crystals go through the network together."""

import torch

from symmbfn._shapes import Bool, Int, Tensor
from symmbfn.conditions.requests import DrawnRequests
from symmbfn.crystals.layout import DENSE, MULTIPLE, Layout, Mixed
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES, edge_of, n_operations

PAIRS = 36  # pairs of sites up to which a batch has all its rows; with more it has fewer


def full_rows(
    chunk: Int[Tensor, "r"],
    n_sites: int,
    batch_size: int,
    device: torch.device,
    *,
    n_twice: int = 0,
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
        n_twice: how many of them have a second row there, see `guided`.
    """
    taken = len(chunk) + n_twice
    n = -(-taken // MULTIPLE) * MULTIPLE
    if device.type == "cuda":
        n = rows_of_bucket(n_sites, batch_size)
    return torch.cat([chunk, chunk[-1:].expand(max(0, n - taken))])


def batches_of(
    asked: DrawnRequests, batch_size: int, *, is_mixed: bool = False
) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together, see `size_batches`.

    Args:
        asked: the crystals.
        batch_size: most rows in a batch.
        is_mixed: join batches that are not full to mixed ones, see `Mixed`; those stay as they
            are in which crystals take two rows or two passes.
    """
    rows = asked.drawn.rows
    chunks = size_batches(rows, batch_size, asked.is_guided)
    if not is_mixed:
        return chunks
    edges, is_plain = edges_of(rows)[:, 0], ~(asked.is_guided | asked.is_exact)
    whole: list[Tensor] = []
    open_chunks: list[Tensor] = []
    for chunk in chunks:
        is_full = len(chunk) == rows_of_bucket(int(edges[chunk[0]]), batch_size)
        (open_chunks if not is_full and is_plain[chunk].all() else whole).append(chunk)
    if open_chunks:
        left = torch.cat(open_chunks)
        left = left[edges[left].argsort(descending=True, stable=True)]
        taken = (edges[left] ** 2).clamp_min(PAIRS).cumsum(0) - 1
        is_next = (taken // (batch_size * PAIRS)).diff() > 0
        whole += left.tensor_split((is_next.nonzero().squeeze(-1) + 1).tolist())
    return whole


def can_mix(*, is_compiled: bool, dtype: str) -> bool:
    """Whether crystals are the same bit for bit in mixed batches of a network in this form.

    Args:
        is_compiled, dtype: as in `predictor`.
    """
    return not is_compiled and dtype == "float32"


def layout_of(rows: Int[Tensor, "B 3"]) -> Layout:
    """How crystals of one batch lie in tensors: dense where all are of one bucket.

    Args:
        rows: space group, number of sites, number of elements of each crystal.
    """
    edges = edges_of(rows)
    return DENSE if (edges == edges[0]).all() else Mixed(*edges.T)


def edges_of(rows: Int[Tensor, "n 3"]) -> Int[Tensor, "n 2"]:
    """Sites and operations of the bucket of each crystal.

    Args:
        rows: space group, number of sites, number of elements of each crystal.
    """
    groups, n_sites, _ = rows.t().contiguous()
    sites = edge_of(n_sites, SITE_EDGES)
    return torch.stack([sites, edge_of(n_operations(groups), OPERATION_EDGES)], dim=-1)


def size_batches(
    conditions: Int[Tensor, "n 3"], batch_size: int, is_twice: Bool[Tensor, "n"] | None = None
) -> list[Int[Tensor, "_"]]:
    """Rows that go through the network together: those of one bucket of sites and operations.

    Args:
        conditions: space group, number of sites, number of elements of each crystal.
        batch_size: most rows in a batch; with many sites there are fewer, because the number of
            pairs of sites decides how much memory a batch takes.
        is_twice: which crystals have two rows there; they come first in their bucket.

    Raises:
        ValueError: batch_size below 1.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size must be at least 1, got {batch_size}")
    sizes = edges_of(conditions).flip(-1)  # in order of the operations
    twice = torch.zeros(len(sizes), dtype=torch.long) if is_twice is None else is_twice.long()
    chunks: list[Tensor] = []
    for size in sizes.unique(dim=0):
        mine = (sizes == size).all(-1).nonzero().squeeze(-1)
        mine = mine[twice[mine].argsort(descending=True, stable=True)]
        place = ((1 + twice[mine]).cumsum(0) - 1) // rows_of_bucket(int(size[1]), batch_size)
        chunks += mine.split(place.unique_consecutive(return_counts=True)[1].tolist())
    return chunks


def rows_of_bucket(n_sites: int, batch_size: int) -> int:
    """Rows of a full batch of crystals with so many sites, padding included."""
    return min(batch_size, max(MULTIPLE, batch_size * PAIRS // n_sites**2 // MULTIPLE * MULTIPLE))
