"""Read what a speech recogniser wrote.

A recogniser's file has one of three forms, told by its name:

    *.jsonl, *.json    {"id": "emodb-03a01Fa", "text": "der lappen liegt ..."} on every line
    *.csv              a header with id and text, then the rows
    anything else      Kaldi's text: id, blank, words
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def read_recognised(path: str | Path) -> tuple[dict[str, str], list[str]]:
    """Return the texts of a recogniser's file by id, and every fault as a sentence."""
    path = Path(path)
    lines, problems = _lines(path)
    rows = {".jsonl": _json_rows, ".json": _json_rows, ".csv": _csv_rows}.get(
        path.suffix.lower(), _kaldi_rows
    )
    texts: dict[str, str] = {}
    first: dict[str, int] = {}
    for number, row in rows(lines):
        if isinstance(row, str):
            problems.append(f"line {number}: {row}")
            continue
        id, text = row
        if id in texts:
            problems.append(f"line {number}: {id!r} occurs again, first on line {first[id]}")
            continue
        texts[id], first[id] = text, number
    return texts, problems


def _lines(path: Path) -> tuple[list[tuple[int, str]], list[str]]:
    """Return numbered lines, and the faults of those that are not UTF-8."""
    lines, problems = [], []
    content = path.read_bytes().removeprefix(b"\xef\xbb\xbf")
    for number, line in enumerate(content.split(b"\n"), start=1):
        try:
            lines.append((number, line.decode("utf-8").removesuffix("\r")))
        except UnicodeDecodeError as error:
            problems.append(f"line {number}: not UTF-8: {error.reason}")
    return lines, problems


_Rows = Iterator[tuple[int, tuple[str, str] | str]]
"""Line number, and id and text or what is wrong."""


def _kaldi_rows(lines: list[tuple[int, str]]) -> _Rows:
    for number, line in lines:
        if line.strip():
            id, *rest = line.strip().split(maxsplit=1)
            yield number, (id, rest[0] if rest else "")


def _json_rows(lines: list[tuple[int, str]]) -> _Rows:
    for number, line in lines:
        if not line.strip():
            continue
        try:
            entry: Any = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, f"not JSON: {error}"
            continue
        if not isinstance(entry, dict):
            yield number, f"a {type(entry).__name__}, not an object with id and text"
            continue
        nothing = "text" in entry and entry["text"] is None
        yield number, _entry({**entry, "text": ""} if nothing else entry)


def _csv_rows(lines: list[tuple[int, str]]) -> _Rows:
    reader = csv.DictReader((f"{line}\n" for _, line in lines), strict=True)
    numbers = [number for number, _ in lines] or [1]
    try:
        if not {"id", "text"} <= set(reader.fieldnames or ()):
            yield numbers[0], "the header lacks id or text"
            return
        for row in reader:
            entry = (
                "more cells than the header has: put texts with commas in double quotes"
                if None in row
                else _entry(row)
            )
            yield numbers[reader.line_num - 1], entry
    except csv.Error as error:
        yield numbers[min(reader.line_num, len(numbers) - 1)], f"not CSV: {error}"


def _entry(entry: dict[str, Any]) -> tuple[str, str] | str:
    id, text = entry.get("id"), entry.get("text")
    if not isinstance(id, str) or not id:
        return "has no id"
    if not isinstance(text, str):
        return f"{id!r} has no text"
    if any("\ud800" <= letter <= "\udfff" for letter in id + text):
        return f"{id!r} has half a character (a lone surrogate)"
    return id, text
