"""The same CSPNet in PyTorch Geometric: the readable reference and the timing baseline."""

from typing import cast

import torch
from torch import nn
from torch_geometric.utils import scatter

from symmbfn._shapes import Float, Int, Tensor
from symmbfn.networks.cspnet import CSPNet, Layer


class CSPNetPyG(CSPNet):
    """CSPNet over an edge list; loads the dense network's weights and equals it to 1e-5.

    Args: as in `CSPNet`.

    Source: Jiao et al. 2023 (DiffCSP), CSPNet.
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
