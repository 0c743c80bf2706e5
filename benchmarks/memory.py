"""The most memory that a run takes, measured in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from turns import wait


def memory_of(run: Callable, device: str) -> dict[str, float]:
    """Run twice (the optimizer's states come with the first) and return megabytes."""
    cuda = device.startswith("cuda")
    before = torch.cuda.memory_allocated() / 2**20 if cuda else peak()
    run()
    run()
    wait(device)
    most = torch.cuda.max_memory_allocated() / 2**20 if cuda else peak()
    return {"megabytes_before": round(before), "megabytes_peak": round(most)}


def memory_in_child(script: str, arguments: Sequence[Any]) -> dict[str, Any]:
    """Return what a benchmark prints last, as JSON, in a process of its own."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)  # noqa: S603
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1]}
    return json.loads(done.stdout.splitlines()[-1])


def peak() -> float:
    """Return the most memory that this process ever held, in megabytes.

    Linux's getrusage counts what the parent held before the child was started; /proc does not.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
