"""CMU-MOSEI, opinions spoken in videos, in English: records of the labelled segments.

Zadeh et al., "Multimodal Language Analysis in the Wild: CMU-MOSEI Dataset and Interpretable
Dynamic Fusion Graph", ACL 2018. Segments are stretches of the recordings of whole videos
(`Raw/Audio/Full/WAV_16000`). The official labels, `CMU_MOSEI_Labels.csd`, are HDF5, which is not
read here; `CMU_MOSEI_Labels.csv` of s3prl holds the same segments with times, classes and parts.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.record import Record
from sertools.errors import ConfigError

VIDEO = re.compile(r"[A-Za-z0-9_-]{11}|\d+")
"""A video's name: an id of YouTube, which may begin with "-", or a number."""
TABLE = "CMU_MOSEI_Labels.csv"
ORIGIN = ("put CMU_MOSEI_Labels.csv into data_folder; it lies in s3prl's repository (the README "
          "has the address)")
COLUMNS = ("file", "index", "start", "end", "label2b", "label7", "split")
SENTIMENTS = {"-1": "negative", "0": "neutral", "1": "positive"}
SPLITS = {"0": "train", "1": "dev", "2": "test", "3": None}
"""The standard fold; 3 is in none of its parts."""
EARLIEST = -1.0
"""Segments may begin up to half a second before their recording; they then begin with it."""
NEAR = 0.05
"""Seconds by which the times of a transcript may differ from those of the labels."""


def records(root: Path, faults: Faults, missing_videos: str = "refuse") -> Iterator[Record]:
    """Yield one record per labelled segment; the raw label is negative, neutral or positive.

    The video stands for the speaker, who is not known. Tags: `video`, `index` (of the segment
    among the labels of its video), `sentiment` (-3 to 3, rounded), `labelled_start` where that
    lies before the recording.

    Args:
        root: the folder that holds `Raw/Audio/Full/WAV_16000` and the table of labels.
        faults: collects every file and line that cannot be used, with its remedy.
        missing_videos: refuse, or leave_out (and count) segments without a recording.

    Raises:
        ConfigError: `missing_videos` has none of these values.
    """
    if missing_videos not in ("refuse", "leave_out"):
        raise ConfigError(f"missing_videos is {missing_videos!r}",
                          remedy="choose refuse or leave_out")
    recordings = _recordings(root, faults)
    table = _table(root, faults) if recordings else None
    if table is None:
        return
    rows, texts = list(_rows(root, table, faults)), _transcripts(root, faults)
    absent: set[str] = set()
    for where, row in rows:
        path = recordings.get(row["file"])
        if path is not None:
            yield _record(path.relative_to(root).as_posix(), row, texts.get(row["file"], []))
        elif missing_videos == "leave_out":
            faults.drop("segment of a video without a recording", where)
        elif row["file"] not in absent:
            absent.add(row["file"])
            faults.add(f"{row['file']}.wav", f"there is no such recording, {where} needs it",
                       "complete Raw/Audio/Full/WAV_16000; or leave these segments out with "
                       "corpus.options.missing_videos: leave_out and corpus.allow_subset: true",
                       "videos without a recording")
    for video in sorted(recordings.keys() - {row["file"] for _, row in rows}):
        faults.drop("video without a label", recordings[video].relative_to(root))


def _recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the recordings of whole videos by name."""
    found = {}
    for path in find_audio(root, faults):
        if VIDEO.fullmatch(path.stem):
            found[path.stem] = path
        else:
            faults.add(path.relative_to(root), "the name is not that of a video, as in --qXJuDtHPw",
                       "take the file out; recordings of whole videos are needed, not of segments")
    return found


def _table(root: Path, faults: Faults) -> Path | None:
    """Return the one table of labels; a release without it is told what to do."""
    found = sorted((path for path in walk(root) if path.name == TABLE),
                   key=lambda path: (len(path.parts), path))
    if not found:
        official = any(path.suffix == ".csd" for path in walk(root))
        what = "the labels in .csd files are HDF5, which is not read here" if official else (
            "there are no labels")
        faults.add(TABLE, f"is missing; {what}", ORIGIN, "labels that are missing")
        return None
    for path in found[1:]:
        if path.read_bytes() != found[0].read_bytes():
            faults.add(path.relative_to(root), f"differs from {found[0].relative_to(root)}",
                       "keep one table of labels in data_folder", "files that clash")
    return found[0]


def _rows(root: Path, path: Path, faults: Faults) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the sound lines of the table: where each stands, and its cells."""
    text = path.read_text(encoding="utf-8-sig", errors="backslashreplace")
    reader, seen = csv.DictReader(io.StringIO(text, newline="")), {}
    name = path.relative_to(root).as_posix()
    lacking = [column for column in COLUMNS if column not in (reader.fieldnames or ())]
    if lacking:
        faults.add(name, f"has no column {', '.join(lacking)}", ORIGIN)
        return
    for row in reader:
        where = f"{name} line {reader.line_num}"
        first = seen.setdefault((row["file"], row["index"]), where)
        problem = _problem(row) or (f"stands already in {first}" if first != where else None)
        if problem:
            faults.add(where, problem, "get the table again, as it is", "lines that cannot be used")
        else:
            yield where, row


def _problem(row: dict[str, str]) -> str | None:
    """Say what is wrong with a line, or None."""
    if not VIDEO.fullmatch(row["file"] or ""):
        return f"file is {row['file']!r}, not the name of a video"
    if not (row["index"] or "").isdecimal():
        return f"index is {row['index']!r}, not a number"
    try:
        start, end = float(row["start"]), float(row["end"])
    except (TypeError, ValueError):
        return f"start and end are {row['start']!r} and {row['end']!r}, not numbers"
    if not EARLIEST <= start < end or end <= 0:
        return f"the segment goes from {start} s to {end} s"
    for column, known in (("label2b", SENTIMENTS), ("split", SPLITS)):
        if row[column] not in known:
            return f"{column} is {row[column]!r}, none of {', '.join(known)}"
    return None


def _transcripts(root: Path, faults: Faults) -> dict[str, list[tuple[float, float, str]]]:
    """Return start, end and text of what was transcribed of each video; copies may have none."""
    texts: dict[str, list[tuple[float, float, str]]] = {}
    for path in walk(root):
        if path.suffix.lower() != ".txt" or path.parent.name != "Combined":
            continue
        content = path.read_bytes()
        try:
            lines = content.decode("utf-8-sig").splitlines()
        except UnicodeDecodeError:
            lines = content.decode("latin-1").splitlines()
        for number, line in enumerate(filter(str.strip, lines), 1):
            # names may hold "_" themselves, so that the line is read behind the name
            cells = line.removeprefix(f"{path.stem}___").split("___", 3)
            try:
                texts.setdefault(path.stem, []).append(
                    (float(cells[1]), float(cells[2]), cells[3].strip()))
            except (IndexError, ValueError):
                faults.drop("line of a transcript that cannot be read",
                            f"{path.relative_to(root).as_posix()} line {number}")
    return texts


def _record(where: str, row: dict[str, str], texts: list[tuple[float, float, str]]) -> Record:
    start, end = float(row["start"]), float(row["end"])
    tags = {"video": row["file"], "index": row["index"], "sentiment": row["label7"]}
    return Record(
        id=f"mosei-{row['file']}_{row['index']}",
        path=where,
        label=SENTIMENTS[row["label2b"]],
        speaker=row["file"],
        text=_text(start, end, texts),
        language="en",
        split=SPLITS[row["split"]],
        start=max(start, 0.0),
        end=end,
        tags=tags | ({"labelled_start": row["start"]} if start < 0 else {}),
    )


def _text(start: float, end: float, texts: list[tuple[float, float, str]]) -> str | None:
    """Return what was transcribed between these times: the numbers of segments differ."""
    for first, last, text in texts:
        if abs(first - start) <= NEAR and abs(last - end) <= NEAR:
            return text or None
    return None
