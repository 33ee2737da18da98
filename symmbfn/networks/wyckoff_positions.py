"""Letters read and written by what their Wyckoff positions are."""

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.layout import DENSE, Layout
from symmbfn.crystals.loci import loci
from symmbfn.crystals.symmetry import MAX_POSITIONS, symmetry_tables
from symmbfn.networks.class_table import two_layers, zeroed


class WyckoffPositions(nn.Module):
    """Letters of a group, embedded by what their positions are and not by their names.

    Each of the 1,731 positions has an embedding computed from its site symmetry, locus, degrees of
    freedom and multiplicity. A belief enters as the expected embedding, and a logit is the product
    of a site's state with an embedding.

    Args:
        width: hidden width H.
        features: width E of the embeddings.
        log_prior: log frequency of each position within its group, shape (1731,): the
            logits before training.

    Source: book, method-letters.
    """

    geometry: Tensor

    def __init__(self, width: int, features: int = 96, log_prior: Float[Tensor, "P"] | None = None):
        super().__init__()
        self.register_buffer("geometry", position_geometry(), persistent=False)
        self.position = two_layers(self.geometry.shape[-1], features, features)
        self.read = nn.Linear(4 * features, width)
        self.query = zeroed(nn.Linear(width, features))
        self.bias = nn.Parameter(torch.zeros(len(self.geometry)))
        if log_prior is not None:
            self.bias.data.copy_(log_prior)

    def table(self, rows: Int[Tensor, "B W"]) -> Float[Tensor, "B W E"]:
        """Embeddings of the positions of each crystal's group.

        Args:
            rows: table rows of the positions, shape (B, W), see `position_rows`.

        Returns:
            Embeddings, shape (B, W, E).
        """
        return self.position(self.geometry)[rows]

    def embed(
        self,
        table: Float[Tensor, "B W E"],
        theta: Float[Tensor, "B N W"],
        state: Float[Tensor, "B N W"],
        previous: Float[Tensor, "B N W"],
        is_site: Bool[Tensor, "B N"],
        layout: Layout = DENSE,
    ) -> Float[Tensor, "B N H"]:
        """Expected embedding of a site's own letter, and of the letters that the other sites take.

        Args:
            table: embeddings of the group's positions, shape (B, W, E).
            theta: probabilities of the positions, shape (B, N, W).
            state: bounded logits, shape (B, N, W).
            previous: probabilities of the previous estimate, shape (B, N, W).
            is_site: False on padding, shape (B, N).
            layout: of the sites.

        Returns:
            Input of the sites, shape (B, N, H).
        """
        claimed = layout.over_sites(theta * is_site[..., None])[:, None] - theta
        beliefs = torch.stack([theta, state, previous, claimed], dim=2).to(table.dtype)
        read = layout.einsum("bnqw,bwe->bnqe", beliefs, table)
        return self.read(read.flatten(-2))

    def logits(
        self,
        h: Float[Tensor, "B N H"],
        table: Float[Tensor, "B W E"],
        rows: Int[Tensor, "B W"],
        layout: Layout = DENSE,
    ) -> Float[Tensor, "B N W"]:
        """Score the positions of the group for every site.

        Args:
            h: site states, shape (B, N, H).
            table: embeddings of the group's positions, shape (B, W, E).
            rows: table rows of the positions, shape (B, W).
            layout: of the sites.

        Returns:
            Logits in float32, shape (B, N, W), those of padded positions included.
        """
        scores = layout.einsum("bne,bwe->bnw", self.query(h), table)
        return scores.float() + self.bias[rows][:, None]


def position_geometry() -> Float[Tensor, "P F"]:
    """Features of each Wyckoff position: encoding, first locus, degrees of freedom, multiplicity.

    Returns:
        Features of all 1,731 positions, shape (1731, 212): 15 x 13 site-symmetry classes one-hot,
        the first operation (9 + 3), degrees of freedom one-hot (4), log2(multiplicity) / 4.

    Source: book, method-letters; book, method-site-symmetry: the encoding.
    """
    tables = symmetry_tables()
    one_hot = nn.functional.one_hot(torch.tensor(tables.encoding).long(), 13).flatten(1)
    first = tables.orbit_start[:-1]
    rotation = torch.tensor(tables.orbit_rotations[first]).flatten(1)
    translation = torch.tensor(tables.orbit_translations[first])
    freedom = nn.functional.one_hot(torch.tensor(tables.degrees_of_freedom).long(), 4)
    multiplicity = torch.tensor(tables.multiplicity).float().log2()[:, None] / 4
    parts = (one_hot, rotation, translation, freedom, multiplicity)
    return torch.cat([part.float() for part in parts], dim=-1)


def position_rows(
    space_group_number: Int[Tensor, "B"],
) -> tuple[Int[Tensor, "B W"], Bool[Tensor, "B W"]]:
    """Table rows of all positions of each group, padded to 27.

    Args:
        space_group_number: 1 to 230, shape (B,).

    Returns:
        Rows, shape (B, 27), padded with the first one; and which of them are real.

    Source: ours.
    """
    start = loci(space_group_number.device).position_start
    first, end = start[space_group_number - 1], start[space_group_number]
    rows = first[:, None] + torch.arange(MAX_POSITIONS, device=start.device)
    is_position = rows < end[:, None]
    return torch.where(is_position, rows, first[:, None]), is_position
