"""Randomness: the one place where it is seeded, captured and restored.

Weights are drawn from the seed alone, so that all ranks begin equal. Everything drawn while
training (dropout, masks, augmentation) comes from seed and rank, so that ranks differ. Data order
and random crops depend on (seed, epoch) alone and need no state.
"""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path

import numpy as np
import torch


def derive(*parts: str | int) -> int:
    """Return a number below 2^63 that depends on all parts and resembles no other's."""
    name = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def seed_weights(seed: int) -> None:
    """Seed every generator for building a model: equal on all ranks."""
    _seed(derive("weights", seed))


def seed_training(seed: int, rank: int) -> None:
    """Seed every generator for what happens while training: different on every rank."""
    _seed(derive("training", seed, rank))


def loader_generator(seed: int, rank: int, epoch: int) -> torch.Generator:
    """Return the own generator of a data loader, which else would draw from the global one."""
    return torch.Generator().manual_seed(derive("loader", seed, rank, epoch))


def _seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number % 2**32)
    torch.manual_seed(number)  # CUDA too, on every device


class RandomState:
    """All generator states of this process, as one file without pickled objects."""

    def save(self, path: str | Path) -> None:
        """Write the states of torch (CPU and this rank's CUDA device), numpy and python."""
        kind, keys, position, has_gauss, gauss = np.random.get_state()
        state = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
            "numpy": json.dumps([kind, keys.tolist(), position, has_gauss, gauss]),
            "python": json.dumps(random.getstate()),
        }
        torch.save(state, path)

    def load(self, path: str | Path) -> None:
        """Restore what `save` wrote."""
        state = torch.load(path, map_location="cpu", weights_only=True)
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
        kind, keys, position, has_gauss, gauss = json.loads(state["numpy"])
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), position, has_gauss, gauss))
        version, numbers, gauss = json.loads(state["python"])
        random.setstate((version, tuple(numbers), gauss))
