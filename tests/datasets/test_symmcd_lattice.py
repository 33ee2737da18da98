"""The lattice coefficients of SymmCD: the logarithm it takes, and the cells that it distorts."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import expm, logm

from symmbfn.crystals.lattice import (
    k_to_parameters,
    metric_to_k,
    parameters_to_matrix,
    parameters_to_metric,
)
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.datasets.encoding import encode_dataset
from symmbfn.datasets.symmcd_lattice import logarithm, with_symmcd_lattice
from tests.models import dataset

BASIS = np.array(
    [
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
        [[0, 0, 1], [0, 0, 0], [1, 0, 0]],
        [[0, 0, 0], [0, 0, 1], [0, 1, 0]],
        np.diag([1, -1, 0]),
        np.diag([1, 1, -2]),
        np.eye(3),
    ]
)


def cells(n: int, angles: tuple[float, float], seed: int = 0) -> torch.Tensor:
    """Parameters of random cells that exist."""
    rng = np.random.default_rng(seed)
    lengths = rng.uniform(2, 30, (20 * n, 3))
    found = torch.tensor(np.hstack([lengths, rng.uniform(*angles, (20 * n, 3))]))
    exists = torch.linalg.eigvalsh(parameters_to_metric(found))[:, 0] > 0.5
    return found[exists][:n]


def test_the_logarithm_is_that_of_scipy_and_of_the_exponential() -> None:
    matrices = parameters_to_matrix(cells(100, (55, 125)))
    for matrix, found in zip(matrices.numpy(), logarithm(matrices).numpy(), strict=True):
        np.testing.assert_allclose(found, logm(matrix), atol=1e-10)
        np.testing.assert_allclose(expm(found), matrix, atol=1e-8)
        assert np.abs(found - found.T).max() > 1e-2
    # equal eigenvalues without a basis of eigenvectors
    block = np.array([[3.0, 1.0, 0.0], [0.0, 3.0, 1.0], [0.0, 0.0, 3.0]])
    expected = np.log(3) * np.eye(3) + np.array([[0, 1 / 3, -1 / 18], [0, 0, 1 / 3], [0, 0, 0]])
    np.testing.assert_allclose(logarithm(torch.tensor(block)).numpy(), expected, atol=1e-14)


def test_coefficients_are_the_products_with_the_basis() -> None:
    before = with_parameters(1, cells(50, (70, 110)))
    after = with_symmcd_lattice(before)
    for k, matrix in zip(after.lattice_k, parameters_to_matrix(cells(50, (70, 110))), strict=True):
        products = np.einsum("ab,iab->i", logm(matrix.numpy()), BASIS)
        squares = np.einsum("iab,iab->i", BASIS, BASIS)
        np.testing.assert_allclose(k.numpy(), products / squares, atol=1e-8)
    assert after.settings["lattice"] == "symmcd"
    assert after.digest != before.digest
    with pytest.raises(ValueError, match="already"):
        with_symmcd_lattice(after)


def with_parameters(number: int, parameters: torch.Tensor) -> EncodedDataset:
    """Empty crystals of one group with given cells."""
    n = len(parameters)
    return replace(
        dataset(),
        space_group_number=torch.full((n,), number, dtype=torch.int16),
        lattice_k=metric_to_k(parameters_to_metric(parameters)),
        properties=torch.zeros(n, 0),
    )


def errors(data: EncodedDataset, is_chosen: Callable) -> tuple[np.ndarray, np.ndarray]:
    """Relative errors of lengths and errors of free angles, of each cell of some groups."""
    rows = is_chosen(data.space_group_number)
    groups = data.space_group_number[rows]
    true = k_to_parameters(data.lattice_k[rows], groups)
    found = k_to_parameters(with_symmcd_lattice(data).lattice_k[rows], groups)
    lengths = (found / true - 1).abs()[:, :3].numpy()
    angles = (found - true).abs()[:, 3:].numpy()
    return lengths, angles


def test_published_size_of_the_distortion(data_folder: Path) -> None:
    data = encode_dataset("mp_20_mini", split="train", workers=1)
    lengths, angles = errors(data, lambda g: (g > 2) & (g < 16))
    assert len(lengths) > 50
    # from another sample: the worst edge of a cell, and beta
    assert lengths.max(1).mean() == pytest.approx(0.064, abs=0.01)
    assert angles.max(1).mean() == pytest.approx(3.6, abs=0.8)
    assert 0.15 < lengths.max() < 0.3 and 10 < angles.max() < 25
    assert lengths[:, 1].max() < 1e-6, "b is perpendicular to the others"
    # orthorhombic and higher: what the group fixes overwrites all that is wrong
    lengths, angles = errors(data, lambda g: g > 15)
    assert max(lengths.max(), angles.max()) < 1e-6
