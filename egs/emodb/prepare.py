"""EMO-DB, the Berlin Database of Emotional Speech: records of the official release.

Burkhardt et al., "A Database of German Emotional Speech", Interspeech 2005. Everything is in
the stem `SSTTTEv`: speaker, sentence, German emotion letter, take. `lablaut/`, `labsilb/`,
`silb/` and the listening test in `erkennung.txt` are not needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, find_audio
from sertools.data.record import Record

STEM = re.compile(r"(?P<speaker>\d\d)(?P<sentence>[ab]\d\d)(?P<emotion>[A-Z])(?P<take>[a-z])")

# The database's own tables of speakers and texts.
GENDERS = dict.fromkeys(("03", "10", "11", "12", "15"), "male") | dict.fromkeys(
    ("08", "09", "13", "14", "16"), "female"
)
SENTENCES = {
    "a01": "Der Lappen liegt auf dem Eisschrank.",
    "a02": "Das will sie am Mittwoch abgeben.",
    "a04": "Heute abend könnte ich es ihm sagen.",
    "a05": "Das schwarze Stück Papier befindet sich da oben neben dem Holzstück.",
    "a07": "In sieben Stunden wird es soweit sein.",
    "b01": "Was sind denn das für Tüten, die da unter dem Tisch stehen?",
    "b02": "Sie haben es gerade hochgetragen und jetzt gehen sie wieder runter.",
    "b03": "An den Wochenenden bin ich jetzt immer nach Hause gefahren und habe Agnes besucht.",
    "b09": "Ich will das eben wegbringen und dann mit Karl was trinken gehen.",
    "b10": "Die wird auf dem Platz sein, wo wir sie immer hinlegen.",
}


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the German letter.

    Args:
        root: the unpacked release, the folder that holds `wav/`.
        faults: collects every file that cannot be used, with its remedy.
    """
    for path in find_audio(root, faults):
        where = path.relative_to(root).as_posix()
        match = STEM.fullmatch(path.stem)
        if match is None:
            faults.add(
                where,
                "the name is not speaker, sentence, emotion letter and take, as in 03a01Fa",
                "take the file out of the folder, or give it its official name back",
            )
        elif match["speaker"] not in GENDERS:
            faults.add(
                where,
                f"speaker {match['speaker']} is none of the ten of the release",
                f"take the file out; the release has speakers {', '.join(sorted(GENDERS))}",
            )
        elif match["sentence"] not in SENTENCES:
            faults.add(
                where,
                f"sentence {match['sentence']} is none of the ten of the release",
                f"take the file out; the release has sentences {', '.join(SENTENCES)}",
            )
        else:
            yield _record(where, path.stem, match)


def _record(where: str, stem: str, match: re.Match[str]) -> Record:
    return Record(
        id=f"emodb-{stem}",
        path=where,
        label=match["emotion"],
        speaker=match["speaker"],
        gender=GENDERS[match["speaker"]],
        text=SENTENCES[match["sentence"]],
        language="de",
        tags={"sentence": match["sentence"], "take": match["take"]},
    )
