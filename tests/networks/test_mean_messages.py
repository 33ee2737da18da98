"""Mean messages: the pieces in the cache against the plain formula, values and gradients."""

import pytest
import torch

from symmbfn.networks import mean_messages as module
from symmbfn.networks.mean_messages import _CachedMessages, mean_messages


def inputs(dtype: torch.dtype = torch.float64, n_sites: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    b, n, h, e = 5, n_sites, 4, 6
    shapes = [(b, n, h), (b, n, h), (b, n, n, e), (h, e)]
    values = [torch.randn(shape, generator=generator, dtype=dtype) for shape in shapes]
    is_site = torch.arange(n) < torch.tensor([n, 1, n - 1, n, 1])[:, None]
    return [*values, (is_site / is_site.sum(-1, keepdim=True)).to(dtype)]


def plain(receiver, sender, edges, matrix, weight) -> torch.Tensor:
    m = receiver[:, :, None] + sender[:, None] + edges @ matrix.T
    return (m * torch.sigmoid(m) * weight[:, None, :, None]).sum(2)


@pytest.mark.parametrize("cached", [1, 80, 10**6])
def test_pieces_equal_the_formula_whatever_fits_the_cache(cached: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "CACHED", cached)
    values = inputs()
    torch.testing.assert_close(mean_messages(*values), plain(*values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("cached", [1, 80, 10**6])
def test_gradients_are_those_of_finite_differences(cached: int, monkeypatch) -> None:
    monkeypatch.setattr(module, "CACHED", cached)
    values = inputs()
    for value in values[:4]:
        value.requires_grad_()
    assert torch.autograd.gradcheck(_CachedMessages.apply, values)


def test_under_autocast_pieces_and_formula_differ_by_its_rounding_only() -> None:
    values = inputs(torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = mean_messages(*[v.bfloat16() for v in values[:2]], *values[2:])
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), plain(*values), rtol=0, atol=0.05)


def test_nothing_of_the_size_of_all_pairs_is_kept_for_the_gradient() -> None:
    values = inputs(torch.float32)
    for value in values[:4]:
        value.requires_grad_()
    kept: list[int] = []
    hooks = torch.autograd.graph.saved_tensors_hooks(
        lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor
    )
    with hooks:
        mean_messages(*values)
    assert max(kept) == values[2].numel()  # the inputs


def test_under_autocast_many_pieces_round_the_gradient_no_more_than_one(monkeypatch) -> None:
    generator = torch.Generator().manual_seed(1)
    shapes = [(400, 3, 4), (400, 3, 4), (400, 3, 3, 6), (4, 6)]
    values = [torch.randn(shape, generator=generator) for shape in shapes]
    weight = torch.full((400, 3), 1 / 3)

    def gradient(function, values: list[torch.Tensor]) -> torch.Tensor:
        matrix = values[3].clone().requires_grad_()
        result = function(*values[:3], matrix, weight.to(values[0]))
        return torch.autograd.grad(result.sum(), matrix)[0].double()

    exact = gradient(plain, [value.double() for value in values])
    errors = []
    for cached in (1, 10**9):  # one crystal at a time, all at once
        monkeypatch.setattr(module, "CACHED", cached)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = gradient(mean_messages, [*[v.bfloat16() for v in values[:2]], *values[2:]])
        errors.append(float((found - exact).norm() / exact.norm()))
    assert errors[0] < 1.5 * errors[1] + 2e-3
