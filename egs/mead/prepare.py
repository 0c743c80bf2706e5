"""MEAD, Multi-view Emotional Audio-visual Dataset, in English: records of the audio part.

Wang et al., "MEAD: A Large-scale Audio-visual Dataset for Emotional Talking-face Generation", ECCV
2020. The release has `audio.tar` and `video.tar` in a folder per speaker; the first holds
`audio/angry/level_1/001.m4a`. Numbers begin again in every folder, so that an utterance is called
by speaker, emotion, level and number, as EmoBox does: `mead-M003-angry-level-1-001`. The
recordings are AAC; `decode.py` puts their sound beside them. Videos are not read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, walk
from sertools.data.decoding import by_preference, conversion, take
from sertools.data.record import Record

SPEAKER = re.compile(r"[MW]\d{3}")
NAME = re.compile(
    r"(?P<speaker>[MW]\d{3})/(?P<emotion>[a-z]+)/level_(?P<level>[1-3])/(?P<number>\d{3})")
FORM = "speaker, emotion, level and number, as in M003/audio/angry/level_1/001.m4a"
GENDERS = {"M": "male", "W": "female"}
COMMAND = conversion("-path '*/audio/*' -name '*.m4a'", ".m4a")
"""Puts the sound of every recording beside it; rate and channels stay as they are."""
CONVERT = f"install ffmpeg and run this in data_folder:  {COMMAND}"
UNPACK = "unpack them all, in data_folder:  find . -name audio.tar -execdir tar xf {} \\;"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's folder.

    Args:
        root: the folder that holds `M003`, `W009` and the other speakers' folders.
        faults: collects every file that cannot be used, with its remedy.
    """
    found = recordings(root, faults)
    for name, path in sorted(found.items(), key=lambda item: item[1]):
        where = path.relative_to(root).as_posix()
        if path.suffix.lower() == ".m4a":
            faults.add(where, "is AAC, its sound is not beside it", CONVERT,
                       "recordings that must be decoded first")
            continue
        match = NAME.fullmatch(name)
        yield Record(
            id="mead-{speaker}-{emotion}-level-{level}-{number}".format(**match.groupdict()),
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender=GENDERS[match["speaker"][0]],
            language="en",
            tags={"level": match["level"], "number": match["number"]},
        )


def recordings(root: Path, faults: Faults) -> dict[str, Path]:
    """Return the file of each recording by its full name: sound where there is some, else AAC.

    The full name is speaker, emotion, level and number, as in `M003/angry/level_1/001`.
    """
    taken: dict[str, Path] = {}
    for path in by_preference(root, faults, ".m4a"):
        where, name = path.relative_to(root), full_name(path)
        if "video" in where.parts:
            faults.drop("sound of a camera, not of the microphone", where)
        elif problem := _problem(name):
            faults.add(where, problem, "take the file out of the folder, or give it its official "
                       "name and place back")
        else:
            take(taken, name, path, root, faults)
    unpacked = {name.partition("/")[0] for name in taken}
    for path in walk(root):
        if path.name == "audio.tar" and path.parent.name not in unpacked:
            faults.add(path.relative_to(root), "is not unpacked", UNPACK, "archives")
    return taken


def full_name(path: Path) -> str:
    """Return speaker, emotion, level and number of a path, whatever stands between the first two.

    Of a path that has no such parts the return is no official name.
    """
    *above, emotion, level = ("", "", *path.parts[:-1])
    speaker = next((part for part in reversed(above) if SPEAKER.fullmatch(part)), "")
    return f"{speaker}/{emotion}/{level}/{path.stem}"


def _problem(name: str) -> str | None:
    match = NAME.fullmatch(name)
    if match is None:
        return f"the path is not {FORM}"
    if match["emotion"] == "neutral" and match["level"] != "1":
        return f"neutral speech has one level, this is level {match['level']}"
    return None
