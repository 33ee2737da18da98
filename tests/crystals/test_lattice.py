"""Closed-form properties of the lattice coefficients k (book, method-lattice)."""

import math

import numpy as np
import pytest
import torch
from pymatgen.core import Lattice
from scipy.linalg import logm

from symmbfn.crystals.lattice import (
    constrain_k,
    is_plausible_lattice,
    k_to_metric,
    k_to_parameters,
    lattice_constraints,
    metric_to_k,
    parameters_to_matrix,
    parameters_to_metric,
)

FAMILIES = {
    "triclinic": (2, "abcxyz"),
    "monoclinic": (14, "abc=y="),
    "orthorhombic": (62, "abc==="),
    "tetragonal": (139, "aac==="),
    "hexagonal": (194, "aac==h"),
    "cubic": (225, "aaa==="),
}


def random_cells(family: str, n: int = 1000) -> tuple[torch.Tensor, int]:
    """Cells of a family: lengths 2 to 20 angstrom, angles 60 to 118 degrees."""
    number, code = FAMILIES[family]
    generator = torch.Generator().manual_seed(1)
    lengths = 2 + 18 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
    angles = 60 + 58 * torch.rand(n, 3, generator=generator, dtype=torch.float64)
    values = {"a": lengths[:, 0], "b": lengths[:, 1], "c": lengths[:, 2]}
    values |= {"x": angles[:, 0], "y": angles[:, 1], "z": angles[:, 2]}
    values |= {"=": torch.full_like(angles[:, 0], 90), "h": torch.full_like(angles[:, 0], 120)}
    cells = torch.stack([values[letter] for letter in code], dim=-1)
    cosines = torch.deg2rad(cells[:, 3:]).cos()
    is_real = 1 - (cosines**2).sum(-1) + 2 * cosines.prod(-1) > 0.01
    return cells[is_real], number


@pytest.mark.parametrize("family", FAMILIES)
def test_k_inverts_exactly(family: str) -> None:
    cells, number = random_cells(family)
    k = metric_to_k(parameters_to_metric(cells))
    assert len(cells) > 500
    torch.testing.assert_close(k_to_parameters(k, number), cells, rtol=0, atol=1e-6)
    numbers = torch.full((len(cells),), number)
    torch.testing.assert_close(k_to_parameters(k, numbers), cells, rtol=0, atol=1e-6)


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_components_are_those_of_the_table(family: str) -> None:
    cells, number = random_cells(family)
    k = metric_to_k(parameters_to_metric(cells))
    free, fixed = lattice_constraints(torch.tensor([number]))
    torch.testing.assert_close(
        torch.where(free, 0, k), torch.where(free, 0, fixed).expand_as(k), rtol=0, atol=1e-9
    )
    torch.testing.assert_close(constrain_k(k, number), k, rtol=0, atol=1e-9)
    assert (k[:, free[0]].std(dim=0) > 0.01).all()  # and the free ones are not constant


def test_k_against_a_matrix_logarithm_of_scipy() -> None:
    cells, _ = random_cells("triclinic", 20)
    for metric, k in zip(*(f(cells) for f in (parameters_to_metric, _k)), strict=True):
        s = np.real(logm(metric.numpy())) / 2
        expected = [
            s[0, 1], s[0, 2], s[1, 2],
            (s[0, 0] - s[1, 1]) / 2, (s[0, 0] + s[1, 1] - 2 * s[2, 2]) / 6, np.trace(s) / 3,
        ]  # fmt: skip
        np.testing.assert_allclose(k.numpy(), expected, atol=1e-10)


def _k(cells: torch.Tensor) -> torch.Tensor:
    return metric_to_k(parameters_to_metric(cells))


def test_hexagonal_constant() -> None:
    k = metric_to_k(parameters_to_metric(torch.tensor([[3.0, 3.0, 5.0, 90.0, 90.0, 120.0]])))
    assert k[0, 0].item() == pytest.approx(-math.log(3) / 4, abs=1e-12)


def test_k_is_invariant_under_rotation_and_k6_is_the_volume() -> None:
    cells, _ = random_cells("triclinic")
    matrix = parameters_to_matrix(cells)
    generator = torch.Generator().manual_seed(2)
    q, _ = torch.linalg.qr(torch.randn(len(cells), 3, 3, generator=generator).double())
    rotated = matrix @ q
    k = metric_to_k(rotated @ rotated.mT)
    torch.testing.assert_close(k, metric_to_k(matrix @ matrix.mT), rtol=0, atol=1e-9)
    torch.testing.assert_close((3 * k[:, 5]).exp(), torch.linalg.det(matrix).abs())


def test_any_six_numbers_are_a_lattice() -> None:
    k = torch.randn(1000, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    metric = k_to_metric(k)
    assert (torch.linalg.eigvalsh(metric) > 0).all()
    torch.testing.assert_close(metric_to_k(metric), k)


def test_matrix_is_oriented_as_in_pymatgen() -> None:
    for family in FAMILIES:
        cells, _ = random_cells(family, 20)
        theirs = np.stack([Lattice.from_parameters(*cell).matrix for cell in cells.tolist()])
        np.testing.assert_allclose(parameters_to_matrix(cells).numpy(), theirs, atol=1e-10)


def test_family_values_are_exact_even_from_single_precision_noise() -> None:
    generator = torch.Generator().manual_seed(4)
    k = torch.randn(50, 6, generator=generator) * 0.1 + torch.tensor([0, 0, 0, 0, 0, 1.8])
    a, b, c, alpha, beta, gamma = k_to_parameters(k, 225).unbind(-1)
    assert (a == b).all() and (b == c).all()
    assert (alpha == 90).all() and (beta == 90).all() and (gamma == 90).all()
    a, b, _, alpha, _, gamma = k_to_parameters(k, 166).unbind(-1)
    assert (a == b).all() and (alpha == 90).all() and (gamma == 120).all()
    _, _, _, alpha, beta, gamma = k_to_parameters(k, 14).unbind(-1)
    assert (alpha == 90).all() and (gamma == 90).all() and (beta != 90).any()


def test_plausible_lattices() -> None:
    good = metric_to_k(parameters_to_metric(torch.tensor([4.0, 4.0, 4.0, 90.0, 90.0, 90.0])))
    assert is_plausible_lattice(good, 225)
    bad = good.repeat(5, 1)
    bad[0, 5] = float("nan")
    bad[1, 5] = 1e9
    bad[2, 5] = -5
    bad[3, 4] = 1.5
    bad[4, :] = float("inf")
    assert not is_plausible_lattice(bad, torch.full((5,), 62)).any()
    flat = metric_to_k(parameters_to_metric(torch.tensor([5.0, 5.0, 5.0, 90.0, 170.0, 90.0])))
    assert not is_plausible_lattice(flat, 14)
    assert is_plausible_lattice(flat, 62)  # where beta is fixed it does not count


def test_every_group_has_the_freedom_of_its_family() -> None:
    free, fixed = lattice_constraints(torch.arange(1, 231))
    ends = {2: 6, 15: 4, 74: 3, 142: 2, 194: 2, 230: 1}
    expected = [next(n for end, n in ends.items() if g <= end) for g in range(1, 231)]
    assert free.sum(-1).tolist() == expected
    assert (fixed[free] == 0).all()
