"""The device on which networks are trained."""

from __future__ import annotations

from importlib.metadata import version

from stages.engine.errors import InputError


def device_of(device: str) -> str:
    """The device of this machine that trains networks.

    Args:
        device: "cpu", "cuda", or "auto", which is CUDA if this machine has it.

    Returns:
        "cpu" or "cuda".

    Raises:
        InputError: CUDA is asked for, and there is none.
    """
    if device == "cpu":
        return "cpu"
    available = _has_cuda()
    if device == "cuda" and not available:
        raise InputError("params.yaml, engine.device: is 'cuda', and torch finds no CUDA device here; take 'auto'")
    return "cuda" if available else "cpu"


def _has_cuda() -> bool:
    """Whether torch finds a CUDA device. A build for CPUs finds none, and importing torch to ask takes two seconds."""
    if version("torch").endswith("+cpu"):
        return False
    import torch

    return torch.cuda.is_available()
