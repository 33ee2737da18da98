"""Training: it learns, stops and resumes exactly, and keeps out of other runs' folders."""

import json
import math
import os
import re
import signal
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from symmbfn.conditions.training_draw import ConditionRates
from symmbfn.model.variables import Variables
from symmbfn.training import trainer as training
from symmbfn.training.checkpoint import run_identity
from symmbfn.training.config import OptimiserConfig, ReportingConfig, TrainingConfig
from symmbfn.training.logs import LOG, Console, JsonLines
from symmbfn.training.steps import learning_rate_factor, stratified_times
from symmbfn.training.trainer import MAX_NON_FINITE, Trainer
from symmbfn.training.validation import validate
from tests.models import CPU, batch, dataset, fresh_model

# six batches an epoch: the sixteen units fall into four buckets by operations
RUN = {"epochs": 2.0, "batch_size": 4, "warmup_steps": 3, "learning_rate": 2e-3}


def config(**settings) -> TrainingConfig:
    """A run by the names of its settings, whichever group they are in."""
    groups = {"optimiser": OptimiserConfig, "reporting": ReportingConfig}
    for group, kind in groups.items():
        mine = {field.name for field in fields(kind)} & settings.keys()
        settings[group] = kind(**{name: settings.pop(name) for name in mine})
    return TrainingConfig(**settings)


def trainer(folder: Path, preset: str = "default", *, repeats: int = 1, **changes) -> Trainer:
    run = config(**{**RUN, **changes})
    return Trainer(fresh_model(preset), dataset(repeats), None, run, folder)


def everything(run: Trainer) -> dict[str, torch.Tensor]:
    """Weights, averaged weights, optimiser, generators: all that the future depends on."""
    state = {f"model.{k}": v.clone() for k, v in run.model.state_dict().items()}
    state |= {f"average.{k}": v.clone() for k, v in run.average.state_dict().items()}
    for name, parameter in run.model.named_parameters():
        for key, value in run.updates.optimiser.state[parameter].items():
            state[f"{key}.{name}"] = torch.as_tensor(value).clone()
    state["generator"], state["coin"] = run.draws.generator.get_state(), run.draws.coin.get_state()
    return state


def assert_identical(one: Trainer, other: Trainer) -> None:
    mine, theirs = everything(one), everything(other)
    assert mine.keys() == theirs.keys()
    different = [name for name in mine if not torch.equal(mine[name], theirs[name])]
    assert not different
    assert (one.step, one.crystals) == (other.step, other.crystals)


def log_of(folder: Path, kind: str) -> list[dict]:
    """Lines of one kind, from a log that must be JSON to the letter, without NaN."""
    text = (folder / "log.jsonl").read_text()
    lines = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    return [line for line in lines if line["kind"] == kind]


def spoil(run: Trainer, monkeypatch: pytest.MonkeyPatch, *steps: int) -> None:
    """Make the loss of some steps NaN."""
    honest = run.model.training_loss

    def sometimes(*args):
        return honest(*args) * (float("nan") if run.step in steps else 1.0)

    monkeypatch.setattr(run.model, "training_loss", sometimes)


# --- pieces --------------------------------------------------------------------------------------


def test_the_learning_rate_rises_stays_and_falls_to_zero() -> None:
    settings = OptimiserConfig(warmup_steps=10, decay_fraction=0.4)
    assert learning_rate_factor(0, 0.0, settings) == pytest.approx(0.1)
    assert learning_rate_factor(4, 0.01, settings) == pytest.approx(0.5)
    for progress in (0.1, 0.5, 0.6):
        assert learning_rate_factor(1000, progress, settings) == 1
    assert learning_rate_factor(1000, 0.8, settings) == pytest.approx(0.5)
    assert learning_rate_factor(1000, 1.0, settings) == 0
    flat = OptimiserConfig(warmup_steps=0, decay_fraction=0.0)
    assert [learning_rate_factor(0, p, flat) for p in (0.0, 0.5, 1.0)] == [1, 1, 1]


def test_times_are_one_in_each_equal_part() -> None:
    generator = torch.Generator().manual_seed(0)
    draws = torch.stack([stratified_times(8, 0.2, generator, CPU) for _ in range(500)])
    edges = 0.2 + 0.8 * torch.arange(9) / 8
    ordered = draws.sort(dim=1).values
    assert ((ordered >= edges[:-1]) & (ordered <= edges[1:])).all()
    middle = (edges[:-1] + edges[1:]) / 2
    torch.testing.assert_close(ordered.mean(0), middle, rtol=0, atol=0.007)
    # a crystal's row in the batch, which may follow its size, says nothing about its time
    torch.testing.assert_close(draws.mean(0), torch.full((8,), 0.6), rtol=0, atol=0.05)
    # the mean over a batch varies far less than that of independent times
    assert draws.mean(1).std() < 0.8 / math.sqrt(12) / math.sqrt(8) / 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dtype": "float16"}, "dtype.*'float16'"),
        ({"epochs": 0.0}, "epochs.*0.0"),
        ({"batch_size": 0}, "batch_size.*0"),
        ({"learning_rate": -1.0}, "learning_rate.*-1.0"),
        ({"minutes": 0.0}, "minutes.*0.0"),
        ({"epochs": math.inf}, "epochs.*inf"),
        ({"minutes": math.inf}, "minutes.*inf"),
        ({"learning_rate": math.inf}, "learning_rate.*inf"),
        ({"weight_decay": -0.1}, "weight_decay.*-0.1"),
        ({"clip": -1.0}, "clip.*-1.0"),
        ({"decay_fraction": -1.0}, "decay_fraction.*-1.0"),
        ({"ema_decay": 2.0}, "ema_decay.*2.0"),
        ({"warmup_steps": -5}, "warmup_steps.*-5"),
        ({"validate_every": math.nan}, "validate_every.*nan"),
        ({"save_every": -1.0}, "save_every.*-1.0"),
        ({"validation_crystals": 0}, "validation_crystals.*0"),
    ],
)
def test_impossible_settings_are_refused_by_name(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(**changes)


# --- one step ------------------------------------------------------------------------------------


def test_only_matrices_decay(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    matrices, others = run.updates.optimiser.param_groups
    assert matrices["weight_decay"] > 0 and others["weight_decay"] == 0
    assert all(p.ndim > 1 for p in matrices["params"])
    assert all(p.ndim <= 1 for p in others["params"])
    grouped = len(matrices["params"]) + len(others["params"])
    assert grouped == len(list(run.model.parameters()))


def test_the_average_follows_its_recursion(tmp_path: Path) -> None:
    run = trainer(tmp_path, ema_decay=0.3)
    expected = {k: v.clone().double() for k, v in run.model.named_parameters()}
    for step in range(6):
        run.train_step(next(run.batches))
        # it warms up, so that the beginning is forgotten
        decay = min(0.3, (1 + step) / (10 + step))
        for name, value in run.model.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach().double()
    for name, value in run.average.named_parameters():
        torch.testing.assert_close(value.double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not value.requires_grad


def test_the_average_of_a_short_run_knows_little_of_its_beginning() -> None:
    # ten minutes on a CPU are some 200 steps; a constant 0.999 would keep 0.8 of the first weights
    for n_steps in (50, 200, 2000):
        decays = [min(0.999, (1 + step) / (10 + step)) for step in range(n_steps)]
        assert math.prod(decays) < 1e-6
        assert math.prod(decays[n_steps // 2 :]) < 0.01


def test_gradients_are_clipped_by_norm(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path, clip=1e-3)
    seen = []
    step = run.updates.optimiser.step

    def watched() -> None:
        gradients = [p.grad for p in run.model.parameters() if p.grad is not None]
        seen.append(torch.stack([g.norm() for g in gradients]).norm().item())
        step()

    monkeypatch.setattr(run.updates.optimiser, "step", watched)
    values = run.train_step(next(run.batches))
    assert values["gradient"] > 1e-3
    assert seen[0] == pytest.approx(1e-3, rel=1e-3)


def test_a_loss_that_is_not_finite_changes_nothing(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path)
    run.train_step(next(run.batches))
    before = everything(run)
    spoil(run, monkeypatch, 1)
    run.train_step(next(run.batches))
    after = everything(run)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed <= {"generator", "coin"}
    assert (run.updates.skipped_in_a_row, run.skipped) == (1, 1)
    run.train_step(next(run.batches))
    assert (run.updates.skipped_in_a_row, run.skipped) == (0, 1)
    assert all(p.isfinite().all() for p in run.model.parameters())


def test_a_skipped_step_is_counted_and_in_no_mean(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 3)
    run, rows = trainer(tmp_path, epochs=0.8), []
    spoil(run, monkeypatch, 1, 3)
    step = run.train_step
    monkeypatch.setattr(run, "train_step", lambda index: rows.append(step(index)) or rows[-1])
    run.run()
    first, last = log_of(tmp_path, "train")
    assert (first["step"], first["skipped"]) == (3, 1)
    mean = float(rows[0]["loss"] + rows[2]["loss"]) / 2
    assert first["loss"] == pytest.approx(mean, abs=1e-5)
    assert (last["step"], last["skipped"]) == (len(rows), 2)
    mean = sum(float(row["gradient"]) for row in rows[4:]) / len(rows[4:])
    assert last["gradient"] == pytest.approx(mean, abs=1e-5)
    assert trainer(tmp_path, epochs=0.8).skipped == 2


def test_many_losses_in_a_row_that_are_not_finite_end_the_run(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path, epochs=100.0)
    honest = run.model.training_loss
    monkeypatch.setattr(run.model, "training_loss", lambda *args: honest(*args) / 0.0)
    with pytest.raises(FloatingPointError, match=f"{MAX_NON_FINITE} non-finite"):
        run.run()
    assert run.step == MAX_NON_FINITE - 1


def test_a_run_without_any_effect_ends_with_an_error(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path, epochs=1.0)
    spoil(run, monkeypatch, *range(100))
    with pytest.raises(FloatingPointError, match="no weights: .* in all 6 steps"):
        run.run()
    assert run.step == 6 < MAX_NON_FINITE
    # one step that has an effect is enough
    other = trainer(tmp_path / "other", epochs=1.0)
    spoil(other, monkeypatch, *range(5))
    other.run()
    assert (other.step, other.skipped) == (6, 5)


# --- the console ---------------------------------------------------------------------------------


def test_without_a_terminal_lines_tell_the_loss(
    tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture
) -> None:
    """With no pause between lines each step has one; how long it is, `progress` decides."""
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    monkeypatch.setattr("symmbfn.runtime.progress.SECONDS", 0.0)
    monkeypatch.setattr(training, "LOG_EVERY", 4)
    run = trainer(tmp_path, epochs=1.0)
    spoil(run, monkeypatch, 1)
    run.run()
    lines = capsys.readouterr().err.splitlines()
    counts = [int(re.match(r"training: (\d+) of 1000, .* left", line)[1]) for line in lines]
    assert counts == sorted(counts) and counts[0] < 500 and counts[-1] == 1000
    last = log_of(tmp_path, "train")[-1]
    news = f"at step {last['step']}, epoch {last['epoch']:g}, loss {last['loss']:.4g}"
    assert lines[-1].endswith(f"{news}, 1 steps without effect")


def test_a_run_of_seconds_says_nothing_without_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    trainer(tmp_path, epochs=0.5).run()
    assert not capsys.readouterr().err


def test_a_run_that_goes_on_begins_its_bar_there(monkeypatch) -> None:
    monkeypatch.delenv("TQDM_DISABLE", raising=False)
    console = Console(0.25)
    assert console.bar.n == 250
    console.advance(0.5)
    assert console.bar.n == 500
    console.close()


# --- runs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "paper"])
def test_losses_fall(preset: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 10)
    data, model = dataset(4), fresh_model(preset, width=32)
    before = validate(model, data)
    settings = {"epochs": 20.0, "batch_size": 32, "learning_rate": 3e-3, "warmup_steps": 3}
    run = Trainer(model, data, None, config(**settings, ema_decay=0.9), tmp_path)
    after = validate(run.run(), data)
    assert after["bound"] < 0.9 * before["bound"]
    for name in run.model.categorical:
        assert after[f"ce_{name}"] < before[f"ce_{name}"]
    lines = log_of(tmp_path, "train")
    assert lines[-1]["crystals"] == run.crystals
    assert lines[-1]["loss"] < lines[0]["loss"]


@pytest.mark.parametrize("stop", [2, 8])
def test_a_stopped_run_resumes_bit_for_bit(stop: int, tmp_path: Path) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    first = trainer(tmp_path / "parts")
    for _ in range(stop):
        first.train_step(next(first.batches))
    first.save()
    second = trainer(tmp_path / "parts")
    assert_identical(first, second)
    second.run()
    assert whole.step > stop
    assert_identical(whole, second)


def test_resume_is_not_trivially_equal(tmp_path: Path) -> None:
    # the negative control: another seed ends elsewhere
    one, other = (
        trainer(tmp_path / "one", epochs=0.5),
        trainer(tmp_path / "two", epochs=0.5, seed=1),
    )
    one.run(), other.run()
    with pytest.raises(AssertionError):
        assert_identical(one, other)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_writes_a_checkpoint_and_the_same_call_resumes(
    number: int, tmp_path: Path, monkeypatch
) -> None:
    whole = trainer(tmp_path / "whole", epochs=1.0)
    whole.run()
    run = trainer(tmp_path / "parts", epochs=1.0)
    step = run.train_step

    def interrupted(index: torch.Tensor) -> dict[str, float]:
        if run.step == 2:
            os.kill(os.getpid(), number)
        return step(index)

    monkeypatch.setattr(run, "train_step", interrupted)
    handlers = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
    with pytest.raises(KeyboardInterrupt, match="step 3"):
        run.run()
    assert [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)] == handlers
    assert [path.name for path in run.checkpoints()] == ["step-000000003.safetensors"]
    resumed = trainer(tmp_path / "parts", epochs=1.0)
    resumed.run()
    assert_identical(whole, resumed)


def test_a_finished_run_stays_finished(tmp_path: Path) -> None:
    run = trainer(tmp_path, epochs=1.0)
    run.run()
    again = trainer(tmp_path, epochs=1.0)
    again.run()
    assert_identical(run, again)


class Clock:
    """Seconds that pass where a test says so."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch):
        self.now, self.patch = 0.0, monkeypatch
        monkeypatch.setattr(training.time, "monotonic", lambda: self.now)

    def charge(self, owner: object, name: str, seconds: float) -> None:
        """Let every call of a function take so long."""
        real = getattr(owner, name)

        def slow(*args, **kwargs):
            self.now += seconds
            return real(*args, **kwargs)

        self.patch.setattr(owner, name, slow)


def share_of_peak(run: Trainer) -> float:
    """The learning rate of the last step, relative to the largest one."""
    return run.updates.optimiser.param_groups[0]["lr"] / run.config.optimiser.learning_rate


def test_minutes_end_in_time_and_lead_the_schedule(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path, minutes=1 / 6, save_every=1e6, warmup_steps=1)
    rates = []
    step = run.updates.optimiser.step

    def watched() -> None:
        step()
        rates.append(
            run.updates.optimiser.param_groups[0]["lr"] / run.config.optimiser.learning_rate
        )

    monkeypatch.setattr(run.updates.optimiser, "step", watched)
    Clock(monkeypatch).charge(run, "train_step", 1.0)
    run.run()
    # ten steps of a second make a sixth of a minute
    assert (run.step, run.elapsed) == (10, 10.0)
    assert rates[:7] == [1.0] * 7
    assert rates[7:] == pytest.approx([0.75, 0.5, 0.25])


def warmup_of(run: Trainer, monkeypatch: pytest.MonkeyPatch, seconds: list[float]) -> list[float]:
    """Shares of the peak learning rate in a run by the clock whose steps take so long."""
    clock, rates, step = Clock(monkeypatch), [], run.train_step

    def charged(index: torch.Tensor) -> dict:
        values = step(index)
        rates.append(
            run.updates.optimiser.param_groups[0]["lr"] / run.config.optimiser.learning_rate
        )
        clock.now += seconds[min(run.step, len(seconds)) - 1]
        return values

    monkeypatch.setattr(run, "train_step", charged)
    run.run()
    return rates


def test_the_warmup_of_a_short_budget_is_a_tenth_of_it(tmp_path: Path, monkeypatch) -> None:
    # as on a CPU: 60 steps of 10 seconds in all, far fewer than the warm-up has by number
    run = trainer(tmp_path, minutes=10.0, warmup_steps=500, save_every=1e6)
    rates = warmup_of(run, monkeypatch, [10.0])
    assert len(rates) == 60
    assert rates[0] == pytest.approx(1 / 500)
    assert max(rates[:18]) < 0.95 and min(rates[20:36]) == 1.0
    assert rates[:20] == sorted(rates[:20]) and rates[-1] < 0.1
    assert trainer(tmp_path, minutes=10.0, warmup_steps=500).warmed == run.warmed


def test_the_warmup_goes_by_number_where_steps_are_quick(tmp_path: Path, monkeypatch) -> None:
    run = trainer(tmp_path, minutes=10.0, warmup_steps=50, save_every=1e6)
    rates = warmup_of(run, monkeypatch, [1.0] * 55 + [100.0])
    assert rates[:50] == pytest.approx([(n + 1) / 50 for n in range(50)])


def test_a_step_that_compiles_is_one_of_the_warmup(tmp_path: Path, monkeypatch) -> None:
    # two steps take two minutes each: without a limit the warm-up would end with the first
    run = trainer(tmp_path, minutes=10.0, warmup_steps=100, save_every=1e6)
    rates = warmup_of(run, monkeypatch, [120.0, 120.0, *[1.0] * 70, 100.0])
    assert rates[:4] == pytest.approx([0.01, 0.06, 0.11, 0.1267], abs=1e-3)
    assert max(b - a for a, b in zip(rates, rates[1:], strict=False)) < 0.051


def test_a_short_budget_goes_into_training_not_validation(tmp_path: Path, monkeypatch) -> None:
    # every epoch is asked for, but one validation takes as long as several epochs
    changes = {"minutes": 5.0, "validate_every": 1.0, "save_every": 1e6}
    changes["validation_crystals"] = 4
    settings = config(**{**RUN, **changes})
    run = Trainer(fresh_model(), dataset(), dataset(), settings, tmp_path)
    clock = Clock(monkeypatch)
    clock.charge(run, "train_step", 3.0)
    # eight times forward for each of 4 crystals; a step is three times forward for about 2.3
    clock.charge(training, "validate", 8 * 4 * 3.0 / 3 / 2.3)
    run.run()
    assert 3.0 * run.step > 0.85 * 300
    assert len(log_of(tmp_path, "validation")) > 1


def test_validation_and_saving_count_as_time(tmp_path: Path, monkeypatch) -> None:
    changes = {"minutes": 0.5, "validate_every": 1.0, "save_every": 0.1}
    changes["validation_crystals"] = 1
    settings = config(**{**RUN, **changes})
    run = Trainer(fresh_model(), dataset(), dataset(), settings, tmp_path)
    clock = Clock(monkeypatch)
    clock.charge(run, "train_step", 1.0)
    clock.charge(run, "save", 2.0)
    clock.charge(training, "validate", 4.0)
    run.run()
    # half a minute, a last validation and a last checkpoint
    assert 30 <= clock.now <= 30 + 4 + 4 + 2
    validations = log_of(tmp_path, "validation")
    assert len(validations) == 2 and run.step < 23
    assert run.elapsed == clock.now - 2
    assert trainer(tmp_path, **changes).elapsed == run.elapsed


def test_validation_is_logged_on_time_and_at_the_end(tmp_path: Path) -> None:
    settings = config(**RUN, validate_every=1.0, validation_crystals=5)
    Trainer(fresh_model(), dataset(), dataset(), settings, tmp_path).run()
    epochs = [line["epoch"] for line in log_of(tmp_path, "validation")]
    assert len(epochs) == 2 and epochs[-1] >= 2.0
    assert all(n <= epoch < n + 0.5 for n, epoch in enumerate(epochs, start=1))


def test_a_run_stopped_at_its_last_step_is_still_validated(tmp_path: Path) -> None:
    def complete() -> Trainer:
        return Trainer(fresh_model(), dataset(), dataset(), config(**RUN), tmp_path)

    run = complete()
    while run.progress < 1:
        run.train_step(next(run.batches))
    run.save()
    complete().run()
    complete().run()
    assert [line["step"] for line in log_of(tmp_path, "validation")] == [run.step]


def test_the_loss_is_compiled_as_one_function(tmp_path: Path, monkeypatch) -> None:
    calls = []

    def recorded(function, device):
        assert device == CPU
        return lambda *arguments: calls.append(len(arguments)) or function(*arguments)

    monkeypatch.setattr(training, "compiled", recorded)
    plain, fast = (
        trainer(tmp_path / str(flag), epochs=1.0, is_compiled=flag) for flag in (False, True)
    )
    plain.run(), fast.run()
    assert calls == [5] * fast.step
    assert_identical(plain, fast)
    # it changes the rounding, so it belongs to what a run is
    with pytest.raises(ValueError, match="is_compiled is True there and False here"):
        trainer(tmp_path / "True", epochs=1.0)


def test_a_dataset_gives_the_same_batch_wherever_it_lies() -> None:
    data, index = dataset(), torch.tensor([3, 15, 0])
    batch_here = data.to(CPU).batch(index)
    assert torch.equal(data.to(CPU)._sizes, data.n_sites)
    for name, value in vars(data.batch(index)).items():
        assert torch.equal(value, getattr(batch_here, name))
    # "meta" stands in for a GPU: it holds no numbers, so a batch that asked for one would fail
    far = data.to(torch.device("meta"))
    far.__dict__["_sizes"] = data.n_sites
    padded = far.batch(index)
    assert padded.is_site.device.type == "meta" and padded.is_site.shape == (3, 6)


# --- checkpoints ---------------------------------------------------------------------------------


def test_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    for _ in range(4):
        run.train_step(next(run.batches))
        run.save()
    names = [path.name for path in run.checkpoints()]
    assert names == ["step-000000003.safetensors", "step-000000004.safetensors"]
    assert {path.name for path in tmp_path.iterdir()} == set(names)


@pytest.mark.parametrize(
    "other",
    [
        {"learning_rate": 1e-4},
        {"epochs": 4.0},
        {"preset": "paper"},
        {"repeats": 2},
    ],
    ids=str,
)
def test_a_checkpoint_of_another_run_is_refused(other: dict, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.save()
    path = run.checkpoints()[-1]
    with pytest.raises(ValueError, match=f"{path.name}.*another run"):
        trainer(tmp_path, **other)


def test_what_a_run_reports_may_change(tmp_path: Path) -> None:
    trainer(tmp_path).save()
    trainer(tmp_path, save_every=1.0, validate_every=2.0, validation_crystals=3)


@pytest.mark.parametrize("rate", [field.name for field in fields(ConditionRates)])
def test_other_rates_of_conditions_are_another_run(rate: str, tmp_path: Path) -> None:
    trainer(tmp_path).save()
    with pytest.raises(ValueError, match=f"conditions.{rate} is 0.[0-9]+ there and 0.123 here"):
        trainer(tmp_path, conditions=ConditionRates(**{rate: 0.123}))


def test_every_setting_is_one_name_of_what_a_run_is(tmp_path: Path) -> None:
    """No setting hides another of the same name, and none but the reporting is left out."""
    run = trainer(tmp_path)
    found = run_identity(run.model.config, run.config, "digest", CPU)
    groups = (OptimiserConfig, ConditionRates, TrainingConfig)
    n_training = sum(len(fields(group)) for group in groups) - len(("optimiser", "conditions"))
    assert n_training - len(("reporting",)) == len(run.config.settings())
    assert set(run.config.settings()) < set(found)
    assert {name.split(".")[1] for name in found if name.startswith("model.")} == {
        field.name for field in fields(run.model.config)
    }


def test_another_kind_of_device_is_refused_before_the_generators_are(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.device = torch.device("cuda")
    run.save()
    with pytest.raises(ValueError, match="device is 'cuda' there and 'cpu' here"):
        trainer(tmp_path)


def test_a_kill_leaves_no_half_line_and_no_step_twice(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(training, "LOG_EVERY", 1)
    trainer(tmp_path / "whole").run()
    run = trainer(tmp_path / "parts", save_every=0.0)
    save = run.save

    def until_the_fourth(index: torch.Tensor) -> dict[str, float]:
        if run.step == 3:
            monkeypatch.setattr(run, "save", lambda: None)
        if run.step == 6:
            raise SystemExit
        return Trainer.train_step(run, index)

    monkeypatch.setattr(run, "train_step", until_the_fourth)
    with pytest.raises(SystemExit):
        run.run()
    monkeypatch.setattr(run, "save", save)
    log = tmp_path / "parts" / "log.jsonl"
    assert [line["step"] for line in log_of(log.parent, "train")] == [1, 2, 3, 4, 5, 6]
    whole_lines = log.read_text()
    log.write_text('{"kind": "start", "dataset": "x"}\n' + whole_lines + whole_lines[:30])
    resumed = trainer(tmp_path / "parts")
    assert resumed.step == 3
    assert [line["step"] for line in log_of(log.parent, "train")] == [1, 2, 3]
    resumed.run()
    assert len(log_of(log.parent, "start")) == 1
    mine, other = (
        [{k: v for k, v in line.items() if k != "seconds"} for line in log_of(f, "train")]
        for f in (log.parent, tmp_path / "whole")
    )
    assert mine == other


def test_a_log_without_a_checkpoint_begins_anew(tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.train_step(next(run.batches))
    JsonLines(tmp_path / LOG).write("train", {"step": run.step}, {"loss": 1.0})
    assert len(log_of(tmp_path, "train")) == 1
    trainer(tmp_path)
    assert not log_of(tmp_path, "train")


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "text", "cut"])
def test_a_damaged_checkpoint_is_named(content: bytes | None, tmp_path: Path) -> None:
    run = trainer(tmp_path)
    run.save()
    (path,) = run.checkpoints()
    path.write_bytes(path.read_bytes()[:-100] if content is None else content)
    with pytest.raises(ValueError, match=f"{path.name}.*unreadable"):
        trainer(tmp_path)


def test_the_older_checkpoint_stands_in_for_a_damaged_one(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    run = trainer(tmp_path / "parts")
    for _ in range(4):
        run.train_step(next(run.batches))
        run.save()
    newest = run.checkpoints()[-1]
    newest.write_bytes(newest.read_bytes()[:-100])
    resumed = trainer(tmp_path / "parts")
    said = capsys.readouterr().err
    assert resumed.step == 3 and newest.name in said and said.count("\n") == 1
    resumed.run()
    assert_identical(whole, resumed)
    # it is out of the way of the next ones, and not lost
    assert newest.with_suffix(".damaged").is_file() and newest not in resumed.checkpoints()
    assert len(resumed.checkpoints()) == 2


# --- validation ----------------------------------------------------------------------------------


def test_validation_is_a_function_of_the_model() -> None:
    model, data = fresh_model("paper"), dataset()
    torch.manual_seed(1)
    first = validate(model, data)
    torch.manual_seed(2)
    assert validate(model, data) == first
    assert validate(model, data, n_crystals=5) != first


def test_a_fresh_model_has_the_closed_form_loss_of_the_data() -> None:
    """With x_hat = mu the loss is |ln sigma1| ((1 - gamma) x^2 + gamma) in expectation."""
    model, data = fresh_model(), dataset(8)
    encoded, conditions = model.encode(batch())
    times = (torch.arange(8) + 0.5) / 8
    found = validate(model, data)
    for name in model.continuous:
        schedule = model.variables[name].schedule
        gamma = schedule.gamma(times)
        x = encoded.continuous[name].double()
        real = model.variables[name].is_real(conditions).expand_as(x)
        squares = x.square().masked_fill(~real, 0).flatten(1).sum(-1)
        components = real.flatten(1).sum(-1)
        error = (1 - gamma[:, None]) * squares + gamma[:, None] * components
        expected = -math.log(schedule.sigma1) * error.mean().item()
        assert found[name] == pytest.approx(expected, rel=0.06)
    assert found["coords_late"] == pytest.approx(1, rel=0.1)
    parts = [*model.continuous, *model.categorical]
    assert found["bound"] == pytest.approx(sum(found[name] for name in parts))


def test_late_errors_are_those_after_four_fifths_of_the_time(monkeypatch) -> None:
    """With an error of t per component, the midpoints 13/16 and 15/16 have 14/16 on average."""
    model, data = fresh_model(), dataset()
    losses, sigma1 = model.losses, model.numbers["coords"].schedule.sigma1

    def growing(truth, estimates, conditions, t):
        nats, cross_entropy = losses(truth, estimates, conditions, t)
        components = 3 * conditions.is_site.sum(-1)
        return {**nats, "coords": -math.log(sigma1) * components * t}, cross_entropy

    monkeypatch.setattr(model, "losses", growing)
    assert validate(model, data)["coords_late"] == pytest.approx(14 / 16, rel=1e-5)


def test_a_perfect_model_has_no_validation_loss(monkeypatch) -> None:
    model, data = fresh_model(), dataset()
    truth: list[Variables] = []
    encode = model.encode

    def remembered(units):
        encoded, conditions = encode(units)
        truth.append(encoded)
        return encoded, conditions

    def perfect(beliefs, conditions, t, previous=None):
        classes = truth[-1].categorical
        log_p = {
            name: torch.nn.functional.one_hot(value, model.classes[name].n_classes).float().log()
            for name, value in classes.items()
        }
        return Variables(truth[-1].continuous, log_p)

    monkeypatch.setattr(model, "encode", remembered)
    monkeypatch.setattr(model, "forward", perfect)
    assert all(value == 0 for value in validate(model, data).values())
