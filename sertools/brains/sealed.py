"""Sealed folders: a manifest with size and SHA-256 of every file, written last."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

from sertools.files import sha256

MANIFEST = "manifest.json"
FORMAT = "sertools sealed folder 1"


def seal(folder: Path) -> None:
    """Write the manifest of all files that lie in `folder`."""
    files = {
        file.name: {"size": file.stat().st_size, "sha256": sha256(file)}
        for file in sorted(folder.iterdir())
    }
    text = json.dumps({"format": FORMAT, "files": files}, indent=1)
    (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")


def faults(folder: Path, read: Collection[str] | None = None) -> list[str]:
    """Return what is wrong with a sealed folder, as sentences; an empty list if nothing is.

    Args:
        folder: the sealed folder.
        read: files whose contents are compared too (None: all); names and sizes always are.
    """
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if manifest["format"] != FORMAT:
            return [f"{MANIFEST} is of another format"]
        expected = {name: (item["size"], item["sha256"])
                    for name, item in manifest["files"].items()}
    except FileNotFoundError:
        return [f"{MANIFEST} is missing: it was never finished"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [f"{MANIFEST} is damaged ({type(error).__name__}: {error})"]
    found = {file.name for file in folder.iterdir()} - {MANIFEST}
    problems = [f"{name} is missing" for name in sorted(expected.keys() - found)]
    problems += [f"{name} does not belong there" for name in sorted(found - expected.keys())]
    for name in sorted(found & expected.keys()):
        problems += _compare(folder / name, *expected[name], read is None or name in read)
    return problems


def _compare(file: Path, size: int, digest: str, read: bool) -> list[str]:
    actual = file.stat().st_size
    if actual != size:
        return [f"{file.name} has {actual} bytes instead of {size}"]
    if read and sha256(file) != digest:
        return [f"{file.name} has other contents than were written"]
    return []
