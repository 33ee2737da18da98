"""The mixed layout says of each crystal what a dense batch of its own bucket says."""

import pytest
import torch

from symmbfn.crystals.layout import DENSE, MULTIPLE, Mixed

N_SITES, N_OPERATIONS = torch.tensor([3, 3, 2, 1]), torch.tensor([8, 4, 8, 4])
MIXED = Mixed(N_SITES, N_OPERATIONS)


def draw(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def dense_pairs(mixed: torch.Tensor) -> list[torch.Tensor]:
    """Values of the pairs of each crystal as a dense batch has them, (1, n, n, ...)."""
    sizes = (N_SITES**2).tolist()
    parts = mixed[: sum(sizes)].split(sizes)
    return [part.unflatten(0, (1, n, n)) for part, n in zip(parts, N_SITES.tolist(), strict=True)]


def test_pairs_are_those_of_the_dense_batches_in_their_order() -> None:
    x, of_crystal = draw(4, 3, 2), draw(4, 5)
    sites = MIXED.sites(x)
    for make in (
        lambda layout, v, c: layout.receiver(v) - 2 * layout.sender(v),
        lambda layout, v, c: layout.at_pairs(c) + layout.receiver(v)[..., :1],
        lambda layout, v, c: layout.is_own(v)[..., None] * layout.receiver(v),
    ):
        for row, found in enumerate(dense_pairs(make(MIXED, sites, of_crystal))):
            n = int(N_SITES[row])
            expected = make(DENSE, x[row : row + 1, :n], of_crystal[row : row + 1])
            assert torch.equal(found, expected.expand_as(found))


@pytest.mark.parametrize("n_axes", [1, 2])
def test_sums_are_those_of_the_dense_batches(n_axes: int) -> None:
    pairs = draw(len(MIXED.receiver(MIXED.sites(draw(4, 3)))), 4, 2)
    moves = MIXED.padded(MIXED.over_senders(pairs, n_axes))
    for row, (found, own) in enumerate(zip(moves, dense_pairs(pairs), strict=True)):
        n = int(N_SITES[row])
        assert torch.equal(found[:n], DENSE.over_senders(own, n_axes)[0])
        assert not found[n:].any(), "padding is 0"
    x = draw(4, 3, 5)
    for row, found in enumerate(MIXED.over_sites(x)):
        assert torch.equal(found, x[row, : N_SITES[row]].sum(0))


def test_products_are_those_of_the_dense_batches() -> None:
    theta, slots = draw(4, 3, 5), draw(4, 5, 6)
    for equation, operands in (("bns,bse->bne", (theta, slots)), ("bns,bne->bse", (theta, theta))):
        found = MIXED.einsum(equation, *operands)
        for row, n in enumerate(N_SITES.tolist()):
            own = [v[row : row + 1, :n] if v is theta else v[row : row + 1] for v in operands]
            expected = torch.einsum(equation, *own)[0]
            assert torch.equal(found[row][: len(expected)], expected)


def test_each_part_has_the_operations_of_its_bucket() -> None:
    x, operations = draw(4, 3), draw(4, 8)
    seen = []

    def make(part) -> torch.Tensor:
        seen.append(part.operations(operations).shape)
        sites = part.layout.sites(part.crystals(x))
        total = part.operations(operations).sum(-1)
        return part.layout.at_pairs(total) + part.layout.sender(sites)

    found = dense_pairs(MIXED.by_operations(make))
    assert seen == [(2, 4), (2, 8)]
    for row, pairs in enumerate(found):
        n, total = int(N_SITES[row]), operations[row, : N_OPERATIONS[row]].sum()
        assert torch.equal(pairs[0], (total + x[row, None, :n]).expand(n, n))


def test_lists_are_filled_and_filling_does_not_come_back() -> None:
    """Filling repeats the last site and pair; values of its own must not replace theirs."""
    sites = MIXED.sites(draw(4, 3)[..., None])
    assert len(sites) % MULTIPLE == len(MIXED.receiver(sites)) % MULTIPLE == 0
    n = int(N_SITES.sum())
    changed = torch.cat([sites[:n], torch.full_like(sites[n:], torch.nan)])
    assert torch.equal(MIXED.padded(changed), MIXED.padded(sites))
    table = MIXED.by_sender(MIXED.sender(sites))
    rows = torch.arange(4).repeat_interleave(N_SITES)
    for site, row in enumerate(rows.tolist()):
        assert torch.equal(table[site, : N_SITES[row]], sites[:n][rows == row])
        assert not table[site, N_SITES[row] :].any()
