"""Batches without padding: every waveform cut to the shortest one's length."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from sertools.data.batching import Batch, Example, collate
from sertools.data.dataset import own_generator
from sertools.errors import ConfigError


class CropToShortest:
    """Collate examples by cutting all to the shortest, at random places, without any padding.

    The place depends on (seed, epoch, utterance) alone, so neither workers nor an interruption
    change it. Where the waveforms were cut before, the two places are independent.

    Args:
        seed: of the places.
        hop: the length is rounded down to a multiple of this many samples, unless that is nothing.
        padded: True pads with zeros instead, as `collate` does.
    """

    def __init__(self, seed: int, hop: int = 1, padded: bool = False):
        if hop < 1:
            raise ConfigError(f"hop: {hop} is below 1 sample")
        self.seed, self.hop, self.padded, self.epoch = seed, hop, padded, 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose places are drawn."""
        self.epoch = epoch

    def __call__(self, examples: Sequence[Example]) -> Batch:
        """Return a batch whose waveforms (samples,) all have the same length."""
        if self.padded:
            return collate(examples)
        shortest = min(len(example.inputs) for example in examples)
        length = shortest // self.hop * self.hop or shortest
        return collate([dataclasses.replace(example, inputs=self._cut(example, length))
                        for example in examples])

    def _cut(self, example: Example, length: int) -> torch.Tensor:
        spare = len(example.inputs) - length
        generator = own_generator("shortest", self.seed, self.epoch, example.id)
        first = int(torch.randint(spare + 1, (1,), generator=generator))
        return example.inputs[first:first + length]
