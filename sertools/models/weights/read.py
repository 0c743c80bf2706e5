"""Read tensors from files without ever running code that is in them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from sertools.errors import ConfigError


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """Read a .safetensors file.

    Raises:
        ConfigError: if it is absent, truncated or something else.
    """
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ConfigError(f"{path}: cannot be read.", [str(error)], _AGAIN) from error


def read_pickled(path: Path, mmap: bool = False) -> Any:
    """Read a PyTorch file (.pt, .bin) that holds tensors and plain values only.

    With `mmap` the tensors stay on disk until they are used.

    Raises:
        ConfigError: if it is absent, truncated, or holds Python objects, which would run code.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        raise ConfigError(
            f"{path}: refused; it is damaged or holds Python objects, not only tensors.",
            _why(error),
            "load it once where you trust it and save tensors and plain values only",
        ) from error
    except Exception as error:  # what is no such file breaks PyTorch's reader anywhere
        raise ConfigError(
            f"{path}: cannot be read.", _why(error) or ["it ends too early"], _AGAIN
        ) from error


def _why(error: Exception) -> list[str]:
    """Return the reason that PyTorch gives, without its advice to read the file unsafely."""
    if isinstance(error, LookupError):  # its unpickler fell over bytes: 101, pop from empty list
        return ["it is no file of torch.save"]
    text = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    return [line.strip() for line in text.splitlines() if line.strip()][:1]


_AGAIN = "get the file again; it is truncated, damaged or of another kind"
