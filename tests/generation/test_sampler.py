"""Sampling: a perfect predictor returns the crystals, and crystal i is a function of i."""

from collections import Counter
from dataclasses import replace
from functools import cache, partial
from itertools import combinations, pairwise, product

import numpy as np
import pytest
import torch
from pymatgen.analysis.structure_matcher import StructureMatcher

from symmbfn.conditions.draw import draw
from symmbfn.conditions.request import Request
from symmbfn.crystals.asymmetric_unit import CHART_END
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.layout import DENSE
from symmbfn.crystals.loci import nearest_point
from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.crystals.symmetry import positions_of
from symmbfn.flows import noise
from symmbfn.flows.sampler_config import SamplerConfig
from symmbfn.flows.schedules import log_snr_grid
from symmbfn.generation import sampler as sampler_module
from symmbfn.generation.batching import size_batches
from symmbfn.generation.constraints import confine, project_settled
from symmbfn.generation.final_estimates import ascending_classes, decode, every_slot_used
from symmbfn.generation.generate import generate, generate_batches
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.checkpoints import load_model
from symmbfn.model.config import ImagesConfig
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.devices import pick_device
from tests.models import (
    batch,
    beliefs_at,
    fresh_model,
    perfect_predictor,
    shaken_model,
    slots,
    units,
)

PRESETS = ("default", "paper")
SOLVERS = (("ode2", 6), ("sde2", 6), ("bfn", 10))


def indices(n: int) -> torch.Tensor:
    return torch.arange(n)


@cache
def references() -> list[Crystal]:
    return reconstruct(batch(dtype=torch.float64))


# --- a perfect predictor -------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("solver", "n_steps"), SOLVERS)
def test_a_perfect_predictor_returns_the_crystals(preset: str, solver: str, n_steps: int) -> None:
    model = fresh_model(preset)
    sampler = preset_sampler(model, solver=solver, n_steps=n_steps)
    data, conditions = model.encode(batch())
    index = indices(len(units()))
    estimates = sample(
        model, conditions, sampler, seed=1, index=index, predict=perfect_predictor(model, data)
    )
    crystals = decode(model, estimates, conditions, sampler, seed=1, index=index)
    matcher = StructureMatcher()
    for unit, crystal, reference in zip(units(), crystals, references(), strict=True):
        assert crystal.status == "ok", crystal.reason
        assert (crystal.unit.atomic_numbers == unit.atomic_numbers).all()
        assert (crystal.unit.wyckoff_positions == unit.wyckoff_positions).all()
        assert matcher.fit(crystal.to_pymatgen(), reference.to_pymatgen())


def test_a_predictor_of_other_crystals_does_not() -> None:
    # the negative control: fluorite's sites in place of rock salt's
    model = fresh_model()
    sampler = preset_sampler(model, n_steps=3)
    data, _ = model.encode(batch(1))
    _, conditions = model.encode(batch(0))
    estimates = sample(
        model, conditions, sampler, seed=1, index=indices(1), predict=perfect_predictor(model, data)
    )
    (crystal,) = decode(model, estimates, conditions, sampler, seed=1, index=indices(1))
    assert not StructureMatcher().fit(crystal.to_pymatgen(), references()[0].to_pymatgen())


FAMILY = (
    {"solver": "bfn", "n_steps": 10, "eta": 1.0},
    {"solver": "bfn", "n_steps": 10, "eta": 0.4},
    {"solver": "bfn", "n_steps": 10, "eta": 0.0, "start": 0.2},
    {"solver": "bfn", "n_steps": 10, "has_expected_classes": True},
    {"solver": "ode2", "n_steps": 6, "eta": 0.5},
)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "changes", [*({"solver": a, "n_steps": n} for a, n in SOLVERS), *FAMILY], ids=str
)
def test_beliefs_follow_the_flow_of_a_perfect_predictor(preset: str, changes: dict) -> None:
    """At every call beliefs lie where the flow puts them: noise of unit variance about the data."""
    model = fresh_model(preset)
    rows = torch.full((300,), 15)
    data, conditions = model.encode(batch()[rows])
    perfect = perfect_predictor(model, data)
    seen: list[tuple[Variables, float]] = []

    def watched(beliefs, conditions, t, previous):
        seen.append((beliefs, float(t[0])))
        return perfect(beliefs, conditions, t, previous)

    sampler = preset_sampler(model, **changes)
    sample(model, conditions, sampler, seed=0, index=indices(300), predict=watched)
    is_redrawn = sampler.solver == "bfn" and sampler.eta != 0
    for beliefs, t in seen[1:]:
        time = torch.tensor(t)
        for name in model.continuous:
            gamma = model.variables[name].schedule.gamma(time)
            off = beliefs.continuous[name] - gamma * data.continuous[name]
            real = model.variables[name].is_real(conditions).expand_as(off)
            score = (off / torch.sqrt(gamma * (1 - gamma)))[real]
            if is_redrawn:
                assert score.std().item() == pytest.approx(1, abs=0.12)
            else:  # what the noise-free steps keep of the start, in which the data are unknown
                assert score.abs().max() < 12
        for name in model.categorical:
            beta, k = float(model.variables[name].schedule(time)[0]), model.classes[name].n_classes
            z = beliefs.categorical[name]
            e = torch.nn.functional.one_hot(data.categorical[name], k)
            real = model.variables[name].is_real(conditions).expand_as(z[..., 0])
            score = ((z - beta * (k * e - 1)) / np.sqrt(k * beta))[real]
            assert score.std().item() == pytest.approx(1, abs=0.12)
            assert score.mean().item() == pytest.approx(0, abs=0.12)


# --- what is given is kept -----------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("solver", "n_steps"), SOLVERS)
def test_fixed_lattice_components_padding_and_forbidden_letters_stay_out(
    preset: str, solver: str, n_steps: int
) -> None:
    model, crystals = shaken_model(preset), batch()
    _, conditions = model.encode(crystals)
    fixed = ~lattice_constraints(conditions.space_group_number)[0]
    seen = []

    def watched(beliefs, conditions, t, previous):
        estimates = model(beliefs, conditions, t, previous)
        seen.append((beliefs, estimates, float(t[0])))
        return estimates

    sampler = preset_sampler(model, solver=solver, n_steps=n_steps)
    final = sample(
        model, conditions, sampler, seed=0, index=indices(len(crystals)), predict=watched
    )
    assert len(seen) == n_steps + 1
    for beliefs, estimates, _ in seen:
        for value in (beliefs, estimates, final):
            assert (value.continuous["lattice"][fixed] == 0).all()
            assert (value.continuous["coords"][~conditions.is_site] == 0).all()
            assert all(part.isfinite().all() for part in value.continuous.values())
        assert all(part.isfinite().all() for part in beliefs.categorical.values())
        if preset == "default":
            outside = ~conditions.is_position[:, None].expand_as(estimates.categorical["letters"])
            assert (estimates.categorical["letters"][outside] == -torch.inf).all()
    times = [t for _, _, t in seen]
    assert times == sorted(times)
    assert (times[0], times[-1]) == (pytest.approx(sampler.start), 1.0)
    if solver != "bfn":
        grid = log_snr_grid(n_steps, model.variables["coords"].schedule, sampler.start)
        np.testing.assert_allclose(times, grid.numpy(), rtol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_generated_crystals_have_the_group_and_the_elements_they_were_given(preset: str) -> None:
    model = shaken_model(preset)
    crystals = generate(n=24, weights=model, n_steps=3, seed=4)
    conditions = draw(Request(n=24, seed=4), model.config, model.statistics).rows
    assert [crystal.index for crystal in crystals] == list(range(24))
    assert all(crystal.seed == 4 for crystal in crystals)
    for crystal, (group, n_sites, n_elements) in zip(crystals, conditions.tolist(), strict=True):
        assert crystal.space_group_number == group
        if crystal.unit is None:
            assert crystal.status == "reconstruction_failed"
            continue
        positions = positions_of(group)
        assert (crystal.unit.wyckoff_positions < positions.stop - positions.start).all()
        # merging may take sites away, never add
        assert len(crystal.unit) <= n_sites
        elements = set(crystal.unit.atomic_numbers.tolist())
        assert elements <= set(model.config.elements)
        if preset == "default" and len(crystal.unit) == n_sites:
            assert len(elements) == n_elements


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("solver", "n_steps"), SOLVERS)
def test_the_network_reads_its_last_estimate_and_beliefs_of_its_own_precision(
    preset: str, solver: str, n_steps: int
) -> None:
    """Self-conditioning as trained; times are float64, beliefs must not become so by them."""
    model = shaken_model(preset)
    _, conditions = model.encode(batch())
    calls = []

    def watched(beliefs, conditions, t, previous):
        calls.append((beliefs, previous, model(beliefs, conditions, t, previous)))
        return calls[-1][-1]

    sampler = preset_sampler(model, solver=solver, n_steps=n_steps, clearance=0.0)
    sample(model, conditions, sampler, seed=0, index=indices(len(batch())), predict=watched)
    assert calls[0][1] is None
    for (_, _, last), (beliefs, previous, _) in pairwise(calls):
        assert previous.categorical is last.categorical, "what the network said, or moved"
        off = previous.continuous["lattice"] - last.continuous["lattice"]
        assert not off.any()
        for values in (beliefs.continuous, beliefs.categorical):
            assert {value.dtype for value in values.values()} == {torch.float32}


@pytest.mark.parametrize("preset", PRESETS)
def test_wild_estimates_are_confined_at_every_call(preset: str) -> None:
    """What the next step and the next call read, and what comes out, lies where data can be."""
    model = shaken_model(preset)
    _, conditions = model.encode(batch())
    seen = []

    def wild(beliefs, conditions, t, previous):
        estimates = model(beliefs, conditions, t, previous)
        seen.append(previous)
        coords = estimates.continuous["coords"] + 7.3 * conditions.is_site[..., None]
        return Variables({**estimates.continuous, "coords": coords}, estimates.categorical)

    sampler = preset_sampler(model, n_steps=3, clearance=0.0, has_projection=False)
    final = sample(model, conditions, sampler, seed=0, index=indices(len(batch())), predict=wild)
    low, high = (0.0, 1.0) if preset == "paper" else (CHART_END - 1.15, CHART_END + 0.15)
    for estimates in (*seen[1:], final):
        x = model.fractional(estimates.continuous["coords"])[conditions.is_site]
        assert (x >= low - 1e-5).all() and (x <= high + 1e-5).all()


def test_sites_move_to_their_loci_first_and_apart_last(monkeypatch) -> None:
    """In the other order a site that was moved away would be drawn back onto its neighbour."""
    model, order = shaken_model(), []

    def noted(name, real, *args):
        order.append(name)
        return real(*args)

    for name in ("confine", "project_settled", "move_apart"):
        real = getattr(sampler_module, name)
        monkeypatch.setattr(sampler_module, name, partial(noted, name, real))
    _, conditions = model.encode(batch(0))
    sample(model, conditions, preset_sampler(model, n_steps=1), seed=0, index=indices(1))
    assert order == ["confine", "project_settled", "move_apart"] * 2


def test_without_its_last_estimate_the_network_says_something_else() -> None:
    """The negative control: what the sampler hands on matters."""
    model = shaken_model()
    _, conditions = model.encode(batch())
    sampler = preset_sampler(model, n_steps=3)

    def forgetful(beliefs, conditions, t, previous):
        return model(beliefs, conditions, t, None)

    number = indices(len(batch()))
    with_it = sample(model, conditions, sampler, seed=0, index=number)
    without = sample(model, conditions, sampler, seed=0, index=number, predict=forgetful)
    assert not torch.equal(with_it.continuous["coords"], without.continuous["coords"])


def test_predictions_that_are_not_numbers_are_records_and_no_exception() -> None:
    model = fresh_model()

    def broken(beliefs, conditions, t, previous):
        estimates = model(beliefs, conditions, t, previous)
        nan = {name: value * torch.nan for name, value in estimates.continuous.items()}
        return Variables(nan, estimates.categorical)

    sampler = preset_sampler(model, n_steps=2)
    batches = generate_batches(model, Request(n=6), sampler, predict=broken)
    crystals = [crystal for part in batches for crystal in part]
    assert len(crystals) == 6
    assert {crystal.status for crystal in crystals} == {"reconstruction_failed"}
    assert all(crystal.reason for crystal in crystals)


# --- the request ---------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_no_two_draws_of_a_crystal_share_their_random_numbers(preset: str, monkeypatch) -> None:
    """Group and size, prior, steps and final classes: each draw has a stream of its own."""
    streams, real = [], noise._bits

    def watched(seed, index, stream, n):
        streams.append(stream)
        return real(seed, index, stream, n)

    monkeypatch.setattr(noise, "_bits", watched)
    model = fresh_model(preset)
    sampler = preset_sampler(model, n_steps=3, is_drawn=True)
    request = Request(n=2, space_group_number=229)  # one batch
    assert len([c for b in generate_batches(model, request, sampler) for c in b]) == 2
    n_variables = len(model.variables)
    assert len(streams) >= 1 + 4 * n_variables + len(model.categorical)
    assert len(set(streams)) == len(streams)


def by_index(model: SymmBFN, index: torch.Tensor, batch_size: int) -> dict[int, Crystal]:
    sampler = preset_sampler(model, n_steps=4)
    request = Request(n=1000, seed=7)
    parts = generate_batches(model, request, sampler, index=index, batch_size=batch_size)
    return {crystal.index: crystal for part in parts for crystal in part}


def assert_equal_bits(ours: Crystal, expected: Crystal) -> None:
    assert (ours.status, ours.letters) == (expected.status, expected.letters)
    np.testing.assert_array_equal(ours.atomic_numbers, expected.atomic_numbers)
    np.testing.assert_array_equal(ours.fractional_coords, expected.fractional_coords)
    if expected.lattice_matrix is not None:
        np.testing.assert_array_equal(ours.lattice_matrix, expected.lattice_matrix)


@pytest.mark.parametrize(("images", "scale"), [(None, 0.05), (ImagesConfig(), 0.2)])
def test_crystal_i_is_the_same_in_every_batch_and_order(
    images: ImagesConfig | None, scale: float
) -> None:
    model = shaken_model(scale=scale, images=images)
    whole = by_index(model, indices(24), 128)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))
    for other in (
        by_index(model, indices(24), 3),
        by_index(model, order, 128),
        by_index(model, torch.tensor([5, 17]), 128),
    ):
        for i, crystal in other.items():
            assert_equal_bits(crystal, whole[i])


@pytest.mark.parametrize("weights", ["default", "paper"])
def test_with_real_weights_and_groups_every_bit_is_the_same_in_every_request(weights: str) -> None:
    model = load_model(weights)
    whole = by_index(model, indices(60), 128)
    order = torch.randperm(60, generator=torch.Generator().manual_seed(1))
    for part in (order[:1], order[1:30]):
        for i, crystal in by_index(model, part, 128).items():
            assert_equal_bits(crystal, whole[i])


@pytest.mark.parametrize(("weights", "solver"), [("default", "bfn"), ("paper", "ode2")])
def test_mixed_batches_give_the_crystals_of_batches_of_one_bucket(
    weights: str, solver: str
) -> None:
    model, request = load_model(weights), Request(n=60, seed=11)
    sampler = preset_sampler(model, n_steps=4, solver=solver)
    layouts = []

    def watched(beliefs, conditions, t, previous):
        layouts.append(conditions.layout)
        return model(beliefs, conditions, t, previous)

    found = {}
    for is_mixed in (False, True):
        layouts.clear()
        batches = generate_batches(
            model, request, sampler, has_mixed_batches=is_mixed, predict=watched
        )
        found[is_mixed] = sorted((c for b in batches for c in b), key=lambda c: c.index)
        assert any(layout is not DENSE for layout in layouts) == is_mixed
    assert len(found[True]) == 60
    for ours, expected in zip(found[True], found[False], strict=True):
        assert_equal_bits(ours, expected)


def test_seeds_give_other_crystals() -> None:
    model = shaken_model()
    sampler = preset_sampler(model, n_steps=2)
    _, conditions = model.encode(batch(15))
    first, second = (
        sample(model, conditions, sampler, seed=seed, index=indices(1)) for seed in (0, 1)
    )
    assert (first.continuous["coords"] - second.continuous["coords"]).abs().max() > 0.1


def test_like_sizes_share_a_batch_and_every_row_is_in_one() -> None:
    model = fresh_model()
    conditions = draw(Request(n=200), model.config, model.statistics).rows
    chunks = size_batches(conditions, 16)
    assert torch.equal(torch.cat(chunks).sort().values, indices(200))
    for chunk in chunks:
        assert len(chunk) <= 16
        # site buckets end at 2, 4, 6
        assert len(((conditions[chunk, 1] + 1) // 2).unique()) == 1
    with pytest.raises(ValueError, match="batch_size.*0"):
        size_batches(conditions, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0}, "n must.*0"),
        ({"n": 3, "seed": -1}, "seed.*-1"),
        ({"n": 3, "seed": 2**63}, f"seed.*{2**63}"),
        ({"n": 3, "n_steps": 0}, "steps.*0"),
        ({"n": 3, "solver": "euler"}, "solver.*'euler'"),
        ({"n": 3, "clearance": 1.2}, "clearance.*1.2"),
        ({"n": 3, "space_group_number": 231}, "231"),
        ({"n": 3, "space_group_number": "Fm-3n"}, "Fm-3n"),
        ({"n": 3, "space_group_number": 230}, "230"),
        ({"n": 3, "batch_size": 0}, "batch_size.*0"),
        ({"n": 3, "batch_size": True}, "batch_size.*True"),
        ({"n": True}, "n must.*True"),
        ({"n": 3, "seed": False}, "seed.*False"),
        ({"n": 3, "n_steps": True}, "steps.*True"),
    ],
    ids=str,
)
def test_requests_that_cannot_be_met_are_refused_by_name(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        generate(weights=fresh_model(), **arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "n is missing"),
        ({"n": 2, "temprature": 1.0}, TypeError, "no setting temprature: .*temperature"),
        ({"n": 2, "sampler": SamplerConfig(), "n_steps": 3}, ValueError, "not both.*n_steps"),
        ({"request": Request(n=2), "seed": 3}, ValueError, "not both.*seed"),
    ],
    ids=str,
)
def test_settings_that_contradict_or_do_not_exist_are_refused(
    arguments: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        generate(**arguments, weights=fresh_model())


def test_a_sampler_that_the_model_cannot_have_is_refused() -> None:
    with pytest.raises(ValueError, match="clearance must be 0"):
        generate(n=2, weights=fresh_model("paper"), sampler=SamplerConfig())


def test_objects_and_their_fields_ask_for_the_same_crystals() -> None:
    model = shaken_model()
    fields = {"n": 3, "first": 2, "seed": 5, "space_group_number": (221, 225)}
    sampler = preset_sampler(model, n_steps=2)
    whole = generate(Request(**fields), weights=model, sampler=sampler)
    assert [crystal.index for crystal in whole] == [2, 3, 4]
    for other in (
        generate(**fields, weights=model, n_steps=2),
        generate(Request(**fields), weights=model, n_steps=2, solver=None),
        generate(**fields, weights=model, sampler=sampler),
    ):
        for ours, expected in zip(other, whole, strict=True):
            assert_equal_bits(ours, expected)


def test_a_share_of_noise_outside_0_and_1_is_refused() -> None:
    with pytest.raises(ValueError, match="eta.*1.5"):
        SamplerConfig(eta=1.5)


def test_groups_that_are_never_drawn_are_told() -> None:
    model = shaken_model()
    with pytest.warns(UserWarning, match=r"space groups \[230\]"):
        crystals = generate(n=2, weights=model, space_group_number=(225, 230), n_steps=1)
    assert {crystal.space_group_number for crystal in crystals} == {225}


def test_devices_are_checked() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="'tpu'"):
        pick_device("tpu")
    if not torch.cuda.is_available():
        assert pick_device("auto").type == "cpu"
        with pytest.raises(ValueError, match="CUDA"):
            pick_device("cuda")


def test_presets_bring_their_samplers() -> None:
    default = preset_sampler(fresh_model())
    assert default == SamplerConfig()
    assert (default.solver, default.is_drawn, default.has_projection) == ("bfn", False, True)
    paper = preset_sampler(fresh_model("paper"))
    assert (paper.solver, paper.n_steps, paper.is_drawn) == ("bfn", 100, True)
    assert not paper.has_projection
    assert (default.clearance, paper.clearance) == (0.75, 0)
    assert preset_sampler(fresh_model(), n_steps=7).n_steps == 7
    with pytest.raises(ValueError, match="start.*0.0"):
        SamplerConfig(start=0.0)


# --- estimates to crystals -----------------------------------------------------------------------


def test_ascending_classes_are_the_best_of_all_ascending_choices() -> None:
    generator = torch.Generator().manual_seed(0)
    n_slots, n_classes = 4, 7
    log_p = (3 * torch.randn(60, n_slots, n_classes, generator=generator)).log_softmax(-1)
    log_p[::5, :, 2] = -torch.inf
    n_real = torch.randint(1, n_slots + 1, (60,), generator=generator)
    found = ascending_classes(log_p, torch.arange(n_slots) < n_real[:, None])
    for row, n in enumerate(n_real.tolist()):
        scores = log_p[row].clamp_min(-1e4).numpy()
        choices = combinations(range(n_classes), n)
        best = max(choices, key=lambda c, s=scores: sum(s[i, k] for i, k in enumerate(c)))
        assert tuple(found[row, :n].tolist()) == best


def test_ascending_classes_exist_even_when_every_slot_wants_the_same() -> None:
    log_p = torch.full((1, 3, 3), -50.0)
    log_p[..., 1] = 0.0
    found = ascending_classes(log_p, torch.ones(1, 3, dtype=torch.bool))
    assert found.tolist() == [[0, 1, 2]]


def pointers_given(n_sites: int, n_slots: int, n_padding: int = 0) -> Conditions:
    n = n_sites + n_padding
    model = fresh_model(composition=slots(n_slots))
    is_site = (torch.arange(n) < n_sites)[None]
    return model.conditions(torch.tensor([1]), is_site, torch.tensor([n_slots]))


def test_one_unused_slot_takes_the_site_that_loses_least() -> None:
    """Against all pointer vectors that use every slot, for crystals that lack just one."""
    generator = torch.Generator().manual_seed(0)
    conditions = pointers_given(5, 3, n_padding=1)
    checked = 0
    for _ in range(200):
        log_p = (2 * torch.randn(1, 6, 3, generator=generator)).log_softmax(-1)
        free = log_p[0, :5].argmax(-1).tolist()
        found = every_slot_used(log_p, conditions)[0, :5].tolist()
        assert set(found) == {0, 1, 2}
        if set(free) == {0, 1, 2}:
            assert found == free
        if len(set(free)) == 2:
            scores = log_p[0].numpy()
            used = (p for p in product(range(3), repeat=5) if set(p) == {0, 1, 2})
            best = max(used, key=lambda p, s=scores: sum(s[i, k] for i, k in enumerate(p)))
            assert tuple(found) == best
            checked += 1
    assert checked > 10


def test_as_many_sites_as_slots_and_one_favourite_still_use_all() -> None:
    conditions = pointers_given(4, 4)
    log_p = torch.full((1, 4, 4), -30.0)
    log_p[..., 2] = 0.0
    assert sorted(every_slot_used(log_p, conditions)[0].tolist()) == [0, 1, 2, 3]


def test_settled_sites_move_to_their_locus_and_others_stay() -> None:
    model, crystals = fresh_model(), batch()
    data, _, conditions, _ = beliefs_at(model, crystals, 0.5)
    generator = torch.Generator().manual_seed(0)
    coords = data.continuous["coords"]
    coords = coords + 0.1 * torch.randn(coords.shape, generator=generator)
    coords = coords * conditions.is_site[..., None]
    letters = data.categorical["letters"]
    for belief, moves in ((0.95, True), (0.85, False)):
        p = torch.full(model.variables["letters"].shape(conditions), (1 - belief) / 26)
        p = p.scatter(-1, letters[..., None], belief)
        estimates = Variables({**data.continuous, "coords": coords}, {"letters": p.log()})
        projected = project_settled(model, estimates, conditions)
        if not moves:
            assert torch.equal(projected.continuous["coords"], coords)
            continue
        x = model.fractional(projected.continuous["coords"])[conditions.is_site].double()
        row = conditions.rows.gather(1, letters)[conditions.is_site]
        torch.testing.assert_close(nearest_point(x, row), x, rtol=0, atol=1e-6)
        assert (projected.continuous["coords"] - coords).abs().max() > 0.05
        # the point is the nearest: moved no further than the noise carried the site away
        noise = (coords - data.continuous["coords"])[conditions.is_site] * model.coords_std
        moved = (projected.continuous["coords"] - coords)[conditions.is_site] * model.coords_std
        assert (moved.norm(dim=-1) <= noise.norm(dim=-1) + 1e-5).all()
        assert torch.equal(projected.continuous["lattice"], data.continuous["lattice"])


@pytest.mark.parametrize("preset", PRESETS)
def test_coordinates_are_confined_to_where_data_can_be(preset: str) -> None:
    model, crystals = fresh_model(preset), batch()
    data, conditions = model.encode(crystals)
    wild = {**data.continuous, "coords": 8 * data.continuous["coords"] + 0.3}
    x = model.fractional(confine(model, Variables(wild, {}), conditions).continuous["coords"])
    x = x[conditions.is_site]
    low, high = (0.0, 1.0) if preset == "paper" else (CHART_END - 1.15, CHART_END + 0.15)
    assert (x >= low - 1e-5).all() and (x <= high + 1e-5).all()
    tame = confine(model, Variables(data.continuous, {}), conditions).continuous["coords"]
    torch.testing.assert_close(tame, data.continuous["coords"], rtol=0, atol=1e-5)


def test_final_classes_are_drawn_from_their_probabilities_or_are_the_likeliest() -> None:
    model = fresh_model("paper")
    n = 2000
    crystals = batch(5)[torch.zeros(n, dtype=torch.long)]  # one iron atom
    data, conditions = model.encode(crystals)
    estimates = perfect_predictor(model, data)(None, conditions, None, None)
    p = torch.zeros(n, 1, 94)
    p[..., 25], p[..., 26] = 0.7, 0.3
    estimates.categorical["elements"] = p.log()
    sampler = preset_sampler(model)
    drawn = decode(model, estimates, conditions, sampler, seed=0, index=indices(n))
    numbers = Counter(int(crystal.atomic_numbers[0]) for crystal in drawn)
    assert set(numbers) == {26, 27}
    assert numbers[26] / n == pytest.approx(0.7, abs=4 * np.sqrt(0.21 / n))
    likeliest = decode(
        model, estimates, conditions, replace(sampler, is_drawn=False), seed=0, index=indices(n)
    )
    assert {int(crystal.atomic_numbers[0]) for crystal in likeliest} == {26}
