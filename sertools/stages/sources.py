"""Notice that pretrained weights changed although their path did not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.recipe.relative import root

BLOCK, BLOCKS = 1 << 16, 16
"""Bytes of a block, and blocks per file that are read: enough to tell other weights."""


def fingerprint(config: Mapping) -> str | None:
    """Return a hash over the local files that the configuration names as `source`.

    Sizes and blocks spread over each file count, times do not: a copy is the same weights. None
    without a local source; what a hub's id stands for does not change under its revision.
    """
    files = [file for source in sources(config) for file in _files(source)]
    if not files:
        return None
    digest = hashlib.blake2b(digest_size=16)
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name}\0{size}\n".encode())
        with open(file, "rb") as stream:
            for number in range(BLOCKS):
                stream.seek(max(size - BLOCK, 0) * number // (BLOCKS - 1))
                digest.update(stream.read(BLOCK))
    return digest.hexdigest()


def sources(config: Mapping) -> list[str]:
    """Return what the configuration names as `source`; a path of the recipe's as from anywhere."""
    recipe = getattr(config, "recipe", Path())
    return [root(source, recipe) for source in sorted(set(_sources(dict(config))))]


def _sources(value: Any) -> Iterator[str]:
    """Yield every text under a key `source`, however deep."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key == "source" and isinstance(item, str):
                yield item
            else:
                yield from _sources(item)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _sources(item)


def _files(source: str) -> list[Path]:
    path = Path(source)
    if path.is_file():
        return [path]
    return sorted(file for file in path.glob("*") if file.is_file()) if path.is_dir() else []
