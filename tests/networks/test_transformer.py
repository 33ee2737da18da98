"""The transformer: attention written out, its symmetries, and that it reads the pairs."""

import numpy as np
import pytest
import torch

from symmbfn.model.config import default_config
from symmbfn.networks.transformer import N_HEADS, AttentionLayer, Transformer
from tests.models import batch, beliefs_at, fresh_model, shake, shaken_model

SIZES = (3, 1, 5, 2)
SITE, GRAPH, EDGE = 7, 6, 9


def network() -> Transformer:
    torch.manual_seed(0)
    net = Transformer(SITE, GRAPH, EDGE, width=16, depth=3, edge_width=8)
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


def test_attention_is_the_formula_site_by_site() -> None:
    torch.manual_seed(1)
    layer = AttentionLayer(16, 8)
    shake(layer, scale=0.3)
    h, edges = torch.randn(1, 4, 16), torch.randn(1, 4, 4, 8)
    is_site = torch.tensor([[True, True, True, False]])
    with torch.no_grad():
        found = layer.attention(h, edges, is_site)[0].numpy()
        q, k, v = (
            part(h)[0].view(4, N_HEADS, -1).numpy()
            for part in (layer.query, layer.key, layer.value)
        )
        bias, e = layer.bias(edges)[0].numpy(), edges[0].numpy()
        matrix = layer.edge.numpy()
    for i in range(3):
        for head in range(N_HEADS):
            score = k[:3, head] @ q[i, head] / np.sqrt(2) + bias[i, :3, head]
            weight = np.exp(score) / np.exp(score).sum()
            heard = sum(weight[j] * (v[j, head] + matrix[head] @ e[i, j]) for j in range(3))
            np.testing.assert_allclose(found[i, 2 * head : 2 * head + 2], heard, atol=1e-5)


def test_permuting_sites_permutes_states() -> None:
    net = network()
    sites, graph, edges, is_site = inputs()
    order = torch.tensor([3, 0, 4, 2, 1])
    h, vector = net(sites, graph, edges, is_site)
    permuted, same = net(sites[:, order], graph, edges[:, order][:, :, order], is_site[:, order])
    real = is_site[:, order]
    torch.testing.assert_close(permuted[real], h[:, order][real], rtol=0, atol=1e-5)
    torch.testing.assert_close(same, vector)
    assert (h[2, 0] - h[2, 1]).abs().max() > 1e-2, "sites really differ"


def test_padding_changes_nothing() -> None:
    net = network()
    sites, graph, edges, is_site = inputs()
    h, _ = net(sites, graph, edges, is_site)
    junk_sites = torch.where(is_site[..., None], sites, 1e3)
    pair = (is_site[:, :, None] & is_site[:, None])[..., None]
    with_junk, _ = net(junk_sites, graph, torch.where(pair, edges, -1e3), is_site)
    torch.testing.assert_close(with_junk[is_site], h[is_site], rtol=0, atol=1e-5)
    for row, n in enumerate(SIZES):
        one = slice(row, row + 1)
        alone, _ = net(sites[one, :n], graph[one], edges[one, :n, :n], is_site[one, :n])
        torch.testing.assert_close(alone[0], h[row, :n], rtol=0, atol=1e-5)


def test_every_site_hears_of_every_other_of_the_pairs_and_of_the_crystal() -> None:
    net = network()
    sites, graph, edges, is_site = (
        part.requires_grad_(part.is_floating_point()) for part in inputs()
    )
    h, _ = net(sites, graph, edges, is_site)
    for i in range(3):
        parts = torch.autograd.grad(
            h[0, i].square().sum(), (sites, graph, edges), retain_graph=True
        )
        to_sites, to_graph, to_edges = parts
        assert (to_sites[0, :3].abs().amax(-1) > 1e-6).all()
        assert (to_edges[0, :3, :3].abs().amax(-1) > 1e-6).all()
        assert to_graph[0].abs().max() > 1e-6
        # nothing of padding, and crystals know nothing of one another
        assert (to_sites[0, 3:] == 0).all() and (to_edges[0, :, 3:] == 0).all()
        assert all((part[1:] == 0).all() for part in parts)


def test_what_a_pair_says_is_heard_and_not_only_how_much_it_counts() -> None:
    # one site alone: its only weight is 1 whatever the bias
    net = network()
    sites, graph, edges, is_site = inputs()
    changed = edges.clone()
    changed[1, 0, 0] += 1.0
    h, other = (net(sites, graph, e, is_site)[0] for e in (edges, changed))
    assert (other - h)[1, 0].abs().max() > 1e-3


def test_a_model_on_it_learns_from_all_its_weights_and_is_as_large() -> None:
    model, crystals = shaken_model(network="transformer"), batch()
    data, beliefs, given, time = beliefs_at(model, crystals, 0.5)
    nats, cross_entropy = model.losses(data, model(beliefs, given, time), given, time)
    model.training_loss(nats, cross_entropy, given).sum().backward()
    for name, parameter in model.network.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
    full = {"width": 256, "depth": 5, "n_frequencies": 24}
    sizes = [
        sum(p.numel() for p in fresh_model(network=kind, **full).parameters())
        for kind in ("transformer", "cspnet")
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.01)


def test_in_half_precision_it_gives_nearly_the_same() -> None:
    net = network()
    sites, graph, edges, is_site = inputs()
    h, _ = net(sites, graph, edges, is_site)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, _ = net(sites, graph, edges, is_site)
    gap = (half.float() - h)[is_site].abs()
    assert gap.mean() < 0.05 and gap.max() > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "mlp"}, "network.*'mlp'"),
        ({"network": "transformer", "is_modulated": False}, "is_modulated"),
        ({"network": "transformer", "edge_width": 0}, "edge_width.*got 0 and 256"),
        ({"network": "transformer", "width": 100}, "got 96 and 100"),
    ],
)
def test_impossible_networks_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default_config((8, 26), **changes)
