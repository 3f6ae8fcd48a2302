"""The device that networks are trained on."""

from __future__ import annotations

import torch

from stages.engine.errors import InputError
from stages.gnn.settings import Settings


def device_of(settings: Settings) -> str:
    """The device that trains, "cpu" or "cuda": "auto" is CUDA where there is a CUDA device.

    Raises:
        InputError: CUDA is asked for, and there is none.
    """
    available = torch.cuda.is_available()
    if settings.device == "cuda" and not available:
        raise InputError("params.yaml, gnn.device: is 'cuda', and torch finds no CUDA device here; take 'auto'")
    return ("cuda" if available else "cpu") if settings.device == "auto" else settings.device
