"""Configuration files as node trees that remember where every value stands.

Reading never stops at the first fault: what is wrong is noted and replaced by null, so that the
rest can still be checked and everything be told at once.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import yaml

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The same in C, which reads ten times as fast, where PyYAML was built with it."""
REFUSED = ("!apply:", "!applyref:", "!module:", "tag:yaml.org,2002:python/")
OURS = ("!new:", "!name:", "!include:")
EXACT = ("!ref", "!copy", "!PLACEHOLDER", "!tuple")
STANDARD = "tag:yaml.org,2002:"
UNFILLED = "!PLACEHOLDER"
"""The text that stands for an unfilled placeholder once a file has been read."""


@dataclass
class File:
    """One configuration file: its nodes, and the files that it includes."""

    path: Path
    root: yaml.Node
    includes: dict[int, File] = field(default_factory=dict)
    """`id` of an `!include:` node -> that file, read anew for each place."""


def read(path: Path, problems: list[str], above: tuple[Path, ...] = ()) -> File:
    """Read a file and all that it includes; note what is wrong in `problems`."""
    file = File(path, null())
    try:
        stream = io.StringIO(path.read_text(encoding="utf-8"))
        stream.name = str(path)  # which every node remembers
        root = yaml.compose(stream, LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{shown(path)}:{mark.line + 1}" if mark else shown(path)
        problems.append(f"{place}: this is not YAML: {error.problem or error.context}")
        return file
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        problems.append(f"{shown(path)}: this is not YAML: {error}")
        return file
    if root is not None:
        file.root = _clean(root, problems, {})
        _include(file, problems, (*above, path.resolve()))
    return file


def _clean(node: yaml.Node, problems: list[str], seen: dict) -> yaml.Node:
    """Drop what may not be used, merge `<<`, and note duplicate keys; shared nodes stay shared."""
    if id(node) in seen:
        return seen[id(node)]
    tag = node.tag
    if not (tag in EXACT or tag.startswith((*OURS, STANDARD))) or tag.startswith(REFUSED):
        why = "it runs code while the file is read" if tag.startswith(REFUSED) else "unknown"
        problems.append(f"{where(node)}: the tag {tag.replace(STANDARD, '!!')} is refused ({why}); "
                        "use !new:, !name:, !ref, !copy or !include:")
        seen[id(node)] = null()
        return seen[id(node)]
    seen[id(node)] = node
    if isinstance(node, yaml.SequenceNode):
        node.value = [_clean(item, problems, seen) for item in node.value]
    elif isinstance(node, yaml.MappingNode):
        node.value = _clean_pairs(node, problems, seen)
    return node


def _clean_pairs(node: yaml.MappingNode, problems: list[str], seen: dict) -> list:
    own, merged = {}, {}
    for key, value in node.value:
        value = _clean(value, problems, seen)
        if key.tag == STANDARD + "merge":
            parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
            for part in parts:
                for name, inner in getattr(part, "value", None) or ():
                    merged.setdefault(name.value, (name, inner))
            continue
        name = str(key.value)
        if name in own:
            first = own[name][0].start_mark.line + 1
            problems.append(f"{where(key)}: the key {name} is given twice (first in line {first}); "
                            "keep one of them")
        own[name] = (key, value)
    return [pair for name, pair in merged.items() if name not in own] + list(own.values())


def _include(file: File, problems: list[str], stack: tuple[Path, ...]) -> None:
    for _, node in walk(file.root):
        if not node.tag.startswith("!include:"):
            continue
        path = file.path.parent / node.tag[len("!include:"):]
        if path.resolve() in stack:
            problems.append(f"{where(node)}: {node.tag} includes itself")
        elif not path.is_file():
            problems.append(f"{where(node)}: {node.tag}: there is no such file; the path counts "
                            f"from {shown(file.path.parent)}")
        else:
            file.includes[id(node)] = read(path, problems, stack)
            continue
        file.includes[id(node)] = File(path, null())


def walk(node: yaml.Node, path: tuple[str, ...] = (), seen: set | None = None) -> Iterator:
    """Yield (path, node) of every node below, each shared node once, parents first."""
    seen = set() if seen is None else seen
    if id(node) in seen:
        return
    seen.add(id(node))
    yield path, node
    for name, child in children(node):
        yield from walk(child, (*path, name), seen)


def children(node: yaml.Node) -> list[tuple[str, yaml.Node]]:
    """Return (name, node) of a mapping's values or a list's items."""
    if isinstance(node, yaml.MappingNode):
        return [(str(key.value), value) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [(str(number), item) for number, item in enumerate(node.value)]
    return []


def null() -> yaml.ScalarNode:
    """Return a new null."""
    return yaml.ScalarNode(STANDARD + "null", "null")


def is_null(node: yaml.Node | None) -> bool:
    """Return whether a node is missing or null."""
    return node is None or (node.tag == STANDARD + "null")


def shown(path: Path | str) -> str:
    """Return a path as short as it can be written from the current folder."""
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative


def where(node: yaml.Node) -> str:
    """Return "file:line" of a node that was read from a file."""
    mark = node.start_mark
    return f"{shown(mark.name)}:{mark.line + 1}" if mark else "the command line"
