"""Mean messages of all pairs of sites, computed for a few crystals at a time.

The hidden states of all pairs of a batch are by far its largest tensor. On the CPU they are
computed, used and dropped for as many crystals as fit the cache, and computed again for the
gradient, so that they are never written to memory.
"""

from typing import Any

import torch
from torch import nn

from symmbfn._shapes import Float, Tensor
from symmbfn.crystals.layout import DENSE, Layout, Mixed

CACHED = 2**17  # hidden numbers of pairs at a time: half a megabyte in float32


def mean_messages(
    receiver: Float[Tensor, "*S H"],
    sender: Float[Tensor, "*S H"],
    edges: Float[Tensor, "*P E"],
    matrix: Float[Tensor, "H E"],
    weight: Float[Tensor, "*S"],
    layout: Layout = DENSE,
) -> Float[Tensor, "*S H"]:
    """sum_j w_j silu(r_i + s_j + W e_ij) for every site i.

    Args:
        receiver, sender: r and s, what a site brings to a pair as either end, shape (B, N, H).
        edges: features e of the ordered pairs (i, j), shape (B, N, N, E).
        matrix: W, shape (H, E).
        weight: w, 0 on padding, shape (B, N).
        layout: of sites and pairs; the shapes are those of a dense batch.

    Returns:
        Mean messages, shape (B, N, H).

    Source: Jiao et al. 2023 (DiffCSP): first edge layer of CSPLayer; ours: the order of the sums.
    """
    if isinstance(layout, Mixed):
        pairs = nn.functional.linear(edges, matrix)
        m = nn.functional.silu(pairs + layout.receiver(receiver) + layout.sender(sender))
        return layout.over_senders(m * layout.sender(weight)[..., None])
    if receiver.device.type != "cpu" or torch.compiler.is_compiling():
        pairs = nn.functional.linear(edges, matrix)
        m = nn.functional.silu(receiver[:, :, None] + sender[:, None] + pairs)
        return (m * weight[:, None, :, None]).sum(2)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        edges, matrix = edges.to(dtype), matrix.to(dtype)
    weight = weight.to(receiver.dtype)
    return _CachedMessages.apply(receiver, sender, edges, matrix, weight)


class _CachedMessages(torch.autograd.Function):
    """`mean_messages` in pieces of a batch; nothing of a pair's size is kept for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, receiver: Tensor, sender: Tensor, edges: Tensor, matrix: Tensor, weight: Tensor
    ) -> Tensor:
        ctx.save_for_backward(receiver, sender, edges, matrix, weight)
        result = torch.empty_like(receiver)
        for rows in _pieces(edges, matrix):
            m = _in_place(receiver[rows], sender[rows], edges[rows], matrix)
            m = nn.functional.silu(m, inplace=True).mul_(weight[rows, None, :, None])
            torch.sum(m, 2, out=result[rows])
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        receiver, sender, edges, matrix, weight = ctx.saved_tensors
        to_receiver, to_sender = torch.empty_like(receiver), torch.empty_like(sender)
        to_edges = torch.empty_like(edges)
        to_matrix = torch.zeros_like(matrix, dtype=torch.promote_types(matrix.dtype, torch.float32))
        for rows in _pieces(edges, matrix):
            m = _in_place(receiver[rows], sender[rows], edges[rows], matrix)
            slope = gradient[rows, :, None] * weight[rows, None, :, None]
            slope = torch.ops.aten.silu_backward(slope, m)
            torch.sum(slope, 2, out=to_receiver[rows])
            torch.sum(slope, 1, out=to_sender[rows])
            flat = slope.flatten(0, 2)
            torch.mm(flat, matrix, out=to_edges[rows].flatten(0, 2))
            # pieces are added in float32 at least, as one product would add them inside
            to_matrix += flat.T @ edges[rows].flatten(0, 2)
        return to_receiver, to_sender, to_edges, to_matrix.to(matrix), None


def _pieces(edges: Tensor, matrix: Tensor) -> list[slice]:
    """Rows of a batch whose pairs fit the cache."""
    n = max(1, CACHED // (edges.shape[1] ** 2 * len(matrix)))
    return [slice(start, start + n) for start in range(0, len(edges), n)]


def _in_place(receiver: Tensor, sender: Tensor, edges: Tensor, matrix: Tensor) -> Tensor:
    """r_i + s_j + W e_ij of some crystals, in one piece of memory."""
    return nn.functional.linear(edges, matrix).add_(receiver[:, :, None]).add_(sender[:, None])
