"""Which of several processes this is; the one place that decides what only the first one does."""

from __future__ import annotations

import os


def rank() -> int:
    """Return this process's number, as torchrun tells it."""
    return int(os.environ.get("RANK", "0"))


def world_size() -> int:
    """Return the number of processes."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def is_main() -> bool:
    """Return whether this process speaks and writes for all."""
    return rank() == 0
