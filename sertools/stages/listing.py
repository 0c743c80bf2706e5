"""Notice that a corpus folder changed, without reading its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path


def fingerprint(config: Mapping) -> str:
    """Return a hash over names, sizes and times of all files below `data_folder`."""
    root = config.get("data_folder")
    digest = hashlib.blake2b(digest_size=16)
    for line in sorted(_listing(Path(root))) if root and Path(root).is_dir() else ():
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _listing(root: Path):
    """Yield one line per file; hidden files and folders do not count."""
    folders = [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    folders.append(Path(entry.path))
                else:
                    stat = entry.stat()
                    name = os.path.relpath(entry.path, root)
                    yield f"{name}\0{stat.st_size}\0{stat.st_mtime_ns}\n"
