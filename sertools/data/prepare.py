"""From the records of a preparer to a checked manifest: every fault is listed in one pass."""

from __future__ import annotations

import dataclasses
import difflib
import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from sertools.data.corpus import Corpus, Faults, shown
from sertools.data.counts import confounds, count_faults, duplicates, summarise
from sertools.data.facts import Facts, extension_lies, read_facts
from sertools.data.manifest import write_manifest
from sertools.data.mapped import MappedDimensions
from sertools.data.record import DIMENSIONS, Record, id_problem, path_problem, type_problems
from sertools.data.votes import FORM, TAG, map_votes
from sertools.errors import ConfigError
from sertools.files import write_json

MANIFEST, SUMMARY, SKIPPED, FACTS = "utts.json", "summary.json", "skipped.json", "audio.json"
OUTPUTS = (MANIFEST, SUMMARY, SKIPPED)
"""What others may read; the kept facts depend on this machine's file times."""

_REMEDIES = {
    "audio files that are missing": "complete the release in data_folder",
    "Git-LFS pointers instead of audio": "run 'git lfs pull' in the clone, or get the archive",
    "audio that cannot be decoded": (
        "get the files again; convert MP4, M4A, AVI or WebM with 'ffmpeg -i in.mp4 -vn out.flac'"),
    "segments outside their file": "mend the times in prepare.py, or get the files again",
    "channels that do not exist": "mend the channel in prepare.py (0 is the first)",
}
_BAD_AUDIO = "get the files again, or set corpus.bad_audio: skip to leave them out and count them"


def prepare_manifest(
    records: Callable[..., Iterable[Record]] | Iterable[Record],
    corpus: Corpus,
    data_folder: str | Path,
    folder: str | Path,
    say: Callable[[str], None] = print,
    *,
    faults: Faults | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Check all records and their audio, write the manifest, and return its summary.

    Args:
        records: the function `records(root, faults, **options)` of a prepare.py, or what it gave
            (then with the same `faults`).
        corpus: labels, expected counts and limits.
        data_folder: folder of the official release.
        folder: where `utts.json`, `summary.json`, `skipped.json` (bad audio that was left out) and
            `audio.json` (facts, to be used again) are published.
        say: told how far it is.
        faults: what the preparer noted.
        should_stop: asked between files.

    Raises:
        DataError: something is wrong; every problem, grouped by kind, at most 20 examples each.
        ConfigError: `corpus.options` do not fit the preparer.
        Interrupted: `should_stop` said so.
    """
    data_folder, folder = Path(data_folder), Path(folder)
    faults = Faults() if faults is None else faults
    if callable(records):
        records = _call(records, data_folder, faults, corpus.options)
    raw = list(records)
    kept = _check(raw, corpus, faults)
    warnings = _check_counts(raw, corpus, faults)
    if corpus.dimensions is not None:
        warnings.append(corpus.dimensions.warning)
    warnings += [corpus.remark] if corpus.remark else []
    facts = read_facts(kept, data_folder, folder / FACTS, say, should_stop)
    kept, skipped = _check_audio(kept, facts, corpus, faults)
    if not kept and not faults:
        left_out = {reason: len(ids) for reason, ids in faults.dropped.items()}
        faults.add(data_folder, f"left out: {left_out or 'nothing'}; skipped: {len(skipped)}",
                   "look at corpus.label_map and at what prepare.py yields", "no utterance is left")
    faults.raise_if_any(f"the release of {corpus.name} in {shown(data_folder)} cannot be used")
    lies = [record.path for record in kept if extension_lies(record.path, facts[record.id])]
    if lies:
        warnings.append(f"{len(lies)} files are not what their extension says, such as {lies[0]}")
    twins = duplicates(kept)
    if twins:
        warnings.append(f"{len(twins)} groups of utterances have the same audio, such as "
                        f"{' and '.join(twins[0][:2])}")
    write_manifest(folder / MANIFEST, kept)
    write_json(folder / SKIPPED, skipped)
    summary = summarise(kept, corpus) | {
        "dropped": {reason: len(ids) for reason, ids in faults.dropped.items()},
        "skipped": _number_of_each(skipped), "duplicates": twins,
        "warnings": warnings + confounds(kept)}
    write_json(folder / SUMMARY, summary)
    for line in describe(summary):
        say(line)
    return summary


def describe(summary: dict[str, Any]) -> list[str]:
    """Return a manifest's summary as a few lines of text."""
    lines = [f"{summary['corpus']}: {summary['utterances']} utterances, {summary['hours']:.2f} h, "
             f"{len(summary['speaker'])} speakers"]
    if summary["label"]:
        lines.append("labels: " + ", ".join(f"{k} {v}" for k, v in summary["label"].items()))
    lines += [f"left out: {reason}: {number}" for reason, number in summary["dropped"].items()]
    lines += [f"skipped: {kind}: {number}" for kind, number in summary["skipped"].items()]
    return lines + [f"warning: {warning}" for warning in summary["warnings"]]


def _call(records: Callable, data_folder: Path, faults: Faults, options: dict) -> Iterable[Record]:
    """Call a preparer, refusing options that it does not take."""
    try:
        inspect.signature(records).bind(data_folder, faults, **options)
    except TypeError as error:
        raise ConfigError(f"corpus.options do not fit records() of prepare.py: {error}") from error
    return records(data_folder, faults, **options)


def _check(raw: list[Record], corpus: Corpus, faults: Faults) -> list[Record]:
    """Return the records with class names, without dropped labels; note every fault."""
    kept, paths = [], defaultdict(list)
    for record in raw:
        paths[str(record.id)].append(record.path)
        problems = _record_problems(record, corpus)
        for problem in problems:
            faults.add(record.id, problem, "mend prepare.py or the release",
                       "utterances that are not sound")
        labelled = _label(record, corpus, faults)
        if labelled is not None and not problems:
            kept.append(_voted(labelled, corpus, faults))
    for id, places in paths.items():
        if len(places) > 1:
            faults.add(id, f"stands for {', '.join(map(shown, places[:3]))}",
                       "make ids unique in prepare.py, or remove the second copy of the release",
                       "ids that occur more than once")
    unique = {record.id: record for record in kept}
    return [unique[id] for id in sorted(unique)]


def _record_problems(record: Record, corpus: Corpus) -> list[str]:
    problems = [f"the id {problem}" for problem in filter(None, [id_problem(record.id)])]
    if not problems and not record.id.startswith(f"{corpus.name}-"):
        problems.append(f"the id does not begin with '{corpus.name}-'")
    problems += [f"the path {problem}" for problem in filter(None, [path_problem(record.path)])]
    wrong = type_problems(record)
    if corpus.scale is not None and not wrong:
        low, high = corpus.scale
        wrong = [f"{name} is {value}, outside the scale of {low} to {high}" for name in DIMENSIONS
                 if (value := getattr(record, name)) is not None and not low <= value <= high]
    return problems + wrong


def _label(record: Record, corpus: Corpus, faults: Faults) -> Record | None:
    """Return the record with its class, None if it is left out or faulty."""
    name = None
    if record.label is not None and corpus.classes:
        if record.label not in corpus.known_labels:
            near = difflib.get_close_matches(str(record.label), corpus.known_labels, 1, 0.4)
            hint = f", the nearest known one is {near[0]!r}" if near else ""
            faults.add(record.id, f"label {record.label!r}{hint}",
                       "add it to corpus.label_map (null leaves its utterances out)",
                       "labels that the recipe does not know")
            return None
        name = corpus.class_of(record.label)
        if name is None and not corpus.unlabelled:
            faults.drop(f"label {record.label} is not among the classes", record.id)
            return None
    elif record.label is None and not corpus.unlabelled:
        faults.add(record.id, "has no label", "set corpus.unlabelled: true to keep such "
                   "utterances, or leave them out with faults.drop in prepare.py",
                   "utterances without a label")
        return None
    record = dataclasses.replace(record, label=name, language=record.language or corpus.language)
    return record if corpus.dimensions is None else _mapped(record, corpus.dimensions, faults)


def _voted(record: Record, corpus: Corpus, faults: Faults) -> Record:
    """Return the record with votes for classes, where its raw votes lead to one."""
    votes = record.tags.get(TAG)
    if votes is None:
        return record
    try:
        tags = {**record.tags, TAG: map_votes(votes, corpus.label_map.get)}
    except ValueError as problem:
        faults.add(record.id, str(problem), f"write the tag `votes` as {FORM}, in prepare.py",
                   "votes that cannot be read")
        return record
    return dataclasses.replace(record, tags=tags)


def _mapped(record: Record, dimensions: MappedDimensions, faults: Faults) -> Record | None:
    """Return the record with the values of its class, None if the table has none."""
    problem = dimensions.rated(record)
    if problem:
        faults.add(record.id, problem, "leave out corpus.dimensions: the release has ratings",
                   "ratings that a table would replace")
    found = dimensions.apply(record)
    if found is None:
        faults.drop(f"class {record.label} has no values on the dimensions", record.id)
    return found


def _check_counts(raw: list[Record], corpus: Corpus, faults: Faults) -> list[str]:
    """Note counts that differ; return them as warnings instead where a subset is allowed."""
    found, warnings = count_faults(raw, corpus), []
    if corpus.release is not None and not corpus.expected:
        warnings.append(f"no counts of release {corpus.release} are known: whether it is complete "
                        "was not checked")
    if "gender" in corpus.expected and not any(record.gender for record in raw):
        # some releases keep it in a table of its own, and copies often come without
        found = [fault for fault in found if not fault.where.startswith("counts.gender")]
        warnings += ["no speaker's gender is known"] if raw else []
    if not corpus.allow_subset:
        faults.faults += found
        return warnings
    return warnings + [f"subset: {fault.where}: {fault.what}" for fault in found]


def _check_audio(
    records: list[Record], facts: dict[str, Facts], corpus: Corpus, faults: Faults
) -> tuple[list[Record], list[dict[str, str]]]:
    """Return the records with the facts of their audio, and the bad audio that was left out."""
    kept, skipped = [], []
    for record in records:
        fact = facts[record.id]
        kind, what = fact.kind, fact.what
        if kind is None and fact.seconds < corpus.min_seconds:
            kind, what = "audio that is too short", (
                f"{fact.seconds:.3f} s, corpus.min_seconds is {corpus.min_seconds}")
        if kind is None and corpus.max_seconds and fact.seconds > corpus.max_seconds:
            kind, what = "audio that is too long", (
                f"{fact.seconds:.3f} s, corpus.max_seconds is {corpus.max_seconds}")
        if kind is None:
            kept.append(dataclasses.replace(
                record, duration=round(fact.seconds, 6), sample_rate=fact.sample_rate,
                channels=fact.channels, audio_hash=fact.audio_hash))
        elif corpus.bad_audio == "skip" or record.id in corpus.known_bad_audio:
            skipped.append({"id": record.id, "path": shown(record.path), "kind": kind,
                            "what": what})
        else:
            faults.add(record.path, what, _REMEDIES.get(kind, _BAD_AUDIO), kind)
    return kept, skipped


def _number_of_each(skipped: list[dict[str, str]]) -> dict[str, int]:
    kinds = [entry["kind"] for entry in skipped]
    return {kind: kinds.count(kind) for kind in dict.fromkeys(kinds)}
