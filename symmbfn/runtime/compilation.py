"""The same functions, faster: compiled where there is a compiler, matrix products by oneDNN.

Nothing here changes what is computed, except for the rounding of the last bits; by these a sampler
makes another crystal here and there. A compiled
function is compared with the plain one on the first call of every shape. Where it fails or
differs, one line on stderr says so and the plain function is used.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields, is_dataclass, replace
from functools import cache
from typing import Any

import torch

from symmbfn._shapes import Tensor

EXACT = 1e-5  # relative error of a float32 product that has not lost precision inside
TOLERANCE = 1e-3  # of a compiled function in float32, relative to the largest value
COARSE = 5e-2  # the same under autocast
_HAS_TORCH_DEFAULTS = ContextVar("_HAS_TORCH_DEFAULTS", default=False)


def compiled(function: Callable, device: torch.device) -> Callable:
    """torch.compile, checked against the function itself, which is used where the check fails.

    Shapes are symbolic, so that one compilation serves every bucket. On CUDA the kernels of each
    shape are captured in a graph, whose outputs are copied before the next replay.

    Args:
        function: of tensors and of nested dataclasses, dictionaries and None.
        device: where its tensors lie.

    Returns:
        A function with the same arguments and results. The first call of every shape, and of
        every choice made by a bool, runs both forms; if compilation fails, or the results differ
        by more than rounding, it says so in one line on stderr and this and later calls run
        `function` itself.

    Source: ours.
    """
    is_cuda = device.type == "cuda"
    mode = "reduce-overhead" if is_cuda else None
    fast = torch.compile(function, dynamic=True, mode=mode)
    state: dict[str, Any] = {"fast": fast, "seen": set()}

    def call(*arguments: Any) -> Any:
        if state["fast"] is None:
            return function(*arguments)
        choices = (torch.is_grad_enabled(), *(a for a in arguments if isinstance(a, bool)))
        shapes = tuple(tuple(leaf.shape) for leaf in leaves(arguments)), choices
        try:
            with _sizes_apart():
                if is_cuda:
                    torch.compiler.cudagraph_mark_step_begin()
                result = state["fast"](*arguments)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a compiler on another machine may raise
            reason = " ".join(str(error).split())[:160]
            return plainly(f"{type(error).__name__}: {reason}", arguments)
        if is_cuda:  # a replay writes into the same memory
            result = mapped(Tensor.clone, result)
        if shapes not in state["seen"]:
            off = difference(result, function(*arguments))
            limit = COARSE if torch.is_autocast_enabled(device.type) else TOLERANCE
            if not off <= limit:
                return plainly(f"the compiled function is off by {off:.1e}", arguments)
            state["seen"].add(shapes)
        return result

    def plainly(reason: str, arguments: tuple) -> Any:
        print(f"not compiled, the plain function runs: {reason}", file=sys.stderr)
        state["fast"] = None
        return function(*arguments)

    return call


def leaves(value: Any) -> list[Tensor]:
    """All tensors of a nest of dataclasses, dictionaries and sequences, in order."""
    found: list[Tensor] = []

    def note(tensor: Tensor) -> Tensor:
        found.append(tensor)
        return tensor

    mapped(note, value)
    return found


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same nest of dataclasses, dictionaries and sequences with its tensors replaced."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: mapped(function, item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mapped(function, item) for item in value)
    if is_dataclass(value) and not isinstance(value, type):
        parts = {field.name: getattr(value, field.name) for field in fields(value)}
        return replace(value, **{name: mapped(function, part) for name, part in parts.items()})
    return value


def difference(ours: Any, reference: Any) -> float:
    """Largest difference between the tensors of two nests, relative to the largest value.

    Args:
        ours, reference: results of the same structure.

    Returns:
        The difference; infinite where one is finite and the other is not.
    """
    worst = 0.0
    for a, b in zip(leaves(ours), leaves(reference), strict=True):
        a, b = a.detach().double(), b.detach().double()
        if not torch.equal(a.isfinite(), b.isfinite()):
            return float("inf")
        a, b = a[a.isfinite()], b[b.isfinite()]
        if len(a):
            worst = max(worst, float((a - b).abs().max() / b.abs().max().clamp_min(1.0)))
    return worst


@contextmanager
def _sizes_apart() -> Iterator[None]:
    """Keep sizes that happen to be equal separate symbols, so that other buckets fit, too."""
    import torch.fx.experimental._config as shapes

    with shapes.patch(use_duck_shape=False):  # type: ignore[attr-defined]
        yield


@contextmanager
def onednn_products(device: torch.device) -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the CPU, if it does so without losing precision.

    On processors without matrix units torch's precision "medium" is full float32, and on some
    of them twice as fast as the default library. Elsewhere, and on CUDA, nothing is changed.

    Args:
        device: where the matrices lie.

    Source: ours: as torch.set_float32_matmul_precision.
    """
    before = torch.get_float32_matmul_precision()
    is_wanted = device.type == "cpu" and before == "highest" and not _HAS_TORCH_DEFAULTS.get()
    if not is_wanted or not _is_medium_exact():
        yield
        return
    torch.set_float32_matmul_precision("medium")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Products as torch makes them by itself: `onednn_products` changes nothing in here."""
    token = _HAS_TORCH_DEFAULTS.set(True)
    try:
        yield
    finally:
        _HAS_TORCH_DEFAULTS.reset(token)


@cache
def _is_medium_exact() -> bool:
    """Whether precision "medium" keeps float32's digits here: multiplied once and looked at."""
    generator = torch.Generator().manual_seed(0)
    a, b = torch.rand(2, 256, 256, generator=generator)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        error = (a @ b).double() / (a.double() @ b.double()) - 1
    finally:
        torch.set_float32_matmul_precision(before)
    return bool(error.abs().max() < EXACT)
