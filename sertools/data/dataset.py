"""Datasets: utterance ids to examples, from audio files or from cached features."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from sertools.data.batching import Example
from torch import Tensor
from torch.utils.data import Dataset

if TYPE_CHECKING:
    from sertools.data.audio import AudioReader
    from sertools.data.feature_cache import FeatureCache
    from sertools.data.record import Record

Targets = Mapping[str, Tensor | int]


def own_generator(*parts: str | int) -> torch.Generator:
    """Return a generator that depends on all parts (seed, epoch, id, ...) and on nothing else."""
    name = "/".join(map(str, parts)).encode()
    number = int.from_bytes(hashlib.blake2b(name, digest_size=7).digest(), "big")
    return torch.Generator().manual_seed(number)


class AudioDataset(Dataset):
    """Waveforms of the utterances `ids`, read when asked for.

    Random crops depend on (seed, epoch, utterance) alone, so neither the number of workers nor an
    interruption changes them.

    Args:
        manifest: all records, by id.
        ids: the utterances of this dataset, in order.
        data_folder: folder of the release that the records' paths start from.
        reader: turns a record into a waveform (samples,).
        targets: by id, a class index or a vector; None without labels.
        seed: of the random crops.
    """

    def __init__(
        self,
        manifest: Mapping[str, Record],
        ids: Sequence[str],
        data_folder: str | Path,
        reader: AudioReader,
        targets: Targets | None = None,
        seed: int = 0,
    ):
        self.records = [manifest[id] for id in ids]
        self.data_folder, self.reader, self.targets = Path(data_folder), reader, targets
        self.seed, self.epoch = seed, 0

    @property
    def ids(self) -> list[str]:
        """Return the utterance ids in order."""
        return [record.id for record in self.records]

    @property
    def seconds(self) -> list[float]:
        """Return the duration of each example after cropping, what the batch sampler needs."""
        longest = self.reader.crop_seconds if self.reader.crop else None
        durations = [record.duration for record in self.records]
        return durations if longest is None else [min(longest, value) for value in durations]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose random crops are drawn."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> Example:
        record = self.records[index]
        generator = None
        if self.reader.crop == "random":
            generator = own_generator(self.seed, self.epoch, record.id)
        waveform = self.reader(record, self.data_folder, generator)
        return Example(record.id, waveform, self.targets and self.targets[record.id])


class FeatureDataset(Dataset):
    """Cached features (layers, frames, dim) of the utterances `ids`, in the cache's precision."""

    def __init__(self, cache: FeatureCache, ids: Sequence[str], targets: Targets | None = None):
        self.cache, self.ids, self.targets = cache, list(ids), targets

    @property
    def seconds(self) -> list[float]:
        """Return the duration of each example, what the batch sampler needs."""
        return [self.cache.frames(id) / self.cache.frame_rate for id in self.ids]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> Example:
        id = self.ids[index]
        return Example(id, self.cache.get(id), self.targets and self.targets[id])
