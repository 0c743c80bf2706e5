"""mini, the synthesised corpus: records of its release, as `synthesise.py` writes it.

Everything stands in `metadata.csv`: one line per recording, the file relative to the release.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record

COLUMNS = (
    "id", "file", "label", "speaker", "gender", "session", "text",
    "arousal", "valence", "dominance", "intensity", "split",
)  # fmt: skip
DIMENSIONS = ("arousal", "valence", "dominance")
_REMEDY = "delete the folder and run the stage download again"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per line of metadata.csv; the raw label is the emotion.

    Args:
        root: the release, the folder that holds `metadata.csv` and `wav/`.
        faults: collects every line and file that cannot be used, with its remedy.
    """
    audio = {path.relative_to(root).as_posix() for path in find_audio(root, faults)}
    table = root / "metadata.csv"
    if not audio:
        return  # the wrong folder, already a fault
    if not table.is_file():
        faults.add(table.name, "is missing", "set data_folder to the folder that holds it")
        return
    # what UTF-8 cannot read becomes visible instead of stopping at the first such line
    with open(table, encoding="utf-8-sig", errors="backslashreplace", newline="") as file:
        lines = csv.DictReader(file)
        for row in lines:
            problem = _problem(row, audio)
            if problem is None:
                yield _record(row)
            else:
                faults.add(f"{table.name} line {lines.line_num}", problem, _REMEDY)
            audio.discard(row.get("file"))
    for path in sorted(audio):
        faults.add(path, f"is not named by {table.name}", _REMEDY)


def _problem(row: dict[str, str], audio: set[str]) -> str | None:
    """Return what is wrong with a line, None if it can be used."""
    lacking = [column for column in COLUMNS if not row.get(column)]
    if lacking or None in row:
        return f"nothing in {', '.join(lacking)}" if lacking else "more cells than columns"
    if len(row["id"].split("_")) != 4:
        return f"the id {row['id']!r} is not speaker_emotion_sentence_take"
    if row["file"] not in audio:
        return f"{row['file']} is not there, or stands on an earlier line"
    for dimension in DIMENSIONS:
        try:
            float(row[dimension])
        except ValueError:
            return f"{dimension} {row[dimension]!r} is not a number"
    return None


def _record(row: dict[str, str]) -> Record:
    _, _, sentence, take = row["id"].split("_")
    return Record(
        id=f"mini-{row['id']}",
        path=row["file"],
        label=row["label"],
        speaker=row["speaker"],
        session=row["session"],
        gender=row["gender"],
        text=row["text"],
        language="en",
        **{dimension: float(row[dimension]) for dimension in DIMENSIONS},
        split=row["split"],
        tags={"sentence": sentence, "take": take, "intensity": row["intensity"]},
    )
