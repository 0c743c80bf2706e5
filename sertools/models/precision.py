"""Where half precision would hurt."""

from __future__ import annotations

import contextlib

import torch
from torch import nn


def full_precision(device: torch.device) -> contextlib.AbstractContextManager:
    """Return a context in which autocast is off for `device`."""
    if device.type == "meta":  # tensors without storage know no autocast
        return contextlib.nullcontext()
    return torch.autocast(device.type, enabled=False)


def cast_matrices(encoder: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Keep the large matrices of a frozen encoder in `dtype`, in place; return the encoder.

    Under autocast the outputs stay the same, since autocast would cast the same matrices in every
    pass; they take half the memory and no time. LayerNorms, gates and position stay as they are.
    """
    for name, module in encoder.named_modules():
        if isinstance(module, nn.Linear) and not name.endswith("gate.linear"):
            module.to(dtype)
    return encoder
