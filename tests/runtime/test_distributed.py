"""Several processes train the model that one would: same losses, same weights, same decisions."""

import os
import signal
import socket
from pathlib import Path

import pytest
import torch
from torch import multiprocessing

from symmbfn.runtime.distributed import Ranks, joined
from symmbfn.training.config import OptimiserConfig, TrainingConfig
from symmbfn.training.trainer import Trainer
from tests.models import CPU, dataset, shaken_model

SIZES = (1, 2, 4)
STEPS = (6, 3, 5)  # crystals: of four ranks some have two, and one has none
RUN = TrainingConfig(
    epochs=1.0, batch_size=6, optimiser=OptimiserConfig(warmup_steps=1, learning_rate=1e-3)
)


def trainer(folder: Path, ranks: Ranks) -> Trainer:
    """A run in which rounding stays small.

    Adam divides a gradient by its size, so one that is zero but for rounding would make a step
    of any size; a larger epsilon makes it a step of none.
    """
    run = Trainer(shaken_model(), dataset(3), None, RUN, folder, ranks)
    for group in run.updates.optimiser.param_groups:
        group["eps"] = 1e-4
    return run


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def trained(folder: Path, ranks: Ranks, spoiled: str = "") -> dict:
    """What a rank has after some steps, in which one of them may do what it should not."""
    run = trainer(folder, ranks)
    honest = run.model.training_loss
    if spoiled == "noise":
        run.draws.generator.manual_seed(ranks.rank)
    if spoiled == "loss" and ranks.rank == 1:
        run.model.training_loss = lambda *args: (
            honest(*args) * (float("nan") if run.step == 0 else 1.0)
        )
    rows = [run.train_step(next(run.batches)[:size]) for size in STEPS]
    return {
        "rows": [{name: value.item() for name, value in row.items()} for row in rows],
        "skipped": run.skipped,
        "model": {k: v.detach() for k, v in run.model.named_parameters()},
        "average": dict(run.average.named_parameters()),
    }


def stopped(folder: Path, ranks: Ranks) -> str:
    """The message of a run whose last rank alone gets a signal in its second step."""
    run = trainer(folder, ranks)
    step = run.train_step

    def with_signal(index: torch.Tensor) -> dict:
        if run.step == 1 and ranks.rank == ranks.size - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(index)

    run.train_step = with_signal
    try:
        run.run()
    except KeyboardInterrupt as stop:
        return str(stop)
    return "was not stopped"


def failed(ranks: Ranks) -> str:
    """What each rank says when the first one fails alone."""
    try:
        with ranks.first_alone():
            if ranks.is_first:
                raise ValueError("a folder is in the way")
    except (ValueError, RuntimeError) as error:
        return str(error)
    return "did not fail"


def work(rank: int, size: int, port: int, folder: Path) -> None:
    """What each process does; its findings go to a file."""
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    with joined(CPU) as (ranks, device):
        torch.save(
            {
                "device": str(device),
                "honest": trained(folder / "honest", ranks),
                "noise": trained(folder / "noise", ranks, "noise"),
                "loss": trained(folder / "loss", ranks, "loss"),
                "stopped": stopped(folder / "stopped", ranks),
                "failed": failed(ranks),
            },
            folder / f"{rank}.pt",
        )


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[int, list[dict]]:
    """The findings of every rank, by the number of ranks."""
    everything = {}
    for size in SIZES[1:]:
        folder = tmp_path_factory.mktemp(f"ranks{size}")
        for name in ("honest", "noise", "loss", "stopped"):
            (folder / name).mkdir()
        multiprocessing.spawn(work, (size, free_port(), folder), nprocs=size)
        everything[size] = [torch.load(folder / f"{rank}.pt") for rank in range(size)]
        everything[size][0]["folder"] = folder
    alone = tmp_path_factory.mktemp("ranks1")
    everything[1] = [{name: trained(alone / name, Ranks()) for name in ("honest", "noise")}]
    return everything


def gap(one: dict, other: dict) -> float:
    """Largest difference of two sets of weights."""
    return max((one[name] - other[name]).abs().max().item() for name in one)


@pytest.mark.parametrize("size", SIZES[1:])
def test_losses_and_weights_are_those_of_one_rank(found: dict, size: int) -> None:
    alone, together = found[1][0]["honest"], found[size][0]["honest"]
    for mine, theirs in zip(alone["rows"], together["rows"], strict=True):
        assert theirs == pytest.approx(mine, rel=1e-5)
    assert gap(alone["model"], together["model"]) < 2e-6
    assert gap(alone["average"], together["average"]) < 2e-6
    assert gap(alone["model"], dict(shaken_model().named_parameters())) > 1e-3


@pytest.mark.parametrize("size", SIZES[1:])
def test_all_ranks_hold_the_same_weights_to_the_bit(found: dict, size: int) -> None:
    first = found[size][0]["honest"]
    for other in found[size][1:]:
        assert gap(first["model"], other["honest"]["model"]) == 0
        assert first["rows"] == other["honest"]["rows"]


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_rank_with_noise_of_its_own_is_noticed(found: dict, size: int) -> None:
    alone, together = found[1][0]["noise"], found[size][0]["noise"]
    assert together["rows"][0]["loss"] != pytest.approx(alone["rows"][0]["loss"], rel=1e-3)
    assert gap(alone["model"], together["model"]) > 1e-4


@pytest.mark.parametrize("size", SIZES[1:])
def test_what_is_not_finite_on_one_rank_is_skipped_by_all(found: dict, size: int) -> None:
    spoiled = [rank["loss"] for rank in found[size]]
    assert [rank["skipped"] for rank in spoiled] == [1] * size
    assert all(gap(spoiled[0]["model"], other["model"]) == 0 for other in spoiled)
    assert all(value.isfinite().all() for value in spoiled[0]["model"].values())


@pytest.mark.parametrize("size", SIZES[1:])
def test_a_signal_to_one_rank_stops_all_and_another_number_resumes(
    found: dict, size: int, tmp_path: Path
) -> None:
    assert {rank["stopped"] for rank in found[size]} == {"stopped at step 2; the same call resumes"}
    folder = found[size][0]["folder"] / "stopped"
    assert [path.name for path in folder.iterdir()] == ["step-000000002.safetensors"]
    whole, resumed = trainer(tmp_path, Ranks()), trainer(folder, Ranks())
    assert resumed.step == 2
    one, other = (dict(run.run().named_parameters()) for run in (whole, resumed))
    assert whole.step == resumed.step > 3
    assert gap(one, other) < 1e-5


@pytest.mark.parametrize("size", SIZES[1:])
def test_nobody_waits_for_a_first_rank_that_failed(found: dict, size: int) -> None:
    first, *others = (rank["failed"] for rank in found[size])
    assert first == "a folder is in the way"
    assert others == [f"rank {rank} ends with the first rank" for rank in range(1, size)]


def test_one_process_says_nothing_to_itself() -> None:
    ranks = Ranks()
    values = torch.tensor([1.0, 2.0])
    ranks.add_(values)
    assert values.tolist() == [1.0, 2.0] and ranks.largest(3, 0.5) == [3.0, 0.5]
    with joined(CPU) as (alone, device), alone.first_alone():
        assert alone == ranks and device == CPU
