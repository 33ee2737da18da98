"""Table 3 anew: models that differ in what they say, times that are averaged as they should."""

from dataclasses import replace
from types import ModuleType

import pytest
import torch

from symmbfn.benchmark.bench import Bench
from symmbfn.benchmark.timing import Sizes, sizes_of
from symmbfn.datasets.batches import OPERATION_EDGES, SITE_EDGES, edge_of, n_operations
from symmbfn.datasets.full_cell import full_cells
from symmbfn.model.config import circular_config
from tests.models import dataset, units

BENCH = Bench("command")


@pytest.fixture
def script() -> ModuleType:
    from scripts.comparisons import table3

    return table3


def test_rows_differ_in_representation_and_flow_alone(script: ModuleType) -> None:
    found = script.presets(16, 2)
    assert [*found] == ["symmbfn", "full_cell", "circular", "circular_primitive", "default"]
    assert {(c.network.width, c.network.depth) for c, _ in found.values()} == {(16, 2)}
    symmbfn, full = found["symmbfn"][0], found["full_cell"][0]
    differs = {name for name in vars(full) if getattr(full, name) != getattr(symmbfn, name)}
    assert differs == {"symmetry"}
    assert (
        found["circular"][0]
        == found["circular_primitive"][0]
        == replace(full, coords=circular_config().coords)
    )
    crystals = dataset()
    atoms = {name: int(form(crystals).n_sites.sum()) for name, (_, form) in found.items()}
    assert atoms["symmbfn"] == atoms["default"] == int(crystals.n_sites.sum())
    assert atoms["symmbfn"] < atoms["circular_primitive"] < atoms["circular"] == atoms["full_cell"]
    for name, (config, _) in found.items():
        sampler = script.sampler_of(name, script.new_model(config, BENCH.device))
        assert (sampler.n_steps == 100) == (name != "default")


@pytest.mark.parametrize("by_operations", [False, True])
def test_buckets_stand_for_all_crystals(script: ModuleType, by_operations: bool) -> None:
    """Padded pairs of the average crystal are those of all, not of a sample."""
    sizes = sizes_of(full_cells(dataset(3)), 8)
    buckets = script.buckets_of(sizes, 64, by_operations=by_operations)
    assert sum(bucket.share for bucket in buckets) == pytest.approx(1)
    pairs = edge_of(sizes.conditions[:, 1], SITE_EDGES).double() ** 2
    exact = float((pairs * sizes.count).sum() / sizes.count.sum())
    found = 0.0
    for bucket in buckets:
        (edge,) = edge_of(bucket.rows[:, 1], SITE_EDGES).unique()
        operations = edge_of(n_operations(bucket.rows[:, 0]), OPERATION_EDGES).unique()
        assert len(operations) == 1 or not by_operations
        assert len(bucket.rows) == script.rows_of_bucket(int(edge), 64)
        found += bucket.share * float(edge) ** 2
    assert found == pytest.approx(exact)
    assert len(sizes.conditions) <= len(units())


def test_a_crystals_time_is_its_calls_and_its_steps(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The network takes 3 s a crystal in one bucket, 5 s in the other; a step half a second."""
    clock = [0.0]
    run = object.__new__(script.Run)
    rows = [torch.ones(4, 3), torch.ones(8, 3)]
    run.buckets = [script.Bucket(rows[0], 0.75), script.Bucket(rows[1], 0.25)]
    run.met = [((4, 3.0), None), ((8, 5.0), None)]
    run.device, run.sampler = BENCH.device, script.SamplerConfig(n_steps=10)

    def call(n: int, seconds: float) -> None:
        clock[0] += n * seconds

    def steps(rows: torch.Tensor, network: object, sampler: object) -> None:
        clock[0] += len(rows) * 0.5 * sampler.n_steps

    run.predict, run._sample = call, steps
    monkeypatch.setattr(script, "now", lambda device: clock[0])
    network, sampler = run.seconds()
    assert network == pytest.approx(11 * (0.75 * 3 + 0.25 * 5))
    assert sampler == pytest.approx(10 * 0.5)


def test_the_call_that_is_timed_is_one_of_the_samplers(script: ModuleType) -> None:
    buckets = script.buckets_of(
        Sizes(torch.tensor([[62, 3, 2]]), torch.tensor([1])), 8, by_operations=False
    )
    for name, (config, _) in script.presets(16, 1).items():
        model = script.new_model(config, BENCH.device)
        run = script.Run(model, script.sampler_of(name, model), buckets)
        (((beliefs, conditions, t, previous), answer),) = run.met
        assert conditions.is_site.sum() == 8 * 3
        assert beliefs.continuous["coords"].shape[:2] == answer.continuous["coords"].shape[:2]
        assert (t == 1).all()
        # what reads its earlier estimate is timed with one to read
        assert previous is not None
        network, steps = run.seconds()
        assert network > 0 and steps > 0


def test_claims_by_hand(script: ModuleType) -> None:
    seconds = {
        "symmbfn.mp_20": [(0.006, 0.002), (0.008, 0.002), (0.004, 0.002)],
        "symmbfn.mpts_52": [(0.012, 0.004), (0.026, 0.004), (0.008, 0.004)],
        "full_cell.mp_20": [(0.078, 0.002), (0.098, 0.002), (0.058, 0.002)],
        "full_cell.mpts_52": [(0.4, 0.08), (0.5, 0.1), (0.3, 0.06)],
    }
    facts = dict.fromkeys(seconds, (64, "Fact."))
    found = {claim.name: claim for claim in script.claims_of(BENCH, seconds, facts)}
    ours = found["table3.symmbfn.ms"]
    assert ours.value == found["table3.symmbfn.mp_20.ms"].value == 8
    assert (ours.interval, ours.n) == ((6, 10), 64)
    assert ours.note == "Fact. Network 6 ms. The paper: 7."
    scaling = found["table3.symmbfn.scaling"]
    # each round by itself: 16 / 8, 30 / 10, 12 / 6
    assert scaling.value == 2 and scaling.interval == (2, 3)
    assert scaling.note.endswith("The paper: 1.14.")
    gain = found["table3.ratio.full_cell_over_symmbfn.mpts_52"]
    assert gain.value == 30 and "more than 6 times" in gain.note
    assert not any("circular" in name or "default" in name for name in found)
    gpu = Bench("command", prefix="gpu.")
    assert all(c.name.startswith("gpu.table3.") for c in script.claims_of(gpu, seconds, facts))


def test_one_run_makes_every_figure(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    sets = {"mp_20": dataset(), "mpts_52": dataset(2)}
    monkeypatch.setattr(script, "data_sets", lambda bench: sets)
    monkeypatch.setattr(script, "rows_of_bucket", lambda n_sites, batch_size: 2)
    monkeypatch.setattr(script, "PUBLISHED_STEPS", 3)
    names = {claim.name for claim in script.measure(BENCH, 16, 1, rounds=1)}
    for row in script.presets(16, 1):
        wanted = {f"table3.{row}.{what}" for what in ("ms", "mp_20.ms", "mpts_52.ms", "scaling")}
        assert wanted <= names
    assert "table3.ratio.symmbfn_over_default.mpts_52" in names
