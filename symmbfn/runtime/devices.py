"""The device and the precision of a computation."""

import torch

from symmbfn.runtime.checks import one_of

DEVICES = ("auto", "cpu", "cuda")
DTYPES = ("float32", "bf16")


def pick_device(device: str) -> torch.device:
    """The device asked for.

    Raises:
        ValueError: for an unknown name or a CUDA that is not there.
    """
    one_of("device", device, DEVICES)
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no CUDA device")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)


def autocast(device: torch.device, dtype: str) -> torch.autocast:
    """Matrix products in bf16 for the dtype "bf16"; flows and losses stay in float32.

    Args:
        device: of the computation.
        dtype: one of `DTYPES`.
    """
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bf16")
