"""The dense network against the PyG form and its symmetries: permutation and padding."""

from itertools import product

import pytest
import torch

from symmbfn.networks.cspnet import CSPNet
from symmbfn.networks.cspnet_pyg import (
    CSPNetPyG,
    complete_edges,
    published_edges,
    with_pyg_network,
)
from tests.models import batch, beliefs_at, shake, shaken_model

SIZES = (3, 1, 5, 2)
SITE, GRAPH, EDGE = 7, 6, 9
FORMS = [
    {"edge_width": w, "edge_layers": l, "is_modulated": m}
    for w, l, m in product((0, 8), (1, 2), (True, False))
]


def network(form: dict, kind: type[CSPNet] = CSPNet) -> CSPNet:
    torch.manual_seed(0)
    net = kind(SITE, GRAPH, EDGE, width=12, depth=3, **form)
    # modulation starts at zero, where shift, scale and gate would not be seen
    shake(net, scale=0.3)
    return net.eval()


def inputs(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    n = max(SIZES)
    is_site = torch.arange(n) < torch.tensor(SIZES)[:, None]
    sites = torch.randn(len(SIZES), n, SITE, generator=generator)
    graph = torch.randn(len(SIZES), GRAPH, generator=generator)
    edges = torch.randn(len(SIZES), n, n, EDGE, generator=generator)
    return sites, graph, edges, is_site


def as_edge_list(sites, graph, edges, is_site):
    """The same crystals as one graph, pairs i = j included."""
    pair = is_site[:, :, None] & is_site[:, None]
    crystal, i, j = pair.nonzero(as_tuple=True)
    start = torch.cat([torch.zeros(1, dtype=torch.long), is_site.sum(-1).cumsum(0)])[crystal]
    edge_index = torch.stack([start + i, start + j])
    return sites[is_site], graph, edge_index, edges[pair], is_site.nonzero()[:, 0]


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_dense_and_pyg_networks_agree(form: dict) -> None:
    dense, reference = network(form), network(form, CSPNetPyG)
    reference.load_state_dict(dense.state_dict())
    sites, graph, edges, is_site = inputs()
    h, vector = dense(sites, graph, edges, is_site)
    h_ref, vector_ref = reference(*as_edge_list(sites, graph, edges, is_site))
    torch.testing.assert_close(h[is_site], h_ref, rtol=0, atol=1e-5)
    torch.testing.assert_close(vector, vector_ref, rtol=0, atol=1e-6)
    # gradients too, in the form in which both are trained
    names = dict(dense.named_parameters())
    ours = torch.autograd.grad(h[is_site].square().sum(), list(names.values()), allow_unused=True)
    theirs = torch.autograd.grad(
        h_ref.square().sum(), list(reference.parameters()), allow_unused=True
    )
    for name, a, b in zip(names, ours, theirs, strict=True):
        assert a is not None and b is not None, f"{name} takes no part"
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_the_comparison_sees_a_missing_pair() -> None:
    # the negative control: without the pairs i = j the networks differ
    dense, reference = network(FORMS[0]), network(FORMS[0], CSPNetPyG)
    sites, graph, edges, is_site = inputs()
    h, _ = dense(sites, graph, edges, is_site)
    flat, graph, edge_index, pairs, crystal = as_edge_list(sites, graph, edges, is_site)
    others = edge_index[0] != edge_index[1]
    h_ref, _ = reference(flat, graph, edge_index[:, others], pairs[others], crystal)
    assert (h[is_site] - h_ref).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
def test_permuting_sites_permutes_states(form: dict) -> None:
    dense = network(form)
    sites, graph, edges, is_site = inputs()
    order = torch.tensor([3, 0, 4, 2, 1])
    h, vector = dense(sites, graph, edges, is_site)
    permuted, same = dense(sites[:, order], graph, edges[:, order][:, :, order], is_site[:, order])
    real = is_site[:, order]
    torch.testing.assert_close(permuted[real], h[:, order][real], rtol=0, atol=1e-5)
    torch.testing.assert_close(same, vector)


@pytest.mark.parametrize("form", FORMS[:2], ids=str)
def test_padding_changes_nothing(form: dict) -> None:
    dense = network(form)
    sites, graph, edges, is_site = inputs()
    h, _ = dense(sites, graph, edges, is_site)
    junk_sites = torch.where(is_site[..., None], sites, 1e3)
    pair = (is_site[:, :, None] & is_site[:, None])[..., None]
    junk_edges = torch.where(pair, edges, -1e3)
    with_junk, _ = dense(junk_sites, graph, junk_edges, is_site)
    torch.testing.assert_close(with_junk[is_site], h[is_site], rtol=0, atol=1e-5)
    for row, n in enumerate(SIZES):
        alone, _ = dense(
            sites[row : row + 1, :n],
            graph[row : row + 1],
            edges[row : row + 1, :n, :n],
            is_site[row : row + 1, :n],
        )
        torch.testing.assert_close(alone[0], h[row, :n], rtol=0, atol=1e-5)


def test_every_site_hears_of_every_other_and_of_the_crystal() -> None:
    dense = network(FORMS[0])
    sites, graph, edges, is_site = inputs()
    for tensor, change in (
        (sites, (0, 2)),
        (graph, (0,)),
        (edges, (0, 0, 2)),
    ):
        changed = tensor.clone()
        changed[change] += 1.0
        arguments = [changed if part is tensor else part for part in (sites, graph, edges)]
        h, _ = dense(sites, graph, edges, is_site)
        other, _ = dense(*arguments, is_site)
        assert ((other - h)[0, :3].abs().amax(-1) > 1e-5).all()
        # and crystals know nothing of one another
        torch.testing.assert_close(other[1:][is_site[1:]], h[1:][is_site[1:]])


def test_both_ways_to_make_edges_give_all_pairs_of_each_crystal() -> None:
    is_site = torch.arange(max(SIZES)) < torch.tensor(SIZES)[:, None]
    expected, start = [], 0
    for n in SIZES:
        expected += [(start + i, start + j) for i in range(n) for j in range(n)]
        start += n
    for make in (complete_edges, published_edges):
        assert [tuple(edge) for edge in make(is_site).t().tolist()] == expected


@pytest.mark.parametrize("is_published", [False, True])
@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("default", {}),
        ("default", {"edge_width": 0, "edge_layers": 2, "is_modulated": False}),
        ("paper", {}),
    ],
    ids=str,
)
def test_a_model_with_the_pyg_network_is_the_same_function(
    preset: str, changes: dict, is_published: bool
) -> None:
    model = shaken_model(preset, **changes)
    twin = with_pyg_network(model, is_published=is_published)
    assert type(twin.network) is not type(model.network)
    _, beliefs, conditions, t = beliefs_at(model, batch(), 0.4)
    with torch.no_grad():
        ours, theirs = model(beliefs, conditions, t), twin(beliefs, conditions, t)
        for name, value in (ours.continuous | ours.categorical).items():
            other = (theirs.continuous | theirs.categorical)[name]
            real = model.variables[name].is_real(conditions)
            while real.ndim < value.ndim:
                real = real[..., None]
            gap = torch.where(real & value.isfinite(), value - other, 0.0)
            assert gap.abs().max() < 1e-5 * value[value.isfinite()].abs().max().clamp_min(1.0), name
        # the copy stands by itself: other weights, other function
        shake(twin.network)
        assert torch.equal(
            model(beliefs, conditions, t).continuous["coords"], ours.continuous["coords"]
        )
        changed = twin(beliefs, conditions, t).continuous["coords"]
    assert not torch.allclose(changed, ours.continuous["coords"], atol=1e-3)
