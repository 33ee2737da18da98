"""What a model is conditioned on: parts of a crystal, and properties."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from symmbfn.conditions.training_draw import (
    PARTS,
    ConditionRates,
    draw_conditions,
    draw_parts,
    draw_properties,
)
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.statistics import property_moments
from symmbfn.model.variables import FixedParts
from symmbfn.networks.properties import PropertyTokens, standard_values, zero_scales
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.fit import build_model
from symmbfn.training.trainer import Trainer
from tests.models import batch, beliefs_at, dataset, shaken_model, sites, slots

GAP, ENERGY, HULL = "band_gap", "formation_energy_per_atom", "e_above_hull"
RATES = ConditionRates()


def everywhere(model, data, conditions) -> FixedParts:
    """Every crystal is a condition as a whole."""
    where = {name: v.places(conditions) for name, v in model.variables.items()}
    return FixedParts(data, where)


def with_parts(model, crystals, t=0.3, seed=0):
    """Beliefs at time t, and conditions drawn as in training."""
    data, beliefs, conditions, time = beliefs_at(model, crystals, t)
    generator = torch.Generator().manual_seed(seed)
    fixed, composition = draw_parts(model, data, conditions, RATES, generator)
    return data, beliefs, replace(conditions, fixed=fixed, composition=composition), time


@pytest.mark.parametrize("composition", [slots(8), sites()], ids=["slots", "sites"])
def test_conditions_come_out_as_they_are_and_cost_nothing(
    composition,
) -> None:
    model = shaken_model(composition=composition)
    data, beliefs, conditions, t = with_parts(model, dataset(8).batch(torch.arange(128)))
    estimates = model(beliefs, conditions, t)
    n_given = 0
    for name, variable in model.variables.items():
        where = variable.where_fixed(conditions)
        if where is None:
            continue
        n_given += int(where.sum())
        value, truth = estimates[name], data[name]
        if name in model.classes:
            assert torch.equal(value.argmax(-1)[where], truth[where])
            assert (value.exp()[where].max(-1).values == 1).all()
        else:
            assert torch.equal(value[where], truth[where])
    assert n_given > 100
    all_given = replace(conditions, fixed=everywhere(model, data, conditions))
    nats, cross_entropy = model.losses(data, model(beliefs, all_given, t), all_given, t)
    for value in (*nats.values(), *cross_entropy.values()):
        assert (value == 0).all()


def test_beliefs_about_conditions_are_not_read() -> None:
    model = shaken_model()
    crystals = dataset(8).batch(torch.arange(128))
    _, beliefs, conditions, t = with_parts(model, crystals)
    other = beliefs_at(model, crystals, 0.3, seed=9)[1]
    # noise where there is a condition
    mixed = model.each(lambda v: v.replaced(beliefs[v.name], other[v.name], conditions))
    for name in model.variables:
        assert torch.equal(
            model(mixed, conditions, t)[name], model(beliefs, conditions, t)[name]
        ), name


def test_a_condition_changes_the_estimates_of_the_rest() -> None:
    model = shaken_model()
    data, beliefs, conditions, t = beliefs_at(model, batch(), 0.3)
    lattice = replace(conditions, fixed=FixedParts(data, {"lattice": conditions.lattice_free}))
    free, fixed = (model(beliefs, g, t)["coords"] for g in (conditions, lattice))
    assert not torch.allclose(free, fixed, atol=1e-4)


def test_a_crystal_that_is_a_condition_as_a_whole_comes_out_of_the_sampler() -> None:
    model = shaken_model()
    data, conditions = model.encode(batch())
    conditions = replace(conditions, fixed=everywhere(model, data, conditions))
    index = torch.arange(len(conditions.is_site))
    sampler = preset_sampler(model, n_steps=3)
    found = sample(model, conditions, sampler, seed=0, index=index)
    assert torch.equal(found["lattice"], data["lattice"])
    torch.testing.assert_close(found["coords"], data["coords"], atol=1e-5, rtol=0)
    for name, variable in model.classes.items():
        real = variable.is_real(conditions)
        assert torch.equal(found[name].argmax(-1)[real], data[name][real])


def only(**rates: float) -> ConditionRates:
    """These rates, and 0 for all others."""
    return ConditionRates(**{**dict.fromkeys(vars(RATES), 0.0), **rates})


NOTHING = only(no_part=1.0, template=1.0, **dict.fromkeys(PARTS, 1.0))
TEMPLATE = {"elements", "pointers", "letters"}


@pytest.mark.parametrize("composition", [slots(8), sites()], ids=["slots", "sites"])
@pytest.mark.parametrize(
    ("rates", "whole"),
    [
        (only(elements=1.0), {"elements"}),
        (only(composition=1.0), {"elements"}),
        (only(pointers=1.0), {"elements", "pointers"}),
        (only(letters=1.0), {"letters"}),
        (only(lattice=1.0), {"lattice"}),
        (NOTHING, set()),
    ],
    ids=["elements", "composition", "pointers", "letters", "lattice", "no part"],
)
def test_each_rate_is_that_of_its_own_part(
    rates: ConditionRates, whole: set[str], composition
) -> None:
    model = shaken_model(composition=composition)
    data, conditions = model.encode(batch())
    fixed, _ = draw_parts(model, data, conditions, rates, torch.Generator().manual_seed(0))
    for name, where in fixed.where.items():
        expected = model.variables[name].places(conditions)
        if name not in whole:
            expected = torch.zeros_like(expected)
        assert torch.equal(where, expected), name


def test_a_template_is_whole_and_comes_with_the_lattice_every_other_time() -> None:
    model = shaken_model()
    data, conditions = model.encode(dataset(40).batch(torch.arange(16 * 40)))
    # parts that are drawn beside a template are left out
    rates = only(template=1.0, sites=1.0, composition=1.0)
    fixed, composition = draw_parts(
        model, data, conditions, rates, torch.Generator().manual_seed(0)
    )
    for name in TEMPLATE:
        assert torch.equal(fixed.where[name], model.variables[name].places(conditions)), name
    assert not fixed.where["coords"].any()
    assert composition.isnan().all()
    has_lattice = fixed.where["lattice"][conditions.lattice_free.any(-1)].any(-1)
    assert abs(has_lattice.double().mean() - 0.5) < 0.1


def test_of_some_sites_or_elements_each_is_one_every_other_time() -> None:
    model = shaken_model()
    data, conditions = model.encode(dataset(40).batch(torch.arange(16 * 40)))
    generator = torch.Generator().manual_seed(0)
    fixed, _ = draw_parts(model, data, conditions, only(sites=1.0), generator)
    assert abs(fixed.where["coords"][conditions.is_site].double().mean() - 0.5) < 0.05
    fixed, _ = draw_parts(model, data, conditions, only(slots=1.0), generator)
    assert abs(fixed.where["elements"][conditions.is_slot].double().mean() - 0.5) < 0.05
    assert not fixed.where["pointers"].any()


def test_a_composition_counts_the_atoms_of_the_cell() -> None:
    model = shaken_model()
    units = dataset().batch(torch.arange(16))
    data, conditions = model.encode(units)
    generator = torch.Generator().manual_seed(0)
    fixed, composition = draw_parts(model, data, conditions, only(composition=1.0), generator)
    assert torch.equal(composition.isnan(), ~conditions.is_slot)
    for row, crystal in enumerate(reconstruct(units)):
        counts = Counter(crystal.atomic_numbers.tolist())
        classes = data["elements"][row][conditions.is_slot[row]].tolist()
        numbers = [model.config.elements[k] for k in classes]
        assert composition[row][conditions.is_slot[row]].tolist() == [counts[z] for z in numbers]


def test_extra_crystals_are_always_told_their_energy_above_the_hull_and_others_are_not() -> None:
    model = shaken_model(properties=(ENERGY, HULL))
    data, conditions = model.encode(batch())
    values = torch.arange(2.0 * len(batch())).view(-1, 2)
    is_extra = torch.arange(len(batch())) % 2 == 0
    rates = replace(NOTHING, no_property=1.0)
    generator = torch.Generator().manual_seed(0)
    found = draw_conditions(model, data, conditions, values, is_extra, rates, generator)
    assert found.properties[:, 0].isnan().all()
    assert torch.equal(~found.properties[:, 1].isnan(), is_extra)
    assert torch.equal(found.properties[is_extra, 1], values[is_extra, 1])


def test_parts_are_drawn_as_often_as_the_rates_say() -> None:
    model = shaken_model()
    data, conditions = model.encode(dataset(400).batch(torch.arange(16 * 400)))
    generator = torch.Generator().manual_seed(0)
    fixed, composition = draw_parts(model, data, conditions, RATES, generator)
    has_part, others = 1 - RATES.no_part, (1 - RATES.no_part) * (1 - RATES.template)
    lattice = fixed.where["lattice"].any(-1).double().mean()
    assert abs(lattice - has_part * RATES.template / 2 - others * RATES.lattice) < 0.015
    coords = fixed.where["coords"][conditions.is_site].double().mean()
    assert abs(coords - others * RATES.sites / 2) < 0.015
    letters = fixed.where["letters"][conditions.is_site].double().mean()
    expected = RATES.letters + (1 - RATES.letters) * RATES.sites / 2
    assert abs(letters - has_part * RATES.template - others * expected) < 0.015
    told = (~composition.isnan()).any(-1).double().mean()
    assert abs(told - others * RATES.composition) < 0.015
    # who holds an element is a condition only together with which one it is
    held = fixed.where["pointers"].long() * (data["pointers"] + 1)
    for b in range(0, len(held), 97):
        slots = {int(i) - 1 for i in held[b] if i}
        assert slots <= set(fixed.where["elements"][b].nonzero().flatten().tolist())


def test_properties_are_drawn_as_often_as_the_rates_say() -> None:
    values = torch.arange(60_000.0).view(20_000, 3)
    found = draw_properties(values, RATES, torch.Generator().manual_seed(0))
    is_condition = ~found.isnan()
    assert torch.equal(found[is_condition], values[is_condition])
    none = RATES.no_property + (1 - RATES.no_property) * RATES.property_left_out**3
    assert abs(float((~is_condition.any(-1)).double().mean()) - none) < 0.02
    share = (1 - RATES.no_property) * (1 - RATES.property_left_out)
    torch.testing.assert_close(
        is_condition.float().mean(0), torch.full((3,), share), atol=0.02, rtol=0
    )


def test_the_rates_of_a_run_are_those_that_are_drawn(tmp_path) -> None:
    model = shaken_model(properties=(GAP,))
    crystals = replace(dataset(), properties=torch.ones(16, 1), property_names=(GAP,))
    for rates, n_known in ((only(lattice=1.0), 16), (replace(NOTHING, no_property=1.0), 0)):
        run = TrainingConfig(batch_size=16, conditions=rates)
        draws = Trainer(model, crystals, None, run, tmp_path / str(n_known)).draws
        (_, conditions, _, _), _ = draws.batch(torch.arange(16))
        assert int((~conditions.properties.isnan()).sum()) == n_known
        assert bool(conditions.fixed.where["lattice"].any()) == bool(n_known)


def test_the_reference_page_has_these_rates() -> None:
    page = (Path(__file__).parents[2] / "book" / "method" / "model.md").read_text()
    words = page.split("(method-conditions)=")[1].split("(method-loss)=")[0]
    rows = "".join(f"| {getattr(RATES, name)} " for name in PARTS)
    assert f"{rows}|" in words
    assert f"{RATES.template:.0%} of these on their whole template".replace("%", " %") in words
    assert f"In training, {RATES.no_part:.0%} of the crystals".replace("%", " %") in words
    assert f"left out with probability {RATES.property_left_out}" in words
    assert "half of the crystals have no property" in words and RATES.no_property == 0.5


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan")])
def test_rates_are_probabilities(value: float) -> None:
    with pytest.raises(ValueError, match=f"rate lattice .* got {value!r}"):
        ConditionRates(lattice=value)


def test_a_model_without_conditions_draws_none() -> None:
    model = shaken_model("paper")
    data, conditions = model.encode(batch())
    generator = torch.Generator().manual_seed(0)
    state, properties = generator.get_state(), torch.zeros(len(batch()), 0)
    is_extra = torch.zeros(len(batch()), dtype=torch.bool)
    found = draw_conditions(model, data, conditions, properties, is_extra, RATES, generator)
    assert found is conditions
    assert torch.equal(generator.get_state(), state)


def tokens() -> PropertyTokens:
    torch.manual_seed(0)
    read = PropertyTokens((ENERGY, GAP), torch.tensor([-1.0, 0.4]), torch.tensor([1.0, 0.5]))
    torch.nn.init.normal_(read.null)
    return read


def test_a_property_that_is_no_condition_is_its_null_vector_whatever_the_others_are() -> None:
    read, nan = tokens(), torch.nan
    both, none = read(torch.tensor([[-1.0, 0.5]])), read(torch.tensor([[nan, nan]]))
    energy, gap = read(torch.tensor([[-1.0, nan]])), read(torch.tensor([[nan, 0.5]]))
    torch.testing.assert_close(none[0], read.null.sum(0))
    torch.testing.assert_close(both - energy, gap - none)  # they add


def test_a_metal_is_told_from_a_small_gap_and_far_values_look_alike() -> None:
    read = tokens()
    metal, small, next_to_it = read(torch.tensor([[torch.nan, g] for g in (9e-4, 1.1e-3, 1.3e-3)]))
    assert (metal - small).norm() > 10 * (small - next_to_it).norm()
    far = read(torch.tensor([[-20.0, torch.nan], [-30.0, torch.nan]]))
    torch.testing.assert_close(far[0], far[1])


def test_the_tables_of_properties_move_with_the_model_and_are_not_saved(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = tokens()
    assert not {"mean", "std", "zero_scale"} & read.state_dict().keys()
    assert {name for name, _ in read.named_buffers()} == {"mean", "std", "zero_scale"}
    monkeypatch.setattr(torch, "tensor", pytest.fail)  # a copy to a GPU, and a wait, in every call
    read(torch.zeros(1, 2))


def test_moments_are_those_of_the_known_values() -> None:
    values = torch.tensor([[1.0, 0.0], [3.0, torch.nan], [torch.nan, 1.0]])
    mean, std = property_moments(values, (ENERGY, GAP))
    gaps = torch.tensor([0.0, 2.0]).log()[1:]
    torch.testing.assert_close(mean, torch.tensor([2.0, float(gaps) / 2]))
    torch.testing.assert_close(std[0], torch.tensor(2.0).sqrt())
    assert standard_values(torch.tensor([1.0]), zero_scales((ENERGY,))) == 1.0
    with pytest.raises(ValueError, match=f"knows nothing of {GAP}"):
        property_moments(torch.tensor([[1.0, torch.nan], [2.0, torch.nan]]), (ENERGY, GAP))


def test_a_property_that_the_dataset_lacks_is_not_known_of_any_crystal() -> None:
    energies = torch.arange(16.0)[:, None]
    crystals = replace(dataset(), properties=energies, property_names=(ENERGY,))
    found = crystals.values_of((GAP, ENERGY))
    assert found[:, 0].isnan().all()
    assert torch.equal(found[:, 1], energies[:, 0])
    assert crystals.values_of(()).shape == (16, 0)


def test_weights_that_know_properties_go_on_with_crystals_of_which_none_is_known(tmp_path) -> None:
    model = shaken_model(properties=(ENERGY, GAP))
    crystals = dataset(4)
    again = build_model(model.config, crystals, model, seed=0)
    assert torch.equal(again.statistics.property_mean, model.statistics.property_mean)
    settings = TrainingConfig(epochs=1.0, batch_size=16, optimiser=OptimiserConfig(warmup_steps=1))
    average = Trainer(again, crystals, None, settings, tmp_path).run()
    # the null vectors are what is learnt, and not how values are read
    assert not torch.equal(again.properties.null, model.properties.null)
    for old, new in zip(model.properties.read, average.properties.read, strict=True):
        assert torch.equal(old[0].bias, new[0].bias)
