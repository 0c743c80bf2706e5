"""MESD, Mexican Emotional Speech Database, in Spanish: records of the official release.

Duville, Alonso-Valerdi and Ibarra-Zarate, "Mexican Emotional Speech Database Based on Semantic,
Frequency, Familiarity, Concreteness, and Cultural Shaping of Affective Prosody", Data 6(12), 2021.
A stem reads `Anger_F_A_tarde`: emotion, kind of voice (female, male, child), list of words, word;
the words are written without accents. Who of several people spoke is not in the release.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<emotion>[A-Z][a-z]+)_(?P<voice>[FMC])_(?P<list>[AB])_"
    r"(?P<word>[^\W\d_]+(?:_[^\W\d_]+)*)"
)
FORM = "emotion, voice (F, M, C), list (A, B) and word, as in Anger_F_A_tarde"
GENDERS = {"F": "female", "M": "male"}
"""Of the children it is unknown."""


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per word below `root`; the raw label is the emotion in the name.

    The speaker is the kind of voice: whoever is in one kind is in no other.

    Args:
        root: the folder that holds the recordings.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM):
        yield Record(
            id=f"mesd-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["voice"],
            gender=GENDERS.get(match["voice"]),
            text=match["word"].replace("_", " "),
            language="es",
            tags={"list": match["list"]},
        )
