"""Take part of a set, for debugging runs and learning curves; always the same part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from sertools.data.record import Record
from sertools.errors import ConfigError


def select(
    records: Mapping[str, Record],
    *,
    utterances: Iterable[str] | None = None,
    speaker_names: Iterable[str] | None = None,
    speakers: int | None = None,
    per_speaker: int | None = None,
    per_class: int | None = None,
    shortest: int | None = None,
    first: int | None = None,
    last: int | None = None,
) -> list[Record]:
    """Return the records that all given conditions leave, sorted by id.

    The conditions are applied in the order of the arguments: first the lists, then the first
    `speakers` speakers by name, `per_speaker` utterances of each (one of every class before a
    second of any), `per_class` of each class (one of every speaker before a second of any), the
    shortest, the first, the last.

    Raises:
        ConfigError: a number below 1, names that the set lacks, or nothing is left.
    """
    numbers = {"speakers": speakers, "per_speaker": per_speaker, "per_class": per_class,
               "shortest": shortest, "first": first, "last": last}
    problems = [f"--{name.replace('_', '-')} {number}: take 1 or more"
                for name, number in numbers.items() if number is not None and number < 1]
    known = {record.speaker for record in records.values()} - {None}
    wanted, names = _as_set(utterances), _as_set(speaker_names)
    problems += [f"{id!r} of --utt-list is not in the set" for id in sorted(wanted - set(records))]
    problems += [f"{name!r} of --spk-list is not in the set" for name in sorted(names - known)]
    if problems:
        raise ConfigError("this part cannot be taken", problems)
    chosen = [records[id] for id in sorted(records)]
    if utterances is not None:
        chosen = [record for record in chosen if record.id in wanted]
    if speaker_names is not None:
        chosen = [record for record in chosen if record.speaker in names]
    if speakers is not None:
        there = sorted({record.speaker for record in chosen} - {None})[:speakers]
        chosen = [record for record in chosen if record.speaker in there]
    if per_speaker is not None:
        chosen = _at_most(chosen, per_speaker, "speaker", "label")
    if per_class is not None:
        chosen = _at_most(chosen, per_class, "label", "speaker")
    if shortest is not None:
        chosen = sorted(chosen, key=lambda record: (record.duration or 0.0, record.id))[:shortest]
    chosen = sorted(chosen, key=lambda record: record.id)[:first]
    chosen = chosen[-last:] if last is not None else chosen
    if not chosen:
        raise ConfigError("nothing is left of the set", remedy="loosen the conditions")
    return chosen


def _as_set(names: Iterable[str] | None) -> set[str]:
    return set() if names is None else set(names)


def _at_most(records: list[Record], number: int, key: str, spread: str) -> list[Record]:
    """Keep `number` records of each value of `key`, spread evenly over the values of another."""
    seen: Counter = Counter()
    turns = []
    for record in records:
        pair = getattr(record, key), getattr(record, spread)
        seen[pair] += 1
        turns.append((seen[pair], record))
    kept: Counter = Counter()
    chosen = []
    for _, record in sorted(turns, key=lambda turn: turn[0]):  # stable: ids stay in order
        kept[getattr(record, key)] += 1
        if kept[getattr(record, key)] <= number:
            chosen.append(record)
    return sorted(chosen, key=lambda record: record.id)
