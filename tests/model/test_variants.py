"""Switches of the model that ablations turn: what each changes, and that it changes that only."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from symmbfn.crystals.elements import MENDELEEV_NUMBER
from symmbfn.crystals.symmetry import positions_of, symmetry_tables
from symmbfn.generation.final_estimates import decode
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.checkpoints import config_from_dict, read_config, weights_folder
from symmbfn.model.config import default_config
from symmbfn.model.symmbfn import Variables
from symmbfn.networks.embeddings import N_POOLED
from symmbfn.networks.groups import axis_classes
from tests.models import (
    batch,
    beliefs_at,
    elements,
    fresh_model,
    perfect_predictor,
    shaken_model,
    units,
)

ROWS = (13, 14, 15)
AXES = {
    "symmetry": "axes",
    "beta1_symmetry": 2.5,
    "weights": {"coords": 1.0, "lattice": 0.5, "elements": 2.0, "pointers": 2.0, "axes": 10.0},
}


def one_hot(classes: torch.Tensor, n_classes: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(classes, n_classes).float()


# --- the accuracy of classes: beta1 t^p ----------------------------------------------------------


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_classes_are_told_and_weighed_as_the_power_says(power: float) -> None:
    model, crystals = shaken_model(categorical_power=power), batch()
    t = torch.linspace(1e-3, 1, len(crystals))
    data, beliefs, given, time = beliefs_at(model, crystals, t)
    estimates = model(beliefs, given, time)
    nats, _ = model.losses(data, estimates, given, time)
    k, beta1 = 27, model.config.beta1_symmetry
    p, e = estimates.categorical["letters"].exp(), one_hot(data.categorical["letters"], k)
    brier = ((e - p).square().sum(-1) * given.is_site).sum(-1)
    # (K / 2) (d beta / dt) ||e - p||^2: at power 1 the same weight at all times
    rate = {1.0: torch.ones(()), 2.0: 2 * t}[power] * beta1
    torch.testing.assert_close(nats["letters"], k / 2 * rate * brier, rtol=1e-4, atol=1e-5)


def test_the_sampler_follows_the_accuracies_of_the_model() -> None:
    model = fresh_model(categorical_power=1.0)
    data, given = model.encode(batch()[torch.full((300,), 15)])
    perfect = perfect_predictor(model, data)
    seen: list[tuple[Variables, float]] = []

    def watched(beliefs, given, t, previous):
        seen.append((beliefs, float(t[0])))
        return perfect(beliefs, given, t, previous)

    sampler = preset_sampler(model, n_steps=8)
    sample(model, given, sampler, seed=0, index=torch.arange(300), predict=watched)
    beta1 = {
        "elements": (len(elements()), model.config.beta1_elements),
        "pointers": (8, model.config.beta1_pointers),
        "letters": (27, model.config.beta1_symmetry),
    }
    for beliefs, t in seen[1:]:
        for name, (k, most) in beta1.items():
            e = one_hot(data.categorical[name], k)
            z, beta = beliefs.categorical[name], most * t
            score = (z - beta * (k * e - 1)) / np.sqrt(k * beta)
            real = given.is_slot if name == "elements" else given.is_site
            assert score[real].std().item() == pytest.approx(1, abs=0.12)
            assert score[real].mean().item() == pytest.approx(0, abs=0.12)


def test_a_rate_without_bound_is_refused() -> None:
    with pytest.raises(ValueError, match=r"power.*0\.5"):
        default_config((8, 26), categorical_power=0.5)


# --- the number of elements, with sites ----------------------------------------------------------


@pytest.mark.parametrize("is_told", [True, False])
def test_the_number_of_elements_is_read_where_it_is_told(is_told: bool) -> None:
    model = shaken_model(elements_as="sites", is_told_n_elements=is_told)
    _, beliefs, given, time = beliefs_at(model, batch(*ROWS), 0.5)
    other = model(beliefs, replace(given, n_elements=given.n_elements + 1), time)
    first = model(beliefs, given, time)
    for kind in ("continuous", "categorical"):
        for name, value in getattr(first, kind).items():
            assert torch.equal(value, getattr(other, kind)[name]) != is_told, name
    # it is no new input: weights of one model fit the other
    plain = fresh_model(elements_as="sites")
    plain.load_state_dict(model.state_dict())


def test_with_slots_the_number_of_elements_cannot_be_withheld() -> None:
    with pytest.raises(ValueError, match="is_told_n_elements.*'slots'"):
        default_config((8, 26), is_told_n_elements=True)


# --- axes that the group has ---------------------------------------------------------------------


def test_the_classes_of_an_axis_are_those_of_the_positions() -> None:
    table, encoding = axis_classes().numpy(), symmetry_tables().encoding
    for number in (1, 2, 14, 62, 166, 225, 230):
        own = encoding[positions_of(number)]
        for axis in range(15):
            assert set(np.flatnonzero(table[number - 1, axis])) == set(own[:, axis])
    # 1.73 of 13 on average, one alone for 48 % of the axes
    count = table.sum(-1)
    assert count.mean() == pytest.approx(1.73, abs=0.005)
    assert (count == 1).mean() == pytest.approx(0.48, abs=0.005)


def test_beliefs_and_estimates_of_masked_axes_stay_in_the_group() -> None:
    model = shaken_model(scale=0.3, has_axis_mask=True, **AXES)
    plain = shaken_model(scale=0.3, **AXES)
    assert model.state_dict().keys() == plain.state_dict().keys()
    crystals = batch()
    allowed = axis_classes()[crystals.space_group_number - 1][:, None]
    read = []
    model.axes.read.register_forward_hook(lambda module, inputs, _: read.append(inputs[0]))
    for t in (1e-3, 0.5, 1.0):
        data, beliefs, given, time = beliefs_at(model, crystals, t)
        p = model(beliefs, given, time).categorical["axes"].exp()
        theta = read[-1].unflatten(-1, (15, 13))
        assert p.isfinite().all() and theta.isfinite().all()
        assert (p.masked_select(~allowed.expand_as(p)) == 0).all()
        assert (theta.masked_select(~allowed.expand_as(theta)) == 0).all()
        torch.testing.assert_close(p.sum(-1), torch.ones(p.shape[:-1]))
        total = theta.sum(-1)[given.is_site]
        torch.testing.assert_close(total, torch.ones_like(total))
        assert (p > 0)[allowed.expand_as(p)].all()
    # the negative control
    _, beliefs, given, time = beliefs_at(plain, crystals, 0.5)
    p = plain(beliefs, given, time).categorical["axes"].exp()
    assert p.masked_select(~allowed.expand_as(p)).max() > 0.05


def test_masked_axes_know_what_the_group_decides_and_their_prior_is_even() -> None:
    model, crystals = fresh_model(has_axis_mask=True, **AXES), batch()
    data, beliefs, given, time = beliefs_at(model, crystals, 1e-3)
    _, cross_entropy = model.losses(data, model(beliefs, given, time), given, time)
    count = axis_classes()[crystals.space_group_number - 1].sum(-1)
    # at t = 0 a fresh model knows nothing but the mask: ln of the number of classes of each axis
    expected = count.float().log().mean(-1)
    torch.testing.assert_close(cross_entropy["axes"], expected, rtol=0, atol=0.15)
    noise = model.each(lambda v: torch.zeros(v.shape(given)))
    z = model.prior(given, 0.5, noise).categorical["axes"]
    allowed = axis_classes()[crystals.space_group_number - 1][:, None].expand_as(z)
    beta, share = 2.5 * 0.25, 1 / count[:, None, :, None].expand_as(z)
    torch.testing.assert_close(z[allowed], (beta * (13 * share - 1))[allowed])
    assert (z[~allowed] == -beta).all()


def test_sampled_axes_are_the_groups_and_decode_to_letters() -> None:
    model = shaken_model(scale=0.3, has_axis_mask=True, **AXES)
    sampler = preset_sampler(model, n_steps=4)
    _, given = model.encode(batch())
    index = torch.arange(len(batch()))
    final = sample(model, given, sampler, seed=0, index=index)
    axes = final.categorical["axes"].argmax(-1)
    allowed = axis_classes()[given.space_group_number - 1]
    assert allowed[:, None].expand(-1, axes.shape[1], -1, -1).gather(-1, axes[..., None]).all()
    crystals = decode(model, final, given, sampler, seed=0, index=index)
    assert {crystal.space_group_number for crystal in crystals} == set(
        given.space_group_number.tolist()
    )
    perfect = perfect_predictor(model, model.encode(batch())[0])
    final = sample(model, given, sampler, seed=0, index=index, predict=perfect)
    for unit, crystal in zip(
        units(), decode(model, final, given, sampler, seed=0, index=index), strict=True
    ):
        assert (crystal.unit.wyckoff_positions == unit.wyckoff_positions).all()


def test_a_mask_needs_axes() -> None:
    with pytest.raises(ValueError, match="has_axis_mask.*'letters'"):
        default_config((8, 26), has_axis_mask=True)


# --- the two halves of categorical preconditioning ----------------------------------------------

PARTS = [(True, None), (False, None), (True, False), (False, True), (True, True), (False, False)]


@pytest.mark.parametrize(("is_preconditioned", "has_bounded_state"), PARTS)
def test_each_half_of_preconditioning_can_be_left_out(is_preconditioned, has_bounded_state) -> None:
    settings = {"is_preconditioned": is_preconditioned, "has_bounded_state": has_bounded_state}
    is_read = is_preconditioned if has_bounded_state is None else has_bounded_state
    crystals = batch(*ROWS)
    # the output: a fresh model adds the beliefs, or says the frequencies whatever they are
    model = fresh_model(**settings)
    _, beliefs, given, time = beliefs_at(model, crystals, 0.5)
    with torch.no_grad():
        log_p = model(beliefs, given, time).categorical["pointers"]
    expected = beliefs.categorical["pointers"] if is_preconditioned else torch.zeros_like(log_p)
    expected = expected.masked_fill(~given.is_slot[:, None], -torch.inf).log_softmax(-1)
    torch.testing.assert_close(log_p, expected)
    # the input: what the slots read beside probabilities
    model = shaken_model(**settings)
    seen = []
    model.slots.read_slot.register_forward_hook(lambda module, inputs, _: seen.append(inputs[0]))
    first = model(beliefs, given, time)
    model(beliefs, given, time, first)
    k = len(elements())
    z, beta = beliefs.categorical["elements"], model.config.beta1_elements * 0.25
    state = z / np.sqrt(0.05 + k * beta) * is_read
    earlier = first.categorical["elements"].exp() * is_read
    torch.testing.assert_close(seen[0][..., k : 2 * k], state)
    torch.testing.assert_close(seen[0][..., 2 * k : 3 * k], torch.zeros_like(state))
    torch.testing.assert_close(seen[1][..., 2 * k : 3 * k], earlier)


def test_a_file_that_does_not_know_the_halves_means_both() -> None:
    for name in ("default", "paper"):
        values = read_config(weights_folder(name))["model"]
        values.pop("has_bounded_state", None)
        config = config_from_dict(values)
        assert config.is_state_read == config.is_preconditioned == (name == "default")


# --- what images count ---------------------------------------------------------------------------


def pairs_of(model, crystals, t: float) -> tuple[torch.Tensor, Variables]:
    """Features of the pairs that the network is fed, and the beliefs that they are made of."""
    _, beliefs, given, time = beliefs_at(model, crystals, t)
    seen = []
    hook = model.network.compress.register_forward_hook(lambda m, inputs, _: seen.append(inputs[0]))
    with torch.no_grad():
        model(beliefs, given, time)
    hook.remove()
    return seen[0], beliefs


def test_pooling_by_species_adds_the_sums_times_the_neighbours_place_on_the_scale() -> None:
    crystals = batch(*ROWS)
    plain, _ = pairs_of(shaken_model(), crystals, 1.0)
    found, beliefs = pairs_of(shaken_model(image_pooling="species"), crystals, 1.0)
    assert torch.equal(found[..., :-N_POOLED], plain)
    # at t = 1 the beliefs are the crystals
    place = torch.tensor(MENDELEEV_NUMBER).float()[crystals.atomic_numbers] / 50 - 1
    expected = plain[..., -N_POOLED:] * place[:, None, :, None]
    pair = crystals.is_site[:, :, None] & crystals.is_site[:, None]
    torch.testing.assert_close(found[..., -N_POOLED:][pair], expected[pair], rtol=0, atol=2e-2)
    assert place.min() < -0.2 and place.max() > 0.5


def test_pooling_by_stabiliser_divides_by_the_operations_that_keep_the_neighbour() -> None:
    crystals = batch()
    plain, _ = pairs_of(shaken_model(), crystals, 1.0)
    found, _ = pairs_of(shaken_model(image_pooling="stabiliser"), crystals, 1.0)
    assert torch.equal(found[..., :-N_POOLED], plain[..., :-N_POOLED])
    tables = symmetry_tables()
    for row, unit in enumerate(units()):
        own = positions_of(unit.space_group_number)
        general = tables.multiplicity[own].max()
        for j, w in enumerate(unit.wyckoff_positions):
            share = float(tables.multiplicity[own][w] / general)
            expected = (plain[row, : len(unit), j, -N_POOLED:].expm1() * share).log1p()
            torch.testing.assert_close(
                found[row, : len(unit), j, -N_POOLED:], expected, rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_pooling": "none"}, "image_pooling.*'none'"),
        ({"image_pooling": "species", "has_images": False}, "'species'.*has_images"),
        ({"image_pooling": "stabiliser", **AXES}, "'stabiliser'.*'axes'"),
    ],
)
def test_impossible_poolings_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        default_config((8, 26), **changes)
