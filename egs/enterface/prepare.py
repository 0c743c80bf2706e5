"""eNTERFACE'05, audio-visual, in English: records of the release.

Martin, Kotsia, Macq and Pitas, "The eNTERFACE'05 Audio-Visual Emotion Database", ICDE Workshops
2006. A video is `subject 19/anger/sentence 4/s19_an_4.avi`. Speaker and emotion are those of the
folders, since names have slips: those of subject 11 begin with `s12`, some of subject 3 with `s_3`,
one reads `s16_su_3avi`. Subject 6 is uncut, one video an emotion. `decode.py` puts the sound of the
videos beside them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.decoding import by_preference, conversion, take
from sertools.data.names import REMEDY
from sertools.data.record import Record

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
NAME = re.compile(
    rf"(?P<subject>\d{{1,2}})/(?P<emotion>{'|'.join(EMOTIONS)})/"
    r"s_?(?P<named>\d{1,2})_(?P<code>[a-z]{2})(?:_(?P<sentence>[1-5])(?:avi)?)?"
)
FORM = "subject, emotion and sentence, as in subject 19/anger/sentence 4/s19_an_4.avi"
NAMED_ANOTHER = {"11": "12"}
"""Subject whose files have the number of another one in their names."""
COMMAND = conversion("-name 's*.avi'", ".avi")
"""Puts the sound of every video beside it; rate and channels stay as they are."""
CONVERT = f"install ffmpeg and run this in data_folder:  {COMMAND}"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per cut video below `root`; the raw label is the emotion's folder.

    Args:
        root: the folder that holds `subject 1`, `subject 2`, ...
        faults: collects every file that cannot be used, with its remedy.
    """
    found = recordings(root, faults)
    for name, path in sorted(found.items(), key=lambda item: item[1]):
        where = path.relative_to(root).as_posix()
        if path.suffix.lower() == ".avi":
            faults.add(where, "is a video, its sound is not beside it", CONVERT,
                       "videos whose sound must be taken out first")
            continue
        subject, emotion, sentence = name.split("/")
        yield Record(
            id=f"enterface-s{subject}_{emotion[:2]}_{sentence}",
            path=where,
            label=emotion,
            speaker=f"s{subject}",
            language="en",
            tags={"sentence": sentence},
        )


def recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the file of each recording: sound where there is some, else the video.

    They are called by subject, emotion and sentence, as in `19/anger/4`.
    """
    taken: dict[str, Path] = {}
    for path in by_preference(root, faults, ".avi"):
        where, match = path.relative_to(root), NAME.fullmatch(full_name(path))
        if problem := _problem(match):
            faults.add(where, problem, REMEDY)
        elif match["sentence"] is None:
            faults.drop("uncut: all that a subject said with one emotion", where)
        else:
            name = f"{match['subject']}/{match['emotion']}/{match['sentence']}"
            take(taken, name, path, root, faults)
    return taken


def full_name(path: Path) -> str:
    """Return subject, emotion and stem of a path, by the nearest folders that say so."""
    above = [part.lower() for part in reversed(path.parts[:-1])]
    subject = next((part for part in above if part.startswith("subject ")), "")
    emotion = next((part for part in above if part in EMOTIONS), "")
    return f"{subject.removeprefix('subject ')}/{emotion}/{path.stem}"


def _problem(match: re.Match[str] | None) -> str | None:
    if match is None:
        return f"the path is not {FORM}"
    if match["named"] not in (match["subject"], NAMED_ANOTHER.get(match["subject"])):
        return f"the name says subject {match['named']}, its folder {match['subject']}"
    if match["code"] != match["emotion"][:2]:
        return f"the name says {match['code']}, its folder {match['emotion']}"
    return None
