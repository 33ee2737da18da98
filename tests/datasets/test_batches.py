"""Every crystal once an epoch, like with like, the same order after a resume."""

import pytest
import torch

from symmbfn.datasets.batches import (
    OPERATION_EDGES,
    BucketedBatches,
    bucket_of,
    edge_of,
    n_operations,
)


def make(seed: int = 0, n: int = 1000, **options: int) -> BucketedBatches:
    generator = torch.Generator().manual_seed(7)
    n_sites = torch.randint(1, 21, (n,), generator=generator)
    groups = torch.randint(1, 231, (n,), generator=generator)
    options = {"batch_size": 32, **options}
    return BucketedBatches(
        n_sites, groups, generator=torch.Generator().manual_seed(seed), **options
    )


def test_every_crystal_comes_once_an_epoch() -> None:
    batches = make()
    for _ in range(3):
        epoch = [next(batches) for _ in range(len(batches))]
        assert torch.equal(torch.cat(epoch).sort().values, torch.arange(1000))
    assert batches.epoch == 2


def test_epochs_and_seeds_differ_in_order() -> None:
    batches = make()
    first, second = (torch.cat([next(batches) for _ in range(len(batches))]) for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(first, torch.cat(list(make(seed=1)._plan)))


def test_resume_continues_the_same_order() -> None:
    batches = make()
    for _ in range(len(batches) + 5):
        next(batches)
    state = batches.state_dict()
    expected = [next(batches) for _ in range(2 * len(batches))]
    resumed = make(seed=99)
    resumed.load_state_dict(state)
    assert (resumed.epoch, resumed.position) == (1, 5)
    for batch in expected:
        assert torch.equal(next(resumed), batch)


def test_batches_share_their_number_of_operations() -> None:
    batches = make()
    for _ in range(len(batches)):
        assert len(bucket_of(batches.n_operations[next(batches)], OPERATION_EDGES).unique()) == 1


def test_batches_are_full_but_one_for_each_number_of_operations() -> None:
    batches = make()
    sizes = [len(next(batches)) for _ in range(len(batches))]
    assert max(sizes) == 32
    assert sum(size < 32 for size in sizes) <= len(OPERATION_EDGES)


def test_buckets_pad_less_than_chance() -> None:
    def efficiency(plan: list[torch.Tensor], sizes: torch.Tensor) -> float:
        padded = sum(len(batch) * int(sizes[batch].max()) ** 2 for batch in plan)
        return float((sizes**2).sum()) / padded

    batches = make(n=20000)
    bucketed = [next(batches) for _ in range(len(batches))]
    random = list(torch.randperm(20000).split(32))
    assert efficiency(bucketed, batches.n_sites) > 0.8
    assert efficiency(random, batches.n_sites) < 0.5


def test_few_batches_are_small() -> None:
    batches = make(n=20000)
    small = sum(len(next(batches)) < 32 for _ in range(len(batches)))
    assert small <= len(OPERATION_EDGES)


def test_numbers_of_operations_are_those_of_the_tables() -> None:
    # P1 has one, Pnma eight, F-centred cubic m-3m 48 times 4
    assert n_operations(torch.tensor([1, 62, 225])).tolist() == [1, 8, 192]


def test_edges_are_upper_bounds() -> None:
    sizes, edges = torch.tensor([1, 2, 3, 20, 500]), (2, 4, 8, 20)
    assert bucket_of(sizes, edges).tolist() == [0, 0, 1, 3, 4]
    assert edge_of(sizes, edges).tolist() == [2, 2, 4, 20, 500]


def test_nothing_to_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="0"):
        make(batch_size=0)
    with pytest.raises(ValueError, match="0"):
        make(n=0)
