"""The weights of a run and what changes them: gradients, clipping, AdamW and averaging."""

import copy

import torch

from symmbfn._shapes import Float, Tensor
from symmbfn.model.symmbfn import SymmBFN
from symmbfn.training.config import OptimiserConfig

MOMENTS = ("step", "exp_avg", "exp_avg_sq")  # what AdamW keeps of each parameter


class Updates:
    """Weights, their average, and the optimiser.

    The gradients and the values of a step lie in one piece of memory, `sums`, so that several
    ranks need one sum and the norm is one reduction.

    Args:
        model: its weights are changed in place.
        config: of the optimiser.
        n_values: how many values a step has besides its gradients; the first is the loss.

    Attributes:
        average: the model with averaged weights.
        sums, gradient, values: all of the step, and its two parts.
        optimiser: AdamW.
        without_effect: number of steps without effect, since a loss or a gradient was not finite,
            and how many of these are the last ones in a row, shape (2,).
    """

    def __init__(self, model: SymmBFN, config: OptimiserConfig, n_values: int):
        device = next(model.parameters()).device
        self.model, self.config = model, config
        self.average = copy.deepcopy(model).eval().requires_grad_(False)
        self.parameters: list[Tensor] = list(model.parameters())
        sizes = [parameter.numel() for parameter in self.parameters]
        self.sums = torch.zeros(sum(sizes) + n_values, device=device)
        self.gradient, self.values = self.sums.split([sum(sizes), n_values])
        for parameter, part in zip(self.parameters, self.gradient.split(sizes), strict=True):
            parameter.grad = part.view_as(parameter)
        matrices = [p for p in self.parameters if p.ndim > 1]
        others = [p for p in self.parameters if p.ndim <= 1]
        self.optimiser = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": config.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=config.learning_rate,
            betas=(0.9, 0.99),
            fused=True,
        )
        self.without_effect = torch.zeros(2, dtype=torch.long, device=device)

    @property
    def skipped(self) -> int:
        """Steps without effect so far; waits for a GPU."""
        return int(self.without_effect[0])

    @property
    def skipped_in_a_row(self) -> int:
        """Steps without effect since the last one that had any; waits for a GPU."""
        return int(self.without_effect[1])

    @torch.no_grad()
    def apply(self, step: int, factor: float) -> Float[Tensor, ""]:
        """Clip, step and average if all is finite, which is decided on the device.

        Args:
            step: number of steps before this one.
            factor: share of the largest learning rate.

        Returns:
            Norm of the gradient before it was clipped.
        """
        norm = self.gradient.norm()
        is_bad = ~(self.values[0].isfinite() & norm.isfinite())
        self.without_effect += is_bad
        self.without_effect[1] *= is_bad
        self.gradient *= (self.config.clip / (norm + 1e-6)).clamp(max=1.0)
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * factor
        # the way in which torch.amp.GradScaler makes a step of a fused optimiser have no effect
        self.optimiser.found_inf = is_bad.float()  # type: ignore[attr-defined]
        self.optimiser.step()
        # a constant decay would keep the first weights in the average of a short run
        decay = min(self.config.ema_decay, (1 + step) / (10 + step))
        averages: list[Tensor] = list(self.average.parameters())
        change = torch._foreach_sub(self.parameters, averages)
        torch._foreach_mul_(change, (1 - decay) * ~is_bad)
        torch._foreach_add_(averages, list(change))
        return norm

    def state_dict(self) -> dict[str, Tensor]:
        """All that later updates depend on, by name."""
        state = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        state |= {f"average.{k}": v for k, v in self.average.state_dict().items()}
        for name, parameter in self.model.named_parameters():
            for key, value in self.optimiser.state.get(parameter, {}).items():
                state[f"optimiser.{key}.{name}"] = torch.as_tensor(value)
        return {**state, "without_effect": self.without_effect}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Continue exactly where `state_dict` was taken."""
        for module, prefix in ((self.model, "model."), (self.average, "average.")):
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
            )
        device = self.sums.device
        for name, parameter in self.model.named_parameters():
            for key in MOMENTS:
                if (value := state.get(f"optimiser.{key}.{name}")) is not None:
                    self.optimiser.state[parameter][key] = value.to(device)
        self.without_effect.copy_(state["without_effect"])
