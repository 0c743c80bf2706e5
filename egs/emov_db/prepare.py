"""EmoV-DB, Emotional Voices Database, in English: records of the official archives.

Adigwe et al., "The Emotional Voices Database: Towards Controlling the Emotion Dimension in Voice
Generation Systems", arXiv 1806.09514. A folder per speaker and style, `sam_Angry`, or in the sorted
edition `sam/Angry`, holds `anger_1-28_0011.wav`: style, sentences of the document, sentence. The
same names recur from speaker to speaker, so that utterances are called by speaker, style and stem.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

GENDERS = {"bea": "female", "jenie": "female", "josh": "male", "sam": "male"}
"""As the authors' README has them."""
STYLES = {"amused": "Amused", "angry": "Angry", "disgust": "Disgusted", "disgusted": "Disgusted",
          "neutral": "Neutral", "sleepy": "Sleepy"}  # fmt: skip
"""Folder of a style in small letters, with the spelling of copies -> style."""
WORDS = {"Amused": "amused", "Angry": "anger", "Disgusted": "disgust", "Neutral": "neutral",
         "Sleepy": "sleepiness"}  # fmt: skip
"""Style -> first word of its files."""
NOT_RECORDED = {("josh", "Angry"), ("josh", "Disgusted")}
NAME = re.compile(
    rf"(?P<speaker>{'|'.join(GENDERS)})/(?P<style>{'|'.join(WORDS)})/"
    r"(?P<word>[A-Za-z]+)_(?P<document>[^/_]+)_(?P<sentence>\d{4})"
)
FORM = "style, document and sentence below the folder of speaker and style, as in " \
       "sam_Angry/anger_1-28_0011"


def records(root: Path, faults: Faults, check_names: bool = True) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the style of its folder.

    Args:
        root: the folder that holds the unpacked archives, however deep.
        faults: collects every file that cannot be used, with its remedy.
        check_names: refuse files whose name and folder say different styles.
    """
    def problem(match: re.Match[str], where: Path) -> str | None:
        if (match["speaker"], match["style"]) in NOT_RECORDED:
            return f"{match['speaker']} recorded nothing {match['style'].lower()}"
        if check_names and match["word"].lower() != WORDS[match["style"]]:
            return (f"the name says {match['word']}, its folder {match['style']} (with "
                    "corpus.options.check_names: false the folder is believed)")
        return None

    for where, match in named_audio(root, faults, NAME, FORM, problem, _full_name):
        speaker, style = match["speaker"], match["style"]
        yield Record(
            id=f"emov_db-{match[0].replace('/', '-')}",
            path=where,
            label=style,
            speaker=speaker,
            gender=GENDERS[speaker],
            language="en",
            tags={"sentence": match["sentence"], "archive": f"{speaker}_{style}"},
        )


def _full_name(path: Path) -> str:
    """Return speaker, style and stem by the nearest folders that say so."""
    above = "/".join(path.parts[:-1]).lower().replace("_", "/").split("/")
    for speaker, style in reversed(list(zip(above, above[1:], strict=False))):
        if speaker in GENDERS and style in STYLES:
            return f"{speaker}/{STYLES[style]}/{path.stem}"
    return f"//{path.stem}"
