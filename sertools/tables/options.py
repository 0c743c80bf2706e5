"""Command line options in tables: YAML values as the words that would be typed."""

from __future__ import annotations

from typing import Any

from sertools.tables.places import Keys, Source

Options = tuple[tuple[str, str], ...]


def read_options(source: Source, path: Keys, value: Any) -> Options:
    """Return (dotted key, text) pairs; lists are written on one line."""
    found = []
    for key, inner in source.mapping(path, value).items():
        if isinstance(inner, dict):
            source.fault((*path, key), "write its keys by dots: section.key: value")
        elif key.startswith("-"):
            source.fault((*path, key), f"without dashes: {key.lstrip('-')}")
        elif key in ("data_folder", "data-folder"):
            source.fault((*path, key), "where data lies is no part of a table")
        else:
            found.append((key, _word(inner)))
    return tuple(found)


def _word(value: Any) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_word, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = str(value)
    if isinstance(value, float) and "e" in text and "." not in text:
        text = text.replace("e", ".0e")  # without a point YAML reads a text
    return text
