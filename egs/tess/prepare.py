"""TESS, Toronto Emotional Speech Set, in English: records of the official release.

Pichora-Fuller and Dupuis, "Toronto emotional speech set (TESS)", Borealis, 2020. A stem reads
`OAF_back_fear`: speaker (the older or the younger actress), word, emotion; everybody says "Say the
word back". One file of the release lacks a letter, `OA_bite_neutral`; so it is called here too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(r"(?P<speaker>OAF|YAF|OA)_(?P<word>[A-Za-z]+)_(?P<emotion>[a-z]+)")
FORM = "speaker, word and emotion, as in OAF_back_fear"
MISNAMED, MENDED = "OA_bite_neutral", "OAF_bite_neutral"
"""The name in the release, and in copies that mend it: the same utterance."""
FOLDERS = {"angry": "angry", "disgust": "disgust", "fear": "fear", "happy": "happy",
           "neutral": "neutral", "pleasant_surprise": "ps", "pleasant_surprised": "ps",
           "sad": "sad"}  # fmt: skip
"""Folder of one speaker's emotion, without the speaker -> emotion in the names."""


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the word in the name.

    Args:
        root: the folder that holds the 2,800 files, in folders such as `OAF_Fear` or in none.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM, _problem, _official):
        yield Record(
            id=f"tess-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=_speaker(match),
            gender="female",  # both, by the release's own page
            text=f"Say the word {match['word']}",
            language="en",
            tags={"word": match["word"]},
        )


def _official(path: Path) -> str:
    return MISNAMED if path.stem == MENDED else path.stem


def _speaker(match: re.Match[str]) -> str:
    return "OAF" if match["speaker"] == "OA" else match["speaker"]


def _problem(match: re.Match[str], where: Path) -> str | None:
    if match["speaker"] == "OA" and match[0] != MISNAMED:
        return "the speaker is neither OAF nor YAF"
    speaker, _, word = where.parent.name.partition("_")
    if speaker not in ("OAF", "YAF") or word.lower() not in FOLDERS:
        return None  # copies have folders of their own
    said, folder = (_speaker(match), match["emotion"]), (speaker, FOLDERS[word.lower()])
    return None if said == folder else f"the name says {' '.join(said)}, its folder {folder[1]} " \
                                       f"of {folder[0]}"
