"""Compare what a release holds with what its recipe expects, and sum up what was kept."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sertools.data.corpus import Corpus, Fault
from sertools.data.record import Record

KIND = "counts that differ from the recipe's"
REMEDY = ("complete the release in data_folder; or set corpus.allow_subset: true to go on with "
          "a warning in every result")


def count_faults(records: Iterable[Record], corpus: Corpus) -> list[Fault]:
    """Return one fault per count that is not as expected; records carry raw labels."""
    records = list(records)
    faults = []
    for key, expected in corpus.expected.items():
        if key == "total":
            found: Any = len(records)
        else:
            found = Counter(value for record in records
                            if (value := _value(record, key, corpus)) is not None)
        faults += _differences(key, expected, found)
    return faults


def summarise(records: Iterable[Record], corpus: Corpus) -> dict[str, Any]:
    """Return counts, hours and lengths of the records of a manifest, as plain JSON."""
    records = list(records)
    seconds = sorted(record.duration for record in records)
    summary: dict[str, Any] = {
        "corpus": corpus.name, "set": corpus.set, "utterances": len(records),
        "hours": round(sum(seconds) / 3600, 4),
        "seconds": {"min": round(seconds[0], 3), "median": round(statistics.median(seconds), 3),
                    "max": round(seconds[-1], 3)} if seconds else {},
    }
    labels = Counter(record.label for record in records if record.label is not None)
    summary["label"] = {name: labels[name] for name in corpus.classes}
    for key in ("speaker", "session", "gender", "split", "language", "sample_rate", "channels"):
        values = Counter(str(value) for record in records
                         if (value := getattr(record, key)) is not None)
        summary[key] = dict(sorted(values.items()))
    return summary


def duplicates(records: Iterable[Record]) -> list[list[str]]:
    """Return the groups of ids whose audio is the same, sample by sample."""
    groups: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if record.audio_hash:
            groups[record.audio_hash].append(record.id)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def confounds(records: Iterable[Record]) -> list[str]:
    """Return warnings about speakers or sentences that give the class away by themselves."""
    records = [record for record in records if record.label is not None]
    warnings = []
    if len({record.label for record in records}) < 2:
        return warnings
    one, all_ = _with_one_class(records, "speaker", least=1)
    if all_ > 1 and 2 * one >= all_:
        warnings.append(f"{one} of {all_} speakers have one class only: whoever knows the speaker "
                        "knows the class, so splits that share speakers measure little else")
    one, all_ = _with_one_class(records, "text", least=2)
    if all_ > 1 and 2 * one >= all_:
        warnings.append(f"{one} of the {all_} sentences that occur more than once occur with one "
                        "class only: the words give the class away")
    return warnings


def _with_one_class(records: list[Record], key: str, least: int) -> tuple[int, int]:
    labels: dict[str, list[str]] = defaultdict(list)
    for record in records:
        if value := getattr(record, key):  # nobody's speech, "", is no sentence
            labels[value].append(record.label)
    often = [found for found in labels.values() if len(found) >= least]
    return sum(len(set(found)) == 1 for found in often), len(often)


def _value(record: Record, key: str, corpus: Corpus) -> str | None:
    if key.startswith("tag."):
        return record.tags.get(key.removeprefix("tag."))
    if key != "class":
        return getattr(record, key)
    known = record.label is not None and record.label in corpus.known_labels
    return corpus.class_of(record.label) if known else None


def _differences(key: str, expected: Any, found: Any) -> list[Fault]:
    if not isinstance(expected, Mapping):
        number = found if isinstance(found, int) else len(found)
        what = "" if isinstance(found, int) else " different ones"
        return [] if number == expected else [
            Fault(f"counts.{key}", f"expected {expected}{what}, found {number}", REMEDY, KIND)]
    names = [*expected, *sorted(found.keys() - expected.keys())]
    return [Fault(f"counts.{key}.{name}",
                  f"expected {expected.get(name, 0)}, found {found[name]}", REMEDY, KIND)
            for name in names if expected.get(name, 0) not in (None, found[name])]
