"""Attention in place of mean messages: a transformer over the sites, with features of the pairs."""

import math

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.networks.cspnet import CSPNet, Modulation

N_HEADS = 8


class AttentionLayer(nn.Module):
    """One layer: attention with features of the pairs, then the site update of CSPNet.

    Site i weighs site j by (q_i . k_j) / sqrt(d) + b . e_ij and receives v_j + W e_ij. Without the
    second term a site would know how much others matter, but not where they are. At equal width and
    depth the layer has as many weights as one of CSPNet.

    Args:
        width: hidden width H, a multiple of the heads.
        edge_width: width E of the pair features.

    Source: Jumper et al. 2021 (AlphaFold): pair bias and pair values of the structure module;
        Peebles and Xie 2023 (DiT): modulation; Jiao et al. 2023 (DiffCSP): update.
    """

    def __init__(self, width: int, edge_width: int):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = Modulation(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.bias = nn.Linear(edge_width, N_HEADS, bias=False)
        self.edge = nn.Parameter(torch.empty(N_HEADS, width // N_HEADS, edge_width))
        nn.init.uniform_(self.edge, -(edge_width**-0.5), edge_width**-0.5)
        self.site_in = nn.Linear(2 * width, width)
        self.site_out = nn.Linear(width, width)

    def attention(
        self,
        h: Float[Tensor, "B N H"],
        edges: Float[Tensor, "B N N E"],
        is_site: Bool[Tensor, "B N"],
    ) -> Float[Tensor, "B N H"]:
        """Messages that each site receives, of all heads.

        Args:
            h: normalised site states, shape (B, N, H).
            edges: features of the ordered pairs (receiver i, sender j), shape (B, N, N, E).
            is_site: False on padding, shape (B, N).

        Returns:
            Messages, shape (B, N, H).
        """
        q, k, v = (
            project(h).unflatten(-1, (N_HEADS, -1)).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        score = q @ k.mT / math.sqrt(q.shape[-1]) + self.bias(edges).permute(0, 3, 1, 2)
        score = score.float().masked_fill(~is_site[:, None, None], -torch.inf)
        weight = score.softmax(-1).to(v.dtype)  # (B, heads, i, j)
        heard = torch.einsum("bnij,bije->bnie", weight, edges.to(v.dtype))
        message = weight @ v + heard @ self.edge.mT.to(v.dtype)
        return message.transpose(1, 2).flatten(-2)

    def forward(self, h: Tensor, graph: Tensor, edges: Tensor, is_site: Tensor) -> Tensor:
        """New site states of dense batches.

        Args:
            h: site states, shape (B, N, H).
            graph: graph vectors, shape (B, 1, H).
            edges: features of the ordered pairs (receiver i, sender j), shape (B, N, N, E).
            is_site: False on padding, shape (B, N).

        Returns:
            Site states, shape (B, N, H).
        """
        silu = nn.functional.silu
        shift, scale, gate = self.modulation(graph)
        h_norm = self.norm(h) * scale + shift
        message = self.attention(h_norm, edges, is_site)
        hidden = silu(self.site_in(torch.cat([h_norm, message], dim=-1)))
        return h + gate * silu(self.site_out(hidden))


class Transformer(CSPNet):
    """Site states after L layers of attention over the sites of a crystal, i = j included.

    Args:
        site_features, graph_features, edge_features, edge_width: as in `CSPNet`, compressed.
        width: hidden width H, a multiple of the 8 heads.
        depth: number of layers L.

    Source: ours: layers as in `AttentionLayer`.
    """

    def __init__(
        self,
        site_features: int,
        graph_features: int,
        edge_features: int,
        *,
        width: int,
        depth: int,
        edge_width: int,
    ):
        super().__init__(
            site_features,
            graph_features,
            edge_features,
            width=width,
            depth=0,
            edge_width=edge_width,
            edge_layers=1,
            is_modulated=True,
        )
        self.layers = nn.ModuleList(AttentionLayer(width, edge_width) for _ in range(depth))
