"""Shards of a feature cache: safetensors files, each with a sealed note of what it must hold.

A shard counts as written once its note exists: the note is published after the shard and carries
the shard's size and SHA-256, and a checksum of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sertools.errors import DataError
from sertools.files import publish, read_json, sha256, write_json


def shard_path(folder: Path, number: int) -> Path:
    """Return where shard `number` lies; its note has the same name and `.json`."""
    return folder / f"shard-{number:05d}.safetensors"


def write_sealed(path: Path, content: Any) -> None:
    """Publish JSON together with its own checksum."""
    write_json(path, {"sha256": digest(content), "content": content})


def read_sealed(path: Path) -> Any:
    """Return what `write_sealed` wrote.

    Raises:
        DataError: the file is missing, unreadable or was changed.
    """
    try:
        sealed = read_json(path)
        if sealed["sha256"] == digest(sealed["content"]):
            return sealed["content"]
        what = "its checksum does not fit: it was changed or damaged"
    except FileNotFoundError:
        what = "it does not exist"
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"it cannot be read ({error})"
    raise DataError(f"{path}: {what}.", remedy="run stage features again; what is sound is kept")


def digest(content: Any) -> str:
    """Return the SHA-256 of plain values, whatever the order of their keys."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_shard(path: Path, tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Publish the tensors (layers, frames, dim), then the note, which is returned."""
    from safetensors.torch import save_file

    with publish(path) as temporary:
        save_file(dict(tensors), temporary)
    note = {
        "size": path.stat().st_size,
        "sha256": sha256(path),
        "frames": {name: tensor.shape[1] for name, tensor in tensors.items()},
    }
    write_sealed(path.with_suffix(".json"), note)
    return note


def read_note(path: Path, members: set[str]) -> tuple[dict[str, Any] | None, str | None]:
    """Return the note of a sound shard with these members, and what is wrong with another.

    A shard that was never finished gives (None, None): there is nothing to complain about.
    """
    if not path.with_suffix(".json").exists():
        return None, None
    try:
        note = read_sealed(path.with_suffix(".json"))
    except DataError as error:
        return None, error.summary
    if note["frames"].keys() != members:
        return None, f"{path} holds other utterances than it should."
    fault = shard_fault(path, note, verify=True)
    return (None, fault) if fault else (note, None)


def shard_fault(path: Path, note: Mapping[str, Any], verify: bool) -> str | None:
    """Say what is wrong with a shard against its note; `verify` reads all of it."""
    if not path.is_file():
        return f"{path} does not exist."
    if path.stat().st_size != note["size"]:
        return f"{path} has {path.stat().st_size} bytes instead of {note['size']}."
    if verify and sha256(path) != note["sha256"]:
        return f"{path} was changed or damaged: its SHA-256 does not fit."
    return None
