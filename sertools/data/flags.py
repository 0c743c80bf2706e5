"""Say in words what a set of folds gives away, found from the folds themselves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sertools.data.folds import Fold
from sertools.data.leaks import KINDS, Leak, find_leaks
from sertools.data.record import Record

TESTED = "selected on the test fold"
_WORDS = {"speaker": "speakers", "session": "sessions", "audio": "recordings"}


def shared_flag(kind: str, a: str, b: str) -> str:
    """Return the flag for a leak of a kind (speaker, session, audio) between two parts."""
    return f"{_WORDS[kind]} shared by {a} and {b}"


def flags_of(folds: list[Fold], records: Mapping[str, Record]) -> list[str]:
    """Return what makes results on these folds better than they are, each thing once.

    Texts are not flagged: acted corpora speak the same few sentences in every part by design.
    """
    flags: dict[str, None] = {}
    for fold in folds:
        if set(fold.dev) & set(fold.test):
            flags[TESTED] = None
        for leak in leaks_of(fold, records, _WORDS):
            flags[shared_flag(leak.kind, leak.a, leak.b)] = None
    for name, text in _lacking(folds, records, "train"):
        flags[f"train lacks {text} in fold {name}"] = None
    return list(flags)


def leaks_of(
    fold: Fold, records: Mapping[str, Record], kinds: Iterable[str] = KINDS
) -> list[Leak]:
    """Return what a fold's parts share; a dev part taken from the test part is no part of its own.
    """
    parts = {"train": fold.train, "dev": fold.dev, **fold.tests}
    if set(fold.dev) & set(fold.test):
        del parts["dev"]
    found = find_leaks({name: [records[id] for id in ids] for name, ids in parts.items()}, kinds)
    return [leak for leak in found if not {leak.a, leak.b} <= fold.tests.keys()]


def notes_of(folds: list[Fold], records: Mapping[str, Record], total: int) -> list[str]:
    """Return remarks: unlabelled utterances, classes absent from a dev or test part."""
    notes = []
    if total > len(records):
        notes.append(f"{total - len(records)} utterances without a label are in no fold")
    for part in ("dev", "test"):
        lacking = [f"fold {name} ({text})" for name, text in _lacking(folds, records, part)]
        if lacking:
            notes.append(f"{part} lacks a class: {', '.join(lacking)}")
    return notes


def _lacking(folds: list[Fold], records: Mapping[str, Record], part: str) -> list[tuple[str, str]]:
    """Return the folds whose part lacks classes of the corpus, with those classes."""
    classes = {record.label for record in records.values()} - {None}
    found = []
    for fold in folds:
        there = {records[id].label for id in getattr(fold, part)}
        if classes - there:
            found.append((fold.name, ", ".join(sorted(classes - there))))
    return found
