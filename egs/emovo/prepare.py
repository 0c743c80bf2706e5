"""EMOVO, acted emotional speech in Italian: records of the official release.

Costantini, Iaderola, Paoloni and Todisco, "EMOVO Corpus: an Italian Emotional Speech Database",
LREC 2014. A stem reads `gio-f2-b2`: first letters of the Italian emotion, speaker, sentence
(b short, l long, n nonsense, d question).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults
from sertools.data.names import named_audio
from sertools.data.record import Record

STEM = re.compile(
    r"(?P<emotion>[a-z]{3})-(?P<speaker>[fm][1-3])-(?P<sentence>b[1-3]|l[1-4]|n[1-5]|d[12])"
)
FORM = "emotion, speaker and sentence, as in gio-f2-b2"
GENDERS = {"f": "female", "m": "male"}
SENTENCES = {
    "b1": "Gli operai si alzano presto.",
    "b2": "I vigili sono muniti di pistola.",
    "b3": "La cascata fa molto rumore.",
    "l1": "L’autunno prossimo Tony partirà per la Spagna: nella prima metà di ottobre.",
    "l2": "Ora prendo la felpa di là ed esco per fare una passeggiata.",
    "l3": "Un attimo dopo s’è incamminato... ed è inciampato.",
    "l4": "Vorrei il numero telefonico del Signor Piatti.",
    "n1": "La casa forte vuole col pane.",
    "n2": "La forza trova il passo e l’aglio rosso.",
    "n3": "Il gatto sta scorrendo nella pera.",
    "n4": "Insalata pastasciutta coscia d’agnello limoncello.",
    "n5": "Uno quarantatré dieci mille cinquantasette venti.",
    "d1": "Sabato sera cosa farà?",
    "d2": "Porti con te quella cosa?",
}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; raw labels are three Italian letters.

    Args:
        root: the folder that holds `f1` to `f3` and `m1` to `m3`.
        faults: collects every file that cannot be used, with its remedy.
    """
    for where, match in named_audio(root, faults, STEM, FORM, _problem):
        yield Record(
            id=f"emovo-{match[0]}",
            path=where,
            label=match["emotion"],
            speaker=match["speaker"],
            gender=GENDERS[match["speaker"][0]],
            text=SENTENCES[match["sentence"]],
            language="it",
            tags={"sentence": match["sentence"]},
        )


def _problem(match: re.Match[str], where: Path) -> str | None:
    folder = where.parent.name.lower()
    if re.fullmatch("[fm][1-3]", folder) and folder != match["speaker"]:
        return f"speaker {match['speaker']} lies in the folder of another"
    return None
