"""JL-Corpus, acted New Zealand English: records of the raw recordings of the release.

James, Tian and Watson, "An Open Source Emotional Speech Corpus for Human Robot Interaction
Applications", Interspeech 2018. A stem reads `male2_concerned_6b_1`: speaker, emotion, sentence
with a letter, and a number; what is said stands in a text of the same name. Beside the folder
`JL(wav+txt)` the release holds a part of it once more and the material of a listening test.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sertools.data.corpus import Faults, walk
from sertools.data.names import named_audio
from sertools.data.record import Record

FOLDER = "JL(wav+txt)"
STEM = re.compile(
    r"(?P<speaker>(?P<gender>female|male)[12])_(?P<emotion>[a-z]+)"
    r"_(?P<sentence>(?:1[0-5]|[1-9])[ab])_(?P<take>[12])"
)
FORM = "speaker, emotion, sentence and take, as in male2_concerned_6b_1"
SOUND = (".wav", ".flac")


def records(root: Path, faults: Faults) -> Iterator[Record]:
    """Yield one record per recording below `root`; the raw label is the word in the name.

    Args:
        root: the folder of the release, or one that holds the 2,400 recordings alone.
        faults: collects every file that cannot be used, with its remedy.
    """
    inside = _recordings(root, faults)
    for name, match in named_audio(inside, faults, STEM, FORM):
        path = inside / name
        yield Record(
            id=f"jl_corpus-{match[0]}",
            path=path.relative_to(root).as_posix(),
            label=match["emotion"],
            speaker=match["speaker"],
            gender=match["gender"],
            text=_text(path.with_suffix(".txt"), faults),
            language="en",
            tags={"sentence": match["sentence"], "take": match["take"]},
        )


def _recordings(root: Path, faults: Faults) -> Path:
    """Return the fullest folder `JL(wav+txt)`, else `root`; sound elsewhere is left out."""
    sounds = [path for path in walk(root) if path.suffix.lower() in SOUND]
    held = Counter(path.parent for path in sounds if path.parent.name == FOLDER)
    if not held:
        return root
    inside = min(held, key=lambda folder: (-held[folder], len(folder.parts), folder))
    for path in sounds:
        if path.parent != inside:
            faults.drop(f"sound outside of the release's {FOLDER}", path.relative_to(root))
    return inside


def _text(path: Path, faults: Faults) -> str | None:
    """Return what is spoken, None where there is no text."""
    if not path.is_file():
        return None
    try:
        return " ".join(path.read_text(encoding="utf-8-sig").split()) or None
    except (OSError, UnicodeDecodeError) as error:
        faults.add(path, f"cannot be read: {error}", "get the texts again, or take them away: "
                   "recordings without a text are fine", "texts")
        return None
