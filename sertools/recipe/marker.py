"""Done markers: what a stage was made from and what it left, as hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.files import read_json, sha256
from sertools.recipe.config import digest

LARGE = 64 * 1024 * 1024
"""Bytes above which a file is compared by size and time, unless `--verify` asks for its hash."""

ABSENT = "(absent)"


FIELDS = {"config", "config_hash", "inputs", "external"}
"""What every marker and every record of a begun stage holds."""


def read_marker(path: Path) -> dict | None:
    """Read a marker or the record of a begun stage; None if there is none or it is damaged."""
    found = read_object(path)
    return found if found is not None and FIELDS <= found.keys() else None


def read_object(path: Path) -> dict | None:
    """Read a JSON object; None if there is none or the file holds something else."""
    try:
        found = read_json(path)
    except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError, UnicodeDecodeError):
        return None
    return found if isinstance(found, dict) else None


def list_outputs(paths: Iterable[Path], base: Path) -> list[dict[str, Any]]:
    """Return path, size and hash of every output file; a folder stands for all files in it.

    Raises:
        FileNotFoundError: when a stage names an output that does not exist.
    """
    files: dict[Path, None] = {}
    for path in (Path(path).absolute() for path in paths):
        if path.is_dir():
            files.update({file: None for file in sorted(path.rglob("*")) if file.is_file()})
        elif path.is_file():
            files[path] = None
        else:
            raise FileNotFoundError(f"the stage names an output that does not exist: {path}")
    return [_output(file, base) for file in files]


def _output(file: Path, base: Path) -> dict[str, Any]:
    inside = file.is_relative_to(base)
    stat = file.stat()
    entry = {
        "path": file.relative_to(base).as_posix() if inside else str(file),
        "size": stat.st_size,
        "sha256": sha256(file),
    }
    if stat.st_size > LARGE:
        entry["mtime_ns"] = stat.st_mtime_ns
    return entry


def outputs_hash(marker: Mapping) -> str:
    """Return one hash over names and contents of a marker's outputs."""
    return digest([[entry["path"], entry["sha256"]] for entry in marker["outputs"]])


class Fingerprint(str):
    """A hash of outside files that knows how earlier versions of the code wrote the same one.

    Args:
        text: the hash.
        former: its other forms, with which a marker is valid too.
    """

    former: Sequence[str]

    def __new__(cls, text: str, former: Sequence[str]):
        self = super().__new__(cls, text)
        self.former = former
        return self


class Checker:
    """Compares outputs with their markers; a file that did not change is hashed once per run."""

    def __init__(self, base: Path, verify: bool = False):
        self.base, self.verify = base, verify
        self.hashes: dict[tuple, str] = {}

    def faults(self, marker: Mapping) -> list[str]:
        """Return what happened to outputs since the marker was written."""
        found = []
        for entry in marker["outputs"]:
            fault = self._fault(self.base / entry["path"], entry)
            if fault:
                found.append(f"{entry['path']} {fault}")
        return found

    def _fault(self, path: Path, entry: Mapping) -> str | None:
        try:
            stat = path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return "is missing"
        if stat.st_size != entry["size"]:
            return "was changed"
        if stat.st_size > LARGE and not self.verify:
            return None if stat.st_mtime_ns == entry.get("mtime_ns") else "was changed"
        key = (path, stat.st_size, stat.st_mtime_ns, stat.st_ino)
        if key not in self.hashes:
            self.hashes[key] = sha256(path)
        return None if self.hashes[key] == entry["sha256"] else "was changed"


def differences(old: Mapping, new: Mapping) -> list[str]:
    """Return "optim.lr: 0.001 -> 0.0005" for every value that differs.

    A key that is null is the same as none: a stage may learn of new keys.
    """
    before, after = (_leaves({key: value for key, value in config.items() if value is not None})
                     for config in (old, new))
    return [
        f"{name}: {_value(before.get(name, ABSENT))} -> {_value(after.get(name, ABSENT))}"
        for name in sorted(before.keys() | after.keys())
        if before.get(name, ABSENT) != after.get(name, ABSENT)
    ]


def _leaves(value: Mapping, above: str = "") -> dict[str, Any]:
    leaves = {}
    for key, inner in value.items():
        name = f"{above}{key}".replace(".!new", "").replace(".!name", "")
        if isinstance(inner, Mapping) and inner:
            leaves.update(_leaves(inner, f"{above}{key}."))
        else:
            leaves[name] = inner
    return leaves


def _value(value: Any) -> str:
    if isinstance(value, str):
        return value if value else '""'
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 120 else f"{text[:117]}..."
