"""The full-cell form of the model: all atoms, no symmetry, the same flows, network and sampler."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from symmbfn.conditions.draw import draw
from symmbfn.conditions.request import Request
from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.crystal import Crystal
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.reconstruction import cells_as_they_are, reconstruct
from symmbfn.crystals.records import crystals_of, record_of
from symmbfn.crystals.structure import parse_cif
from symmbfn.crystals.symmetry_search import check_symmetry
from symmbfn.generation.batching import size_batches
from symmbfn.generation.final_estimates import decode
from symmbfn.generation.generate import (
    generate,
    generate_batches,
    model_conditions,
)
from symmbfn.generation.sampler import preset_sampler, sample
from symmbfn.model.class_configs import NoSymmetryConfig
from symmbfn.model.config import ImagesConfig, default_config, full_cell_config, paper_config
from symmbfn.model.statistics import compute_statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from tests.models import (
    batch,
    beliefs_at,
    cells,
    config,
    fresh_model,
    perfect_predictor,
    shaken_model,
    units,
)

# elements of sites, as published; or slots and pointers, with all that the default model has
FORMS = {
    "sites": ("full_cell", {}),
    "slots": ("default", {"symmetry": NoSymmetryConfig(), "images": None}),
}


@pytest.fixture(params=FORMS)
def model(request) -> SymmBFN:
    preset, changes = FORMS[request.param]
    return shaken_model(preset, **changes)


@cache
def references() -> list[Crystal]:
    return reconstruct(batch(dtype=torch.float64))


def tensors(value: Variables) -> Iterator[tuple[str, torch.Tensor]]:
    yield from value.continuous.items()
    yield from value.categorical.items()


def mapped(value: Variables, change) -> Variables:
    """The same variables with those of the sites changed."""
    slots = {"elements"} if "pointers" in value.categorical else set()
    kept = {"lattice", *slots}

    def apply(part: dict) -> dict:
        return {name: v if name in kept else change(v) for name, v in part.items()}

    return Variables(apply(value.continuous), apply(value.categorical))


# --- settings ------------------------------------------------------------------------------------


def test_the_baseline_is_the_paper_but_for_the_representation() -> None:
    baseline, paper = full_cell_config(), paper_config()
    assert baseline.elements == tuple(range(1, 95))
    assert baseline.is_of_atoms and not paper.is_of_atoms
    assert replace(baseline, symmetry=paper.symmetry) == paper
    assert full_cell_config((8, 26), width=32).elements == (8, 26)


def test_images_of_atoms_that_are_all_there_are_refused() -> None:
    for whole in (default_config((8, 26)), full_cell_config()):
        with pytest.raises(ValueError, match="images must be None"):
            replace(whole, symmetry=NoSymmetryConfig(), images=ImagesConfig())


def test_there_is_no_symmetry_among_variables_and_weights(model: SymmBFN) -> None:
    pointers = ("pointers",) if model.config.composition.kind == "slots" else ()
    assert (model.continuous, model.categorical) == (("lattice", "coords"), ("elements", *pointers))
    assert not [name for name in model.state_dict() if name.startswith("symmetry")]
    _, conditions = model.encode(cells())
    assert conditions.rotations.shape[1] == 0


# --- flows and losses ----------------------------------------------------------------------------


def test_variables_lead_back_to_the_atoms_and_the_lattice_to_its_family(model: SymmBFN) -> None:
    crystals = cells()
    data, conditions = model.encode(crystals)
    real = crystals.is_site
    gap = model.fractional(data.continuous["coords"]) - crystals.fractional_coords
    assert (gap - gap.round())[real].abs().max() < 1e-6
    classes = data.categorical["elements"]
    if "pointers" in data.categorical:
        classes = classes.gather(1, data.categorical["pointers"])
    assert (
        torch.tensor(model.config.elements)[classes][real] == crystals.atomic_numbers[real]
    ).all()
    k = model.lattice_k(data.continuous["lattice"], conditions)
    torch.testing.assert_close(k, crystals.lattice_k, rtol=0, atol=1e-5)
    # the group is still given, with all that it fixes
    free = lattice_constraints(crystals.space_group_number)[0]
    assert torch.equal(conditions.lattice_free, free) and not free.all()
    assert (data.continuous["lattice"][~free] == 0).all()


def test_a_perfect_predictor_has_no_loss_and_an_imperfect_one_pays_for_real_atoms(
    model: SymmBFN,
) -> None:
    data, beliefs, conditions, time = beliefs_at(model, cells(), 0.5)
    for name, value in tensors(beliefs):
        assert value.shape == model.variables[name].shape(conditions)
    nats, ce = model.losses(
        data, perfect_predictor(model, data)(beliefs, conditions, time, None), conditions, time
    )
    assert all((value == 0).all() for value in (*nats.values(), *ce.values()))
    estimates = model(beliefs, conditions, time)
    nats, ce = model.losses(data, estimates, conditions, time)
    assert nats.keys() == {*model.continuous, *model.categorical}
    assert ce.keys() == {*model.categorical}
    total = model.training_loss(nats, ce, conditions)
    assert total.isfinite().all() and (total > 0).all()
    # what is estimated on padding costs nothing
    junk = torch.where(conditions.is_site[..., None], estimates.continuous["coords"], 7.0)
    wrong = Variables({**estimates.continuous, "coords": junk}, estimates.categorical)
    again, _ = model.losses(data, wrong, conditions, time)
    assert torch.equal(again["coords"], nats["coords"])


def test_flows_are_those_of_the_asymmetric_unit() -> None:
    """In P1 every site is an atom: the two forms are one model but for the symmetry."""
    in_p1 = batch(11)
    assert torch.equal(cells(11).fractional_coords, in_p1.fractional_coords)
    statistics = compute_statistics(in_p1, config("paper"))
    orbits = SymmBFN(config("paper"), statistics).eval()
    atoms = SymmBFN(config("full_cell"), statistics).eval()
    data, conditions = orbits.encode(in_p1)
    data_too, given_too = atoms.encode(cells(11))
    noise = {name: torch.randn(model_shape) for name, model_shape in shapes(orbits, conditions)}
    noise = Variables(
        {name: noise[name] for name in orbits.continuous},
        {name: noise[name] for name in orbits.categorical},
    )
    time = torch.tensor([0.4])
    beliefs = orbits.flow(data, conditions, time, noise)
    beliefs_too = atoms.flow(data_too, given_too, time, noise)
    estimates = orbits(beliefs, conditions, time)
    nats, _ = orbits.losses(data, estimates, conditions, time)
    nats_too, _ = atoms.losses(data_too, estimates, given_too, time)
    for name, value in tensors(beliefs_too):
        kind = "continuous" if name in atoms.continuous else "categorical"
        assert torch.equal(value, getattr(beliefs, kind)[name]), name
        assert torch.equal(nats_too[name], nats[name]), name


def shapes(model: SymmBFN, conditions) -> list[tuple[str, tuple[int, ...]]]:
    return [
        (n, model.variables[n].shape(conditions)) for n in (*model.continuous, *model.categorical)
    ]


# --- symmetries of the network -------------------------------------------------------------------


def test_permuting_the_atoms_permutes_the_estimates(model: SymmBFN) -> None:
    crystals = cells(9, 13, 15)
    n = crystals.is_site.shape[1]
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0))
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    first = model(beliefs, conditions, time)
    moved = model.conditions(
        conditions.space_group_number, conditions.is_site[:, order], conditions.n_elements
    )
    again = model(mapped(beliefs, lambda v: v[:, order]), moved, time)
    expected = mapped(first, lambda v: v[:, order])
    real = moved.is_site
    for (name, a), (_, b) in zip(tensors(again), tensors(expected), strict=True):
        if name in model.continuous and name != "lattice" or a.shape[1] == n:
            a, b = a[real], b[real]
        torch.testing.assert_close(a.exp(), b.exp(), rtol=0, atol=5e-5, msg=name)
    gap = first.continuous["coords"][:, 0] - first.continuous["coords"][:, 1]
    assert gap.abs().max() > 1e-3  # the negative control: atoms really differ


def test_padding_changes_nothing(model: SymmBFN) -> None:
    crystals = cells(9, 13, 15)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    together = model(beliefs, conditions, time)
    for row, n in enumerate(crystals.n_sites.tolist()):
        one = slice(row, row + 1)
        cut = mapped(rows_of(beliefs, one), lambda v, n=n: v[:, :n])
        own = model.conditions(
            conditions.space_group_number[one],
            conditions.is_site[one, :n],
            conditions.n_elements[one],
        )
        alone = model(cut, own, time[one])
        expected = mapped(rows_of(together, one), lambda v, n=n: v[:, :n])
        for (name, a), (_, b) in zip(tensors(alone), tensors(expected), strict=True):
            torch.testing.assert_close(a.exp(), b.exp(), rtol=0, atol=5e-4, msg=name)


def rows_of(value: Variables, rows: slice) -> Variables:
    return Variables(
        {name: v[rows] for name, v in value.continuous.items()},
        {name: v[rows] for name, v in value.categorical.items()},
    )


def test_the_space_group_is_heard(model: SymmBFN) -> None:
    _, beliefs, conditions, time = beliefs_at(model, cells(13), 0.6)
    other = model.conditions(torch.tensor([11]), conditions.is_site, conditions.n_elements)
    before, after = (model(beliefs, g, time).continuous["coords"] for g in (conditions, other))
    assert (before - after).abs().max() > 1e-4


def test_the_largest_cells_work(model: SymmBFN) -> None:
    """52 atoms in a face-centred cell: 208, far more than the numbers that are embedded."""
    rng = np.random.default_rng(0)
    large = [
        AsymmetricUnit(
            group,
            np.array([0, 0, 0, 0, 0, 2.9]),
            rng.choice([8, 11, 22], n),
            np.zeros(n, dtype=int),
            rng.random((n, 3)) - 0.06,
        )
        for group, n in ((225, 192), (22, 208))
    ]
    crystals = AsymmetricUnitBatch.stack(large, torch.float32)
    data, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    with torch.no_grad():
        nats, _ = model.losses(data, model(beliefs, conditions, time), conditions, time)
    assert all(value.isfinite().all() for value in nats.values())
    rows = torch.tensor([[225, 192, 3], [22, 208, 3], [225, 2, 1], [225, 208, 3], [229, 1, 1]])
    chunks = size_batches(rows, 128)
    assert sorted(torch.cat(chunks).tolist()) == [0, 1, 2, 3, 4]
    assert all(len({n > 2 for n in rows[chunk, 1].tolist()}) == 1 for chunk in chunks)
    assert model_conditions(model, rows[1:2]).is_site.shape == (1, 208)


# --- decoding ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("solver", "n_steps"), [("bfn", 10), ("ode2", 6), ("sde2", 6)])
def test_a_perfect_predictor_returns_the_very_atoms(form: str, solver: str, n_steps: int) -> None:
    preset, changes = FORMS[form]
    model = fresh_model(preset, **changes)
    sampler = preset_sampler(model, solver=solver, n_steps=n_steps)
    data, conditions = model.encode(cells())
    index = torch.arange(len(units())) + 100
    predict = perfect_predictor(model, data)
    estimates = sample(model, conditions, sampler, seed=1, index=index, predict=predict)
    found = decode(model, estimates, conditions, sampler, seed=1, index=index)
    for place, (crystal, expected) in enumerate(zip(found, references(), strict=True)):
        assert (crystal.index, crystal.seed) == (100 + place, 1)
        assert (crystal.status, crystal.n_merged, crystal.n_dropped) == ("ok", 0, 0), crystal.reason
        assert np.array_equal(crystal.atomic_numbers, expected.atomic_numbers)
        gap = crystal.fractional_coords - expected.fractional_coords
        assert np.abs(gap - np.rint(gap)).max() < 2e-6
        np.testing.assert_allclose(crystal.lattice_matrix, expected.lattice_matrix, atol=1e-4)
        assert crystal.minimum_distance == pytest.approx(expected.minimum_distance, abs=1e-4)
        assert crystal.space_group_number == expected.space_group_number
        assert crystal.group_of_sites == crystal.unit.space_group_number == 1
        assert len(crystal.unit) == len(crystal) == len(crystal.letters)
        assert check_symmetry(crystal).status == "ok"


def test_a_lattice_outside_its_family_is_put_back() -> None:
    crystals = cells(0, 6)
    bent = replace(crystals, lattice_k=crystals.lattice_k + 0.05)
    cubic, hexagonal = cells_as_they_are(bent)
    a, b, c, *angles = cubic.lattice_parameters
    assert (a, b, *angles) == pytest.approx((c, c, 90, 90, 90), abs=1e-9)
    a, b, _, *angles = hexagonal.lattice_parameters
    assert (a, *angles) == pytest.approx((b, 90, 90, 120), abs=1e-9)


def test_an_atom_out_of_place_is_a_symmetry_mismatch_and_is_kept() -> None:
    crystals = cells(0)
    crystals.fractional_coords[0, 3] += torch.tensor([0.06, 0.03, 0.01])
    (crystal,) = cells_as_they_are(crystals)
    assert len(crystal) == 8 and crystal.status == "ok"
    checked = check_symmetry(crystal)
    assert checked.status == "symmetry_mismatch"
    assert checked.space_group_number == 225 and checked.found_space_group_number == 1
    gap = crystal.fractional_coords - crystals.fractional_coords[0].numpy()
    assert np.abs(gap - np.rint(gap)).max() < 1e-6


def test_readers_of_files_and_records_get_all_atoms_once() -> None:
    for crystal, expected in zip(cells_as_they_are(cells()), references(), strict=True):
        read = parse_cif(crystal.to_cif())
        assert len(read) == len(crystal) == len(expected)
        assert crystal.formula == expected.formula
        assert len(crystal.to_ase(primitive=True)) == len(crystal)
        (again,) = crystals_of([record_of(crystal)])
        assert again.to_cif() == crystal.to_cif()
        assert again.space_group_number == crystal.space_group_number
        assert again.group_of_sites == 1


def test_coinciding_atoms_and_numbers_that_are_none_are_records_and_no_exceptions() -> None:
    crystals = cells(0, 0, 0, 1)
    crystals.fractional_coords[0, 1] = crystals.fractional_coords[0, 0]  # sodium on sodium
    crystals.fractional_coords[1, 4] = crystals.fractional_coords[1, 0]  # chlorine on sodium
    crystals.fractional_coords[2, 0] = torch.nan
    crystals.lattice_k[3] = torch.inf
    found = cells_as_they_are(crystals)
    assert {crystal.status for crystal in found} == {"reconstruction_failed"}
    assert [crystal.space_group_number for crystal in found] == [225] * 4
    reasons = [crystal.reason for crystal in found]
    assert reasons[:2] == ["sites of Na and Na coincide", "sites of Na and Cl coincide"]
    assert "coordinates" in reasons[2] and "lattice" in reasons[3]


def test_untrained_weights_give_a_record_for_every_request(model: SymmBFN) -> None:
    sampler = preset_sampler(model, n_steps=3)
    request = Request(n=40, seed=3)
    parts = generate_batches(model, request, sampler, batch_size=16)
    found = {crystal.index: crystal for part in parts for crystal in part}
    assert sorted(found) == list(request.numbers)
    drawn = draw(request, model.config, model.statistics).rows.tolist()
    for i, (group, n_atoms, n_elements) in enumerate(drawn):
        crystal = found[i]
        assert crystal.space_group_number == group
        if not crystal.has_structure:
            assert crystal.status == "reconstruction_failed" and crystal.reason
            continue
        assert len(crystal) == n_atoms
        if "pointers" in model.categorical:
            assert len(set(crystal.atomic_numbers.tolist())) == n_elements
        record_of(check_symmetry(crystal))
    assert any(crystal.has_structure for crystal in found.values())
    assert len(generate(n=3, weights=model, n_steps=1)) == 3
