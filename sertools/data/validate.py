"""Look for everything that can be wrong with a prepared set, its audio and its folds."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.counts import confounds, duplicates
from sertools.data.facts import read_facts
from sertools.data.flags import TESTED, leaks_of, shared_flag
from sertools.data.folds import FoldSet, read_folds
from sertools.data.leaks import Leak
from sertools.data.manifest import inspect_manifest
from sertools.data.prepare import MANIFEST, SUMMARY
from sertools.data.record import Record, has_target
from sertools.errors import MOST_EXAMPLES
from sertools.files import read_json

_AGAIN = "run the stage prepare again; utils/fix.py keeps what is sound"


@dataclass
class Findings:
    """What is wrong, and what is only worth knowing."""

    faults: Faults = field(default_factory=Faults)
    warnings: list[str] = field(default_factory=list)
    records: dict[str, Record] = field(default_factory=dict)


def validate_set(
    folder: str | Path,
    data_folder: str | Path | None = None,
    folds: str | Path | None = None,
    *,
    text: bool = True,
    audio: bool = True,
    say: Callable[[str], None] = print,
) -> Findings:
    """Check a set: manifest, agreement, texts, audio, duplicates, and leaks of its folds.

    Args:
        folder: `data/<set>`, with its manifest.
        data_folder: folder of the release; without it no audio is read.
        folds: a folds file to check against the manifest.
        text: every utterance must have a text.
        audio: read every file and compare it with the manifest.
        say: told how far the reading is.

    Raises:
        DataError: the folds file cannot be read.
    """
    folder, found = Path(folder), Findings()
    found.records, problems = inspect_manifest(folder / MANIFEST)
    for problem in problems:
        found.faults.add(folder / MANIFEST, problem, _AGAIN, "the manifest is not sound")
    if not found.records:
        if not problems:
            found.faults.add(folder / MANIFEST, "holds no utterance", _AGAIN, "nothing to check")
        return found
    _check_agreement(found, folder / SUMMARY)
    if text:
        for record in found.records.values():
            if record.text is None:  # an empty one says that nothing was said
                found.faults.add(record.id, "has no text", "give --no-text if that must be so",
                                 "utterances without a text")
    if audio and data_folder is not None:
        _check_audio(found, Path(data_folder), say)
    elif audio:
        found.warnings.append("no audio was read: give --data-folder, or --no-audio to be silent")
    twins = duplicates(found.records.values())
    found.warnings += [f"the same audio: {', '.join(group)}" for group in twins[:MOST_EXAMPLES]]
    if len(twins) > MOST_EXAMPLES:
        found.warnings.append(f"... and {len(twins) - MOST_EXAMPLES} more groups of equal audio")
    found.warnings += confounds(found.records.values())
    if folds is not None:
        _check_folds(found, read_folds(folds))
    return found


def _check_agreement(found: Findings, summary: Path) -> None:
    genders: dict[str, set[str]] = defaultdict(set)
    for record in found.records.values():
        if record.speaker is not None and record.gender is not None:
            genders[record.speaker].add(record.gender)
        if not record.duration or record.duration <= 0:
            found.faults.add(record.id, f"duration is {record.duration}", _AGAIN,
                             "durations that cannot be")
        elif record.end is not None and record.duration > record.end - (record.start or 0) + 0.01:
            found.faults.add(record.id, f"lasts {record.duration} s, longer than its segment",
                             _AGAIN, "durations that cannot be")
    for speaker, given in sorted(genders.items()):
        if len(given) > 1:
            found.faults.add(f"speaker {speaker}", "is female and male", "mend prepare.py",
                             "speakers with two genders")
    if summary.is_file():
        expected = {name: number for name, number in read_json(summary)["label"].items() if number}
        labels = Counter(record.label for record in found.records.values()
                         if record.label is not None)
        if expected != labels:
            found.faults.add(summary, f"counts {expected}, the manifest holds {dict(labels)}",
                             _AGAIN, "manifest and summary that disagree")


def _check_audio(found: Findings, data_folder: Path, say: Callable[[str], None]) -> None:
    for id, facts in read_facts(found.records.values(), data_folder, say=say).items():
        record = found.records[id]
        if facts.kind is not None:
            found.faults.add(record.path, facts.what, _AGAIN, facts.kind)
            continue
        pairs = {"audio_hash": facts.audio_hash, "sample_rate": facts.sample_rate,
                 "channels": facts.channels, "duration": round(facts.seconds, 6)}
        other = [f"{key} {value} instead of {getattr(record, key)}"
                 for key, value in pairs.items() if getattr(record, key) != value]
        if other:
            found.faults.add(record.path, ", ".join(other), _AGAIN,
                             "audio that is not what was prepared")


def _check_folds(found: Findings, folds: FoldSet) -> None:
    leaks: dict[tuple[str, str, str], list[tuple[str, Leak]]] = defaultdict(list)
    for fold in folds:
        if _check_ids(found, folds, fold):
            for leak in leaks_of(fold, found.records):
                leaks[leak.kind, leak.a, leak.b].append((fold.name, leak))
    tested = Counter(id for fold in folds for id in fold.test)
    twice = [id for id, number in tested.items() if number > 1]
    if twice:
        found.warnings.append(f"{len(twice)} utterances are tested in more than one fold, such as "
                              f"{twice[0]}")
    for (kind, a, b), places in leaks.items():
        where = f"folds {', '.join(name for name, _ in places)}"
        if kind == "text":
            found.warnings.append(f"{where}: texts shared by {a} and {b}, such as that of "
                                  f"{places[0][1].examples[0]}")
        elif shared_flag(kind, a, b) in folds.flags:
            found.warnings.append(f"{where}: {shared_flag(kind, a, b)} (the folds file says so)")
        else:
            for name, leak in places:
                for example in leak.examples:
                    found.faults.add(f"fold {name}", example, "make the folds again, or choose a "
                                     "protocol whose flags say this", shared_flag(kind, a, b))


def _check_ids(found: Findings, folds: FoldSet, fold) -> bool:
    """Note ids that do not fit; say whether the fold can be checked further."""
    remedy, kind = "make the folds again", "folds that do not fit the manifest"
    before = len(found.faults)
    parts: Mapping[str, list[str]] = {"train": fold.train, "dev": fold.dev, **fold.tests}
    for name, ids in parts.items():
        where = f"fold {fold.name}, {name}"
        if not ids:
            found.faults.add(where, "is empty", remedy, kind)
        for id in ids:
            if id not in found.records:
                found.faults.add(where, f"{id} is not in the manifest", remedy, kind)
            elif not has_target(found.records[id]):
                found.faults.add(where, f"{id} has no label", remedy, kind)
        for id, number in Counter(ids).items():
            if number > 1:
                found.faults.add(where, f"{id} stands there {number} times", remedy, kind)
    for a, b in itertools.combinations(parts, 2):
        if (a, b) == ("dev", "test") and TESTED in folds.flags:
            continue
        for id in sorted(set(parts[a]) & set(parts[b])):
            found.faults.add(f"fold {fold.name}", f"{id} is in both {a} and {b}", remedy, kind)
    return len(found.faults) == before
