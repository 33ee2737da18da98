"""Speeds are ratios of runs in turns, of models that are what they claim; counts are right."""

import importlib
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from symmbfn.benchmark import bench as benchmark
from symmbfn.benchmark import stages, timing
from symmbfn.benchmark.bench import Bench, models, products_of, run_names, speedup_claims
from symmbfn.benchmark.cost_model import Cost, network_products, stage_costs
from symmbfn.benchmark.timing import Sizes, alternate, crystals_of, drawn_batches, ratio, sizes_of
from symmbfn.claims.store import Claim
from symmbfn.cli.verbs import main
from symmbfn.generation.sampler import Predictor, predictor, preset_sampler
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Variables
from symmbfn.runtime.compilation import difference, onednn_products, torch_defaults
from symmbfn.training.steps import draw_noise
from tests.models import CPU, batch, beliefs_at, dataset, shaken_model, sites, units

QUICK = ["benchmark", "--quick", "--device", "cpu", "--dtype", "float32"]
BENCH = Bench("command", is_quick=True)
ROOT = Path(__file__).parents[2]


def test_runs_alternate_and_ratios_pair_the_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(timing, "now", lambda _: clock[0])

    def run(name: str, seconds: list[float]):
        def action() -> None:
            order.append(name)
            clock[0] += seconds[order.count(name) - 1]

        return action

    # the machine slows down threefold: each round is judged by itself
    actions = {"slow": run("slow", [4, 12, 10]), "fast": run("fast", [2, 6, 2])}
    seconds = alternate(actions, 3, CPU)
    assert order == ["slow", "fast"] * 3
    assert ratio(seconds["slow"], seconds["fast"]) == (2.0, (2.0, 5.0))


def test_claims_compare_what_they_say() -> None:
    seconds = {
        "ours": [1.0, 1.0],
        "same_function": [4.0, 4.0],
        "published_layers": [6.0, 6.0],
        "published_layers-bf16": [9.0, 9.0],
    }
    units = {
        "ours": 2000,
        "same_function": 500,
        "published_layers": 500,
        "published_layers-bf16": 1,
    }
    found = {
        claim.name: claim
        for claim in speedup_claims(BENCH, "sample", "mp_20", seconds, units, 10, "")
    }
    assert found["sample.us.mp_20.ours"].value == 500
    assert found["sample.speedup_vs_pyg.mp_20"].value == 24
    assert found["sample.speedup_vs_pyg.mp_20.same_function"].value == 16
    # no baseline without its partner
    assert "sample.speedup_vs_pyg.mp_20.bf16" not in found


def test_the_baselines_are_what_they_claim() -> None:
    found = models(BENCH)
    ours, c = found["ours"], found["ours"].config
    crystals = crystals_of(torch.tensor([[62, 4, 3], [225, 2, 2], [1, 7, 4]]), ours)
    data, conditions = ours.encode(crystals.batch(torch.arange(3)))
    noise = draw_noise(ours, conditions, torch.Generator().manual_seed(0), torch.device("cpu"))
    t = torch.full((3,), 0.5)
    beliefs = ours.flow(data, conditions, t, noise)
    with torch.no_grad():
        mine, theirs = (found[name](beliefs, conditions, t) for name in ("ours", "same_function"))
    gap = (mine.continuous["coords"] - theirs.continuous["coords"]).abs().max()
    assert gap < 1e-5
    for name in ("published_layers", "as_published"):
        other = found[name].config
        shape = other.network
        assert (shape.width, shape.depth) == (c.network.width, c.network.depth)
        assert (shape.edge_width, shape.edge_layers, shape.is_modulated) == (0, 2, False)
        assert other.elements == c.elements
    layers = found["published_layers"].config
    for name in ("images", "has_self_conditioning", "symmetry", "composition"):
        assert getattr(layers, name) == getattr(c, name)
    assert layers.network.n_frequencies == c.network.n_frequencies
    assert found["as_published"].config.network.n_frequencies == 128
    assert [model.network.is_published for model in list(found.values())[1:]] == [
        False,
        False,
        True,
    ]


def test_baselines_run_with_torch_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's own switch is seen inside of its sampler, and is off for a baseline."""
    monkeypatch.setattr("symmbfn.runtime.compilation._is_medium_exact", lambda: True)
    model = shaken_model("default", width=96)
    seen = []

    def spy(*arguments: object) -> object:
        seen.append(torch.get_float32_matmul_precision())
        return model(*arguments)

    run = benchmark.sampling_run(model, spy, [torch.tensor([[62, 2, 2]])], 1)
    for name in ("ours", "same_function", "same_function-onednn"):
        seen.clear()
        with products_of(name, CPU):
            run()
        is_default = name == "same_function"
        assert {*seen} == ({"highest"} if is_default else {"medium"}), name
    for context, precision in ((torch_defaults(), "highest"), (nullcontext(), "medium")):
        with context, onednn_products(CPU):
            assert torch.get_float32_matmul_precision() == precision


def test_runs_follow_the_types_and_the_device() -> None:
    single = run_names(Bench("", dtypes=("float32",)), is_compiled=False)
    assert single == [
        "ours",
        "same_function",
        "published_layers",
        "as_published",
        "published_layers-onednn",
        "same_function-onednn",
    ]
    both = run_names(Bench("", device=torch.device("cuda")), is_compiled=True)
    assert "ours-uncompiled" in both and "ours-bf16" in both
    assert not [name for name in both if "onednn" in name]


@pytest.mark.parametrize(
    ("preset", "changes"),
    [
        ("default", {}),
        ("default", {"properties": ("band_gap", "density")}),
        ("default", {"edge_width": 0, "edge_layers": 2, "is_modulated": False}),
        ("paper", {}),
        ("default", {"composition": sites()}),
    ],
    ids=str,
)
def test_products_are_those_that_torch_counts(preset: str, changes: dict) -> None:
    model = shaken_model(preset, **changes)
    _, beliefs, conditions, t = beliefs_at(model, batch(), 0.4)
    conditions = model.with_positions(conditions)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(beliefs, conditions, t)
    b, n = conditions.is_site.shape
    assert sum(network_products(model, b, n).values()) == counter.get_total_flops()


def test_floors_follow_their_equation() -> None:
    assert Cost(10.0, 10.0, 1.0).seconds(10.0, 10.0) == 3
    assert Cost(10.0, 10.0, 100.0).seconds(10.0, 10.0) == 10
    model = shaken_model()
    small, large = (stage_costs(model, n, 8, 8.0) for n in (2, 20))
    assert small["network"].products < large["network"].products
    # the weights are read once for all crystals of a batch
    alone = stage_costs(model, 2, 8, 8.0, batch_size=1)["network"].bytes
    n_weights = sum(parameter.numel() for parameter in model.parameters())
    assert alone - small["network"].bytes == pytest.approx(4 * n_weights * (1 - 1 / 128))


def test_sizes_are_those_of_the_crystals() -> None:
    sizes = sizes_of(dataset(2), n_slots=2)
    assert int(sizes.count.sum()) == 2 * len(units())
    expected = {
        (u.space_group_number, len(u), min(2, len({*u.atomic_numbers.tolist()}))) for u in units()
    }
    assert {tuple(row) for row in sizes.conditions.tolist()} == expected
    assert int(sizes.count.min()) >= 2


def test_batches_have_the_sizes_of_the_data_and_one_bucket() -> None:
    conditions = torch.tensor([[2, 1, 1], [2, 6, 2], [62, 12, 3]])
    sizes = Sizes(conditions, torch.tensor([60, 30, 10]))
    batches = drawn_batches(sizes, 2000)
    rows = torch.cat(batches)
    share = torch.stack([(rows == row).all(-1).float().mean() for row in conditions])
    assert torch.allclose(share, torch.tensor([0.6, 0.3, 0.1]), atol=0.12)
    assert all(len(batch.unique(dim=0)) == 1 for batch in batches)
    few = drawn_batches(sizes, 40)
    assert len(few) == timing.LEAST_BATCHES and sum(map(len, few)) <= 48


def test_stand_ins_have_the_sizes_that_were_asked_for() -> None:
    model = shaken_model()
    asked = torch.tensor([[2, 5, 3], [62, 1, 1], [225, 3, 3]])
    made = crystals_of(asked, model)
    found = sizes_of(made, n_slots=8)
    assert torch.equal(found.conditions, asked.unique(dim=0))
    loss, _ = model.encode(made.batch(torch.arange(3)))
    assert all(value.isfinite().all() for value in loss.continuous.values())


def test_stages_add_up_and_give_what_the_sampler_gives() -> None:
    model = shaken_model()
    rows = [torch.tensor([[62, 3, 2]] * 3), torch.tensor([[2, 2, 2]] * 2)]
    sampler = preset_sampler(model, n_steps=2)
    spent = stages.spend(model, model, rows, sampler)
    assert spent.n_crystals == 5 and spent.n_atoms > 0
    assert all(seconds > 0 for seconds in spent.seconds.values())
    assert spent.total == pytest.approx(sum(spent.seconds.values()))
    assert spent.ms == pytest.approx(200 * spent.total)


def test_the_exponent_of_a_power_is_found() -> None:
    assert stages.fitted_exponent([(n, 3 * n**1.7) for n in (8.0, 16.0, 64.0)]) == pytest.approx(
        1.7
    )


def test_memory_of_an_action_is_seen() -> None:
    peak = timing.peak_mib(lambda: torch.ones(64 * 2**18).sum(), CPU)
    if peak is None:
        pytest.skip("this system does not tell")
    assert 60 < peak < 90


def test_a_quick_benchmark_prints_and_writes_all_groups(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Bench, "n", 16)
    monkeypatch.setattr(Bench, "rounds", 1)
    out = tmp_path / "engine.json"
    assert main([*QUICK, "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    claims = {entry["name"]: entry for entry in json.loads(out.read_text())["claims"]}
    for name in (
        "sample.speedup_vs_pyg.mp_20",
        "train.speedup_vs_pyg.mp_20.as_published",
        "end_to_end.steps_10.ms",
        "rebuild.share",
        "sites.exponent",
        "floor.network.us",
        "reached.rebuild.us",
    ):
        assert name in claims and name in shown
        assert claims[name]["versions"]["torch"] and claims[name]["commit"]
    shares = [claims[f"end_to_end.steps_10.share.{stage}"]["value"] for stage in stages.STAGES]
    assert sum(shares) == pytest.approx(1, abs=0.01)


def test_the_command_refuses_what_it_cannot_do(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["benchmark", "--dtype", "int8"]) == 2
    assert "'int8'" in capsys.readouterr().err
    assert main(["benchmark", "--out", str(tmp_path / "table.csv")]) == 2
    assert "table.csv" in capsys.readouterr().err


def script(name: str):
    return importlib.import_module(f"scripts.engine.{name}")


def test_the_script_records_each_claim(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, recorded = script("bench"), []
    monkeypatch.setitem(
        module.GROUPS, "floors", lambda bench: iter([Claim("a.b", 1.0, bench.command)])
    )
    monkeypatch.setattr(module, "record", lambda topic, claims: recorded.append((topic, claims)))
    module.measure("floors", CPU, False, "", is_dry=True)
    assert not recorded
    module.measure("floors", CPU, False, "", is_dry=False)
    ((topic, (claim,)),) = recorded
    assert topic == "engine" and claim.command.startswith("python -m scripts.engine.bench floors")


def test_a_gpu_nodes_run_is_rehearsed_without_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Correctness, training and crystals run; a part that fails is named and the rest goes on."""
    module = script("gpu")
    monkeypatch.setattr(
        module, "GROUPS", {"broken": lambda bench: iter([1 / 0]), "fine": lambda bench: iter(())}
    )
    monkeypatch.setattr(module, "record", lambda *_: pytest.fail("a rehearsal was recorded"))
    monkeypatch.setattr("sys.argv", ["engine_gpu.py", "--rehearse", "--work", str(tmp_path)])
    assert module.main() == 1
    shown = capsys.readouterr()
    assert "FAILED broken: ZeroDivisionError" in shown.err
    assert "failed: broken\n" in shown.out
    figures = dict(line.split(" = ") for line in shown.out.splitlines() if " = " in line)
    assert float(figures["gpu.correct.dense_vs_pyg"]) < 1e-5
    assert 1e-6 < float(figures["gpu.correct.bf16_vs_float32"]) < 0.1
    assert float(figures["gpu.correct.same_in_other_batches"]) == 1
    for name in ("gpu.train.minutes_10.bound", "gpu.train.minutes_30.bound"):
        assert float(figures[name].split()[0]) > 0
    assert "gpu.generate.steps_100.ms" in figures


def test_the_correctness_of_a_gpu_node_sees_every_variable() -> None:
    """Each head alone is made wrong; before, elements, pointers and letters were not looked at."""
    estimates, model = script("gpu").estimates, shaken_model()
    rows = torch.tensor([[225, 2, 2], [62, 5, 4]])
    found = estimates(model, predictor(model), rows)
    assert difference(estimates(model, predictor(model), rows), found) == 0
    assert not torch.cat([log_p.flatten() for log_p in found.categorical.values()]).isfinite().all()
    for name in model.variables:
        wrong = estimates(model, _wrong(model, name), rows)
        assert difference(wrong, found) > 1e-3, name


def _wrong(model: SymmBFN, name: str) -> Predictor:
    def predict(*arguments: Any) -> Variables:
        found = predictor(model)(*arguments)
        found[name].mul_(1.01)
        return found

    return predict
