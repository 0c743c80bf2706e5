"""Label files of MSP-Podcast, all forms that its releases have had.

Columns are read by their names: in the files arousal ("activation") stands before valence.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sertools.data.corpus import Faults, walk

TABLE = re.compile(r"labels_con[sc]ensus\.(csv|json)", re.I)
"""Some releases spell it labels_concensus."""
LINES = re.compile(r"labels\.txt", re.I)
RATINGS = {"EmoAct": "arousal", "EmoVal": "valence", "EmoDom": "dominance"}
COLUMNS = ("FileName", "EmoClass", *RATINGS, "SpkrID", "Gender", "Split_Set")
PARTITIONS = {"train": "Train", "development": "Development", "validation": "Development",
              "test1": "Test1", "test2": "Test2", "test3": "Test3"}
"""Releases up to 1.8 call the development part Validation."""
GENDERS = {"female": "female", "male": "male", "unknown": None, "": None}
LOWEST, HIGHEST = 1.0, 7.0
"""The scale of the ratings."""
LINE = re.compile(r"(?P<file>MSP-PODCAST_\w+)\.wav;\s*(?P<code>\w+);\s*A:(?P<EmoAct>[^;]*);"
                  r"\s*V:(?P<EmoVal>[^;]*);\s*D:(?P<EmoDom>[^;]*);?\s*", re.I)
OFFICIAL = "copy the file from the official release, as it is"
_UNUSABLE = "lines of labels that cannot be used"


@dataclass(frozen=True)
class Turn:
    """What the label files say of a turn; the code and the ratings are unknown in Test3."""

    where: str
    """File and line, or file and entry."""
    partition: str
    code: str | None = None
    ratings: dict[str, float] = field(default_factory=dict)
    speaker: str | None = None
    gender: str | None = None

    def said(self) -> tuple:
        """Return everything but the place."""
        return (self.partition, self.code, sorted(self.ratings.items()), self.speaker, self.gender)


def read_labels(
    root: Path, partitions: Mapping[str, tuple[str, str]], faults: Faults
) -> dict[str, Turn]:
    """Return the turns by name; every line that cannot be used and every contradiction is a fault.

    Args:
        root: the folder of the release.
        partitions: what `read_partitions` found.
        faults: collects what is wrong.
    """
    tables = [path for path in label_files(root) if TABLE.fullmatch(path.name)]
    if not tables:
        return _from_lines(root, partitions, faults)
    turns: dict[str, Turn] = {}
    for number, path in enumerate(tables):
        read = _table(root, path, faults)
        if number:
            _contradictions(turns, read, faults)
        turns = read | turns
    for name, turn in turns.items():
        where, listed = partitions.get(name, ("", turn.partition))
        if listed != turn.partition:
            faults.add(turn.where, f"{name} is in {turn.partition}, {where} says {listed}",
                       "keep the files of one release in data_folder", "files that clash")
    return turns


def read_partitions(root: Path, faults: Faults) -> dict[str, tuple[str, str]]:
    """Return place and partition of each turn that `Partitions.txt` names."""
    found: dict[str, tuple[str, str]] = {}
    for path in label_files(root):
        if path.name.lower() != "partitions.txt":
            continue
        for where, cells in _cells(root, path):
            part, stem = PARTITIONS.get(cells[0].lower()), stem_of(cells[-1])
            problem = None
            if part is None or len(cells) != 2:
                problem = "does not read partition; file, as in Train; MSP-PODCAST_0001_0008.wav"
            elif found.setdefault(stem, (where, part))[1] != part:
                problem = f"{stem} is in {part}, {found[stem][0]} says {found[stem][1]}"
            if problem:
                faults.add(where, problem, OFFICIAL, "lines of Partitions.txt that cannot be used")
    return found


# ------------------------------------------------------------------------------------- tables


def _table(root: Path, path: Path, faults: Faults) -> dict[str, Turn]:
    turns: dict[str, Turn] = {}
    rows = _json_rows if path.suffix.lower() == ".json" else _csv_rows
    for where, row in rows(path.relative_to(root).as_posix(), content_of(path), faults):
        stem, turn, problems = _turn(where, row)
        if stem in turns:
            problems.append(f"{stem} stands already in {turns[stem].where}")
        for problem in problems:
            faults.add(where, problem, OFFICIAL, _UNUSABLE)
        if not problems:
            turns[stem] = turn
    return turns


def _csv_rows(where: str, text: str, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        faults.add(where, f"has no column {', '.join(lacking)}", OFFICIAL)
        return
    for row in reader:
        here = f"{where} line {reader.line_num}"
        if None in row or None in row.values():
            faults.add(here, "has more or fewer cells than columns", OFFICIAL, _UNUSABLE)
        else:
            yield here, row


def _json_rows(where: str, text: str, faults: Faults) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entries; a name that stands there twice would silently lose the first one."""
    try:
        content = json.loads(text, object_pairs_hook=list)
    except ValueError as error:
        faults.add(where, f"is not JSON: {error}", OFFICIAL)
        return
    if not isinstance(content, list) or not all(isinstance(item, tuple) for item in content):
        faults.add(where, "is not a table of file names", OFFICIAL)
        return
    for name, pairs in content:
        here = f"{where} {name}"
        entry = dict(pairs) if isinstance(pairs, list) else {}
        lacking = [column for column in COLUMNS[1:] if column not in entry]
        if lacking:
            faults.add(here, f"has no {', '.join(lacking)}", OFFICIAL, _UNUSABLE)
        else:
            yield here, {"FileName": name, **entry}


def _turn(where: str, row: Mapping[str, Any]) -> tuple[str, Turn | None, list[str]]:
    """Return name and content of a row, and what is wrong with it."""
    cells = {name: "" if row[name] is None else str(row[name]).strip() for name in COLUMNS}
    part = PARTITIONS.get(cells["Split_Set"].lower())
    ratings, problems = _ratings(cells)
    if part is None:
        problems.append(f"Split_Set is {cells['Split_Set']!r}, none of "
                        f"{', '.join(dict.fromkeys(PARTITIONS.values()))}, Validation")
    if cells["Gender"].lower() not in GENDERS:
        problems.append(f"Gender is {cells['Gender']!r}, none of Female, Male, Unknown")
    if part == "Test3" and not cells["EmoClass"] and not any(cells[name] for name in RATINGS):
        ratings, problems = {}, []  # withheld
    elif not cells["EmoClass"]:
        problems.append("EmoClass is empty")
    turn = Turn(where, part or "", cells["EmoClass"] or None, ratings, _speaker(cells["SpkrID"]),
                GENDERS.get(cells["Gender"].lower()))
    return stem_of(cells["FileName"]), turn, problems


def _ratings(cells: Mapping[str, str]) -> tuple[dict[str, float], list[str]]:
    ratings, problems = {}, []
    for column, name in RATINGS.items():
        try:
            ratings[name] = float(cells[column])
        except ValueError:
            problems.append(f"{column} is {cells[column]!r}, not a number")
            continue
        if not LOWEST <= ratings[name] <= HIGHEST:  # NaN is not either
            problems.append(f"{column} is {cells[column]}, off the scale of 1 to 7")
    return ratings, problems


def _speaker(cell: str) -> str | None:
    return None if cell.lower() in ("unknown", "") else cell


def _contradictions(first: dict[str, Turn], second: dict[str, Turn], faults: Faults) -> None:
    for name, turn in second.items():
        known = first.get(name)
        if known is None or known.said() != turn.said():
            what = "says something else of it" if known else "lacks it"
            faults.add(turn.where, f"{known.where if known else 'the other label file'} {what}",
                       "keep the label files of one release in data_folder", "files that clash")
    for name in first.keys() - second.keys() if second else ():
        faults.add(first[name].where, "the other label file lacks it",
                   "keep the label files of one release in data_folder", "files that clash")


# ------------------------------------------------------------------------ lines of old releases


def _from_lines(
    root: Path, partitions: Mapping[str, tuple[str, str]], faults: Faults
) -> dict[str, Turn]:
    """Return the turns of Labels.txt; the lines of single workers are passed over."""
    paths = [path for path in label_files(root) if LINES.fullmatch(path.name)]
    if not paths:
        faults.add(root, "no labels_consensus.csv, labels_consensus.json or Labels.txt below it",
                   "unpack Labels as well")
        return {}
    turns: dict[str, Turn] = {}
    speakers = _speakers(root)
    name = paths[0].relative_to(root).as_posix()
    for number, line in enumerate(content_of(paths[0]).splitlines(), 1):
        if not line.strip() or line.upper().startswith("WORKER"):
            continue
        where, match = f"{name} line {number}", LINE.fullmatch(line)
        if match is None:
            faults.add(where, "does not read file; code; A:...; V:...; D:...;", OFFICIAL, _UNUSABLE)
            continue
        stem, (ratings, problems) = match["file"], _ratings(match.groupdict())
        if stem in turns:
            problems.append(f"{stem} stands already in {turns[stem].where}")
        if stem not in partitions:
            problems.append(f"{stem} is in no part of Partitions.txt")
        for problem in problems:
            faults.add(where, problem, OFFICIAL, _UNUSABLE)
        if not problems:
            turn = Turn(where, partitions[stem][1], match["code"], ratings)
            turns[stem] = replace(turn, **speakers.get(stem, {}))
    return turns


def _speakers(root: Path) -> dict[str, dict[str, str | None]]:
    """Return speaker and gender by turn from Speaker_ids.txt, where a copy has it.

    Lines read `Speaker_30; Male` or `MSP-PODCAST_0001_0008.wav; 30`.
    """
    lines = [cells for path in label_files(root) if path.name.lower() == "speaker_ids.txt"
             for _, cells in _cells(root, path) if len(cells) == 2]
    genders = {first.lower().removeprefix("speaker_"): GENDERS.get(second.lower())
               for first, second in lines if first.lower().startswith("speaker")}
    return {stem_of(first): {"speaker": _speaker(second), "gender": genders.get(second)}
            for first, second in lines if first.upper().startswith("MSP-PODCAST")}


def label_files(root: Path) -> list[Path]:
    """Return the files that may hold labels, the least deeply nested first."""
    found = (path for path in walk(root) if path.suffix.lower() in (".csv", ".json", ".txt")
             and path.parent.name != "Transcripts")
    return sorted(found, key=lambda path: (len(path.parts), path))


def _cells(root: Path, path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield place and cells of the lines that hold something."""
    name = path.relative_to(root).as_posix()
    for number, line in enumerate(content_of(path).splitlines(), 1):
        if line.strip():
            yield f"{name} line {number}", [cell.strip() for cell in line.split(";")
                                            if cell.strip()] or [""]


def content_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig", "backslashreplace")


def stem_of(name: str) -> str:
    return re.sub(r"\.(wav|flac)$", "", name, flags=re.I)
