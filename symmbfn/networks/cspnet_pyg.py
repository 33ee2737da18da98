"""The same CSPNet in PyTorch Geometric: a reference to read, and a baseline to time."""

import copy
from typing import Any, TypeVar, cast

import torch
from torch import nn
from torch_geometric.utils import dense_to_sparse, scatter

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.layout import DENSE, Layout
from symmbfn.networks.cspnet import CSPNet, Layer

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class CSPNetPyG(CSPNet):
    """CSPNet over an edge list; it takes the dense network's weights and equals it to 1e-5.

    Args: as in `CSPNet`.

    Source: Jiao et al. 2023 (DiffCSP): CSPNet.
    """

    def forward(  # type: ignore[override]  # an edge list is what this form is about
        self,
        sites: Float[Tensor, "M F"],
        graph: Float[Tensor, "B G"],
        edge_index: Int[Tensor, "2 E"],
        edges: Float[Tensor, "E D"],
        batch: Int[Tensor, "M"],
    ) -> tuple[Float[Tensor, "M H"], Float[Tensor, "B H"]]:
        """Site states and graph vectors.

        Args:
            sites: features of all sites of all crystals, shape (M, F).
            graph: features of the crystals, shape (B, G).
            edge_index: rows (receiver i, sender j) of all ordered pairs within a crystal,
                shape (2, E).
            edges: features of these pairs, shape (E, D).
            batch: crystal of each site, shape (M,).

        Returns:
            Site states, shape (M, H), and graph vectors, shape (B, H).
        """
        silu = nn.functional.silu
        vector = self.graph_in(graph)
        h = self.site_in(sites) + self.graph_to_site(vector)[batch]
        if self.compress is not None:
            edges = silu(self.compress(edges))
        i, j = edge_index
        for layer in cast(list[Layer], self.layers):
            h_norm, gate = layer.normalised(h, vector[batch])
            pair = torch.cat([h_norm[i], h_norm[j], edges], dim=-1)
            first = torch.cat(
                [layer.receiver.weight, layer.sender.weight, layer.edge.weight], dim=1
            )
            m = silu(nn.functional.linear(pair, first, layer.receiver.bias))
            if layer.edge_layers == 2:
                m = silu(layer.message(m))
            mean_message = scatter(m, i, dim=0, dim_size=len(h), reduce="mean")
            if layer.edge_layers == 1:
                mean_message = silu(layer.message(mean_message))
            h = layer.update(h, h_norm, mean_message, gate)
        return self.norm(h), vector


class EdgeListCSPNet(CSPNetPyG):
    """The edge-list form with the dense network's inputs: it makes the edge list of every batch.

    Only real sites and pairs are computed, so padding costs nothing.

    Args: as in `CSPNet`.

    Attributes:
        is_published: edges are made by `published_edges` and not by `complete_edges`.

    Source: book, method-edge-list; Jiao et al. 2023 (DiffCSP): CSPNet.
    """

    is_published = False

    @classmethod
    def like(cls, network: CSPNet) -> "EdgeListCSPNet":
        """A network of the same shape with a copy of the weights.

        Args:
            network: dense.

        Returns:
            The edge-list form, on the same device.
        """
        first = cast(Layer, network.layers[0])
        compress = network.compress
        twin = cls(
            network.site_in.in_features,
            cast(nn.Linear, network.graph_in[0]).in_features,
            (first.edge if compress is None else compress).in_features,
            width=network.site_in.out_features,
            depth=len(network.layers),
            edge_width=0 if compress is None else compress.out_features,
            edge_layers=first.edge_layers,
            is_modulated=first.modulation is not None,
        )
        twin.load_state_dict(network.state_dict())
        return twin.to(network.site_in.weight.device).train(network.training)

    def forward(  # type: ignore[override]  # the dense network's own signature again
        self,
        sites: Float[Tensor, "B N F"],
        graph: Float[Tensor, "B G"],
        edges: Float[Tensor, "B N N E"],
        is_site: Bool[Tensor, "B N"],
        layout: Layout = DENSE,
    ) -> tuple[Float[Tensor, "B N H"], Float[Tensor, "B H"]]:
        """Site states and the graph vector.

        Args:
            sites, graph, edges, is_site, layout: as in `CSPNet`; of a dense batch.

        Returns:
            Site states, shape (B, N, H), 0 on padding, and graph vectors, shape (B, H).
        """
        edge_index = (published_edges if self.is_published else complete_edges)(is_site)
        pair = is_site[:, :, None] & is_site[:, None]
        batch = is_site.nonzero()[:, 0]
        h, vector = super().forward(sites[is_site], graph, edge_index, edges[pair], batch)
        padded = h.new_zeros(*is_site.shape, h.shape[-1])
        padded[is_site] = h
        return padded, vector


def complete_edges(is_site: Bool[Tensor, "B N"]) -> Int[Tensor, "2 E"]:
    """All ordered pairs of sites within a crystal, i = j included, crystal after crystal.

    Args:
        is_site: False on padding, shape (B, N), real sites first.

    Returns:
        Rows (receiver i, sender j), counted over the real sites of all crystals, shape (2, E).

    Source: ours.
    """
    crystal, i, j = (is_site[:, :, None] & is_site[:, None]).nonzero(as_tuple=True)
    n_sites = is_site.sum(-1)
    first = (n_sites.cumsum(0) - n_sites)[crystal]
    return torch.stack([first + i, first + j])


def published_edges(is_site: Bool[Tensor, "B N"]) -> Int[Tensor, "2 E"]:
    """The same edges as published code makes them: a matrix per crystal in a Python loop.

    Args:
        is_site: False on padding, shape (B, N), real sites first.

    Returns:
        Edges, shape (2, E), as `complete_edges`.

    Source: book, method-edge-list.
    """
    sizes = is_site.sum(-1).tolist()
    blocks = [torch.ones(n, n, device=is_site.device) for n in sizes]
    return dense_to_sparse(torch.block_diag(*blocks))[0]


def with_pyg_network(model: AnyModule, *, is_published: bool = False) -> AnyModule:
    """A copy of a model whose `network` is the scatter form with the same weights.

    Args:
        model: a `SymmBFN`, or any module whose `network` is a `CSPNet`.
        is_published: make edges as `published_edges` does.

    Returns:
        The copy; its outputs on real sites equal the model's to 1e-5.

    Source: ours.
    """
    twin: Any = copy.deepcopy(model)
    network = EdgeListCSPNet.like(twin.network)
    network.is_published = is_published
    twin.network = network
    return twin
