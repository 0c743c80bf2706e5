"""RESD, Russian Emotional Speech Dialogs: records of the official release.

Amentes, Lubenets and Davidchuk (Aniemore), 2022. A stem reads `32_happiness_enthusiasm_h_120`:
dialogue, the emotions of its two parts, the letter of the turn's emotion, turn; in a part of the
release a blank stands before the letter. The official parts are the folders `train` and `test`;
the tables `train.csv` and `test.csv` beside them, where present, must say the same.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<dialogue>\d\d)_(?P<emotions>[a-z_]+?)[ _](?P<emotion>[a-z])_(?P<turn>\d+)"
)
FORM = "dialogue, two emotions, letter and turn, as in 32_happiness_enthusiasm_h_120"
PARTS = ("train", "test")


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per turn below `root`; the raw label is the emotion's letter.

    Args:
        root: the folder that holds `train` and `test`, and their tables.
        faults: collects every file and line that cannot be used, with its remedy.
    """
    tables = {part: _table(root / f"{part}.csv", faults) for part in PARTS}
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        part = _part(where)
        row = tables[part].get(match[0])
        if row is not None and (row.get("emotion") or "")[:1].lower() != match["emotion"]:
            faults.add(where, f"the name says {match['emotion']}, {part}.csv {row.get('emotion')}",
                       "get the file and the table again from the official release")
            continue
        yield Record(
            id=f"resd-{match[0]}",
            path=where,
            label=match["emotion"],
            session=match["dialogue"],
            text=(row or {}).get("text") or None,
            language="ru",
            split=part,
            tags={"emotions": match["emotions"], "turn": match["turn"]},
        )


def _part(where: str | Path) -> str | None:
    """Return the official part that a path below the root lies in, if any."""
    return next((part for part in PurePosixPath(where).parts[:-1] if part in PARTS), None)


def _problem(match: re.Match[str], where: Path) -> str | None:
    return None if _part(where.as_posix()) else "it lies neither in train nor in test"


def _table(path: Path, faults: Faults) -> dict[str, dict[str, str]]:
    """Return the lines of a part's table by stem; nothing where there is no table."""
    if not path.is_file():
        return {}
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
        return {PurePosixPath(row["path"]).stem: row for row in rows}
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        faults.add(path.name, f"cannot be read: {error!r}",
                   "get it again: UTF-8, commas, columns path and emotion")
        return {}
