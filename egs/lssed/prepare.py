"""LSSED, English speech for pretraining: records of the audio that its table names, no labels.

Fan et al., "LSSED: A Large-Scale Dataset and Benchmark for Speech Emotion Recognition", ICASSP
2021. Audio lies flat in `wav_all/<name>.wav`; `metadata_english_all.csv` has a column `name`.
Both are what the code of Vesper (github.com/HappyColor/Vesper) reads; other columns are not used.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio, walk
from sertools.data.record import Record, id_problem
from sertools.errors import ConfigError

TABLE, FOLDER, COLUMN = "metadata_english_all.csv", "wav_all", "name"
_ANY_FOLDER = ("put the table beside wav_all; or make a manifest of audio without one: "
               "python ../../utils/manifest_from_folder.py <folder> --name lssed --out data/all")


def records(root: Path, faults: Faults, missing: str = "leave_out") -> Iterator[Record]:
    """Yield one record per name of the table that has a recording; nobody's label is read.

    Names without a recording, recordings without a name and names that stand twice are counted.

    Args:
        root: the folder that holds `wav_all` and the table.
        faults: collects what cannot be used, with its remedy.
        missing: leave_out (and count) names without a recording, or refuse them.

    Raises:
        ConfigError: `missing` has none of these values.
    """
    if missing not in ("leave_out", "refuse"):
        raise ConfigError(f"missing is {missing!r}", remedy="choose leave_out or refuse")
    recordings = {path.stem: path.relative_to(root).as_posix()
                  for path in find_audio(root, faults)}
    names = _names(root, faults) if recordings else None
    if names is None:
        return
    for name, where in sorted(names.items()):
        if name in recordings:
            yield Record(id=f"lssed-{name}", path=recordings[name], language="en")
        elif missing == "leave_out":
            faults.drop("name without a recording", where)
        else:
            faults.add(where, f"there is no recording {FOLDER}/{name}.wav",
                       "complete the release, or set corpus.options.missing: leave_out",
                       "names without a recording")
    for name in sorted(recordings.keys() - names.keys()):
        faults.drop("recording that the table does not name", recordings[name])


def _names(root: Path, faults: Faults) -> dict[str, str] | None:
    """Return the names of the table with their places, None where it cannot be read."""
    tables = [path for path in walk(root) if path.name.lower() == TABLE]
    if not tables:
        faults.add(TABLE, "is missing", _ANY_FOLDER)
        return None
    path = min(tables, key=lambda path: (len(path.parts), path))
    where = path.relative_to(root).as_posix()
    if path.parent != Path(root) and (path.parent / FOLDER).is_dir():
        # the manifest's paths would begin above the release, and other corpora's audio be counted
        faults.add(where, "lies deeper than data_folder, and so does the release",
                   f"give --data_folder {path.parent}")
        return None
    text = path.read_bytes().decode("utf-8-sig", "backslashreplace")
    rows = csv.DictReader(io.StringIO(text, newline=""))
    if COLUMN not in (rows.fieldnames or ()):
        faults.add(where, f"has no column {COLUMN!r}, only {', '.join(rows.fieldnames or ())}",
                   f"name the column of the recordings' stems {COLUMN!r}")
        return None
    names: dict[str, str] = {}
    for row in rows:
        here, name = f"{where} line {rows.line_num}", (row[COLUMN] or "").strip()
        if name.lower().endswith((".wav", ".flac")):
            name = name.rpartition(".")[0]
        problem = id_problem(f"lssed-{name}") if name else "is empty"
        if problem:
            faults.add(here, f"the name {name!r} {problem}", "write the stem of the recording",
                       "lines of the table")
        elif name in names:
            faults.drop("name that stands twice", here)
        else:
            names[name] = here
    return names
