"""Notice that a corpus folder changed, without reading its files."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from sertools.data.corpus import walk


def fingerprint(config: Mapping) -> str:
    """Return a hash over names, sizes and times of all files below `data_folder`."""
    root = config.get("data_folder")
    digest = hashlib.blake2b(digest_size=16)
    for line in sorted(_listing(Path(root))) if root and Path(root).is_dir() else ():
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _listing(root: Path):
    """Yield one line per file; hidden files and folders do not count.

    A link that leads nowhere counts by its name: whether it matters is for the preparer to say.
    """
    for path in walk(root):
        try:
            stat = path.stat()
            state = f"{stat.st_size}\0{stat.st_mtime_ns}"
        except OSError:
            state = "cannot be read"
        yield f"{os.path.relpath(path, root)}\0{state}\n"
