"""CaFE, Canadian French Emotional speech: records of the official release.

Gournay, Lahaie and Lefebvre, "A Canadian French Emotional Speech Dataset", ACM MMSys 2018. A
stem reads `12-P-2-5`: speaker, French emotion letter, intensity, sentence. Folders are not
read, since archives spoil their accents (`Col?re`); neutral has no folder of intensities.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<speaker>\d\d)-(?P<emotion>[A-Z])-(?P<intensity>[12])-(?P<sentence>[1-6])"
)
FORM = "speaker, emotion letter, intensity and sentence, as in 12-P-2-5"
NEUTRAL = "N"
INTENSITIES = {"1": "weak", "2": "strong"}
SENTENCES = {
    "1": "Un cheval fou dans mon jardin",
    "2": "Deux ânes aigris au pelage brun",
    "3": "Trois cygnes aveugles au bord du lac",
    "4": "Quatre vieilles truies éléphantesques",
    "5": "Cinq pumas fiers et passionnés",
    "6": "Six ours aimants domestiqués",
}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the French letter.

    Args:
        root: the folder `CaFE_48k` of the release; the other rates hold the same utterances.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        tags = {"sentence": match["sentence"]}
        if match["emotion"] != NEUTRAL:
            tags["intensity"] = INTENSITIES[match["intensity"]]
        yield Record(
            id=f"cafe-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender="male" if int(match["speaker"]) % 2 else "female",  # the release's own rule
            text=SENTENCES[match["sentence"]],
            language="fr",
            tags=tags,
        )


def _problem(match: re.Match[str], where: Path) -> str | None:
    if not 1 <= int(match["speaker"]) <= 12:
        return f"speaker {match['speaker']} is not 01 to 12"
    if match["emotion"] == NEUTRAL and match["intensity"] == "2":
        return "neutral was not recorded at strong intensity"
    return None
