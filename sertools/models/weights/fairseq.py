"""Read checkpoints whose configuration may hold Python objects, and run none of them.

Tensors are all that is wanted, but `cfg` and the states of task and optimiser may hold omegaconf
nodes (fairseq), yacs nodes (Vesper), argparse namespaces, enumerations or numpy scalars, which
PyTorch's restricted reader refuses. Three ways are open: an unrestricted reader runs whatever the
file says; allowing the real classes runs their `__setstate__` with the file's data and needs their
libraries; here, names of configuration classes stand for one inert class of ours that only keeps
what it is given. No name in a file is ever looked up or imported, and a file that names anything
else is refused before it is opened. Tensors are mapped from disk: what is not copied (optimiser
moments) is never read.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from sertools.errors import ConfigError
from sertools.models.weights.read import read_pickled
from torch.serialization import get_unsafe_globals_in_checkpoint, safe_globals

_HARMLESS = re.compile(
    r"(omegaconf|fairseq|examples\.data2vec)\.[\w.]+|yacs\.config\.CfgNode"
    r"|argparse\.Namespace|typing\.\w+|pathlib\.\w+|collections\.defaultdict"
    r"|builtins\.(dict|list|tuple|int|float|str|bool|object)"
    r"|numpy\.(dtype|ndarray)|numpy\.(_core|core)\.multiarray\.(scalar|_reconstruct)"
)


class Inert:
    """Stands for an object of a configuration library: keeps its state, does nothing."""

    state: Any

    def __new__(cls, *_: Any) -> Inert:
        """Take any arguments."""
        inert = super().__new__(cls)
        inert.state = None
        return inert

    def __setstate__(self, state: Any) -> None:
        """Keep what the file says about the object."""
        self.state = state


class Dictionary:
    """Stands for a dictionary of another kind, which is then filled item by item.

    PyTorch's reader fills plain and ordered ones only, and lets only the latter have attributes.
    """

    def __new__(cls, *_: Any) -> OrderedDict:
        """Return an empty one, whatever the arguments."""
        return OrderedDict()


_DICTIONARIES = ("collections.defaultdict", "yacs.config.CfgNode")


def read_fairseq(path: Path) -> Any:
    """Return what a file holds: tensors, plain values, and `Inert` for other objects.

    Raises:
        ConfigError: it is absent, truncated, or names code that is no configuration class.
    """
    if not zipfile.is_zipfile(path):
        return read_pickled(path)
    try:
        foreign = get_unsafe_globals_in_checkpoint(path)
    except (RuntimeError, EOFError, ValueError, pickle.UnpicklingError):
        return read_pickled(path)  # which says what is wrong
    refused = sorted(name for name in foreign if not _HARMLESS.fullmatch(name))
    if refused:
        raise ConfigError(
            f"{path}: refused; it names code that no checkpoint needs.",
            refused,
            "load it once where you trust it and save tensors and plain values only",
        )
    allowed: list[Any] = [
        (Dictionary if name in _DICTIONARIES else Inert, name) for name in foreign
    ]
    with safe_globals(allowed):
        return read_pickled(path, mmap=True)


def plain(value: Any) -> Any:
    """Return a configuration as dictionaries, lists and scalars, whatever classes it was of."""
    if isinstance(value, Inert):
        state = value.state
        for key in ("_content", "_val"):  # omegaconf's containers and leaves
            if isinstance(state, Mapping) and key in state:
                return plain(state[key])
        return plain(state)
    if isinstance(value, dict):  # whose attributes may hide its methods
        return {str(key): plain(item) for key, item in dict.items(value)}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def dig(values: Any, *keys: str) -> Any:
    """Return what lies below `keys` in nested dictionaries, or None."""
    for key in keys:
        values = values.get(key) if isinstance(values, Mapping) else None
    return values


def is_tensors(value: Any) -> bool:
    """Say whether `value` maps names to tensors."""
    return isinstance(value, Mapping) and any(isinstance(v, torch.Tensor) for v in value.values())
