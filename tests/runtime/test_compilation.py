"""Faster forms of the same functions: they agree, and what fails or differs is not used."""

from contextlib import suppress

import pytest
import torch

from symmbfn.model.variables import Variables
from symmbfn.runtime import compilation
from symmbfn.runtime.compilation import (
    compiled,
    difference,
    leaves,
    onednn_products,
    torch_defaults,
)

CPU = torch.device("cpu")


def double(value: Variables) -> Variables:
    return Variables({k: 2 * v for k, v in value.continuous.items()}, value.categorical)


def variables(n: int = 3) -> Variables:
    return Variables({"lattice": torch.arange(float(n))}, {"letters": torch.ones(n, 2)})


def test_leaves_of_nested_dataclasses_come_in_order() -> None:
    found = leaves((variables(), None, [torch.zeros(1)]))
    assert [tuple(tensor.shape) for tensor in found] == [(3,), (3, 2), (1,)]


def test_difference_is_relative_and_sees_what_is_not_finite() -> None:
    a, b = torch.tensor([100.0, -torch.inf]), torch.tensor([101.0, -torch.inf])
    assert difference(a, b) == pytest.approx(1 / 101)
    assert difference(torch.tensor([1.0]), torch.tensor([torch.nan])) == float("inf")


def with_backend(monkeypatch: pytest.MonkeyPatch, backend) -> None:
    monkeypatch.setattr(compilation.torch, "compile", lambda function, **options: backend(function))


def test_a_wrong_compiler_is_found_out_at_the_first_call(monkeypatch, capsys) -> None:
    def off_by_a_little(function):
        def wrong(value):
            result = function(value)
            result.continuous["lattice"] = result.continuous["lattice"] + 0.1
            return result

        return wrong

    with_backend(monkeypatch, off_by_a_little)
    fast = compiled(double, CPU)
    for _ in range(2):
        assert torch.equal(fast(variables()).continuous["lattice"], torch.tensor([0.0, 2.0, 4.0]))
    (line,) = capsys.readouterr().err.splitlines()
    assert "off by" in line


@pytest.mark.parametrize(("error", "is_used"), [(0.5, True), (2.0, False), (torch.nan, False)])
def test_what_is_off_by_more_than_rounding_is_not_used(monkeypatch, capsys, error, is_used) -> None:
    """The limit lies at one part in a thousand of the largest value."""

    def off(function):
        return lambda value: function(value) + error * compilation.TOLERANCE * 8

    with_backend(monkeypatch, off)
    found = compiled(lambda value: 2 * value, CPU)(torch.tensor([1.0, 4.0]))
    assert torch.equal(found, torch.tensor([2.0, 8.0])) is not is_used
    assert bool(capsys.readouterr().err) is not is_used


def test_every_new_shape_is_checked(monkeypatch, capsys) -> None:
    def shifted(function):
        def call(value):
            result = function(value)
            if len(leaves(value)[0]) == 4:
                result.continuous["lattice"] = result.continuous["lattice"] + 1
            return result

        return call

    with_backend(monkeypatch, shifted)
    fast = compiled(double, CPU)
    fast(variables(3))
    assert not capsys.readouterr().err
    assert leaves(fast(variables(4)))[0].tolist() == [0.0, 2.0, 4.0, 6.0]
    assert "off by" in capsys.readouterr().err


def test_both_branches_of_a_choice_are_checked(monkeypatch, capsys) -> None:
    def wrong_when_true(function):
        return lambda value, choice: function(value, choice) + choice

    with_backend(monkeypatch, wrong_when_true)
    fast = compiled(lambda value, choice: value * 2, CPU)
    fast(torch.ones(3), False)
    assert not capsys.readouterr().err
    assert fast(torch.ones(3), True).tolist() == [2.0, 2.0, 2.0]
    assert "off by" in capsys.readouterr().err


def test_a_missing_compiler_costs_one_line(monkeypatch, capsys) -> None:
    def fails(function):
        def call(*_):
            raise RuntimeError("no g++ on\nthis machine")

        return call

    with_backend(monkeypatch, fails)
    fast = compiled(double, CPU)
    for _ in range(3):
        assert leaves(fast(variables()))[0].tolist() == [0.0, 2.0, 4.0]
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("RuntimeError: no g++ on this machine")


def test_out_of_memory_is_not_taken_for_a_failure_of_the_compiler(monkeypatch) -> None:
    def full(function):
        def call(*_):
            raise torch.OutOfMemoryError("full")

        return call

    with_backend(monkeypatch, full)
    with pytest.raises(torch.OutOfMemoryError):
        compiled(double, CPU)(variables())


def test_products_keep_the_digits_of_float32_and_the_setting_is_put_back() -> None:
    generator = torch.Generator().manual_seed(1)
    a, b = torch.randn(2, 300, 300, generator=generator)
    before = torch.get_float32_matmul_precision()
    with onednn_products(CPU):
        product = a @ b
    assert torch.get_float32_matmul_precision() == before
    error = (product.double() - a.double() @ b.double()).abs().max()
    assert error < 1e-5 * product.abs().max()


@pytest.mark.parametrize("ends_with", [None, RuntimeError])
def test_the_setting_is_put_back_where_it_was_changed(monkeypatch, ends_with) -> None:
    """Also after an error, and on a processor whose "medium" would not be exact."""
    monkeypatch.setattr(compilation, "_is_medium_exact", lambda: True)
    with suppress(RuntimeError), onednn_products(CPU):
        assert torch.get_float32_matmul_precision() == "medium"
        if ends_with:
            raise ends_with
    assert torch.get_float32_matmul_precision() == "highest"
    with torch_defaults(), onednn_products(CPU):
        assert torch.get_float32_matmul_precision() == "highest"


def test_where_medium_loses_digits_it_is_not_taken(monkeypatch) -> None:
    monkeypatch.setattr(compilation, "_is_medium_exact", lambda: False)
    with onednn_products(CPU):
        assert torch.get_float32_matmul_precision() == "highest"
