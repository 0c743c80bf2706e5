"""AESDD, Acted Emotional Speech Dynamic Database: records of the Greek release.

Vryzas et al., "Speech Emotion Recognition for Performance Interaction", Journal of the Audio
Engineering Society 66(6), 2018. A stem reads `a03 (4)`: emotion letter, utterance, and in
brackets the speaker, sometimes as `(01)`; `(5)b` is a second take. There are no transcripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<emotion>[a-z])(?P<utterance>\d\d) ?\((?P<speaker>\d{1,2})\)(?P<take>[a-z]?)"
)
FORM = "emotion letter, utterance and (speaker), as in 'a03 (4)'"
BROKEN = ("s05 (3)",)
"""Cannot be decoded in the release; the published counts leave it out."""


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's letter.

    Args:
        root: the folder that holds `anger`, `disgust`, `fear`, `happiness` and `sadness`.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        if match[0] in BROKEN:
            faults.drop("broken in the release", f"aesdd-{match[0]}")
            continue
        yield Record(
            id=f"aesdd-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=str(int(match["speaker"])),
            language="el",
            tags={"utterance": match["utterance"]}
            | ({"take": match["take"]} if match["take"] else {}),
        )


def _problem(match: re.Match[str], where: Path) -> str | None:
    folder = where.parent.name.lower()
    if folder in ("anger", "disgust", "fear", "happiness", "sadness") and (
        folder[0] != match["emotion"]
    ):
        return f"the name says emotion {match['emotion']}, its folder {folder}"
    return None
