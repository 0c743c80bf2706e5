"""What the small scripts over manifests share: exit codes, folders, backups."""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from sertools.data.corpus import Corpus
from sertools.data.counts import summarise
from sertools.data.manifest import write_manifest
from sertools.data.prepare import MANIFEST, SUMMARY
from sertools.data.record import Record
from sertools.errors import ConfigError, UserError
from sertools.files import publish, read_json, write_json


def run(parser: argparse.ArgumentParser, work: Callable[[argparse.Namespace], None],
        argv: list[str] | None = None) -> int:
    """Parse, work, and return the exit code; what a user can mend is said without a traceback."""
    options = parser.parse_args(argv)
    try:
        work(options)
    except UserError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def read_summary(folder: Path, records: Iterable[Record]) -> dict[str, Any]:
    """Return a set's summary; a set without one gets what its records tell, classes sorted."""
    if (folder / SUMMARY).is_file():
        return read_json(folder / SUMMARY)
    classes = sorted({record.label for record in records if record.label is not None})
    return {"corpus": folder.name, "set": folder.name, "label": dict.fromkeys(classes, 0)}


def new_folder(path: Path) -> Path:
    """Return a path at which a set may be made.

    Raises:
        ConfigError: something is there already.
    """
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise ConfigError(f"{path} exists already", remedy="name another folder or remove this one")
    return path


def write_set(folder: Path, records: Iterable[Record], old: Mapping[str, Any]) -> dict[str, Any]:
    """Write a manifest and its summary, which keeps the remarks of an older one; return it."""
    records = list(records)
    classes = list(old.get("label", ()))
    corpus = Corpus(str(old["corpus"]), classes=classes, set=str(old["set"]),
                    unlabelled=not classes)
    kept = {key: old[key] for key in ("dropped", "skipped", "warnings") if key in old}
    summary = summarise(records, corpus) | {"dropped": {}, "skipped": {}, "warnings": []} | kept
    write_manifest(folder / MANIFEST, records)
    write_json(folder / SUMMARY, summary)
    return summary


def back_up(folder: Path, files: Iterable[Path]) -> Path:
    """Copy files of a folder to a fresh `.backup`, `.backup.1`, ... inside it, and return that."""
    number, target = 0, folder / ".backup"
    while target.exists():
        number += 1
        target = folder / f".backup.{number}"
    with publish(target) as temporary:
        for file in files:
            copy = temporary / file.relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(file, copy)
    return target
