"""CSPNet on dense, padded batches: message passing on the complete graph of a crystal's sites."""

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.crystals.layout import DENSE, Layout
from symmbfn.networks.mean_messages import mean_messages


class Modulation(nn.Module):
    """Shift, scale and gate of a layer, computed from the crystal's graph vector.

    Args:
        width: hidden width H.

    Source: Peebles and Xie 2023 (DiT): adaLN, but with a gate that starts from 1.
    """

    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, graph: Float[Tensor, "*X H"]) -> tuple[Tensor, Tensor, Tensor]:
        """Compute the modulation.

        Args:
            graph: graph vectors, shape (..., H).

        Returns:
            Shift, scale and gate, each of shape (..., H); 0, 1 and 1 in an untrained layer.
        """
        shift, scale, gate = self.linear(graph).chunk(3, dim=-1)
        return shift, 1 + scale, 1 + gate


class Layer(nn.Module):
    """Weights of one message-passing layer, shared by the dense and the PyG form.

    The first edge matrix is kept in three blocks (receiver, sender, edge) so that the dense form
    multiplies the sites' blocks once per site and not once per pair.

    Args:
        width: hidden width H.
        edge_width: width of the pair features.
        edge_layers: 2 or 1, as in `CSPNet`.
        is_modulated: read shift, scale and gate from the graph vector.

    Source: Jiao et al. 2023 (DiffCSP): CSPLayer; book, method-network: blocks, modulation.
    """

    def __init__(self, width: int, edge_width: int, *, edge_layers: int, is_modulated: bool):
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=not is_modulated)
        self.modulation = Modulation(width) if is_modulated else None
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(edge_width, width, bias=False)
        self.message = nn.Linear(width, width)
        self.edge_layers = edge_layers
        self.site_in = nn.Linear(2 * width, width)
        self.site_out = nn.Linear(width, width)

    def normalised(
        self, h: Tensor, graph: Tensor, layout: Layout = DENSE
    ) -> tuple[Tensor, Tensor | float]:
        """Layer norm of the sites, modulated by the graph vector; and the residual's gate.

        Args:
            h: site states, shape (..., H).
            graph: graph vector of each site's crystal, shape (..., H) or broadcastable.
            layout: of the sites, where the graph vectors are those of crystals.

        Returns:
            Normalised states, shape (..., H), and the gate, broadcastable; 1 without modulation.
        """
        if self.modulation is None:
            return self.norm(h), 1.0
        shift, scale, gate = map(layout.at_sites, self.modulation(graph))
        return self.norm(h) * scale + shift, gate

    def update(
        self, h: Tensor, h_norm: Tensor, mean_message: Tensor, gate: Tensor | float
    ) -> Tensor:
        """Residual site update from the normalised state and the mean message.

        Args:
            h: site states, shape (..., H).
            h_norm: normalised states, shape (..., H).
            mean_message: mean of the messages to each site, shape (..., H).
            gate: factor of the residual, broadcastable.

        Returns:
            New site states, shape (..., H).
        """
        silu = nn.functional.silu
        hidden = silu(self.site_in(torch.cat([h_norm, mean_message], dim=-1)))
        return h + gate * silu(self.site_out(hidden))

    def forward(
        self, h: Tensor, graph: Tensor, edges: Tensor, is_site: Tensor, layout: Layout = DENSE
    ) -> Tensor:
        """New site states.

        Args:
            h: site states, shape (B, N, H).
            graph: graph vectors, shape (B, 1, H).
            edges: features of the ordered pairs (receiver i, sender j), shape (B, N, N, E).
            is_site: False on padding, shape (B, N).
            layout: of sites and pairs; other shapes are those of a dense batch.

        Returns:
            Site states, shape of `h`.
        """
        silu = nn.functional.silu
        weight = is_site.to(h.dtype)
        weight = layout.sites(weight / weight.sum(-1, keepdim=True))
        h_norm, gate = self.normalised(h, graph, layout)
        receiver, sender = self.receiver(h_norm), self.sender(h_norm)
        if self.edge_layers == 2:
            m = silu(layout.receiver(receiver) + layout.sender(sender) + self.edge(edges))
            m = silu(self.message(m)) * layout.sender(weight)[..., None]
            mean_message = layout.over_senders(m)
        else:
            m = mean_messages(receiver, sender, edges, self.edge.weight, weight, layout)
            mean_message = silu(self.message(m))
        return self.update(h, h_norm, mean_message, gate)


class CSPNet(nn.Module):
    """Site states after L layers of messages over all ordered pairs, i = j included.

    Args:
        site_features: width of the sites' input.
        graph_features: width of the crystal's input vector.
        edge_features: width of the pair features.
        width: hidden width H.
        depth: number of layers L.
        edge_width: pair features are first compressed to this width by one SiLU layer; 0 feeds
            them to every layer as they are.
        edge_layers: 2 as published (the second edge matrix acts on every pair), or 1 (messages
            are averaged before the second matrix, which then acts once per site).
        is_modulated: graph vector enters every layer by shift, scale and gate; otherwise it is
            concatenated to the sites' input only, as published.

    Source: Jiao et al. 2023 (DiffCSP): CSPNet; book, method-network: what differs.
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
        edge_layers: int,
        is_modulated: bool,
    ):
        super().__init__()
        self.site_in = nn.Linear(site_features, width)
        self.graph_in = nn.Sequential(
            nn.Linear(graph_features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        self.graph_to_site = nn.Linear(width, width)
        self.compress = nn.Linear(edge_features, edge_width) if edge_width else None
        self.layers = nn.ModuleList(
            Layer(
                width,
                edge_width or edge_features,
                edge_layers=edge_layers,
                is_modulated=is_modulated,
            )
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        sites: Float[Tensor, "B N F"],
        graph: Float[Tensor, "B G"],
        edges: Float[Tensor, "*P E"],
        is_site: Bool[Tensor, "B N"],
        layout: Layout = DENSE,
    ) -> tuple[Float[Tensor, "B N H"], Float[Tensor, "B H"]]:
        """Site states and the graph vector.

        Args:
            sites: features of the sites, shape (B, N, F).
            graph: features of the crystals, shape (B, G).
            edges: features of the ordered pairs (receiver i, sender j), shape (B, N, N, E).
            is_site: False on padding, shape (B, N).
            layout: of sites and pairs; the shape of `edges` is that of a dense batch.

        Returns:
            Site states, shape (B, N, H), and graph vectors, shape (B, H). Padded sites send no
            messages, and their states have no meaning.
        """
        vector = self.graph_in(graph)
        graph = vector[:, None]
        h = self.site_in(layout.sites(sites)) + layout.at_sites(self.graph_to_site(graph))
        if self.compress is not None:
            edges = nn.functional.silu(self.compress(edges))
        for layer in self.layers:
            h = layer(h, graph, edges, is_site, layout)
        return layout.padded(self.norm(h)), vector
