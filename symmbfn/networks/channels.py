"""How beliefs about classes enter the network, and how site states become logits.

Every channel reads the probabilities, the bounded logits and the previous estimate of one
variable, and writes logits. With preconditioning they are added to the logits of the belief, so
that the network only has to learn what the other variables say about the class.

Source: book, method-preconditioning; book, method-beliefs.
"""

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Int, Tensor
from symmbfn.crystals.loci import loci
from symmbfn.crystals.symmetry import MAX_POSITIONS, symmetry_tables


def _zero_(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _mlp(n_in: int, width: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(n_in, width), nn.SiLU(), nn.Linear(width, n_out))


class ClassTable(nn.Module):
    """A linear channel: one row of weights for each class (elements of sites; 15 x 13 axes).

    Args:
        n_inputs: number of classes K, all axes together.
        width: hidden width H.
        log_prior: log of the classes' frequencies, shape (K,): the logits of the untrained channel.

    Source: Jiao et al. 2023 (DiffCSP): type embedding and head.
    """

    def __init__(self, n_inputs: int, width: int, log_prior: Float[Tensor, "K"] | None = None):
        super().__init__()
        self.read = nn.Linear(n_inputs, width)
        self.write = _zero_(nn.Linear(width, n_inputs))
        if log_prior is not None:
            self.write.bias.data.copy_(log_prior)

    def embed(self, theta: Float[Tensor, "*X K"]) -> Float[Tensor, "*X H"]:
        """Read beliefs.

        Args:
            theta: probabilities of the classes, shape (..., K).

        Returns:
            Input of the sites, shape (..., H).
        """
        return self.read(theta)

    def logits(self, h: Float[Tensor, "*X H"]) -> Float[Tensor, "*X K"]:
        """Write logits.

        Args:
            h: site states, shape (..., H).

        Returns:
            Logits, shape (..., K); the log prior in an untrained channel.
        """
        return self.write(h)


class WyckoffPositions(nn.Module):
    """Letters of a group, embedded by what their positions are and not by their names.

    Each of the 1,731 positions has an embedding computed from its site symmetry, locus, degrees of
    freedom and multiplicity. A belief enters as the expected embedding, and a logit is the product
    of a site's state with an embedding.

    Args:
        width: hidden width H.
        features: width E of the embeddings.
        log_prior: log frequency of each position within its group, shape (1731,): the logits of the
            untrained channel.

    Source: book, method-letters.
    """

    geometry: Tensor

    def __init__(self, width: int, features: int = 96, log_prior: Float[Tensor, "P"] | None = None):
        super().__init__()
        self.register_buffer("geometry", position_geometry(), persistent=False)
        self.position = _mlp(self.geometry.shape[-1], features, features)
        self.read = nn.Linear(4 * features, width)
        self.query = _zero_(nn.Linear(width, features))
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
    ) -> Float[Tensor, "B N H"]:
        """Expected embedding of a site's own letter, and of the letters that the other sites take.

        Args:
            table: embeddings of the group's positions, shape (B, W, E).
            theta: probabilities of the positions, shape (B, N, W).
            state: bounded logits, shape (B, N, W).
            previous: probabilities of the previous estimate, shape (B, N, W).
            is_site: False on padding, shape (B, N).

        Returns:
            Input of the sites, shape (B, N, H).
        """
        claimed = (theta * is_site[..., None]).sum(1, keepdim=True) - theta
        beliefs = torch.stack([theta, state, previous, claimed], dim=2).to(table.dtype)
        read = torch.einsum("bnqw,bwe->bnqe", beliefs, table)
        return self.read(read.flatten(-2))

    def logits(
        self, h: Float[Tensor, "B N H"], table: Float[Tensor, "B W E"], rows: Int[Tensor, "B W"]
    ) -> Float[Tensor, "B N W"]:
        """Score the positions of the group for every site.

        Args:
            h: site states, shape (B, N, H).
            table: embeddings of the group's positions, shape (B, W, E).
            rows: table rows of the positions, shape (B, W).

        Returns:
            Logits in float32, shape (B, N, W), those of padded positions included.
        """
        scores = torch.einsum("bne,bwe->bnw", self.query(h), table)
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


class ElementSlots(nn.Module):
    """The crystal's elements as a short list, and for every site a pointer to a place in it.

    A crystal with M elements has M slots, ordered along the Mendeleev scale. Each slot holds one
    element and each site points to one slot. So two sites hold the same element by one decision,
    not by two that have to agree, and the crystal has as many elements as the request says.

    Args:
        n_slots: most elements of a crystal, S.
        n_elements: number of element classes K.
        width: hidden width H.
        log_prior: log frequency of the elements, shape (K,): the logits of the untrained channel.
        features: width E of the slot states.

    Source: book, method-variables.
    """

    def __init__(
        self,
        n_slots: int,
        n_elements: int,
        width: int,
        log_prior: Float[Tensor, "K"],
        features: int = 128,
    ):
        super().__init__()
        self.read_slot = nn.Linear(3 * n_elements + 2 * n_slots, features)
        self.mix = nn.ModuleList(_mlp(2 * features, features, features) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(2))
        self.read_site = nn.Linear(features + 3 * n_slots, width)
        self.read_graph = nn.Linear(features, width)
        self.slot_state = nn.Sequential(
            nn.Linear(features + 2 * width + 2, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.write_element = _zero_(nn.Linear(width, n_elements))
        self.write_element.bias.data.copy_(log_prior)
        self.query = _zero_(nn.Linear(width, features))
        self.key = nn.Linear(width, features)
        self.pointer_bias = nn.Linear(width, n_slots)
        _zero_(self.pointer_bias)

    def slots(
        self,
        theta: Float[Tensor, "B S K"],
        state: Float[Tensor, "B S K"],
        previous: Float[Tensor, "B S K"],
        is_slot: Bool[Tensor, "B S"],
    ) -> Float[Tensor, "B S E"]:
        """States of the slots, each computed from all slots of its crystal.

        Args:
            theta: probabilities of the elements, shape (B, S, K).
            state: bounded logits, shape (B, S, K).
            previous: probabilities of the previous estimate, shape (B, S, K).
            is_slot: False beyond the crystal's number of elements, shape (B, S).

        Returns:
            Slot states, shape (B, S, E), 0 where there is no slot.
        """
        n_slots = theta.shape[1]
        place = torch.eye(n_slots, device=theta.device).expand(len(theta), -1, -1)
        number = torch.arange(1, n_slots + 1, device=theta.device)
        count = (number == is_slot.sum(-1, keepdim=True)).to(theta)[:, None].expand_as(place)
        v = self.read_slot(torch.cat([theta, state, previous, place, count], dim=-1))
        weight = (is_slot / is_slot.sum(-1, keepdim=True))[..., None].to(v)
        for mix, norm in zip(self.mix, self.norms, strict=True):
            u = norm(v)
            mean = (u * weight).sum(1, keepdim=True).expand_as(u)
            v = v + mix(torch.cat([u, mean], dim=-1))
        return v * is_slot[..., None].to(v)

    def embed(
        self,
        slots: Float[Tensor, "B S E"],
        theta: Float[Tensor, "B N S"],
        state: Float[Tensor, "B N S"],
        previous: Float[Tensor, "B N S"],
    ) -> tuple[Float[Tensor, "B N H"], Float[Tensor, "B H"]]:
        """Inputs of the sites from the slots they point to, and of the crystal from all of its
        slots.

        Args:
            slots: slot states, shape (B, S, E).
            theta: probabilities of the pointers, shape (B, N, S).
            state: bounded pointer logits, shape (B, N, S).
            previous: probabilities of the previous estimate, shape (B, N, S).

        Returns:
            Inputs of the sites, shape (B, N, H), and of the crystal, shape (B, H).
        """
        own = torch.einsum("bns,bse->bne", theta.to(slots), slots)
        site = self.read_site(torch.cat([own, theta, state, previous], dim=-1))
        return site, self.read_graph(slots.sum(1))

    def logits(
        self,
        h: Float[Tensor, "B N H"],
        graph: Float[Tensor, "B H"],
        slots: Float[Tensor, "B S E"],
        theta: Float[Tensor, "B N S"],
        atoms: Float[Tensor, "B N"],
    ) -> tuple[Float[Tensor, "B S K"], Float[Tensor, "B N S"]]:
        """Element logits of the slots and pointer logits of the sites.

        Args:
            h: site states, shape (B, N, H).
            graph: graph vectors, shape (B, H).
            slots: slot states, shape (B, S, E).
            theta: pointer beliefs, shape (B, N, S), 0 on padded sites.
            atoms: expected number of atoms of each site in the cell, shape (B, N), 0 on padded
                sites.

        Returns:
            Logits of the elements, shape (B, S, K), and of the pointers, shape (B, N, S).
        """
        share = theta / theta.sum(1, keepdim=True).clamp_min(1e-3)
        pooled = torch.einsum("bns,bnh->bsh", share.to(h), h)
        in_slot = (theta * atoms[..., None]).sum(1)
        fraction = in_slot / atoms.sum(-1, keepdim=True)
        counts = torch.stack([fraction, in_slot.log1p() / 4], dim=-1)
        context = graph[:, None].expand_as(pooled)
        state = self.slot_state(torch.cat([slots, pooled, context, counts.to(h)], dim=-1))
        pointers = torch.einsum("bne,bse->bns", self.query(h), self.key(state)) / 8
        return self.write_element(state), pointers + self.pointer_bias(h)
