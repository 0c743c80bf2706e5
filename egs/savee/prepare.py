"""SAVEE, Surrey Audio-Visual Expressed Emotion: records of the audio part of the release.

Haq and Jackson, "Multimodal Emotion Recognition", in: Machine Audition, IGI Global, 2010. The
release has a folder per speaker, `AudioData/DC/a01.wav`; a well-known copy is flat and puts the
speaker into the name, `DC_a01.wav`. Either way an utterance is called `DC_a01` here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

NAME = re.compile(r"(?P<speaker>[A-Z]{2})_(?P<sentence>(?P<emotion>[a-z]{1,2})\d\d)")
FORM = "emotion and number below the speaker's folder, as in DC/a01, or DC_a01"
SPEAKERS = ("DC", "JE", "JK", "KL")


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; raw labels are a, d, f, h, n, sa, su.

    Args:
        root: the folder that holds `AudioData`, or the four speakers' folders, or a flat copy.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, NAME, FORM, _problem, _full_name):
        yield Record(
            id=f"savee-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender="male",  # all four, by the release's own page
            language="en",
            tags={"sentence": match["sentence"]},
        )


def _full_name(path: Path) -> str:
    """Return speaker and stem: the stems alone recur from speaker to speaker."""
    return path.stem if "_" in path.stem else f"{path.parent.name}_{path.stem}"


def _problem(match: re.Match[str], where: Path) -> str | None:
    if match["speaker"] not in SPEAKERS:
        return f"speaker {match['speaker']} is none of {', '.join(SPEAKERS)}"
    return None
