"""The utterances of a pretraining as a dataset, and as numbers for people and files."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sertools.data.dataset import AudioDataset
from sertools.data.record import Record
from sertools.data.shards import ShardReader
from sertools.errors import DataError


class Utterance(NamedTuple):
    """An utterance and where it comes from."""

    corpus: str
    record: Record
    folder: Path
    """What the record's path is relative to."""
    in_shard: bool = False
    """The path leads into a tar file."""

    @property
    def speaker(self) -> str | None:
        """Return corpus/speaker, what `exclude` may name."""
        return None if self.record.speaker is None else f"{self.corpus}/{self.record.speaker}"


def check_utterances(
    kept: Sequence[Utterance], left_out: Mapping[str, Mapping[str, int]]
) -> None:
    """Check that there are utterances, each once and with a length.

    Raises:
        DataError: it is not so; `left_out` (reason -> corpus -> number) then tells why.
    """
    if not kept:
        raise DataError("no utterance is left to train on",
                        [f"{reason}: {dict(counts)}" for reason, counts in left_out.items()],
                        "look at `sources`, `shards`, `exclude` and `min_seconds`")
    seen: dict[str, Utterance] = {}
    twice = []
    for utterance in kept:
        first = seen.setdefault(utterance.record.id, utterance)
        if first is not utterance:
            twice.append(f"{utterance.record.id} is in {first.corpus} ({first.folder}) and in "
                         f"{utterance.corpus} ({utterance.folder})")
    if twice:
        raise DataError("utterances occur more than once", twice,
                        "name each corpus once, either under `sources` or in `shards`")
    records = [utterance.record for utterance in kept]
    odd = [f"{record.id}: its duration is {record.duration}" for record in records
           if not record.duration or record.duration < 0]
    if odd:
        raise DataError("utterances without a length", odd, "run the stage prepare of their recipe")


class PretrainingDataset(AudioDataset):
    """Waveforms (samples,) of many corpora's utterances, sorted by id; `PretrainingData` makes it.

    Each is normalised over the whole utterance if the reader does so, then cut; a random cut is at
    a place that depends on (seed, epoch, utterance) alone. A silent utterance is all zeros, also
    after normalisation.

    Args:
        utterances: in any order.
        reader: turns a record into a waveform.
        seed: of the random cuts.
        left_out: reason -> corpus -> number of utterances that are not used.
    """

    def __init__(self, utterances: Sequence[Utterance], reader: ShardReader,
                 seed: int, left_out: Mapping[str, Mapping[str, int]]):
        records = {one.record.id: _small(one.record, one.folder) for one in utterances}
        super().__init__(records, sorted(records), os.sep, reader, None, seed)
        self._left_out = left_out
        self._corpora: dict[str, list[Record]] = defaultdict(list)
        for one in utterances:
            self._corpora[one.corpus].append(records[one.record.id])

    def summary(self) -> dict[str, Any]:
        """Return utterances, hours (before the cut) and speakers of each corpus, as plain JSON.

        `left_out` is reason -> corpus -> utterances.
        """
        return {"corpora": {corpus: {
            "utterances": len(records),
            "hours": round(sum(record.duration for record in records) / 3600, 4),
            "speakers": len({record.speaker for record in records} - {None}),
        } for corpus, records in sorted(self._corpora.items())}, "left_out": self._left_out}

    def heard(self) -> dict[str, list[str] | None]:
        """Return the speakers of each corpus that is used, None where one is unknown.

        A corpus goes by its own name, which all its ids begin with, not by that of its source.
        """
        found: dict[str, set[str | None]] = defaultdict(set)
        for source, records in self._corpora.items():
            names = {record.id.partition("-")[0] for record in records}
            name = names.pop() if len(names) == 1 else source
            found[name] |= {record.speaker for record in records}
        return {name: None if None in speakers else sorted(map(str, speakers))
                for name, speakers in sorted(found.items())}

    def describe(self) -> list[str]:
        """Return the summary as a few lines of text."""
        summary = self.summary()
        lines = [f"{corpus}: {numbers['utterances']} utterances, {numbers['hours']:.2f} h, "
                 f"{numbers['speakers'] or 'unknown'} speakers"
                 for corpus, numbers in summary["corpora"].items()]
        hours = sum(numbers["hours"] for numbers in summary["corpora"].values())
        if len(lines) > 1:
            lines.append(f"together: {len(self)} utterances, {hours:.2f} h")
        return lines + [
            f"left out: {reason}: " + ", ".join(f"{corpus} {n}" for corpus, n in counts.items())
            for reason, counts in summary["left_out"].items()]


def _small(record: Record, folder: Path) -> Record:
    """Return what is needed to read an utterance, with an absolute path."""
    return Record(record.id, str(folder / record.path), speaker=record.speaker, start=record.start,
                  end=record.end, channel=record.channel, duration=record.duration,
                  audio_hash=record.audio_hash)
