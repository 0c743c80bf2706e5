"""One utterance of a corpus: where its audio lies and what is known about it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

GENDERS = ("female", "male")
SPLITS = ("train", "dev", "test")
DIMENSIONS = ("arousal", "valence", "dominance")
LONGEST_ID = 200
"""Characters; ids become file names, and most file systems end at 255 bytes."""


@dataclass(frozen=True, slots=True)
class Record:
    """An utterance. None means unknown: nothing is ever guessed.

    A preparer yields records with the raw label of the release; the manifest holds the class name
    and the facts that were read from the audio (the last four fields).
    """

    id: str
    """`<corpus>-<stem>`, unique over all corpora."""
    path: str
    """Audio file relative to the data folder, with forward slashes."""
    label: str | None = None
    """Raw label as released; in a manifest the class name."""
    speaker: str | None = None
    session: str | None = None
    """Whatever was recorded together: dialogue, episode, session."""
    gender: str | None = None
    """`female` or `male`."""
    text: str | None = None
    """What was said."""
    language: str | None = None
    """ISO 639-1 code."""
    arousal: float | None = None
    """On the scale of the release, as are valence and dominance."""
    valence: float | None = None
    dominance: float | None = None
    split: str | None = None
    """Official part: train, dev or test."""
    start: float | None = None
    """Where the utterance begins inside the file, in seconds."""
    end: float | None = None
    """Where it ends, in seconds."""
    channel: int | None = None
    """0-based channel of the file; None is the mean of all."""
    tags: Mapping[str, str] = field(default_factory=dict)
    """What only this corpus knows: intensity, sentence, take, ..."""
    duration: float | None = None
    """Seconds of the utterance (of the segment, where there is one)."""
    sample_rate: int | None = None
    """Samples a second in the file."""
    channels: int | None = None
    """Channels in the file."""
    audio_hash: str | None = None
    """BLAKE2b-128 of the decoded samples, rate and channels, in hex."""

    def as_dict(self) -> dict[str, Any]:
        """Return all fields except the id, in the order above."""
        values = {name: getattr(self, name) for name in FIELDS}
        values["tags"] = dict(self.tags)
        return values


FIELDS = tuple(item.name for item in dataclasses.fields(Record) if item.name != "id")
"""Names of a manifest entry's fields, in their order."""

_TEXTS = ("path", "label", "speaker", "session", "gender", "text", "language", "split",
          "audio_hash")
_NUMBERS = (*DIMENSIONS, "start", "end", "duration")
_COUNTS = ("channel", "sample_rate", "channels")


def id_problem(id: str) -> str | None:
    """Say what is wrong with an utterance id, or None: ids become file names and lines."""
    if not isinstance(id, str) or not id:
        return "is empty or not a text"
    if len(id) > LONGEST_ID:
        return f"is longer than {LONGEST_ID} characters"
    if "/" in id or "\\" in id or ".." in id or id.startswith((".", "-")):
        return "holds a path separator or '..', or begins with '.' or '-'"
    if not id.isprintable():
        return "holds a line break, a control character or broken Unicode"
    return None


def path_problem(path: str) -> str | None:
    """Say what is wrong with a record's path, or None: it must stay inside the data folder."""
    if not isinstance(path, str) or not path:
        return "is empty or not a text"
    if path.startswith("/") or "\\" in path or path[1:3] == ":/":
        return "is not relative to the data folder with forward slashes"
    if ".." in path.split("/"):
        return "leads out of the data folder"
    return None


def type_problems(record: Record) -> list[str]:
    """Return what is wrong with the types and ranges of a record's fields, as sentences."""
    problems = [f"{name} is {getattr(record, name)!r}, not a text" for name in _TEXTS
                if not isinstance(getattr(record, name), str | None)]
    problems += [f"{name} is {getattr(record, name)!r}, not a finite number" for name in _NUMBERS
                 if not _number_or_none(getattr(record, name))]
    problems += [f"{name} is {getattr(record, name)!r}, not a whole number of 0 or more"
                 for name in _COUNTS if not _count_or_none(getattr(record, name))]
    if record.gender not in (None, *GENDERS):
        problems.append(f"gender is {record.gender!r}, neither 'female' nor 'male' nor unknown")
    if record.split not in (None, *SPLITS):
        problems.append(f"split is {record.split!r}, not one of train, dev, test")
    if not isinstance(record.tags, Mapping) or not all(
        isinstance(item, str) for pair in record.tags.items() for item in pair
    ):
        problems.append(f"tags are {record.tags!r}, not a table of texts")
    if not problems:
        problems += _segment_problems(record)
    return problems


def _segment_problems(record: Record) -> list[str]:
    start, end = record.start, record.end
    if start is not None and start < 0:
        return [f"the segment starts at {start} s, before the file"]
    if end is not None and end <= (start or 0.0):
        return [f"the segment ends at {end} s, not after its start at {start or 0.0} s"]
    return []


def _number_or_none(value: object) -> bool:
    if value is None:
        return True
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _count_or_none(value: object) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0)


def has_target(record: Record) -> bool:
    """Say whether a record has a label or at least one dimension to learn."""
    return record.label is not None or any(
        getattr(record, name) is not None for name in DIMENSIONS)
