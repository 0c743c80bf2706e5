"""SUBESCO, SUST Bangla Emotional Speech Corpus: records of the official release.

Sultana, Rahman, Selim and Iqbal, "SUST Bangla Emotional Speech Corpus (SUBESCO)", PLoS ONE
16(4), 2021. A stem reads `F_10_FAHMEE_S_6_FEAR_5`: gender, number within the gender, name,
sentence, emotion, take. One stem of the release ends in a stray bracket, `_3]`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<gender>[FM])_(?P<number>\d\d)_(?P<name>[A-Za-z]+)_S_(?P<sentence>10|[1-9])"
    r"_(?P<emotion>[A-Z]+)_(?P<take>[1-5])\]?"
)
FORM = "gender, number, name, sentence, emotion and take, as in F_10_FAHMEE_S_6_FEAR_5"
GENDERS = {"F": "female", "M": "male"}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the word in the name.

    Args:
        root: the folder that holds the 7,000 files.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM):
        yield Record(
            id=f"subesco-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["gender"] + match["number"],  # the number alone stands for two people
            gender=GENDERS[match["gender"]],
            language="bn",
            tags={"sentence": match["sentence"], "take": match["take"]},
        )
