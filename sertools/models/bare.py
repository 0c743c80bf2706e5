"""Modules without storage: their structure alone, for counting and for weights that follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

FILLS = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.zero_, torch.Tensor.fill_}


class _Unfilled(TorchFunctionMode):
    """Leave out what fills a tensor; on the meta device it does nothing, and takes long."""

    def __torch_function__(self, func: Callable, types: Any, args: tuple = (),
                           kwargs: dict | None = None) -> Any:
        if func in FILLS or getattr(func, "__module__", "") == "torch.nn.init":
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextlib.contextmanager
def bare() -> Iterator[None]:
    """Build modules inside of it on the meta device, without memory or random numbers."""
    with torch.device("meta"), _Unfilled():
        yield
