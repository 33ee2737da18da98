"""The elements of a crystal as a short list, and for every site a pointer into it."""

import torch
from torch import nn

from symmbfn._shapes import Bool, Float, Tensor
from symmbfn.crystals.layout import DENSE, Layout
from symmbfn.networks.class_table import two_layers, zeroed

N_ATOM_FEATURES = 4


def atom_features(
    held: Float[Tensor, "B S"], wanted: Float[Tensor, "B S"]
) -> Float[Tensor, "B S 4"]:
    """What a slot reads of its atoms in the cell.

    Args:
        held: expected number of atoms in the slot, shape (B, S).
        wanted: how many there should be, NaN where that is no condition, shape (B, S).

    Returns:
        Whether the number is a condition, the logarithms of both numbers, and which part of
        them is missing, shape (B, S, 4).
    """
    is_open = wanted.isnan()
    wanted = torch.where(is_open, 0.0, wanted)
    missing = torch.where(is_open, 0.0, (wanted - held) / (wanted + held).clamp_min(1.0))
    features = [(~is_open).to(held), wanted.log1p() / 4, held.log1p() / 4, missing]
    return torch.stack(features, dim=-1)


class ElementSlots(nn.Module):
    """The crystal's elements as a short list, and for every site a pointer to a place in it.

    A crystal with M elements has M slots, ordered along the Mendeleev scale. Each slot holds one
    element and each site points to one slot. So two sites hold the same element by one decision,
    not by two that have to agree, and the crystal has as many elements as the request says.

    Args:
        n_slots: most elements of a crystal, S.
        n_elements: number of element classes K.
        width: hidden width H.
        log_prior: log frequency of the elements, shape (K,): the logits before training.
        features: width E of the slot states.
        reads_atoms: whether the slots read how many atoms they hold and should hold.

    Source: book, method-variables.
    """

    def __init__(
        self,
        n_slots: int,
        n_elements: int,
        width: int,
        log_prior: Float[Tensor, "K"],
        features: int = 128,
        reads_atoms: bool = False,
    ):
        super().__init__()
        self.reads_atoms = reads_atoms
        n_read = 3 * n_elements + 2 * n_slots + N_ATOM_FEATURES * reads_atoms
        self.read_slot = nn.Linear(n_read, features)
        self.mix = nn.ModuleList(two_layers(2 * features, features, features) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(features) for _ in range(2))
        self.read_site = nn.Linear(features + 3 * n_slots, width)
        self.read_graph = nn.Linear(features, width)
        self.slot_state = nn.Sequential(
            nn.Linear(features + 2 * width + 2, width),
            nn.SiLU(),
            nn.Linear(width, width),
            nn.SiLU(),
        )
        self.write_element = zeroed(nn.Linear(width, n_elements))
        self.write_element.bias.data.copy_(log_prior)
        self.query = zeroed(nn.Linear(width, features))
        self.key = nn.Linear(width, features)
        self.pointer_bias = zeroed(nn.Linear(width, n_slots))

    def slots(
        self,
        theta: Float[Tensor, "B S K"],
        state: Float[Tensor, "B S K"],
        previous: Float[Tensor, "B S K"],
        is_slot: Bool[Tensor, "B S"],
        atoms: Float[Tensor, "B S A"] | None = None,
    ) -> Float[Tensor, "B S E"]:
        """States of the slots, each computed from all slots of its crystal.

        Args:
            theta: probabilities of the elements, shape (B, S, K).
            state: bounded logits, shape (B, S, K).
            previous: probabilities of the previous estimate, shape (B, S, K).
            is_slot: False beyond the crystal's number of elements, shape (B, S).
            atoms: see `atom_features`, where they are read.

        Returns:
            Slot states, shape (B, S, E), 0 where there is no slot.
        """
        n_slots = theta.shape[1]
        place = torch.eye(n_slots, device=theta.device).expand(len(theta), -1, -1)
        number = torch.arange(1, n_slots + 1, device=theta.device)
        count = (number == is_slot.sum(-1, keepdim=True)).to(theta)[:, None].expand_as(place)
        read = [theta, state, previous, place, count]
        if self.reads_atoms:
            assert atoms is not None
            read.append(atoms.to(theta))
        v = self.read_slot(torch.cat(read, dim=-1))
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
        layout: Layout = DENSE,
    ) -> Float[Tensor, "B N H"]:
        """Inputs of the sites from the slots they point to.

        Args:
            slots: slot states, shape (B, S, E).
            theta: probabilities of the pointers, shape (B, N, S).
            state: bounded pointer logits, shape (B, N, S).
            previous: probabilities of the previous estimate, shape (B, N, S).
            layout: of the sites.

        Returns:
            Inputs of the sites, shape (B, N, H).
        """
        own = layout.einsum("bns,bse->bne", theta.to(slots), slots)
        return self.read_site(torch.cat([own, theta, state, previous], dim=-1))

    def embed_all(self, slots: Float[Tensor, "B S E"]) -> Float[Tensor, "B H"]:
        """Input of the crystal from all of its slots.

        Args:
            slots: slot states, shape (B, S, E).

        Returns:
            Input of the crystal, shape (B, H).
        """
        return self.read_graph(slots.sum(1))

    def logits(
        self,
        h: Float[Tensor, "B N H"],
        graph: Float[Tensor, "B H"],
        slots: Float[Tensor, "B S E"],
        theta: Float[Tensor, "B N S"],
        atoms: Float[Tensor, "B N"],
        layout: Layout = DENSE,
    ) -> tuple[Float[Tensor, "B S K"], Float[Tensor, "B N S"]]:
        """Element logits of the slots and pointer logits of the sites.

        Args:
            h: site states, shape (B, N, H).
            graph: graph vectors, shape (B, H).
            slots: slot states, shape (B, S, E).
            theta: pointer beliefs, shape (B, N, S), 0 on padded sites.
            atoms: expected number of atoms of each site in the cell, shape (B, N), 0 on padded
                sites.
            layout: of the sites.

        Returns:
            Logits of the elements, shape (B, S, K), and of the pointers, shape (B, N, S).
        """
        share = theta / layout.over_sites(theta)[:, None].clamp_min(1e-3)
        pooled = layout.einsum("bns,bnh->bsh", share.to(h), h)
        in_slot = layout.over_sites(theta * atoms[..., None])
        fraction = in_slot / layout.over_sites(atoms)[:, None]
        counts = torch.stack([fraction, in_slot.log1p() / 4], dim=-1)
        context = graph[:, None].expand_as(pooled)
        state = self.slot_state(torch.cat([slots, pooled, context, counts.to(h)], dim=-1))
        pointers = layout.einsum("bne,bse->bns", self.query(h), self.key(state)) / 8
        return self.write_element(state), pointers + self.pointer_bias(h)
