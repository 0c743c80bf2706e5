"""Keep what is sound of a set: readable, once, sorted, and the same in manifest and folds."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from sertools.data.facts import read_facts
from sertools.data.folds import FoldSet, read_folds, write_folds
from sertools.data.manifest import inspect_manifest
from sertools.data.prepare import MANIFEST, SUMMARY
from sertools.data.record import Record, has_target, id_problem, path_problem, type_problems
from sertools.data.script import back_up, read_summary, write_set
from sertools.errors import MOST_EXAMPLES, DataError


def fix_set(
    folder: str | Path,
    data_folder: str | Path | None = None,
    apply: bool = False,
    say: Callable[[str], None] = print,
) -> int:
    """Say what would be left out of a set, and with `apply` do it; return how many changes.

    Left out are entries that cannot be read, that have a bad id or bad values, whose audio does
    not work (only with `data_folder`), and ids of folds that the manifest lacks. What stays is
    sorted. The files as they were are copied to `.backup` (`.backup.1`, ...) in the set's folder.

    Raises:
        DataError: there is nothing to keep.
    """
    folder = Path(folder)
    records, problems = inspect_manifest(folder / MANIFEST)
    for problem in problems[:MOST_EXAMPLES]:
        say(f"{MANIFEST}: {problem}")
    if len(problems) > MOST_EXAMPLES:
        say(f"... and {len(problems) - MOST_EXAMPLES} more")
    kept = {id: record for id, record in sorted(records.items()) if _sound(record)}
    if data_folder is not None:
        kept = _readable(kept, Path(data_folder), say)
    if not kept:
        raise DataError(f"nothing of {folder / MANIFEST} can be kept", problems,
                        "run the stage prepare again")
    changes = len(problems) + len(records) - len(kept)
    mended = {}
    for path in sorted((folder / "folds").glob("*.json")):
        old = read_folds(path)
        new = _intersection(old, kept)
        if new != old:
            gone = _size(old) - _size(new)
            say(f"folds/{path.name}: {gone} ids without an utterance would go")
            mended[path] = new
            changes += 1
    say(f"{len(kept)} of {len(records)} utterances stay")
    if changes and apply:
        files = [path for path in (folder / MANIFEST, folder / SUMMARY) if path.is_file()]
        backup = back_up(folder, [*files, *mended])
        write_set(folder, kept.values(), read_summary(folder, kept.values()))
        for path, folds in mended.items():
            write_folds(path, folds)
        say(f"done; the files as they were: {backup}")
    elif changes:
        say("nothing was changed; do it with --apply")
    return changes


def _sound(record: Record) -> bool:
    return not (id_problem(record.id) or path_problem(record.path) or type_problems(record))


def _readable(records: dict[str, Record], data_folder: Path, say) -> dict[str, Record]:
    facts = read_facts(records.values(), data_folder, say=say)
    bad = {id: fact for id, fact in facts.items() if fact.kind is not None}
    for kind, number in Counter(fact.kind for fact in bad.values()).items():
        example = next(id for id, fact in bad.items() if fact.kind == kind)
        say(f"{kind}: {number}, such as {example}")
    return {id: record for id, record in records.items() if id not in bad}


def _intersection(folds: FoldSet, records: dict[str, Record]) -> FoldSet:
    def kept(ids: list[str]) -> list[str]:
        return sorted({id for id in ids if id in records and has_target(records[id])})

    return dataclasses.replace(folds, folds=[
        dataclasses.replace(
            fold, train=kept(fold.train), dev=kept(fold.dev), test=kept(fold.test),
            further={name: kept(ids) for name, ids in fold.further.items()})
        for fold in folds])


def _size(folds: FoldSet) -> int:
    return sum(len(fold.train) + len(fold.dev) + sum(map(len, fold.tests.values()))
               for fold in folds)
