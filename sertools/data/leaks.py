"""Find what two parts of a corpus share: speakers, sessions, texts, recordings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sertools.data.record import Record
from sertools.errors import MOST_EXAMPLES

KINDS = ("speaker", "session", "text", "audio")


@dataclass(frozen=True)
class Leak:
    """Something that two parts have in common."""

    kind: str
    """speaker, session, text or audio."""
    a: str
    """Name of one part, such as train."""
    b: str
    """Name of the other part."""
    count: int
    """How many different values of the kind both parts hold."""
    examples: list[str]
    """At most 20 of them, each with one utterance of either part; never the words themselves."""

    def __str__(self) -> str:
        return f"{self.count} {_PLURALS[self.kind]} in both {self.a} and {self.b}"


def find_leaks(
    records_by_split: Mapping[str, Iterable[Record]], kinds: Iterable[str] = KINDS
) -> list[Leak]:
    """Return what each pair of parts shares, in the order of the parts and kinds.

    Unknown speakers, sessions and texts are never counted as shared. Texts are compared without
    regard to case and spacing, audio by the hash of its samples (by id where there is none).
    """
    parts = {name: list(records) for name, records in records_by_split.items()}
    leaks = []
    for (a, first), (b, second) in itertools.combinations(parts.items(), 2):
        for kind in kinds:
            ours, theirs = _values(first, _KEYS[kind]), _values(second, _KEYS[kind])
            shared = sorted(ours.keys() & theirs.keys())
            if shared:
                examples = [_example(kind, value, ours[value], theirs[value])
                            for value in shared[:MOST_EXAMPLES]]
                leaks.append(Leak(kind, a, b, len(shared), examples))
    return leaks


_PLURALS = {"speaker": "speakers", "session": "sessions", "text": "texts", "audio": "recordings"}
_KEYS: dict[str, Callable[[Record], str | None]] = {
    "speaker": lambda record: record.speaker,
    "session": lambda record: record.session,
    "text": lambda record: " ".join(record.text.casefold().split()) if record.text else None,
    "audio": lambda record: record.audio_hash or record.id,
}


def _values(records: list[Record], key: Callable[[Record], str | None]) -> dict[str, str]:
    """Return each known value with the first id that has it."""
    values: dict[str, str] = {}
    for record in records:
        value = key(record)
        if value:
            values.setdefault(value, record.id)
    return values


def _example(kind: str, value: str, ours: str, theirs: str) -> str:
    name = f"{value}: " if kind in ("speaker", "session") else ""
    return f"{name}{ours}, {theirs}" if ours != theirs else f"{name}{ours}"
