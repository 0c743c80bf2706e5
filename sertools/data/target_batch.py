"""A batch of crops with the teacher's frames, or with what the teacher must hear."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from sertools.data.batching import Batch, Example, collate, pad
from torch import Tensor


@dataclass
class TargetExample(Example):
    """One crop; `inputs` are its samples."""

    start: int = 0
    """First frame of the crop."""
    frames: int = 0
    """The student's frames of the crop."""
    teacher: Tensor | None = None
    """(layers, frames, dim) of the teacher, if cached; fewer frames where it has fewer."""
    whole: Tensor | None = None
    """(samples,) that the teacher hears, if it is to be run."""
    local: Tensor | None = None
    """(frames, channels) of the student's convolutions, if cached."""


@dataclass
class TargetBatch(Batch):
    """B crops of T frames at most; `inputs` are (B, samples)."""

    starts: Tensor | None = None
    """First frame of each crop, long (B,)."""
    frames: Tensor | None = None
    """Frames of each crop that have a target, long (B,): those that student and teacher have. Of a
    teacher that is to be run it is not known yet, then they are the student's (`take_frames`)."""
    teacher: Tensor | None = None
    """(B, layers, T, dim) in the cache's precision, zero behind `frames`; None: to be computed."""
    whole: Tensor | None = None
    """(B, samples) that the teacher hears; None where its frames are cached."""
    whole_lengths: Tensor | None = None
    """Valid samples of `whole`, long (B,)."""
    local: Tensor | None = None
    """(B, T, channels) of the student's convolutions; None if they are not cached."""


def collate_targets(
    examples: Sequence[TargetExample], samples: int | None = None, frames: int | None = None
) -> TargetBatch:
    """Return examples as a batch, padded with zeros to the longest crop.

    Args:
        samples: length of `inputs`; None takes the longest crop. For training that pads all crops
            to the same length (`TargetDataset.crop_samples`).
        frames: T, the student's frames of so many samples; goes with `samples`.
    """
    first = examples[0]
    batch = collate(examples) if samples is None else Batch(
        [example.id for example in examples], *pad([one.inputs for one in examples], 0, samples))
    longest = frames or max(example.frames for example in examples)
    found = TargetBatch(batch.ids, batch.inputs, batch.lengths,
                        starts=torch.tensor([example.start for example in examples]),
                        frames=torch.tensor([example.frames for example in examples]))
    if first.teacher is not None:
        found.teacher, found.frames = pad([example.teacher for example in examples], 1, longest)
    if first.whole is not None:
        found.whole, found.whole_lengths = pad([example.whole for example in examples], 0)
    if first.local is not None:
        found.local, _ = pad([example.local for example in examples], 0, longest)
    return found


def take_frames(layers: Sequence[Tensor], lengths: Tensor, batch: TargetBatch, frames: int
                ) -> tuple[Tensor, Tensor]:
    """Cut the crops' frames out of what a teacher made of `TargetBatch.whole`.

    Args:
        layers: (B, S, dim) of each wanted depth.
        lengths: (B,) valid frames of the teacher.
        batch: for its `starts` and `frames`.
        frames: T, the student's frames of the padded batch.

    Returns:
        (B, layers, T, dim), zero where student or teacher has no frame, and (B,) frames that both
        have. Nothing waits for the device.
    """
    assert batch.starts is not None and batch.frames is not None
    steps = torch.arange(frames, device=lengths.device)
    both = torch.minimum(batch.frames, (lengths - batch.starts).clamp(min=0))
    places = (batch.starts[:, None] + steps).clamp(max=layers[0].shape[1] - 1)
    places = places[..., None].expand(-1, -1, layers[0].shape[2])
    beyond = (steps >= both[:, None])[:, None, :, None]
    cut = torch.stack([layer.gather(1, places) for layer in layers], dim=1)
    return cut.masked_fill(beyond, 0.0), both
