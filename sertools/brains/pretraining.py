"""What pretraining systems share: loaders without labels, a budget in updates, one training."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sertools.brains.distributed import Ranks
from sertools.brains.loaders import make_loader
from sertools.brains.work import PretrainingWork
from sertools.data.batching import BucketBatchSampler
from sertools.data.cropping import CropToShortest
from sertools.errors import ConfigError
from torch.utils.data import DataLoader


@dataclass(frozen=True)
class Budget:
    """How long to train, and on how much audio each update stands."""

    updates: int | None = 100_000
    """Optimizer steps, rounded up to whole epochs; None counts `epochs`."""
    epochs: int | None = None
    """Passes over the audio, instead of updates."""
    batch_seconds: float = 37.5
    """Seconds of audio per process and pass through the model; bounds the memory."""
    update_seconds: float = 900.0
    """Seconds of audio per update, over all processes and accumulated passes."""
    warmup_updates: int = 5_000
    """Updates with a rising learning rate."""

    def __post_init__(self) -> None:
        problems = []
        if (self.updates is None) == (self.epochs is None):
            problems.append("updates and epochs: give one of them, and null for the other")
        for name in ("updates", "epochs", "batch_seconds", "update_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                problems.append(f"{name}: {value}; give more than 0")
        if self.warmup_updates < 0:
            problems.append(f"warmup_updates: {self.warmup_updates}; give 0 or more")
        if problems:
            raise ConfigError("the budget of pretraining is not sound", problems)

    def accumulation(self, world_size: int) -> int:
        """Return the passes per update on each of so many processes."""
        return max(1, round(self.update_seconds / (self.batch_seconds * world_size)))

    def count(self, batches: int, world_size: int) -> tuple[int, float]:
        """Return epochs and the share of the warm-up, for so many batches per epoch and process.

        Raises:
            ConfigError: the warm-up is longer than the training.
        """
        steps = math.ceil(batches / self.accumulation(world_size))
        epochs = self.epochs or math.ceil(self.updates / steps)
        if self.warmup_updates >= epochs * steps:
            raise ConfigError(
                f"warmup_updates: {self.warmup_updates}, but the whole training has "
                f"{epochs * steps} updates ({steps} per epoch)"
            )
        return epochs, self.warmup_updates / (epochs * steps)


def share_out(batch: int, world_size: int, batch_seconds: float, longest: float) -> tuple[int, int]:
    """Share the utterances of an update out over processes and passes, all passes alike.

    Args:
        batch: utterances per update, over all processes.
        world_size: processes.
        batch_seconds: seconds of audio that a process may hold in one pass; one utterance always
            fits.
        longest: seconds of the longest utterance.

    Returns:
        passes per update, and utterances per pass and process. Their product times the processes
        is `batch`.

    Raises:
        ConfigError: the processes do not divide the batch.
    """
    share, rest = divmod(batch, world_size)
    if rest:
        raise ConfigError(f"batch: {batch} utterances cannot be shared out over {world_size} "
                          f"processes; give a multiple of {world_size}")
    fit = max(1, math.floor(batch_seconds / longest))
    passes = next(n for n in range(1, share + 1) if share % n == 0 and share // n <= fit)
    return passes, share // passes


def pretraining_loader(
    work: PretrainingWork, batch_seconds: float, device: str, ranks: Ranks
) -> DataLoader:
    """Return batches of similar lengths, cut to their shortest; nothing is padded."""
    batches = BucketBatchSampler(
        work.dataset.seconds, batch_seconds, True, work.seed, ranks.rank, ranks.world_size,
        buckets=64,
    )
    return make_loader(
        work.dataset, batches, work, device, collate_fn=CropToShortest(work.seed)
    )
