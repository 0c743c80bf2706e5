"""What the benchmarks share: runs in turns, contexts of a precision, what figures depend on."""

from __future__ import annotations

import argparse
import contextlib
import os
import time
from collections.abc import Callable

import numpy
import sertools  # noqa: F401  mends torchaudio before anything imports it
import torch


def in_turns(runs: dict[tuple, Callable], options: argparse.Namespace) -> dict[tuple, list[float]]:
    """Return seconds of every repetition, after a round that warms up.

    With `options.clock` "cpu" they are processor time of this process, all threads together: on a
    busy machine, with one thread, they tell more than the time that passed.
    """
    clock = time.process_time if getattr(options, "clock", "wall") == "cpu" else time.perf_counter
    spent: dict[tuple, list[float]] = {key: [] for key in runs}
    for turn in range(options.repeats + 1):
        for key in sorted(runs, reverse=bool(turn % 2)):
            wait(options.device)
            began = clock()
            runs[key]()
            wait(options.device)
            if turn:
                spent[key].append(clock() - began)
    return spent


def wait(device: str) -> None:
    """Let the device finish what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Return the context of a precision."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def waveforms(batch: int, length: float, device: str) -> torch.Tensor:
    """Return (B, L) noise of unit variance."""
    draw = torch.Generator().manual_seed(1)
    return torch.randn(batch, round(16000 * length), generator=draw).to(device)


def conditions(options: argparse.Namespace) -> dict:
    """Return what the figures of any benchmark depend on."""
    cuda = options.device.startswith("cuda")
    return {
        "threads": options.threads, "repeats": options.repeats, "torch": torch.__version__,
        "numpy": numpy.__version__, "load": os.getloadavg(),
        "device": torch.cuda.get_device_name() if cuda else torch.backends.cpu.get_cpu_capability(),
    }
