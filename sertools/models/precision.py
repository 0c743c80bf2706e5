"""Where half precision would hurt."""

from __future__ import annotations

import contextlib

import torch


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context in which autocast is off for `device`."""
    if device.type == "meta":  # tensors without storage know no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)
