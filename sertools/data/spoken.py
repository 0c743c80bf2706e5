"""Utterances with what was said in them: sound and tokens in one batch."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from sertools.data.batching import Batch, Example, collate, shared
from sertools.data.dataset import AudioDataset, Targets
from sertools.data.record import Record
from sertools.data.tokens import pad_tokens
from sertools.errors import ConfigError, DataError
from torch import Tensor
from torch.utils.data import Dataset, Sampler

SMALLEST = 8
"""Utterances that a concordance needs at least to be worth learning from."""


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
        audio: the sound of the same utterances; None reads no audio.
        words: by id; may be replaced by vectors later; None without words.
        targets: by id; None without labels.
    """

    def __init__(
        self, records: Sequence[Record], audio: AudioDataset | None,
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
        if self.audio is not None:
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
        ConfigError: `batch` is too small, for a concordance or for the ranks.
        DataError: so is the training part.
    """

    def __init__(
        self, seconds: Sequence[float], batch: int, seed: int = 0, rank: int = 0,
        world_size: int = 1,
    ):
        least = max(SMALLEST, world_size)
        if not isinstance(batch, int) or batch < least:
            raise ConfigError(f"batch is {batch}: the concordance of fewer than {SMALLEST} "
                              "utterances says nothing, and every process needs one",
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
        order = list(range(len(self.seconds)))
        random.Random(f"{self.seed}/{self.epoch}").shuffle(order)  # noqa: S311  no secret
        for update in shared(order, self._count):
            update.sort(key=lambda index: (-self.seconds[index], index))
            yield update[self.rank :: self.world_size]
