"""TurEV-DB, Turkish Emotion Voice Database: records of the authors' repository.

Canpolat, Ormanoğlu and Zeyrek, "Turkish Emotion Voice Database (TurEV-DB)", SLTU and CCURL 2020. A
stem reads `1984_sk_eger`: speaker, emotion, word, written without accents; its folder below `Sound
Source` names the emotion in English.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(r"(?P<speaker>\d{4})_(?P<emotion>[a-z]{2})_(?P<word>[A-Za-z]+)")
FORM = "speaker, emotion and word, as in 1984_sk_eger"
SPEAKERS = ("1157", "1234", "1358", "1984", "6783", "7895")
FOLDERS = {"angry": "kz", "calm": "sk", "happy": "mt", "sad": "hl"}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the two letters in the name.

    Args:
        root: the folder that holds `Sound Source`.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        yield Record(
            id=f"turev_db-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            text=match["word"],
            language="tr",
        )


def _problem(match: re.Match[str], where: Path) -> str | None:
    if match["speaker"] not in SPEAKERS:
        return f"speaker {match['speaker']} is none of {', '.join(SPEAKERS)}"
    folder = where.parent.name
    if FOLDERS.get(folder.lower(), match["emotion"]) != match["emotion"]:
        return f"the name says emotion {match['emotion']}, its folder {folder}"
    return None
