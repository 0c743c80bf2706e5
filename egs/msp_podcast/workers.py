"""What the single workers heard in MSP-Podcast's turns, where a copy has the file that says so.

`labels_detailed.csv` has a row for each worker: either columns of its own (`EmoClass_Major`) or a
packed one (`EmoDetail`), which reads like the lines below a turn in `Labels.txt` of older releases:
`WORKER00000001; Angry; Angry,Frustrated; A:6.0; V:3.0; D:5.0;`. `labels_detailed.json` has the same
by file. The first emotion, of which each worker chose one, is the vote; what else was heard in a
turn is not.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from labels import LINE, LINES, content_of, label_files, stem_of
from sertools.data.corpus import Faults
from sertools.data.votes import write_votes

DETAILED = re.compile(r"labels_detailed\.(csv|json)", re.I)
PACKED = re.compile(r"\s*WORKER\w*\s*;\s*(?P<major>[^;]*)(;.*)?", re.I | re.S)
CODES = {
    "angry": "A", "anger": "A", "sad": "S", "sadness": "S", "happy": "H", "happiness": "H",
    "surprise": "U", "surprised": "U", "fear": "F", "disgust": "D", "contempt": "C",
    "neutral": "N", "other": "O",
}  # fmt: skip
"""Words of the workers -> codes of the labels."""
OTHER = "O"
_UNKNOWN = "entry of a worker whose form is not known: no vote"


def worker_votes(root: Path, faults: Faults) -> dict[str, str]:
    """Return the tag `votes` of each turn, as in "A=2;N=3"; nothing where no file has votes.

    Words that are none of the emotions stand for something else (O): workers may write their own.
    """
    votes: dict[str, Counter[str]] = defaultdict(Counter)
    for where, stem, word in _said(root):
        if word is None:
            faults.drop(_UNKNOWN, where)
        elif word:
            votes[stem][CODES.get(word.lower(), OTHER)] += 1
    return {stem: write_votes(counts) for stem, counts in votes.items()}


def _said(root: Path) -> Iterator[tuple[str, str, str | None]]:
    """Yield place, turn and the word of each worker; None where it cannot be read."""
    files = label_files(root)
    found = [path for path in files if DETAILED.fullmatch(path.name)]
    if found:  # the least deeply nested, and .csv before .json
        path = found[0]
        read = _in_json if path.suffix.lower() == ".json" else _in_csv
    else:
        path = next((path for path in files if LINES.fullmatch(path.name)), None)
        read = _in_lines
    if path is not None:
        yield from read(path.relative_to(root).as_posix(), content_of(path))


def _in_csv(where: str, text: str) -> Iterator[tuple[str, str, str | None]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    try:
        for row in reader:
            yield f"{where} line {reader.line_num}", stem_of(row.get("FileName") or ""), _word(row)
    except csv.Error:
        yield f"{where} from line {reader.line_num} on", "", None


def _in_json(where: str, text: str) -> Iterator[tuple[str, str, str | None]]:
    """Yield the workers of each file: a table of them, or a list, in the entry or below it."""
    try:
        content = json.loads(text)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        yield where, "", None
        return
    for name, entry in content.items():
        inner = entry.get("Workers", entry) if isinstance(entry, dict) else entry
        workers = list(inner.values()) if isinstance(inner, dict) else inner
        for worker in workers if isinstance(workers, list) else [None]:
            yield f"{where} {name}", stem_of(name), _word(worker)


def _in_lines(where: str, text: str) -> Iterator[tuple[str, str, str | None]]:
    stem = None
    for number, line in enumerate(text.splitlines(), 1):
        turn = LINE.fullmatch(line)
        if turn:
            stem = turn["file"]
        elif stem and line.upper().startswith("WORKER"):
            yield f"{where} line {number}", stem, _word(line)


def _word(said: Any) -> str | None:
    """Return the emotion that a worker chose, "" for none; None where there is no place for it."""
    if isinstance(said, dict):
        word = said.get("EmoClass_Major")
        if isinstance(word, str):
            return word.strip()
        said = said.get("EmoDetail")
    match = PACKED.fullmatch(said) if isinstance(said, str) else None
    return match and match["major"].strip()
