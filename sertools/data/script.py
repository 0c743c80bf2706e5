"""What the small scripts share: exit codes, folders, backups, devices."""

from __future__ import annotations

import argparse
import errno
import os
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


def device_named(name: str):
    """Return the torch device of an option --device; auto is a GPU if there is one.

    Raises:
        ConfigError: it cannot be used here.
    """
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(f"--device {name} cannot be used here", [str(error).splitlines()[0]],
                          "take auto, cpu, or what `python -m sertools doctor` lists") from error
    return device


def writable(folder: Path, option: str) -> Path:
    """Make a folder that an option names, if need be.

    Raises:
        ConfigError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ConfigError(f"{option} {folder} cannot be written: {error.strerror}",
                          remedy="name a folder on a disk that you may write") from error
    return folder
