"""Batches of crystals of like size, so that little of the work is spent on padding."""

from collections.abc import Iterator
from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.crystals.symmetry import symmetry_tables

# Fine where crystals are many: with these MP-20 has 8 % more pairs than without padding. The
# last is a face-centred cell of 52 atoms, the most of MPTS-52, with all of them written out.
SITE_EDGES = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 96, 128, 192, 208)
OPERATION_EDGES = (8, 16, 36, 192)  # every further one would split all batches again


def n_operations(space_group_number: Int[Tensor, "n"]) -> Int[Tensor, "n"]:
    """Operations of each group's conventional cell, centring included: 1 to 192."""
    start = torch.tensor(symmetry_tables().operation_start)
    return start.long().diff()[space_group_number.long() - 1]


def bucket_of(sizes: Int[Tensor, "*n"], edges: tuple[int, ...]) -> Int[Tensor, "*n"]:
    """Index of the first edge that is not below the size; len(edges) past the last one."""
    return torch.bucketize(sizes.contiguous(), torch.tensor(edges, device=sizes.device))


def edge_of(sizes: Int[Tensor, "*n"], edges: tuple[int, ...]) -> Int[Tensor, "*n"]:
    """The first edge that is not below the size; the size itself past the last one."""
    padded = torch.tensor([*edges, 0], device=sizes.device)
    return torch.maximum(padded[bucket_of(sizes, edges)], sizes)


class BucketedBatches:
    """Endless index batches; in every epoch each crystal comes once.

    Crystals share a batch with others of about their number of sites and of operations. What a
    size bucket leaves over joins the next larger one of the same number of operations, so
    that few batches are small.

    Args:
        n_sites: number of sites of each crystal, shape (n,).
        space_group_number: 1 to 230, shape (n,).
        batch_size: most crystals in a batch.
        generator: shuffles; its state at the start of the epoch is the state of the order.

    Attributes:
        epoch: number of the current epoch, from 0.
        position: batches of it that were given out.

    Source: book, method-network.
    """

    def __init__(
        self,
        n_sites: Int[Tensor, "n"],
        space_group_number: Int[Tensor, "n"],
        *,
        batch_size: int,
        generator: torch.Generator,
    ):
        if batch_size < 1 or not len(n_sites):
            raise ValueError(f"no batches of {batch_size} from {len(n_sites)} crystals")
        self.n_sites = n_sites.long()
        self.n_operations = n_operations(space_group_number)
        self.batch_size = batch_size
        self.generator = generator
        self.epoch = self.position = 0
        self._start_epoch()

    def __iter__(self) -> Iterator[Int[Tensor, "B"]]:
        return self

    def __next__(self) -> Int[Tensor, "B"]:
        if self.position == len(self._plan):
            self.epoch, self.position = self.epoch + 1, 0
            self._start_epoch()
        batch = self._plan[self.position]
        self.position += 1
        return batch

    def __len__(self) -> int:
        """Number of batches in the current epoch."""
        return len(self._plan)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, position, and the generator's state from which the order follows."""
        return {
            "epoch": self.epoch,
            "position": self.position,
            "generator": self._generator_state.clone(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self.epoch, self.position = state["epoch"], state["position"]
        self._start_epoch()

    def _start_epoch(self) -> None:
        self._generator_state = self.generator.get_state()
        batches = self._draw_batches()
        order = torch.randperm(len(batches), generator=self.generator)
        self._plan = [batches[i] for i in order.tolist()]

    def _draw_batches(self) -> list[Int[Tensor, "B"]]:
        shuffled = torch.randperm(len(self.n_sites), generator=self.generator)
        by_sites = bucket_of(self.n_sites, SITE_EDGES)[shuffled]
        by_operations = bucket_of(self.n_operations, OPERATION_EDGES)[shuffled]
        batches = []
        for operations in by_operations.unique().tolist():
            left = shuffled[:0]
            mine = by_operations == operations
            for sites in by_sites[mine].unique().tolist():
                pool = torch.cat([left, shuffled[mine & (by_sites == sites)]])
                full, left = self._cut(pool)
                batches += full
            if len(left):
                batches.append(left)
        return batches

    def _cut(self, pool: Int[Tensor, "n"]) -> tuple[list[Int[Tensor, "B"]], Int[Tensor, "r"]]:
        """Cut full batches off the pool."""
        whole = len(pool) - len(pool) % self.batch_size
        return list(pool[:whole].reshape(-1, self.batch_size)), pool[whole:]
