"""Read tensors from files without ever running code that is in them."""

from __future__ import annotations

import pickle
import zipfile
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
            [str(error).splitlines()[0]],
            "load it once where you trust it and save tensors and plain values only",
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"{path}: cannot be read.", [str(error).splitlines()[0]], _AGAIN
        ) from error


_AGAIN = "get the file again; it is truncated, damaged or of another kind"
