"""The head that moves sites along the vectors to their neighbours."""

import torch

from symmbfn.networks.displacements import Displacements


def inputs(n: int = 4):
    generator = torch.Generator().manual_seed(0)
    h, edges = (torch.randn(s, generator=generator) for s in ((1, n, 8), (1, n, n, 5)))
    vectors = torch.randn((1, n, n, 2, 3), generator=generator)
    return h, edges, vectors, torch.ones(1, n, dtype=torch.bool)


def head(bias: float = 0.0) -> Displacements:
    torch.manual_seed(0)
    new = Displacements(8, 5, 2, features=6)
    torch.nn.init.constant_(new.amount.bias, bias)
    return new


def test_a_new_head_moves_nothing() -> None:
    assert (head()(*inputs()) == 0).all()


def test_equal_amounts_give_the_sum_of_the_unit_vectors_towards_the_images() -> None:
    h, edges, vectors, real = inputs()
    unit = vectors / vectors.norm(dim=-1, keepdim=True)
    moved = head(-0.5)(h, edges, vectors, real)
    torch.testing.assert_close(moved, -0.5 * unit.sum((2, 3)), atol=1e-3, rtol=0)


def test_padding_moves_nobody_and_images_that_are_not_there_have_no_direction() -> None:
    model = head(1.0)
    torch.nn.init.normal_(model.amount.weight)
    h, edges, vectors, real = inputs()
    real[:, 3] = False
    alone = model(h[:, :3], edges[:, :3, :3], vectors[:, :3, :3], real[:, :3])
    torch.testing.assert_close(model(h, edges, vectors, real)[:, :3], alone)
    assert (model(h, edges, torch.zeros_like(vectors), real) == 0).all()
