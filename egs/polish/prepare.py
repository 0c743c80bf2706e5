"""Emotions in Polish speech: records of the recordings of five young men.

A stem reads `m3.s_trzymaj_5`: speaker, emotion (a anger, s fear, n neutral), word, take.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

WORDS = ("nie", "oddaj", "podaj", "stop", "tak", "trzymaj")
STEM = re.compile(
    rf"(?P<speaker>m[1-5])\.(?P<emotion>[a-z])_(?P<word>{'|'.join(WORDS)})_(?P<take>[1-5])"
)
FORM = "speaker, emotion letter, word and take, as in m3.s_trzymaj_5"


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's letter.

    Args:
        root: the folder that holds the 450 recordings.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM):
        yield Record(
            id=f"polish-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender="male",  # all five
            text=match["word"],
            language="pl",
            tags={"take": match["take"]},
        )
