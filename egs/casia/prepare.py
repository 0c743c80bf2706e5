"""CASIA, acted Mandarin: records of the part in circulation, 50 sentences of each of four speakers.

Chinese Linguistic Data Consortium, "CASIA Chinese emotional corpus". Names are numbers that begin
again in every folder, `wangzhe/neutral/239.wav`, so that an utterance is called by number, speaker
and emotion, as EmoBox does: `casia-239-wangzhe-neutral`. There are no transcripts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

SPEAKERS = ("liuchanhg", "wangzhe", "zhaoquanyin", "zhaozuoxiang")
SPELLINGS = {"liuchanhang": "liuchanhg"}
"""Of copies; capital letters make no difference either."""
NAME = re.compile(r"(?P<speaker>[a-z]+)/(?P<emotion>[a-z]+)/(?P<number>\d{3})")
FORM = "number below the folders of speaker and emotion, as in wangzhe/neutral/239"
FIRST, LAST = 201, 250


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the emotion's folder.

    Args:
        root: the folder that holds the four speakers' folders.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, NAME, FORM, _problem, _full_name):
        yield Record(
            id="casia-{number}-{speaker}-{emotion}".format(**match.groupdict()),
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            language="zh",
            tags={"sentence": match["number"]},
        )


def _full_name(path: Path) -> str:
    """Return speaker, emotion and number: the numbers alone recur from folder to folder."""
    speaker, emotion = ("", "", *path.parts[:-1])[-2:]
    speaker = speaker.lower()
    return f"{SPELLINGS.get(speaker, speaker)}/{emotion.lower()}/{path.stem}"


def _problem(match: re.Match[str], where: Path) -> str | None:
    if match["speaker"] not in SPEAKERS:
        return f"speaker {match['speaker']} is none of {', '.join(SPEAKERS)}"
    if not FIRST <= int(match["number"]) <= LAST:
        return f"sentence {match['number']} is not {FIRST} to {LAST}"
    return None
