"""The device that a computation runs on."""

import torch


def pick_device(device: str) -> torch.device:
    """The device asked for.

    Raises:
        ValueError: for an unknown name or a CUDA that is not there.
    """
    if device not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device 'cuda' was asked for, but torch sees no CUDA device")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device)
