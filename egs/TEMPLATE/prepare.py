"""Records of a corpus that one table describes: `metadata.csv` beside a folder of audio.

    file,label,speaker,gender,text
    audio/anna/001.wav,angry,anna,female,"Well, no."

Columns: `file` (or `id`, then the audio file of that name is taken) and, all optional, `id`,
`label`, `speaker`, `session`, `gender`, `text`, `language`, `split`, `arousal`, `valence`,
`dominance`, `start` and `end` (seconds inside the file). Any other column becomes a tag. Empty
cells mean unknown. For a corpus with a layout of its own, replace this file: whatever yields
records will do.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record

NAME = "TEMPLATE"
"""Begins every utterance id; the same as `name` in hparams/corpus.yaml."""
TEXTS = ("label", "speaker", "session", "text", "language", "split")
NUMBERS = ("arousal", "valence", "dominance", "start", "end")
COLUMNS = ("id", "file", "gender", *TEXTS, *NUMBERS)
GENDERS = {"female": "female", "f": "female", "male": "male", "m": "male"}
QUOTES = 'put a text with a separator into double quotes, and double those inside it'
AUDIO = re.compile(r"\.(wav|flac)$", re.IGNORECASE)


def records(root: Path, faults: Faults, metadata: str = "metadata.csv") -> Iterator[Record]:
    """Yield one record per line of the table; audio that it does not name is left out.

    Args:
        root: the folder that holds the table and the audio.
        faults: collects every line that cannot be used, with its remedy.
        metadata: name of the table (UTF-8; commas, semicolons or tabs between the cells).
    """
    audio = {}
    for path in find_audio(root, faults, duplicates="keep"):
        where = path.relative_to(root).as_posix()
        for name in (where, where.removeprefix("audio/"), path.name):
            audio.setdefault(AUDIO.sub("", name), []).append(where)
    if not audio:
        return  # find_audio said why
    unnamed, seen = {where for found in audio.values() for where in found}, {}
    for line, row in _rows(root / metadata, faults):
        where, id = _audio_of(row, audio, line, faults), _id_of(row)
        if where is None:
            continue
        unnamed.discard(where)
        if seen.setdefault(id, line) != line:
            faults.add(line, f"{id} stands in {seen[id]} already",
                       "take one of the lines out, or give each its own value in a column id")
            continue
        values = _values(row, line, faults)
        if values is not None:
            yield Record(id=f"{NAME}-{id}", path=where, **values)
    for where in sorted(unnamed):
        faults.drop(f"no line in {metadata}", where)


def _rows(path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the lines of the table: where each begins, and its cells by column."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        faults.add(path.name, f"cannot be read: {error}", "put it beside the audio, as UTF-8")
        return
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    header: list[str] = []
    while True:
        line = f"{path.name} line {reader.line_num + 1}"
        try:
            cells = next(reader, None)
        except csv.Error as error:
            faults.add(line, f"cannot be read: {error}", QUOTES)
            continue
        if cells is None:
            if not header:
                faults.add(path.name, "is empty", "write a first line with the column names")
            return
        if not header:
            header = [name.strip().lower() for name in cells]
            if not _sound(header, line, faults):
                return
        elif len(cells) != len(header) and any(cells):
            faults.add(line, f"has {len(cells)} cells, not {len(header)}", QUOTES)
        elif any(cells):  # spreadsheets leave lines of empty cells
            yield line, {name: cell.strip() for name, cell in zip(header, cells, strict=True)}


def _sound(header: list[str], where: str, faults: Faults) -> bool:
    known = {"file", "id"} & set(header)
    problems = [] if known else ["has neither a column file nor a column id"]
    problems += [f"has the column {name!r} twice" for name in sorted(set(header))
                 if header.count(name) > 1]
    for name in sorted(set(header) - set(COLUMNS)):
        for near in difflib.get_close_matches(name, COLUMNS, 1, 0.8):
            problems.append(f"has a column {name!r}; is {near!r} meant?")
    for problem in problems:
        faults.add(where, problem, f"columns with a meaning are {', '.join(COLUMNS)}")
    return not problems


def _named(row: dict[str, str]) -> str:
    return (row.get("file") or row.get("id", "")).replace("\\", "/").removeprefix("./")


def _id_of(row: dict[str, str]) -> str:
    name = row.get("id") or AUDIO.sub("", _named(row)).removeprefix("audio/")
    return name.replace("/", "-")


def _audio_of(row: dict, audio: dict[str, list[str]], line: str, faults: Faults) -> str | None:
    """Return the path of a line's audio below the root; the extension need not agree."""
    name = _named(row)
    found = audio.get(AUDIO.sub("", name), [])
    places = sorted({where for where in found if where in (name, f"audio/{name}")} or set(found))
    if len(places) == 1:
        return places[0]
    faults.add(line, f"{name!r} is {'no audio file' if not places else ' and '.join(places)}",
               "write the path below data_folder into the column file, as in audio/anna/001.wav")
    return None


def _values(row: dict[str, str], line: str, faults: Faults) -> dict | None:
    """Return the fields of a line, or None where one cannot be read."""
    values = {name: row[name] or None for name in TEXTS if name in row}
    problems = []
    for name in NUMBERS:
        cell = row.get(name)
        try:
            values[name] = float(cell) if cell else None
        except ValueError:
            problems.append((f"{name} is {cell!r}, not a number", "write it with a point, as 2.5"))
    gender = row.get("gender")
    values["gender"] = GENDERS.get(gender.lower()) if gender else None
    if gender and values["gender"] is None:
        problems.append((f"gender is {gender!r}", "write female, male, or nothing if unknown"))
    values["tags"] = {name: cell for name, cell in row.items() if name not in COLUMNS and cell}
    for problem in problems:
        faults.add(line, *problem)
    return None if problems else values
