"""Utterances with what was said in them: sound and tokens in one batch."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from sertools.data.batching import Batch, Example, collate, shared
from sertools.data.dataset import Targets
from sertools.data.record import Record
from sertools.data.tokens import pad_tokens
from sertools.errors import ConfigError, DataError
from torch import Tensor
from torch.utils.data import Dataset, Sampler

SMALLEST = 8
"""Utterances that a loss of the whole batch needs at least to be worth learning from."""


@dataclass
class SpokenExample(Example):
    """One utterance with its words."""

    words: Sequence[int] | Tensor | None = None
    """Tokens; a vector (D,) that stands for the whole text; or None."""


@dataclass
class SpokenBatch(Batch):
    """A batch with words; without sound, `inputs` is (B, 0)."""

    words: Tensor | None = None
    """Tokens, long (B, S); vectors, float (B, D); None where only sound is heard."""
    word_lengths: Tensor | None = None
    """Own tokens of each text, long (B,)."""

    @property
    def arguments(self) -> tuple[Tensor | None, ...]:
        """Return what an `AudioText` is called with."""
        return self.inputs, self.lengths, self.words, self.word_lengths

    def part(self, start: int, end: int) -> SpokenBatch:
        """Return some neighbours of a batch on the CPU, without padding that they do not need."""
        rows = {name: value[start:end] for name, value in vars(self).items() if value is not None}
        rows["inputs"] = rows["inputs"][:, : int(rows["lengths"].max())]
        if self.word_lengths is not None and not self.words.is_floating_point():
            rows["words"] = rows["words"][:, : int(rows["word_lengths"].max())]
        return replace(self, **rows)


def collate_spoken(examples: Sequence[SpokenExample], padding: int = 0) -> SpokenBatch:
    """Pad sound with zeros and tokens with `padding`."""
    batch = collate(examples)
    said = [example.words for example in examples]
    if said[0] is None:
        return SpokenBatch(**vars(batch))
    if isinstance(said[0], Tensor):
        return SpokenBatch(**vars(batch), words=torch.stack(said),
                           word_lengths=torch.ones(len(said), dtype=torch.long))
    words, lengths = pad_tokens(said, padding)
    return SpokenBatch(**vars(batch), words=words, word_lengths=lengths)


class SpokenDataset(Dataset):
    """The utterances `ids` with their words, and their sound if it is wanted.

    Args:
        records: the utterances, in order.
        audio: the sound of the same utterances, or features of it; None reads no audio.
        words: by id; may be replaced by vectors later; None without words.
        targets: by id; None without labels.
    """

    def __init__(
        self, records: Sequence[Record], audio: Dataset | None,
        words: Mapping[str, Sequence[int] | Tensor] | None, targets: Targets | None = None,
    ):
        self.records, self.audio, self.words, self.targets = records, audio, words, targets

    @property
    def ids(self) -> list[str]:
        """Return the utterance ids in order."""
        return [record.id for record in self.records]

    @property
    def seconds(self) -> list[float]:
        """Return the duration of each utterance, after cropping where it is heard."""
        if self.audio is not None:
            return self.audio.seconds
        return [record.duration for record in self.records]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn."""
        if hasattr(self.audio, "set_epoch"):
            self.audio.set_epoch(epoch)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> SpokenExample:
        id = self.records[index].id
        sound = torch.zeros(0) if self.audio is None else self.audio[index].inputs
        target = None if self.targets is None else self.targets[id]
        return SpokenExample(id, sound, target, None if self.words is None else self.words[id])


class TrueBatches(Sampler):
    """Updates of `batch` utterances, drawn at random; each rank gets its share of every update.

    The sizes of updates differ by one at most, and none is smaller than `SMALLEST`; where that
    cannot be otherwise, they are larger than `batch`. A rank's share comes longest first. What is
    drawn depends on (seed, epoch) alone, so the number of ranks changes nothing.

    Args:
        seconds: duration of each utterance, by index.
        batch: utterances per update, over all ranks.
        seed: of the drawing.
        rank, world_size: which share this process takes.

    Raises:
        ConfigError: `batch` is too small, for a loss of the whole batch or for the ranks.
        DataError: so is the training part.
    """

    def __init__(
        self, seconds: Sequence[float], batch: int, seed: int = 0, rank: int = 0,
        world_size: int = 1,
    ):
        least = max(SMALLEST, world_size)
        if not isinstance(batch, int) or batch < least:
            raise ConfigError(f"batch is {batch}: a loss of fewer than {SMALLEST} utterances "
                              "together says nothing, and every process needs one",
                              remedy=f"give {least} or more")
        if len(seconds) < least:
            raise DataError(f"the training part has {len(seconds)} utterances: a batch needs "
                            f"{least} at least")
        self.seconds, self.seed, self.epoch = list(seconds), seed, 0
        self.rank, self.world_size = rank, world_size
        self._count = min(-(-len(seconds) // batch), len(seconds) // least)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose updates the next iteration yields."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[list[int]]:
        for update in self._updates():
            update.sort(key=lambda index: (-self.seconds[index], index))
            yield update[self.rank :: self.world_size]

    def _updates(self) -> list[list[int]]:
        order = list(range(len(self.seconds)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)  # noqa: S311  no secret
        return shared(order, self._count)


class BalancedBatches(TrueBatches):
    """Updates with as many utterances of every class, give or take one.

    An epoch has as many updates of as many utterances as without balancing. Each class is drawn
    without replacement until all of it was drawn, then anew; so rare classes are repeated, within
    an update too where they are smaller than their share, and frequent ones wait for later epochs.

    Args:
        labels: class of each utterance, by index.
        rest: as of `TrueBatches`.
    """

    def __init__(self, labels: Sequence[int], seconds: Sequence[float], *rest: Any, **more: Any):
        super().__init__(seconds, *rest, **more)
        self._classes = [[index for index, label in enumerate(labels) if label == name]
                         for name in sorted(set(labels))]

    def _updates(self) -> list[list[int]]:
        draw = random.Random(f"{self.seed}/{self.epoch}")  # noqa: S311  no secret
        streams = [_endless(members, draw) for members in self._classes]
        draw.shuffle(streams)
        sizes = [len(update) for update in shared(list(range(len(self.seconds))), self._count)]
        turns = itertools.cycle(streams)  # goes on over updates, so that each class gets its share
        return [[next(next(turns)) for _ in range(size)] for size in sizes]


def _endless(members: Sequence[int], draw: random.Random) -> Iterator[int]:
    while True:
        yield from draw.sample(members, len(members))
