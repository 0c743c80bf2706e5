"""URDU, talk shows on television: records of the authors' repository.

Latif et al., "Cross Lingual Speech Emotion Recognition: Urdu vs. Western Languages", FIT 2018.
A stem reads `SGX_Fn_Enn`: S, gender M or F, speaker number; F, running number of the
speaker's clips; emotion letter and running number within the emotion. There are no transcripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<speaker>S(?P<gender>[MF])\d+)_F(?P<clip>\d+)_(?P<emotion>[A-Z])(?P<number>\d+)"
)
FOLDERS = {"angry": "A", "happy": "H", "neutral": "N", "sad": "S"}
GENDERS = {"M": "male", "F": "female"}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per clip below `root`; the raw label is the emotion's letter.

    Args:
        root: the folder that holds `Angry`, `Happy`, `Neutral` and `Sad`.
        faults: collects every file that cannot be used, with its remedy.
    """
    for path in find_audio(root, faults):
        where = path.relative_to(root)
        match = STEM.fullmatch(path.stem)
        if match is None:
            faults.add(
                where.as_posix(),
                "the name is not speaker, clip and emotion, as in SM5_F12_H071",
                "take the file out of the folder, or give it its official name back",
            )
            continue
        letters = {FOLDERS[part.lower()] for part in where.parts[:-1] if part.lower() in FOLDERS}
        if letters - {match["emotion"]}:
            faults.add(
                where.as_posix(),
                f"the name says emotion {match['emotion']}, its folder another",
                "put the file where the authors' repository has it",
            )
            continue
        yield Record(
            id=f"urdu-{path.stem}",
            path=where.as_posix(),
            label=match["emotion"],
            speaker=match["speaker"],
            gender=GENDERS[match["gender"]],
            language="ur",
            tags={"clip": match["clip"]},
        )
