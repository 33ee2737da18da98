"""An output layer that moves sites along the vectors to their images, apart or together."""

from torch import nn

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.crystals.layout import DENSE, Layout

LEAST_LENGTH = 1e-4  # squared; a vector of length 0 has no direction


class Displacements(nn.Module):
    """Sum over pairs and images of a learned amount times the direction to the image.

    A linear layer would have to learn the product of amount and direction.

    Args:
        width: hidden width H of the sites.
        edge_features: width E of the pair features.
        n_images: images of each pair, I.
        features: hidden width of the pairs.

    Source: book, method-heads; Schütt et al. 2021 (PaiNN): the form, without its equivariance,
    which a network in the frame of the space group does not need.
    """

    def __init__(self, width: int, edge_features: int, n_images: int, features: int = 96):
        super().__init__()
        self.receiver = nn.Linear(width, features)
        self.sender = nn.Linear(width, features, bias=False)
        self.edge = nn.Linear(edge_features, features, bias=False)
        self.amount = nn.Linear(features, n_images)
        nn.init.zeros_(self.amount.weight)
        nn.init.zeros_(self.amount.bias)

    def forward(
        self,
        h: Float[Tensor, "B N H"],
        edges: Float[Tensor, "*P E"],
        vectors: Float[Tensor, "*P I 3"],
        is_site: Bool[Tensor, "B N"],
        layout: Layout = DENSE,
    ) -> Float[Tensor, "B N 3"]:
        """Compute the displacements of the sites.

        Args:
            h: site states, shape (B, N, H).
            edges: features of the ordered pairs (receiver i, sender j), shape (B, N, N, E).
            vectors: from each receiver to the images of each sender, shape (B, N, N, I, 3), in
                the units of the displacement.
            is_site: False on padding, shape (B, N).
            layout: of sites and pairs; the shapes of pairs are those of a dense batch.

        Returns:
            Displacements, shape (B, N, 3); 0 in an untrained layer.
        """
        h, is_site = layout.sites(h), layout.sites(is_site)
        receiver, sender = layout.receiver(self.receiver(h)), layout.sender(self.sender(h))
        pairs = nn.functional.silu(receiver + sender + self.edge(edges))
        amount = self.amount(pairs).float() * layout.sender(is_site)[..., None]
        length = (vectors.square().sum(-1, keepdim=True) + LEAST_LENGTH).sqrt()
        moves = layout.over_senders(amount[..., None] * vectors / length, n_axes=2)
        return layout.padded(moves)
