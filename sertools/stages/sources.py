"""Notice that pretrained weights changed although their path did not."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from sertools.recipe.relative import root

NAMES = ("source", "pretrained")
"""Keys of weights."""
FILES = (*NAMES, "transcripts")
"""Keys of all files from outside."""
BLOCK, BLOCKS = 1 << 16, 16
"""Bytes of a block, and blocks per file that are read: enough to tell other weights."""


def fingerprint(config: Mapping, without: Collection[str] = ()) -> str | None:
    """Return a hash over the local files that the configuration names under a key of `FILES`.

    Keys named in `without` are not looked at. Sizes and blocks spread over each file count, times
    do not: a copy is the same weights. None without a local source; what a hub's id stands for
    does not change under its revision.
    """
    named = sources(config, without, FILES)
    return content([file for source in named for file in files_of(source)])


def content(files: Iterable[Path]) -> str | None:
    """Return a hash over names, sizes and some blocks of files; None without files."""
    files = list(files)
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


def sources(
    config: Mapping, without: Collection[str] = (), names: Collection[str] = NAMES
) -> list[str]:
    """Return what the configuration has under the keys `names`, paths as from anywhere."""
    recipe = getattr(config, "recipe", Path())
    looked = {key: value for key, value in dict(config).items() if key not in without}
    return [root(source, recipe) for source in sorted(set(_named(looked, names)))]


def _named(value: Any, names: Collection[str]) -> Iterator[str]:
    """Yield every text under one of the keys, however deep."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key in names and isinstance(item, str):
                yield item
            else:
                yield from _named(item, names)
    elif isinstance(value, Sequence) and not isinstance(value, str):
        for item in value:
            yield from _named(item, names)


def start_of(config: Mapping) -> str | None:
    """Return a hash over the models that the trainer's `start` names; None without one.

    It is a model's folder, or one above: a unit, a fold, an experiment; or a file of weights.
    """
    trainer = config.get("trainer")
    start = trainer.get("start") if isinstance(trainer, Mapping) else None
    if not isinstance(start, str):
        return None
    place = Path(root(start, getattr(config, "recipe", Path())))
    if place.is_file():
        return content([place])
    above = ("", "best/", "train/best/", "seed*/train/best/", "fold*/seed*/train/best/")
    return content(sorted(path for each in above for path in place.glob(f"{each}*.safetensors")))


def files_of(source: str) -> list[Path]:
    """Return the file, or the files of the folder, that a source is; none for a hub's id."""
    path = Path(source)
    if path.is_file():
        return [path]
    return sorted(file for file in path.glob("*") if file.is_file()) if path.is_dir() else []
