"""Acoustic statistics of the utterances of a unit, computed once per process and recording."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from sertools.brains.work import FoldWork
from sertools.data.audio import AudioReader
from sertools.errors import DataError, Interrupted
from sertools.models.acoustics import acoustic_statistics
from sertools.models.contours import RATE
from torch.utils.data import DataLoader, Dataset

if TYPE_CHECKING:
    from sertools.data.record import Record

_known: dict[str, np.ndarray] = {}
"""Statistics by audio hash: the folds of a corpus share them."""


class StatisticsDataset(Dataset):
    """Audio hash and statistics (S,) of records; may run in loading processes."""

    def __init__(self, records: Sequence[Record], work: FoldWork):
        self.records, self.data_folder = list(records), work.data_folder
        self.reader = AudioReader(RATE, normalise=False, cache_megabytes=0)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> tuple[str, np.ndarray]:
        record = self.records[index]
        found = acoustic_statistics(self.reader(record, self.data_folder)).numpy()
        return record.audio_hash, found


def statistics_table(work: FoldWork, ids: Sequence[str], per_speaker: bool = False) -> np.ndarray:
    """Return the statistics (n, S) of utterances, float64.

    Args:
        work: the unit; its `num_workers` processes share the computation.
        ids: which utterances, in order.
        per_speaker: give each speaker zero mean and unit variance over all of that speaker's
            utterances in the manifest, those of the test part included.

    Raises:
        DataError: audio that cannot be used; with `per_speaker`, utterances without a speaker.
        Interrupted: a stop was asked for.
    """
    if not per_speaker:
        return _table(work, ids)
    unknown = [id for id in ids if work.manifest[id].speaker is None]
    if unknown:
        raise DataError(
            "per_speaker needs the speaker of every utterance.", unknown, "set per_speaker: false"
        )
    table = _table(work, ids)
    speakers = np.array([work.manifest[id].speaker for id in ids])
    for speaker in np.unique(speakers):
        own = _table(work, [id for id, item in work.manifest.items() if item.speaker == speaker])
        rows = speakers == speaker
        table[rows] = (table[rows] - own.mean(0)) / (own.std(0) + 1e-6)
    return table


def _table(work: FoldWork, ids: Sequence[str]) -> np.ndarray:
    records = {work.manifest[id].audio_hash: work.manifest[id] for id in ids}
    if None in records:
        bare = [id for id in ids if not work.manifest[id].audio_hash]
        raise DataError("The manifest says nothing about some audio.", bare, "run stage prepare")
    wanted = [record for name, record in records.items() if name not in _known]
    loader = DataLoader(
        StatisticsDataset(wanted, work), batch_size=None, num_workers=work.num_workers,
        generator=torch.Generator(),
    )  # fmt: skip
    for number, (name, found) in enumerate(loader, 1):
        _known[name] = np.asarray(found, dtype=np.float64)
        if work.should_stop():
            raise Interrupted("Stopped while acoustic statistics were computed.")
        if number % 1000 == 0:
            work.say(f"acoustic statistics: {number} of {len(wanted)} utterances")
    return np.stack([_known[work.manifest[id].audio_hash] for id in ids])
