"""Frames of a frozen teacher as targets: read from a cache, or computed while training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from sertools.data.targets import TargetBatch, take_frames
from sertools.models.upstream import Upstream
from torch import Tensor


class Teacher:
    """The frames of one or more depths that a student shall predict.

    Args:
        upstream: frozen, on the device of the training; None where all targets are cached.
        depths: which of its hidden tensors are targets, in order; 0 is the input of block 1.
        precision: fp32 or bf16 (autocast), where it is run.
        hears: where it is run, `utterance` (as a cached one) or `crop`: just what the student does.
        padded: give what it makes of the padding behind crops too, instead of zeros; only where it
            is run and hears crops.
    """

    def __init__(
        self, upstream: Upstream | None, depths: Sequence[int], precision: str = "fp32",
        hears: str = "utterance", padded: bool = False,
    ):
        assert hears == "crop" or not padded
        self.upstream, self.depths = upstream, list(depths)
        self.precision, self.hears, self.padded = precision, hears, padded

    @property
    def layers(self) -> list[int]:
        """Return the distinct depths, in the order in which a cache holds them."""
        return list(dict.fromkeys(self.depths))

    def targets(self, batch: TargetBatch, frames: int) -> Tensor:
        """Return the targets (B, len(depths), frames, D) of a batch's crops.

        They are of the cache's precision, or float32. Frames that the teacher has not are zero.
        """
        found = self._hear(batch, frames) if batch.teacher is None else batch.teacher
        missing = frames - found.shape[2]
        found = F.pad(found, (0, 0, 0, missing)) if missing > 0 else found[:, :, :frames]
        if self.layers == self.depths:
            return found
        layers = found.unbind(1)
        return torch.stack([layers[self.layers.index(depth)] for depth in self.depths], 1)

    @torch.no_grad()
    def _hear(self, batch: TargetBatch, frames: int) -> Tensor:
        """Run the teacher on the whole utterances and take the frames of the crops."""
        assert self.upstream is not None, "targets are neither cached nor to be computed"
        if self.hears == "crop":
            batch = dataclasses.replace(batch, whole=batch.inputs, whole_lengths=batch.lengths,
                                        starts=torch.zeros_like(batch.lengths))
        with torch.autocast(batch.whole.device.type, torch.bfloat16, self.precision == "bf16"):
            encoded = self.upstream(batch.whole.float(), batch.whole_lengths, hidden=True)
        layers = [encoded.hidden[depth] for depth in self.layers]
        if self.padded:
            return torch.stack(layers, 1)
        return take_frames(layers, encoded.lengths, batch, frames)[0]


def spread_within(values: Tensor, mask: Tensor) -> Tensor:
    """Return the standard deviation of values (B, L, T, D) over frames with a (B, T) mask.

    Returns:
        scalar: the mean over layers and channels.
    """
    share, values = mask[:, None, :, None] / mask.sum().clamp(min=1), values.float()
    mean = (values * share).sum((0, 2), keepdim=True)
    return ((values - mean).square() * share).sum((0, 2)).sqrt().mean()
