"""The model: variables of a crystal and back, masks, exact beginnings, and symmetries."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

from symmbfn.crystals.asymmetric_unit import AsymmetricUnit, AsymmetricUnitBatch
from symmbfn.crystals.lattice import lattice_constraints
from symmbfn.crystals.symmetry import operations_of, orbit_of, positions_of, symmetry_tables
from symmbfn.flows import categorical
from symmbfn.model.class_configs import AxesConfig, ElementSlotsConfig, SiteElementsConfig
from symmbfn.model.config import (
    ImagesConfig,
    LossConfig,
    NetworkConfig,
    default_config,
    full_cell_config,
    paper_config,
)
from symmbfn.model.number_configs import EuclideanCoordsConfig, LatticeConfig
from symmbfn.model.padded_operations import padded_operations
from symmbfn.model.statistics import compute_statistics
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables, element_classes, slots_and_pointers
from tests.models import (
    batch,
    beliefs_at,
    cells,
    config,
    elements,
    fresh_model,
    perfect_predictor,
    shaken_model,
    units,
)

PRESETS = ("default", "paper")
# groups in which every operation is its own inverse up to lattice translations: no site has two
# images at exactly one distance, so that rounding cannot exchange the nearest two
WITHOUT_TIES = (13, 14, 15)


def at(value: Variables, rows, sites=None) -> dict[str, torch.Tensor]:
    """All entries of estimates for some crystals, probabilities in place of their logs."""
    parts = {**value.continuous, **{k: v.exp() for k, v in value.categorical.items()}}
    chosen = {name: part[rows] for name, part in parts.items()}
    if sites is None:
        return chosen
    per_crystal = ("lattice", "elements") if "pointers" in parts else ("lattice",)
    return {n: p if n in per_crystal else p[:, sites] for n, p in chosen.items()}


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor], atol: float) -> None:
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(
            one[name], other[name], rtol=0, atol=atol, msg=lambda m, n=name: f"{n}: {m}"
        )


# --- data to variables and back ------------------------------------------------------------------


def test_slots_are_the_distinct_classes_in_order_and_pointers_lead_back() -> None:
    generator = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 12, (200, 9), generator=generator)
    is_site = torch.arange(9) < torch.randint(1, 8, (200, 1), generator=generator)
    slots, pointers, n_elements = slots_and_pointers(classes, is_site, 12, 8)
    for row in range(200):
        mine = classes[row][is_site[row]].tolist()
        distinct = sorted(set(mine))
        assert n_elements[row] == len(distinct)
        assert slots[row].tolist() == distinct + [0] * (8 - len(distinct))
        assert [distinct[p] for p in pointers[row][is_site[row]]] == mine
    assert (pointers[~is_site] == 0).all()


def test_more_elements_than_slots_are_refused_and_padding_is_no_element() -> None:
    classes = torch.tensor([[0, 1, 2, 3]])
    is_site = torch.ones(1, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="4 elements.*3 slots"):
        slots_and_pointers(classes, is_site, 12, 3)
    is_site[0, 3] = False
    assert slots_and_pointers(classes, is_site, 12, 3)[2].tolist() == [3]


@pytest.mark.parametrize("preset", PRESETS)
def test_variables_lead_back_to_the_crystal(preset: str) -> None:
    model, crystals = fresh_model(preset), batch()
    data, conditions = model.encode(crystals)
    real = crystals.is_site
    coords = model.fractional(data.continuous["coords"])[real]
    expected = crystals.fractional_coords[real]
    if preset == "paper":
        assert (coords >= 0).all() and (coords < 1).all()
        expected = expected % 1.0
    torch.testing.assert_close(coords, expected, rtol=0, atol=1e-6)
    k = model.lattice_k(data.continuous["lattice"], conditions)
    torch.testing.assert_close(k, crystals.lattice_k, rtol=0, atol=1e-5)
    number = torch.tensor(model.config.elements)
    classes = data.categorical["elements"]
    if preset == "default":
        classes = classes.gather(1, data.categorical["pointers"])
        assert (data.categorical["letters"] == crystals.wyckoff_positions).all()
    else:
        for row, unit in enumerate(units()):
            start = positions_of(unit.space_group_number).start
            encoding = symmetry_tables().encoding[start + unit.wyckoff_positions]
            assert (data.categorical["axes"][row, : len(unit)].numpy() == encoding).all()
    assert (number[classes][real] == crystals.atomic_numbers[real]).all()


@pytest.mark.parametrize("indices", [(5,), (5, 5, 5), (4, 5)], ids=["site", "same", "metals"])
def test_crystals_that_hardly_differ_can_be_learnt(indices: tuple[int, ...]) -> None:
    crystals, settings = batch(*indices), config("default")
    model = SymmBFN(settings, compute_statistics(crystals, settings))
    assert (model.coords_std >= 0.05).all() and (model.lattice_std >= 0.05).all()
    data, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    nats, cross_entropy = model.losses(data, model(beliefs, conditions, time), conditions, time)
    assert all(value.isfinite().all() for value in (*nats.values(), *cross_entropy.values()))


def test_an_element_without_a_class_is_named() -> None:
    with pytest.raises(ValueError, match=r"\[92\]"):
        element_classes(torch.tensor([[8, 92, 0]]), (8, 26))
    assert element_classes(torch.tensor([[8, 26, 0]]), (8, 26)).tolist() == [[0, 1, 0]]


def test_statistics_are_those_of_the_crystals() -> None:
    crystals = batch(dtype=torch.float64)
    found = compute_statistics(crystals, config("default"))
    x = np.concatenate([unit.fractional_coords for unit in units()])
    np.testing.assert_allclose(found.coords_mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(found.coords_std, x.std(0), atol=1e-6)
    k = np.stack([unit.lattice_k for unit in units()])
    free = np.stack([symmetry_tables().lattice_free[u.space_group_number - 1] for u in units()])
    for i in range(6):
        mine = k[free[:, i], i]
        assert found.lattice_mean[i].item() == pytest.approx(mine.mean(), abs=1e-6)
        assert found.lattice_std[i].item() == pytest.approx(max(mine.std(), 0.05), abs=1e-6)
    conditions = Counter(
        (u.space_group_number, len(u), len(set(u.atomic_numbers.tolist()))) for u in units()
    )
    rows = zip(map(tuple, found.conditions.tolist()), found.condition_count.tolist(), strict=True)
    assert dict(rows) == dict(conditions)


def test_frequencies_count_elements_of_crystals_or_of_sites_and_letters_of_their_group() -> None:
    crystals = batch()
    slots = compute_statistics(crystals, config("default")).element_log_prior.exp()
    in_crystals = Counter(z for u in units() for z in set(u.atomic_numbers.tolist()))
    weight = np.array([in_crystals[z] + 0.5 for z in elements()])
    np.testing.assert_allclose(slots, weight / weight.sum(), rtol=1e-5)
    sites = compute_statistics(crystals, config("paper")).element_log_prior.exp()
    on_sites = Counter(z for u in units() for z in u.atomic_numbers.tolist())
    weight = np.array([on_sites[z] + 0.5 for z in range(1, 95)])
    np.testing.assert_allclose(sites, weight / weight.sum(), rtol=1e-5)
    letters = compute_statistics(crystals, config("default")).position_log_prior.exp().numpy()
    for number in range(1, 231):
        assert letters[positions_of(number)].sum() == pytest.approx(1, abs=1e-5)
    fluorite = letters[positions_of(225)]
    # 4a twice, 4b once, 8c once; half a count for each of the twelve positions
    assert fluorite[::-1][:3] == pytest.approx(np.array([2.5, 1.5, 1.5]) / 10, rel=1e-5)


# --- exact beginnings ----------------------------------------------------------------------------


@pytest.mark.parametrize("t", [0.01, 0.3, 1.0])
def test_a_fresh_model_is_the_exact_independent_posterior(t: float) -> None:
    """Last layers zero: classes by Bayes' rule from the train marginal, data by conjugacy."""
    model, crystals = fresh_model(), batch()
    _, beliefs, conditions, time = beliefs_at(model, crystals, t)
    with torch.no_grad():
        estimates = model(beliefs, conditions, time)
    for name in model.continuous:
        # prior N(0, 1), observation of precision beta: mu is the posterior mean
        torch.testing.assert_close(estimates.continuous[name], beliefs.continuous[name])
    statistics = model.statistics
    for row, site in ((0, 0), (11, 1), (15, 4)):
        checks = {
            "elements": (
                min(site, int(conditions.n_elements[row]) - 1),
                statistics.element_log_prior,
            ),
            "letters": (site, statistics.position_log_prior[conditions.rows[row]]),
            "pointers": (site, torch.zeros(model.config.most_elements)),
        }
        for name, (place, log_prior) in checks.items():
            z = beliefs.categorical[name][row, place].double().numpy()
            n_classes = len(z)
            beta = float(model.variables[name].schedule(time)[0][row])
            means = beta * (n_classes * np.eye(n_classes) - 1)
            log_density = stats.norm.logpdf(z, means, np.sqrt(beta * n_classes)).sum(-1)
            weight = log_density + log_prior.double().numpy()
            allowed = model.variables[name].allowed(conditions)
            if allowed is not None:
                weight[~allowed[row, 0].numpy()] = -np.inf
            expected = np.exp(weight - weight.max())
            expected /= expected.sum()
            found = estimates.categorical[name][row, place].exp().numpy()
            np.testing.assert_allclose(found, expected, atol=2e-4, err_msg=name)


def test_without_preconditioning_a_fresh_model_says_the_frequencies() -> None:
    model, crystals = fresh_model("paper"), batch()
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.7)
    estimates = model(beliefs, conditions, time)
    frequency = model.statistics.element_log_prior
    expected = frequency.expand(*crystals.is_site.shape, -1)
    torch.testing.assert_close(estimates.categorical["elements"], expected, rtol=0, atol=1e-5)
    axes = estimates.categorical["axes"].exp()
    torch.testing.assert_close(axes, torch.full_like(axes, 1 / 13))


@pytest.mark.parametrize("preset", PRESETS)
def test_beliefs_before_the_first_call_are_those_about_an_average_crystal(preset: str) -> None:
    model = fresh_model(preset)
    rows = torch.zeros(4000, dtype=torch.long) + 15
    crystals = batch()[rows]
    _, conditions = model.encode(crystals)
    generator, t = torch.Generator().manual_seed(0), 0.02
    noise = Variables(
        {
            n: torch.randn(model.variables[n].shape(conditions), generator=generator)
            for n in model.continuous
        },
        {
            n: torch.randn(model.variables[n].shape(conditions), generator=generator)
            for n in model.categorical
        },
    )
    start = model.prior(conditions, t, noise)
    time = torch.tensor(t)
    for name in model.continuous:
        gamma = float(model.variables[name].schedule.gamma(time))
        real = model.variables[name].is_real(conditions).expand_as(start.continuous[name])
        values = start.continuous[name]
        assert (values[~real] == 0).all()
        # gamma^2 var(x) + gamma (1 - gamma) with unit variance of the data
        assert values[real].var().item() == pytest.approx(gamma, rel=0.05)
    frequencies = {"elements": model.statistics.element_log_prior.exp()}
    if preset == "default":
        frequencies["letters"] = model.statistics.position_log_prior.exp()[conditions.rows[0]]
        frequencies["letters"][~conditions.is_position[0]] = 0
    for name, frequency in frequencies.items():
        beta, k = float(model.variables[name].schedule(time)[0]), model.classes[name].n_classes
        z = start.categorical[name].flatten(0, -2)
        error = 5 * np.sqrt(k * beta / len(z))
        torch.testing.assert_close(z.mean(0), beta * (k * frequency - 1), rtol=0, atol=error)
        assert z.var(0).mean().item() == pytest.approx(k * beta, rel=0.05)


# --- masks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_estimates_are_normalised_and_stay_in_the_group(preset: str) -> None:
    model, crystals = shaken_model(preset, scale=0.3), batch()
    for t in (1e-3, 0.5, 1.0):
        _, beliefs, conditions, time = beliefs_at(model, crystals, t)
        estimates = model(beliefs, conditions, time)
        for log_p in estimates.categorical.values():
            torch.testing.assert_close(log_p.exp().sum(-1), torch.ones(log_p.shape[:-1]))
            assert log_p.dtype == torch.float32
        if preset == "default":
            letters = estimates.categorical["letters"].exp()
            for row, unit in enumerate(units()):
                rows = positions_of(unit.space_group_number)
                n_positions = rows.stop - rows.start
                assert (letters[row, :, n_positions:] == 0).all()
                assert estimates.categorical["letters"][row, :, :n_positions].isfinite().all()
            pointers = estimates.categorical["pointers"].exp()
            beyond = torch.arange(model.config.most_elements) >= conditions.n_elements[:, None]
            assert (pointers.masked_select(beyond[:, None].expand_as(pointers)) == 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_what_the_group_fixes_of_the_lattice_is_zero_and_without_gradient(preset: str) -> None:
    model, crystals = shaken_model(preset), batch()
    data, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    fixed = ~lattice_constraints(crystals.space_group_number)[0]
    assert fixed.any() and not fixed.all()
    outputs = []
    model.write_lattice.register_forward_hook(lambda *args: outputs.append(args[-1]))
    estimates = model(beliefs, conditions, time)
    for value in (data, beliefs, estimates):
        assert (value.continuous["lattice"][fixed] == 0).all()
        assert (value.continuous["lattice"][~fixed] != 0).any()
    nats, _ = model.losses(data, estimates, conditions, time)
    (gradient,) = torch.autograd.grad(nats["lattice"].sum(), outputs[0])
    assert (gradient[fixed] == 0).all()
    assert (gradient[~fixed] != 0).all()


# --- losses --------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", PRESETS)
def test_a_perfect_predictor_has_no_loss(preset: str) -> None:
    model, crystals = shaken_model(preset), batch()
    data, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    perfect = perfect_predictor(model, data)(beliefs, conditions, time, None)
    nats, cross_entropy = model.losses(data, perfect, conditions, time)
    assert all((value == 0).all() for value in (*nats.values(), *cross_entropy.values()))
    assert (model.training_loss(nats, cross_entropy, conditions) == 0).all()


@pytest.mark.parametrize("preset", PRESETS)
def test_losses_are_the_sums_of_the_paper(preset: str) -> None:
    """Equations 5 and 10 written out crystal by crystal, and the weights per site."""
    model, crystals = shaken_model(preset), batch()
    data, beliefs, conditions, time = beliefs_at(model, crystals, torch.linspace(0.1, 0.9, 16))
    estimates = model(beliefs, conditions, time)
    nats, cross_entropy = model.losses(data, estimates, conditions, time)
    total = model.training_loss(nats, cross_entropy, conditions)
    c = model.config
    for row, unit in enumerate(units()):
        t, n = float(time[row]), len(unit)
        n_elements = len(set(unit.atomic_numbers.tolist()))
        free = symmetry_tables().lattice_free[unit.space_group_number - 1]
        counted = {
            "lattice": (free, 6),
            "coords": (slice(n), n),
            "elements": (slice(n_elements), n_elements),
            "pointers": (slice(n), n),
            "letters": (slice(n), n),
            "axes": (slice(n), 15 * n),
        }
        if preset == "paper":
            counted["elements"] = (slice(n), n)
        loss = 0.0
        for name, (entries, size) in counted.items():
            if name in model.continuous:
                s1 = model.variables[name].schedule.sigma1
                error = data.continuous[name][row] - estimates.continuous[name][row]
                chosen = torch.tensor(entries) if name == "lattice" else entries
                square = error[chosen].double().square().sum().item()
                expected = -np.log(s1) * square / s1 ** (2 * t)
            elif name in model.categorical:
                k, beta1 = model.classes[name].n_classes, model.variables[name].schedule.beta1
                p = estimates.categorical[name][row][entries].exp().double()
                e = torch.nn.functional.one_hot(data.categorical[name][row][entries], k)
                expected = k * beta1 * t * (e - p).square().sum().item()
                true = p[e.bool()].log()
                assert cross_entropy[name][row].item() == pytest.approx(
                    -true.mean().item(), rel=1e-3, abs=1e-6
                )
                loss += c.loss.cross_entropy * -true.mean().item()
            else:
                continue
            assert nats[name][row].item() == pytest.approx(expected, rel=1e-3, abs=1e-5), name
            loss += model.variables[name].weight * expected / size
        assert total[row].item() == pytest.approx(loss, rel=1e-3, abs=1e-5)


def test_the_accuracies_follow_the_configuration() -> None:
    model = fresh_model("paper")
    assert model.variables["coords"].schedule.sigma1 == 0.02
    # standardised coordinates: the same deviation in fractional units
    model = fresh_model("default")
    scaled = model.variables["coords"].schedule.sigma1 * model.coords_std.mean().item()
    assert scaled == pytest.approx(0.02)


# --- symmetries of the whole model ---------------------------------------------------------------


def permuted(crystals: AsymmetricUnitBatch, order: torch.Tensor) -> AsymmetricUnitBatch:
    return replace(
        crystals,
        atomic_numbers=crystals.atomic_numbers[:, order],
        wyckoff_positions=crystals.wyckoff_positions[:, order],
        fractional_coords=crystals.fractional_coords[:, order],
        is_site=crystals.is_site[:, order],
    )


def permuted_variables(model, value: Variables, order: torch.Tensor) -> Variables:
    per_crystal = {"lattice"} | ({"elements"} if "pointers" in model.categorical else set())
    move = {
        kind: {n: v if n in per_crystal else v[:, order] for n, v in getattr(value, kind).items()}
        for kind in ("continuous", "categorical")
    }
    return Variables(**move)


@pytest.mark.parametrize("preset", PRESETS)
def test_permuting_the_sites_permutes_the_estimates(preset: str) -> None:
    model = shaken_model(preset)
    crystals = batch(*WITHOUT_TIES)
    order = torch.tensor([4, 1, 5, 0, 3, 2])
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    _, given_too = model.encode(permuted(crystals, order))
    first = model(beliefs, conditions, time)
    first = model(beliefs, conditions, time, first)
    again = model(permuted_variables(model, beliefs, order), given_too, time)
    again = model(permuted_variables(model, beliefs, order), given_too, time, again)
    expected = permuted_variables(model, first, order)
    real = given_too.is_site
    for kind in ("continuous", "categorical"):
        for name, value in getattr(again, kind).items():
            a, b = value, getattr(expected, kind)[name]
            if a.shape[1] == real.shape[1] and name not in ("lattice",):
                a, b = a[real], b[real]
            torch.testing.assert_close(a.exp(), b.exp(), rtol=0, atol=2e-5)
    # the negative control: sites really differ
    assert (first.continuous["coords"][:, 0] - first.continuous["coords"][:, 1]).abs().max() > 1e-3


@pytest.mark.parametrize("preset", PRESETS)
def test_neither_padding_nor_company_changes_a_crystal(preset: str) -> None:
    model = shaken_model(preset)
    crystals = batch(*WITHOUT_TIES)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    together = model(beliefs, conditions, time)
    together = model(beliefs, conditions, time, together)
    for row, n in enumerate(crystals.n_sites.tolist()):
        _, own = model.encode(crystals[row : row + 1])
        cut = {
            kind: {
                name: value[row : row + 1]
                if name == "lattice" or (name == "elements" and "pointers" in model.categorical)
                else value[row : row + 1, :n]
                for name, value in getattr(beliefs, kind).items()
            }
            for kind in ("continuous", "categorical")
        }
        alone = model(Variables(**cut), own, time[:1])
        alone = model(Variables(**cut), own, time[:1], alone)
        sites = slice(0, n)
        assert_same(at(together, slice(row, row + 1), sites), at(alone, slice(0, 1), sites), 5e-4)


@pytest.mark.parametrize("preset", PRESETS)
def test_junk_on_padded_places_is_never_read(preset: str) -> None:
    model, crystals = shaken_model(preset), batch(*WITHOUT_TIES)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    clean = model(beliefs, conditions, time)
    junk = Variables(dict(beliefs.continuous), dict(beliefs.categorical))
    for name in model.categorical:
        real = model.variables[name].is_real(conditions)[..., None]
        junk.categorical[name] = torch.where(real, junk.categorical[name], 50.0)
    coords = junk.continuous["coords"]
    junk.continuous["coords"] = torch.where(conditions.is_site[..., None], coords, 3.0)
    dirty = model(junk, conditions, time)
    for row, n in enumerate(crystals.n_sites.tolist()):
        sites, one = slice(0, n), slice(row, row + 1)
        clean_row, dirty_row = at(clean, one, sites), at(dirty, one, sites)
        if "pointers" in model.categorical:
            used = slice(0, int(conditions.n_elements[row]))
            for part in (clean_row, dirty_row):
                part["elements"] = part["elements"][:, used]
        assert_same(clean_row, dirty_row, 2e-5)


def test_all_that_is_given_and_believed_is_heard() -> None:
    """Every input moves the estimates: the negative control of the invariances above."""
    model, crystals = shaken_model(), batch(*WITHOUT_TIES)
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
    before = model(beliefs, conditions, time)

    def moves(changed: Variables) -> bool:
        difference = changed.continuous["coords"] - before.continuous["coords"]
        return difference[conditions.is_site].abs().amax().item() > 1e-4

    assert moves(model(beliefs, conditions, time * 0.9))
    assert moves(model(beliefs, conditions, time, before))
    other_group = model.conditions(
        torch.tensor([62, 62, 33]), conditions.is_site, conditions.n_elements
    )
    assert moves(model(beliefs, other_group, time))
    fewer = model.conditions(
        conditions.space_group_number, conditions.is_site, conditions.n_elements - 1
    )
    assert moves(model(beliefs, fewer, time))
    for kind in ("continuous", "categorical"):
        for name, value in getattr(beliefs, kind).items():
            parts = {
                "continuous": dict(beliefs.continuous),
                "categorical": dict(beliefs.categorical),
            }
            parts[kind][name] = value + 0.3 * torch.linspace(-1, 1, value.numel()).view_as(value)
            assert moves(model(Variables(**parts), conditions, time)), name


@pytest.mark.parametrize("preset", PRESETS)
def test_one_site_and_more_sites_than_are_embedded_work(preset: str) -> None:
    model = shaken_model(preset)
    rng = np.random.default_rng(0)
    large = AsymmetricUnit(
        1,
        np.array([0, 0, 0, 0, 0, 2.5]),
        rng.choice([8, 11, 22], 70),
        np.zeros(70, dtype=int),
        rng.random((70, 3)) - 0.06,
    )
    for crystals in (batch(4), AsymmetricUnitBatch.stack([large], torch.float32)):
        data, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
        nats, _ = model.losses(data, model(beliefs, conditions, time), conditions, time)
        assert all(value.isfinite().all() for value in nats.values())


# --- settings ------------------------------------------------------------------------------------


def test_the_paper_preset_is_the_minimal_faithful_configuration() -> None:
    c = paper_config()
    assert c.elements == tuple(range(1, 95))
    shape = c.network
    assert (shape.width, shape.depth, shape.n_frequencies) == (512, 6, 128)
    assert (shape.edge_layers, shape.edge_width, shape.is_modulated) == (2, 0, False)
    assert c.coords == EuclideanCoordsConfig(
        sigma1=0.02, target="noise", weight=1.0, is_standardised=False
    )
    assert c.lattice == LatticeConfig(sigma1=0.02, target="noise", weight=0.1)
    assert c.composition == SiteElementsConfig(beta1=0.25, weight=3.0)
    assert c.symmetry == AxesConfig(beta1=2.5, weight=10.0)
    assert c.loss == LossConfig(cross_entropy=0.0, min_t=1e-4)
    assert c.images is None
    assert not (c.is_preconditioned or c.has_self_conditioning or c.has_fixed_parts)


@pytest.mark.parametrize("config_of", [default_config, paper_config, full_cell_config])
def test_a_preset_takes_elements_and_the_size_of_its_network(config_of) -> None:
    usual, other = config_of((8, 26)), config_of((8, 26), width=48, depth=3)
    assert other.network == replace(usual.network, width=48, depth=3)
    assert replace(other, network=usual.network) == usual
    assert usual.elements == (8, 26)


def test_impossible_settings_are_refused_by_name() -> None:
    for make, message in (
        (lambda: LatticeConfig(target="velocity"), "(?s)target.*'velocity'"),
        (lambda: EuclideanCoordsConfig(target="velocity"), "(?s)target.*'velocity'"),
        (lambda: NetworkConfig(edge_layers=3), "edge_layers.*3"),
        (lambda: ImagesConfig(n_images=1), "n_images.*1"),
    ):
        # the types of the tests are checked, and refuse another literal before
        with pytest.raises((ValueError, TypeError), match=message):
            make()


@pytest.mark.parametrize("n_elements", [1, 2, 88])
def test_every_variable_settles_as_surely_whatever_the_number_of_classes(n_elements: int) -> None:
    c = default_config(tuple(range(1, 1 + n_elements)))
    slots = ElementSlotsConfig.for_elements(n_elements, n_slots=4)
    certainties = (n_elements * c.composition.beta1, 27 * c.symmetry.beta1, 4 * slots.pointer_beta1)
    # z-score sqrt(K beta1 / 2) = 4
    assert certainties == pytest.approx((32, 32, 32))
    assert slots.beta1 == c.composition.beta1 and 8 * c.composition.pointer_beta1 == 32


def test_a_model_of_no_elements_is_refused() -> None:
    with pytest.raises(ValueError, match="elements"):
        default_config(())


@pytest.mark.parametrize("preset", ["default", "paper", "full_cell", "circular"])
def test_what_the_features_state_is_what_they_are(preset: str) -> None:
    """Each feature has the width that it states, and the network is as wide as all of them."""
    model = shaken_model(preset, properties=("band_gap",) if preset == "default" else ())
    crystals = cells() if model.config.is_of_atoms else batch()
    _, beliefs, conditions, time = beliefs_at(model, crystals, 0.5)
    reading = model.read(beliefs, conditions, time, None)
    for features in (model.site_features, model.graph_features, model.pair_features):
        for feature in features.members:
            assert feature.of(reading).shape[-1] == feature.width
        assert features(reading).shape[-1] == features.width


def test_padded_operations_are_those_of_the_tables() -> None:
    rotations, translations, count = padded_operations()
    for number in (1, 2, 62, 166, 225):
        r, t = operations_of(number)
        assert count[number - 1] == len(r)
        np.testing.assert_array_equal(rotations[number - 1, : len(r)], r)
        np.testing.assert_allclose(translations[number - 1, : len(r)], t, atol=1e-7)
        assert (rotations[number - 1, 0] == torch.eye(3)).all()


def test_the_units_of_these_tests_lie_on_their_loci() -> None:
    for unit in units():
        for position, x in zip(unit.wyckoff_positions, unit.fractional_coords, strict=True):
            rotations, translations = orbit_of(unit.space_group_number, int(position))
            miss = rotations[0] @ x + translations[0] - x
            np.testing.assert_allclose(miss - np.round(miss), 0, atol=1e-9)


def test_logits_of_the_marginal_are_masked() -> None:
    model, crystals = fresh_model(), batch()
    _, conditions = model.encode(crystals)
    like = torch.zeros(model.variables["letters"].shape(conditions))
    marginal = model.classes["letters"].frequencies(conditions, like)
    torch.testing.assert_close(marginal.sum(-1), torch.ones(marginal.shape[:-1]))
    outside = ~conditions.is_position[:, None].expand_as(marginal)
    assert (marginal[outside] == 0).all()
    assert categorical.masked_log_softmax(like).exp().max() < marginal.max()


def test_an_earlier_estimate_is_read_with_self_conditioning_only() -> None:
    """Trained without, the network would take it for the coordinates that it was shown."""
    for preset, is_read in (("default", True), ("paper", False)):
        model, crystals = shaken_model(preset), batch(*WITHOUT_TIES)
        _, beliefs, conditions, time = beliefs_at(model, crystals, 0.6)
        first = model(beliefs, conditions, time)
        again = model(beliefs, conditions, time, first)
        same = torch.equal(first.continuous["coords"], again.continuous["coords"])
        assert same != is_read
