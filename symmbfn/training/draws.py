"""Everything that a training step draws: conditions, times, noise, and one coin."""

from typing import Any

import torch

from symmbfn._shapes import Int, Tensor
from symmbfn.conditions.training_draw import draw_conditions
from symmbfn.datasets.cache import EncodedDataset
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.model.variables import Conditions, Variables
from symmbfn.runtime.compilation import leaves
from symmbfn.training.config import TrainingConfig
from symmbfn.training.steps import draw_noise, stratified_times

PREVIOUS_RATE = 0.5  # share of the steps in which the network reads an estimate of its own


class BatchDraws:
    """The training set, and the generators of a run.

    Args:
        model: decides which variables, conditions and estimates there are.
        dataset: the training set, on the model's device.
        config: the run.
        n_extra: how many of the last crystals are extra ones, see `draw_conditions`.

    Attributes:
        generator: of conditions, times and noise, on the device.
        coin: decides whether the network reads an estimate of its own, on the host.
    """

    def __init__(
        self, model: SymmBFN, dataset: EncodedDataset, config: TrainingConfig, n_extra: int = 0
    ):
        self.model, self.dataset, self.config = model, dataset, config
        self.first_extra = len(dataset) - n_extra
        self.device = dataset.site_start.device
        self.properties = dataset.values_of(model.config.properties)
        self.generator = torch.Generator(self.device).manual_seed(config.seed)
        self.coin = torch.Generator().manual_seed(config.seed)
        self.stream = torch.cuda.Stream(self.device) if self.device.type == "cuda" else None

    def batch(self, index: Int[Tensor, "B"]) -> tuple[list[Any], bool]:
        """Draw all that the loss of a batch takes.

        Args:
            index: crystals, shape (B,), on the host.

        Returns:
            Data, conditions, times and noise; and whether the network reads an estimate.
        """
        if self.device.type == "cuda":
            index = index.pin_memory()  # or its copies would wait for all that is queued
        data, conditions = self._encode(index)
        index = index.to(self.device, non_blocking=True)
        conditions = draw_conditions(
            self.model,
            data,
            conditions,
            self.properties[index],
            index >= self.first_extra,
            self.config.conditions,
            self.generator,
        )
        t = stratified_times(len(index), self.model.config.loss.min_t, self.generator, self.device)
        noise = draw_noise(self.model, conditions, self.generator, self.device)
        has_previous = self.model.config.has_self_conditioning and (
            torch.rand((), generator=self.coin).item() < PREVIOUS_RATE
        )
        return [data, conditions, t, noise], has_previous

    def _encode(self, index: Int[Tensor, "B"]) -> tuple[Variables, Conditions]:
        """A batch's variables; on a GPU beside the step before, whose end nothing here awaits."""
        if self.stream is None:
            return self.model.encode(self.dataset.batch(index))
        ours = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.stream):
            encoded = self.model.encode(self.dataset.batch(index))
        ours.wait_stream(self.stream)
        for tensor in leaves(encoded):
            tensor.record_stream(ours)  # its memory is not given away before it is read
        return encoded

    def state_dict(self) -> dict[str, Tensor]:
        """States of the generators."""
        return {"generator": self.generator.get_state(), "coin": self.coin.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken."""
        self.generator.set_state(state["generator"])
        self.coin.set_state(state["coin"])
