"""How the sites of a batch and their pairs lie in tensors.

In a dense batch all crystals are padded alike, to N sites and O operations. A mixed batch joins
crystals of several size buckets. There only the sites, pairs and operations are computed that each
crystal has in the dense batches of its own bucket: sites and pairs stand in lists, one bucket after
the other, and sums over sites and over operations have the length that they have in the bucket,
because their last bits depend on it. So a crystal is the same bit for bit in both kinds of batch.

In shapes, sites stand for the axes (B, N) in a dense batch and for one axis, their list, in a mixed
one; pairs (receiver i, sender j) for (B, N, N) or for one axis.
"""

from collections.abc import Callable
from itertools import accumulate

import torch
from torch.nn.functional import pad

from symmbfn._shapes import Bool, Int, Tensor
from symmbfn.crystals.loci import ranges

MULTIPLE = 16  # of rows: with fewer, some processors add up the products of a row in another order


class Layout:
    """The layout of a dense batch.

    Source: book, method-network.
    """

    def sites(self, padded: Tensor) -> Tensor:
        """Values of the sites, of those padded to (B, N, ...)."""
        return padded

    def padded(self, sites: Tensor) -> Tensor:
        """Values of sites padded to (B, N, ...)."""
        return sites

    def at_sites(self, crystals: Tensor) -> Tensor:
        """Values of crystals, shape (B, 1, ...), that broadcast to their sites."""
        return crystals

    def receiver(self, sites: Tensor) -> Tensor:
        """Values of sites that broadcast to the pairs in which they are receivers."""
        return sites[:, :, None]

    def sender(self, sites: Tensor) -> Tensor:
        """Values of sites that broadcast to the pairs in which they are senders."""
        return sites[:, None]

    def at_pairs(self, crystals: Tensor) -> Tensor:
        """Values of crystals, shape (B, ...), that broadcast to their pairs."""
        return crystals[:, None, None]

    def is_own(self, sites: Tensor) -> Bool[Tensor, "..."]:
        """Which pairs are a site with itself; of the sites only number and device count."""
        return torch.eye(sites.shape[1], dtype=torch.bool, device=sites.device)[None]

    def over_sites(self, padded: Tensor) -> Tensor:
        """Sums over the sites of each crystal, of values padded to (B, N, ...)."""
        return padded.sum(1)

    def over_senders(self, pairs: Tensor, n_axes: int = 1) -> Tensor:
        """Sums over the pairs of each receiver, and over the axes behind them up to `n_axes`."""
        return pairs.sum(tuple(range(2, 2 + n_axes)))

    def by_sender(self, pairs: Tensor) -> Tensor:
        """Values of pairs with an axis of senders behind those of sites, 0 where there is none."""
        return pairs

    def einsum(self, equation: str, *operands: Tensor) -> Tensor:
        """Products of values padded to (B, N, ...), whose axis of sites is called n."""
        return torch.einsum(equation, *operands)

    def by_operations(self, make: Callable[["Part"], Tensor]) -> Tensor:
        """Values of pairs, made for the crystals of one number of operations at a time."""
        return make(Part(self))


class Part:
    """Crystals of a batch with one padded number of operations; here all of them.

    Attributes:
        layout: of their pairs.
    """

    def __init__(self, layout: Layout):
        self.layout = layout

    def crystals(self, value: Tensor) -> Tensor:
        """Values of these crystals, of those of the batch, shape (B, ...)."""
        return value

    def operations(self, value: Tensor) -> Tensor:
        """Operations of these crystals, of those of the batch, shape (B, O, ...)."""
        return value


class _Bucket(Part):
    """Crystals of a mixed batch in one bucket of operations."""

    def __init__(self, layout: Layout, rows: Int[Tensor, "b"], n_operations: int):
        super().__init__(layout)
        self.rows, self.n_operations = rows, n_operations

    def crystals(self, value: Tensor) -> Tensor:
        return value[self.rows]

    def operations(self, value: Tensor) -> Tensor:
        return value[self.rows, : self.n_operations]


class _Listed(Layout):
    """Pairs in a list, of all sites that are padded to (B, N, ...).

    Args:
        crystal: place of each pair's crystal in the batch, shape (P,).
        i, j: places of its receiver and sender among the sites, shape (P,).
    """

    def __init__(self, crystal: Int[Tensor, "P"], i: Int[Tensor, "P"], j: Int[Tensor, "P"]):
        self.crystal, self.i, self.j = crystal, i, j

    def sites(self, padded: Tensor) -> Tensor:
        return padded.flatten(0, 1)

    def receiver(self, sites: Tensor) -> Tensor:
        return sites[self.i]

    def sender(self, sites: Tensor) -> Tensor:
        return sites[self.j]

    def at_pairs(self, crystals: Tensor) -> Tensor:
        return crystals[self.crystal]

    def is_own(self, sites: Tensor) -> Bool[Tensor, "P"]:
        return self.i == self.j


class Mixed(_Listed):
    """The layout of a mixed batch.

    Args:
        n_sites: edge of each crystal's bucket of sites, shape (B,); equal ones follow each other.
        n_operations: edge of each crystal's bucket of operations, shape (B,).

    Source: ours; book, method-network.
    """

    def __init__(self, n_sites: Int[Tensor, "B"], n_operations: Int[Tensor, "B"]):
        self.shape = len(n_sites), int(n_sites.max())
        edges, counts = (part.tolist() for part in n_sites.unique_consecutive(return_counts=True))
        ends = [0, *accumulate(counts)]
        self.buckets = [
            (slice(begin, end), n) for begin, end, n in zip(ends, ends[1:], edges, strict=False)
        ]
        first, most = n_sites.cumsum(0) - n_sites, self.shape[1]
        of_site, place = ranges(torch.zeros_like(n_sites), n_sites)
        crystal, pair = ranges(torch.zeros_like(n_sites), n_sites**2)
        i, j = pair // n_sites[crystal], pair % n_sites[crystal]
        self.n_sites, self.n_pairs = len(of_site), len(crystal)
        self.parts, parts = [], []
        for n in n_operations.unique().tolist():
            is_mine = n_operations == n
            mine = is_mine[crystal].nonzero().squeeze(-1)
            within = (is_mine.cumsum(0) - 1)[crystal[mine]]
            layout = _Listed(within, within * most + i[mine], within * most + j[mine])
            self.parts.append(_Bucket(layout, is_mine.nonzero().squeeze(-1), n))
            parts.append(mine)
        self.of_site, self.place = _filled(of_site), _filled(of_site * most + place)
        self.order, self.of_sender = _filled(torch.cat(parts).argsort()), _filled(j)
        super().__init__(*map(_filled, (crystal, first[crystal] + i, first[crystal] + j)))

    def sites(self, padded: Tensor) -> Tensor:
        return padded.flatten(0, 1)[self.place]

    def padded(self, sites: Tensor) -> Tensor:
        padded = sites.new_zeros(self.shape[0] * self.shape[1], *sites.shape[1:])
        padded[self.place[: self.n_sites]] = sites[: self.n_sites]
        return padded.unflatten(0, self.shape)

    def at_sites(self, crystals: Tensor) -> Tensor:
        return crystals[self.of_site, 0]

    def over_sites(self, padded: Tensor) -> Tensor:
        return torch.cat([padded[rows, :n].sum(1) for rows, n in self.buckets])

    def over_senders(self, pairs: Tensor, n_axes: int = 1) -> Tensor:
        sizes = [(rows.stop - rows.start) * n for rows, n in self.buckets]
        parts = pairs[: self.n_pairs].split(
            [size * n for size, (_, n) in zip(sizes, self.buckets, strict=True)]
        )
        axes = tuple(range(1, 1 + n_axes))
        sums = [
            part.unflatten(0, (size, n)).sum(axes)
            for part, size, (_, n) in zip(parts, sizes, self.buckets, strict=True)
        ]
        filling = sums[-1][-1:].expand(len(self.place) - self.n_sites, *sums[-1].shape[1:])
        return torch.cat([*sums, filling])

    def by_sender(self, pairs: Tensor) -> Tensor:
        table = pairs.new_zeros(len(self.place), self.shape[1], *pairs.shape[1:])
        table[self.i, self.of_sender] = pairs
        return table

    def einsum(self, equation: str, *operands: Tensor) -> Tensor:
        inputs, _, output = equation.partition("->")
        has_sites = [axes[1] == "n" for axes in inputs.split(",")]
        parts = []
        for rows, n in self.buckets:
            cut = [v[rows, :n] if s else v[rows] for v, s in zip(operands, has_sites, strict=True)]
            part = torch.einsum(equation, *cut)
            if output[1] == "n":
                part = pad(part, (0, 0) * (part.ndim - 2) + (0, self.shape[1] - n))
            parts.append(part)
        return torch.cat(parts)

    def by_operations(self, make: Callable[[Part], Tensor]) -> Tensor:
        return torch.cat([make(part) for part in self.parts])[self.order]


DENSE = Layout()


def _filled(index: Int[Tensor, "n"]) -> Int[Tensor, "m"]:
    """A list with copies of its last entry up to a multiple of 16."""
    return torch.cat([index, index[-1:].expand(-len(index) % MULTIPLE)])
