"""Make one set of several, without ever dropping or mixing anything up silently."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from sertools.data.manifest import read_manifest
from sertools.data.prepare import MANIFEST
from sertools.data.record import Record
from sertools.data.script import new_folder, read_summary, write_set
from sertools.errors import ConfigError, DataError


class Source(NamedTuple):
    """A set to take in."""

    folder: Path
    """`data/<set>`, with its manifest."""
    inside: str = ""
    """Where its data folder lies inside the common one, with forward slashes; "" is the same."""


def combine(target: str | Path, sources: Iterable[Source], union: bool = False) -> dict[str, Any]:
    """Write the records of all sources as one set and return its summary.

    Args:
        target: folder to make.
        sources: the sets; their paths become relative to the common data folder.
        union: allow sources whose classes differ; the combined set has all of them, in the order
            of the first source, then what the next ones add.

    Raises:
        DataError: an id occurs in two sources, or the classes differ and `union` is not set.
        ConfigError: the target exists, or a folder leads out of the common one.
    """
    target, sources = new_folder(Path(target)), list(sources)
    records: dict[str, Record] = {}
    origin: dict[str, Path] = {}
    classes: dict[str, list[str]] = {}
    warnings: list[str] = []
    clashes = []
    for source in sources:
        if source.inside.startswith("/") or ".." in source.inside.split("/"):
            raise ConfigError(f"{source.inside} is not inside the common data folder",
                              remedy="give --data-folder a folder that holds all the releases")
        found = read_manifest(source.folder / MANIFEST)
        summary = read_summary(source.folder, found.values())
        classes[str(source.folder)] = list(summary["label"])
        warnings += [f"{summary['corpus']}: {text}" for text in summary.get("warnings", ())]
        prefix = f"{source.inside.strip('/')}/" if source.inside.strip("/") else ""
        for id, record in found.items():
            if id in records:
                clashes.append(f"{id} is in {origin[id]} and in {source.folder}")
            records[id] = dataclasses.replace(record, path=prefix + record.path)
            origin[id] = source.folder
    if clashes:
        raise DataError("ids occur in more than one set", clashes,
                        "ids must begin with the corpus; prepare one of the sets with another name")
    if len({frozenset(names) for names in classes.values()}) > 1 and not union:
        raise DataError("the sets have different classes",
                        [f"{folder}: {', '.join(names)}" for folder, names in classes.items()],
                        "map the labels alike in the recipes, or give --union-labels")
    merged = list(dict.fromkeys(name for names in classes.values() for name in names))
    return write_set(target, records.values(), {
        "corpus": target.name, "set": target.name, "label": dict.fromkeys(merged, 0),
        "warnings": warnings})


def common_sources(
    sets: Iterable[tuple[Path, Path]], data_folder: str | Path
) -> list[Source]:
    """Return sources from pairs of set and its data folder, relative to the common data folder.

    Raises:
        ConfigError: a data folder is not inside the common one; all of them are listed.
    """
    root, sources, problems = Path(data_folder).resolve(), [], []
    for folder, own in sets:
        place = (root / own).resolve()
        if not place.is_relative_to(root):
            problems.append(f"{place} is not inside {root}")
        else:
            inside = place.relative_to(root).as_posix()
            sources.append(Source(folder, "" if inside == "." else inside))
    if problems:
        raise ConfigError("the data folders have no common folder", problems,
                          "give --data-folder a folder that holds all the releases")
    return sources
